"""Env steps per second, all workers together."""

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget

from raydash.core.records import Float64
from raydash.ui import words
from raydash.ui.plots.geometry import closed
from raydash.ui.plots.plot_base import Columns, Plot
from raydash.ui.plots.scope import Part, PlotScope
from raydash.ui.plots.ticks import nice_limits

if TYPE_CHECKING:
    from raydash.ui.plots.chart import Chart

_PX_PER_POINT = 1.5


class ThroughputPlot(Plot):
    """Total env steps per second."""

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

    def take(self, part: Part) -> str:
        """A point every pixel or two: the mean rate of its buckets."""
        width_px = self.canvas.area().width()
        starts, self._edges_s = part.grouped(width_px / _PX_PER_POINT)
        steps = np.add.reduceat(part.series.num_env_steps[part.rows], starts)
        self._per_s = steps / np.diff(self._edges_s)
        if not self._per_s.any():
            latest = self.scope.latest
            if latest is not None and not latest.figures.num_env_steps_sampled_lifetime:
                return "no env step yet: workers are starting"
        return ""

    def value_limits(self) -> tuple[float, float]:
        """From nothing to the best."""
        return 0.0, nice_limits(0.0, max(float(self._per_s.max()) * 1.04, 1.0))[1]

    def furnish(self, chart: "Chart") -> None:
        """A line over a tinted ground."""
        self._ground, self._line = chart.add_area(), chart.add_line(1, strong=True)

    def dress(self) -> None:
        """In the colour of throughput."""
        ground = QColor(self.theme.throughput)
        ground.setAlpha(38 if self.theme.is_dark else 30)
        self._ground.setBrush(ground)
        self._line.setPen(self.theme.throughput)

    def place(self, chart: "Chart") -> None:
        """The same points for both."""
        middles_s = (self._edges_s[:-1] + self._edges_s[1:]) / 2
        self._ground.setData(*closed(middles_s, self._per_s))
        self._line.setData(middles_s, self._per_s)

    def read_out(self, part: Part, index: int) -> str:
        """The rate of the bucket."""
        width_s = float(part.edges_s[index + 1] - part.edges_s[index])
        steps = float(part.series.num_env_steps[part.rows.start + index])
        return f"{words.count(steps / width_s)} env steps/s"

    def columns(self, part: Part) -> Columns:
        """Steps of each bucket and their rate."""
        steps = part.series.num_env_steps[part.rows]
        return {"num_env_steps": steps, "env_steps_per_s": steps / np.diff(part.edges_s)}
