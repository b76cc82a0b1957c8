"""The learning curve: mean, best and worst of each generation, evaluations, and the target."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from raydash.core.history.generation_series import GenerationSeries, grouped
from raydash.core.records import Float64
from raydash.core.updates import Generations, LearningFigures
from raydash.core.words import numbers
from raydash.core.words.ticks import nice_limits
from raydash.ui.plots.chart.geometry import band_outline, split_at_gaps
from raydash.ui.plots.chart.legend_row import LegendItem
from raydash.ui.plots.chart.overlays import JoinedCurve, OverlaidCurves
from raydash.ui.plots.shown.plotted_run import Part
from raydash.ui.plots.shown.scope import Overlay, PlotScope
from raydash.ui.plots.views.plot_base import Plot, csv_of

if TYPE_CHECKING:
    from raydash.ui.plots.chart.chart import Chart

Curve = tuple[Float64, Float64]

_PX_PER_POINT = 1.5
_PX_PER_EVALUATION = 3.0
# A few hopeless candidates must not squeeze all others into a line.
_WORST_SHOWN = 0.1
_HEADROOM = 0.05
_NOTHING: Curve = (np.empty(0), np.empty(0))


class LearningPlot(Plot):
    """The learning curve. Each generation is a point at the time when its last result arrived.

    Where generations are closer together than a pixel or two, a point stands for several: the mean
    of their means, the best of their bests, the worst of their worsts. The read-out is always about
    one generation. Of other runs, only the mean is drawn.
    """

    needs_buckets = False
    draws_overlays = True

    def __init__(self, scope: PlotScope | None = None, parent: QWidget | None = None) -> None:
        super().__init__(
            "Learning",
            "each generation, and evaluations",
            object_name="plot_learning",
            unit="return",
            labelled=True,
            scope=scope,
            parent=parent,
        )
        self._point_s = 0.5
        self._mean = self._best = self._worst = self._evaluations = _NOTHING
        self._overlaid = OverlaidCurves(self._curve_of, _mean_at)

    # --- what there is ------------------------------------------------------------------------

    @property
    def _series(self) -> GenerationSeries:
        run = self.scope.run
        return run.generations if run is not None else GenerationSeries()

    @property
    def _learning(self) -> LearningFigures | None:
        latest = self.scope.latest
        return latest.learning if latest is not None else None

    @property
    def _target(self) -> float | None:
        return self._learning.target_return if self._learning else None

    @override
    def data_stamp(self) -> object:
        """Changes with each generation, for these do not come with the buckets of the history."""
        learning = self._learning
        waits = None if len(self._series) or learning is None else learning.num_played
        return (self._series.version, self._target, waits)

    @override
    def load(self, part: Part) -> str:
        """Reduce the generations to a point every pixel or two."""
        columns = self._visible()
        known = np.isfinite(columns.return_mean)
        if not known.any():
            return self._waiting_for()
        columns = _where(columns, known)
        px_s = self.canvas.px_s()
        self._point_s = _steady_width_s(_PX_PER_POINT * px_s)
        t_s, mean, best, worst = grouped(columns, _starts(columns, self._point_s))
        self._mean, self._best, self._worst = (t_s, mean), (t_s, best), (t_s, worst)
        self._evaluations = _evaluations(columns, _PX_PER_EVALUATION * px_s)
        return ""

    @override
    def load_overlays(self, overlays: list[Overlay]) -> bool:
        """Load the population means of the other runs that learn."""
        return self._overlaid.load([each for each in overlays if len(each.generations)])

    @override
    def clear(self) -> None:
        self._mean = self._best = self._worst = self._evaluations = _NOTHING

    def _curve_of(self, overlay: Overlay) -> JoinedCurve:
        low_s, high_s = overlay.placement.own_view(self.scope.view())
        series = overlay.generations
        columns = _rows(series.columns, series.rows_between(low_s, high_s))
        columns = _where(columns, np.isfinite(columns.return_mean))
        if not len(columns):
            return (*_NOTHING, np.empty(0, np.bool_))
        width_s = _steady_width_s(_PX_PER_POINT * self.canvas.px_s())
        t_s, mean, _, _ = grouped(columns, _starts(columns, width_s))
        return split_at_gaps(t_s, mean, max_gap=np.inf, width=width_s)

    def _visible(self) -> Generations:
        series = self._series
        return _rows(series.columns, series.rows_between(*self.scope.view()))

    def _waiting_for(self) -> str:
        learning = self._learning
        if len(self._series):
            return "no generation ended in this range"
        latest = self.scope.latest
        if latest is not None and latest.state.is_over:
            return "the run ended before its first generation did"
        if learning is None or not learning.population:
            return "the learner is starting"
        played = f"{learning.num_played} of {learning.population}"
        return f"the first generation is being played: {played} candidates"

    @override
    def value_limits(self) -> tuple[float, float]:
        """A range for all that is drawn, except for the very worst of the worsts."""
        drawn = (self._mean[1], self._best[1], self._evaluations[1], *self._overlaid.values)
        values = np.concatenate(drawn)
        if len(self._worst[1]):
            values = np.append(values, np.quantile(self._worst[1], _WORST_SHOWN))
        if self._target is not None:
            values = np.append(values, self._target)
        low, high = float(values.min()), float(values.max())
        bottom, top = nice_limits(low, high)
        # A point or a line at the very top would be cut in half.
        return bottom, max(top, high + _HEADROOM * (top - bottom))

    # --- how it looks -------------------------------------------------------------------------

    @override
    def create_items(self, chart: "Chart") -> None:
        """Create the band at the bottom, the mean and the evaluations on top."""
        self._band_item = chart.add_area()
        self._target_item = chart.add_line(1)
        self._best_item = chart.add_line(2)
        self._mean_item = chart.add_line(4, strong=True)
        self._evaluation_item = chart.add_points(5)

    @override
    def apply_theme(self) -> None:
        """Colour the population like the run, and the target and the evaluations green."""
        tint = self.run_colour
        tint.setAlpha(42 if self.theme.is_dark else 30)
        self._band_item.setBrush(tint)
        self._mean_item.setPen(self.run_colour)
        self._target_item.setPen(QColor(self.theme.good), style=Qt.PenStyle.DashLine)
        self._evaluation_item.setBrush(QColor(self.theme.good))
        self._evaluation_item.setPen(QColor(self.theme.card))

    def _best_colour(self) -> QColor:
        """The colour of the bests; where colours stand for runs, a weaker shade of the run's."""
        if not self.scope.has_overlays:
            return QColor(self.theme.series[0])
        colour = self.run_colour
        colour.setAlpha(120)
        return colour

    @override
    def set_data(self, chart: "Chart") -> None:
        """Draw lines without gaps: between two generations another is being played."""
        if len(self._worst[0]):
            x, low, joined = self._line(self._worst)
            _, high, _ = self._line(self._best)
            x, y, joined = band_outline(x, low, high, joined)
            self._band_item.setData(x, y, connect=joined)
        else:
            self._band_item.clear()
        self._best_item.setPen(self._best_colour())
        for item, curve in ((self._best_item, self._best), (self._mean_item, self._mean)):
            x, y, joined = self._line(curve)
            item.setData(x, y, connect=joined)
        self._evaluation_item.setData(*self._evaluations)
        self._overlaid.set_data(chart, self.theme, 3)
        if self._target is None:
            self._target_item.clear()
        else:
            self._target_item.setData(np.array(self.scope.view()), np.full(2, self._target))

    def _line(self, curve: Curve) -> tuple[Float64, Float64, np.ndarray]:
        return split_at_gaps(*curve, max_gap=np.inf, width=self._point_s)

    @override
    def legend(self) -> list[LegendItem]:
        """The legend, most important items first, for the last ones may not fit.

        While a generation is read, its values stand beside their colours.
        """
        band_colour = self.run_colour
        band_colour.setAlpha(90)
        mean, best, evaluation = self._read()
        name = self.scope.label if self.scope.has_overlays else "mean"
        items = [
            LegendItem(self.run_colour, name, mean, elides=self.scope.has_overlays),
            *self._overlaid.legend(self.theme, self.scope.cursor_s()),
            LegendItem(self._best_colour(), "best", best),
            LegendItem(QColor(self.theme.good), "evaluation", evaluation),
        ]
        if self._target is not None:
            items.append(LegendItem(None, f"– – target {numbers.decimal(self._target)}"))
        return [*items, LegendItem(band_colour, "worst–best")]

    # --- what it says -------------------------------------------------------------------------

    def _read(self) -> tuple[str, str, str]:
        """Mean, best and evaluation of the generation under the cursor; empty if there is none."""
        at_s = self.scope.cursor_s()
        row = self._series.nearest(at_s) if at_s is not None else None
        if row is None:
            return "", "", ""
        columns = self._series.columns
        figures = (columns.return_mean, columns.return_best, columns.evaluation_mean)
        mean, best, evaluation = (numbers.decimal(float(column[row])) for column in figures)
        return mean, best, evaluation

    @override
    def reading(self, part: Part, at_s: float) -> str:
        """What the legend leaves out about the generation that ended nearest to the cursor."""
        row = self._series.nearest(at_s)
        if row is None:
            return ""
        columns = self._series.columns
        parts = [f"generation {numbers.count(columns.number[row])}"]
        if columns.evaluation_n[row]:
            parts.append(f"{numbers.plural(columns.evaluation_n[row], 'episode')} evaluated")
        parts.append(f"worst {numbers.decimal(columns.return_worst[row])}")
        parts.append(numbers.plural(columns.num_env_steps[row], "step"))
        if np.isfinite(columns.sigma[row]):
            parts.append(f"sigma {numbers.decimal(columns.sigma[row])}")
        return " · ".join(parts)

    @override
    def csv(self) -> str:
        """The visible generations, one per line; unknown values are empty."""
        columns = self._visible()
        low_s, high_s = self.scope.view()
        columns = _where(columns, (columns.end_s >= low_s) & (columns.end_s <= high_s))
        return csv_of({name: getattr(columns, name) for name in Generations.__slots__})


def _rows(columns: Generations, rows: slice) -> Generations:
    return Generations(*(getattr(columns, name)[rows] for name in Generations.__slots__))


def _where(columns: Generations, chosen: np.ndarray) -> Generations:
    return Generations(*(getattr(columns, name)[chosen] for name in Generations.__slots__))


def _steady_width_s(width_s: float) -> float:
    """Round up to a power of two, so that points do not flicker while the run goes on."""
    return float(2.0 ** np.ceil(np.log2(width_s)))


def _starts(columns: Generations, width_s: float) -> NDArray[np.intp]:
    """First rows of groups that ended within the same stretch of time; needs at least one row."""
    number = np.floor(columns.end_s / width_s)
    return np.flatnonzero(np.diff(number, prepend=number[0] - 1))


def _mean_at(overlay: Overlay, index: int) -> float:
    """The mean of the generation that ended nearest to a bucket's middle."""
    row = overlay.generations.nearest(float(overlay.part.middles_s[index]))
    return float(overlay.generations.columns.return_mean[row]) if row is not None else np.nan


def _evaluations(columns: Generations, apart_s: float) -> Curve:
    """Evaluations as points; those that would overlap become their mean, weighted by episodes."""
    chosen = _where(columns, np.isfinite(columns.evaluation_mean))
    if not len(chosen):
        return _NOTHING
    starts = _starts(chosen, _steady_width_s(apart_s))
    weight = np.maximum(chosen.evaluation_n, 1).astype(np.float64)
    total = np.add.reduceat(weight, starts)
    mean = np.add.reduceat(chosen.evaluation_mean * weight, starts) / total
    return np.asarray(np.add.reduceat(chosen.end_s * weight, starts) / total), np.asarray(mean)
