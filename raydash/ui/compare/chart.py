"""The chart of the compare page.

It imports pyqtgraph, so it is imported only after the first paint.

Items are created once and only get new data afterwards; each line is one path.
"""

import time
from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from pyqtgraph.GraphicsScene.mouseEvents import MouseDragEvent
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFontMetricsF, QKeyEvent, QMouseEvent, QPaintEvent, QPen
from PySide6.QtWidgets import QGraphicsSceneWheelEvent, QSizePolicy
from typing_extensions import override

from raydash.core.analysis.compare import XAxis
from raydash.core.records import Float64
from raydash.ui.compare.curves import CompareLine
from raydash.ui.compare.labels import axis_ticks
from raydash.ui.kit.run_style import is_dashed, is_strong, line_colour
from raydash.ui.kit.theme import LIGHT, Theme
from raydash.ui.plots.chart.geometry import Bool, band_outline, concatenated
from raydash.ui.plots.chart.items import Axis, StrongLine
from raydash.ui.plots.chart.ticks import nice_limits, value_ticks

pg.setConfigOptions(antialias=False, useOpenGL=False, imageAxisOrder="row-major")

_LEFT_PX, _TOP_PX, _RIGHT_PX, _BOTTOM_PX = 46, 8, 14, 19
_ZOOM_PER_NOTCH, _NOTCH = 0.85, 120
_BAND_ALPHA = 46


class _View(pg.ViewBox):
    """The area between the axes.

    The wheel zooms along x, or along y over the value axis or with Ctrl; dragging moves both.
    """

    def __init__(self, chart: "CompareChart") -> None:
        super().__init__(enableMenu=False, defaultPadding=0.0)
        self._chart = chart
        self.disableAutoRange()
        self.state["wheelScaleFactor"] = float(np.log(_ZOOM_PER_NOTCH) / np.log(1.02) / _NOTCH)

    @override
    def wheelEvent(self, event: QGraphicsSceneWheelEvent, axis: int | None = None) -> None:
        """Zoom along one axis."""
        with_control = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
        super().wheelEvent(event, 1 if axis == 1 or with_control else 0)

    @override
    def mouseDragEvent(self, event: MouseDragEvent, axis: int | None = None) -> None:
        """Move the view, with a closed hand as the mouse cursor."""
        super().mouseDragEvent(event, axis)
        if event.isFinish():
            self._chart.unsetCursor()
        elif event.isStart():
            self._chart.setCursor(Qt.CursorShape.ClosedHandCursor)


class CompareChart(pg.PlotWidget):
    """Draws axes, bands, lines and cursor.

    Attributes:
        is_zoomed: The user chose the ranges; they stay until `fit`.
        hover: Where the mouse is between the axes, or None.

    Signals:
        touched: The user moved the view, or asked for all of it.
    """

    touched = Signal()

    def __init__(self) -> None:
        axes = {side: Axis(side) for side in ("left", "bottom")}
        super().__init__(viewBox=_View(self), axisItems=axes, enableMenu=False)
        self.is_zoomed = False
        self.hover: QPointF | None = None
        self._theme = LIGHT
        self._axis = XAxis.TIME
        self._lines: list[CompareLine] = []
        self._highlighted = ""
        self._origin = 0.0
        self._painted_s = 0.0
        self._shown_ticks: dict[str, object] = {}
        self._view: _View = self.plotItem.vb
        self._view.sigRangeChangedManually.connect(self._on_moved)
        self._areas: list[pg.PlotCurveItem] = []
        self._thin: list[pg.PlotCurveItem] = []
        self._strong: list[pg.PlotCurveItem] = []
        self._cursor = pg.InfiniteLine(angle=90)
        self._cursor.setZValue(30)
        self._cursor.setVisible(False)
        self._view.addItem(self._cursor, ignoreBounds=True)
        self._dots = pg.ScatterPlotItem(size=7, pxMode=True)
        self._dots.setZValue(31)
        self._view.addItem(self._dots, ignoreBounds=True)
        self.plotItem.hideButtons()
        self.plotItem.layout.setContentsMargins(0, _TOP_PX, _RIGHT_PX, 0)
        axes["left"].setWidth(_LEFT_PX)
        axes["left"].setGrid(255)
        axes["bottom"].setHeight(_BOTTOM_PX)
        for axis in axes.values():
            axis.setStyle(tickAlpha=255, tickTextOffset=3, tickLength=3)
            axis.setZValue(-1000)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(240, 120)
        self.setViewportUpdateMode(self.ViewportUpdateMode.FullViewportUpdate)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)

    @override
    def sizeHint(self) -> QSize:
        return QSize(640, 320)

    def set_theme(self, theme: Theme) -> None:
        """Use the colours of another theme."""
        self._theme = theme
        self.setBackground(theme.card)
        left, bottom = (self.plotItem.getAxis(side) for side in ("left", "bottom"))
        left.setPen(None)
        left.setTickPen(theme.grid)
        bottom.setPen(theme.border)
        bottom.setTickPen(theme.border)
        for axis in (left, bottom):
            axis.setTextPen(theme.muted)
            axis.setTickFont(self.font())
        self._cursor.setPen(theme.muted, width=1, style=Qt.PenStyle.DotLine)
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
            x = [low_x - self._origin, high_x - self._origin]
            if self._view.viewRange() != [x, y]:
                self._view.setRange(xRange=x, yRange=y, padding=0)
        (low_x, high_x), (low, high) = self._view.viewRange()
        metrics, area = QFontMetricsF(self.font()), self.area()
        most = max(2, int(area.height() / (metrics.height() * 1.9)))
        self._show_ticks("left", value_ticks(low, high, most) if self._lines else [])
        room = metrics.horizontalAdvance("00 Nov 00:00") * 1.3
        most = max(2, int(area.width() / room))
        ticks = axis_ticks(self._axis, low_x + self._origin, high_x + self._origin, most)
        shifted = [(value - self._origin, label) for value, label in ticks]
        self._show_ticks("bottom", shifted if self._lines else [])

    def _value_limits(self) -> tuple[float, float]:
        columns = [column for line in self._lines for column in (line.y, line.low, line.high)]
        known = [column[np.isfinite(column)] for column in columns]
        lows = [column.min() for column in known if len(column)]
        highs = [column.max() for column in known if len(column)]
        return nice_limits(float(min(lows)), float(max(highs)))

    def _show_ticks(self, side: str, ticks: list[tuple[float, str]]) -> None:
        if ticks != self._shown_ticks.get(side):
            self._shown_ticks[side] = ticks
            self.plotItem.getAxis(side).setTicks([ticks])

    def _paint_lines(self) -> None:
        banded = [line for line in self._lines if np.isfinite(line.low).any()]
        areas = self._pool(self._areas, len(banded), strong=False)
        for item, line in zip(areas, banded, strict=True):
            tint = QColor(line_colour(line.number, self._theme))
            tint.setAlpha(_BAND_ALPHA)
            item.setPen(None)
            item.setFillLevel("enclosed")
            item.setBrush(tint)
            x, y, joined = _band_path(line)
            item.setData(x - self._origin, y, connect=joined)
        thick = [line for line in self._lines if self._is_thick(line)]
        thin = [line for line in self._lines if not self._is_thick(line)]
        for items, lines, strong in ((self._strong, thick, True), (self._thin, thin, False)):
            pooled = self._pool(items, len(lines), strong=strong)
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

    def _pool(
        self, items: list[pg.PlotCurveItem], count: int, *, strong: bool
    ) -> list[pg.PlotCurveItem]:
        """Give as many items as there are lines: create missing ones, empty those left over."""
        while len(items) < count:
            kind = StrongLine if strong else pg.PlotCurveItem
            item = kind(antialias=items is not self._areas, skipFiniteCheck=True)
            self._view.addItem(item, ignoreBounds=True)
            items.append(item)
        for item in items[count:]:
            item.clear()
        return items[:count]

    def show_cursor(self, x: float | None, points: Sequence[tuple[int, float, float]]) -> None:
        """Mark a place on the x axis, and the points of the lines there.

        Args:
            x: The place; None hides the cursor.
            points: Number of the line, x and y of each point.
        """
        self._cursor.setVisible(x is not None)
        if x is not None:
            self._cursor.setValue(x - self._origin)
        self._dots.setData(
            x=[place - self._origin for _, place, _ in points],
            y=[value for _, _, value in points],
            brush=[QColor(line_colour(number, self._theme)) for number, _, _ in points],
            pen=QColor(self._theme.card),
        )

    # --- where things are ---

    def area(self) -> QRectF:
        """The area between the axes, in pixels."""
        self.plotItem.layout.activate()
        area = QRectF(self._view.sceneBoundingRect())
        return area if area.width() >= 20 and area.height() >= 20 else QRectF(_LEFT_PX, 0, 20, 20)

    def x_at_cursor(self) -> float | None:
        """The place on the x axis that is under the mouse."""
        if self.hover is None:
            return None
        area, (low, high) = self.area(), self._view.viewRange()[0]
        share = (self.hover.x() - area.left()) / area.width()
        return float(low + share * (high - low) + self._origin)

    def point(self, x: float, y: float) -> QPointF:
        """Where a point is, in pixels."""
        area, ((low_x, high_x), (low, high)) = self.area(), self._view.viewRange()
        return QPointF(
            area.left() + (x - self._origin - low_x) / (high_x - low_x) * area.width(),
            area.bottom() - (y - low) / (high - low) * area.height(),
        )

    # --- painting, mouse and keys ---

    def fit(self) -> None:
        """Show everything again, and follow the data."""
        self.is_zoomed = False
        self.show_ranges()
        self.touched.emit()

    def take_paint_s(self) -> float:
        """The seconds spent painting since the last call."""
        painted_s, self._painted_s = self._painted_s, 0.0
        return painted_s

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint, and measure how long it took."""
        began_s = time.perf_counter()
        super().paintEvent(event)
        self._painted_s += time.perf_counter() - began_s

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin to drag, except with the right button, which opens the menu."""
        if event.button() is not Qt.MouseButton.RightButton:
            super().mousePressEvent(event)

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag, or read the values under the mouse."""
        super().mouseMoveEvent(event)
        area, where = self.area(), event.position()
        self.hover = where if area.left() <= where.x() <= area.right() else None

    @override
    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Show everything again."""
        self.fit()

    @override
    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.hover = None

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Read values with the arrows, zoom with plus and minus, show all with Escape or Home."""
        area = self.area()
        match event.key():
            case Qt.Key.Key_Left | Qt.Key.Key_Right:
                step = area.width() / 100 * (1 if event.key() == Qt.Key.Key_Right else -1)
                at = self.hover.x() + step if self.hover is not None else area.center().x()
                self.hover = QPointF(min(max(at, area.left()), area.right()), area.center().y())
            case Qt.Key.Key_Plus | Qt.Key.Key_Equal:
                self._zoom(0.8)
            case Qt.Key.Key_Minus:
                self._zoom(1.25)
            case Qt.Key.Key_Escape | Qt.Key.Key_Home:
                self.hover = None
                self.fit()
            case _:
                event.ignore()

    def _zoom(self, factor: float) -> None:
        self._view.scaleBy(x=factor)
        self._on_moved()

    def _on_moved(self) -> None:
        self.is_zoomed = True
        self.show_ranges()
        self.touched.emit()


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
