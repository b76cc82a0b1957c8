"""What workers hand back: columns, never rows.

All times are seconds. A chunk travels as bytes from `raydash.protocol.codec`.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raydash.core.faults import Fault

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]

TIME_DECIMALS = 5
"""Times of episodes are kept to 10 microseconds, everywhere: more would be noise on disk."""


@dataclass(frozen=True, slots=True)
class WorkerTotals:
    """Cumulative counters of one worker incarnation; they only grow.

    Attributes:
        num_env_steps: `env.step` calls that returned.
        num_episodes: Episodes that ended, errors included.
        num_terminated: Episodes with the `terminated` flag, alone or with the other.
        num_truncated: Episodes with the `truncated` flag, alone or with the other.
        num_error: Episodes that ended in an exception.
        step_time_s: Time inside `env.step`, extrapolated from sampled steps.
        reset_time_s: Time inside `env.reset`.
        policy_time_s: Time inside the policy, extrapolated from sampled steps.
        idle_time_s: Time between requests.
        busy_time_s: Wall time inside requests.
    """

    num_env_steps: int = 0
    num_episodes: int = 0
    num_terminated: int = 0
    num_truncated: int = 0
    num_error: int = 0
    step_time_s: float = 0.0
    reset_time_s: float = 0.0
    policy_time_s: float = 0.0
    idle_time_s: float = 0.0
    busy_time_s: float = 0.0


@dataclass(frozen=True, slots=True)
class EnvError:
    """An exception out of `env.reset`, `env.step` or the policy.

    Attributes:
        offset_s: When, from the chunk's start.
        where: `reset`, `step`, `policy` or `make`.
        message: The exception's type and text, one line.
        traceback: The whole of it.
    """

    offset_s: float
    where: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class RolloutChunk:
    """What one time-sliced request gives back. Columns hold its finished episodes, in order.

    Attributes:
        worker_index: 1..N.
        incarnation: 0 for the first life of the worker.
        duration_s: Wall time of the slice.
        first_step_offset_s: When its first step returned, or NaN if none did.
        totals: Cumulative counters of this incarnation, this chunk included.
        env_index: Which of the worker's environments.
        episode_return: Undiscounted sums of rewards; NaN for an error episode.
        episode_len: Steps.
        ending: `raydash.core.states.Ending` numbers.
        end_offset_s: When each ended, from the chunk's start.
        episode_duration_s: Wall time from reset to end, idle time included.
        step_time_s: Sampled durations of `env.step`.
        reset_time_s: Durations of `env.reset` (at most 64 a chunk).
        partial_len: Steps so far of each environment's unfinished episode.
        partial_return: Return so far of the same.
        errors: Exceptions, at most 16 a chunk; `totals.num_error` counts all.
        failures_in_a_row: Error episodes since the last good step.
        drained: All environments are between episodes and will not begin another.
    """

    worker_index: int
    incarnation: int
    duration_s: float
    first_step_offset_s: float
    totals: WorkerTotals
    env_index: Int32
    episode_return: Float64
    episode_len: Int32
    ending: UInt8
    end_offset_s: Float64
    episode_duration_s: Float32
    step_time_s: Float32
    reset_time_s: Float32
    partial_len: Int32
    partial_return: Float64
    errors: tuple[EnvError, ...] = ()
    failures_in_a_row: int = 0
    drained: bool = False


@dataclass(frozen=True, slots=True)
class WorkerReady:
    """A worker's answer to `prepare`: the environment stands and is reset.

    Attributes:
        worker_index: 1..N.
        incarnation: 0 for the first life.
        pid: Its process id on `node`.
        node: The node's IP address.
        node_id: Ray's id of the node, hex.
        seed: The seed of its first reset.
        log_paths: Its stdout and stderr files on the node.
        progress_path: The mapped file with its phase and step count (`raydash.worker.progress`).
    """

    worker_index: int
    incarnation: int
    pid: int
    node: str
    node_id: str
    seed: int
    log_paths: tuple[str, ...] = ()
    progress_path: str = ""


@dataclass(frozen=True, slots=True)
class WorkerFault:
    """A worker's answer when its environment can't be made, reset or closed.

    Attributes:
        worker_index: 1..N.
        incarnation: 0 for the first life.
        fault: What is wrong.
    """

    worker_index: int
    incarnation: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class ProbeReading:
    """Vitals of some workers of one node; row i is the i-th worker that was asked for.

    Attributes:
        cpu_percent: Of one core, since the reading before; NaN if unknown.
        rss_bytes: Resident memory; NaN if the process is gone.
        phase: `raydash.worker.progress.Phase` numbers; 255 if unknown, the next three then -1.
        num_env_steps: Steps of this incarnation.
        episode_len: Steps of the unfinished episode.
        counter: Grows with every batch of steps and every reset.
        node_cpu_percent: Of all cores together, 0 to 100.
        node_memory_used_bytes: Not available to new processes.
        node_memory_bytes: Of the whole node.
    """

    cpu_percent: Float32
    rss_bytes: Float64
    phase: UInt8
    num_env_steps: Int64
    episode_len: Int64
    counter: Int64
    node_cpu_percent: float
    node_memory_used_bytes: float
    node_memory_bytes: float


@dataclass(frozen=True, slots=True)
class EpisodeColumns:
    """Finished episodes of a run, oldest first.

    Attributes:
        end_s: When each ended, seconds since the run's start.
        worker_index: 1..N.
        env_index: Which of the worker's environments.
        incarnation: Which life of the worker.
        episode_return: Undiscounted; NaN for error episodes.
        episode_len: Steps.
        ending: `Ending` numbers.
        duration_s: Wall time from reset to end.
    """

    end_s: Float64 = field(default_factory=lambda: np.empty(0))
    worker_index: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    env_index: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    incarnation: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    episode_return: Float64 = field(default_factory=lambda: np.empty(0))
    episode_len: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    ending: UInt8 = field(default_factory=lambda: np.empty(0, np.uint8))
    duration_s: Float32 = field(default_factory=lambda: np.empty(0, np.float32))

    def __len__(self) -> int:
        return len(self.end_s)

    def tail(self, count: int) -> "EpisodeColumns":
        """The newest `count` episodes."""
        if count >= len(self):
            return self
        cut = len(self) - count
        return EpisodeColumns(*(getattr(self, name)[cut:] for name in self.__slots__))

    @staticmethod
    def joined(batches: "list[EpisodeColumns]") -> "EpisodeColumns":
        """All batches behind one another."""
        if not batches:
            return EpisodeColumns()
        if len(batches) == 1:
            return batches[0]
        return EpisodeColumns(
            *(
                np.concatenate([getattr(batch, name) for batch in batches])
                for name in EpisodeColumns.__slots__
            ),
        )

    @staticmethod
    def from_chunk(chunk: RolloutChunk, *, started_s: float) -> "EpisodeColumns":
        """The episodes of a chunk whose first instant was `started_s` on the run's clock."""
        n = len(chunk.ending)
        return EpisodeColumns(
            end_s=np.round(chunk.end_offset_s + started_s, TIME_DECIMALS),
            worker_index=np.full(n, chunk.worker_index, np.int32),
            env_index=chunk.env_index,
            incarnation=np.full(n, chunk.incarnation, np.int32),
            episode_return=chunk.episode_return,
            episode_len=chunk.episode_len,
            ending=chunk.ending,
            duration_s=chunk.episode_duration_s,
        )
