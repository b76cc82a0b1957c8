"""How much the library may hold: its settings, what its rules delete, when to warn."""

import math
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from raydash.core.faults import Fault, FaultError
from raydash.core.library import LibrarySettings, RecordedRun
from raydash.core.words import plain
from raydash.record.file.json_file import read_table, write_table
from raydash.record.file.times import unix_s

WARN_FROM = 0.8
"""Share of the limit from which on there is a warning."""
MIN_FREE_BYTES = 2 * 10**9
MIN_FREE_SHARE = 0.05
_DAY_S = 86_400.0


@dataclass(frozen=True, slots=True)
class Doomed:
    """A recording that is to be deleted, and in `reason` the rule that says so, in words."""

    run: RecordedRun
    reason: str


def doomed(
    runs: Sequence[RecordedRun], settings: LibrarySettings, now_s: float
) -> tuple[Doomed, ...]:
    """Choose what the rules delete, oldest first, from the whole library, newest first.

    They never delete a run that is live or pinned, nor the newest one that has ended, nor a
    recording that can't be read: nobody knows what that is worth. `now_s` is Unix time.
    """
    ended = [run for run in runs if not (run.is_live or run.fault)]
    candidates = [run for run in reversed(ended[1:]) if not run.notes.pinned]
    found: list[Doomed] = []
    size = sum(run.size_bytes for run in runs)
    for run in candidates:
        if settings.keep_days is not None and now_s - _end_s(run) > settings.keep_days * _DAY_S:
            reason = f"older than {settings.keep_days:g} days"
        elif settings.keep_bytes is not None and size > settings.keep_bytes:
            reason = f"beyond {plain.size(settings.keep_bytes)}"
        else:
            continue
        size -= run.size_bytes
        found.append(Doomed(run, reason))
    return tuple(found)


def read_settings(path: Path) -> tuple[LibrarySettings, str]:
    """Read the settings, and say what is wrong with their file; wrong values become the defaults.

    A rule that can't be read is not applied, so that nothing is deleted by mistake.
    """
    try:
        table = read_table(path)
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        return LibrarySettings(), f"{path.name} can't be read ({why}): no rule is applied"
    if table is None:
        return LibrarySettings(), ""
    default = LibrarySettings()
    values = {name: table.get(name, value) for name, value in asdict(default).items()}
    wrong = [name for name, value in values.items() if _problem(name, value)]
    for name in wrong:
        values[name] = getattr(default, name)
    problem = f"{path.name} has no sensible {', '.join(wrong)}: not applied" if wrong else ""
    return LibrarySettings(**values), problem


def write_settings(path: Path, settings: LibrarySettings) -> None:
    """Save the settings.

    Raises:
        FaultError: naming every bad value; nothing is changed.
        OSError: if the disk refuses them.
    """
    problems = [_problem(name, value) for name, value in asdict(settings).items()]
    if any(problems):
        raise FaultError(
            Fault(
                "The library's limits were not changed",
                "; ".join(problem for problem in problems if problem),
                "Give a number above 0, or none",
                bad_input=True,
            )
        )
    write_table(path, {"version": 1, **asdict(settings)})


def warning(folder: Path, library_bytes: int, limit_bytes: int | None) -> tuple[int, str]:
    """Return the free bytes on the folder's disk, and a warning about the limit or the disk."""
    warnings = []
    if limit_bytes is not None and library_bytes >= WARN_FROM * limit_bytes:
        share = library_bytes / limit_bytes
        warnings.append(
            f"the library takes {plain.percent(share)} of its limit of {plain.size(limit_bytes)}: "
            "delete or prune recordings, or raise the limit"
        )
    place = folder
    while not place.exists() and place != place.parent:
        place = place.parent
    try:
        usage = shutil.disk_usage(place)
    except OSError as error:
        return 0, "; ".join([*warnings, f"the disk can't be asked: {error.strerror}"])
    if usage.free < max(MIN_FREE_BYTES, MIN_FREE_SHARE * usage.total):
        warnings.append(f"the disk has only {plain.size(usage.free)} free")
    return usage.free, "; ".join(warnings)


def _end_s(run: RecordedRun) -> float:
    """Return when a run ended (Unix time): the later of two clocks, either may have been wrong."""
    started_s = unix_s(run.started_utc)
    times = [unix_s(run.modified_utc), None if started_s is None else started_s + run.elapsed_s]
    return max((time_s for time_s in times if time_s is not None), default=math.inf)


def _problem(name: str, value: object) -> str:
    if value is None:
        return ""
    wanted = (int, float) if name == "keep_days" else (int,)
    if (
        isinstance(value, bool)
        or not isinstance(value, wanted)
        or not math.isfinite(value)
        or value <= 0
    ):
        kind = "a number of days" if name == "keep_days" else "a whole number of bytes"
        return f"{name} = {value!r} is not {kind} above 0"
    return ""
