"""The pure parts of plots: geometry, reductions."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raydash.ui.plots.chart.geometry import (
    area_outline,
    band_outline,
    bar_outline,
    concatenated,
    split_at_gaps,
    widest_gap,
)
from raydash.ui.plots.chart.reduce import group_sums, lowest_of_groups, upper_quantile


def test_line_is_torn_at_wide_gaps_only() -> None:
    x = np.array([0.0, 1.0, 2.0, 100.0, 101.0])
    assert split_at_gaps(x, x, 20.0, 1.0)[2].tolist() == [True, True, False, True, False]
    assert split_at_gaps(x, x, 200.0, 1.0)[2].tolist() == [True, True, True, True, False]
    assert [len(part) for part in split_at_gaps(x[:0], x[:0], 1.0, 1.0)] == [0, 0, 0]


def test_point_that_is_alone_gets_an_extent() -> None:
    x, y, joined = split_at_gaps(np.array([0.0, 50.0, 100.0, 101.0]), np.arange(4.0), 20.0, 2.0)
    assert x.tolist() == [-1.0, 1.0, 49.0, 51.0, 100.0, 101.0]
    assert y.tolist() == [0.0, 0.0, 1.0, 1.0, 2.0, 3.0]
    assert joined.tolist() == [True, False, True, False, True, False]


def test_rare_episodes_are_still_joined() -> None:
    x = np.arange(10, dtype=np.float64) * 60.0
    assert split_at_gaps(x, x, widest_gap(x, 0.5), 0.5)[2].tolist() == [True] * 9 + [False]


def test_band_goes_along_the_lows_and_back_along_the_highs() -> None:
    x = np.array([0.0, 1.0, 50.0, 51.0])
    joined = np.array([True, False, True, False])
    across, up, together = band_outline(x, x + 1, x + 2, joined)
    assert across.tolist() == [0, 1, 1, 0, 50, 51, 51, 50]
    assert up.tolist() == [1, 2, 3, 2, 51, 52, 53, 52]
    assert together.tolist() == [True, True, True, False] * 2


def test_bundle_of_lines_keeps_them_apart() -> None:
    line = (np.array([0.0, 1.0]), np.array([2.0, 3.0]), np.array([True, False]))
    x, y, joined = concatenated([line, line])
    assert (x.tolist(), y.tolist()) == ([0, 1, 0, 1], [2, 3, 2, 3])
    assert joined.tolist() == [True, False, True, False]
    assert [len(part) for part in concatenated([])] == [0, 0, 0]


def test_outline_of_an_area_ends_on_zero() -> None:
    x, y = area_outline(np.array([1.0, 2.0]), np.array([5.0, 6.0]))
    assert (x.tolist(), y.tolist()) == ([1, 2, 2, 1], [5, 6, 0, 0])


def test_stairs_outline_bars() -> None:
    x, y = bar_outline(np.array([0.0, 1.0, 2.0]), np.array([5.0, 7.0]))
    assert x.tolist() == [0, 1, 1, 2]
    assert y.tolist() == [5, 5, 7, 7]


@given(st.integers(1, 60), st.integers(1, 9), st.integers(0, 20))
def test_group_sums_equal_numpys(count: int, every: int, first_bucket: int) -> None:
    matrix = np.arange(count * 3, dtype=np.float32).reshape(count, 3)
    offset = (-first_bucket) % every
    starts = np.unique(np.concatenate([[0], np.arange(offset, count, every)])).astype(np.intp)
    starts = starts[starts < count]
    assert np.array_equal(group_sums(matrix, starts), np.add.reduceat(matrix, starts, axis=0))


@given(st.integers(1, 30), st.integers(1, 7))
def test_lowest_of_each_finds_the_stuck_one(workers: int, each: int) -> None:
    matrix = np.random.default_rng(workers).random((4, workers)).astype(np.float32)
    rows = np.arange(0, workers, each)
    assert np.array_equal(lowest_of_groups(matrix, each), np.minimum.reduceat(matrix, rows, axis=1))


def test_high_mark_ignores_a_single_burst() -> None:
    matrix = np.ones((100, 100), np.float32)
    matrix[0, 0] = 1e6
    assert upper_quantile(matrix) == 1.0
    assert upper_quantile(matrix[:0]) == 0.0
