"""Comparison of runs: curves on a common axis, figures, differences of specs, seeds. Pure.

A group of runs that differ in nothing but their seed is shown as one curve with a bootstrap
interval, because a single run of reinforcement learning says little.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np

from raydash.core.history.series import HistorySeries
from raydash.core.records import Float64, Int64
from raydash.core.spec import RunSpec
from raydash.core.spec_rules import FIELDS
from raydash.core.updates import RunFigures

CONFIDENCE = 0.95
RESAMPLES = 1000
_SEED = 20_241


class Metric(StrEnum):
    """What a curve shows."""

    EPISODE_RETURN_MEAN = "episode_return_mean"
    EPISODE_LEN_MEAN = "episode_len_mean"
    ENV_STEPS_PER_S = "env_steps_per_s"
    EPISODES_PER_S = "episodes_per_s"
    TERMINATED_SHARE = "terminated_share"


class XAxis(StrEnum):
    """What a curve is drawn against."""

    TIME = "time_s"
    ENV_STEPS = "num_env_steps_sampled_lifetime"
    EPISODES = "num_episodes_lifetime"
    WALL_CLOCK = "wall_clock_utc_s"
    GENERATION = "num_generations"


class Centre(StrEnum):
    """The statistic that represents a group of runs."""

    MEDIAN = "median"
    IQM = "iqm"


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric of one run.

    Attributes:
        x: Ascending, in the unit of the axis: the middle of the range that each point covers.
        y: The metric; always finite.
        weight: What each point is a mean over: episodes, or seconds for a rate per second.
    """

    x: Float64
    y: Float64
    weight: Float64

    def __len__(self) -> int:
        return len(self.x)


# --- a curve of one run --------------------------------------------------------------------------


def curve(
    history: HistorySeries,
    metric: Metric,
    axis: XAxis,
    *,
    until_s: float,
    num_points: int = 1200,
    started_utc_s: float = 0.0,
) -> Curve:
    """Draw a metric of a whole run over an axis, in at most `num_points` points.

    Buckets are joined by powers of two, counted from the run's start, so that points don't move
    while a run goes on. A point is the ratio of sums over its buckets: a mean return is weighted by
    episodes. Points without an episode are left out; for the mean length their steps count for
    the next point. Buckets don't know generations, so over those the curve is empty (see
    `raydash.core.analysis.learning_curve`).

    `until_s` is how far the history is complete, on the run's clock; it may cut the last bucket
    short. `started_utc_s` is when the run's clock was 0, which only the wall clock needs.
    """
    width = history.bucket_s
    end = min(len(history), int(np.ceil(until_s / width)) - history.first_bucket)
    if end <= 0 or axis is XAxis.GENERATION:
        return Curve(np.empty(0), np.empty(0), np.empty(0))
    starts = _group_starts(history.first_bucket, end, num_points)
    numerator, denominator = _numerator_and_denominator(history, metric, end, until_s)
    numerator, denominator = (
        np.add.reduceat(numerator, starts),
        np.add.reduceat(denominator, starts),
    )
    before, after = _axis_spans(history, axis, starts, end, until_s)
    has = denominator > 0
    if metric is Metric.EPISODE_LEN_MEAN and has.any():
        # Steps of an episode that spans several buckets belong to the point in which it ended.
        firsts = np.concatenate([[0], np.flatnonzero(has)[:-1] + 1])
        numerator[has] = np.add.reduceat(numerator, firsts)[: len(firsts)] - _sum_after_last(
            numerator, has
        )
    with np.errstate(invalid="ignore", divide="ignore"):
        y = numerator / denominator
    has &= np.isfinite(y)
    x = (before + after)[has] / 2
    if axis is XAxis.WALL_CLOCK:
        x = x + started_utc_s
    return Curve(x, y[has], denominator[has])


def _sum_after_last(numerator: Float64, has: np.ndarray[Any, np.dtype[np.bool_]]) -> Float64:
    """Return what `reduceat` adds to the last group although no episode ended after it."""
    with_episodes = np.flatnonzero(has)
    surplus = np.zeros(len(with_episodes))
    surplus[-1] = numerator[with_episodes[-1] + 1 :].sum()
    return surplus


def _group_starts(first_bucket: int, count: int, num_points: int) -> Int64:
    """Find the first rows of groups of 1, 2, 4, ... buckets, aligned with the run's start."""
    every = 1
    while (first_bucket + count - 1) // every - first_bucket // every + 1 > max(1, num_points):
        every *= 2
    numbers = (first_bucket + np.arange(count)) // every
    return np.concatenate([[0], np.flatnonzero(np.diff(numbers)) + 1]).astype(np.int64)


def _numerator_and_denominator(
    history: HistorySeries, metric: Metric, end: int, until_s: float
) -> tuple[Float64, Float64]:
    """Return two columns; the metric of some buckets is the ratio of their sums."""
    rows = slice(0, end)
    match metric:
        case Metric.EPISODE_RETURN_MEAN:
            mean = history.return_mean[rows]
            n = np.where(np.isfinite(mean), history.return_n[rows], 0).astype(np.float64)
            return np.where(n > 0, mean, 0.0) * n, n
        case Metric.EPISODE_LEN_MEAN:
            return history.num_env_steps[rows].astype(np.float64), _episodes(history, end)
        case Metric.ENV_STEPS_PER_S:
            return history.num_env_steps[rows].astype(np.float64), _seconds(history, end, until_s)
        case Metric.EPISODES_PER_S:
            return _episodes(history, end), _seconds(history, end, until_s)
        case Metric.TERMINATED_SHARE:
            flagged = history.num_terminated[rows] + history.num_both[rows]
            return flagged.astype(np.float64), _endings(history, end)


def _endings(history: HistorySeries, end: int) -> Float64:
    """Count the episodes of each bucket whose ending is known."""
    kinds = (history.num_terminated, history.num_truncated, history.num_both, history.num_error)
    return np.asarray(sum(kind[:end] for kind in kinds), np.float64)


def _episodes(history: HistorySeries, end: int) -> Float64:
    """Count the episodes of each bucket, including imported ones whose ending is not known."""
    good = history.return_n[:end] + history.num_error[:end]
    return np.maximum(_endings(history, end), good.astype(np.float64))


def episodes_by(history: HistorySeries, t_s: Float64) -> Float64:
    """Estimate how many episodes of a whole run had ended by each time, errors included.

    The times are on the run's clock.
    """
    edges_s = (history.first_bucket + np.arange(len(history) + 1)) * history.bucket_s
    ended = np.concatenate([[0.0], np.cumsum(_episodes(history, len(history)))])
    return np.asarray(np.interp(t_s, edges_s, ended), np.float64)


def _seconds(history: HistorySeries, end: int, until_s: float) -> Float64:
    seconds = np.full(end, history.bucket_s)
    seconds[-1] = min(history.bucket_s, until_s - (history.first_bucket + end - 1) * seconds[-1])
    return seconds


def _axis_spans(
    history: HistorySeries, axis: XAxis, starts: Int64, end: int, until_s: float
) -> tuple[Float64, Float64]:
    """Find where on the axis each group of buckets begins and ends."""
    match axis:
        case XAxis.ENV_STEPS:
            amounts = history.num_env_steps[:end].astype(np.float64)
        case XAxis.EPISODES:
            amounts = _episodes(history, end)
        case _:
            amounts = _seconds(history, end, until_s)
    origin = 0.0
    if axis in (XAxis.TIME, XAxis.WALL_CLOCK):
        origin = history.first_bucket * history.bucket_s
    after = origin + np.cumsum(np.add.reduceat(amounts, starts))
    return np.concatenate([[origin], after[:-1]]), after


# --- figures and specs side by side --------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class FigureRow:
    """A figure of several runs.

    Attributes:
        key: A field of `RunFigures`, or `env_steps_per_s`, which is over the run's stepping time.
        values: One per run; NaN where it is not known.
        best: Which of them are the best; none if no value is better than another.
    """

    key: str
    values: tuple[float, ...]
    best: tuple[bool, ...]


FIGURES: Mapping[str, int] = {
    "episode_return_mean": 1,
    "recent_return_mean": 1,
    "episode_return_max": 1,
    "episode_return_min": 1,
    "episode_len_mean": 0,
    "num_episodes_lifetime": 0,
    "num_episodes_terminated_lifetime": 0,
    "num_episodes_truncated_lifetime": 0,
    "num_episodes_error_lifetime": -1,
    "num_env_steps_sampled_lifetime": 0,
    "env_steps_per_s": 1,
    "elapsed_s": 0,
    "num_restarts": -1,
}
"""The figures to compare, and which value is better: 1 the larger, -1 the smaller, 0 neither."""


def figures_table(
    figures: Sequence[RunFigures | None], env_ids: Collection[str] = ()
) -> tuple[FigureRow, ...]:
    """Put the figures of runs side by side; None stands for a run of which nothing is known.

    If the runs have different environments (`env_ids`), no figure is better than another.
    """
    is_fair = len(set(env_ids)) <= 1
    rows = []
    for key, better in FIGURES.items():
        values = tuple(figure(each, key) for each in figures)
        rows.append(FigureRow(key, values, _best(values, better if is_fair else 0)))
    return tuple(rows)


def figure(figures: RunFigures | None, key: str) -> float:
    """Look up a figure of a run by its key in `FIGURES`; NaN if it is not known."""
    if figures is None:
        return float("nan")
    if key == "env_steps_per_s":
        steps, elapsed_s = figures.num_env_steps_sampled_lifetime, figures.elapsed_s
        return steps / elapsed_s if elapsed_s > 0 else float("nan")
    return float(getattr(figures, key))


def _best(values: tuple[float, ...], better: int) -> tuple[bool, ...]:
    known = [value * better for value in values if np.isfinite(value)]
    if not better or len(known) < 2 or min(known) == max(known):
        return (False,) * len(values)
    return tuple(value * better == max(known) for value in values)


@dataclass(frozen=True, slots=True)
class SpecDifference:
    """A key of the spec in which runs differ.

    Attributes:
        key: Dotted, `rollout.seed`; within a table down to the table's own key,
            `env.kwargs.gravity`.
        values: One per run; None: the key is absent, or the run's spec is not known.
    """

    key: str
    values: tuple[Any, ...]


def spec_differences(specs: Sequence[RunSpec | None]) -> tuple[SpecDifference, ...]:
    """List the keys whose values are not the same in all runs, in the order of `FIELDS`."""
    flat = [_flat(spec) if spec is not None else None for spec in specs]
    keys = {key: None for each in flat if each is not None for key in each}
    order = list(FIELDS)
    differences = []
    for key in sorted(keys, key=lambda key: order.index(_field_of(key))):
        values = tuple(each.get(key) if each is not None else None for each in flat)
        known = {_canonical(value) for value, each in zip(values, flat, strict=True) if each}
        if len(known) > 1:
            differences.append(SpecDifference(key, values))
    return tuple(differences)


def _flat(spec: RunSpec) -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, rule in FIELDS.items():
        value: Any = spec
        for name in key.split("."):
            value = getattr(value, name)
        if rule.kind == "table":
            flat |= {f"{key}.{name}": inner for name, inner in value.items()}
        else:
            flat[key] = value
    return flat


def _field_of(key: str) -> str:
    return key if key in FIELDS else ".".join(key.split(".")[:2])


def _canonical(value: object) -> str:
    return json.dumps(value, sort_keys=True, default=repr)


# --- seeds ---------------------------------------------------------------------------------------


def seed_groups(specs: Sequence[RunSpec | None]) -> tuple[tuple[int, ...], ...]:
    """Group runs, as indices, that differ in nothing but seed and name.

    Groups are in the order of their first runs. A run whose spec is not known is a group of its
    own.
    """
    groups: dict[object, list[int]] = {}
    for index, spec in enumerate(specs):
        key: object = index
        if spec is not None:
            nameless = replace(spec, name="", rollout=replace(spec.rollout, seed=0))
            key = _canonical(asdict(nameless))
        groups.setdefault(key, []).append(index)
    return tuple(tuple(group) for group in groups.values())


@dataclass(frozen=True, slots=True)
class GroupCurve:
    """The curve that represents a group of runs.

    Attributes:
        x: The common grid, ascending.
        y: Centre of the runs that have values there.
        low: Lower end of the interval; NaN where only one run has a value.
        high: Upper end of the interval; NaN where only one run has a value.
        n: Runs behind each point.
    """

    x: Float64
    y: Float64
    low: Float64
    high: Float64
    n: Int64

    def __len__(self) -> int:
        return len(self.x)


def group_curve(
    curves: Sequence[Curve], centre: Centre = Centre.MEDIAN, *, num_points: int = 200
) -> GroupCurve:
    """Draw one curve for a group of runs, with its bootstrap interval.

    Curves are interpolated linearly, each between its own first and last point only; those without
    points are left out. The grid spans all curves and has `num_points` points, at least 2.
    """
    curves = [each for each in curves if len(each)]
    if not curves:
        nothing = np.empty(0)
        return GroupCurve(nothing, nothing, nothing, nothing, np.empty(0, np.int64))
    low_x, high_x = min(each.x[0] for each in curves), max(each.x[-1] for each in curves)
    grid = np.linspace(low_x, high_x, num_points if high_x > low_x else 1)
    values = np.array(
        [np.interp(grid, each.x, each.y, left=np.nan, right=np.nan) for each in curves]
    )
    y, low, high = (np.full(len(grid), np.nan) for _ in range(3))
    is_known = np.isfinite(values)
    masks, which = np.unique(is_known, axis=1, return_inverse=True)
    for number, mask in enumerate(masks.T):
        here = np.flatnonzero(np.ravel(which) == number)
        if mask.any():
            y[here], low[here], high[here] = intervals(values[np.ix_(mask, here)], centre)
    n = is_known.sum(axis=0).astype(np.int64)
    has_runs = n > 0
    return GroupCurve(grid[has_runs], y[has_runs], low[has_runs], high[has_runs], n[has_runs])


def intervals(
    values: Float64, centre: Centre = Centre.MEDIAN, confidence: float = CONFIDENCE
) -> tuple[Float64, Float64, Float64]:
    """Compute centre and percentile bootstrap interval of runs, for many columns at once.

    The percentile interval of Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter
    13: runs are drawn with replacement, and the interval holds the middle `confidence` of the
    centres of all draws. The interquartile mean as the centre is what Agarwal et al., Deep
    Reinforcement Learning at the Edge of the Statistical Precipice (2021), recommend: the
    mean of the middle half, where a quarter of the runs (rounded down) is cut off at either end.

    Both centres are weighted sums of sorted values, so a draw is one row of weights over the sorted
    runs. The draws are always the same, so a picture does not flicker and the order of the runs
    does not matter.

    `values` has shape (runs, columns), is finite and holds at least one run.

    Returns:
        Centre, low and high, each of shape (columns,); the latter two NaN if there is only one run.
    """
    # Always in the same layout: BLAS sums others in another order, and the last bit differs.
    ordered = np.sort(np.array(values, np.float64, order="C"), axis=0)
    count = len(ordered)
    middle = np.clip(_weights(count, centre) @ ordered, ordered[0], ordered[-1])
    if count < 2:
        unknown = np.full(ordered.shape[1], np.nan)
        return middle, unknown, unknown
    # Sorting contiguous rows takes a quarter of the time of `np.quantile` along columns.
    drawn = np.sort(ordered.T @ _draws(count, centre).T, axis=1)
    outside = int(RESAMPLES * (1 - confidence) / 2)
    low, high = drawn[:, outside], drawn[:, RESAMPLES - 1 - outside]
    low, high = (np.clip(end, ordered[0], ordered[-1]) for end in (low, high))
    return middle, low, high


def interval(
    values: Sequence[float], centre: Centre = Centre.MEDIAN
) -> tuple[float, float, float, int]:
    """Centre, low, high and number of the known values of one figure of several runs."""
    known = np.array([value for value in values if np.isfinite(value)])
    if not len(known):
        return float("nan"), float("nan"), float("nan"), 0
    middle, low, high = intervals(known[:, None], centre)
    return float(middle[0]), float(low[0]), float(high[0]), len(known)


def _weights(count: int, centre: Centre) -> Float64:
    """Return the weight of each of `count` sorted values in the centre."""
    weights = np.zeros(count)
    cut = (count - 1) // 2 if centre is Centre.MEDIAN else count // 4
    weights[cut : count - cut] = 1.0 / (count - 2 * cut)
    return weights


@lru_cache(maxsize=64)
def _draws(count: int, centre: Centre) -> Float64:
    """Return the weights over the sorted runs of each draw, shape (draws, runs)."""
    rng = np.random.default_rng(_SEED)
    drawn = np.sort(rng.integers(0, count, (RESAMPLES, count)), axis=1)
    weights = np.zeros((RESAMPLES, count))
    np.add.at(weights, (np.arange(RESAMPLES)[:, None], drawn), _weights(count, centre))
    return weights
