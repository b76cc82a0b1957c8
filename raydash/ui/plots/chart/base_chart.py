"""The base of all charts: pyqtgraph's view and axes, with our ticks, cursor, mouse and keys.

Only this module, `items`, `marks` and the charts themselves import pyqtgraph. That import takes a
third of a second, so cards import their chart after the window was first painted (`chart_card`).
Items are created once and only get new data afterwards; each line is one path.
"""

import numpy as np
import pyqtgraph as pg
from pyqtgraph.GraphicsScene.mouseEvents import MouseDragEvent
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QFontMetricsF, QKeyEvent, QMouseEvent, QPaintEvent
from PySide6.QtWidgets import QSizePolicy
from typing_extensions import override

from raydash.core.words.ticks import Ticks
from raydash.ui.kit.draw_clock import PaintTimer
from raydash.ui.kit.theme import LIGHT, Theme
from raydash.ui.plots.chart.items import Axis, StrongLine

pg.setConfigOptions(antialias=False, useOpenGL=False, imageAxisOrder="row-major")

TOP_PX = 8
ZOOM_PER_NOTCH, NOTCH = 0.85, 120
_LEFT_PX, _BOTTOM_PX = 46, 19


class ChartView(pg.ViewBox):
    """The area between the axes. Nothing moves it but the user and its chart."""

    def __init__(self) -> None:
        super().__init__(enableMenu=False, defaultPadding=0.0)
        self.disableAutoRange()
        self.state["wheelScaleFactor"] = float(np.log(ZOOM_PER_NOTCH) / np.log(1.02) / NOTCH)

    @override
    def mouseDragEvent(self, event: MouseDragEvent, axis: int | None = None) -> None:
        """Move the view, with a closed hand as the mouse cursor."""
        super().mouseDragEvent(event, axis)
        if event.isFinish():
            self.getViewWidget().unsetCursor()
        elif event.isStart():
            self.getViewWidget().setCursor(Qt.CursorShape.ClosedHandCursor)


class BaseChart(pg.PlotWidget):
    """Axes, ticks, items and cursor; mouse and keys. Subclasses say which range is shown.

    Attributes:
        hover: Where the mouse is between the axes of this chart, or None.
        wanted_size: The size that it asks for.

    Args:
        view: The area between the axes.
        right_px: Space beside the axes.

    Signals:
        touched: The user moved something that only this chart has, or asked for all of it.
    """

    touched = Signal()

    def __init__(self, view: ChartView, *, right_px: int) -> None:
        axes = {side: Axis(side) for side in ("left", "bottom")}
        super().__init__(viewBox=view, axisItems=axes, enableMenu=False)
        self.hover: QPointF | None = None
        self.wanted_size = QSize()
        self._theme = LIGHT
        self._view = view
        self._view.sigRangeChangedManually.connect(self._on_moved)
        self._items: list[pg.GraphicsObject] = []
        # The x that is 0 in the view.
        self._origin = 0.0
        self._shown_ticks: dict[str, Ticks] = {}
        self._paint_timer = PaintTimer()
        self._cursor = pg.InfiniteLine(angle=90)
        self._cursor.setZValue(30)
        self._cursor.setVisible(False)
        self._view.addItem(self._cursor, ignoreBounds=True)
        self.plotItem.hideButtons()
        self.plotItem.layout.setContentsMargins(0, TOP_PX, right_px, 0)
        axes["left"].setWidth(_LEFT_PX)
        axes["left"].setGrid(255)
        axes["bottom"].setHeight(_BOTTOM_PX)
        for axis in axes.values():
            axis.setStyle(tickAlpha=255, tickTextOffset=3, tickLength=3)
            axis.setZValue(-1000)  # the grid lies behind the data
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        # When anything moves, nearly everything does, so finding out what is a waste of time.
        self.setViewportUpdateMode(self.ViewportUpdateMode.FullViewportUpdate)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)

    @override
    def sizeHint(self) -> QSize:
        return self.wanted_size

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
            self._style_texts(axis)
        self._cursor.setPen(theme.muted, width=1, style=Qt.PenStyle.DotLine)

    def _style_texts(self, axis: pg.AxisItem) -> None:
        axis.setTextPen(self._theme.muted)
        axis.setTickFont(self.font())

    # --- items, made once ---

    def add_area(self, z: int = 0) -> pg.PlotCurveItem:
        """Add a filled area; its data are its outline.

        Filling down to a level would cost ten times more.
        """
        return self._add(pg.PlotCurveItem(pen=None, fillLevel="enclosed", skipFiniteCheck=True), z)

    def add_line(self, z: int = 0, *, strong: bool = False) -> pg.PlotCurveItem:
        """Add a smooth line, or many in one path by `connect`.

        A `strong` one is two pixels wide.
        """
        kind = StrongLine if strong else pg.PlotCurveItem
        return self._add(kind(antialias=True, skipFiniteCheck=True), z)

    def _add(self, item: pg.GraphicsObject, z: int) -> pg.GraphicsObject:
        item.setZValue(z)
        self._view.addItem(item, ignoreBounds=True)
        self._items.append(item)
        return item

    # --- what is shown ---

    def _show_view(self, x: list[float], y: list[float]) -> None:
        """Show another range; x counts from the origin."""
        if self._view.viewRange() != [x, y]:
            self._view.setRange(xRange=x, yRange=y, padding=0)

    def _show_ticks(self, side: str, ticks: Ticks) -> None:
        if ticks != self._shown_ticks.get(side):
            self._shown_ticks[side] = ticks
            self.plotItem.getAxis(side).setTicks([ticks])

    def _most_value_ticks(self) -> int:
        return max(2, int(self.area().height() / (QFontMetricsF(self.font()).height() * 1.9)))

    def _most_x_ticks(self, longest: str, *, spread: float) -> int:
        """How many ticks fit side by side, if one takes `spread` times the width of the longest."""
        room = QFontMetricsF(self.font()).horizontalAdvance(longest) * spread
        return max(2, int(self.area().width() / room))

    def _place_cursor(self, x: float | None) -> None:
        """Mark a place on the x axis; None hides the cursor."""
        self._cursor.setVisible(x is not None)
        if x is not None:
            self._cursor.setValue(x - self._origin)

    # --- where things are ---

    def area(self) -> QRectF:
        """The area between the axes, in pixels."""
        self.plotItem.layout.activate()
        area = QRectF(self._view.sceneBoundingRect())
        return area if area.width() >= 20 and area.height() >= 20 else QRectF(_LEFT_PX, 0, 20, 20)

    def point(self, x: float, y: float) -> QPointF:
        """Where a point is, in pixels."""
        area, ((low_x, high_x), (low, high)) = self.area(), self._view.viewRange()
        return QPointF(
            area.left() + (x - self._origin - low_x) / (high_x - low_x) * area.width(),
            area.bottom() - (y - low) / (high - low) * area.height(),
        )

    # --- painting ---

    def take_paint_s(self) -> float:
        """The seconds spent painting since the last call."""
        return self._paint_timer.take_s()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        self._paint_timer.time(super().paintEvent, event)

    # --- mouse and keys ---

    def reset(self) -> None:
        """Show everything again, and follow the data."""
        raise NotImplementedError

    def step(self, direction: int) -> None:
        """Step in x, as the arrow keys do: -1 to the left, 1 to the right."""
        raise NotImplementedError

    def zoom(self, factor: float) -> None:
        """Show `factor` times as much in x."""
        raise NotImplementedError

    def _on_moved(self) -> None:
        """Take over the range to which the user dragged or zoomed the view."""
        raise NotImplementedError

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
        self.reset()

    @override
    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.hover = None

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move with the arrows, zoom with plus and minus, show all with Escape or Home."""
        match event.key():
            case Qt.Key.Key_Left:
                self.step(-1)
            case Qt.Key.Key_Right:
                self.step(1)
            case Qt.Key.Key_Plus | Qt.Key.Key_Equal:
                self.zoom(0.8)
            case Qt.Key.Key_Minus:
                self.zoom(1.25)
            case Qt.Key.Key_Escape | Qt.Key.Key_Home:
                self.reset()
            case _:
                event.ignore()
