"""Words for people: figures with their units, states and endings in plain English. Pure.

A narrow no-break space separates thousands and a no-break space the unit, so that no line break
ever falls inside a figure. An unknown value is an en dash, never `nan`.
"""

import math
from datetime import UTC, datetime

from raydash.core.events import Event, EventKind
from raydash.core.states import Activity, EndedBy, Ending, RunState

THIN = "\u202f"
NBSP = "\u00a0"
MINUS = "\u2212"
UNKNOWN = "\u2013"

_USUAL_MODE = "actors"
_LARGE = ("", "k", "M", "G", "T", "P")
_SMALL = ("", "m", "µ", "n")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB")


def count(number: float) -> str:
    """A whole number: `212 480`."""
    if not math.isfinite(number):
        return UNKNOWN
    return _signed(f"{round(number):,}".replace(",", THIN))


def decimal(value: float) -> str:
    """A figure of any size, about four digits: `187.4`, `112`, `0.01234`, `1 204`, `1.2e+07`."""
    if not math.isfinite(value):
        return UNKNOWN
    size = abs(value)
    if size >= 1e7 or 0 < size < 1e-4:
        return _signed(f"{value:.3g}")
    if size >= 1000 or value == round(value):
        return count(value)
    digits = 1 if size >= 10 else 3 - math.floor(math.log10(size))
    return _signed(f"{value:.{digits}f}")


def compact(value: float, unit: str = "") -> str:
    """Three digits and an SI prefix: `3.16 k`, `212 k`, `98`, with `unit` behind it."""
    if not math.isfinite(value):
        return UNKNOWN
    size, step = abs(value), 0
    while size >= 999.5 and step < len(_LARGE) - 1:
        size /= 1000
        step += 1
    head = three_digits(math.copysign(size, value))
    return head + (NBSP if step or unit else "") + _LARGE[step] + unit


def rate(per_s: float) -> str:
    """Something per second: `3.16 k/s`, `0.42/s`."""
    return compact(per_s) + ("/s" if math.isfinite(per_s) else "")


def three_digits(value: float) -> str:
    """A number with three digits: `3.16`, `31.6`, `316`, `0.42`, `0`."""
    size = abs(value)
    if size == 0:
        return "0"
    digits = 0 if size >= 99.95 else 1 if size >= 9.995 else 2
    text = f"{value:.{digits}f}"
    if digits and value == round(value):
        text = f"{value:.0f}"
    return _signed(text)


def small_time(seconds: float) -> str:
    """A short duration: `9.8 µs`, `2.5 ms`, `1.2 s`."""
    if not math.isfinite(seconds):
        return UNKNOWN
    size, step = abs(seconds), 0
    while 0 < size < 0.9995 and step < len(_SMALL) - 1:
        size *= 1000
        step += 1
    text = f"{size:.0f}" if size >= 99.5 or size == 0 else f"{size:.1f}"
    return f"{text}{NBSP}{_SMALL[step]}s"


def clock_time(seconds: float) -> str:
    """A duration as a clock shows it: `00:09:58`."""
    if not math.isfinite(seconds):
        return UNKNOWN
    whole = max(0, math.floor(seconds))
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def run_clock(seconds: float) -> str:
    """A time on the run's clock, as short as possible: `2:30`, `1:02:30`."""
    whole = round(abs(seconds))
    sign = MINUS if seconds < 0 and whole else ""
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{sign}{hours}:{minutes:02d}:{rest:02d}"
    return f"{sign}{minutes}:{rest:02d}"


def span(seconds: float) -> str:
    """A duration, roughly: `0.1 s`, `14 s`, `3 min`, `2 h 05 min`, `3 d 4 h`."""
    if not math.isfinite(seconds):
        return UNKNOWN
    seconds = max(0.0, seconds)
    if seconds < 9.95:
        return f"{seconds:.1f}{NBSP}s"
    if seconds < 119.5:
        return f"{seconds:.0f}{NBSP}s"
    if seconds < 3570:
        return f"{seconds / 60:.0f}{NBSP}min"
    minutes = round(seconds / 60)
    if minutes < 48 * 60:
        return f"{minutes // 60}{NBSP}h{NBSP}{minutes % 60:02d}{NBSP}min"
    hours = round(seconds / 3600)
    return f"{hours // 24}{NBSP}d{NBSP}{hours % 24}{NBSP}h"


def long_span(seconds: float) -> str:
    """A duration, to the second below an hour: `12 s`, `3 min 12 s`, `2 h 05 min`, `3 d 4 h`."""
    if not math.isfinite(seconds):
        return UNKNOWN
    whole = max(0, round(seconds))
    if whole < 60 or whole >= 3600:
        return span(float(whole)) if whole >= 10 else f"{whole}{NBSP}s"
    return f"{whole // 60}{NBSP}min{NBSP}{whole % 60:02d}{NBSP}s"


def ago(seconds: float) -> str:
    """A relative age: `just now`, `14 s ago`."""
    if not math.isfinite(seconds):
        return UNKNOWN
    return "just now" if seconds < 1 else f"{span(seconds)} ago"


def bytes_size(size: float) -> str:
    """An amount of memory: `112 MiB`, `1.5 GiB`."""
    if not math.isfinite(size):
        return UNKNOWN
    step = 0
    while size >= 1000 and step < len(_BINARY) - 1:
        size /= 1024
        step += 1
    text = f"{size:.1f}" if step >= 1 and size < 9.95 else f"{size:.0f}"
    return f"{text}{NBSP}{_BINARY[step]}"


def disk_size(size: float) -> str:
    """An amount on disk, in powers of ten as disks are sold: `41.2 MB`, `4.2 GB`."""
    if not math.isfinite(size):
        return UNKNOWN
    return f"{size:.0f}{NBSP}B" if size < 999.5 else compact(size, "B")


def percent(share: float) -> str:
    """A share of 1: `81 %`, `1.2 %`, `0 %`."""
    if not math.isfinite(share):
        return UNKNOWN
    value = share * 100
    text = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}".removesuffix(".0")
    return f"{text}{NBSP}%"


def percent_of(part: float, whole: float) -> str:
    """A quotient as a percentage; unknown if the whole is 0."""
    return percent(part / whole) if whole else UNKNOWN


def plural(number: float, noun: str) -> str:
    """A number with a noun: `1 worker`, `8 workers`."""
    return f"{count(number)}{NBSP}{noun}{'' if round(number) == 1 else 's'}"


def activity(what: Activity, age_s: float = math.nan) -> str:
    """What a worker is doing, and for how long where that matters: `stalled 14 s`."""
    if what not in (Activity.STALLED, Activity.UNREACHABLE) or not math.isfinite(age_s):
        return what.word
    age = f"{max(1, round(age_s))}{NBSP}s" if age_s < 9.95 else span(age_s)
    return f"{what.word} {age}"


def run_state(state: RunState | None, *, paused: bool = False) -> str:
    """What a run is doing."""
    if state is None:
        return "no run"
    if state is RunState.RUNNING and paused:
        return "pausing"
    return state.value


def execution(mode: str, policy: str, learner: str | None) -> str:
    """How a run is executed: `random`, `linear · cmaes`, `mlp · lockstep`.

    The usual mode is left out; of a class or function of the user's own only the name is given.
    """
    parts = [policy.rpartition(":")[2], (learner or "").rpartition(":")[2]]
    if mode not in ("", _USUAL_MODE):
        parts.append(mode)
    return " · ".join(part for part in parts if part)


def ended_by(reason: EndedBy | None) -> str:
    """Why a run ended."""
    return _ENDED_BY[reason] if reason is not None else ""


def outcome(state: RunState | None, reason: EndedBy | None) -> str:
    """How a run ended: `finished by episodes`, `interrupted: the cluster was lost`."""
    word = run_state(state) if state is not None else "cannot be read"
    short = _SHORT_ENDED_BY.get(reason) if reason is not None else None
    if short is not None:
        return f"{word} {short}"
    return f"{word}: {_ENDED_BY[reason]}" if reason is not None else word


def moment(utc: str, now: datetime) -> str:
    """A time in local time, without what it shares with now: `22 Nov 12:50`, `5 Jan 2025 09:03`.

    Args:
        utc: The time in ISO 8601.
        now: The present, with the local time zone.
    """
    then = _parsed(utc)
    if then is None:
        return UNKNOWN
    then = then.astimezone(now.tzinfo)
    year = "" if then.year == now.year else f"{NBSP}{then.year}"
    return f"{then.day}{NBSP}{_MONTHS[then.month - 1]}{year}{NBSP}{then:%H:%M}"


def since(utc: str, now: datetime) -> str:
    """How long ago a time was: `14 s ago`; `just now` if the clock was set back since."""
    then = _parsed(utc)
    return UNKNOWN if then is None else ago(max(0.0, (now - then).total_seconds()))


def _parsed(utc: str) -> datetime | None:
    try:
        then = datetime.fromisoformat(utc)
    except ValueError:
        return None
    return then if then.tzinfo is not None else then.replace(tzinfo=UTC)


_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)
_SHORT_ENDED_BY = {
    EndedBy.SECONDS: "by time",
    EndedBy.ENV_STEPS: "by env steps",
    EndedBy.EPISODES: "by episodes",
    EndedBy.TARGET: "at its target",
    EndedBy.USER: "by hand",
    EndedBy.SIGNAL: "by a signal",
    EndedBy.DRAINED: "after draining",
}
_ENDED_BY = {
    EndedBy.SECONDS: "its time was up",
    EndedBy.ENV_STEPS: "it had its env steps",
    EndedBy.EPISODES: "it had its episodes",
    EndedBy.TARGET: "it reached its target return",
    EndedBy.USER: "somebody stopped it",
    EndedBy.SIGNAL: "a signal stopped it",
    EndedBy.ORPHANED: "its last window was gone too long",
    EndedBy.DRAINED: "its workers were drained",
    EndedBy.WORKERS_FAILED: "no worker could go on",
    EndedBy.LEARNER_FAILED: "its learner failed",
    EndedBy.CLUSTER_LOST: "the cluster was lost",
}


def ending(kind: Ending) -> str:
    """How an episode ended."""
    return {
        Ending.TERMINATED: "terminated",
        Ending.TRUNCATED: "truncated",
        Ending.BOTH: "both",
        Ending.ERROR: "error",
    }[kind]


def mark_label(event: Event) -> str:
    """The short label of a mark on a plot; the event's text says more."""
    worker = f"worker {event.worker_index}" if event.worker_index is not None else "a worker"
    match event.kind:
        case EventKind.RUN_PAUSED:
            return "paused"
        case EventKind.RUN_RESUMED:
            return "resumed"
        case EventKind.WORKERS_SCALED:
            return "scaled"
        case EventKind.WORKER_RESTARTED:
            return f"{worker} restarted"
        case EventKind.WORKER_FAILED:
            return f"{worker} failed"
        case EventKind.SUPERVISOR_RESTARTED:
            return "supervisor restarted"
        case _:
            return event.kind.value.replace("_", " ")


def _signed(text: str) -> str:
    """Write a true minus sign, and none before a zero."""
    if text.startswith("-"):
        body = text[1:]
        return MINUS + body if body.strip("0.,") else body
    return text
