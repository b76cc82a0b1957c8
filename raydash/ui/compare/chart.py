"""The chart of the compare page: a base chart with the lines and bands of runs.

It imports pyqtgraph, so it is imported only after the first paint.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QKeyEvent, QPen
from PySide6.QtWidgets import QGraphicsSceneWheelEvent
from typing_extensions import override

from raydash.core.analysis.compare import XAxis
from raydash.core.records import Float64
from raydash.core.words.ticks import nice_limits, value_ticks
from raydash.ui.compare.curves import CompareLine
from raydash.ui.compare.labels import axis_ticks
from raydash.ui.kit.run_style import is_dashed, is_strong, line_colour
from raydash.ui.kit.theme import Theme
from raydash.ui.plots.chart.base_chart import BaseChart, ChartView
from raydash.ui.plots.chart.geometry import Bool, band_outline, concatenated

_RIGHT_PX = 14
_BAND_ALPHA = 46


class _View(ChartView):
    """The area between the axes; dragging moves both."""

    @override
    def wheelEvent(self, event: QGraphicsSceneWheelEvent, axis: int | None = None) -> None:
        """Zoom along x, or along y over the value axis or with Ctrl."""
        with_control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        super().wheelEvent(event, 1 if axis == 1 or with_control else 0)


class CompareChart(BaseChart):
    """Draws the lines of runs, and a cursor with the points on them.

    Attributes:
        is_zoomed: The user chose the ranges; they stay until `reset`.
    """

    def __init__(self) -> None:
        super().__init__(_View(), right_px=_RIGHT_PX)
        self.is_zoomed = False
        self._axis = XAxis.TIME
        self._lines: list[CompareLine] = []
        self._highlighted = ""
        self._areas: list[pg.PlotCurveItem] = []
        self._thin: list[pg.PlotCurveItem] = []
        self._strong: list[pg.PlotCurveItem] = []
        self._dots = pg.ScatterPlotItem(size=7, pxMode=True)
        self._add(self._dots, 31)

    @override
    def set_theme(self, theme: Theme) -> None:
        super().set_theme(theme)
        self._paint_lines()

    # --- what is shown ---

    def show_lines(
        self, lines: Sequence[CompareLine], axis: XAxis, *, highlighted: str = ""
    ) -> None:
        """Show other lines; the view follows them unless the user chose it.

        Args:
            lines: The lines to draw.
            axis: What their x values are.
            highlighted: The id of a run whose line lies on top of all others; empty for none.
        """
        if axis is not self._axis:
            self.is_zoomed = False
        self._axis, self._lines, self._highlighted = axis, list(lines), highlighted
        # A painter's floats cannot hold seconds since 1970 to the precision of a pixel.
        self._origin = min((line.x[0] for line in lines), default=0.0)
        if axis is not XAxis.WALL_CLOCK:
            self._origin = 0.0
        self._paint_lines()
        self.show_ranges()

    def show_ranges(self) -> None:
        """Bring the view and the ticks up to date."""
        if not self.is_zoomed and self._lines:
            low_x = min(float(line.x[0]) for line in self._lines)
            high_x = max(float(line.x[-1]) for line in self._lines)
            if self._axis is not XAxis.WALL_CLOCK:
                low_x = 0.0
            if high_x <= low_x:
                high_x = low_x + 1.0
            y = [round(limit, 12) for limit in self._value_limits()]
            self._show_view([low_x - self._origin, high_x - self._origin], y)
        (low_x, high_x), (low, high) = self._view.viewRange()
        most = self._most_value_ticks()
        self._show_ticks("left", value_ticks(low, high, most) if self._lines else [])
        most = self._most_x_ticks("00 Nov 00:00", spread=1.3)
        ticks = axis_ticks(self._axis, low_x + self._origin, high_x + self._origin, most)
        shifted = [(value - self._origin, label) for value, label in ticks]
        self._show_ticks("bottom", shifted if self._lines else [])

    def _value_limits(self) -> tuple[float, float]:
        columns = [column for line in self._lines for column in (line.y, line.low, line.high)]
        known = [column[np.isfinite(column)] for column in columns]
        lows = [column.min() for column in known if len(column)]
        highs = [column.max() for column in known if len(column)]
        return nice_limits(float(min(lows)), float(max(highs)))

    def _paint_lines(self) -> None:
        banded = [line for line in self._lines if np.isfinite(line.low).any()]
        areas = _pooled(self._areas, len(banded), self.add_area)
        for item, line in zip(areas, banded, strict=True):
            tint = QColor(line_colour(line.number, self._theme))
            tint.setAlpha(_BAND_ALPHA)
            item.setBrush(tint)
            x, y, joined = _band_path(line)
            item.setData(x - self._origin, y, connect=joined)
        thick = [line for line in self._lines if self._is_thick(line)]
        thin = [line for line in self._lines if not self._is_thick(line)]
        for items, lines, strong in ((self._strong, thick, True), (self._thin, thin, False)):
            pooled = _pooled(items, len(lines), partial(self.add_line, strong=strong))
            for item, line in zip(pooled, lines, strict=True):
                pen = QPen(QColor(line_colour(line.number, self._theme)), 1)
                pen.setCosmetic(True)
                if is_dashed(line.number):
                    pen.setDashPattern([6, 4])
                item.setPen(pen)
                item.setZValue(20 if self._highlighted in line.run_ids else 10)
                item.setOpacity(
                    1.0 if not self._highlighted or self._highlighted in line.run_ids else 0.45
                )
                item.setData(line.x - self._origin, line.y, connect=_joined(line))

    def _is_thick(self, line: CompareLine) -> bool:
        return is_strong(line.number) or self._highlighted in line.run_ids

    def show_cursor(self, x: float | None, points: Sequence[tuple[int, float, float]]) -> None:
        """Mark a place on the x axis, and the points of the lines there.

        Args:
            x: The place; None hides the cursor.
            points: Number of the line, x and y of each point.
        """
        self._place_cursor(x)
        self._dots.setData(
            x=[place - self._origin for _, place, _ in points],
            y=[value for _, _, value in points],
            brush=[QColor(line_colour(number, self._theme)) for number, _, _ in points],
            pen=QColor(self._theme.card),
        )

    # --- where things are ---

    def x_at_cursor(self) -> float | None:
        """The place on the x axis that is under the mouse."""
        if self.hover is None:
            return None
        area, (low, high) = self.area(), self._view.viewRange()[0]
        share = (self.hover.x() - area.left()) / area.width()
        return float(low + share * (high - low) + self._origin)

    # --- mouse and keys ---

    @override
    def reset(self) -> None:
        self.is_zoomed = False
        self.show_ranges()
        self.touched.emit()

    @override
    def step(self, direction: int) -> None:
        """Read the values a little further on."""
        area = self.area()
        step = direction * area.width() / 100
        at = self.hover.x() + step if self.hover is not None else area.center().x()
        self.hover = QPointF(min(max(at, area.left()), area.right()), area.center().y())

    @override
    def zoom(self, factor: float) -> None:
        """Zoom along x."""
        self._view.scaleBy(x=factor)
        self._on_moved()

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Escape and Home also stop reading values."""
        if event.key() in (Qt.Key.Key_Escape, Qt.Key.Key_Home):
            self.hover = None
        super().keyPressEvent(event)

    @override
    def _on_moved(self) -> None:
        self.is_zoomed = True
        self.show_ranges()
        self.touched.emit()


def _pooled(
    items: list[pg.PlotCurveItem], count: int, create: Callable[[], pg.PlotCurveItem]
) -> list[pg.PlotCurveItem]:
    """Give as many items as there are lines: create missing ones, empty those left over."""
    while len(items) < count:
        items.append(create())
    for item in items[count:]:
        item.clear()
    return items[:count]


def _joined(line: CompareLine) -> Bool:
    """Which points are joined to the next one.

    The line is broken where a run of the group begins or ends: a jump there would mean nothing.
    """
    joined = np.ones(len(line.x), np.bool_)
    joined[-1:] = False
    if len(line.n):
        joined[:-1] = line.n[1:] == line.n[:-1]
    return joined


def _band_path(line: CompareLine) -> tuple[Float64, Float64, Bool]:
    """The outlines of a band, piece by piece where there is one."""
    known = np.isfinite(line.low)
    edges = np.flatnonzero(~_joined(line)[:-1]) + 1
    pieces = []
    for rows in np.split(np.arange(len(known)), edges):
        if len(rows) and known[rows[0]]:
            joined = np.ones(len(rows), np.bool_)
            joined[-1] = False
            pieces.append(band_outline(line.x[rows], line.low[rows], line.high[rows], joined))
    return concatenated(pieces)
