"""Updates of a run for its readers: one versioned structure, from a snapshot to a slow reader's.

A reader names the last `seq` it has, and the supervisor replies with everything that changed since.
`since_seq == 0` is the snapshot. A slow reader gets one update that spans many: nothing queues up
for it, and `seq - since_seq - 1` says how many were merged. Columns of workers replace the
reader's; history buckets replace those of the same number; episodes and events are added.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from raydash.core.events import Event
from raydash.core.library import RunSource
from raydash.core.records import EpisodeColumns, Float32, Float64, Int32, Int64, UInt8
from raydash.core.spec import PolicySpec, RunSpec
from raydash.core.states import EndedBy, RunState

RECENT_EPISODES = 100
"""How many episodes the figures of recent episodes are over."""
MAX_EPISODES_PER_UPDATE = 2000
MAX_EVENTS = 5000
"""How many of a run's events an update holds at most, and how many its reader keeps."""
MAX_GENERATIONS = 2000


@dataclass(frozen=True, slots=True)
class WorkerColumns:
    """One row per worker, ordered by `worker_index`.

    Counts (`num_*`) are over the worker's lifetime, which spans all its incarnations.

    Attributes:
        worker_index: 1..N.
        incarnation: Incarnations before this one, which is the number of restarts.
        activity: `Activity` numbers.
        activity_age_s: How long the worker has been doing that.
        node: Index into `RunUpdate.nodes`; -1 before the worker is placed.
        pid: Process id on its node; 0 when there is none.
        seed: Seed of the first reset of this incarnation.
        num_terminated: Episodes with the flag `terminated`.
        num_truncated: Episodes with the flag `truncated`.
        num_error: Episodes that ended in an error.
        env_steps_per_s: Over the last 10 s.
        return_mean: Over its last 100 episodes; NaN if none finished.
        return_n: How many episodes that mean is over.
        last_return: Return of its last episode; NaN if none finished.
        partial_len: Steps so far in the unfinished episode of its first environment.
        partial_return: Return so far of that episode.
        step_time_p95_s: 95th percentile of sampled steps; NaN if there are none.
        share_step: Share of the last 10 s spent in `env.step`; the four shares sum to at most 1.
        share_reset: Share spent in `env.reset`.
        share_policy: Share spent in the policy.
        share_idle: Share spent waiting for a request.
        cpu_percent: 100 is one core; NaN if unknown.
        rss_bytes: Resident memory; NaN if unknown.
        data_age_s: Age of its newest chunk; NaN before the first.
        weights_seq_no: Version of the parameters that its newest chunk was played with.
    """

    worker_index: Int32
    incarnation: Int32
    activity: UInt8
    activity_age_s: Float32
    node: Int32
    pid: Int32
    seed: Int64
    num_env_steps: Int64
    num_episodes: Int64
    num_terminated: Int64
    num_truncated: Int64
    num_error: Int64
    env_steps_per_s: Float32
    return_mean: Float64
    return_n: Int32
    last_return: Float64
    partial_len: Int64
    partial_return: Float64
    step_time_p95_s: Float32
    share_step: Float32
    share_reset: Float32
    share_policy: Float32
    share_idle: Float32
    cpu_percent: Float32
    rss_bytes: Float64
    data_age_s: Float32
    weights_seq_no: Int32 = field(default_factory=lambda: np.empty(0, np.int32))

    def __len__(self) -> int:
        return len(self.worker_index)


@dataclass(frozen=True, slots=True)
class RunFigures:
    """The run's figures: lifetime counters over all workers, and rates over named spans.

    Names are RLlib's where it has one. `episode_*` figures are over the whole run, `recent_*`
    figures over the last 100 episodes by finish time, all workers pooled. NaN means that there is
    no episode yet.
    """

    elapsed_s: float = 0.0
    num_env_steps_sampled_lifetime: int = 0
    num_episodes_lifetime: int = 0
    num_episodes_terminated_lifetime: int = 0
    num_episodes_truncated_lifetime: int = 0
    num_episodes_error_lifetime: int = 0
    num_episodes_both_lifetime: int = 0
    episode_return_mean: float = float("nan")
    episode_return_min: float = float("nan")
    episode_return_max: float = float("nan")
    episode_len_mean: float = float("nan")
    recent_return_mean: float = float("nan")
    recent_return_min: float = float("nan")
    recent_return_max: float = float("nan")
    recent_len_mean: float = float("nan")
    recent_n: int = 0
    env_steps_per_s_1s: float = 0.0
    env_steps_per_s_10s: float = 0.0
    env_steps_per_s_60s: float = 0.0
    episodes_per_s_10s: float = 0.0
    share_step: float = 0.0
    share_reset: float = 0.0
    share_policy: float = 0.0
    share_idle: float = 0.0
    num_restarts: int = 0


@dataclass(frozen=True, slots=True)
class ScalarFigures:
    """Named scalars of a run's episodes.

    Attributes:
        names: `is_success` and other keys of info, in the order in which they first came up.
        mean: Mean over the whole run, per name; NaN: no episode had it.
        recent_mean: Mean over the last 100 episodes that had it, by finish time, all workers
            pooled.
        count: Episodes behind `mean`.
    """

    names: tuple[str, ...] = ()
    mean: Float64 = field(default_factory=lambda: np.empty(0))
    recent_mean: Float64 = field(default_factory=lambda: np.empty(0))
    count: Int64 = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class AgentFigures:
    """Figures of the agents of a multi-agent environment.

    Attributes:
        names: In the order in which they first came up.
        num_steps: Actions of each agent, lifetime.
        episode_return_mean: Mean over the whole run; NaN: no episode ended.
        recent_return_mean: Mean over the agent's last 100 episodes by finish time.
        num_episodes: Episodes in which the agent took part, lifetime, without those with an error.
    """

    names: tuple[str, ...] = ()
    num_steps: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    episode_return_mean: Float64 = field(default_factory=lambda: np.empty(0))
    recent_return_mean: Float64 = field(default_factory=lambda: np.empty(0))
    num_episodes: Int64 = field(default_factory=lambda: np.empty(0, np.int64))


@dataclass(frozen=True, slots=True)
class GenerationRow:
    """One finished generation; the fields are the columns of `Generations`."""

    number: int
    end_s: float
    num_env_steps: int
    return_mean: float
    return_best: float
    return_worst: float
    evaluation_mean: float = float("nan")
    evaluation_n: int = 0
    sigma: float = float("nan")


@dataclass(frozen=True, slots=True)
class Generations:
    """Finished generations of a learner, oldest first, with a column per figure.

    Attributes:
        number: 1, 2, 3, ...: the `weights_seq_no` that its candidates played with.
        end_s: When its last result came in, in seconds on the run's clock.
        num_env_steps: Steps of the whole run by then.
        return_mean: Mean over the returns of its candidates.
        return_best: Return of its best candidate.
        return_worst: Return of its worst candidate.
        evaluation_mean: Mean return of the best guess that it led to; NaN: it was not evaluated.
        evaluation_n: Episodes of that evaluation.
        sigma: Step size of the search; NaN if the learner has none.
    """

    number: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    end_s: Float64 = field(default_factory=lambda: np.empty(0))
    num_env_steps: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    return_mean: Float64 = field(default_factory=lambda: np.empty(0))
    return_best: Float64 = field(default_factory=lambda: np.empty(0))
    return_worst: Float64 = field(default_factory=lambda: np.empty(0))
    evaluation_mean: Float64 = field(default_factory=lambda: np.empty(0))
    evaluation_n: Int64 = field(default_factory=lambda: np.empty(0, np.int64))
    sigma: Float64 = field(default_factory=lambda: np.empty(0))

    def __len__(self) -> int:
        return len(self.number)

    @staticmethod
    def kept_of(count: int) -> Int64:
        """Choose which of `count` rows to keep: the newest, and the older they are, the fewer."""
        kept = np.arange(count)
        while len(kept) > MAX_GENERATIONS:
            half = len(kept) // 2
            kept = np.concatenate([kept[:half:2], kept[half:]])
        return kept

    def rows(self, which: Int64) -> "Generations":
        """Take some of the rows."""
        return Generations(*(getattr(self, name)[which] for name in Generations.__slots__))

    @staticmethod
    def joined(batches: "Sequence[Generations]") -> "Generations":
        """Concatenate all batches."""
        if len(batches) == 1:
            return batches[0]
        names = Generations.__slots__
        return Generations(
            *(np.concatenate([getattr(batch, name) for batch in batches]) for name in names)
        )

    @staticmethod
    def of(rows: Sequence[GenerationRow]) -> "Generations":
        """Turn rows into columns."""
        return Generations(
            number=np.array([row.number for row in rows], np.int64),
            end_s=np.array([row.end_s for row in rows], np.float64),
            num_env_steps=np.array([row.num_env_steps for row in rows], np.int64),
            return_mean=np.array([row.return_mean for row in rows], np.float64),
            return_best=np.array([row.return_best for row in rows], np.float64),
            return_worst=np.array([row.return_worst for row in rows], np.float64),
            evaluation_mean=np.array([row.evaluation_mean for row in rows], np.float64),
            evaluation_n=np.array([row.evaluation_n for row in rows], np.int64),
            sigma=np.array([row.sigma for row in rows], np.float64),
        )


@dataclass(frozen=True, slots=True)
class LearningFigures:
    """How the learning of a run stands.

    Attributes:
        weights_seq_no: Version of the newest parameters: the generation that is being played.
        weights_age_s: Time since they came from the learner.
        population: Number of candidates of this generation.
        num_played: How many of them have played all their episodes.
        num_generations: Finished generations.
        num_parameters: Parameters of the policy.
        best_episode_return_mean: Mean return of the best candidate so far; NaN: none yet.
        evaluation_episode_return_mean: Mean return of the newest complete evaluation; NaN: none
            yet.
        evaluation_n: Episodes of that evaluation.
        num_evaluation_episodes_lifetime: Episodes of all evaluations.
        target_return: The run ends when an evaluation reaches it; None: no target.
        best_policy: Path of the best policy so far; empty: none was saved yet.
        num_stale: Results of earlier generations that came too late and were dropped.
        num_restarts: How often the search was started again.
        generation_return_mean: Mean over the candidates of the newest finished generation.
        generations: Generations that are new since `since_seq`.
    """

    weights_seq_no: int = 0
    weights_age_s: float = 0.0
    population: int = 0
    num_played: int = 0
    num_generations: int = 0
    num_parameters: int = 0
    best_episode_return_mean: float = float("nan")
    evaluation_episode_return_mean: float = float("nan")
    evaluation_n: int = 0
    num_evaluation_episodes_lifetime: int = 0
    target_return: float | None = None
    best_policy: str = ""
    num_stale: int = 0
    num_restarts: int = 0
    generation_return_mean: float = float("nan")
    generations: Generations = field(default_factory=Generations)


@dataclass(frozen=True, slots=True)
class HistoryDelta:
    """The changed tail of one resolution of a run's history.

    Bucket k covers `[k * bucket_s, (k + 1) * bucket_s)` of the run's clock. The rows here are
    buckets `first_bucket`, `first_bucket + 1`, ...; they replace those that the reader has.
    If `bucket_s` differs from the reader's, the reader forgets what it had.

    Attributes:
        bucket_s: Width of a bucket.
        first_bucket: Number of the first row.
        oldest_bucket: Number of the oldest bucket that is kept; the reader drops those before it.
        num_env_steps: Steps in the bucket, all workers.
        num_terminated: Episodes that were terminated only.
        num_truncated: Episodes that were truncated only.
        num_both: Episodes with both flags.
        num_error: Episodes that ended in an error.
        return_n: Episodes behind the return figures.
        return_mean: NaN where `return_n` is 0, like the next four.
        return_min: Smallest return.
        return_max: Largest return.
        return_p10: 10 % quantile; approximate, with an error of at most 1 % of the bucket's range.
        return_p90: 90 % quantile, equally approximate.
        worker_steps: Steps per worker, shape (rows, workers); column j is worker j + 1.
        worker_return_mean: Mean return per worker, same shape; NaN where no episode ended.
        scalar_names: Names of the columns of `scalar_mean`: keys of info, and
            `agent_episode_return_mean/<agent>`. New names are appended.
        scalar_mean: Mean over the episodes of the bucket that had it, shape (rows, names); NaN:
            none had.
    """

    bucket_s: float
    first_bucket: int
    oldest_bucket: int
    num_env_steps: Float64
    num_terminated: Int64
    num_truncated: Int64
    num_both: Int64
    num_error: Int64
    return_n: Int64
    return_mean: Float64
    return_min: Float64
    return_max: Float64
    return_p10: Float64
    return_p90: Float64
    worker_steps: Float32
    worker_return_mean: Float32
    scalar_names: tuple[str, ...] = ()
    scalar_mean: Float32 = field(default_factory=lambda: np.empty((0, 0), np.float32))

    def __len__(self) -> int:
        return len(self.num_env_steps)


@dataclass(frozen=True, slots=True)
class RunInfo:
    """What does not change during a run.

    Attributes:
        run_id: Unique; sorts by start.
        owner: `user@host` of the user who started it.
        started_utc: ISO 8601.
        recording: Path of its DuckDB file.
        log_dir: Folder of the worker logs that were kept.
        node: IP address of the supervisor's node.
        raydash_version: Version of the supervisor.
        protocol_version: Version of the supervisor's messages.
        recorded_until_s: For a run that is shown from its file, the run's clock at its end (the
            update's `t_s` may be earlier, because the window can scrub). None: the run is live.
        source_dirs: Folders from which the user's own modules are imported.
    """

    run_id: str
    owner: str
    started_utc: str
    recording: str
    log_dir: str
    node: str
    raydash_version: str
    protocol_version: int
    source: RunSource = RunSource.RAYDASH
    recorded_until_s: float | None = None
    source_dirs: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class SupervisorHealth:
    """How the supervisor itself is doing.

    Attributes:
        incarnation: How often Ray restarted it.
        tick_ms: Median duration of one turn of its loop.
        results_per_s: Chunks collected per second, over the last 10 s.
        recorder_lag_s: Age of the oldest uncommitted episode.
        recording_bytes: Size of the file; 0 if unknown.
        cpu_percent: 100 is one core.
        num_readers: Number of engines attached.
        keep: Somebody chose to keep the run when its last window leaves.
        recording_fault: Why recording fails; empty if it does not.
    """

    pid: int = 0
    incarnation: int = 0
    tick_ms: float = 0.0
    results_per_s: float = 0.0
    recorder_lag_s: float = 0.0
    recording_bytes: int = 0
    cpu_percent: float = 0.0
    num_readers: int = 0
    keep: bool = False
    recording_fault: str = ""


@dataclass(frozen=True, slots=True)
class RunUpdate:
    """What changed in a run between `since_seq` and `seq`.

    Attributes:
        seq: The version that this update leads to.
        since_seq: The version that it starts from; 0 for a snapshot.
        t_s: The run's clock, in seconds since its start.
        ended_by: Why it ended, once it is over or stopping.
        cause: Why the run failed or was interrupted, in words.
        paused: The whole run is asked to pause (its workers may still be pausing).
        num_workers: How many workers the run should have.
        info: None except in a snapshot.
        spec: None except in a snapshot.
        figures: Figures of the whole run.
        workers: All workers.
        nodes: Node addresses that `workers.node` points into.
        pending: By worker index: why it is not placed yet, in words.
        episodes: Episodes since `since_seq`, the newest 2 000 of them.
        num_episodes_omitted: How many older ones are left out (they are in the buckets).
        recent: Buckets of 0.5 s, the last 10 minutes.
        whole: Buckets of the whole run; their width doubles as it grows.
        events: Events since `since_seq`.
        last: No update will follow: the recording is closed.
        policy: The policy that chooses the actions now; None: the one in the spec.
        weights_seq_no: How often parameters or policy were changed so far.
        scalars: Named scalars of the episodes.
        agents: Agents of a multi-agent environment; None: it has one agent.
        learning: How the learning stands; None: nothing learns.
    """

    run_id: str
    seq: int
    since_seq: int
    t_s: float
    state: RunState
    ended_by: EndedBy | None
    cause: str
    paused: bool
    num_workers: int
    info: RunInfo | None
    spec: RunSpec | None
    figures: RunFigures
    workers: WorkerColumns
    nodes: tuple[str, ...]
    pending: dict[int, str]
    episodes: EpisodeColumns
    num_episodes_omitted: int
    recent: HistoryDelta
    whole: HistoryDelta
    events: tuple[Event, ...]
    health: SupervisorHealth = field(default_factory=SupervisorHealth)
    last: bool = False
    policy: PolicySpec | None = None
    weights_seq_no: int = 0
    scalars: ScalarFigures = field(default_factory=ScalarFigures)
    agents: AgentFigures | None = None
    learning: LearningFigures | None = None

    @property
    def num_merged(self) -> int:
        """How many updates this one stands for besides itself; 0 for a snapshot."""
        return max(0, self.seq - self.since_seq - 1) if self.since_seq else 0
