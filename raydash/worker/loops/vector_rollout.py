"""The stepping loop of a worker that steps several environments together.

Counts are per sub-environment and exact in every autoreset mode:

- NEXT_STEP: the call after an episode's end resets that sub-environment; it makes no step there
  and ignores the action.
- SAME_STEP: the call that ends an episode also resets; it returns the last step's reward and the
  next episode's first observation.
- DISABLED: the loop resets those whose episode ended, by `options={"reset_mask": ...}`.
"""

import math
from array import array
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode
from typing_extensions import override

from raydash.core.records import Float64, Int32
from raydash.worker.envs.seeds import remade_seed
from raydash.worker.envs.vector_environments import (
    GuardedVectorEnv,
    SubEnvFailure,
    VectorEnv,
    autoreset_mode,
    first_seed,
)
from raydash.worker.loops.sliced import (
    ERROR,
    MAX_FAILURES_IN_A_ROW,
    MAX_RESET_SAMPLES,
    RESETTING,
    STEPPING,
    ChunkBuilder,
    FinishedColumns,
    Incarnation,
    SlicedLoop,
)
from raydash.worker.node.progress import HURRY, PHASE
from raydash.worker.policies.policy import Policy

Bools = npt.NDArray[np.bool_]
Indices = npt.NDArray[np.intp]

_NONE: Indices = np.zeros(0, np.intp)
_FAILED = 2
"""Takes the place of the flag `terminated` for an episode that ended in an exception."""


class _FinishedEpisodes:
    """Columns of the episodes that finished in a slice; each call appends its episodes.

    They are arrays of the standard library, because there may be 10 000 such calls a second.
    """

    def __init__(self) -> None:
        self.env_index, self.returns, self.lens = array("q"), array("d"), array("i")
        self.terminated, self.truncated = array("B"), array("B")
        self.started_s, self.ended_s = array("d"), array("d")

    def columns(self) -> FinishedColumns:
        terminated = np.frombuffer(self.terminated, np.uint8)
        truncated = np.frombuffer(self.truncated, np.uint8)
        # `Ending`: terminated 0, truncated 1, both 2, error 3.
        endings = truncated + (truncated & terminated)
        endings[terminated == _FAILED] = ERROR
        ended_s = np.frombuffer(self.ended_s, np.float64)
        return (
            np.frombuffer(self.env_index, np.int64).astype(np.int32),
            np.array(self.returns, np.float64),
            np.array(self.lens, np.int32),
            endings,
            ended_s,
            ended_s - np.frombuffer(self.started_s, np.float64),
        )


class VectorRolloutLoop(SlicedLoop[VectorEnv]):
    """Steps the environments of one worker together, slice by slice.

    A step is a step of one sub-environment. The sampled step times are those of whole calls.

    Draining: a call steps all sub-environments or none. So those that have finished are *parked*:
    they are stepped along, uncounted, until the last one has finished too. If the worker has to go
    on before that, a parked one counts again from its next episode.

    Failures: a guarded sub-environment (`sync`) that raises ends only its own episode. When an
    environment's own vector form raises, it is unknown which sub-environment failed and what state
    the others are in; and when a policy raises, no sub-environment has an action. In these cases
    the episode of every sub-environment that is not parked, begun or not, ends as an error with the
    steps that it had, and all are remade. That counts as one failure in a row, with one traceback.
    Steps of a call that raised are not counted.
    """

    def __init__(
        self,
        incarnation: Incarnation,
        env: VectorEnv,
        policy: Policy,
        *,
        reset_seeds: Sequence[int],
        make_env: Callable[[], VectorEnv],
    ) -> None:
        """Take over a vector environment that is not reset yet.

        Args:
            incarnation: The worker's incarnation.
            env: The vector environment.
            policy: Chooses a batch of actions for a batch of observations.
            reset_seeds: Seeds of the first reset, one per sub-environment.
            make_env: Makes a new vector environment after it failed as a whole; may raise anything.
        """
        count = len(reset_seeds)
        super().__init__(incarnation, env, policy, make_env=make_env, num_envs=count)
        self._reset_seeds = tuple(reset_seeds)
        self._next_seeds: tuple[int, ...] | None = self._reset_seeds
        self._num_steps = 0

        self._returns: Float64 = np.zeros(count)
        self._lens: Int32 = np.zeros(count, np.int32)
        self._started_s: Float64 = np.zeros(count)
        self._parked: Bools = np.zeros(count, np.bool_)
        self._parked_indices = _NONE
        self._waiting = _NONE  # sub-environments whose next step is a reset
        self._skip = _NONE  # those whose next step does not count: waiting or parked
        self._fails: Int32 = np.zeros(count, np.int32)
        self._has_failed = False
        self._finished = _FinishedEpisodes()
        self._use_env(env)

    def _use_env(self, env: VectorEnv) -> None:
        self._env = env
        self._mode = autoreset_mode(env)
        self._failures: list[SubEnvFailure] = []
        self._resets_s: list[float] = []
        if isinstance(env, GuardedVectorEnv):
            self._failures, self._resets_s = env.failures, env.resets_s

    @override
    def _first_reset(self, first_reset: Callable[[VectorEnv, Any], Any], started_s: float) -> Any:
        assert self._env is not None
        self._started_s[:] = started_s
        observation = first_reset(self._env, first_seed(self._env, self._reset_seeds))
        self._next_seeds = None
        return observation

    @override
    def _prepare_slice(self, builder: ChunkBuilder) -> bool:
        self._finished = _FinishedEpisodes()
        self._started_s[self._waiting] = builder.started_s
        if builder.drain and self._lens.any():
            self._park(self._parked | (self._lens == 0))
        return True

    @override
    def _is_drained(self) -> bool:
        return self._between_episodes or not self._lens.any()

    @override
    def _num_env_steps(self) -> int:
        return self._num_steps

    @override
    def _unfinished(self) -> tuple[Int32, Float64]:
        return self._lens.copy(), self._returns.copy()

    @override
    def _close_env(self, env: VectorEnv) -> None:
        env.close()

    def _step_batch(self, builder: ChunkBuilder) -> bool:
        """Call `step` once with timing and then several more times without.

        Returns:
            False if the slice is over or everything failed.
        """
        assert self._env is not None
        clock, policy, step = self._clock, self._policy, self._env.step
        cells, failures = self._progress.cells, self._failures
        logical_or, add, count_true = np.logical_or, np.add, np.count_nonzero
        observation = self._observation
        returns, lens = self._returns, self._lens
        waiting, skip = self._waiting, self._skip
        done, ones = np.zeros(self._num_envs, np.bool_), np.ones(self._num_envs, np.int32)
        num_calls = num_uncounted = 0
        resets_before_s = self._reset_time_s
        go_on = True
        where = "policy"
        started_s = clock()
        try:
            while go_on and num_calls < self._batch_size:
                where = "policy"
                action = policy(observation)
                if not num_calls:
                    acted_s = clock()
                where = "step"
                observation, rewards, terminated, truncated, info = step(action)
                if not num_calls:
                    self._note_timed_step(builder, started_s, acted_s, clock())
                    self._check_shapes(rewards, terminated, truncated)
                logical_or(terminated, truncated, out=done)
                add(returns, rewards, out=returns)
                add(lens, ones, out=lens)
                num_calls += 1
                if skip.size:
                    returns[skip] = 0.0
                    lens[skip] = 0
                    num_uncounted += skip.size
                    if waiting.size:
                        done[waiting] = False
                        waiting, skip = _NONE, self._parked_indices
                if count_true(done):
                    if failures:
                        num_uncounted += self._end_failed(builder, done)
                    self._observation = observation
                    go_on = self._end_episodes(builder, done, terminated, truncated, info)
                    observation = self._observation
                    waiting, skip = self._waiting, self._skip
        except Exception as error:
            self._fail(builder, where, error)
            observation, go_on = None, False
        ended_s = clock()

        self._observation = observation
        self._waiting, self._skip = waiting, skip
        self._num_steps += num_calls * self._num_envs - num_uncounted
        self._tell_progress(self._num_steps, int(lens.max()))
        self._take_reset_times(builder)
        # Splitting the wall time outside resets like the timed step makes the shares add up to 1.
        stepping_s = max(0.0, ended_s - started_s - (self._reset_time_s - resets_before_s))
        self._policy_time_s += stepping_s * self._policy_share
        self._step_time_s += stepping_s * (1.0 - self._policy_share)
        self._adapt_batch(num_calls, ended_s - started_s)
        if self._env is not None:
            self.failures_in_a_row = self._count_failures() if self._has_failed else 0
            go_on = go_on and self.failures_in_a_row < MAX_FAILURES_IN_A_ROW
        return go_on and ended_s < builder.deadline_s and (builder.drain or not cells[HURRY])

    def _check_shapes(self, rewards: Any, terminated: Any, truncated: Any) -> None:
        """Refuse single numbers: NumPy would add them to every sub-environment's return."""
        for name, values in (
            ("rewards", rewards),
            ("terminated", terminated),
            ("truncated", truncated),
        ):
            if np.shape(values) != (self._num_envs,):
                shape = np.shape(values)
                raise ValueError(f"{name} have shape {shape}, not ({self._num_envs},)")

    def _park(self, parked: Bools) -> None:
        self._parked = parked
        self._parked_indices = parked.nonzero()[0]
        self._choose_skip()

    def _choose_skip(self) -> None:
        """Update the indices of the sub-environments whose next step does not count."""
        self._skip = self._waiting
        if self._parked_indices.size:
            self._skip = np.union1d(self._waiting, self._parked_indices)

    def _end_failed(self, builder: ChunkBuilder, done: Bools) -> int:
        """Record the episodes of guarded sub-environments that failed.

        Returns:
            How many steps of the last call do not count.
        """
        now_s = self._clock()
        failed = [each for each in self._failures if not self._parked[each.env_index]]
        self._failures.clear()
        for each in failed:
            self._note_error(
                builder, now_s, each.where, each.error, f"environment {each.env_index}: "
            )
        indices = np.array([each.env_index for each in failed], np.intp)
        self._lens[indices] -= 1
        self._end_as_errors(builder, now_s, indices)
        return len(indices)

    def _end_as_errors(self, builder: ChunkBuilder, now_s: float, indices: Indices) -> None:
        self._has_failed = True
        self._fails[indices] = np.where(self._lens[indices] > 0, 1, self._fails[indices] + 1)
        flags = np.full(len(indices), _FAILED, np.uint8)
        self._returns[indices] = math.nan
        self._record(builder, now_s, indices, flags, np.zeros_like(flags))

    def _end_episodes(
        self, builder: ChunkBuilder, done: Bools, terminated: Any, truncated: Any, info: Any
    ) -> bool:
        """Record finished episodes and let the next ones begin.

        `done` marks the sub-environments whose episode is over, counted or not; the other flags and
        `info` are what the last call returned.

        Returns:
            False if the slice is over.
        """
        now_s = self._clock()
        over = done.nonzero()[0]
        ended = over
        if self._has_failed or builder.drain or self._parked_indices.size:
            # Those without steps are parked, or have failed and are recorded already.
            ended = over[self._lens[over] > 0]
            self._fails[ended] = 0
        if ended.size:
            self._infos.add_batch(builder.num_episodes, ended.tolist(), info)
            flags = [np.asarray(each, np.bool_)[ended] for each in (terminated, truncated)]
            self._record(builder, now_s, ended, *flags)
        if builder.drain:
            if not self._lens.any():
                # All have finished; the steps since then were not counted, so all need a reset.
                self._between_episodes = True
                return False
            self._park(self._parked | done)
        elif self._parked_indices.size:
            self._park(self._parked & ~done)
        self._started_s[over] = now_s
        if self._mode is AutoresetMode.NEXT_STEP:
            self._waiting = over
        elif self._mode is AutoresetMode.DISABLED and not self._reset_ended(builder, done, now_s):
            return False
        self._choose_skip()
        return now_s < builder.deadline_s and builder.num_episodes < self.max_episodes

    def _record(
        self, builder: ChunkBuilder, now_s: float, indices: Indices, terminated: Any, truncated: Any
    ) -> None:
        """Record the episodes that ended in one call, with the flags of their last steps."""
        columns = self._finished
        count = len(indices)
        columns.env_index.frombytes(indices.tobytes())
        columns.returns.frombytes(self._returns[indices].tobytes())
        columns.lens.frombytes(self._lens[indices].tobytes())
        columns.terminated.frombytes(terminated.tobytes())
        columns.truncated.frombytes(truncated.tobytes())
        columns.started_s.frombytes(self._started_s[indices].tobytes())
        columns.ended_s.extend([now_s] * count)
        builder.num_episodes += count
        self._returns[indices] = 0.0
        self._lens[indices] = 0

    @override
    def _begin_episode(self, builder: ChunkBuilder, now_s: float) -> bool:
        self._progress.cells[PHASE] = RESETTING
        self._tell_progress(self._num_steps, 0)
        self._waiting = _NONE
        self._park(np.zeros(self._num_envs, np.bool_))
        self._started_s[:] = now_s
        where = "make"
        try:
            if self._env is None:
                self._num_remakes += 1
                self._next_seeds = tuple(
                    remade_seed(seed, self._num_remakes) for seed in self._reset_seeds
                )
                self._use_env(self._make_env())
                now_s = self._clock()
            env = self._env
            assert env is not None
            where = "reset"
            try:
                if self._next_seeds is None:
                    self._observation, _ = env.reset()
                else:
                    self._observation, _ = env.reset(seed=first_seed(env, self._next_seeds))
                    self._next_seeds = None
            finally:
                self._resets_s.clear()  # they are part of this reset of all
                reset_s = self._clock() - now_s
                self._reset_time_s += reset_s
        except Exception as error:
            self._fail(builder, where, error)
            return False
        self._between_episodes = False
        self._add_reset_sample(builder, reset_s)
        self._progress.cells[PHASE] = STEPPING
        return True

    def _reset_ended(self, builder: ChunkBuilder, mask: Bools, now_s: float) -> bool:
        """Reset the sub-environments whose episode ended, in the autoreset mode DISABLED."""
        assert self._env is not None
        cells = self._progress.cells
        cells[PHASE] = RESETTING
        try:
            self._observation, _ = self._env.reset(options={"reset_mask": mask.copy()})
        except Exception as error:
            self._fail(builder, "reset", error)
            return False
        finally:
            self._resets_s.clear()
            reset_s = self._clock() - now_s
            self._reset_time_s += reset_s
        self._add_reset_sample(builder, reset_s)
        cells[PHASE] = STEPPING
        return True

    def _fail(self, builder: ChunkBuilder, where: str, error: Exception) -> None:
        """Record that all episodes ended in an exception and discard the environment."""
        now_s = self._clock()
        self._note_error(builder, now_s, where, error)
        self._end_as_errors(builder, now_s, (~self._parked).nonzero()[0])
        self.failures_in_a_row = self._count_failures()
        self._failures.clear()
        self._discard_env()

    def _count_failures(self) -> int:
        """Return the most failures in a row of any sub-environment; a good step resets its own."""
        worst = int(np.where(self._lens > 0, 0, self._fails).max())
        self._has_failed = bool(self._fails.any())
        return worst

    def _take_reset_times(self, builder: ChunkBuilder) -> None:
        """Add the time that guarded sub-environments spent on resets during the calls."""
        for reset_s in self._resets_s:
            self._reset_time_s += reset_s
            self._add_reset_sample(builder, reset_s)
        self._resets_s.clear()

    def _add_reset_sample(self, builder: ChunkBuilder, reset_s: float) -> None:
        if len(builder.reset_samples_s) < MAX_RESET_SAMPLES:
            builder.reset_samples_s.append(reset_s)

    @override
    def _columns(self, builder: ChunkBuilder) -> FinishedColumns:
        columns = self._finished.columns()
        for ending, count in enumerate(np.bincount(columns[3], minlength=len(self._num_by_ending))):
            self._num_by_ending[ending] += int(count)
        return columns
