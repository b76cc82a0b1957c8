"""Histograms merged in any order give the same quantiles, within 1 % of the range."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.history.histogram import MAX_BINS, Histogram, HistogramError

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


# --- as bytes ---------------------------------------------------------------------------------


def through_bytes(made: Histogram) -> Histogram:
    return Histogram.from_bytes(made.to_bytes())


@given(st.lists(FLOATS, min_size=1, max_size=300))
def test_bytes_give_back_the_same_bins_and_the_same_quantiles(values: list[float]) -> None:
    made = histogram(values)
    back = through_bytes(made)
    assert bins(back) == bins(made)
    width = math.ldexp(1.0, min(made._exponent, 1023))
    for q in QUANTILES:
        one, other = made.quantile(q), back.quantile(q)
        assert one == other or abs(one / 2 - other / 2) <= 1e-7 * width + 1e-15 * abs(one)


@given(BATCHES.filter(lambda batches: any(batches)))
def test_quantile_is_within_one_percent_after_bytes_and_merges(
    batches: list[list[float]],
) -> None:
    parts = [through_bytes(histogram(batch)) for batch in batches]
    assert_close(through_bytes(merged(parts)), [v for batch in batches for v in batch])


def test_whole_numbers_come_back_exactly_and_take_two_bytes_a_bin() -> None:
    values = np.random.default_rng(1).geometric(1 / 22, 900).astype(np.float64)
    made = Histogram()
    made.add(values)
    back = through_bytes(made)
    assert [back.quantile(q) for q in QUANTILES] == [made.quantile(q) for q in QUANTILES]
    assert len(made.to_bytes()) < 20 + 2 * len(made._keys)


def test_very_large_counts_come_back_exactly() -> None:
    made = histogram([1.0, 2.5])
    for _ in range(40):
        made.merge(made)
    assert bins(through_bytes(made)) == bins(made)
    assert len(made) == 2**41


def test_a_histogram_without_a_value_takes_no_byte() -> None:
    assert Histogram().to_bytes() == b""
    assert len(Histogram.from_bytes(b"")) == 0


def packed(values: list[float] | None = None) -> bytes:
    return histogram(values or [1.0, 2.0, 3.25, 4.0]).to_bytes()


@pytest.mark.parametrize(
    "data",
    [
        b"\0",
        b"\x01" * 5,
        packed()[:-1],
        packed() + b"\0",
        b"\x07" + packed()[1:],
        packed()[:1] + b"\x03" + packed()[2:],
        packed()[:2] + b"\xff\x7f" + packed()[4:],
        packed()[:4] + b"\xff" * 7 + b"\x7f" + packed()[12:],
        packed()[:12] + b"\xff" + packed()[13:],
        packed()[:-4] + b"\0\0\xc0\x7f",
        packed()[:-4] + b"\0\0\x80\xbf",
        packed()[:13] + b"\0\0" + packed()[15:],
    ],
    ids=[
        "one byte", "too short", "cut", "too long", "version", "count size", "exponent",
        "first key", "number of bins", "mean NaN", "mean below its bin", "bins out of order",
    ],
)  # fmt: skip
def test_bytes_that_are_no_histogram_are_refused(data: bytes) -> None:
    with pytest.raises(HistogramError):
        Histogram.from_bytes(data)


@given(st.binary(max_size=2000))
def test_any_bytes_are_refused_or_give_a_sound_histogram(data: bytes) -> None:
    for candidate in (data, packed()[:13] + data, packed()[:2] + data):
        try:
            made = Histogram.from_bytes(candidate)
        except HistogramError:
            continue
        assert len(made._keys) <= MAX_BINS
        merged([made, made, histogram([1.0])]).quantile(0.5)
