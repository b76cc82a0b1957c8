"""What workers, learners and probes give back, in columns rather than rows.

All times are in seconds. A chunk travels as bytes from `raydash.protocol.codec`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from raydash.core.faults import Fault
from raydash.core.history.named_columns import all_names, placed

Float64 = NDArray[np.float64]
Float32 = NDArray[np.float32]
Int64 = NDArray[np.int64]
Int32 = NDArray[np.int32]
UInt8 = NDArray[np.uint8]

NO_CANDIDATE = -1
"""The index of a candidate where nothing learns."""
AGENT_RETURN_MEAN = "agent_episode_return_mean"
TIME_DECIMALS = 5
"""Times of episodes are rounded to 10 microseconds everywhere: more would be noise on disk."""


def agent_return_name(agent: str) -> str:
    """Return the name of the metric that an agent's returns are."""
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
    """An exception raised by `env.reset`, `env.step` or the policy.

    Attributes:
        offset_s: When it was raised, from the chunk's start.
        where: `reset`, `step`, `policy` or `make`.
        message: The exception's type and text, on one line.
    """

    offset_s: float
    where: str
    message: str
    traceback: str


@dataclass(frozen=True, slots=True)
class EpisodeScalars:
    """Named scalars of some episodes; row i is the i-th episode of the columns they come with.

    Attributes:
        names: Names of the columns of `values`.
        values: Shape (episodes, names); NaN where an episode has no such value.
    """

    names: tuple[str, ...] = ()
    values: Float64 = field(default_factory=lambda: np.empty((0, 0)))

    def __len__(self) -> int:
        return len(self.values)

    @staticmethod
    def joined(parts: "Sequence[EpisodeScalars]") -> "EpisodeScalars":
        """Concatenate the parts; a name that a part lacks is NaN there."""
        names = all_names(part.names for part in parts)
        values = [placed(part.values, part.names, names, np.nan) for part in parts]
        return EpisodeScalars(names, np.concatenate(values))


@dataclass(frozen=True, slots=True)
class AgentEpisodes:
    """What each agent did in some episodes; row i is the i-th episode of the columns.

    Attributes:
        names: Names of the agents.
        episode_return: Undiscounted, shape (episodes, agents); NaN where an agent took no part.
        num_steps: Actions of the agent in the episode, same shape.
        num_steps_total: In a chunk: all actions of each agent in this incarnation of the worker,
            those in unfinished episodes included, shape (agents,).
    """

    names: tuple[str, ...] = ()
    episode_return: Float64 = field(default_factory=lambda: np.empty((0, 0)))
    num_steps: Int64 = field(default_factory=lambda: np.empty((0, 0), np.int64))
    num_steps_total: Int64 = field(default_factory=lambda: np.empty(0, np.int64))

    def __len__(self) -> int:
        return len(self.episode_return)

    @staticmethod
    def joined(parts: "Sequence[AgentEpisodes]") -> "AgentEpisodes":
        """Concatenate the episodes of the parts, without totals."""
        names = all_names(part.names for part in parts)
        returns = [placed(part.episode_return, part.names, names, np.nan) for part in parts]
        steps = [placed(part.num_steps, part.names, names, 0) for part in parts]
        return AgentEpisodes(names, np.concatenate(returns), np.concatenate(steps))


@dataclass(frozen=True, slots=True)
class ObservationSums:
    """Moments of observations, for normalising them; parts are merged as Chan et al. do.

    Attributes:
        count: Observations behind the moments.
        mean: Mean of each number of the flattened observation.
        m2: Sum of squared differences from the mean, of each number.
    """

    count: int
    mean: Float64
    m2: Float64

    @staticmethod
    def of(observations: Float64) -> "ObservationSums":
        """Compute the moments of a matrix with an observation in each row."""
        mean = observations.mean(axis=0)
        return ObservationSums(len(observations), mean, ((observations - mean) ** 2).sum(axis=0))

    @staticmethod
    def merged(parts: "Sequence[ObservationSums]") -> "ObservationSums | None":
        """Merge all parts, in any order; None if there are none."""
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
    """What a learner gives out for one generation; workers get it unchanged.

    Attributes:
        weights_seq_no: The number of the generation.
        sizes: Layers of the network: inputs, neurons of each hidden layer, outputs.
        candidates: One flat vector of parameters per row, shape (population, num_parameters).
        best_guess: The parameters that are evaluated, shape (num_parameters,).
        mean: Mean of the flattened observations so far, by which the generation normalises.
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
    """What a learner is told about the generation that it gave out last.

    Attributes:
        returns: Mean return of each candidate, in their order; None: they are lost.
        observations: Moments of the observations of its episodes; None: there are none.
    """

    returns: Float64 | None
    observations: ObservationSums | None


@dataclass(frozen=True, slots=True)
class ParametersReady:
    """A learner's reply: the `Parameters` of a generation are ready.

    Attributes:
        weights_seq_no: The number of the generation.
        population: Number of candidates.
        num_parameters: Number of parameters of each candidate.
        sigma: Step size of the search; NaN if the learner has none.
        num_restarts: How often the search was started again, lifetime.
        went_on_from: In the first reply of a process: the generation after which the state that it
            loaded was saved; 0: there was none, so the search starts from nothing. None in all
            other replies.
    """

    weights_seq_no: int
    population: int
    num_parameters: int
    sigma: float = float("nan")
    num_restarts: int = 0
    went_on_from: int | None = None


@dataclass(frozen=True, slots=True)
class LearnerFault:
    """A learner's reply when it raised, or gave parameters that can't be played."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class PolicyWritten:
    """A learner's reply to a save: the best guess is on disk, unless `trouble` says why not."""

    weights_seq_no: int
    path: str
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class Work:
    """Episodes of a learner's candidates that a worker is to play, one after the other.

    Attributes:
        weights_seq_no: The number of the generation.
        candidates: For each episode the row of its candidate in the generation's parameters. In an
            evaluation, where the best guess plays them all, it is the evaluation's number.
        episodes: For each episode its number, from 0, within its candidate or evaluation.
        evaluation: The episodes are an evaluation, and count in no rollout figure.
    """

    weights_seq_no: int
    candidates: tuple[int, ...]
    episodes: tuple[int, ...]
    evaluation: bool = False

    def __len__(self) -> int:
        return len(self.candidates)


@dataclass(frozen=True, slots=True)
class PlayedWork:
    """The part of a chunk that matters to a learner; the fields mean what they do there."""

    weights_seq_no: int
    candidate: Int32
    evaluation: bool
    episode_return: Float64
    work_left: int
    observations: ObservationSums | None = None

    @staticmethod
    def of(chunk: "RolloutChunk") -> "PlayedWork":
        """Take what matters to a learner from a chunk."""
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
    """What a worker gives back for one request. Columns hold its finished episodes, in order.

    Attributes:
        worker_index: 1..N.
        incarnation: Counts from 0.
        duration_s: Wall time that the request took.
        first_step_offset_s: When its first step returned, from the chunk's start; NaN: none did.
        totals: Cumulative counters of this incarnation, this chunk included.
        env_index: Which of the worker's environments played the episode.
        episode_return: Undiscounted sums of rewards; NaN for an episode with an error.
        episode_len: In steps.
        ending: `raydash.core.states.Ending` numbers.
        end_offset_s: When each episode ended, from the chunk's start.
        episode_duration_s: Wall time from reset to end, idle time included.
        step_time_s: Sampled durations of `env.step`.
        reset_time_s: Durations of `env.reset` (at most 64 a chunk).
        partial_len: Steps so far of each environment's unfinished episode.
        partial_return: Return so far of each environment's unfinished episode.
        errors: Exceptions, at most 16 a chunk; `totals.num_error` counts all.
        failures_in_a_row: Episodes with an error since the last good step.
        drained: All environments are between episodes and will not begin another.
        scalars: Scalars from the info of each episode's last step.
        ignored_info: Keys of info that were asked for but did not hold a number.
        agents: In multi-agent environments: what each agent did in each episode.
        weights_seq_no: Version of the parameters that chose the actions: how often they had been
            changed, or the generation of a learner's candidates.
        candidate: The candidate that played each episode (as in `Work`); empty: nothing learns.
        evaluation: The episodes were an evaluation, which the counts in `totals` leave out.
        work_left: How many episodes that came with the request were not begun.
        observations: Moments of the observations of this chunk, for a learner that normalises.
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
    """A worker's reply to `prepare`: the environment is made and reset.

    Attributes:
        worker_index: 1..N.
        incarnation: Counts from 0.
        pid: Its process id on `node`.
        node: The node's IP address.
        node_id: Ray's id of the node, in hex.
        seed: The seed of its first reset.
        log_paths: Its stdout and stderr files on the node.
        progress_path: The mapped file with its phase and step count (`worker/node/progress.py`).
        num_inputs: Numbers in a flattened observation, if a policy is to be learnt; else 0.
        num_outputs: Numbers that a policy gives for an action, if it is to be learnt; else 0.
        progress_node_id: Ray's id of the node where that file is; empty: its own node.
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
    """A worker's reply when it is offered another policy.

    Attributes:
        weights_seq_no: Version of that policy.
        fault: Why it keeps the policy that it has; None: its next request uses the new one.
    """

    worker_index: int
    incarnation: int
    weights_seq_no: int
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class WorkerFault:
    """A worker's reply when its environment can't be made, reset or closed."""

    worker_index: int
    incarnation: int
    fault: Fault


@dataclass(frozen=True, slots=True)
class ProbeReading:
    """Vital signs of some workers of one node; row i is the i-th worker that was asked about.

    Attributes:
        cpu_percent: Since the reading before; 100 is one core. NaN if unknown.
        rss_bytes: Resident memory; NaN if the process is gone.
        phase: `raydash.worker.node.progress.Phase` numbers; 255 if unknown, the next three then -1.
        num_env_steps: Steps of this incarnation.
        episode_len: Steps of the unfinished episode.
        counter: Grows with every batch of steps and every reset.
        node_cpu_percent: Of all cores together, 0 to 100.
        node_memory_used_bytes: Memory that is not available to new processes.
        node_memory_bytes: All memory of the node.
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
        end_s: When each episode ended, in seconds since the run's start.
        worker_index: 1..N.
        env_index: Which of the worker's environments played it.
        incarnation: Which incarnation of the worker played it, from 0.
        episode_return: Undiscounted; NaN for an episode with an error.
        episode_len: In steps.
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
        """Return the newest `count` episodes."""
        if count >= len(self):
            return self
        cut = len(self) - count
        return EpisodeColumns(*(getattr(self, name)[cut:] for name in self.__slots__))

    @staticmethod
    def joined(batches: "list[EpisodeColumns]") -> "EpisodeColumns":
        """Concatenate all batches."""
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
        """Take the episodes of a chunk that began at `started_s` on the run's clock."""
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
    """What only some runs know about their episodes; row i is the i-th of the accompanying columns.

    Attributes:
        weights_seq_no: Version of the parameters that chose the actions.
        candidate: The learner's candidate that played; `NO_CANDIDATE`: nothing learns.
        scalars: Scalars from the info of the last step.
        agents: What each agent did, in multi-agent environments.
    """

    weights_seq_no: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    candidate: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    scalars: EpisodeScalars = field(default_factory=EpisodeScalars)
    agents: AgentEpisodes = field(default_factory=AgentEpisodes)

    def __len__(self) -> int:
        return len(self.weights_seq_no)

    @staticmethod
    def unknown(count: int) -> "EpisodeExtras":
        """Make the extras of `count` episodes about which nothing more is known."""
        return EpisodeExtras(
            weights_seq_no=np.zeros(count, np.int32),
            candidate=np.full(count, NO_CANDIDATE, np.int32),
            scalars=EpisodeScalars((), np.empty((count, 0))),
            agents=AgentEpisodes((), np.empty((count, 0)), np.empty((count, 0), np.int64)),
        )

    @staticmethod
    def from_chunk(chunk: RolloutChunk) -> "EpisodeExtras":
        """Take the extras of a chunk's episodes."""
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
        """Concatenate all batches; a name that a batch lacks is NaN (or 0 steps) there."""
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
        """Return all that is plotted over time: the scalars, and the agents' returns."""
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
    """Episodes that were played in evaluations.

    Attributes:
        episodes: What is known about any episode.
        weights_seq_no: For each episode, the generation whose best guess played it.
        evaluation: For each episode, the number of its evaluation: 1, 2, 3, ...
    """

    episodes: EpisodeColumns = field(default_factory=EpisodeColumns)
    weights_seq_no: Int32 = field(default_factory=lambda: np.empty(0, np.int32))
    evaluation: Int32 = field(default_factory=lambda: np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.episodes)

    @staticmethod
    def from_chunk(chunk: RolloutChunk, *, started_s: float) -> "EvaluationEpisodes":
        """Take the episodes of a chunk that began at `started_s` on the run's clock."""
        return EvaluationEpisodes(
            EpisodeColumns.from_chunk(chunk, started_s=started_s),
            np.full(len(chunk.ending), chunk.weights_seq_no, np.int32),
            chunk.candidate,
        )

    @staticmethod
    def joined(batches: "Sequence[EvaluationEpisodes]") -> "EvaluationEpisodes":
        """Concatenate all batches."""
        if len(batches) < 2:
            return batches[0] if batches else EvaluationEpisodes()
        return EvaluationEpisodes(
            EpisodeColumns.joined([batch.episodes for batch in batches]),
            np.concatenate([batch.weights_seq_no for batch in batches]),
            np.concatenate([batch.evaluation for batch in batches]),
        )
