"""The part that all stepping loops share: time slices, clocks, counters, and chunks made of these.

A loop steps for a while and returns what happened, in columns; unfinished episodes go on in the
next slice. An exception out of user code ends an episode, never the loop.
"""

import math
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeAlias, TypeVar

import numpy as np

from raydash.core.clock import Clock
from raydash.core.records import (
    AgentEpisodes,
    EnvError,
    Float64,
    Int32,
    RolloutChunk,
    UInt8,
    WorkerTotals,
)
from raydash.core.states import Ending
from raydash.worker.envs.info_scalars import InfoScalars
from raydash.worker.node.progress import (
    COUNTER,
    EPISODE_LEN,
    HURRY,
    NUM_ENV_STEPS,
    PHASE,
    Phase,
    ProgressWriter,
)
from raydash.worker.words import one_line

BATCH_S = 0.002
"""How long a batch, the steps between two readings of the clock, should take."""
MAX_BATCH = 4096
MAX_FAILURES_IN_A_ROW = 5
MAX_EPISODES = 20_000
"""A chunk ends early at this many (580 KB). Only workers that finish over 12 000 a second reach it:
above 100 KiB a result goes through Ray's object store, which costs 2 ms in place of 0.5, but with
smaller chunks such workers would spend a quarter of their time waiting for the next request."""
_EPISODE_BYTES, _SCALAR_BYTES, _PARTIAL_BYTES = 29, 8, 12
MAX_STEP_SAMPLES = 512
MAX_RESET_SAMPLES = 64
MAX_ERRORS = 16
MAX_TRACEBACK = 4000

RESETTING, STEPPING = int(Phase.RESETTING), int(Phase.STEPPING)
"""Plain numbers, because looking up an enum's member costs more than storing a number."""
TERMINATED, TRUNCATED, BOTH, ERROR = map(int, Ending)

AnyEnv = TypeVar("AnyEnv")
FinishedColumns: TypeAlias = tuple[Int32, Float64, Int32, UInt8, Float64, Float64]
"""Columns of finished episodes: env_index, return, length, ending, end and duration in s."""


def episodes_that_fit(num_scalars: int, num_envs: int = 1) -> int:
    """Return how many episodes with scalars take as many bytes as `MAX_EPISODES` without.

    Args:
        num_scalars: Additional numbers per episode.
        num_envs: Environments that are stepped together: in the last call all of them may end an
            episode, and each has an unfinished one.
    """
    if not num_scalars and num_envs == 1:
        return MAX_EPISODES
    each = _EPISODE_BYTES + _SCALAR_BYTES * num_scalars
    room = MAX_EPISODES * _EPISODE_BYTES - num_envs * (each + _PARTIAL_BYTES)
    return max(1, room // each)


@dataclass(frozen=True, slots=True)
class Incarnation:
    """One incarnation of one worker, and what its loop needs for counting.

    Attributes:
        worker_index: The worker's number, 1..N.
        number: How often the worker was restarted; 0 for the first incarnation.
        clock: Gives monotonic seconds.
        progress: Receives what the loop is doing.
        info_keys: Keys of the scalars to keep from each episode's last info.
    """

    worker_index: int
    number: int
    clock: Clock
    progress: ProgressWriter
    info_keys: Sequence[str] = ()


class ChunkBuilder:
    """Collects what will be in one chunk. Times are on the loop's clock.

    Each loop decides what it appends to `finished`, once per episode or once per batch of them.
    """

    def __init__(self, started_s: float, deadline_s: float, *, drain: bool) -> None:
        self.started_s = started_s
        self.deadline_s = deadline_s
        self.drain = drain
        self.first_step_s = math.nan
        self.finished: list[Any] = []
        self.num_episodes = 0
        self.step_samples_s: list[float] = []
        self.reset_samples_s: list[float] = []
        self.errors: list[EnvError] = []


class SliceCounter(ABC):
    """Counts and times one worker's steps, wherever they are made, and makes chunks of the figures.

    Attributes:
        failures_in_a_row: Error episodes since the last good step.
        max_episodes: A chunk ends early at this many episodes.
        weights_seq_no: How often the policy had been changed before.
    """

    def __init__(self, incarnation: Incarnation, num_envs: int = 1) -> None:
        """Start all counters at 0; `num_envs` environments are stepped together."""
        self._incarnation = incarnation
        self._clock = incarnation.clock
        self._progress = incarnation.progress
        self._infos = InfoScalars(incarnation.info_keys)

        self.failures_in_a_row = 0
        self.weights_seq_no = 0
        self._num_envs = num_envs
        self._num_scalars = 0
        self.max_episodes = episodes_that_fit(0, num_envs)
        self._num_remakes = 0
        self._between_episodes = True
        self._observation: Any = None

        self._prepared_reset_s: float | None = None
        self._ended_s: float | None = None
        self._num_by_ending = [0] * len(Ending)
        self._step_time_s = 0.0
        self._reset_time_s = 0.0
        self._policy_time_s = 0.0
        self._idle_time_s = 0.0
        self._busy_time_s = 0.0

    # --- defined by subclasses

    @abstractmethod
    def _is_drained(self) -> bool:
        """Whether every episode that began has finished."""

    @abstractmethod
    def _num_env_steps(self) -> int:
        """Return the number of steps in this incarnation."""

    @abstractmethod
    def _unfinished(self) -> tuple[Int32, Float64]:
        """Return length and return so far of each environment's unfinished episode."""

    @abstractmethod
    def _columns(self, builder: ChunkBuilder) -> FinishedColumns:
        """Return the finished episodes of a slice."""

    def _agents(self) -> AgentEpisodes:
        """Return what each agent did in a slice's finished episodes; there may be no agents."""
        return AgentEpisodes()

    # --- shared

    def _note_prepared(self, reset_time_s: float) -> None:
        """Note the first reset, done before the first slice, which will report its duration."""
        self._ended_s = self._clock()
        self._prepared_reset_s = self._reset_time_s = self._busy_time_s = reset_time_s
        self._between_episodes = False
        self._progress.cells[PHASE] = Phase.IDLE

    def _begin_slice(self, budget_s: float, *, drain: bool) -> ChunkBuilder:
        started_s = self._clock()
        if self._ended_s is not None:
            self._idle_time_s += started_s - self._ended_s
        builder = ChunkBuilder(started_s, started_s + budget_s, drain=drain)
        if self._prepared_reset_s is not None:
            builder.reset_samples_s.append(self._prepared_reset_s)
            self._prepared_reset_s = None
        self._progress.cells[PHASE] = STEPPING
        return builder

    def totals(self) -> WorkerTotals:
        """Return everything that was counted in this incarnation."""
        return WorkerTotals(
            num_env_steps=self._num_env_steps(),
            num_episodes=sum(self._num_by_ending),
            num_terminated=self._num_by_ending[TERMINATED] + self._num_by_ending[BOTH],
            num_truncated=self._num_by_ending[TRUNCATED] + self._num_by_ending[BOTH],
            num_error=self._num_by_ending[ERROR],
            step_time_s=self._step_time_s,
            reset_time_s=self._reset_time_s,
            policy_time_s=self._policy_time_s,
            idle_time_s=self._idle_time_s,
            busy_time_s=self._busy_time_s,
        )

    def _note_error(
        self, builder: ChunkBuilder, now_s: float, where: str, error: BaseException, who: str = ""
    ) -> None:
        """Keep the text of an exception, unless the chunk holds `MAX_ERRORS` already."""
        if len(builder.errors) < MAX_ERRORS:
            message = f"{who}{type(error).__name__}: {one_line(error)}"
            words = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
            self._keep_error(builder, now_s, where, message, words)

    def _keep_error(
        self, builder: ChunkBuilder, now_s: float, where: str, message: str, words: str
    ) -> None:
        if len(builder.errors) < MAX_ERRORS:
            builder.errors.append(EnvError(now_s - builder.started_s, where, message, words))

    def _tell_progress(self, num_env_steps: int, episode_len: int) -> None:
        cells = self._progress.cells
        cells[NUM_ENV_STEPS] = num_env_steps
        cells[EPISODE_LEN] = episode_len
        cells[COUNTER] += 1

    def _chunk(self, builder: ChunkBuilder) -> RolloutChunk:
        ended_s = self._clock()
        self._ended_s = ended_s
        self._busy_time_s += ended_s - builder.started_s
        self._progress.cells[PHASE] = Phase.IDLE
        env_index, returns, lens, endings, ends_s, durations_s = self._columns(builder)
        partial_len, partial_return = self._unfinished()
        scalars, agents = self._infos.take_columns(len(endings)), self._agents()
        num_scalars = len(scalars.names) + 2 * len(agents.names)
        if num_scalars > self._num_scalars:
            self._num_scalars = num_scalars
            self.max_episodes = episodes_that_fit(self._num_scalars, self._num_envs)
        return RolloutChunk(
            worker_index=self._incarnation.worker_index,
            incarnation=self._incarnation.number,
            duration_s=ended_s - builder.started_s,
            first_step_offset_s=builder.first_step_s - builder.started_s,
            totals=self.totals(),
            env_index=env_index,
            episode_return=returns,
            episode_len=lens,
            ending=endings,
            end_offset_s=ends_s - builder.started_s,
            episode_duration_s=durations_s.astype(np.float32),
            step_time_s=np.array(builder.step_samples_s, np.float32),
            reset_time_s=np.array(builder.reset_samples_s, np.float32),
            partial_len=partial_len,
            partial_return=partial_return,
            errors=tuple(builder.errors),
            failures_in_a_row=self.failures_in_a_row,
            drained=builder.drain and self._is_drained(),
            scalars=scalars,
            ignored_info=self._infos.take_ignored_keys(),
            agents=agents,
            weights_seq_no=self.weights_seq_no,
        )


class SlicedLoop(SliceCounter, Generic[AnyEnv]):
    """Steps the environments of one worker, slice by slice."""

    def __init__(
        self,
        incarnation: Incarnation,
        env: AnyEnv,
        policy: Callable[[Any], Any],
        *,
        make_env: Callable[[], AnyEnv],
        num_envs: int = 1,
    ) -> None:
        """Take over an environment that is not reset yet.

        Args:
            incarnation: The worker's incarnation.
            env: The environment, or a vector of them.
            policy: Chooses the actions.
            make_env: Makes a new one after an error; may raise anything.
            num_envs: How many environments are stepped together.
        """
        super().__init__(incarnation, num_envs)
        self._env: AnyEnv | None = env
        self._policy = policy
        self._make_env = make_env
        self._batch_size = 1
        self._policy_share = 0.0

    # --- defined by each loop

    @abstractmethod
    def _first_reset(self, first_reset: Callable[[AnyEnv, Any], Any], started_s: float) -> Any:
        """Call `first_reset` with the seed or seeds; return the observation."""

    @abstractmethod
    def _begin_episode(self, builder: ChunkBuilder, now_s: float) -> bool:
        """Reset the environment, remaking it first if it failed; return False if that fails."""

    @abstractmethod
    def _step_batch(self, builder: ChunkBuilder) -> bool:
        """Step for about `BATCH_S`; return False if the slice is over or a step failed."""

    @abstractmethod
    def _close_env(self, env: AnyEnv) -> None:
        """Close an environment; may raise anything."""

    def _prepare_slice(self, builder: ChunkBuilder) -> bool:
        """Prepare the loop for a new slice; return False if there is nothing to do in it."""
        return True

    # --- shared

    def prepare(self, first_reset: Callable[[AnyEnv, Any], Any]) -> None:
        """Do the first reset before the first slice, which will report its duration.

        `first_reset` resets the environment with the seed (a list of seeds for vector environments
        that take one) and returns the observation. What it raises passes on to the caller and does
        not count as a failed episode.
        """
        assert self._env is not None
        self._progress.cells[PHASE] = RESETTING
        started_s = self._clock()
        self._observation = self._first_reset(first_reset, started_s)
        self._note_prepared(self._clock() - started_s)

    def set_policy(self, policy: Callable[[Any], Any]) -> None:
        """Use another policy from the next slice on, even within unfinished episodes."""
        self._policy = policy

    def run(self, budget_s: float, *, drain: bool = False) -> RolloutChunk:
        """Step for about `budget_s` of wall time and return what happened.

        At least one batch is stepped, unless the supervisor is in a hurry (`progress.set_hurry`).
        A slice exceeds its budget at most by the duration of the last step or reset or, if an
        environment suddenly slows down, of the last batch. With `drain`, the episode that is under
        way is finished and no other one begins.
        """
        builder = self._begin_slice(budget_s, drain=drain)
        go_on = self._prepare_slice(builder)
        go_on = go_on and not (self._is_drained() if drain else self._progress.cells[HURRY])
        while go_on:
            go_on = (
                not self._between_episodes or self._begin_episode(builder, self._clock())
            ) and (self._step_batch(builder))
            # A failure alone does not end the slice: the next turn remakes the environment.
            go_on = go_on or self._may_retry(builder)
        return self._chunk(builder)

    def close(self) -> None:
        """Close the environment.

        Raises:
            Exception: whatever its `close` raises.
        """
        self._progress.cells[PHASE] = Phase.CLOSING
        env, self._env = self._env, None
        self._between_episodes = True
        if env is not None:
            self._close_env(env)

    def _may_retry(self, builder: ChunkBuilder) -> bool:
        return (
            self._env is None
            and self.failures_in_a_row < MAX_FAILURES_IN_A_ROW
            and builder.num_episodes < self.max_episodes
            and not builder.drain
            and not self._progress.cells[HURRY]
            and self._clock() < builder.deadline_s
        )

    def _note_timed_step(
        self, builder: ChunkBuilder, started_s: float, acted_s: float, stepped_s: float
    ) -> None:
        if builder.first_step_s != builder.first_step_s:
            builder.first_step_s = stepped_s
        if len(builder.step_samples_s) < MAX_STEP_SAMPLES:
            builder.step_samples_s.append(stepped_s - acted_s)
        if stepped_s > started_s:
            self._policy_share = (acted_s - started_s) / (stepped_s - started_s)

    def _adapt_batch(self, num_steps: int, stepping_s: float) -> None:
        """Aim at `BATCH_S`; grow slowly, as one fast step proves nothing, but shrink at once."""
        if num_steps < 1:
            return
        fitting = BATCH_S * num_steps / stepping_s if stepping_s > 0 else MAX_BATCH
        self._batch_size = int(max(1, min(fitting, self._batch_size * 2, MAX_BATCH)))

    def _discard_env(self) -> None:
        """Close an environment that failed; the next turn makes a new one."""
        env, self._env = self._env, None
        self._observation = None
        self._between_episodes = True
        if env is not None:
            try:
                self._close_env(env)
            except Exception:
                # It was broken before, and the cause has just been recorded.
                self._env = None
