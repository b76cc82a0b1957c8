"""Spans of time in words: durations, ages and clocks. Pure.

Every span is rounded down to the last unit that is shown, so that no two places disagree about it:
200 000 s are `2 d 7 h`. A clock that was set back makes no negative span, but one of 0.
"""

import math

from raydash.core.words.numbers import MINUS, NBSP, UNKNOWN, count

_SLACK = 1e-7
"""So that 0.3 s, whose double is a little less, has three tenths."""
_SMALL = ((1e3, "ms"), (1e6, "µs"), (1e9, "ns"))


def duration(seconds: float) -> str:
    """How long something took: `7.3 s`, `12 min 05 s`, `3 h 20 min`, `2 d 7 h`."""
    if not math.isfinite(seconds):
        return UNKNOWN
    seconds = max(0.0, seconds) + _SLACK
    if seconds < 60:
        return f"{_tenths(seconds)}{NBSP}s"
    whole = math.floor(seconds)
    if whole < 3600:
        return f"{whole // 60}{NBSP}min{NBSP}{whole % 60:02d}{NBSP}s"
    if whole < 48 * 3600:
        return f"{whole // 3600}{NBSP}h{NBSP}{whole // 60 % 60:02d}{NBSP}min"
    return f"{count(whole // 86400)}{NBSP}d{NBSP}{whole // 3600 % 24}{NBSP}h"


def rough(seconds: float) -> str:
    """An age, without digits that would only flicker: `0.1 s`, `14 s`, `3 min`, `3 h 20 min`."""
    if not math.isfinite(seconds):
        return UNKNOWN
    seconds = max(0.0, seconds) + _SLACK
    if 10 <= seconds < 120:
        return f"{math.floor(seconds)}{NBSP}s"
    if 120 <= seconds < 3600:
        return f"{math.floor(seconds / 60)}{NBSP}min"
    return duration(seconds)


def short_time(seconds: float) -> str:
    """A time that may be far below a second: `9.8 µs`, `250 ms`; from 1 s on as `duration`."""
    if not math.isfinite(seconds) or seconds >= 1:
        return duration(seconds)
    for factor, unit in _SMALL:
        scaled = seconds * factor + _SLACK
        if scaled >= 1:
            text = _tenths(scaled) if scaled < 100 else f"{math.floor(scaled)}"
            return f"{text}{NBSP}{unit}"
    return f"0{NBSP}s"


def ago(seconds: float) -> str:
    """How long ago something was: `just now`, `14 s ago`."""
    if not math.isfinite(seconds):
        return UNKNOWN
    return "just now" if seconds < 1 else f"{rough(seconds)} ago"


def clock(seconds: float) -> str:
    """A time on the run's clock, as short as possible: `2:30`, `1:02:30`."""
    if not math.isfinite(seconds):
        return UNKNOWN
    whole = math.floor(abs(seconds) + _SLACK)
    sign = MINUS if seconds < 0 and whole else ""
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    if hours:
        return f"{sign}{hours}:{minutes:02d}:{rest:02d}"
    return f"{sign}{minutes}:{rest:02d}"


def long_clock(seconds: float) -> str:
    """A time on the run's clock that is as wide as the ones above and below it: `00:09:58`."""
    if not math.isfinite(seconds):
        return UNKNOWN
    whole = math.floor(max(0.0, seconds) + _SLACK)
    return f"{whole // 3600:02d}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def _tenths(value: float) -> str:
    tenths = math.floor(value * 10)
    return f"{tenths // 10}.{tenths % 10}"
