"""The library of recordings: what is known about each run on disk, and its owner's notes."""

from dataclasses import dataclass, field
from enum import StrEnum

from raydash.core.states import EndedBy, RunState

MAX_TITLE = 200
MAX_TAGS = 32
MAX_TAG = 40
MAX_NOTE = 20_000


class RunSource(StrEnum):
    """Where a recording comes from."""

    RAYDASH = "raydash"
    SB3_MONITOR = "sb3-monitor"
    RLLIB = "rllib"
    TENSORBOARD = "tensorboard"


class ExportFormat(StrEnum):
    """What a recording can be exported to."""

    CSV = "csv"
    PARQUET = "parquet"
    MONITOR = "monitor"
    TENSORBOARD = "tensorboard"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Notes:
    """What the user wrote about a recording. It has its own file, because a live one is locked.

    Attributes:
        title: Shown instead of the run's name; empty: the name is shown.
        tags: In no order, each once.
        text: Free text.
        pinned: No retention rule ever deletes the recording.
    """

    title: str = ""
    tags: tuple[str, ...] = ()
    text: str = ""
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """One recording of the library.

    Attributes:
        run_id: Unique; the file's name if it can't be read.
        path: Path of the recording.
        name: From the spec, or the environment's id if the spec has no name.
        env_id: Empty if the file can't be read.
        owner: `user@host`.
        started_utc: ISO 8601.
        state: How it ended; RUNNING while some process writes the file; INTERRUPTED if it was never
            closed; None if the file can't be read.
        elapsed_s: Stepping time, without pauses.
        num_workers: How many workers it should have.
        episode_return_mean: Over the whole run; NaN if no episode ended without an error.
        mode: Where its steps were made (`core.spec.MODES`); empty: not known.
        policy: What chose the actions: one of `POLICY_KINDS`, or `module:callable`; empty: not
            known.
        learner: What improved the policy; empty: nothing, or not known.
        size_bytes: Size on disk, with the files next to it.
        modified_utc: When the file was modified, ISO 8601.
        fault: Why it can't be read, or why its figures are not known yet; empty: all is well.
    """

    run_id: str
    path: str
    name: str = ""
    env_id: str = ""
    owner: str = ""
    source: RunSource = RunSource.RAYDASH
    started_utc: str = ""
    state: RunState | None = None
    ended_by: EndedBy | None = None
    elapsed_s: float = 0.0
    num_workers: int = 0
    num_env_steps_sampled_lifetime: int = 0
    num_episodes_lifetime: int = 0
    episode_return_mean: float = float("nan")
    mode: str = ""
    policy: str = ""
    learner: str = ""
    size_bytes: int = 0
    modified_utc: str = ""
    notes: Notes = field(default_factory=Notes)
    fault: str = ""

    @property
    def title(self) -> str:
        """The name to show for it."""
        return self.notes.title or self.name or self.env_id or self.run_id

    @property
    def is_live(self) -> bool:
        """Some process is writing it now."""
        return self.state is RunState.RUNNING


@dataclass(frozen=True, slots=True)
class LibrarySettings:
    """How much the library may hold, kept in `<data>/library.json`. None switches a rule off.

    Attributes:
        limit_bytes: The user is warned when the library comes near this size.
        keep_days: Recordings older than this are deleted, unless live or pinned.
        keep_bytes: The oldest recordings beyond this size are deleted, unless live or pinned.
    """

    limit_bytes: int | None = 50 * 10**9
    keep_days: float | None = None
    keep_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DiskUse:
    """How much disk space the library takes.

    Attributes:
        folder: Where the recordings are.
        library_bytes: Size of all recordings, with the files next to them.
        free_bytes: Free space on that disk.
        warning: Says, when it is so, that a limit or the end of the disk is near; else empty.
    """

    folder: str
    library_bytes: int
    free_bytes: int
    warning: str = ""
