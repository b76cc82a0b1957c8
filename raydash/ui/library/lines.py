"""The content of the library's table: recordings, joined with what the cluster knows. Pure."""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from raydash.core.library import RecordedRun, RunSource
from raydash.core.messages import RunSummary
from raydash.core.states import RunState
from raydash.core.words import moments, numbers, spans
from raydash.ui.kit import run_words

MAX_COMPARED = 20
_SOURCES = {
    RunSource.RAYDASH: "raydash",
    RunSource.SB3_MONITOR: "imported from an SB3 monitor file",
    RunSource.RLLIB: "imported from RLlib",
    RunSource.TENSORBOARD: "imported from TensorBoard",
}


@dataclass(frozen=True, slots=True)
class RecordingLine:
    """One recording in the table.

    Attributes:
        run: The run as the library has it.
        live: The run as the cluster has it now, if it is still going on there.
        text: Everything that a word of the search may match, in lower case.
    """

    run: RecordedRun
    live: RunSummary | None
    text: str

    @property
    def state(self) -> RunState | None:
        """Its present state; None if it can't be read."""
        return self.live.state if self.live else self.run.state

    @property
    def state_words(self) -> str:
        """Its state as the table shows it."""
        if self.run.is_live and self.live is None:
            return "live elsewhere"
        return run_words.run_state(self.state) if self.state else "unreadable"

    @property
    def is_live(self) -> bool:
        """Whether a process is writing it now."""
        return self.run.is_live or self.live is not None

    @property
    def is_readable(self) -> bool:
        """Whether there is something to show."""
        return self.state is not None

    @property
    def execution(self) -> str:
        """How it is executed; empty if that is not known."""
        run = self.live or self.run
        return run_words.execution(run.mode, run.policy, run.learner)

    @property
    def elapsed_s(self) -> float:
        """Its stepping time in seconds."""
        return self.live.elapsed_s if self.live else self.run.elapsed_s

    @property
    def num_env_steps(self) -> int:
        """Env steps of the whole run."""
        live = self.live.num_env_steps_sampled_lifetime if self.live else 0
        return max(live, self.run.num_env_steps_sampled_lifetime)

    @property
    def num_episodes(self) -> int:
        """Episodes of the whole run."""
        live = self.live.num_episodes_lifetime if self.live else 0
        return max(live, self.run.num_episodes_lifetime)

    @property
    def figures_known(self) -> bool:
        """Whether its figures are known; they are not while its file can't be read."""
        return self.live is not None or (self.is_readable and not self.run.fault)


def lines_of(runs: Iterable[RecordedRun], live: Iterable[RunSummary]) -> list[RecordingLine]:
    """A line for each recording, in the library's order."""
    live_by_id = {summary.run_id: summary for summary in live}
    return [RecordingLine(run, live_by_id.get(run.run_id), _search_text(run)) for run in runs]


def _search_text(run: RecordedRun) -> str:
    notes = run.notes
    execution = (run.policy, run.learner, run.mode)
    own = (notes.title, run.name, run.env_id, run.run_id, *notes.tags, notes.text, run.owner)
    parts = (*own, *execution)
    return "\n".join(parts).lower()


def matches(line: RecordingLine, search: str) -> bool:
    """Whether every word of the search matches the line.

    A word may be found in any text of it, or be of the form `tag:x`, `env:y`, `state:z` and so on.
    A word with an unknown prefix (`10:30`) is plain text.
    """
    for word in search.lower().split():
        head, colon, rest = word.partition(":")
        if colon and head in _HEADS:
            if not _HEADS[head](line, rest):
                return False
        elif word not in line.text and word not in line.state_words:
            return False
    return True


_HEADS: dict[str, Callable[[RecordingLine, str], bool]] = {
    "tag": lambda line, rest: any(rest in tag.lower() for tag in line.run.notes.tags),
    "env": lambda line, rest: rest in line.run.env_id.lower(),
    "policy": lambda line, rest: rest in line.execution.lower(),
    "state": lambda line, rest: rest in line.state_words,
    "owner": lambda line, rest: rest in line.run.owner.lower(),
    "is": lambda line, rest: rest == "pinned" and line.run.notes.pinned,
}


# --- columns --------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class LibraryColumn:
    """A column of the table.

    Attributes:
        key: Stable name.
        title: The text in the header.
        help: What it shows.
        text: Gives a cell's text; its second argument is the present, in the local time zone.
        sort: Gives the value to sort by; None comes last in either order.
        longest: The longest text that it should show in full.
        is_number: It is right-aligned.
        grows: It takes its share of the width that is left.
    """

    key: str
    title: str
    help: str
    text: Callable[[RecordingLine, datetime], str]
    sort: Callable[[RecordingLine], "float | str | None"]
    longest: str
    is_number: bool = False
    grows: bool = False


def _known(text: str, line: RecordingLine) -> str:
    return text if line.figures_known else numbers.UNKNOWN


def _figure(value: float, line: RecordingLine) -> float | None:
    return value if line.figures_known and math.isfinite(value) else None


COLUMNS: tuple[LibraryColumn, ...] = (
    LibraryColumn(
        "title",
        "Title",
        "What you called it, or else the run's name",
        lambda line, _now: line.run.title,
        lambda line: line.run.title.lower(),
        "lunarlander-cmaes",
        grows=True,
    ),
    LibraryColumn(
        "state",
        "State",
        "How the run is, or how it ended",
        lambda line, _now: line.state_words,
        lambda line: line.state_words,
        "mm interrupted",
    ),
    LibraryColumn(
        "env",
        "Environment",
        "The environment's id",
        lambda line, _now: line.run.env_id or numbers.UNKNOWN,
        lambda line: line.run.env_id.lower() or None,
        "MountainCar-v0",
        grows=True,
    ),
    LibraryColumn(
        "policy",
        "Policy",
        "What chooses the actions, what improves it, and the mode unless it is the usual one",
        lambda line, _now: line.execution or numbers.UNKNOWN,
        lambda line: line.execution.lower() or None,
        "linear · cmaes",
        grows=True,
    ),
    LibraryColumn(
        "started",
        "Started",
        "When it began, in local time",
        lambda line, now: moments.moment(line.run.started_utc, now),
        lambda line: line.run.started_utc or None,
        "22 Nov 12:50",
    ),
    LibraryColumn(
        "duration",
        "Duration",
        "Stepping time: without pauses",
        lambda line, _now: _known(spans.long_clock(line.elapsed_s), line),
        lambda line: _figure(line.elapsed_s, line),
        "00:03:12",
        True,
    ),
    LibraryColumn(
        "env_steps",
        "Env steps",
        "Env steps of the whole run",
        lambda line, _now: _known(numbers.compact(line.num_env_steps), line),
        lambda line: _figure(line.num_env_steps, line),
        "1.20 M",
        True,
    ),
    LibraryColumn(
        "episodes",
        "Episodes",
        "Episodes that ended, of the whole run",
        lambda line, _now: _known(numbers.count(line.num_episodes), line),
        lambda line: _figure(line.num_episodes, line),
        "1 204 331",
        True,
    ),
    LibraryColumn(
        "episode_return",
        "Return",
        "Mean return of all episodes of the run that ended well",
        lambda line, _now: _known(numbers.decimal(line.run.episode_return_mean), line),
        lambda line: _figure(line.run.episode_return_mean, line),
        "-1 234",
        True,
    ),
    LibraryColumn(
        "tags",
        "Tags",
        "Your tags",
        lambda line, _now: ", ".join(line.run.notes.tags),
        lambda line: ", ".join(line.run.notes.tags).lower() or None,
        "baseline",
        grows=True,
    ),
    LibraryColumn(
        "size",
        "Size",
        "On disk, with what lies beside it",
        lambda line, _now: numbers.size(line.run.size_bytes),
        lambda line: float(line.run.size_bytes),
        "43.0 MB",
        True,
    ),
)
COLUMN_OF = {column.key: number for number, column in enumerate(COLUMNS)}


def ordered(
    lines: Sequence[RecordingLine], column: LibraryColumn, *, descending: bool
) -> list[RecordingLine]:
    """The lines sorted by a column.

    Equal ones are sorted by id, the newest first; those without a value come last.
    """
    newest_first = sorted(lines, key=lambda line: line.run.run_id, reverse=True)
    values = {id(line): column.sort(line) for line in newest_first}
    known = [line for line in newest_first if values[id(line)] is not None]
    unknown = [line for line in newest_first if values[id(line)] is None]
    known.sort(key=lambda line: values[id(line)], reverse=descending)  # type: ignore[arg-type, return-value]
    return [*known, *unknown]


# --- what may be done -----------------------------------------------------------------------------


def why_cannot_open(chosen: Sequence[RecordingLine]) -> str:
    """Why the selection can't be shown; empty if it can."""
    return _why_not_one(chosen) or _why_unreadable(chosen)


def why_cannot_run_again(chosen: Sequence[RecordingLine]) -> str:
    """Why the spec of the selection can't be put into the form; empty if it can."""
    if reason := why_cannot_open(chosen):
        return reason
    if chosen[0].run.source is not RunSource.RAYDASH:
        return "it was imported, so its spec is not known"
    return ""


def why_cannot_compare(chosen: Sequence[RecordingLine]) -> str:
    """Why the selection can't be compared; empty if it can."""
    if len(chosen) < 2:
        return "select two runs or more"
    if len(chosen) > MAX_COMPARED:
        return f"{MAX_COMPARED} runs at most; {len(chosen)} are selected"
    return _why_unreadable(chosen)


def why_cannot_export(chosen: Sequence[RecordingLine]) -> str:
    """Why the selection can't be written in another format; empty if it can."""
    return _why_not_one(chosen) or _why_unreadable(chosen)


def why_cannot_report(chosen: Sequence[RecordingLine]) -> str:
    """Why no report about the selection can be written; empty if one can."""
    if not chosen:
        return "no recording is selected"
    if len(chosen) > MAX_COMPARED:
        return f"{MAX_COMPARED} runs at most; {len(chosen)} are selected"
    return _why_unreadable(chosen)


def why_cannot_delete(chosen: Sequence[RecordingLine]) -> str:
    """Why the selection can't be deleted; empty if it can."""
    if not chosen:
        return "no recording is selected"
    if reason := _why_live(chosen):
        return reason
    pinned = [line.run.title for line in chosen if line.run.notes.pinned]
    return f"{_named(pinned)} pinned; unpin first" if pinned else ""


def _why_not_one(chosen: Sequence[RecordingLine]) -> str:
    if not chosen:
        return "no recording is selected"
    return "" if len(chosen) == 1 else "select one recording only"


def _why_unreadable(chosen: Sequence[RecordingLine]) -> str:
    bad = next((line for line in chosen if not line.is_readable), None)
    return f"{bad.run.title} cannot be read: {bad.run.fault}".rstrip(": ") if bad else ""


def _why_live(chosen: Sequence[RecordingLine]) -> str:
    live = [line.run.title for line in chosen if line.is_live]
    return f"{_named(live)} still going on" if live else ""


def _named(titles: Sequence[str]) -> str:
    """Name the first title and count the others: `one is`, `one and 2 more are`."""
    rest = len(titles) - 1
    return f"{titles[0]} is" if not rest else f"{titles[0]} and {rest} more are"


def source_words(source: RunSource) -> str:
    """Where a recording comes from."""
    return _SOURCES[source]
