"""The stepping loop of a worker that steps several environments together.

Counts are per sub-environment and exact in every autoreset mode:

- NEXT_STEP: the call after an episode's end resets that sub-environment; it makes no step there
  and ignores the action.
- SAME_STEP: the call that ends an episode also resets; it returns the last step's reward and the
  next episode's first observation.
- DISABLED: the loop resets those whose episode ended, by `options={"reset_mask": ...}`.
"""

import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import numpy.typing as npt
from gymnasium.vector import AutoresetMode

from raydash.core.records import Int32, RolloutChunk
from raydash.worker.envs.seeds import remade_seed
from raydash.worker.envs.vector_environments import (
    GuardedVectorEnv,
    SubEnvFailure,
    VectorEnv,
    autoreset_mode,
    first_seed,
)
from raydash.worker.loops.account import MAX_FAILURES_IN_A_ROW, RESETTING, STEPPING, Incarnation
from raydash.worker.loops.chunk_builder import ChunkBuilder
from raydash.worker.loops.vector_account import FAILED, Indices, VectorAccount
from raydash.worker.node.progress import PHASE, Phase
from raydash.worker.policies.policy import Policy

Bools = npt.NDArray[np.bool_]

_NONE: Indices = np.zeros(0, np.intp)


class VectorRolloutLoop:
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

    Attributes:
        account: Counts the steps and episodes, and makes the chunks.
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
        self.account = VectorAccount(incarnation, count)
        self._policy = policy
        self._make_env = make_env
        self._num_envs = count
        self._num_remakes = 0
        self._observation: Any = None
        self._reset_seeds = tuple(reset_seeds)
        self._next_seeds: tuple[int, ...] | None = self._reset_seeds

        self._parked: Bools = np.zeros(count, np.bool_)
        self._parked_indices = _NONE
        self._waiting = _NONE  # sub-environments whose next step is a reset
        self._skip = _NONE  # those whose next step does not count: waiting or parked
        self._fails: Int32 = np.zeros(count, np.int32)
        self._has_failed = False
        self._use_env(env)

    def _use_env(self, env: VectorEnv) -> None:
        self._env: VectorEnv | None = env
        self._mode = autoreset_mode(env)
        self._failures: list[SubEnvFailure] = []
        self._resets_s: list[float] = []
        if isinstance(env, GuardedVectorEnv):
            self._failures, self._resets_s = env.failures, env.resets_s

    def prepare(self, first_reset: Callable[[VectorEnv, Any], Any]) -> None:
        """Do the first reset before the first slice, as `RolloutLoop.prepare` does.

        `first_reset` gets a list of seeds for vector environments that take one, else a seed.
        """
        assert self._env is not None
        account = self.account
        account.progress.cells[PHASE] = RESETTING
        started_s = account.clock()
        account.started_s[:] = started_s
        self._observation = first_reset(self._env, first_seed(self._env, self._reset_seeds))
        self._next_seeds = None
        account.note_prepared(account.clock() - started_s)

    def set_policy(self, policy: Policy) -> None:
        """Use another policy from the next slice on, even within unfinished episodes."""
        self._policy = policy

    def run(self, budget_s: float, *, drain: bool = False) -> RolloutChunk:
        """Step for about `budget_s` of wall time, as `RolloutLoop.run` does."""
        account = self.account
        builder = account.begin_slice(budget_s, drain=drain)
        account.started_s[self._waiting] = builder.started_s
        if drain and account.lens.any():
            self._park(self._parked | (account.lens == 0))
        while not builder.is_over:
            if account.between_episodes:
                self._begin_episodes(builder, account.clock())
            else:
                self._step_batch(builder)
        return account.chunk(builder)

    def close(self) -> None:
        """Close the environment; raises whatever its `close` raises."""
        self.account.progress.cells[PHASE] = Phase.CLOSING
        self.account.between_episodes = True
        env, self._env = self._env, None
        if env is not None:
            env.close()

    def _begin_episodes(self, builder: ChunkBuilder, now_s: float) -> None:
        """Reset all environments, which are made anew if they failed."""
        account = self.account
        account.progress.cells[PHASE] = RESETTING
        account.tell_progress(account.num_steps, 0)
        self._waiting = _NONE
        self._park(np.zeros(self._num_envs, np.bool_))
        account.started_s[:] = now_s
        where = "make"
        try:
            if self._env is None:
                self._num_remakes += 1
                self._next_seeds = tuple(
                    remade_seed(seed, self._num_remakes) for seed in self._reset_seeds
                )
                self._use_env(self._make_env())
                now_s = account.clock()
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
                reset_s = account.clock() - now_s
                account.reset_time_s += reset_s
        except Exception as error:
            self._fail(builder, where, error)
            return
        account.between_episodes = False
        builder.add_reset(reset_s)
        account.progress.cells[PHASE] = STEPPING

    def _step_batch(self, builder: ChunkBuilder) -> None:
        """Call `step` once with timing and then several more times without."""
        assert self._env is not None
        account, failures = self.account, self._failures
        clock, policy, step, size = account.clock, self._policy, self._env.step, account.batch_size
        logical_or, add, count_true = np.logical_or, np.add, np.count_nonzero
        observation = self._observation
        returns, lens = account.returns, account.lens
        waiting, skip = self._waiting, self._skip
        done, ones = np.zeros(self._num_envs, np.bool_), np.ones(self._num_envs, np.int32)
        num_calls = num_uncounted = 0
        resets_before_s = account.reset_time_s
        go_on = True
        where = "policy"
        started_s = clock()
        try:
            while go_on and num_calls < size:
                where = "policy"
                action = policy(observation)
                if not num_calls:
                    acted_s = clock()
                where = "step"
                observation, rewards, terminated, truncated, info = step(action)
                if not num_calls:
                    account.note_timed_step(builder, started_s, acted_s, clock())
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
                        num_uncounted += self._end_failed(builder)
                    self._observation = observation
                    go_on = self._end_episodes(builder, done, terminated, truncated, info)
                    observation = self._observation
                    waiting, skip = self._waiting, self._skip
        except Exception as error:
            self._fail(builder, where, error)
            observation = None
        ended_s = clock()

        self._observation = observation
        self._waiting, self._skip = waiting, skip
        account.num_steps += num_calls * self._num_envs - num_uncounted
        account.tell_progress(account.num_steps, int(lens.max()))
        self._take_reset_times(builder)
        resets_s = account.reset_time_s - resets_before_s
        account.add_stepping_time(max(0.0, ended_s - started_s - resets_s))
        account.adapt_batch(num_calls, ended_s - started_s)
        if self._env is not None:
            self._end_slice_if_failing(builder)
        account.end_slice_if_due(builder, ended_s)

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

    def _end_failed(self, builder: ChunkBuilder) -> int:
        """Record the episodes of guarded sub-environments that failed.

        Returns:
            How many steps of the last call do not count.
        """
        now_s = self.account.clock()
        failed = [each for each in self._failures if not self._parked[each.env_index]]
        self._failures.clear()
        for each in failed:
            builder.add_exception(now_s, each.where, each.error, f"environment {each.env_index}: ")
        indices = np.array([each.env_index for each in failed], np.intp)
        self.account.lens[indices] -= 1
        self._end_as_errors(builder, now_s, indices)
        return len(indices)

    def _end_as_errors(self, builder: ChunkBuilder, now_s: float, indices: Indices) -> None:
        account = self.account
        self._has_failed = True
        self._fails[indices] = np.where(account.lens[indices] > 0, 1, self._fails[indices] + 1)
        flags = np.full(len(indices), FAILED, np.uint8)
        account.returns[indices] = math.nan
        account.record(builder, now_s, indices, flags, np.zeros_like(flags))

    def _end_episodes(
        self, builder: ChunkBuilder, done: Bools, terminated: Any, truncated: Any, info: Any
    ) -> bool:
        """Record finished episodes and let the next ones begin.

        `done` marks the sub-environments whose episode is over, counted or not; the other flags and
        `info` are what the last call returned.

        Returns:
            False if the batch ends here.
        """
        account = self.account
        now_s = account.clock()
        over = done.nonzero()[0]
        ended = over
        if self._has_failed or builder.drain or self._parked_indices.size:
            # Those without steps are parked, or have failed and are recorded already.
            ended = over[account.lens[over] > 0]
            self._fails[ended] = 0
        if ended.size:
            account.infos.add_batch(builder.num_episodes, ended.tolist(), info)
            flags = [np.asarray(each, np.bool_)[ended] for each in (terminated, truncated)]
            account.record(builder, now_s, ended, *flags)
        if builder.drain:
            if not account.lens.any():
                # All have finished; the steps since then were not counted, so all need a reset.
                account.between_episodes = builder.is_over = True
                return False
            self._park(self._parked | done)
        elif self._parked_indices.size:
            self._park(self._parked & ~done)
        account.started_s[over] = now_s
        if self._mode is AutoresetMode.NEXT_STEP:
            self._waiting = over
        elif self._mode is AutoresetMode.DISABLED and not self._reset_ended(builder, done, now_s):
            return False
        self._choose_skip()
        if now_s >= builder.deadline_s or builder.num_episodes >= account.max_episodes:
            builder.is_over = True
        return not builder.is_over

    def _reset_ended(self, builder: ChunkBuilder, mask: Bools, now_s: float) -> bool:
        """Reset the sub-environments whose episode ended, in the autoreset mode DISABLED."""
        assert self._env is not None
        account = self.account
        account.progress.cells[PHASE] = RESETTING
        try:
            self._observation, _ = self._env.reset(options={"reset_mask": mask.copy()})
        except Exception as error:
            self._fail(builder, "reset", error)
            return False
        finally:
            self._resets_s.clear()
            reset_s = account.clock() - now_s
            account.reset_time_s += reset_s
        builder.add_reset(reset_s)
        account.progress.cells[PHASE] = STEPPING
        return True

    def _fail(self, builder: ChunkBuilder, where: str, error: Exception) -> None:
        """Record that all episodes ended in an exception and discard the environment."""
        account = self.account
        now_s = account.clock()
        builder.add_exception(now_s, where, error)
        self._end_as_errors(builder, now_s, (~self._parked).nonzero()[0])
        account.failures_in_a_row = self._count_failures()
        account.between_episodes = True
        self._failures.clear()
        self._observation = None
        env, self._env = self._env, None
        if env is not None:
            with suppress(Exception):  # it was broken before, and the cause has just been recorded
                env.close()
        account.end_slice_unless_retried(builder)

    def _end_slice_if_failing(self, builder: ChunkBuilder) -> None:
        """End the slice if a sub-environment has failed too often in a row."""
        failures = self.account.failures_in_a_row = (
            self._count_failures() if self._has_failed else 0
        )
        if failures >= MAX_FAILURES_IN_A_ROW:
            builder.is_over = True

    def _count_failures(self) -> int:
        """Return the most failures in a row of any sub-environment; a good step resets its own."""
        worst = int(np.where(self.account.lens > 0, 0, self._fails).max())
        self._has_failed = bool(self._fails.any())
        return worst

    def _take_reset_times(self, builder: ChunkBuilder) -> None:
        """Add the time that guarded sub-environments spent on resets during the calls."""
        for reset_s in self._resets_s:
            self.account.reset_time_s += reset_s
            builder.add_reset(reset_s)
        self._resets_s.clear()
