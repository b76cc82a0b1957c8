"""Curves of other runs on a chart, reduced to its pixels and listed in its legend."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtGui import QColor, QPen

from raydash.core.records import Float64
from raydash.core.words import numbers
from raydash.ui.kit.run_style import is_dashed, is_strong, line_colour
from raydash.ui.kit.theme import Theme
from raydash.ui.plots.chart.legend_row import LegendItem
from raydash.ui.plots.shown.scope import Overlay

if TYPE_CHECKING:
    import pyqtgraph as pg

    from raydash.ui.plots.chart.chart import Chart

JoinedCurve = tuple[Float64, Float64, NDArray[np.bool_]]
"""x on the run's own clock, y, and which points are joined to the next one."""


@dataclass(frozen=True, slots=True)
class OverlaidCurve:
    """The curve of one overlaid run.

    Attributes:
        overlay: The run and where it lies on the axis.
        x: Positions on the axis.
        y: Values, as many as `x`.
        joined: Which points are joined to the next one.
    """

    overlay: Overlay
    x: Float64
    y: Float64
    joined: NDArray[np.bool_]


class OverlaidCurves:
    """The overlaid curves of one plot. Line items are created when needed, and then reused.

    Args:
        curve_of: Gives the curve to draw of the visible part of a run.
        value_of: Gives the value in one of its buckets, NaN if it is not known.
    """

    def __init__(
        self,
        curve_of: Callable[[Overlay], JoinedCurve],
        value_of: Callable[[Overlay, int], float],
    ) -> None:
        self.curves: list[OverlaidCurve] = []
        self._curve_of = curve_of
        self._value_of = value_of
        self._items: list[tuple[pg.PlotCurveItem, tuple[object, ...]]] = []

    def load(self, overlays: list[Overlay]) -> bool:
        """Load the curves of these runs; gives whether there is anything to see."""
        self.curves = []
        for overlay in overlays:
            x, y, joined = self._curve_of(overlay)
            self.curves.append(OverlaidCurve(overlay, overlay.placement.to_axis(x), y, joined))
        return any(len(curve.y) for curve in self.curves)

    @property
    def values(self) -> list[Float64]:
        """All values that are drawn, from which the range of the value axis follows."""
        return [curve.y for curve in self.curves if len(curve.y)]

    def set_data(self, chart: "Chart", theme: Theme, z: int) -> None:
        """Give the line items their data, in front of everything below `z`."""
        while len(self._items) < len(self.curves):
            self._items.append((chart.add_line(z, strong=True), ()))
        for number, (item, applied) in enumerate(self._items):
            if number >= len(self.curves):
                item.clear()
                continue
            curve = self.curves[number]
            look = (theme.name, curve.overlay.number)
            if look != applied:
                self._items[number] = (item, look)
                item.setPen(_pen(curve.overlay.number, theme))
            item.setData(curve.x, curve.y, connect=curve.joined)

    def legend(self, theme: Theme, at_s: float | None) -> list[LegendItem]:
        """The legend items of the runs, with their values at a time on the axis if one is given."""
        return [
            LegendItem(
                QColor(line_colour(curve.overlay.number, theme)),
                curve.overlay.label,
                self._read(curve.overlay, at_s) if at_s is not None else "",
                elides=True,
            )
            for curve in self.curves
        ]

    def _read(self, overlay: Overlay, at_s: float) -> str:
        index = overlay.part.index_at(float(overlay.placement.from_axis(at_s)))
        return numbers.UNKNOWN if index is None else numbers.decimal(self._value_of(overlay, index))

    def columns(self, name: str, middles_s: Float64) -> dict[str, Float64]:
        """Each run's values at these times on the axis, for a CSV file."""
        made = {}
        for curve in self.curves:
            overlay = curve.overlay
            own_s = overlay.placement.from_axis(middles_s)
            found = [overlay.part.index_at(t_s) for t_s in own_s.tolist()]
            values = [
                self._value_of(overlay, index) if index is not None else np.nan for index in found
            ]
            made[f"{name}_{overlay.run_id}"] = np.array(values, np.float64)
        return made


def _pen(number: int, theme: Theme) -> QPen:
    """The pen of a run's line; a weak line is a little transparent, a strong one is drawn twice."""
    colour = QColor(line_colour(number, theme))
    if not is_strong(number):
        colour.setAlpha(150)
    pen = QPen(colour, 1)
    pen.setCosmetic(True)
    if is_dashed(number):
        pen.setStyle(Qt.PenStyle.DashLine)
    return pen
