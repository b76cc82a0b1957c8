"""Comparison of runs: curves are ratios of sums, and intervals hold what they should."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.analysis.compare import (
    FIGURES,
    Centre,
    Curve,
    Metric,
    XAxis,
    curve,
    figures_table,
    group_curve,
    interval,
    intervals,
    seed_groups,
    spec_differences,
)
from raydash.core.history.history import Tier
from raydash.core.history.series import HistorySeries
from raydash.core.records import EpisodeColumns
from raydash.core.spec import EnvSpec, RolloutSpec, RunSpec
from raydash.core.states import Ending
from raydash.core.updates import RunFigures

FINITE = st.floats(-1e9, 1e9, allow_nan=False)


def history(
    steps: list[tuple[float, float, int]],
    episodes: list[tuple[float, float, Ending]] = (),  # type: ignore[assignment]
    until_s: float = 0.0,
) -> HistorySeries:
    """A reader's history of chunks (start, end, steps) and episodes (end, return, ending)."""
    tier = Tier(merges=True)
    tier.widen(1)
    for start_s, end_s, count in steps:
        tier.add_steps(1, start_s, end_s, count, 1)
    n = len(episodes)
    ends, returns, endings = zip(*episodes, strict=True) if episodes else ((), (), ())
    tier.add_episodes(
        EpisodeColumns(
            end_s=np.array(ends, np.float64),
            worker_index=np.ones(n, np.int32),
            env_index=np.zeros(n, np.int32),
            incarnation=np.zeros(n, np.int32),
            episode_return=np.array(returns, np.float64),
            episode_len=np.ones(n, np.int32),
            ending=np.array(endings, np.uint8),
            duration_s=np.ones(n, np.float32),
        ),
        1,
    )
    tier.pass_time(until_s, 1)
    series = HistorySeries()
    series.apply(tier.delta(0))
    return series


TWO_SECONDS = history(
    [(0.0, 1.0, 100), (1.0, 2.0, 300)],
    [
        (0.2, 10.0, Ending.TERMINATED),
        (0.3, 20.0, Ending.TRUNCATED),
        (1.2, 60.0, Ending.BOTH),
        (1.4, math.nan, Ending.ERROR),
    ],
    until_s=1.999,
)


@pytest.mark.parametrize(
    ("metric", "y"),
    [
        (Metric.EPISODE_RETURN_MEAN, [15.0, 60.0]),
        (Metric.ENV_STEPS_PER_S, [100.0, 100.0, 300.0, 300.0]),
        (Metric.EPISODES_PER_S, [4.0, 0.0, 4.0, 0.0]),
        (Metric.TERMINATED_SHARE, [0.5, 0.5]),
        (Metric.EPISODE_LEN_MEAN, [25.0, 100.0]),
    ],
)
def test_each_metric_is_a_ratio_of_its_buckets_sums(metric: Metric, y: list[float]) -> None:
    made = curve(TWO_SECONDS, metric, XAxis.TIME, until_s=2.0)
    np.testing.assert_allclose(made.y, y)


@pytest.mark.parametrize(
    ("axis", "x"),
    [
        (XAxis.TIME, [0.5, 1.5]),
        (XAxis.WALL_CLOCK, [1000.5, 1001.5]),
        (XAxis.ENV_STEPS, [50.0, 250.0]),
        (XAxis.EPISODES, [1.0, 3.0]),
    ],
)
def test_a_point_stands_in_the_middle_of_what_it_speaks_of(axis: XAxis, x: list[float]) -> None:
    made = curve(
        TWO_SECONDS,
        Metric.EPISODE_RETURN_MEAN,
        axis,
        until_s=2.0,
        num_points=2,
        started_utc_s=1000.0,
    )
    np.testing.assert_allclose(made.x, x)


def test_joined_points_are_weighted_by_their_episodes() -> None:
    made = curve(TWO_SECONDS, Metric.EPISODE_RETURN_MEAN, XAxis.TIME, until_s=2.0, num_points=1)
    np.testing.assert_allclose(made.y, [30.0])
    np.testing.assert_allclose(made.weight, [3.0])


def test_a_bucket_cut_short_by_the_end_is_no_dip_in_throughput() -> None:
    series = history([(0.0, 0.75, 75)], until_s=0.75)
    made = curve(series, Metric.ENV_STEPS_PER_S, XAxis.TIME, until_s=0.75)
    np.testing.assert_allclose(made.y, [100.0, 100.0])
    np.testing.assert_allclose(made.x, [0.25, 0.625])


def test_what_is_not_reliable_yet_is_left_out() -> None:
    made = curve(TWO_SECONDS, Metric.ENV_STEPS_PER_S, XAxis.TIME, until_s=1.0)
    np.testing.assert_allclose(made.y, [100.0, 100.0])


def test_steps_of_long_episodes_count_where_these_end() -> None:
    series = history([(0.0, 10.0, 1000)], [(9.9, 1.0, Ending.TERMINATED)], until_s=9.99)
    made = curve(series, Metric.EPISODE_LEN_MEAN, XAxis.TIME, until_s=10.0)
    np.testing.assert_allclose(made.y, [1000.0])


@pytest.mark.parametrize("until_s", [0.0, -1.0])
def test_a_run_that_has_not_begun_has_no_points(until_s: float) -> None:
    made = curve(HistorySeries(), Metric.ENV_STEPS_PER_S, XAxis.TIME, until_s=until_s)
    assert len(made) == 0


def test_a_return_that_is_not_finite_spoils_only_its_bucket() -> None:
    series = history(
        [], [(0.1, math.inf, Ending.TERMINATED), (0.6, 5.0, Ending.TERMINATED)], until_s=0.9
    )
    for num_points in (1, 2):
        made = curve(
            series, Metric.EPISODE_RETURN_MEAN, XAxis.TIME, until_s=1.0, num_points=num_points
        )
        np.testing.assert_allclose(made.y, [5.0])


@given(
    counts=st.lists(st.integers(0, 50), min_size=1, max_size=80),
    num_points=st.integers(1, 100),
)
def test_smoothing_keeps_sums_and_the_number_of_points(counts: list[int], num_points: int) -> None:
    steps = [(k * 0.5, k * 0.5 + 0.499, n) for k, n in enumerate(counts)]
    end_s = len(counts) * 0.5
    series = history(steps, until_s=end_s - 0.01)
    made = curve(series, Metric.ENV_STEPS_PER_S, XAxis.TIME, until_s=end_s, num_points=num_points)
    assert 1 <= len(made) <= num_points
    assert np.all(np.diff(made.x) > 0)
    np.testing.assert_allclose(np.sum(made.y * made.weight), sum(counts), atol=1e-6)
    np.testing.assert_allclose(np.sum(made.weight), end_s)


# --- figures ---


def figures(**values: float) -> RunFigures:
    return replace(RunFigures(), **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "given_values", "best"),
    [
        ("episode_return_mean", (1.0, 3.0, 2.0), (False, True, False)),
        ("episode_return_mean", (-5.0, math.nan, -2.0), (False, False, True)),
        ("episode_return_mean", (3.0, 3.0, 1.0), (True, True, False)),
        ("episode_return_mean", (3.0, 3.0, 3.0), (False, False, False)),
        ("episode_return_mean", (3.0, math.nan, math.nan), (False, False, False)),
        ("num_episodes_error_lifetime", (2, 0, 1), (False, True, False)),
        ("episode_len_mean", (1.0, 2.0, 3.0), (False, False, False)),
        ("elapsed_s", (1.0, 2.0, 3.0), (False, False, False)),
    ],
)
def test_the_best_is_marked_where_better_is_clear(
    key: str, given_values: tuple[float, ...], best: tuple[bool, ...]
) -> None:
    table = figures_table([figures(**{key: value}) for value in given_values])
    row = next(row for row in table if row.key == key)
    np.testing.assert_equal(row.values, given_values)
    assert row.best == best


def test_throughput_is_over_the_stepping_time() -> None:
    made = figures_table(
        [figures(num_env_steps_sampled_lifetime=500, elapsed_s=5.0), figures(), None]
    )
    assert [row.key for row in made] == list(FIGURES)
    row = next(row for row in made if row.key == "env_steps_per_s")
    np.testing.assert_equal(row.values, (100.0, math.nan, math.nan))


# --- specs ---


def test_differences_name_dotted_keys_and_all_values() -> None:
    first = RunSpec(env=EnvSpec("A-v1", {"gravity": 9.8}), rollout=RolloutSpec(num_workers=4))
    second = replace(first, env=EnvSpec("A-v1", {"gravity": 1.6, "wind": True}), name="moon")
    found = {each.key: each.values for each in spec_differences([first, second, first])}
    assert found == {
        "name": ("", "moon", ""),
        "env.kwargs.gravity": (9.8, 1.6, 9.8),
        "env.kwargs.wind": (None, True, None),
    }


def test_equal_specs_and_unknown_ones_have_no_differences() -> None:
    assert spec_differences([RunSpec(), RunSpec()]) == ()
    assert spec_differences([RunSpec(), None]) == ()
    assert spec_differences([]) == ()


def test_a_number_and_a_truth_value_differ() -> None:
    pair = [RunSpec(env=EnvSpec("A-v1", {"a": value})) for value in (1, True)]
    assert [each.key for each in spec_differences(pair)] == ["env.kwargs.a"]


def test_seeds_and_names_alone_make_no_other_group() -> None:
    base = RunSpec(rollout=RolloutSpec(num_workers=2))
    specs = [
        base,
        replace(base, name="x"),
        RunSpec(rollout=RolloutSpec(num_workers=3)),
        None,
        replace(base, rollout=replace(base.rollout, seed=7)),
        None,
    ]
    assert seed_groups(specs) == ((0, 1, 4), (2,), (3,), (5,))


# --- intervals ---

RUNS = st.integers(1, 12).flatmap(
    lambda n: st.lists(st.lists(FINITE, min_size=n, max_size=n), min_size=1, max_size=5).map(
        lambda columns: np.array(columns).T
    )
)


@given(values=RUNS, centre=st.sampled_from(Centre), order=st.randoms(use_true_random=False))
def test_the_order_of_runs_does_not_matter_and_nothing_flickers(
    values: np.ndarray, centre: Centre, order: object
) -> None:
    rows = list(range(len(values)))
    order.shuffle(rows)  # type: ignore[attr-defined]
    for one, other in zip(intervals(values, centre), intervals(values[rows], centre), strict=True):
        np.testing.assert_array_equal(one, other)


@given(values=RUNS, centre=st.sampled_from(Centre))
def test_intervals_hold_their_centre_and_stay_among_the_runs(
    values: np.ndarray, centre: Centre
) -> None:
    middle, low, high = intervals(values, centre)
    if len(values) == 1:
        np.testing.assert_array_equal(middle, values[0])
        assert np.isnan(low).all()
        assert np.isnan(high).all()
        return
    assert np.all(low <= high)
    assert np.all(low >= values.min(axis=0))
    assert np.all(high <= values.max(axis=0))
    if centre is Centre.MEDIAN:
        np.testing.assert_allclose(middle, np.median(values, axis=0), rtol=1e-9, atol=1e-6)


@given(value=FINITE, count=st.integers(2, 20), centre=st.sampled_from(Centre))
def test_equal_runs_have_a_band_without_width(value: float, count: int, centre: Centre) -> None:
    for end in intervals(np.full((count, 3), value), centre):
        np.testing.assert_array_equal(end, value)


@pytest.mark.parametrize(
    ("values", "iqm"),
    [
        ([5.0], 5.0),
        ([1.0, 3.0], 2.0),
        ([0.0, 1.0, 3.0, 100.0], 2.0),
        ([0, 0, 1, 2, 3, 4, 9, 9], 2.5),
    ],
)
def test_the_interquartile_mean_leaves_a_quarter_out_at_either_end(
    values: list[float], iqm: float
) -> None:
    assert interval(values, Centre.IQM)[0] == pytest.approx(iqm)


@pytest.mark.parametrize("centre", Centre)
def test_a_95_percent_interval_holds_the_truth_about_so_often(centre: Centre) -> None:
    """1000 experiments of 15 runs; a percentile interval of so few runs is a little too narrow."""
    runs = np.random.default_rng(5).normal(3.0, 2.0, (15, 1000))
    _, low, high = intervals(runs, centre)
    covered = np.mean((low <= 3.0) & (high >= 3.0))
    assert 0.88 <= covered <= 0.985


def test_an_interval_of_a_figure_leaves_out_what_is_not_known() -> None:
    middle, low, high, n = interval([1.0, math.nan, 3.0])
    assert (middle, n) == (2.0, 2)
    assert 1.0 <= low <= 2.0 <= high <= 3.0
    assert interval([math.nan])[3] == 0


def line(x: list[float], y: list[float]) -> Curve:
    return Curve(np.array(x), np.array(y), np.ones(len(x)))


def test_a_group_says_how_many_runs_are_behind_each_point() -> None:
    made = group_curve(
        [line([0, 10], [1, 1]), line([0, 10], [3, 3]), line([0, 5], [8, 8]), line([], [])],
        num_points=11,
    )
    np.testing.assert_allclose(made.x, np.arange(11.0))
    assert made.n.tolist() == [3] * 6 + [2] * 5
    np.testing.assert_allclose(made.y, [3.0] * 6 + [2.0] * 5)
    assert np.all(made.high[:6] == 8.0)
    assert np.all(made.high[6:] == 3.0)


def test_a_group_of_one_has_no_band_and_none_has_no_points() -> None:
    made = group_curve([line([0, 4], [0, 4])], num_points=5)
    np.testing.assert_allclose(made.y, np.arange(5.0))
    assert np.isnan(made.low).all()
    assert len(group_curve([])) == 0
    assert len(group_curve([line([2], [7])])) == 1


def test_runs_that_share_no_moment_leave_a_hole_in_their_group() -> None:
    made = group_curve([line([0, 1], [1, 1]), line([9, 10], [2, 2])], num_points=11)
    assert made.x.tolist() == [0, 1, 9, 10]


def test_nothing_is_best_between_different_environments() -> None:
    two = [figures(episode_return_mean=1.0), figures(episode_return_mean=2.0)]
    marked = {row.key: row.best for row in figures_table(two, ["A-v0", "A-v0"])}
    assert marked["episode_return_mean"] == (False, True)
    assert not any(any(row.best) for row in figures_table(two, ["A-v0", "B-v0"]))
