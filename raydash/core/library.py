"""The library of recordings: what is known of each run on disk, and what its owner wrote to it."""

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
    """What a recording can be turned into."""

    CSV = "csv"
    PARQUET = "parquet"
    MONITOR = "monitor"
    TENSORBOARD = "tensorboard"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Notes:
    """What the user wrote to a recording. Kept beside it, never in it: a live file is locked.

    Attributes:
        title: Shown in place of the run's name; empty: the name.
        tags: Without order, each once.
        text: Free.
        pinned: Never deleted by a retention rule.
    """

    title: str = ""
    tags: tuple[str, ...] = ()
    text: str = ""
    pinned: bool = False


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A line of the library.

    Attributes:
        run_id: Unique; of a file that can't be read, its name.
        path: The recording.
        name: From the spec (the environment's id if it has none).
        env_id: Of the environment; empty if the file can't be read.
        owner: `user@host`.
        source: Where the recording comes from.
        started_utc: ISO 8601.
        state: How it ended; RUNNING while some process writes the file; INTERRUPTED if it was never
            closed; None if the file can't be read.
        ended_by: Why it ended.
        elapsed_s: Stepping time: without pauses.
        num_workers: That it was meant to have.
        num_env_steps_sampled_lifetime: Whole run.
        num_episodes_lifetime: Whole run.
        episode_return_mean: Whole run; NaN if no episode ended well.
        mode: Where its steps were made (`core.spec.MODES`); empty: not known, as the next two.
        policy: What chose the actions, a word of `POLICY_KINDS` or `module:callable`.
        learner: What improved the policy; empty: nothing.
        size_bytes: On disk, with what is kept beside it.
        modified_utc: Of the file, ISO 8601.
        notes: What the user wrote.
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
        """What to call it on screen."""
        return self.notes.title or self.name or self.env_id or self.run_id

    @property
    def is_live(self) -> bool:
        """Some process writes it now."""
        return self.state is RunState.RUNNING


@dataclass(frozen=True, slots=True)
class LibrarySettings:
    """How much the library may hold. None: no such rule. Kept in `<data>/library.json`.

    Attributes:
        limit_bytes: Warn when the library comes near this size.
        keep_days: Recordings older than this are deleted, unless live or pinned.
        keep_bytes: The oldest recordings beyond this size are deleted, unless live or pinned.
    """

    limit_bytes: int | None = 50 * 10**9
    keep_days: float | None = None
    keep_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class DiskUse:
    """What the library takes.

    Attributes:
        folder: Where the recordings are.
        library_bytes: Of all recordings and what lies beside them.
        free_bytes: On that disk.
        warning: In words, when a limit or the end of the disk is near; empty: all is well.
    """

    folder: str
    library_bytes: int
    free_bytes: int
    warning: str = ""
