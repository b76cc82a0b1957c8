"""Where axes have their ticks, and what these say."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raydash.core.words.plain import plainly
from raydash.core.words.ticks import (
    Ticks,
    ago_ticks,
    clock_ticks,
    multiples,
    nice_limits,
    nice_step,
    ticks_every,
    time_step,
    value_ticks,
)

FINITE = st.floats(-1e12, 1e12)
ANY_FINITE = st.floats(allow_nan=False, allow_infinity=False)
MOST = st.integers(1, 12)


def labels(ticks: Ticks) -> list[str]:
    return [plainly(label) for _, label in ticks]


@pytest.mark.parametrize(
    ("low", "high", "most", "said"),
    [
        (0, 250_000, 5, ["0", "50 k", "100 k", "150 k", "200 k", "250 k"]),
        (0, 3e6, 3, ["0", "1 M", "2 M", "3 M"]),
        (0, 3e6, 6, ["0", "0.5 M", "1.0 M", "1.5 M", "2.0 M", "2.5 M", "3.0 M"]),
        (-1, 1, 2, ["-1", "0", "1"]),
        (0, 0.06, 3, ["0", "0.02", "0.04", "0.06"]),
        (0, 1500, 3, ["0", "500", "1000", "1500"]),
        (0, 4e15, 2, ["0", "2 P", "4 P"]),
        (0, 1e19, 2, ["0", "0.5e+19", "1.0e+19"]),
        (-4e300, 4e300, 2, ["-1e+300", "0", "1e+300"]),
        (0, 2e-9, 2, ["0", "1e-09", "2e-09"]),
        (3, 3, 5, ["3"]),
        (math.nan, math.nan, 5, []),
    ],
)
def test_ticks_share_one_unit(low: float, high: float, most: int, said: list[str]) -> None:
    assert labels(value_ticks(low, high, most)) == said


def test_worker_numbers_have_no_decimals() -> None:
    assert labels(value_ticks(0.5, 4.5, 10, whole=True)) == ["1", "2", "3", "4"]


def test_ticks_may_have_a_given_distance() -> None:
    assert labels(ticks_every(0, 6, 2.0)) == ["0", "2", "4", "6"]


@pytest.mark.parametrize(
    ("low_s", "high_s", "most", "said"),
    [
        (0, 600, 2, ["0:00", "5:00", "10:00"]),
        (0, 7200, 2, ["0:00", "1:00:00", "2:00:00"]),
        (0, 200_000, 2, ["0:00", "48:00:00"]),
        (-5, 1, 3, ["0:00"]),
        (10, 11, 2, ["0:10.0", "0:10.5", "0:11.0"]),
    ],
)
def test_ticks_on_the_run_clock_begin_at_its_start(
    low_s: float, high_s: float, most: int, said: list[str]
) -> None:
    assert labels(clock_ticks(low_s, high_s, most)) == said


@pytest.mark.parametrize(
    ("low_s", "high_s", "now_s", "most", "said"),
    [
        (540, 600, 600, 4, ["-60 s", "-45 s", "-30 s", "-15 s", "now"]),
        (0, 600, 600, 2, ["-10 min", "-5 min", "now"]),
        (300, 600, 600, 6, ["-5 min", "-4 min", "-3 min", "-2 min", "-1 min", "now"]),
        (0, 7200, 7200, 4, ["-2 h", "-90 min", "-1 h", "-30 min", "now"]),
        (0, 864_000, 864_000, 2, ["-10 d", "-5 d", "now"]),
    ],
)
def test_ticks_say_how_long_ago(
    low_s: float, high_s: float, now_s: float, most: int, said: list[str]
) -> None:
    assert labels(ago_ticks(low_s, high_s, now_s, most)) == said


@pytest.mark.parametrize(
    ("rough", "step"), [(0.3, 0.5), (1.0, 1.0), (1.01, 2.0), (7.0, 10.0), (0.0, 1.0), (-1.0, 1.0)]
)
def test_steps_are_one_two_or_five(rough: float, step: float) -> None:
    assert nice_step(rough) == pytest.approx(step)


@given(st.floats(1e-300, 1e307))
def test_nice_step_is_next_above(rough: float) -> None:
    assert rough * 0.999 <= nice_step(rough) <= rough * 2.51
    assert nice_step(rough, whole=True) == max(nice_step(rough), 1.0)


@given(FINITE, FINITE)
def test_nice_limits_hold_the_values(one: float, other: float) -> None:
    low, high = min(one, other), max(one, other)
    nice_low, nice_high = nice_limits(low, high)
    slack = 1e-6 * max(1.0, abs(low), abs(high))
    assert nice_low <= low + slack
    assert nice_high >= high - slack
    assert nice_high > nice_low


def test_limits_of_nothing_are_some() -> None:
    assert nice_limits(math.nan, math.nan) == (0.0, 1.0)


@given(ANY_FINITE, ANY_FINITE, MOST, st.booleans())
def test_ticks_are_inside_and_never_too_many(
    one: float, other: float, most: int, whole: bool
) -> None:
    low, high = min(one, other), max(one, other)
    ticks = value_ticks(low, high, most, whole=whole)
    assert len(ticks) <= most + 1
    slack = 1e-6 * ((high / 2 - low / 2) or 1.0)
    for value, label in ticks:
        assert low - slack <= value <= high + slack
        assert 0 < len(label) <= 24


@given(ANY_FINITE, ANY_FINITE, MOST)
@example(0.0, 1.7976931348623157e308, 1)
def test_time_ticks_are_inside_and_never_too_many(one: float, other: float, most: int) -> None:
    low, high = min(one, other), max(one, other)
    for ticks in (clock_ticks(low, high, most), ago_ticks(low, high, high, most)):
        assert len(ticks) <= most + 1
        slack = 1e-6 * max(1.0, abs(low), abs(high))
        for t_s, label in ticks:
            assert low - slack <= t_s <= high + slack
            assert label


@given(st.floats(allow_nan=True, allow_infinity=True), MOST)
def test_time_step_is_a_time(span_s: float, most: int) -> None:
    assert 0 < time_step(span_s, most) < math.inf


@pytest.mark.parametrize(
    ("low", "high"), [(math.nan, 1.0), (0.0, math.nan), (2.0, 1.0), (1e305, 1e306)]
)
def test_a_range_that_is_none_has_no_multiples(low: float, high: float) -> None:
    assert multiples(low, high, 1.0) == []
