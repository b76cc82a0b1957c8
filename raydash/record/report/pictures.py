"""Draws the pictures of a report as SVG."""

from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from raydash.core.analysis.compare import Metric, XAxis, curve, group_curve, seed_groups
from raydash.core.records import Float64
from raydash.core.words import numbers
from raydash.record.report.facts import Distribution, ReportedRun
from raydash.record.report.svg import Axis, Band, Bars, Layer, Line, chart

_POINTS = 300
_LABEL_LENGTH = 24
MAX_OVERLAID = 20
_CLOCK = Axis("time since the run's start", is_clock=True, from_zero=True)


def run_pictures(number: int, facts: ReportedRun) -> list[tuple[str, Markup]]:
    """Draw all pictures of one run that there is data for, each with its heading."""
    name = f"run{number}"
    made = [
        ("Episode return", _returns(name, facts)),
        ("Endings per second", _endings(name, facts)),
        ("Env steps per second", _throughput(name, facts)),
        ("Distribution of returns", _distribution(name, "return", facts.returns, facts)),
        ("Distribution of lengths", _distribution(name, "length in steps", facts.lengths, facts)),
    ]
    return [(heading, picture) for heading, picture in made if picture is not None]


def overlay_pictures(
    runs: Sequence[ReportedRun], labels: Sequence[str]
) -> list[tuple[str, Markup]]:
    """Draw all runs in one picture over time, in one over env steps, and groups of seeds."""
    runs, labels = runs[:MAX_OVERLAID], labels[:MAX_OVERLAID]
    made: list[tuple[str, Markup | None]] = []
    axes = ((XAxis.TIME, _CLOCK), (XAxis.ENV_STEPS, Axis("env steps", whole=True, from_zero=True)))
    for axis, x_axis in axes:
        heading = f"Episode return over {'time' if axis is XAxis.TIME else 'env steps'}"
        lines = [
            Line(made_curve.x, made_curve.y, f"c{number}", _clipped(label))
            for number, (facts, label) in enumerate(zip(runs, labels, strict=True))
            if len(made_curve := curve(
                facts.whole, Metric.EPISODE_RETURN_MEAN, axis,
                until_s=facts.until_s, num_points=_POINTS,
            ))
        ]  # fmt: skip
        made.append((heading, _overlay(f"all-{axis.value}", heading, x_axis, lines)))
    groups = [
        group for group in seed_groups([facts.known_spec for facts in runs]) if len(group) > 1
    ]
    layers: list[Layer] = []
    for group in groups:
        curves = [
            curve(
                *(runs[member].whole, Metric.EPISODE_RETURN_MEAN, XAxis.ENV_STEPS),
                until_s=runs[member].until_s,
                num_points=_POINTS,
            )
            for member in group
        ]
        together, css = group_curve(curves), f"c{group[0]}"
        label = f"{_clipped(runs[group[0]].title)}, n = {len(group)}"
        layers.append(Band(together.x, together.low, together.high, css))
        layers.append(Line(together.x, together.y, css, label))
    if layers:
        heading = "Seeds together: median and bootstrap 95 % interval"
        made.append((heading, _overlay("all-seeds", heading, axes[1][1], layers)))
    return [(heading, picture) for heading, picture in made if picture is not None]


def _overlay(name: str, heading: str, x_axis: Axis, layers: Sequence[Layer]) -> Markup | None:
    if not layers:
        return None
    description = "; ".join(layer.label for layer in layers if layer.label)
    return chart(
        name, heading, f"Mean return of: {description}", x_axis, Axis("mean return"), layers
    )


def _returns(name: str, facts: ReportedRun) -> Markup | None:
    whole, until_s = facts.whole, facts.until_s
    mean = curve(whole, Metric.EPISODE_RETURN_MEAN, XAxis.TIME, until_s=until_s, num_points=_POINTS)
    if not len(mean):
        return None
    n = whole.return_n.astype(np.float64)
    layers: list[Layer] = []
    starts = _starts(len(whole))
    low, high = (_averaged(column, n, starts) for column in (whole.return_p10, whole.return_p90))
    if np.isfinite(low).any():
        middles = np.add.reduceat(whole.times_s(), starts) / np.diff([*starts, len(whole)])
        has = np.isfinite(low) & np.isfinite(high)
        layers.append(Band(middles[has], low[has], high[has], "mean", "10–90 %"))
    layers.append(Line(mean.x, mean.y, "mean", "mean"))
    figures = facts.figures
    description = (
        f"Mean return over time, from {numbers.decimal(float(mean.y[0]))} to"
        f" {numbers.decimal(float(mean.y[-1]))}; over the whole run"
        f" {numbers.decimal(figures.episode_return_mean)}."
    )
    return chart(f"{name}-return", "Episode return", description, _CLOCK, Axis("return"), layers)


def _endings(name: str, facts: ReportedRun) -> Markup | None:
    whole = facts.whole
    kinds = (
        *(("terminated", whole.num_terminated), ("truncated", whole.num_truncated)),
        *(("both", whole.num_both), ("error", whole.num_error)),
    )
    if not any(column.any() for _, column in kinds):
        return None
    starts = _starts(len(whole))
    edges = _edges(facts, starts)
    floors = np.zeros(len(starts))
    layers: list[Layer] = []
    for kind, column in kinds:
        tops = floors + np.add.reduceat(column, starts) / np.diff(edges)
        if column.any():
            layers.append(Bars(edges, floors, tops, kind, kind))
        floors = tops
    description = ", ".join(f"{numbers.count(column.sum())} {kind}" for kind, column in kinds)
    axis = Axis("episodes/s", from_zero=True)
    return chart(
        f"{name}-endings", "Endings per second", f"In all: {description}.", _CLOCK, axis, layers
    )


def _throughput(name: str, facts: ReportedRun) -> Markup | None:
    made = curve(
        facts.whole,
        Metric.ENV_STEPS_PER_S,
        XAxis.TIME,
        until_s=facts.until_s,
        num_points=_POINTS,
    )
    if not len(made) or not made.y.any():
        return None
    description = f"Median {numbers.decimal(float(np.median(made.y)))} env steps per second."
    axis, line = Axis("env steps/s", from_zero=True), Line(made.x, made.y, "throughput")
    return chart(f"{name}-steps", "Env steps per second", description, _CLOCK, axis, [line])


def _distribution(
    name: str, what: str, distribution: Distribution | None, facts: ReportedRun
) -> Markup | None:
    if distribution is None:
        return None
    counts = distribution.counts.astype(np.float64)
    bars = Bars(distribution.edges, np.zeros(len(counts)), counts, "mean")
    most = int(np.argmax(counts))
    description = (
        f"{numbers.count(counts.sum())} episodes; the most, {numbers.count(counts[most])},"
        f" from {numbers.decimal(float(distribution.edges[most]))}"
        f" to {numbers.decimal(float(distribution.edges[most + 1]))}."
    )
    key = what.partition(" ")[0]
    axis = Axis("episodes", whole=True, from_zero=True)
    return chart(f"{name}-{key}s", f"Distribution of {key}s", description, Axis(what), axis, [bars])


def _starts(count: int) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    every = max(1, -(-count // _POINTS))
    return np.arange(0, count, every, dtype=np.intp)


def _edges(facts: ReportedRun, starts: np.ndarray[tuple[int], np.dtype[np.intp]]) -> Float64:
    whole = facts.whole
    edges = (whole.first_bucket + np.append(starts, len(whole))) * whole.bucket_s
    # The last bucket is cut short by the run's end.
    edges[-1] = min(edges[-1], max(facts.until_s, edges[-2] + 0.1 * whole.bucket_s))
    return np.asarray(edges, np.float64)


def _averaged(
    column: Float64, weights: Float64, starts: np.ndarray[tuple[int], np.dtype[np.intp]]
) -> Float64:
    known = np.isfinite(column) & (weights > 0)
    weights = np.where(known, weights, 0.0)
    total = np.add.reduceat(np.where(known, column, 0.0) * weights, starts)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / np.add.reduceat(weights, starts))


def _clipped(label: str) -> str:
    """Shorten a name to what a legend has room for."""
    return label if len(label) <= _LABEL_LENGTH else label[: _LABEL_LENGTH - 1] + "…"
