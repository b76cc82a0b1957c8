"""What passes between a window (or terminal) and its engine, and from an engine to a supervisor.

Commands go one way; each carries a `command_id` and is answered exactly once by an `Answer`.
`Hello`, and of a supervisor `status` and `stop`, never change: they let old and new meet.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from raydash.core.env_check import TIME_LIMIT_S, CheckPhase, EnvCheck
from raydash.core.faults import Fault
from raydash.core.library import DiskUse, ExportFormat, LibrarySettings, Notes, RecordedRun
from raydash.core.spec import ClusterSpec, EnvSpec, PolicySpec, RolloutSpec, RunSpec
from raydash.core.states import ClusterPhase, EndedBy, RunState
from raydash.core.updates import HistoryDelta, RunUpdate

PROTOCOL_VERSION = 3


class Verb(StrEnum):
    """What can be asked of a run or of some of its workers."""

    PAUSE = "pause"
    RESUME = "resume"
    DRAIN = "drain"
    STOP = "stop"
    RESTART = "restart"
    KILL = "kill"
    SCALE = "scale"
    KEEP = "keep"
    SWAP = "swap"


@dataclass(frozen=True, slots=True)
class Hello:
    """First frame in each direction."""

    protocol_version: int
    raydash_version: str
    pid: int


# --- commands: window -> engine ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """Launch (or join) the local cluster, or attach to `cluster.address`. Once per engine."""

    command_id: int
    cluster: ClusterSpec


@dataclass(frozen=True, slots=True)
class CancelConnect:
    """Give up a connect that is under way; the engine ends and the window starts another."""

    command_id: int


@dataclass(frozen=True, slots=True)
class StartRun:
    """Start a run. The answer carries its id.

    Attributes:
        command_id: For the answer.
        spec: What to run.
        source_dirs: Folders from which the user's own modules are imported.
        keep: Do not end the run when its last window leaves.
        simulated: Use simulated workers (bench and tests only).
    """

    command_id: int
    spec: RunSpec
    source_dirs: tuple[str, ...] = ()
    keep: bool = False
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class CommandRun:
    """Ask something of a run.

    Attributes:
        command_id: For the answer.
        run_id: Which run.
        verb: What to do.
        workers: Indices of the workers meant; None means the whole run.
        num_workers: The new number, for `scale`.
        ended_by: For `stop` of a whole run: who asked.
        policy: The new one, for `swap`.
    """

    command_id: int
    run_id: str
    verb: Verb
    workers: tuple[int, ...] | None = None
    num_workers: int | None = None
    ended_by: EndedBy = EndedBy.USER
    policy: PolicySpec | None = None


@dataclass(frozen=True, slots=True)
class AttachRun:
    """Begin to send updates of a run: a snapshot before the `Answer`.

    Of a run whose supervisor is gone it is that of its recording, and the only one.
    """

    command_id: int
    run_id: str


@dataclass(frozen=True, slots=True)
class DetachRun:
    """Send no more updates of a run."""

    command_id: int
    run_id: str


@dataclass(frozen=True, slots=True)
class FollowRuns:
    """Say which attached runs are looked at: of the others an update a second is enough.

    Attributes:
        command_id: For the answer.
        run_ids: Whose updates are sent as they come; None: everybody's, as before the first of
            these commands.
    """

    command_id: int
    run_ids: tuple[str, ...] | None


@dataclass(frozen=True, slots=True)
class StopCluster:
    """End the launched cluster and every run on it."""

    command_id: int


@dataclass(frozen=True, slots=True)
class QueryHistory:
    """Ask for a part of a run's history, at the resolution that a plot can show.

    Answered by a `HistoryRange` before the `Answer`. Of a live run its supervisor is asked, of any
    other the file.

    Attributes:
        command_id: For the answer.
        run_id: A run that is attached or was opened.
        start_s: From here on the run's clock ...
        end_s: ... to here.
        num_buckets: At most so many rows.
    """

    command_id: int
    run_id: str
    start_s: float
    end_s: float
    num_buckets: int


@dataclass(frozen=True, slots=True)
class CheckEnv:
    """Check and time an environment in a throwaway process. Needs no cluster.

    Its phases come as `EnvCheckPhase`, and what was found as `EnvChecked` before the `Answer`; an
    answer without either finding or fault tells that it was cancelled.

    Attributes:
        command_id: For the answer.
        env: Which one.
        rollout: How many a worker is to step together, and how.
        source_dirs: Folders from which the user's own modules are imported.
        time_limit_s: After so long it counts as hung, and its process is ended.
    """

    command_id: int
    env: EnvSpec
    rollout: RolloutSpec = field(default_factory=RolloutSpec)
    source_dirs: tuple[str, ...] = ()
    time_limit_s: float = TIME_LIMIT_S


@dataclass(frozen=True, slots=True)
class CancelCheck:
    """End a check that is under way, and its process; nothing happens if it is over.

    Attributes:
        command_id: For the answer.
        check_id: The `command_id` of the check.
    """

    command_id: int
    check_id: int


# --- commands about the library: window -> engine; none of them needs a cluster ------------------


@dataclass(frozen=True, slots=True)
class ListRecordings:
    """Ask for the library: answered by a `Library` before the `Answer`.

    Another comes whenever it has changed (it is looked at every few seconds from then on).
    """

    command_id: int


@dataclass(frozen=True, slots=True)
class OpenRecording:
    """Show a recording as it was at `at_s`: a `RunUpdate` (a snapshot, `last`) before the `Answer`.

    Attributes:
        command_id: For the answer, which carries the run's id.
        recording: A run's id, a unique beginning of one, or a path.
        at_s: On the run's clock; None: its end.
    """

    command_id: int
    recording: str
    at_s: float | None = None


@dataclass(frozen=True, slots=True)
class EditNotes:
    """Replace what the user wrote to a recording of the library."""

    command_id: int
    run_id: str
    notes: Notes


@dataclass(frozen=True, slots=True)
class DeleteRecordings:
    """Delete recordings and what lies beside them. A live one is refused, the others go."""

    command_id: int
    run_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ChangeLibrary:
    """Change the library's limits; retention is applied at once."""

    command_id: int
    settings: LibrarySettings


@dataclass(frozen=True, slots=True)
class ExportRecording:
    """Write a recording in another format to `out`, a path on the engine's machine."""

    command_id: int
    recording: str
    format: ExportFormat
    out: str


@dataclass(frozen=True, slots=True)
class WriteReport:
    """Write one self-contained HTML file about some recordings."""

    command_id: int
    recordings: tuple[str, ...]
    out: str


@dataclass(frozen=True, slots=True)
class ImportRecordings:
    """Make recordings of other tools' files or folders; the answer names the first run's id."""

    command_id: int
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks the engine to answer at once."""

    number: int


@dataclass(frozen=True, slots=True)
class Goodbye:
    """The window leaves on purpose: the engine gives its lease back and ends.

    Without it the end of the input means that the window died, and a launched cluster waits a
    while for another one.
    """


LibraryCommand = (
    ListRecordings
    | OpenRecording
    | EditNotes
    | DeleteRecordings
    | ChangeLibrary
    | ExportRecording
    | WriteReport
    | ImportRecordings
)
Command = (
    Connect
    | CancelConnect
    | StartRun
    | CommandRun
    | AttachRun
    | DetachRun
    | FollowRuns
    | StopCluster
    | QueryHistory
    | CheckEnv
    | CancelCheck
    | LibraryCommand
)

# --- engine -> window -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Answer:
    """The one answer to a command: done when `fault` is None."""

    command_id: int
    fault: Fault | None = None
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Pong:
    """Answer to `Ping`."""

    number: int


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """How the cluster is.

    Attributes:
        phase: Where in its life.
        text: One line for people ("starting Ray: waiting for the raylet").
        elapsed_s: Since the connect began.
        launched: Ours (True) or attached (False).
        address: HOST:PORT, empty while unknown.
        num_nodes: Alive ones.
        num_cpus: Sum over nodes.
        num_cpus_free: Not reserved by actors.
        num_gpus: Sum over nodes.
        memory_bytes: Of all nodes.
        token_auth: The cluster demands a token.
        ray_version: Of the cluster.
        fault: Why it failed or was lost.
    """

    phase: ClusterPhase
    text: str = ""
    elapsed_s: float = 0.0
    launched: bool = True
    address: str = ""
    num_nodes: int = 0
    num_cpus: float = 0.0
    num_cpus_free: float = 0.0
    num_gpus: float = 0.0
    memory_bytes: float = 0.0
    token_auth: bool = False
    ray_version: str = ""
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class EnvRegistry:
    """Names that can be completed in the form.

    Attributes:
        env_ids: Of environments.
        wrapper_names: Of Gymnasium's wrappers.
    """

    env_ids: tuple[str, ...]
    wrapper_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnvCheckPhase:
    """What the check that was asked for by `command_id` is about to do."""

    command_id: int
    phase: CheckPhase


@dataclass(frozen=True, slots=True)
class EnvChecked:
    """What the check that was asked for by `command_id` has found."""

    command_id: int
    found: EnvCheck


@dataclass(frozen=True, slots=True)
class RunSummary:
    """A line in the list of live runs.

    `num_workers_starting` counts those whose memory is not taken yet.
    """

    run_id: str
    name: str
    env_id: str
    owner: str
    state: RunState
    num_workers: int
    started_utc: str
    elapsed_s: float
    num_env_steps_sampled_lifetime: int
    num_episodes_lifetime: int
    recording: str
    keep: bool
    raydash_version: str
    protocol_version: int
    num_workers_starting: int = 0
    mode: str = "actors"
    policy: str = "random"
    learner: str | None = None


@dataclass(frozen=True, slots=True)
class RunList:
    """All live runs on the cluster; sent when it changes, and once a second at most."""

    runs: tuple[RunSummary, ...]


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """Once a second: how the engine is, so that the window can tell alive from hung.

    Attributes:
        pid: Its process.
        cpu_percent: Of one core.
        rss_bytes: Resident memory.
        loop_delay_ms: How late its loop came round, worst of the last second.
        supervisor_latency_ms: Median time a supervisor took to answer; NaN if none is attached.
        num_merged: Updates merged for this window because it (or the engine) was slow, in total.
        num_log_lines_folded: Worker output lines that were folded away in the log.
        log_path: Its log file.
    """

    pid: int
    cpu_percent: float
    rss_bytes: float
    loop_delay_ms: float
    supervisor_latency_ms: float
    num_merged: int
    num_log_lines_folded: int
    log_path: str


@dataclass(frozen=True, slots=True)
class HistoryRange:
    """The answer to `QueryHistory`.

    Attributes:
        run_id: Which run.
        start_s: As asked.
        end_s: As asked.
        history: Buckets that cover the range, as one tail (`oldest_bucket == first_bucket`).
    """

    run_id: str
    start_s: float
    end_s: float
    history: HistoryDelta


@dataclass(frozen=True, slots=True)
class Library:
    """All recordings, newest first."""

    runs: tuple[RecordedRun, ...]
    disk: DiskUse
    settings: LibrarySettings


FromEngine = (
    Hello
    | Answer
    | Pong
    | ClusterStatus
    | EnvRegistry
    | EnvCheckPhase
    | EnvChecked
    | RunList
    | RunUpdate
    | EngineHealth
    | HistoryRange
    | Library
)
ToEngine = Hello | Command | Ping | Goodbye
