"""Comparison of how runs learn: figures of generations as curves over a common axis. Pure."""

from enum import StrEnum

import numpy as np

from raydash.core.analysis.compare import Curve, XAxis, episodes_by
from raydash.core.history.series import HistorySeries
from raydash.core.records import Float64
from raydash.core.updates import Generations


class LearningMetric(StrEnum):
    """What a curve shows about a run that learns."""

    EVALUATION_MEAN = "evaluation_episode_return_mean"
    POPULATION_MEAN = "population_episode_return_mean"
    POPULATION_BEST = "population_episode_return_best"


def learning_curve(
    generations: Generations,
    history: HistorySeries,
    metric: LearningMetric,
    axis: XAxis,
    *,
    num_points: int = 1200,
    started_utc_s: float = 0.0,
) -> Curve:
    """Draw a figure of a run's generations over an axis, in at most `num_points` points.

    If there are more generations, every 2, 4, 8, ... consecutive ones are joined to one point: the
    mean of their evaluations, weighted by episodes, or of their means, or the best of their bests.

    `generations` are finished ones, oldest first. `history`, of the whole run, tells how many
    episodes had ended at a time. `started_utc_s` is when the run's clock was 0, which only the wall
    clock needs.
    """
    values, weights = _values(generations, metric)
    has = np.isfinite(values)
    values, weights = values[has], weights[has]
    if not len(values):
        return Curve(np.empty(0), np.empty(0), np.empty(0))
    x = _places(generations, history, axis)[has]
    every = 1
    while (len(values) + every - 1) // every > max(1, num_points):
        every *= 2
    starts = np.arange(0, len(values), every)
    weight = np.add.reduceat(weights, starts)
    if metric is LearningMetric.POPULATION_BEST:
        y = np.maximum.reduceat(values, starts)
    else:
        y = np.add.reduceat(values * weights, starts) / weight
    middle = np.add.reduceat(x * weights, starts) / weight
    if axis is XAxis.WALL_CLOCK:
        middle = middle + started_utc_s
    return Curve(middle, np.asarray(y), weight)


def _values(generations: Generations, metric: LearningMetric) -> tuple[Float64, Float64]:
    """Return the value of each generation, and its weight."""
    match metric:
        case LearningMetric.EVALUATION_MEAN:
            episodes = np.maximum(generations.evaluation_n, 1).astype(np.float64)
            return generations.evaluation_mean, episodes
        case LearningMetric.POPULATION_MEAN:
            return generations.return_mean, np.ones(len(generations))
        case LearningMetric.POPULATION_BEST:
            return generations.return_best, np.ones(len(generations))


def _places(generations: Generations, history: HistorySeries, axis: XAxis) -> Float64:
    """Find where on the axis each generation ended."""
    match axis:
        case XAxis.GENERATION:
            return generations.number.astype(np.float64)
        case XAxis.ENV_STEPS:
            return generations.num_env_steps.astype(np.float64)
        case XAxis.EPISODES:
            return episodes_by(history, generations.end_s)
        case XAxis.TIME | XAxis.WALL_CLOCK:
            return generations.end_s
