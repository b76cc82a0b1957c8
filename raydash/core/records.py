"""What workers hand back: columns, never rows.

All times are seconds. A chunk travels as bytes from `raydash.protocol.codec`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raydash.core.faults import Fault
from raydash.core.named_columns import all_names, placed

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]

NO_CANDIDATE = -1
"""Stands for the index of a candidate where a policy does not learn."""
AGENT_RETURN_MEAN = "agent_episode_return_mean"
TIME_DECIMALS = 5
"""Times of episodes are kept to 10 microseconds, everywhere: more would be noise on disk."""


def agent_return_name(agent: str) -> str:
    """The name under which an agent's returns are metrics."""
    return f"{AGENT_RETURN_MEAN}/{agent}"


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
class EpisodeScalars:
    """Named scalars of some episodes; row i is the i-th episode of the columns they come with.

    Attributes:
        names: Of the columns.
        values: Shape (episodes, names); NaN where an episode has no such value.
    """

    names: tuple[str, ...] = ()
    values: Float64 = field(default_factory=lambda: np.empty((0, 0)))

    def __len__(self) -> int:
        return len(self.values)

    @staticmethod
    def joined(parts: "Sequence[EpisodeScalars]") -> "EpisodeScalars":
        """All parts behind one another."""
        names = all_names(part.names for part in parts)
        values = [placed(part.values, part.names, names, np.nan) for part in parts]
        return EpisodeScalars(names, np.concatenate(values))


@dataclass(frozen=True, slots=True)
class AgentEpisodes:
    """What each agent did in some episodes; row i is the i-th episode of the columns.

    Attributes:
        names: Of the agents.
        episode_return: Undiscounted, shape (episodes, agents); NaN where an agent took no part.
        num_steps: Actions of the agent in the episode, same shape.
        num_steps_total: Of a chunk: all actions of each agent in this life of the worker, those in
            unfinished episodes included, shape (agents,).
    """

    names: tuple[str, ...] = ()
    episode_return: Float64 = field(default_factory=lambda: np.empty((0, 0)))
    num_steps: Int64 = field(default_factory=lambda: np.empty((0, 0), np.int64))
    num_steps_total: Int64 = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.episode_return)

    @staticmethod
    def joined(parts: "Sequence[AgentEpisodes]") -> "AgentEpisodes":
        """The episodes of all parts behind one another, without totals."""
        names = all_names(part.names for part in parts)
        returns = [placed(part.episode_return, part.names, names, np.nan) for part in parts]
        steps = [placed(part.num_steps, part.names, names, 0) for part in parts]
        return AgentEpisodes(names, np.concatenate(returns), np.concatenate(steps))


@dataclass(frozen=True, slots=True)
class ObservationSums:
    """Moments of observations, to be merged (Chan et al.) by whoever normalises with them.

    Attributes:
        count: Observations behind them.
        mean: Of each number of the flattened observation.
        m2: Sum of squared differences from the mean, likewise.
    """

    count: int
    mean: Float64
    m2: Float64

    @staticmethod
    def of(observations: Float64) -> "ObservationSums":
        """Those of a matrix with an observation in each row."""
        mean = observations.mean(axis=0)
        return ObservationSums(len(observations), mean, ((observations - mean) ** 2).sum(axis=0))

    @staticmethod
    def merged(parts: "Sequence[ObservationSums]") -> "ObservationSums | None":
        """Those of all parts together, whatever their order; None if there is none."""
        merged: ObservationSums | None = None
        for part in parts:
            if merged is None:
                merged = part
                continue
            count = merged.count + part.count
            apart = part.mean - merged.mean
            merged = ObservationSums(
                count,
                merged.mean + apart * (part.count / count),
                merged.m2 + part.m2 + apart**2 * (merged.count * part.count / count),
            )
        return merged


@dataclass(frozen=True, slots=True)
class Parameters:
    """What a learner gives out for one generation; it travels to the workers as it is.

    Attributes:
        weights_seq_no: The generation.
        sizes: Of the network: inputs, neurons of each hidden layer, outputs.
        candidates: One flat vector a row, shape (population, num_parameters).
        best_guess: The one that is evaluated, shape (num_parameters,).
        mean: Of the flattened observations so far, as the generation normalises them.
        std: Their standard deviation, above 0.
    """

    weights_seq_no: int
    sizes: tuple[int, ...]
    candidates: Float64
    best_guess: Float64
    mean: Float64
    std: Float64


@dataclass(frozen=True, slots=True)
class GenerationResults:
    """What a learner is told of the generation that it gave out last.

    Attributes:
        returns: Mean return of each candidate, in their order; None: they are lost.
        observations: Of its episodes; None: there are none.
    """

    returns: Float64 | None
    observations: ObservationSums | None


@dataclass(frozen=True, slots=True)
class ParametersReady:
    """A learner's answer: the `Parameters` of a generation can go out.

    Attributes:
        weights_seq_no: The generation.
        population: Its candidates.
        num_parameters: Of each.
        sigma: Step size of the search; NaN if the learner has none.
        num_restarts: Times that the search began anew, lifetime.
        went_on_from: The first answer of a process: the generation that its state was kept after;
            0: there was none, the search begins anew. None: not the first.
    """

    weights_seq_no: int
    population: int
    num_parameters: int
    sigma: float = float("nan")
    num_restarts: int = 0
    went_on_from: int | None = None


@dataclass(frozen=True, slots=True)
class LearnerFault:
    """A learner's answer when it raised, or gave what can't be played."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class PolicyWritten:
    """The best guess that came with a generation is on disk; `trouble`, in words: it is not."""

    weights_seq_no: int
    path: str
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """Episodes of a learner's candidates that a worker is to play, one after the other.

    Attributes:
        weights_seq_no: The generation.
        candidates: Of each episode, the row of the generation's parameters; in an evaluation,
            where the best guess plays them all, the evaluation's number.
        episodes: Of each episode, which one of its candidate (of the evaluation) it is, from 0.
        evaluation: They count in no rollout figure.
    """

    weights_seq_no: int
    candidates: tuple[int, ...]
    episodes: tuple[int, ...]
    evaluation: bool = False

    def __len__(self) -> int:
        return len(self.candidates)


@dataclass(frozen=True, slots=True)
class PlayedWork:
    """What a chunk says to a learner.

    Attributes:
        weights_seq_no: As in `RolloutChunk`, like the next two.
        candidate: Of each finished episode, in order.
        evaluation: They were played to evaluate.
        episode_return: Of the same episodes; NaN for an error.
        work_left: As in `RolloutChunk`.
        observations: Likewise.
    """

    weights_seq_no: int
    candidate: Int32
    evaluation: bool
    episode_return: Float64
    work_left: int
    observations: ObservationSums | None = None

    @staticmethod
    def of(chunk: "RolloutChunk") -> "PlayedWork":
        """What this chunk says."""
        return PlayedWork(
            chunk.weights_seq_no,
            chunk.candidate,
            chunk.evaluation,
            chunk.episode_return,
            chunk.work_left,
            chunk.observations,
        )


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
        scalars: Of the same episodes: scalars from their last step's info.
        ignored_info: Keys of info that were asked for, and held something else than a number.
        agents: Of the same episodes, in multi-agent environments: what each agent did.
        weights_seq_no: Of the parameters that chose the actions: how often they were changed so
            far; of a learner's candidates the generation.
        candidate: Of the same episodes, which candidate played (as in `Work`); empty where nothing
            learns.
        evaluation: All of this was played to evaluate: the counts in `totals` leave it out.
        work_left: Episodes of the work that came with the request and were not begun.
        observations: Of the steps of this chunk, for a learner that normalises.
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
    scalars: EpisodeScalars = field(default_factory=EpisodeScalars)
    ignored_info: tuple[str, ...] = ()
    agents: AgentEpisodes = field(default_factory=AgentEpisodes)
    weights_seq_no: int = 0
    candidate: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    evaluation: bool = False
    work_left: int = 0
    observations: ObservationSums | None = None


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
        progress_path: The mapped file with its phase and step count (`worker/node/progress.py`).
        num_inputs: Numbers in a flattened observation, if a policy is to be learnt; else 0.
        num_outputs: That a policy gives for an action, likewise.
        progress_node_id: Where that file is; empty: on its own node.
    """

    worker_index: int
    incarnation: int
    pid: int
    node: str
    node_id: str
    seed: int
    log_paths: tuple[str, ...] = ()
    progress_path: str = ""
    num_inputs: int = 0
    num_outputs: int = 0
    progress_node_id: str = ""


@dataclass(frozen=True, slots=True)
class PolicySet:
    """A worker's answer when it is given another policy.

    Attributes:
        worker_index: 1..N.
        incarnation: 0 for the first life.
        weights_seq_no: Of that policy.
        fault: Why it keeps the one that it has; None: the next slice is played with the new one.
    """

    worker_index: int
    incarnation: int
    weights_seq_no: int
    fault: Fault | None = None


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
        phase: `raydash.worker.node.progress.Phase` numbers; 255 if unknown, the next three then -1.
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


@dataclass(frozen=True, slots=True)
class EpisodeExtras:
    """What only some runs know of their episodes; row i is the i-th of the columns it comes with.

    Attributes:
        weights_seq_no: Of the parameters that chose the actions.
        candidate: Of a learner; `NO_CANDIDATE` where nothing learns.
        scalars: From the last step's info.
        agents: In multi-agent environments.
    """

    weights_seq_no: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    candidate: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    scalars: EpisodeScalars = field(default_factory=EpisodeScalars)
    agents: AgentEpisodes = field(default_factory=AgentEpisodes)

    def __len__(self) -> int:
        return len(self.weights_seq_no)

    @staticmethod
    def unknown(count: int) -> "EpisodeExtras":
        """Of episodes of which nothing is known."""
        return EpisodeExtras(
            weights_seq_no=np.zeros(count, np.int32),
            candidate=np.full(count, NO_CANDIDATE, np.int32),
            scalars=EpisodeScalars((), np.empty((count, 0))),
            agents=AgentEpisodes((), np.empty((count, 0)), np.empty((count, 0), np.int64)),
        )

    @staticmethod
    def from_chunk(chunk: RolloutChunk) -> "EpisodeExtras":
        """Those of a chunk's episodes."""
        count = len(chunk.ending)
        unknown = EpisodeExtras.unknown(count)
        return EpisodeExtras(
            weights_seq_no=np.full(count, chunk.weights_seq_no, np.int32),
            candidate=chunk.candidate if len(chunk.candidate) else unknown.candidate,
            scalars=chunk.scalars if chunk.scalars.names else unknown.scalars,
            agents=chunk.agents if chunk.agents.names else unknown.agents,
        )

    @staticmethod
    def joined(batches: "list[EpisodeExtras]") -> "EpisodeExtras":
        """All batches behind one another; names that some do not know are NaN (0 steps) there."""
        batches = [batch for batch in batches if len(batch)]
        if len(batches) < 2:
            return batches[0] if batches else EpisodeExtras()
        return EpisodeExtras(
            weights_seq_no=np.concatenate([batch.weights_seq_no for batch in batches]),
            candidate=np.concatenate([batch.candidate for batch in batches]),
            scalars=EpisodeScalars.joined([batch.scalars for batch in batches]),
            agents=AgentEpisodes.joined([batch.agents for batch in batches]),
        )

    def plotted(self) -> EpisodeScalars:
        """All that is shown over time: the scalars, and the agents' returns."""
        agents = self.agents
        if not agents.names:
            return self.scalars
        names = tuple(agent_return_name(agent) for agent in agents.names)
        return EpisodeScalars(
            self.scalars.names + names,
            np.concatenate([self.scalars.values, agents.episode_return], axis=1),
        )


@dataclass(frozen=True, slots=True)
class EvaluationEpisodes:
    """Episodes that were played to evaluate.

    Attributes:
        episodes: What is known of any episode.
        weights_seq_no: Of the same: with which parameters; the best guess came with them.
        evaluation: Of the same: of which evaluation each is one, 1, 2, 3, ...
    """

    episodes: EpisodeColumns = field(default_factory=EpisodeColumns)
    weights_seq_no: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    evaluation: Int32 = field(default_factory=lambda: np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.episodes)

    @staticmethod
    def from_chunk(chunk: RolloutChunk, *, started_s: float) -> "EvaluationEpisodes":
        """Those of a chunk whose first instant was `started_s` on the run's clock."""
        return EvaluationEpisodes(
            EpisodeColumns.from_chunk(chunk, started_s=started_s),
            np.full(len(chunk.ending), chunk.weights_seq_no, np.int32),
            chunk.candidate,
        )

    @staticmethod
    def joined(batches: "Sequence[EvaluationEpisodes]") -> "EvaluationEpisodes":
        """All batches behind one another."""
        if len(batches) < 2:
            return batches[0] if batches else EvaluationEpisodes()
        return EvaluationEpisodes(
            EpisodeColumns.joined([batch.episodes for batch in batches]),
            np.concatenate([batch.weights_seq_no for batch in batches]),
            np.concatenate([batch.evaluation for batch in batches]),
        )
