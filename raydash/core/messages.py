"""Messages between a window (or terminal) and its engine, and from an engine to a supervisor.

Commands go one way; each carries a `command_id` and is answered exactly once by an `Answer`.
`Hello`, and a supervisor's `status` and `stop`, never change, so that an old version and a new one
can still talk to each other.
"""

from dataclasses import dataclass, field
from enum import StrEnum

from raydash.core.env_check import TIME_LIMIT_S, CheckPhase, EnvCheck
from raydash.core.faults import Fault
from raydash.core.library import DiskUse, ExportFormat, LibrarySettings, Notes, RecordedRun
from raydash.core.spec import SIMULATED, ClusterSpec, EnvSpec, PolicySpec, RolloutSpec, RunSpec
from raydash.core.states import ClusterPhase, EndedBy, RunState
from raydash.core.updates import HistoryDelta, RunUpdate

PROTOCOL_VERSION = 3
"""Raise it when windows and runs of the version before would no longer understand each other: for a
field that is gone, renamed or of another type, or a new message. A new field with a default needs
none: unknown fields are ignored, and missing ones get their default."""


class Verb(StrEnum):
    """What a command asks of a run or of some of its workers."""

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
    """The first message in each direction."""

    protocol_version: int
    raydash_version: str
    pid: int


# --- commands: window -> engine ---------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Connect:
    """Launch (or join) the local cluster, or attach to `cluster.address`; once per engine."""

    command_id: int
    cluster: ClusterSpec


@dataclass(frozen=True, slots=True)
class CancelConnect:
    """Cancel a connect that is under way: the engine ends, and the window starts another."""

    command_id: int


@dataclass(frozen=True, slots=True)
class StartRun:
    """Start a run. The answer carries its id.

    Attributes:
        source_dirs: Folders from which the user's own modules are imported.
        keep: Do not end the run when its last window leaves.
        simulated: Use simulated workers, as a simulated engine always does (else: bench and tests).
    """

    command_id: int
    spec: RunSpec
    source_dirs: tuple[str, ...] = ()
    keep: bool = False
    simulated: bool = False


@dataclass(frozen=True, slots=True)
class CommandRun:
    """Ask something of a run or of some of its workers.

    Attributes:
        workers: Indices of the workers; None: the whole run.
        num_workers: For `scale`: the new number of workers.
        ended_by: For `stop` of a whole run: who asked for it.
        policy: For `swap`: the new policy.
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
    """Begin to send updates of a run, the first of them, a snapshot, before the `Answer`.

    If the supervisor is gone, the snapshot comes from the recording and no other update follows.
    """

    command_id: int
    run_id: str


@dataclass(frozen=True, slots=True)
class DetachRun:
    """Stop sending updates of a run."""

    command_id: int
    run_id: str


@dataclass(frozen=True, slots=True)
class FollowRuns:
    """Say which attached runs are being watched; for the others an update a second is enough.

    Attributes:
        run_ids: Runs whose updates are sent as they come; None: all, as before the first of these
            commands.
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

    A `HistoryRange` comes before the `Answer`. It is read from the supervisor of a live run, and
    from the file of any other.

    Attributes:
        run_id: A run that is attached or was opened.
        start_s: Where the part begins, on the run's clock.
        end_s: Where the part ends, on the run's clock.
        num_buckets: The greatest number of rows to return.
    """

    command_id: int
    run_id: str
    start_s: float
    end_s: float
    num_buckets: int


@dataclass(frozen=True, slots=True)
class CheckEnv:
    """Check and time an environment in a throwaway process. Needs no cluster.

    Its phases come as `EnvCheckPhase`, and its result as `EnvChecked` before the `Answer`. An
    answer with neither result nor fault means that the check was cancelled.

    Attributes:
        rollout: How many environments a worker steps together, and how.
        source_dirs: Folders from which the user's own modules are imported.
        time_limit_s: A check that takes longer counts as hung, and its process is ended.
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
        check_id: The `command_id` of the check.
    """

    command_id: int
    check_id: int


# --- commands about the library: window -> engine; none of them needs a cluster ------------------


@dataclass(frozen=True, slots=True)
class ListRecordings:
    """Ask for the library: a `Library` comes before the `Answer`.

    From then on the library is checked every few seconds, and another `Library` comes whenever it
    has changed.
    """

    command_id: int


@dataclass(frozen=True, slots=True)
class OpenRecording:
    """Show a recording as it was at `at_s`: a `RunUpdate` (a snapshot, `last`) before the `Answer`.

    The answer carries the run's id.

    Attributes:
        recording: A run's id, a unique beginning of one, or a path.
        at_s: Time on the run's clock; None: its end.
    """

    command_id: int
    recording: str
    at_s: float | None = None


@dataclass(frozen=True, slots=True)
class EditNotes:
    """Replace the user's notes about a recording of the library."""

    command_id: int
    run_id: str
    notes: Notes


@dataclass(frozen=True, slots=True)
class DeleteRecordings:
    """Delete recordings and the files next to them. Live ones are refused, the others deleted."""

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
    """Turn other tools' files or folders into recordings; the answer carries the first run's id."""

    command_id: int
    paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Ping:
    """Ask the engine for an immediate `Pong`."""

    number: int


@dataclass(frozen=True, slots=True)
class Goodbye:
    """Tell the engine that the window leaves on purpose: the engine returns its lease and ends.

    If the input ends without this message, the window has died, and a launched cluster waits a
    while for another window.
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
    """The one answer to a command, which was done if `fault` is None."""

    command_id: int
    fault: Fault | None = None
    run_id: str = ""


@dataclass(frozen=True, slots=True)
class Pong:
    """The reply to a `Ping`, with its number."""

    number: int


@dataclass(frozen=True, slots=True)
class ClusterStatus:
    """The state of the cluster.

    Attributes:
        text: One line for people ("starting Ray: waiting for the raylet").
        elapsed_s: Time since the connect began.
        launched: raydash launched it (True), or attached to it (False).
        address: HOST:PORT, empty while unknown; `SIMULATED` without Ray.
        num_nodes: Nodes that are alive.
        num_cpus: Sum over all nodes.
        num_cpus_free: CPUs that no actor has reserved.
        num_gpus: Sum over all nodes.
        memory_bytes: Sum over all nodes.
        token_auth: The cluster demands a token.
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

    @property
    def is_simulated(self) -> bool:
        """Whether there is no Ray at all, and all workers are simulated."""
        return self.address == SIMULATED


@dataclass(frozen=True, slots=True)
class EnvRegistry:
    """Names of environments and of Gymnasium's wrappers, which the form can complete."""

    env_ids: tuple[str, ...]
    wrapper_names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class EnvCheckPhase:
    """What the check that `command_id` asked for is about to do."""

    command_id: int
    phase: CheckPhase


@dataclass(frozen=True, slots=True)
class EnvChecked:
    """The result of the check that `command_id` asked for."""

    command_id: int
    found: EnvCheck


@dataclass(frozen=True, slots=True)
class RunSummary:
    """One run in the list of live runs.

    `num_workers_starting` counts workers whose memory is not in use yet.
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
    """All live runs on the cluster, sent when the list changes, but at most once a second."""

    runs: tuple[RunSummary, ...]


@dataclass(frozen=True, slots=True)
class EngineHealth:
    """How the engine is doing, sent once a second so that the window notices when it hangs.

    Attributes:
        cpu_percent: 100 is one core.
        rss_bytes: Resident memory.
        loop_delay_ms: By how much its event loop was late, at worst, in the last second.
        supervisor_latency_ms: Median time a supervisor took to answer; NaN if none is attached.
        num_merged: Updates merged for this window because it (or the engine) was slow, in total.
        num_log_lines_folded: Lines of worker output that were folded away in the log.
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
    """The result of `QueryHistory`, for the range that it asked for.

    Attributes:
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
