"""Spans of time in words: one table a function, and what holds for any span."""

import math
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.words import numbers, spans
from raydash.core.words.plain import plainly

ANY = st.floats(allow_nan=True, allow_infinity=True, width=64)
_UNITS = {"d": 86400, "h": 3600, "min": 60, "s": 1, "ms": 1e-3, "µs": 1e-6, "ns": 1e-9}


def seconds_in(text: str) -> float:
    """The span that a text names."""
    parts = re.findall(r"([\d.]+(?: \d{3})*) (\w+)", plainly(text).replace("µ", "µ"))
    return sum(float(number.replace(" ", "")) * _UNITS[unit] for number, unit in parts)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1.0, "0.0 s"),
        (0.0, "0.0 s"),
        (0.3, "0.3 s"),
        (1.0, "1.0 s"),
        (59.99, "59.9 s"),
        (60.0, "1 min 00 s"),
        (725.0, "12 min 05 s"),
        (999.5, "16 min 39 s"),
        (3599.9, "59 min 59 s"),
        (3600.0, "1 h 00 min"),
        (12_000.0, "3 h 20 min"),
        (86_399.0, "23 h 59 min"),
        (172_799.9, "47 h 59 min"),
        (172_800.0, "2 d 0 h"),
        (200_000.0, "2 d 7 h"),
        (1e6, "11 d 13 h"),
        (1e9, "11 574 d 1 h"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_duration_is_rounded_down_to_its_last_unit(seconds: float, said: str) -> None:
    assert plainly(spans.duration(seconds)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1.0, "0.0 s"),
        (0.1, "0.1 s"),
        (9.99, "9.9 s"),
        (14.2, "14 s"),
        (119.9, "119 s"),
        (180.0, "3 min"),
        (3599.9, "59 min"),
        (7500.0, "2 h 05 min"),
        (86_399.0, "23 h 59 min"),
        (200_000.0, "2 d 7 h"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_rough_says_roughly_how_long(seconds: float, said: str) -> None:
    assert plainly(spans.rough(seconds)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-1e-3, "0 s"),
        (0.0, "0 s"),
        (1e-12, "0 s"),
        (4e-9, "4.0 ns"),
        (9.8e-6, "9.8 µs"),
        (0.0025, "2.5 ms"),
        (0.09999, "99.9 ms"),
        (0.1, "100 ms"),
        (0.9999, "999 ms"),
        (1.24, "1.2 s"),
        (200_000.0, "2 d 7 h"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_short_time_chooses_its_unit(seconds: float, said: str) -> None:
    assert plainly(spans.short_time(seconds)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (-5, "just now"),
        (0.3, "just now"),
        (14, "14 s ago"),
        (3600, "1 h 00 min ago"),
        (math.nan, "-"),
    ],
)
def test_ago_says_just_now_below_a_second(seconds: float, said: str) -> None:
    assert plainly(spans.ago(seconds)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0:00"),
        (59.99, "0:59"),
        (150, "2:30"),
        (3599.9, "59:59"),
        (3750, "1:02:30"),
        (200_000, "55:33:20"),
        (-0.5, "0:00"),
        (-65, "-1:05"),
        (math.nan, "-"),
        (math.inf, "-"),
    ],
)
def test_clock_is_as_short_as_possible(seconds: float, said: str) -> None:
    assert plainly(spans.clock(seconds)) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(-1, "00:00:00"), (0, "00:00:00"), (598.9, "00:09:58"), (90_061, "25:01:01"), (math.nan, "-")],
)
def test_long_clock_has_hours_minutes_and_seconds(seconds: float, said: str) -> None:
    assert plainly(spans.long_clock(seconds)) == said


@given(ANY)
def test_every_span_has_words(seconds: float) -> None:
    for say in (
        spans.duration,
        spans.rough,
        spans.short_time,
        spans.ago,
        spans.clock,
        spans.long_clock,
    ):
        said = say(seconds)
        assert said
        assert "nan" not in said
        assert "inf" not in said
        assert math.isfinite(seconds) or said == numbers.UNKNOWN


@given(st.floats(0, 1e9), st.floats(0, 1e9))
def test_longer_spans_never_read_shorter(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    for say in (spans.duration, spans.rough, spans.short_time):
        assert seconds_in(say(low)) <= seconds_in(say(high)) * (1 + 1e-9)
        assert seconds_in(say(low)) <= low * (1 + 1e-9) + 1e-6


@given(st.integers(0, 59), st.integers(0, 9))
def test_a_span_that_has_tenths_keeps_them(whole: int, tenths: int) -> None:
    assert plainly(spans.duration(float(f"{whole}.{tenths}"))) == f"{whole}.{tenths} s"
