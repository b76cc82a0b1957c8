"""A histogram that is merged in any order gives the same quantiles, within 1 % of the range."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.histogram import MAX_BINS, Histogram

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
BATCHES = st.lists(st.lists(FLOATS, max_size=30), min_size=1, max_size=6)
QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


def histogram(values: list[float]) -> Histogram:
    made = Histogram()
    made.add(np.array(values, np.float64))
    return made


def merged(parts: list[Histogram]) -> Histogram:
    whole = Histogram()
    for part in parts:
        whole.merge(part)
    return whole


def bins(of: Histogram) -> tuple[int, list[int], list[int]]:
    return of._exponent, of._keys.tolist(), of._counts.tolist()


def assert_close(made: Histogram, values: list[float]) -> None:
    ordered = np.sort(np.array(values, np.float64))
    low, high = ordered[0] / 2, ordered[-1] / 2  # halves: the range itself may overflow
    for q in QUANTILES:
        true = ordered[int(q * (len(ordered) - 1))]
        rounding = len(ordered) * np.spacing(np.abs(ordered).max() / 2)  # of a bin's sum
        assert abs(made.quantile(q) / 2 - true / 2) <= 0.01 * (high - low) + rounding


def test_empty_histogram_has_no_quantile() -> None:
    assert len(Histogram()) == 0
    assert math.isnan(Histogram().quantile(0.5))
    assert math.isnan(merged([Histogram(), Histogram()]).quantile(0.5))


@given(BATCHES)
def test_every_value_is_counted_once(batches: list[list[float]]) -> None:
    assert len(merged([histogram(batch) for batch in batches])) == sum(map(len, batches))


@given(BATCHES)
def test_order_and_grouping_of_merges_do_not_matter(
    batches: list[list[float]],
) -> None:
    parts = [histogram(batch) for batch in batches]
    in_order = merged(parts)
    backwards = merged(parts[::-1])
    half = len(parts) // 2
    grouped = merged([merged(parts[half:]), merged(parts[:half])])
    at_once = histogram([value for batch in batches for value in batch])
    assert bins(in_order) == bins(backwards) == bins(grouped) == bins(at_once)


@given(st.integers(0, 3000), st.integers(1, 3000), st.integers(0, 3000))
def test_bins_that_straddle_a_boundary_merge_alike_in_any_order(a: int, b: int, c: int) -> None:
    parts = [histogram([float(a), float(a + b)]), histogram([float(a + b + c), 1.0])]
    assert bins(merged(parts)) == bins(merged(parts[::-1]))


@given(st.lists(FLOATS, min_size=1, max_size=200))
def test_quantile_is_within_one_percent_of_the_range(values: list[float]) -> None:
    assert_close(histogram(values), values)


@given(BATCHES.filter(lambda batches: any(batches)))
def test_quantile_of_merged_parts_is_within_one_percent_too(batches: list[list[float]]) -> None:
    assert_close(
        merged([histogram(batch) for batch in batches]), [v for batch in batches for v in batch]
    )


@pytest.mark.parametrize("centre", [0.0, 1.0, -1e9, 1e300, 5e-310])
@pytest.mark.parametrize("spread", [1e-300, 1e-5, 1.0, 1e10])
def test_narrow_and_wide_clouds_keep_their_shape(centre: float, spread: float) -> None:
    values = np.random.default_rng(3).normal(centre, spread, 5000).tolist()
    made = merged([histogram(values[i : i + 50]) for i in range(0, 5000, 50)])
    assert_close(made, values)
    assert len(made._keys) <= MAX_BINS


def test_point_masses_are_exact() -> None:
    values = [9.0] * 700 + [10.0] * 200 + [500.0] * 100
    made = merged([histogram(values[i::7]) for i in range(7)])
    assert [made.quantile(q) for q in (0.1, 0.5, 0.75, 0.95)] == [9.0, 9.0, 10.0, 500.0]


@pytest.mark.parametrize("value", [0.0, -0.0, 0.1, -21.0, 5e-324, -5e-324, 1.7e308, -1.7e308])
def test_a_single_value_is_its_own_quantile(value: float) -> None:
    assert histogram([value]).quantile(0.3) == value


def test_the_largest_doubles_do_not_overflow() -> None:
    largest = float(np.finfo(np.float64).max)
    made = histogram([largest] * 1000)
    assert made.quantile(0.5) == pytest.approx(largest)
    made.add(np.full(10, -largest))
    assert made.quantile(0.0) == pytest.approx(-largest)


def test_what_is_not_finite_is_left_out() -> None:
    made = histogram([math.nan, math.inf, 3.0, -math.inf])
    assert len(made) == 1
    assert made.quantile(0.5) == 3.0
    assert len(histogram([math.nan])) == 0


def test_one_outlier_does_not_take_the_memory_with_it() -> None:
    made = histogram(list(range(1000)))
    made.add(np.array([1e300]))
    assert len(made._keys) <= MAX_BINS
    assert len(made) == 1001
    assert made.quantile(1.0) == 1e300
