"""The generations that a reader holds when they come in parts, twice, or in too many rows."""

import numpy as np
import pytest

from raydash.core.history.generation_series import GenerationSeries, grouped
from raydash.core.updates import Generations


def generations(
    first: int, means: list[float], evaluations: list[float] | None = None
) -> Generations:
    number = np.arange(first, first + len(means), dtype=np.int64)
    mean = np.array(means)
    evaluation = np.array(evaluations or [np.nan] * len(means))
    return Generations(
        number=number,
        end_s=number.astype(np.float64) * 0.5,
        num_env_steps=number * 100,
        return_mean=mean,
        return_best=mean + 10,
        return_worst=mean - 10,
        evaluation_mean=evaluation,
        evaluation_n=np.where(np.isfinite(evaluation), 5, 0),
        sigma=np.full(len(means), 0.5),
    )


def held(series: GenerationSeries) -> list[int]:
    numbers: list[int] = series.columns.number.tolist()
    return numbers


def test_generations_that_come_in_parts_are_held_like_those_that_come_at_once() -> None:
    parts, whole = GenerationSeries(), GenerationSeries()
    parts.apply(generations(1, [1.0, 2.0]))
    parts.apply(generations(3, [3.0]))
    whole.apply(generations(1, [1.0, 2.0, 3.0]))
    for name in Generations.__slots__:
        np.testing.assert_array_equal(
            getattr(parts.columns, name), getattr(whole.columns, name), err_msg=name
        )


def test_generation_that_comes_again_with_its_evaluation_takes_its_place() -> None:
    series = GenerationSeries()
    series.apply(generations(1, [1.0, 2.0, 3.0]))
    series.apply(generations(2, [2.0], [7.0]))
    assert held(series) == [1, 2, 3]
    assert series.columns.evaluation_mean[1] == 7.0


def test_version_counts_what_is_worth_a_drawing() -> None:
    series = GenerationSeries()
    series.apply(Generations())
    assert series.version == 0
    series.apply(generations(1, [1.0]))
    assert series.version == 1


def test_snapshot_replaces_all() -> None:
    series = GenerationSeries()
    series.apply(generations(1, [1.0, 2.0]))
    series.replace(generations(1, [5.0]))
    assert series.columns.return_mean.tolist() == [5.0]


def test_too_many_generations_are_joined_to_neighbours_without_losing_extremes() -> None:
    series = GenerationSeries(capacity=4)
    series.apply(generations(1, [0.0, 4.0, 8.0, 0.0, 2.0], [1.0, np.nan, np.nan, 2.0, np.nan]))
    columns = series.columns
    assert held(series) == [2, 4, 5]
    assert columns.return_mean.tolist() == [2.0, 4.0, 2.0]
    assert columns.return_best.tolist() == [14.0, 18.0, 12.0]
    assert columns.return_worst.tolist() == [-10.0, -10.0, -8.0]
    assert columns.evaluation_mean[:2].tolist() == [1.0, 2.0]
    assert np.isnan(columns.evaluation_mean[2])
    assert columns.num_env_steps.tolist() == [200, 400, 500]


def test_series_stays_within_its_capacity_however_long_the_run() -> None:
    series = GenerationSeries(capacity=100)
    for first in range(1, 5000, 7):
        series.apply(generations(first, [float(first)] * 7))
        assert len(series) <= 100
    assert held(series) == sorted(set(held(series)))
    assert held(series)[-1] >= 4997


def test_rows_of_a_range_come_with_one_neighbour_at_either_side() -> None:
    series = GenerationSeries()
    series.apply(generations(1, [0.0] * 10))  # ended at 0.5, 1.0, ... 5.0
    assert series.rows_between(1.9, 3.1) == slice(2, 7)
    assert series.rows_between(-5.0, 99.0) == slice(0, 10)


@pytest.mark.parametrize(("t_s", "row"), [(0.0, 0), (1.2, 1), (1.3, 2), (99.0, 9)])
def test_nearest_generation_is_found(t_s: float, row: int) -> None:
    series = GenerationSeries()
    series.apply(generations(1, [0.0] * 10))
    assert series.nearest(t_s) == row


def test_nothing_is_nearest_where_there_is_nothing() -> None:
    assert GenerationSeries().nearest(1.0) is None


def test_group_speaks_of_all_its_generations() -> None:
    columns = generations(1, [0.0, 2.0, 4.0, 10.0, 20.0])
    ends, mean, best, worst = grouped(columns, np.array([0, 2]))
    assert ends.tolist() == [1.0, 2.5]
    assert mean.tolist() == [1.0, pytest.approx(34.0 / 3.0)]
    assert best.tolist() == [12.0, 30.0]
    assert worst.tolist() == [-10.0, -6.0]
