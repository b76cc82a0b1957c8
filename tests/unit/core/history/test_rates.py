"""Rates from cumulative totals are exact over the time they cover, and never negative."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.history.rates import SpanRates


def test_nothing_can_be_said_before_the_first_mark() -> None:
    rates = SpanRates(longest_s=10.0, resolution_s=0.1)
    grown, seconds = rates.growth(5.0, [100.0], 10.0)
    assert grown.tolist() == [0.0]
    assert seconds == 0.0
    assert rates.rate_per_s(5.0, [100.0], 10.0).tolist() == [0.0]


def test_a_young_rate_is_over_the_time_there_is() -> None:
    rates = SpanRates(longest_s=60.0, resolution_s=0.1)
    rates.note(0.0, 0)
    assert rates.rate_per_s(2.0, 300.0, 60.0).tolist() == [150.0]


def test_a_rate_is_over_its_span_and_not_over_more() -> None:
    rates = SpanRates(longest_s=60.0, resolution_s=0.1)
    for second in range(101):
        rates.note(float(second), 10.0 * second + 90.0 * max(0, second - 95))
    total = 1000.0 + 450.0
    assert rates.rate_per_s(100.0, total, 1.0).tolist() == [100.0]
    assert rates.rate_per_s(100.0, total, 10.0).tolist() == [55.0]
    assert rates.growth(100.0, total, 60.0)[1] == 60.0


def test_workers_that_came_later_count_from_zero() -> None:
    rates = SpanRates(longest_s=10.0, resolution_s=0.1)
    rates.note(0.0, [5.0])
    assert rates.rate_per_s(2.0, [15.0, 8.0], 10.0).tolist() == [5.0, 4.0]


def test_totals_that_fall_give_no_negative_rate() -> None:
    rates = SpanRates(longest_s=10.0, resolution_s=0.1)
    rates.note(0.0, [50.0])
    assert rates.rate_per_s(1.0, [20.0], 1.0).tolist() == [0.0]


def test_marks_are_copies() -> None:
    rates = SpanRates(longest_s=10.0, resolution_s=0.1)
    totals = np.array([1.0])
    rates.note(0.0, totals)
    totals[0] = 9.0
    assert rates.rate_per_s(1.0, totals, 1.0).tolist() == [8.0]


def test_memory_is_bounded_however_often_totals_are_noted() -> None:
    rates = SpanRates(longest_s=10.0, resolution_s=0.5)
    for t_s in np.arange(0.0, 500.0, 0.02):
        rates.note(float(t_s), t_s)
    assert len(rates._marks) <= 22
    assert rates.rate_per_s(500.0, 500.0, 10.0)[0] == pytest.approx(1.0)


@given(
    st.lists(st.tuples(st.floats(0.01, 5.0), st.integers(0, 1000)), min_size=1, max_size=80),
    st.sampled_from([1.0, 10.0, 60.0]),
)
def test_growth_is_that_since_the_newest_mark_outside_of_the_span(
    steps: list[tuple[float, int]], span_s: float
) -> None:
    rates = SpanRates(longest_s=60.0, resolution_s=0.0)
    t_s, total, marks = 0.0, 0, [(0.0, 0)]
    rates.note(0.0, 0)
    for seconds, grown in steps:
        t_s, total = t_s + seconds, total + grown
        rates.note(t_s, total)
        marks.append((t_s, total))
    outside = [mark for mark in marks if mark[0] <= t_s - span_s + 1e-9] or marks[:1]
    grown_now, covered_s = rates.growth(t_s, total, span_s)
    assert grown_now[0] == total - outside[-1][1]
    assert covered_s == pytest.approx(t_s - outside[-1][0])
