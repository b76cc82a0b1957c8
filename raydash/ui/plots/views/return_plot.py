"""The plot of episode returns: mean, 10-90 % band, curves of selected workers and of other runs."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from raydash.core.records import Float64
from raydash.core.words import numbers
from raydash.core.words.ticks import nice_limits
from raydash.ui.plots.chart.geometry import band_outline, concatenated, split_at_gaps, widest_gap
from raydash.ui.plots.chart.legend_row import LegendItem
from raydash.ui.plots.chart.overlays import JoinedCurve, OverlaidCurves
from raydash.ui.plots.shown.plotted_run import Part
from raydash.ui.plots.shown.scope import Overlay, PlotScope
from raydash.ui.plots.views.metric_choice import EPISODE_RETURN, MetricChoice, metric_words
from raydash.ui.plots.views.plot_base import Columns, Plot

if TYPE_CHECKING:
    from raydash.ui.plots.chart.chart import Chart

Curve = tuple[Float64, Float64]

_PX_PER_POINT = 2.0
_EMPTY: Curve = (np.empty(0), np.empty(0))


class ReturnPlot(Plot):
    """Episode return, or another metric of the episodes, of which there is only a mean.

    A point of the mean stands for all episodes that ended in its buckets (two pixels' worth).
    Points of the band, of workers and of other metrics are averages of their buckets' values. The
    read-out is exact. Of other runs, only the mean is drawn.
    """

    draws_overlays = True

    def __init__(self, scope: PlotScope | None = None, parent: QWidget | None = None) -> None:
        super().__init__(
            "Episode return",
            "mean, 10–90 % band, selected workers",
            object_name="plot_episode_return",
            unit="return",
            labelled=True,
            scope=scope,
            parent=parent,
        )
        self._point_s = 0.5
        self._mean = self._low = self._high = _EMPTY
        self._curves: dict[int, Curve] = {}
        self._overlaid = OverlaidCurves(self._curve_of, self._mean_at)
        self._wanted = EPISODE_RETURN
        self._choice = MetricChoice("plot_episode_return_metric")
        self._choice.chosen.connect(self.show_metric)
        self.show_title_control(self._choice, offered=False)

    # --- which metric ---

    @property
    def shown_metric(self) -> str:
        """The metric that is shown: `EPISODE_RETURN`, or a named scalar that the run has."""
        return self._wanted if self._wanted in self._names else EPISODE_RETURN

    @property
    def _names(self) -> tuple[str, ...]:
        run = self.scope.run
        return run.whole.scalar_names if run is not None else ()

    def show_metric(self, metric: str) -> None:
        """Show another metric in every run that has it."""
        self._wanted = metric
        self._own_stamp += 1
        self._offer_metrics()

    def _offer_metrics(self) -> None:
        metric = self.shown_metric
        self._choice.show_metric(metric, self._names)
        self.show_title_control(self._choice, offered=self._choice.has_choice)
        self._legend_row.set_unit("return" if metric == EPISODE_RETURN else metric_words(metric))

    @override
    def data_stamp(self) -> object:
        """Changes when the first episode with another named scalar has ended."""
        return self.shown_metric, self._names

    @override
    def current_subtitle(self) -> str:
        return self._plain_subtitle if self.shown_metric == EPISODE_RETURN else "mean over episodes"

    @override
    def draw(self) -> None:
        """Offer the metrics of the run, then draw."""
        self._offer_metrics()
        super().draw()

    @override
    def load(self, part: Part) -> str:
        """Reduce the buckets in which episodes ended to a point every two pixels."""
        if self.shown_metric != EPISODE_RETURN:
            return self._load_scalar(part)
        series, rows = part.series, part.rows
        has = series.return_n[rows] > 0
        if not has.any():
            return self._waiting_for()
        starts, edges_s = part.grouped(self.canvas.area().width() / _PX_PER_POINT)
        middles_s = (edges_s[:-1] + edges_s[1:]) / 2
        self._point_s = float(np.median(np.diff(edges_s)))
        n = series.return_n[rows]
        self._mean = _averaged(middles_s, starts, series.return_mean[rows], n)
        self._low = _averaged(middles_s, starts, series.return_p10[rows], n)
        self._high = _averaged(middles_s, starts, series.return_p90[rows], n)
        self._curves = {}
        width = series.worker_return_mean.shape[1]
        for worker in self.selected_workers:
            if worker <= width:
                values = series.worker_return_mean[rows, worker - 1]
                self._curves[worker] = _averaged(middles_s, starts, values, np.isfinite(values))
        return ""

    @override
    def load_overlays(self, overlays: list[Overlay]) -> bool:
        return self._overlaid.load(overlays)

    @override
    def clear(self) -> None:
        self._mean = self._low = self._high = _EMPTY
        self._curves = {}

    def _curve_of(self, overlay: Overlay) -> JoinedCurve:
        part = overlay.part
        starts, edges_s = part.grouped(self.canvas.area().width() / _PX_PER_POINT)
        if not len(starts):
            return (*_EMPTY, np.empty(0, np.bool_))
        middles_s = (edges_s[:-1] + edges_s[1:]) / 2
        if self.shown_metric == EPISODE_RETURN:
            n, mean = part.series.return_n[part.rows], part.series.return_mean[part.rows]
        else:
            mean = part.series.scalar(self.shown_metric)[part.rows].astype(np.float64)
            n = np.isfinite(mean).astype(np.int64)
        t_s, values = _averaged(middles_s, starts, mean, n)
        point_s = float(np.median(np.diff(edges_s)))
        return split_at_gaps(t_s, values, widest_gap(t_s, point_s), point_s)

    def _load_scalar(self, part: Part) -> str:
        values = part.series.scalar(self.shown_metric)[part.rows]
        known = np.isfinite(values)
        if not known.any():
            return f"no episode with {metric_words(self.shown_metric)} finished in this range"
        starts, edges_s = part.grouped(self.canvas.area().width() / _PX_PER_POINT)
        self._point_s = float(np.median(np.diff(edges_s)))
        middles_s = (edges_s[:-1] + edges_s[1:]) / 2
        self._mean = _averaged(middles_s, starts, values, known)
        self._low = self._high = _EMPTY
        self._curves = {}
        return ""

    def _waiting_for(self) -> str:
        latest = self.scope.latest
        if latest is None or latest.figures.num_episodes_lifetime:
            return "no episode finished in this range"
        steps = numbers.count(latest.figures.num_env_steps_sampled_lifetime)
        return f"no episode finished yet, {steps} steps so far"

    @override
    def value_limits(self) -> tuple[float, float]:
        """A range for the whole band and the curves."""
        own = (self._low, self._high, self._mean, *self._coloured())
        drawn = [values for _, values in own if len(values)] + self._overlaid.values
        lows, highs = zip(*((values.min(), values.max()) for values in drawn), strict=True)
        return nice_limits(float(min(lows)), float(max(highs)))

    @override
    def create_items(self, chart: "Chart") -> None:
        """Create the band, one grey line for many workers, a few in colour, and the mean on top."""
        self._band_item = chart.add_area()
        self._others_item = chart.add_line(1)
        self._coloured_items = [chart.add_line(2) for _ in self.theme.series]
        self._mean_item = chart.add_line(4, strong=True)

    @override
    def apply_theme(self) -> None:
        """Colour the mean like the run, and workers like series."""
        tint = self.run_colour
        tint.setAlpha(64 if self.theme.is_dark else 48)
        self._band_item.setBrush(tint)
        self._others_item.setPen(self.theme.disabled)
        for item, name in zip(self._coloured_items, self.theme.series, strict=True):
            colour = QColor(name)
            colour.setAlpha(190)  # the mean stays on top
            item.setPen(colour)
        self._mean_item.setPen(self.run_colour)

    @override
    def set_data(self, chart: "Chart") -> None:
        """Draw curves that are broken where no episode ended for a long time."""
        if len(self._low[0]):
            x, low, joined = self._split(self._low)
            _, high, _ = self._split(self._high)
            x, y, joined = band_outline(x, low, high, joined)
            self._band_item.setData(x, y, connect=joined)
        else:
            self._band_item.clear()
        coloured = self._coloured()
        for item in self._coloured_items[len(coloured) :]:
            item.clear()
        for item, curve in zip(self._coloured_items, coloured, strict=False):
            x, y, joined = self._split(curve)
            item.setData(x, y, connect=joined)
        others = list(self._curves.values())[len(coloured) :]
        x, y, joined = concatenated([self._split(curve) for curve in others])
        self._others_item.setData(x, y, connect=joined)
        x, y, joined = self._split(self._mean)
        self._mean_item.setData(x, y, connect=joined)
        self._overlaid.set_data(chart, self.theme, 3)

    def _split(self, curve: Curve) -> tuple[Float64, Float64, NDArray[np.bool_]]:
        t_s, values = curve
        return split_at_gaps(t_s, values, widest_gap(t_s, self._point_s), self._point_s)

    def _coloured(self) -> list[Curve]:
        return list(self._curves.values())[: len(self.theme.series)]

    @override
    def legend(self) -> list[LegendItem]:
        name = self.scope.label if self.scope.has_overlays else "mean"
        mean = LegendItem(self.run_colour, name, elides=self.scope.has_overlays)
        others = self._overlaid.legend(self.theme, self.scope.cursor_s())
        if self.shown_metric != EPISODE_RETURN:
            return [mean, *others]
        band_colour = self.run_colour
        band_colour.setAlpha(110)
        items = [mean, LegendItem(band_colour, "10–90 %"), *others]
        workers = list(self._curves)
        for colour, worker in zip(self.theme.series, workers, strict=False):
            items.append(LegendItem(QColor(colour), f"worker {worker}"))
        rest = len(workers) - len(self.theme.series)
        if rest > 0:
            items.append(LegendItem(QColor(self.theme.disabled), f"{rest} more"))
        return items

    @override
    def read_out(self, part: Part, index: int) -> str:
        series, row = part.series, part.rows.start + index
        if self.shown_metric != EPISODE_RETURN:
            mean = float(series.scalar(self.shown_metric)[row])
            return f"mean {numbers.decimal(mean)}" if np.isfinite(mean) else "no episode had it"
        n = int(series.return_n[row])
        if not n:
            return "no episode ended"
        parts = [
            f"mean {numbers.decimal(series.return_mean[row])}",
            f"10–90 % {numbers.decimal(series.return_p10[row])}–"
            f"{numbers.decimal(series.return_p90[row])}",
            f"n = {numbers.count(n)}",
        ]
        for worker in self.selected_workers[:3]:
            if worker <= series.worker_return_mean.shape[1]:
                mean = float(series.worker_return_mean[row, worker - 1])
                parts.append(f"worker {worker}: {numbers.decimal(mean)}")
        return " · ".join(parts)

    @override
    def columns(self, part: Part) -> Columns:
        series, rows = part.series, part.rows
        columns: Columns = {
            "episode_return_n": series.return_n[rows],
            "episode_return_mean": series.return_mean[rows],
            "episode_return_min": series.return_min[rows],
            "episode_return_max": series.return_max[rows],
            "episode_return_p10": series.return_p10[rows],
            "episode_return_p90": series.return_p90[rows],
        }
        for worker in self.selected_workers:
            if worker <= series.worker_return_mean.shape[1]:
                values = series.worker_return_mean[rows, worker - 1]
                columns[f"episode_return_mean_worker_{worker}"] = values
        for name in series.scalar_names:
            columns[name.replace(",", ";").replace("\n", " ")] = series.scalar(name)[rows]
        return columns | self._overlaid.columns(self._column_name, part.middles_s)

    @property
    def _column_name(self) -> str:
        return self.shown_metric if self.shown_metric != EPISODE_RETURN else "episode_return_mean"

    def _mean_at(self, overlay: Overlay, index: int) -> float:
        series, row = overlay.part.series, overlay.part.rows.start + index
        if self.shown_metric != EPISODE_RETURN:
            return float(series.scalar(self.shown_metric)[row])
        return float(series.return_mean[row])


def _averaged(
    middles_s: Float64,
    starts: NDArray[np.intp],
    values: NDArray[np.floating],
    weights: NDArray[np.integer] | NDArray[np.bool_],
) -> Curve:
    """The weighted mean of each group of buckets; groups without weight are left out."""
    known = np.where(weights > 0, values, 0.0).astype(np.float64)
    weight = np.add.reduceat(weights.astype(np.float64), starts)
    has = weight > 0
    total = np.add.reduceat(known * weights, starts)
    return middles_s[has], np.asarray(total[has] / weight[has])
