"""The throughput plot: env steps per second, all workers of a run together."""

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from raydash.core.records import Float64
from raydash.core.words import numbers
from raydash.core.words.ticks import nice_limits
from raydash.ui.plots.chart.geometry import area_outline
from raydash.ui.plots.chart.legend_row import LegendItem
from raydash.ui.plots.chart.overlays import JoinedCurve, OverlaidCurves
from raydash.ui.plots.shown.plotted_run import Part
from raydash.ui.plots.shown.scope import Overlay, PlotScope
from raydash.ui.plots.views.plot_base import NO_STEP, Columns, Plot

if TYPE_CHECKING:
    from raydash.ui.plots.chart.chart import Chart

_PX_PER_POINT = 1.5


class ThroughputPlot(Plot):
    """Total env steps per second."""

    draws_overlays = True

    def __init__(self, scope: PlotScope | None = None, parent: QWidget | None = None) -> None:
        super().__init__(
            "Throughput",
            "all workers together",
            object_name="plot_throughput",
            unit="env steps/s",
            scope=scope,
            parent=parent,
        )
        self._edges_s: Float64 = np.zeros(1)
        self._per_s: Float64 = np.empty(0)
        self._overlaid = OverlaidCurves(self._curve_of, _per_s_at)

    @override
    def load(self, part: Part) -> str:
        """Compute a point every pixel or two: the mean rate of its buckets."""
        self._edges_s, self._per_s = self._rates(part)
        if not self._per_s.any():
            latest = self.scope.latest
            if latest is not None and not latest.figures.num_env_steps_sampled_lifetime:
                return NO_STEP
        return ""

    def _rates(self, part: Part) -> tuple[Float64, Float64]:
        starts, edges_s = part.grouped(self.canvas.area().width() / _PX_PER_POINT)
        steps = np.add.reduceat(part.series.num_env_steps[part.rows], starts)
        return edges_s, steps / np.diff(edges_s)

    @override
    def load_overlays(self, overlays: list[Overlay]) -> bool:
        return self._overlaid.load(overlays)

    @override
    def clear(self) -> None:
        self._edges_s, self._per_s = np.zeros(1), np.empty(0)

    def _curve_of(self, overlay: Overlay) -> JoinedCurve:
        if not len(overlay.part):
            return np.empty(0), np.empty(0), np.empty(0, np.bool_)
        edges_s, per_s = self._rates(overlay.part)
        return (edges_s[:-1] + edges_s[1:]) / 2, per_s, np.ones(len(per_s), np.bool_)

    @override
    def value_limits(self) -> tuple[float, float]:
        best = max(
            float(values.max(initial=0.0)) for values in (self._per_s, *self._overlaid.values)
        )
        return 0.0, nice_limits(0.0, max(best * 1.04, 1.0))[1]

    @override
    def create_items(self, chart: "Chart") -> None:
        """Create a line above a tinted area."""
        self._ground, self._line = chart.add_area(), chart.add_line(2, strong=True)

    @override
    def apply_theme(self) -> None:
        ground = self.run_colour
        ground.setAlpha(38 if self.theme.is_dark else 30)
        self._ground.setBrush(ground)
        self._line.setPen(self.run_colour)

    @override
    def set_data(self, chart: "Chart") -> None:
        middles_s = (self._edges_s[:-1] + self._edges_s[1:]) / 2
        if len(self._per_s):
            self._ground.setData(*area_outline(middles_s, self._per_s))
        else:
            self._ground.clear()
        self._line.setData(middles_s, self._per_s)
        self._overlaid.set_data(chart, self.theme, 1)

    @override
    def legend(self) -> list[LegendItem]:
        """The runs, if there are several."""
        if not self.scope.has_overlays:
            return []
        own = LegendItem(self.run_colour, self.scope.label, elides=True)
        return [own, *self._overlaid.legend(self.theme, self.scope.cursor_s())]

    @override
    def read_out(self, part: Part, index: int) -> str:
        width_s = float(part.edges_s[index + 1] - part.edges_s[index])
        steps = float(part.series.num_env_steps[part.rows.start + index])
        return f"{numbers.count(steps / width_s)} env steps/s"

    @override
    def columns(self, part: Part) -> Columns:
        steps = part.series.num_env_steps[part.rows]
        own: Columns = {"num_env_steps": steps, "env_steps_per_s": steps / np.diff(part.edges_s)}
        return own | self._overlaid.columns("env_steps_per_s", part.middles_s)


def _per_s_at(overlay: Overlay, index: int) -> float:
    part = overlay.part
    width_s = float(part.edges_s[index + 1] - part.edges_s[index])
    return float(part.series.num_env_steps[part.rows.start + index]) / width_s
