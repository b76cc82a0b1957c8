"""The account of a worker: what its loop counted and how long things took, and chunks made of that.

A loop steps environments and holds one of these, which lives as long as the worker's incarnation.
Counters are cumulative; a `ChunkBuilder` has what belongs to one slice.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from typing_extensions import override

from raydash.core.clock import Clock
from raydash.core.records import (
    AgentEpisodes,
    Float64,
    Int32,
    RolloutChunk,
    UInt8,
    WorkerTotals,
)
from raydash.core.states import Ending
from raydash.worker.envs.info_scalars import InfoScalars
from raydash.worker.loops.chunk_builder import ChunkBuilder
from raydash.worker.node.progress import (
    COUNTER,
    EPISODE_LEN,
    HURRY,
    NUM_ENV_STEPS,
    PHASE,
    Phase,
    ProgressWriter,
)

BATCH_S = 0.002
"""How long a batch, the steps between two readings of the clock, should take."""
MAX_BATCH = 4096
MAX_FAILURES_IN_A_ROW = 5
MAX_EPISODES = 20_000
"""A chunk ends early at this many (580 KB). Only workers that finish over 12 000 a second reach it:
above 100 KiB a result goes through Ray's object store, which costs 2 ms in place of 0.5, but with
smaller chunks such workers would spend a quarter of their time waiting for the next request."""
_EPISODE_BYTES, _SCALAR_BYTES, _PARTIAL_BYTES = 29, 8, 12

RESETTING, STEPPING = int(Phase.RESETTING), int(Phase.STEPPING)
"""Plain numbers, because looking up an enum's member costs more than storing a number."""
TERMINATED, TRUNCATED, BOTH, ERROR = map(int, Ending)

_NO_AGENTS = AgentEpisodes()
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


class WorkerAccount(ABC):
    """Counts and times one worker's steps, wherever they are made, and makes chunks of the figures.

    Subclasses count the episodes: of one environment here, of several in `vector_account`.

    Attributes:
        clock: Gives monotonic seconds.
        progress: Receives what the loop is doing.
        infos: Collects the scalars of the slice's episodes.
        failures_in_a_row: Error episodes since the last good step.
        max_episodes: A chunk ends early at this many episodes.
        weights_seq_no: How often the policy had been changed before.
        between_episodes: No episode is under way; the next thing to do is a reset.
        batch_size: How many steps to make before the clock is read again.
        step_time_s: Time inside `env.step`, extrapolated from timed steps.
        reset_time_s: Time inside `env.reset`.
        policy_time_s: Time inside the policy, extrapolated from timed steps.
    """

    def __init__(self, incarnation: Incarnation, num_envs: int = 1) -> None:
        """Start all counters at 0; `num_envs` environments are stepped together."""
        self.clock = incarnation.clock
        self.progress = incarnation.progress
        self.infos = InfoScalars(incarnation.info_keys)
        self.failures_in_a_row = 0
        self.max_episodes = episodes_that_fit(0, num_envs)
        self.weights_seq_no = 0
        self.between_episodes = True
        self.batch_size = 1
        self.step_time_s = 0.0
        self.reset_time_s = 0.0
        self.policy_time_s = 0.0
        self._incarnation = incarnation
        self._num_envs = num_envs
        self._num_scalars = 0
        self._num_by_ending = [0] * len(Ending)
        self._policy_share = 0.0
        self._prepared_reset_s: float | None = None
        self._ended_s: float | None = None
        self._idle_time_s = 0.0
        self._busy_time_s = 0.0

    # --- how episodes are counted

    @property
    @abstractmethod
    def num_env_steps(self) -> int:
        """How many steps this incarnation has made."""

    @property
    @abstractmethod
    def is_drained(self) -> bool:
        """Whether every episode that began has finished."""

    @abstractmethod
    def _unfinished(self) -> tuple[Int32, Float64]:
        """Return length and return so far of each environment's unfinished episode."""

    @abstractmethod
    def _take_finished(self) -> FinishedColumns:
        """Return the finished episodes of the slice, and begin to collect those of the next."""

    # --- a slice's beginning and end

    def note_prepared(self, reset_time_s: float) -> None:
        """Note the first reset, done before the first slice, which will report its duration."""
        self._ended_s = self.clock()
        self._prepared_reset_s = self.reset_time_s = self._busy_time_s = reset_time_s
        self.between_episodes = False
        self.progress.cells[PHASE] = Phase.IDLE

    def begin_slice(self, budget_s: float, *, drain: bool = False) -> ChunkBuilder:
        """Begin a slice; it is over at once if the supervisor is in a hurry or all is drained."""
        started_s = self.clock()
        if self._ended_s is not None:
            self._idle_time_s += started_s - self._ended_s
        builder = ChunkBuilder(started_s, started_s + budget_s, drain=drain)
        builder.is_over = self.is_drained if drain else bool(self.progress.cells[HURRY])
        if self._prepared_reset_s is not None:
            builder.reset_samples_s.append(self._prepared_reset_s)
            self._prepared_reset_s = None
        self.progress.cells[PHASE] = STEPPING
        return builder

    def seconds_since_slice(self) -> float:
        """Return how long ago the last slice ended, or, before the first one, the first reset."""
        return self.clock() - (self._ended_s or 0.0)

    def chunk(self, builder: ChunkBuilder, agents: AgentEpisodes = _NO_AGENTS) -> RolloutChunk:
        """End the slice and return its chunk; `agents`: what each did in its episodes."""
        ended_s = self.clock()
        self._ended_s = ended_s
        self._busy_time_s += ended_s - builder.started_s
        self.progress.cells[PHASE] = Phase.IDLE
        env_index, returns, lens, endings, ends_s, durations_s = self._take_finished()
        partial_len, partial_return = self._unfinished()
        scalars = self.infos.take_columns(len(endings))
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
            drained=builder.drain and self.is_drained,
            scalars=scalars,
            ignored_info=self.infos.take_ignored_keys(),
            agents=agents,
            weights_seq_no=self.weights_seq_no,
        )

    def totals(self) -> WorkerTotals:
        """Return everything that was counted in this incarnation."""
        return WorkerTotals(
            num_env_steps=self.num_env_steps,
            num_episodes=sum(self._num_by_ending),
            num_terminated=self._num_by_ending[TERMINATED] + self._num_by_ending[BOTH],
            num_truncated=self._num_by_ending[TRUNCATED] + self._num_by_ending[BOTH],
            num_error=self._num_by_ending[ERROR],
            step_time_s=self.step_time_s,
            reset_time_s=self.reset_time_s,
            policy_time_s=self.policy_time_s,
            idle_time_s=self._idle_time_s,
            busy_time_s=self._busy_time_s,
        )

    # --- within a slice

    def note_timed_step(
        self, builder: ChunkBuilder, started_s: float, acted_s: float, stepped_s: float
    ) -> None:
        """Note the first step of a batch: when the policy began, and when both returned."""
        builder.add_step(stepped_s, stepped_s - acted_s)
        if stepped_s > started_s:
            self._policy_share = (acted_s - started_s) / (stepped_s - started_s)

    def add_stepping_time(self, stepping_s: float) -> None:
        """Split a batch's wall time outside resets like its timed step, so that shares sum to 1."""
        self.policy_time_s += stepping_s * self._policy_share
        self.step_time_s += stepping_s * (1.0 - self._policy_share)

    def adapt_batch(self, num_steps: int, took_s: float) -> None:
        """Aim at `BATCH_S`; grow slowly, as one fast step proves nothing, but shrink at once."""
        if num_steps < 1:
            return
        fitting = BATCH_S * num_steps / took_s if took_s > 0 else MAX_BATCH
        self.batch_size = int(max(1, min(fitting, self.batch_size * 2, MAX_BATCH)))

    def end_slice_if_due(self, builder: ChunkBuilder, now_s: float) -> None:
        """End the slice if its time is over or the supervisor is in a hurry."""
        if now_s >= builder.deadline_s or not (builder.drain or not self.progress.cells[HURRY]):
            builder.is_over = True

    def end_slice_unless_retried(self, builder: ChunkBuilder) -> None:
        """After a failure, end the slice unless there is time to make the environment anew."""
        builder.is_over = not (
            self.failures_in_a_row < MAX_FAILURES_IN_A_ROW
            and builder.num_episodes < self.max_episodes
            and not builder.drain
            and not self.progress.cells[HURRY]
            and self.clock() < builder.deadline_s
        )

    def tell_progress(self, num_env_steps: int, episode_len: int) -> None:
        """Show the steps of this incarnation and of the unfinished episode."""
        cells = self.progress.cells
        cells[NUM_ENV_STEPS] = num_env_steps
        cells[EPISODE_LEN] = episode_len
        cells[COUNTER] += 1


class EpisodeAccount(WorkerAccount):
    """The account of a worker with one environment.

    Attributes:
        episode_return: Return so far of the unfinished episode.
        episode_len: Its steps so far.
        episode_started_s: When its reset began.
        is_evaluating: The episode is part of an evaluation, which is in no count.
        num_finished_steps: Steps of finished episodes, evaluations included.
    """

    def __init__(self, incarnation: Incarnation) -> None:
        """Start all counters at 0."""
        super().__init__(incarnation)
        self.episode_return = 0.0
        self.episode_len = 0
        self.episode_started_s = 0.0
        self.is_evaluating = False
        self.num_finished_steps = 0
        self._num_evaluation_steps = 0
        self._finished: list[tuple[float, int, int, float, float]] = []

    @property
    @override
    def num_env_steps(self) -> int:
        unfinished = 0 if self.is_evaluating else self.episode_len
        return self.num_finished_steps + unfinished - self._num_evaluation_steps

    @property
    @override
    def is_drained(self) -> bool:
        return self.between_episodes or self.episode_len == 0

    @override
    def _unfinished(self) -> tuple[Int32, Float64]:
        if self.is_evaluating:
            return np.zeros(1, np.int32), np.zeros(1)
        return np.array([self.episode_len], np.int32), np.array([self.episode_return])

    def record(
        self,
        builder: ChunkBuilder,
        now_s: float,
        episode_return: float,
        episode_len: int,
        ending: int,
    ) -> None:
        """Record the episode, which has finished."""
        builder.num_episodes += 1
        self._finished.append((episode_return, episode_len, ending, now_s, self.episode_started_s))
        if self.is_evaluating:
            self._num_evaluation_steps += episode_len
        else:
            self._num_by_ending[ending] += 1
        self.num_finished_steps += episode_len
        self.episode_return, self.episode_len = 0.0, 0
        self.between_episodes = True

    @override
    def _take_finished(self) -> FinishedColumns:
        finished, self._finished = self._finished, []
        returns, lens, endings, ended_s, started_s = (
            zip(*finished, strict=True) if finished else ((),) * 5
        )
        ends_s = np.array(ended_s, np.float64)
        return (
            np.zeros(len(finished), np.int32),
            np.array(returns, np.float64),
            np.array(lens, np.int32),
            np.array(endings, np.uint8),
            ends_s,
            ends_s - np.array(started_s, np.float64),
        )
