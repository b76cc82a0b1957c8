"""Where an axis has its ticks and what their labels say. Pure."""

import math

from raydash.ui.kit import words
from raydash.ui.plots.shown.placing import StepCount

Ticks = list[tuple[float, str]]

_TIME_STEPS = (
    *(0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 10800, 21600, 43200, 86400),
)
_UNITS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))
_SLACK = 1e-9
_NEAREST = 0.7
"""The smallest distance between two ticks, as a share of what it is where they are even."""


def nice_step(rough: float) -> float:
    """The smallest of 1, 2, 5 times a power of ten that is not below `rough`."""
    if not rough > 0 or not math.isfinite(rough):
        return 1.0
    power = 10.0 ** math.floor(math.log10(rough))
    for factor in (1.0, 2.0, 5.0):
        if factor * power >= rough * (1 - _SLACK):
            return factor * power
    return 10.0 * power


def nice_limits(low: float, high: float, num_ticks: int = 9) -> tuple[float, float]:
    """Limits on whole ticks around `low` to `high`, which seldom move while data stream in."""
    if not (math.isfinite(low) and math.isfinite(high)):
        return 0.0, 1.0
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
    first = math.ceil(low / step - _SLACK)
    last = math.floor(high / step + _SLACK)
    return [k * step for k in range(first, min(last, first + 200) + 1)]


def value_ticks(low: float, high: float, max_ticks: int, *, whole: bool = False) -> Ticks:
    """Ticks of a value axis, all in the SI unit of the largest; with `whole`, at integers only."""
    step = nice_step((high - low) / max(1, max_ticks))
    if whole:
        step = max(step, 1.0)
    values = multiples(low, high, step)
    largest = max((abs(value) for value in values), default=0.0)
    return [(value, value_label(value, step, largest)) for value in values]


def value_label(value: float, step: float, largest: float) -> str:
    """A tick's label: `0`, `50`, `2.5 k`, `0.02`; with as many decimals as `step` needs."""
    if abs(value) < step * 1e-6:
        return "0"
    size, unit = next(
        (pair for pair in _UNITS if largest >= 2 * pair[0] * (1 - _SLACK)),
        (1.0, ""),
    )
    digits = max(0, -math.floor(math.log10(step / size) + _SLACK))
    text = f"{value / size:.{digits}f}".replace("-", words.MINUS)
    return f"{text}{words.NBSP}{unit}" if unit else text


def time_step(span_s: float, max_ticks: int) -> float:
    """The seconds between two ticks of a time axis."""
    rough = span_s / max(1, max_ticks)
    for step in _TIME_STEPS:
        if step >= rough * (1 - _SLACK):
            return step
    return math.ceil(rough / 86400) * 86400.0


def clock_ticks(low_s: float, high_s: float, max_ticks: int) -> Ticks:
    """Ticks on the run's clock: `2:30`; none before the run's start."""
    step = time_step(high_s - low_s, max_ticks)
    return [(t_s, clock_label(t_s, step)) for t_s in multiples(max(0.0, low_s), high_s, step)]


def clock_label(t_s: float, step_s: float) -> str:
    """A time on the run's clock, with tenths of seconds where ticks are that close."""
    if step_s >= 1:
        return words.run_clock(t_s)
    tenths = round(t_s * 10)
    return f"{words.run_clock(tenths // 10)}.{tenths % 10}"


def step_ticks(count: StepCount, low_s: float, high_s: float, max_ticks: int) -> Ticks:
    """Ticks at round numbers of env steps, placed at the times when the run had made them.

    They are evenly spaced where the throughput is even; those that would come too close to the one
    before are left out. The first label names the unit.
    """
    first, last = (float(steps) for steps in count.steps_at((max(0.0, low_s), high_s)))
    ticks: Ticks = []
    for steps, label in value_ticks(first, last, max_ticks, whole=True):
        t_s = float(count.time_of(steps))
        is_near = ticks and t_s - ticks[-1][0] < _NEAREST * (high_s - low_s) / max(1, max_ticks)
        if low_s <= t_s <= high_s and not is_near:
            ticks.append((t_s, label if ticks else f"{label}{words.NBSP}steps"))
    return ticks


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
    sign = words.MINUS if age_s > 0 else "+"
    age_s = abs(age_s)
    if step_s < 60 and age_s >= 60 and not in_seconds:
        return sign + words.run_clock(age_s)
    for size, unit in ((86400.0, "d"), (3600.0, "h"), (60.0, "min")):
        if step_s >= size or (age_s >= size and age_s % size == 0 and step_s >= 60):
            return f"{sign}{age_s / size:g}{words.NBSP}{unit}"
    return f"{sign}{age_s:g}{words.NBSP}s" if step_s >= 1 else f"{sign}{age_s:.1f}{words.NBSP}s"
