"""The plot of how episodes end: rates per second, stacked by kind."""

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from raydash.core.history.series import HistorySeries
from raydash.core.records import Float64, Int64
from raydash.core.states import Ending
from raydash.core.words import numbers
from raydash.core.words.ticks import nice_limits
from raydash.ui.kit import run_words
from raydash.ui.plots.chart.geometry import area_outline, bar_outline
from raydash.ui.plots.chart.legend_row import LegendItem
from raydash.ui.plots.shown.plotted_run import Part
from raydash.ui.plots.shown.scope import PlotScope
from raydash.ui.plots.views.plot_base import Columns, Plot

if TYPE_CHECKING:
    from raydash.ui.plots.chart.chart import Chart

_PX_PER_BAR = 2.0


def endings_of(series: HistorySeries, rows: slice) -> dict[Ending, Int64]:
    """Episodes per bucket by kind of ending, in stacking order; each counts once."""
    return {
        Ending.TERMINATED: series.num_terminated[rows],
        Ending.TRUNCATED: series.num_truncated[rows],
        Ending.BOTH: series.num_both[rows],
        Ending.ERROR: series.num_error[rows],
    }


class EndingsPlot(Plot):
    """Stacked bars of the endings per second."""

    def __init__(self, scope: PlotScope | None = None, parent: QWidget | None = None) -> None:
        super().__init__(
            "Episode endings",
            "per second, stacked by kind",
            object_name="plot_endings",
            unit="episodes/s",
            scope=scope,
            parent=parent,
        )
        self._edges_s: Float64 = np.zeros(1)
        self._tops: dict[Ending, Float64] = {}

    @override
    def load(self, part: Part) -> str:
        """Compute the stacked rates of bars that are wide enough to be seen."""
        latest = self.scope.latest
        kinds = endings_of(part.series, part.rows)
        if latest is not None and not latest.figures.num_episodes_lifetime:
            steps = numbers.count(latest.figures.num_env_steps_sampled_lifetime)
            return f"no episode finished yet, {steps} steps so far"
        width_px = self.canvas.area().width()
        starts, self._edges_s = part.grouped(width_px / _PX_PER_BAR)
        widths_s = np.diff(self._edges_s)
        top = np.zeros(len(starts))
        self._tops = {}
        for kind, counts in kinds.items():
            top = top + np.add.reduceat(counts, starts) / widths_s
            self._tops[kind] = top
        return ""

    @override
    def value_limits(self) -> tuple[float, float]:
        return 0.0, nice_limits(0.0, max(float(self._tops[Ending.ERROR].max()) * 1.04, 1.0))[1]

    @override
    def create_items(self, chart: "Chart") -> None:
        """Create one area per kind; the lowest is in front, so that it covers those behind it."""
        self._areas = {kind: chart.add_area(-number) for number, kind in enumerate(Ending)}

    @override
    def apply_theme(self) -> None:
        for kind, area in self._areas.items():
            area.setBrush(self.theme.ending(kind))

    @override
    def set_data(self, chart: "Chart") -> None:
        """Draw the bars; a kind that adds nothing to those in front of it gets none."""
        under: Float64 = np.zeros(1)
        for kind, top in self._tops.items():
            if np.array_equal(np.broadcast_to(under, top.shape), top):
                self._areas[kind].clear()
            else:
                self._areas[kind].setData(*area_outline(*bar_outline(self._edges_s, top)))
            under = top

    @override
    def legend(self) -> list[LegendItem]:
        return [LegendItem(self.theme.ending(kind), run_words.ending(kind)) for kind in Ending]

    @override
    def read_out(self, part: Part, index: int) -> str:
        """The rates of the kinds that occurred."""
        row = slice(part.rows.start + index, part.rows.start + index + 1)
        width_s = float(part.edges_s[index + 1] - part.edges_s[index])
        parts = [
            f"{run_words.ending(kind)} {numbers.rate(float(counts[0]) / width_s)}"
            for kind, counts in endings_of(part.series, row).items()
            if counts[0]
        ]
        return " · ".join(parts) or "no episode ended"

    @override
    def columns(self, part: Part) -> Columns:
        kinds = endings_of(part.series, part.rows)
        return {f"num_episodes_{run_words.ending(kind)}": counts for kind, counts in kinds.items()}
