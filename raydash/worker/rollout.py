"""The stepping loop of a worker, in time slices. Plain Python: no Ray, no threads, no locks.

`RolloutLoop.run` steps one environment for a while and hands back what happened, in columns. The
half-finished episode goes on in the next slice. What user code raises ends the episode, never the
loop.

The inner loop is as bare as it can be (`_step_batch`): the clock is read once per batch of about
2 ms, the first step of each batch is timed, and everything else is bookkeeping per episode.
"""

import math
import traceback
from collections.abc import Callable
from itertools import repeat
from typing import Any

import numpy as np

from raydash.core.clock import Clock
from raydash.core.records import EnvError, RolloutChunk, WorkerTotals
from raydash.core.states import Ending
from raydash.worker.environments import Env, one_line
from raydash.worker.policies.policy import Policy
from raydash.worker.progress import (
    COUNTER,
    EPISODE_LEN,
    HURRY,
    NUM_ENV_STEPS,
    PHASE,
    Phase,
    ProgressWriter,
)
from raydash.worker.seeds import remade_seed

BATCH_S = 0.002
"""How long a batch of steps between two looks at the clock should take."""
MAX_BATCH = 4096
MAX_FAILURES_IN_A_ROW = 5
MAX_EPISODES = 3000
"""A chunk ends early at so many: its bytes stay under Ray's 100 KiB for inlined results."""
MAX_STEP_SAMPLES = 512
MAX_RESET_SAMPLES = 64
MAX_ERRORS = 16
MAX_TRACEBACK = 4000

_RESETTING, _STEPPING = int(Phase.RESETTING), int(Phase.STEPPING)
"""Plain numbers: looking an enum's member up costs more than the store."""
_TERMINATED, _TRUNCATED, _BOTH, _ERROR = map(int, Ending)


class _Slice:
    """What one chunk has gathered so far. Times are on the loop's clock.

    `episodes` has return, length, ending, end and duration of each finished episode: one append
    instead of five.
    """

    def __init__(self, started_s: float, deadline_s: float, *, drain: bool) -> None:
        self.started_s = started_s
        self.deadline_s = deadline_s
        self.drain = drain
        self.first_step_s = math.nan
        self.episodes: list[tuple[float, int, int, float, float]] = []
        self.step_samples_s: list[float] = []
        self.reset_samples_s: list[float] = []
        self.errors: list[EnvError] = []


class RolloutLoop:
    """Steps one environment of one worker, slice by slice.

    Attributes:
        failures_in_a_row: Error episodes since the last good step.
    """

    def __init__(
        self,
        env: Env,
        policy: Policy,
        *,
        worker_index: int,
        incarnation: int,
        reset_seed: int,
        clock: Clock,
        progress: ProgressWriter,
        make_env: Callable[[], Env],
    ) -> None:
        """Take over an environment that is not reset yet.

        Args:
            env: The environment.
            policy: Chooses the actions.
            worker_index: 1..N.
            incarnation: 0 for the worker's first life.
            reset_seed: Of the first reset. Later ones go on with the environment's own
                generator; an environment that was made anew gets `seeds.remade_seed`, so that it
                does not repeat its predecessor's episodes.
            clock: Monotonic seconds.
            progress: Told what the loop is doing.
            make_env: Makes the environment anew after an error; may raise anything.
        """
        self._env: Env | None = env
        self._policy = policy
        self._worker_index = worker_index
        self._incarnation = incarnation
        self._reset_seed = reset_seed
        self._clock = clock
        self._progress = progress
        self._make_env = make_env

        self.failures_in_a_row = 0
        self._next_seed: int | None = reset_seed
        self._num_remakes = 0
        self._batch_size = 1
        self._policy_share = 0.0

        self._between_episodes = True
        self._observation: Any = None
        self._episode_return = 0.0
        self._episode_len = 0
        self._episode_started_s = 0.0

        self._prepared_reset_s: float | None = None
        self._ended_s: float | None = None
        self._num_finished_steps = 0
        self._num_by_ending = [0] * len(Ending)
        self._step_time_s = 0.0
        self._reset_time_s = 0.0
        self._policy_time_s = 0.0
        self._idle_time_s = 0.0
        self._busy_time_s = 0.0

    def prepare(self, first_reset: Callable[[Env, int], Any]) -> None:
        """Do the first reset ahead of the first slice, which reports its duration.

        Args:
            first_reset: Resets the environment with the seed and gives the observation; what it
                raises passes on to the caller, and no episode has failed.
        """
        assert self._env is not None
        self._progress.cells[PHASE] = _RESETTING
        started_s = self._episode_started_s = self._clock()
        self._observation = first_reset(self._env, self._reset_seed)
        self._ended_s = self._clock()
        self._prepared_reset_s = self._ended_s - started_s
        self._reset_time_s = self._busy_time_s = self._prepared_reset_s
        self._next_seed = None
        self._between_episodes = False
        self._progress.cells[PHASE] = Phase.IDLE

    def run(self, budget_s: float, *, drain: bool = False) -> RolloutChunk:
        """Step for about `budget_s` and hand back what happened.

        At least one batch is stepped, unless the supervisor is in a hurry (`progress.set_hurry`).
        A slice lasts longer than its budget only by what the last step or reset (or, when an
        environment suddenly slows down, the last batch) takes.

        Args:
            budget_s: Wall time to fill.
            drain: Finish the episode that is under way and begin no other.
        """
        started_s = self._clock()
        if self._ended_s is not None:
            self._idle_time_s += started_s - self._ended_s
        slice_ = _Slice(started_s, started_s + budget_s, drain=drain)
        if self._prepared_reset_s is not None:
            slice_.reset_samples_s.append(self._prepared_reset_s)
            self._prepared_reset_s = None
        self._progress.cells[PHASE] = _STEPPING
        go_on = not (self._is_drained() if drain else self._progress.cells[HURRY])
        while go_on:
            go_on = (not self._between_episodes or self._begin_episode(slice_, self._clock())) and (
                self._step_batch(slice_)
            )
            # A failure is no reason to stop by itself: the next turn makes the environment anew.
            go_on = go_on or self._may_retry(slice_)
        return self._chunk(slice_)

    def close(self) -> None:
        """Close the environment.

        Raises:
            Exception: whatever its `close` raises.
        """
        self._progress.cells[PHASE] = Phase.CLOSING
        env, self._env = self._env, None
        self._between_episodes = True
        if env is not None:
            env.close()

    def _is_drained(self) -> bool:
        return self._between_episodes or self._episode_len == 0

    def _may_retry(self, slice_: _Slice) -> bool:
        return (
            self._env is None
            and self.failures_in_a_row < MAX_FAILURES_IN_A_ROW
            and len(slice_.episodes) < MAX_EPISODES
            and not slice_.drain
            and not self._progress.cells[HURRY]
            and self._clock() < slice_.deadline_s
        )

    def _step_batch(self, slice_: _Slice) -> bool:
        """Step once with the clock in hand and then some more times without.

        Returns:
            False when the slice is over or the environment failed.
        """
        assert self._env is not None
        clock, policy, step = self._clock, self._policy, self._env.step
        cells, size = self._progress.cells, self._batch_size
        observation = self._observation
        episode_return, episode_len = self._episode_return, self._episode_len
        steps_before = self._num_finished_steps + episode_len
        resets_before_s = self._reset_time_s
        go_on = True
        where = "policy"
        started_s = clock()
        try:
            action = policy(observation)
            acted_s = clock()
            where = "step"
            observation, reward, terminated, truncated, _ = step(action)
            stepped_s = clock()
            episode_return += float(reward)
            episode_len += 1
            self._note_timed_step(slice_, started_s, acted_s, stepped_s)
            if terminated or truncated:
                go_on = self._end_episode(
                    slice_, episode_return, episode_len, terminated, truncated
                )
                observation, episode_return, episode_len = self._observation, 0.0, 0
            if go_on:
                for _ in repeat(None, size - 1):
                    where = "policy"
                    action = policy(observation)
                    where = "step"
                    observation, reward, terminated, truncated, _ = step(action)
                    episode_return += float(reward)
                    episode_len += 1
                    if terminated or truncated:
                        if not self._end_episode(
                            slice_, episode_return, episode_len, terminated, truncated
                        ):
                            go_on, episode_return, episode_len = False, 0.0, 0
                            break
                        observation, episode_return, episode_len = self._observation, 0.0, 0
        except Exception as error:
            self._fail(slice_, where, error, episode_len)
            go_on, episode_return, episode_len = False, 0.0, 0
        ended_s = clock()

        self._observation = observation
        self._episode_return, self._episode_len = episode_return, episode_len
        steps = self._num_finished_steps + episode_len
        cells[NUM_ENV_STEPS] = steps
        cells[EPISODE_LEN] = episode_len
        cells[COUNTER] += 1
        # The wall time outside resets is split as the timed step was: shares then add up to one.
        stepping_s = ended_s - started_s - (self._reset_time_s - resets_before_s)
        self._policy_time_s += stepping_s * self._policy_share
        self._step_time_s += stepping_s * (1.0 - self._policy_share)
        self._adapt_batch(steps - steps_before, stepping_s)
        return go_on and ended_s < slice_.deadline_s and (slice_.drain or not cells[HURRY])

    def _note_timed_step(
        self, slice_: _Slice, started_s: float, acted_s: float, stepped_s: float
    ) -> None:
        self.failures_in_a_row = 0
        if slice_.first_step_s != slice_.first_step_s:
            slice_.first_step_s = stepped_s
        if len(slice_.step_samples_s) < MAX_STEP_SAMPLES:
            slice_.step_samples_s.append(stepped_s - acted_s)
        if stepped_s > started_s:
            self._policy_share = (acted_s - started_s) / (stepped_s - started_s)

    def _adapt_batch(self, num_steps: int, stepping_s: float) -> None:
        """Aim at `BATCH_S`; grow slowly, shrink at once, so that one fast step proves nothing."""
        if num_steps < 1:
            return
        fitting = BATCH_S * num_steps / stepping_s if stepping_s > 0 else MAX_BATCH
        self._batch_size = int(max(1, min(fitting, self._batch_size * 2, MAX_BATCH)))

    def _end_episode(
        self,
        slice_: _Slice,
        episode_return: float,
        episode_len: int,
        terminated: bool,
        truncated: bool,
    ) -> bool:
        """Record a finished episode and begin the next, unless the slice is over."""
        now_s = self._clock()
        ending = _TRUNCATED if not terminated else _BOTH if truncated else _TERMINATED
        self._record(slice_, now_s, episode_return, episode_len, ending)
        if slice_.drain or now_s >= slice_.deadline_s or len(slice_.episodes) >= MAX_EPISODES:
            return False
        return self._begin_episode(slice_, now_s)

    def _record(
        self, slice_: _Slice, now_s: float, episode_return: float, episode_len: int, ending: int
    ) -> None:
        duration_s = now_s - self._episode_started_s
        slice_.episodes.append((episode_return, episode_len, ending, now_s, duration_s))
        self._num_by_ending[ending] += 1
        self._num_finished_steps += episode_len
        self._episode_return, self._episode_len = 0.0, 0
        self._between_episodes = True

    def _begin_episode(self, slice_: _Slice, now_s: float) -> bool:
        """Reset the environment, which is made anew first if it failed before."""
        cells = self._progress.cells
        cells[PHASE] = _RESETTING
        cells[NUM_ENV_STEPS] = self._num_finished_steps
        cells[EPISODE_LEN] = 0
        cells[COUNTER] += 1
        self._episode_started_s = now_s
        where = "make"
        env = self._env
        try:
            if env is None:
                self._num_remakes += 1
                self._next_seed = remade_seed(self._reset_seed, self._num_remakes)
                env = self._env = self._make_env()
                now_s = self._clock()
            where = "reset"
            try:
                if self._next_seed is None:
                    self._observation, _ = env.reset()
                else:
                    self._observation, _ = env.reset(seed=self._next_seed)
                    self._next_seed = None
            finally:
                reset_s = self._clock() - now_s
                self._reset_time_s += reset_s
        except Exception as error:
            self._fail(slice_, where, error, 0)
            return False
        self._between_episodes = False
        if len(slice_.reset_samples_s) < MAX_RESET_SAMPLES:
            slice_.reset_samples_s.append(reset_s)
        cells[PHASE] = _STEPPING
        return True

    def _fail(self, slice_: _Slice, where: str, error: Exception, episode_len: int) -> None:
        """Record an episode that ended in an exception, and give its environment up."""
        now_s = self._clock()
        self.failures_in_a_row += 1
        self._record(slice_, now_s, math.nan, episode_len, _ERROR)
        if len(slice_.errors) < MAX_ERRORS:
            slice_.errors.append(
                EnvError(
                    offset_s=now_s - slice_.started_s,
                    where=where,
                    message=f"{type(error).__name__}: {one_line(error)}",
                    traceback="".join(traceback.format_exception(error))[-MAX_TRACEBACK:],
                ),
            )
        env, self._env = self._env, None
        self._observation = None
        if env is not None:
            try:
                env.close()
            except Exception:
                # It is broken already, and what broke it has just been recorded.
                self._env = None

    def _chunk(self, slice_: _Slice) -> RolloutChunk:
        ended_s = self._clock()
        self._ended_s = ended_s
        self._busy_time_s += ended_s - slice_.started_s
        self._progress.cells[PHASE] = Phase.IDLE
        count = len(slice_.episodes)
        returns, lens, endings, ends_s, durations_s = (
            zip(*slice_.episodes, strict=True) if count else ((),) * 5
        )
        return RolloutChunk(
            worker_index=self._worker_index,
            incarnation=self._incarnation,
            duration_s=ended_s - slice_.started_s,
            first_step_offset_s=slice_.first_step_s - slice_.started_s,
            totals=self.totals(),
            env_index=np.zeros(count, np.int32),
            episode_return=np.array(returns, np.float64),
            episode_len=np.array(lens, np.int32),
            ending=np.array(endings, np.uint8),
            end_offset_s=np.array(ends_s, np.float64) - slice_.started_s,
            episode_duration_s=np.array(durations_s, np.float32),
            step_time_s=np.array(slice_.step_samples_s, np.float32),
            reset_time_s=np.array(slice_.reset_samples_s, np.float32),
            partial_len=np.array([self._episode_len], np.int32),
            partial_return=np.array([self._episode_return], np.float64),
            errors=tuple(slice_.errors),
            failures_in_a_row=self.failures_in_a_row,
            drained=slice_.drain and self._is_drained(),
        )

    def totals(self) -> WorkerTotals:
        """Everything counted in this life of the worker."""
        return WorkerTotals(
            num_env_steps=self._num_finished_steps + self._episode_len,
            num_episodes=sum(self._num_by_ending),
            num_terminated=self._num_by_ending[_TERMINATED] + self._num_by_ending[_BOTH],
            num_truncated=self._num_by_ending[_TRUNCATED] + self._num_by_ending[_BOTH],
            num_error=self._num_by_ending[_ERROR],
            step_time_s=self._step_time_s,
            reset_time_s=self._reset_time_s,
            policy_time_s=self._policy_time_s,
            idle_time_s=self._idle_time_s,
            busy_time_s=self._busy_time_s,
        )
