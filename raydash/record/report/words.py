"""Formats figures and times for a report."""

import json
import math
from collections.abc import Mapping

THIN, NBSP, MINUS, UNKNOWN = "\u202f", "\u00a0", "\u2212", "\u2013"
_PREFIXES = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))

FIGURES: Mapping[str, str] = {
    "episode_return_mean": "Episode return, mean",
    "recent_return_mean": "of the last 100 episodes",
    "episode_return_max": "highest",
    "episode_return_min": "lowest",
    "episode_len_mean": "Episode length, mean",
    "num_episodes_lifetime": "Episodes",
    "num_episodes_terminated_lifetime": "terminated",
    "num_episodes_truncated_lifetime": "truncated",
    "num_episodes_error_lifetime": "ended in an error",
    "num_env_steps_sampled_lifetime": "Env steps",
    "env_steps_per_s": "Env steps/s, whole run",
    "elapsed_s": "Stepping time",
    "num_restarts": "Worker restarts",
}
"""Labels of `raydash.core.analysis.compare.FIGURES`; one in small letters belongs to the one above
it."""


def figure(key: str, value: float) -> str:
    """Format a figure of a run by its key."""
    if not math.isfinite(value):
        return UNKNOWN
    if key == "elapsed_s":
        return duration(value)
    return count(value) if key.startswith("num_") else decimal(value)


def count(value: float) -> str:
    """Format a count, as `212 480`."""
    return f"{round(value):,}".replace(",", THIN).replace("-", MINUS)


def decimal(value: float) -> str:
    """Format with about four digits, as `187.4`, `112`, `0.01234`, `1 204` or `1.2e+07`."""
    size = abs(value)
    if not math.isfinite(value):
        return UNKNOWN
    if size >= 1e7 or 0 < size < 1e-4:
        return f"{value:.3g}".replace("-", MINUS)
    if size >= 1000 or value == round(value):
        return count(value)
    digits = 1 if size >= 10 else 3 - math.floor(math.log10(size))
    return f"{value:.{digits}f}".replace("-", MINUS)


def compact(value: float) -> str:
    """Format a tick's label, as `2.5 k`, `0.02` or `0`."""
    for size, prefix in _PREFIXES:
        if abs(value) >= size * (1 - 1e-9):
            return f"{value / size:.4g}{NBSP}{prefix}".replace("-", MINUS)
    return f"{value:.4g}".replace("-", MINUS)


def duration(seconds: float) -> str:
    """Format a span of time, as `7.3 s`, `12 min 05 s`, `3 h 20 min` or `2 d 4 h`."""
    if not math.isfinite(seconds):
        return UNKNOWN
    if seconds < 60:
        return f"{max(0.0, seconds):.1f}{NBSP}s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}{NBSP}min{NBSP}{whole % 60:02d}{NBSP}s"
    if whole < 48 * 3600:
        return f"{whole // 3600}{NBSP}h{NBSP}{whole // 60 % 60:02d}{NBSP}min"
    return f"{whole // 86400}{NBSP}d{NBSP}{whole // 3600 % 24}{NBSP}h"


def clock(seconds: float) -> str:
    """Format a time of the run's clock, as `2:30` or `1:02:30`, with tenths as `0:00.5`."""
    whole = math.floor(seconds)
    hours, minutes, rest = whole // 3600, whole // 60 % 60, whole % 60
    tail = f"{seconds - whole:.1f}"[1:] if abs(seconds - round(seconds)) > 0.04 else ""
    head = f"{hours}:{minutes:02d}" if hours else f"{minutes}"
    return f"{head}:{rest:02d}{tail}"


def value(anything: object) -> str:
    """Format a value of a spec; an en dash stands for nothing."""
    if anything is None or anything == "":
        return UNKNOWN
    if isinstance(anything, str):
        return anything
    return json.dumps(anything, ensure_ascii=False, default=str)


def clipped(text: str, length: int = 60) -> str:
    """Shorten a name to what a legend has room for."""
    return text if len(text) <= length else text[: length - 1] + "…"
