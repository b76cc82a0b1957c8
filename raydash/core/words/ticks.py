"""Where an axis has its ticks, and what their labels say. Pure.

`max_ticks` is the largest number of ticks, not counting one at the very start of the axis.
"""

import math

from raydash.core.words.numbers import MINUS, NBSP, decimal, signed
from raydash.core.words.spans import clock

Ticks = list[tuple[float, str]]

_TIME_STEPS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200, 86400),
)
_DAY_S = 86400.0
_UNITS = ((1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_MAX_VALUE = 1e300
"""Beyond it, the length of a range would be infinite."""
_MIN_STEP, _MAX_STEP = 1e-300, 1e308
"""Beyond them, powers of ten and their multiples would be 0 or infinite."""
_MAX_MULTIPLES = 200
_MAX_DIGITS = 15
_SLACK = 1e-9


def nice_step(rough: float, *, whole: bool = False) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `rough`.

    With `whole` it is a whole number.
    """
    if not rough > 0 or not math.isfinite(rough):
        return 1.0
    rough = min(max(rough, 1.0 if whole else _MIN_STEP), _MAX_STEP)
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1.0, 2.0, 5.0):
        if factor * power >= rough * (1 - _SLACK):
            return factor * power
    return 10.0 * power


def nice_limits(low: float, high: float, num_ticks: int = 9) -> tuple[float, float]:
    """Limits on whole ticks around `low` to `high`, which seldom move while data stream in."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
    low, high = max(low, -_MAX_VALUE), min(high, _MAX_VALUE)
    if high - low < 1e-12 * max(abs(low), abs(high), 1.0):
        spread = max(abs(high) * 0.1, 0.5)
        low, high = low - spread, high + spread
    step = nice_step((high - low) / max(1, num_ticks - 1))
    return (
        math.floor(low / step + _SLACK) * step,
        math.ceil(high / step - _SLACK) * step,
    )


def multiples(low: float, high: float, step: float) -> list[float]:
    """The multiples of `step` from `low` to `high`, both included."""
    low, high = max(low, -_MAX_VALUE), min(high, _MAX_VALUE)
    if not low <= high:
        return []
    first = math.ceil(low / step - _SLACK)
    last = math.floor(high / step + _SLACK)
    return [k * step for k in range(first, min(last, first + _MAX_MULTIPLES) + 1)]


def value_ticks(low: float, high: float, max_ticks: int, *, whole: bool = False) -> Ticks:
    """Ticks of a value axis, all in the SI unit of the largest; with `whole`, at integers only."""
    low, high = max(low, -_MAX_VALUE), min(high, _MAX_VALUE)
    return ticks_every(low, high, nice_step((high - low) / max(1, max_ticks), whole=whole))


def ticks_every(low: float, high: float, step: float) -> Ticks:
    """Ticks of a value axis at the multiples of `step`."""
    values = multiples(low, high, step)
    largest = max((abs(value) for value in values), default=0.0)
    return [(value, value_label(value, step, largest)) for value in values]


def value_label(value: float, step: float, largest: float) -> str:
    """A tick's label: `0`, `50`, `2.5 k`, `0.02`; with as many decimals as `step` needs."""
    if abs(value) < step * 1e-6:
        return "0"
    size, unit = _unit_of(largest)
    digits = min(max(0, -math.floor(math.log10(step / size) + _SLACK)), _MAX_DIGITS)
    return signed(f"{value / size:.{digits}f}") + unit


def time_step(span_s: float, max_ticks: int) -> float:
    """The seconds between two ticks of a time axis."""
    rough = min(span_s / max(1, max_ticks), _MAX_VALUE)
    for step in _TIME_STEPS:
        if step >= rough * (1 - _SLACK):
            return step
    return math.ceil(rough / _DAY_S) * _DAY_S if math.isfinite(rough) else _DAY_S


def clock_ticks(low_s: float, high_s: float, max_ticks: int) -> Ticks:
    """Ticks on the run's clock: `2:30`; none before the run's start."""
    step = time_step(high_s - low_s, max_ticks)
    return [(t_s, clock_label(t_s, step)) for t_s in multiples(max(0.0, low_s), high_s, step)]


def clock_label(t_s: float, step_s: float) -> str:
    """A time on the run's clock, with tenths of seconds where ticks are that close."""
    if step_s >= 1:
        return clock(t_s)
    tenths = round(t_s * 10)
    return f"{clock(tenths // 10)}.{tenths % 10}"


def ago_ticks(
    low_s: float, high_s: float, now_s: float, max_ticks: int, first_s: float = 0.0
) -> Ticks:
    """Ticks that say how long ago: `−5 min`, `−30 s`, `now`; none before `first_s`."""
    step = time_step(high_s - low_s, max_ticks)
    ages = multiples(now_s - high_s, now_s - max(low_s, first_s), step)
    in_seconds = high_s - low_s <= 120
    return [
        (now_s - age_s, ago_label(age_s, step, in_seconds=in_seconds)) for age_s in reversed(ages)
    ]


def ago_label(age_s: float, step_s: float, *, in_seconds: bool = False) -> str:
    """How long ago, in the unit of the step; in a short range always in seconds."""
    if abs(age_s) < step_s * 1e-6:
        return "now"
    sign = MINUS if age_s > 0 else "+"
    age_s = abs(age_s)
    if step_s < 60 and age_s >= 60 and not in_seconds:
        return sign + clock(age_s)
    for size, unit in ((_DAY_S, "d"), (3600.0, "h"), (60.0, "min")):
        if step_s >= size or (age_s >= size and age_s % size == 0 and step_s >= 60):
            return f"{sign}{decimal(age_s / size)}{NBSP}{unit}"
    return f"{sign}{age_s:g}{NBSP}s" if step_s >= 1 else f"{sign}{age_s:.1f}{NBSP}s"


def _unit_of(largest: float) -> tuple[float, str]:
    """The size of the unit in which an axis is labelled, and what stands behind each number."""
    if largest >= 2e18 or 0 < largest < 1e-4:
        power = math.floor(math.log10(largest) + _SLACK)
        return 10.0**power, f"e{power:+03d}"
    for size, unit in _UNITS:
        if largest >= 2 * size * (1 - _SLACK):
            return size, f"{NBSP}{unit}"
    return 1.0, ""
