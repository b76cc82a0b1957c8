"""The lines of a comparison, computed from its runs and from what the user chose. Pure.

Only what changed is computed again: a recording's curve is computed once for each choice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from raydash.core.analysis.compare import (
    Centre,
    Curve,
    GroupCurve,
    Metric,
    XAxis,
    curve,
    group_curve,
    seed_groups,
    spec_differences,
)
from raydash.core.analysis.learning_curve import LearningMetric, learning_curve
from raydash.core.library import RunSource
from raydash.core.records import Float64, Int64
from raydash.core.spec import RunSpec
from raydash.core.words.figures import spec_value
from raydash.link.store import RunStore
from raydash.ui.compare.labels import AnyMetric
from raydash.ui.kit.run_names import distinct_names
from raydash.ui.plots.shown.plotted_run import settle_s


@dataclass(frozen=True, slots=True)
class CompareChoice:
    """What the user chose to see.

    Attributes:
        metric: What the lines show.
        axis: What they are drawn over.
        centre: How runs that differ only in their seed become one line; None: each run has its own.
        num_points: The largest number of points per run.
    """

    metric: AnyMetric = Metric.EPISODE_RETURN_MEAN
    axis: XAxis = XAxis.TIME
    centre: Centre | None = None
    num_points: int = 300


@dataclass(frozen=True, slots=True)
class ComparedRun:
    """A run of the comparison.

    Attributes:
        run: The run's data.
        label: Its name here, which no other run has.
        number: Its place in the list, and so its colour for as long as it is there.
        shown: It is drawn, and has a column in the tables.
    """

    run: RunStore
    label: str
    number: int
    shown: bool = True


@dataclass(frozen=True, slots=True)
class CompareLine:
    """The curve of a run, or the centre of several runs with its band.

    Attributes:
        label: Its name, with the number of runs if there are several.
        number: Number of its first run, from which its colour follows.
        run_ids: The runs that it stands for.
        x: Positions, ascending.
        y: Values, as many as `x`.
        low: Lower edge of the band, NaN where there is none; empty for a single run.
        high: Upper edge of the band, NaN where there is none; empty for a single run.
        n: Number of runs behind each point; empty for a single run.
    """

    label: str
    number: int
    run_ids: tuple[str, ...]
    x: Float64
    y: Float64
    low: Float64
    high: Float64
    n: Int64

    def index_at(self, x: float) -> int | None:
        """The point nearest to `x`, if the line reaches that far."""
        if not len(self.x) or not self.x[0] <= x <= self.x[-1]:
            return None
        after = int(np.searchsorted(self.x, x))
        before = max(0, after - 1)
        return after if self.x[after] - x < x - self.x[before] else before


_NO_DIFFERENCE = ("name", "rollout.seed")
_NO_BAND = (np.empty(0), np.empty(0), np.empty(0, np.int64))


class CurveCache:
    """Computes lines, and keeps those that have not changed."""

    def __init__(self) -> None:
        self._curves: dict[tuple[object, ...], Curve] = {}
        self._groups: dict[tuple[object, ...], GroupCurve] = {}

    def lines(self, entries: Sequence[ComparedRun], choice: CompareChoice) -> list[CompareLine]:
        """The lines of the runs that are shown, in the order of the list, without empty ones."""
        shown = [entry for entry in entries if entry.shown and entry.run.latest is not None]
        used: set[tuple[object, ...]] = set()
        lines = []
        groups = groups_of(shown, choice)
        for members, label in zip(groups, group_labels(groups), strict=True):
            made = [self._curve(entry, choice, used) for entry in members]
            first = members[0]
            run_ids = tuple(entry.run.run_id for entry in members)
            if len(members) == 1 or choice.centre is None:
                line = CompareLine(label, first.number, run_ids, made[0].x, made[0].y, *_NO_BAND)
            else:
                group = self._group(members, made, choice, used)
                band = (group.low, group.high, group.n)
                line = CompareLine(label, first.number, run_ids, group.x, group.y, *band)
            if len(line.x):
                lines.append(line)
        for book in (self._curves, self._groups):
            for key in [key for key in book if key not in used]:
                del book[key]
        return lines

    def _curve(
        self, entry: ComparedRun, choice: CompareChoice, used: set[tuple[object, ...]]
    ) -> Curve:
        run = entry.run
        key = ("run", run.run_id, run.version, choice.metric, choice.axis, choice.num_points)
        used.add(key)
        if key not in self._curves:
            self._curves[key] = run_curve(run, choice)
        return self._curves[key]

    def _group(
        self,
        members: Sequence[ComparedRun],
        curves: Sequence[Curve],
        choice: CompareChoice,
        used: set[tuple[object, ...]],
    ) -> GroupCurve:
        versions = tuple((entry.run.run_id, entry.run.version) for entry in members)
        key = ("group", versions, choice)
        used.add(key)
        if key not in self._groups:
            assert choice.centre is not None
            points = min(200, choice.num_points)
            self._groups[key] = group_curve(curves, choice.centre, num_points=points)
        return self._groups[key]


def groups_of(entries: Sequence[ComparedRun], choice: CompareChoice) -> list[list[ComparedRun]]:
    """Which runs become one line: each on its own, or those that differ only in their seed."""
    if choice.centre is None:
        return [[entry] for entry in entries]
    groups = seed_groups([_known_spec(entry.run) for entry in entries])
    return [[entries[index] for index in group] for group in groups]


def _known_spec(run: RunStore) -> RunSpec | None:
    """The spec of a run; None if it was imported, for then it says little of how it was made."""
    is_ours = run.info is not None and run.info.source is RunSource.RAYDASH
    return run.spec if is_ours else None


def group_labels(groups: Sequence[Sequence[ComparedRun]]) -> list[str]:
    """Labels such as `cartpole · n = 3`, with what tells groups of the same name apart.

    A run alone keeps its name.
    """
    specs = [group[0].run.spec for group in groups]
    names = [
        (spec.name or spec.env.id) if spec is not None else group[0].label
        for spec, group in zip(specs, groups, strict=True)
    ]
    labels = []
    for number, group in enumerate(groups):
        if len(group) == 1:
            labels.append(group[0].label)
            continue
        same_named = [other for other, name in enumerate(names) if name == names[number]]
        differences = [
            f" · {each.key.rpartition('.')[2]} {spec_value(each.values[same_named.index(number)])}"
            for each in spec_differences([specs[twin] for twin in same_named])
            if each.key not in _NO_DIFFERENCE
        ]
        labels.append(f"{names[number]}{''.join(differences[:1])} · n = {len(group)}")
    return labels


def run_curve(run: RunStore, choice: CompareChoice) -> Curve:
    """The curve of a run, as far as its history can no longer change."""
    latest = run.latest
    started_s = started_utc_s(run)
    if latest is None or (choice.axis is XAxis.WALL_CLOCK and started_s is None):
        return Curve(np.empty(0), np.empty(0), np.empty(0))
    if isinstance(choice.metric, LearningMetric):
        return learning_curve(
            run.generations.columns,
            run.whole,
            choice.metric,
            choice.axis,
            num_points=choice.num_points,
            started_utc_s=started_s or 0.0,
        )
    is_recorded = run.info is not None and run.info.recorded_until_s is not None
    is_still = is_recorded or latest.state.is_over
    until_s = latest.t_s - (0.0 if is_still else settle_s(latest.num_workers))
    if not is_still:  # a bucket that is still filling would move with every update
        until_s = np.floor(until_s / run.whole.bucket_s) * run.whole.bucket_s
    return curve(
        run.whole,
        choice.metric,
        choice.axis,
        until_s=float(until_s),
        num_points=choice.num_points,
        started_utc_s=started_s or 0.0,
    )


def started_utc_s(run: RunStore) -> float | None:
    """When the run's clock was 0, in seconds since 1970; None if that is not known."""
    try:
        return datetime.fromisoformat(run.info.started_utc).timestamp() if run.info else None
    except ValueError:
        return None


def labels_of(runs: Sequence[RunStore], title: Callable[[RunStore], str]) -> list[str]:
    """Names of runs, all different."""
    return distinct_names(
        [title(run) for run in runs],
        [run.spec.rollout.seed if run.spec else None for run in runs],
        [run.run_id for run in runs],
    )
