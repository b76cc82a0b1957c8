"""Figures of generations as curves: where each point lies, and which generations it covers."""

import numpy as np
import pytest

from raydash.core.analysis.compare import Metric, XAxis, curve
from raydash.core.analysis.learning_curve import LearningMetric, learning_curve
from raydash.core.history.series import HistorySeries
from raydash.core.updates import Generations
from tests.fakes.updates.learning import make_generations
from tests.fakes.updates.updates import make_update

HISTORY = HistorySeries()
HISTORY.apply(make_update(2, t_s=40.0).whole)
GENERATIONS = make_generations(80)
EVALUATED = np.isfinite(GENERATIONS.evaluation_mean)


@pytest.mark.parametrize(
    ("axis", "expected"),
    [
        (XAxis.TIME, GENERATIONS.end_s),
        (XAxis.WALL_CLOCK, GENERATIONS.end_s + 1000.0),
        (XAxis.ENV_STEPS, GENERATIONS.num_env_steps),
        (XAxis.GENERATION, GENERATIONS.number),
    ],
)
def test_point_lies_where_its_generation_ended(axis: XAxis, expected: np.ndarray) -> None:
    made = learning_curve(
        GENERATIONS, HISTORY, LearningMetric.POPULATION_MEAN, axis, started_utc_s=1000.0
    )
    np.testing.assert_allclose(made.x, expected)
    np.testing.assert_allclose(made.y, GENERATIONS.return_mean)


def test_episodes_are_those_that_had_ended_by_then() -> None:
    made = learning_curve(GENERATIONS, HISTORY, LearningMetric.POPULATION_BEST, XAxis.EPISODES)
    kinds = (HISTORY.num_terminated, HISTORY.num_truncated, HISTORY.num_both, HISTORY.num_error)
    ended = np.cumsum(sum(kinds))
    assert HISTORY.bucket_s == 1.0
    np.testing.assert_allclose(made.x[1::2], ended)  # each second generation ends with a bucket
    assert np.all(np.diff(made.x) >= 0)


def test_evaluations_are_points_of_the_generations_that_were_evaluated() -> None:
    made = learning_curve(GENERATIONS, HISTORY, LearningMetric.EVALUATION_MEAN, XAxis.GENERATION)
    assert made.x.tolist() == list(range(5, 81, 5))
    np.testing.assert_allclose(made.y, GENERATIONS.evaluation_mean[EVALUATED])
    assert set(made.weight) == {10.0}


def test_joined_generations_keep_their_best_and_their_mean() -> None:
    best = learning_curve(
        GENERATIONS, HISTORY, LearningMetric.POPULATION_BEST, XAxis.TIME, num_points=20
    )
    np.testing.assert_allclose(best.y, GENERATIONS.return_best.reshape(20, 4).max(axis=1))
    mean = learning_curve(
        GENERATIONS, HISTORY, LearningMetric.POPULATION_MEAN, XAxis.TIME, num_points=20
    )
    np.testing.assert_allclose(mean.y, GENERATIONS.return_mean.reshape(20, 4).mean(axis=1))
    np.testing.assert_allclose(mean.x, GENERATIONS.end_s.reshape(20, 4).mean(axis=1))


@pytest.mark.parametrize("num_points", [1, 2, 7, 79, 80])
def test_there_are_no_more_points_than_asked_for(num_points: int) -> None:
    made = learning_curve(
        GENERATIONS, HISTORY, LearningMetric.POPULATION_MEAN, XAxis.TIME, num_points=num_points
    )
    assert 1 <= len(made) <= num_points


@pytest.mark.parametrize("metric", LearningMetric)
@pytest.mark.parametrize("axis", XAxis)
def test_run_without_generations_has_no_curve(metric: LearningMetric, axis: XAxis) -> None:
    assert len(learning_curve(Generations(), HISTORY, metric, axis)) == 0


def test_buckets_have_no_curve_over_generations() -> None:
    made = curve(HISTORY, Metric.EPISODE_RETURN_MEAN, XAxis.GENERATION, until_s=40.0)
    assert len(made) == 0
