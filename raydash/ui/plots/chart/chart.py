"""The chart of a plot: pyqtgraph's view, axes and items, with our ticks, marks, cursor and keys.

Only this module, `items` and `marks` import pyqtgraph. That import takes a third of a second, so
plots import this module after the window was first painted. Items are created once and only get new
data afterwards.
"""

import time

import numpy as np
import pyqtgraph as pg
from pyqtgraph.GraphicsScene.mouseEvents import MouseDragEvent
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QFontMetricsF,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
)
from PySide6.QtWidgets import (
    QGraphicsSceneWheelEvent,
    QSizePolicy,
)
from typing_extensions import override

from raydash.core.events import Event
from raydash.ui.kit.theme import LIGHT, Theme
from raydash.ui.plots.chart.items import Axis, RoundPoints, StrongLine
from raydash.ui.plots.chart.marks import Marks
from raydash.ui.plots.chart.ticks import Ticks, ago_ticks, clock_ticks, step_ticks, value_ticks
from raydash.ui.plots.shown.scope import PlotScope

pg.setConfigOptions(antialias=False, useOpenGL=False, imageAxisOrder="row-major")

_LEFT_PX, _TOP_PX, _RIGHT_PX, _BOTTOM_PX = 46, 8, 12, 19
_BAR_PX, _BAR_AXIS_PX = 10, 42
_ZOOM_PER_NOTCH, _PAN_PER_NOTCH = 0.85, 0.1
_NOTCH = 120
_MARK_REACH_PX = 4.0
_POINT_PX = 8
_COLOURS = "viridis"  # perceptually even, and safe for the colour-blind


class _View(pg.ViewBox):
    """The area between the axes. The scope decides about the time range, the chart about values."""

    def __init__(self, chart: "Chart") -> None:
        super().__init__(enableMenu=False, defaultPadding=0.0)
        self._chart = chart
        self.disableAutoRange()
        notch = np.log(_ZOOM_PER_NOTCH) / np.log(1.02) / _NOTCH
        self.state["wheelScaleFactor"] = float(notch)

    @override
    def wheelEvent(self, event: QGraphicsSceneWheelEvent, axis: int | None = None) -> None:
        """Zoom in time; zoom in value over the value axis or with Ctrl; move in time with Shift."""
        self._catch_up()
        notches, scope = event.delta() / _NOTCH, self._chart.scope
        is_sideways = event.orientation() == Qt.Orientation.Horizontal
        if is_sideways or event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            scope.pan(-_PAN_PER_NOTCH * notches)
        elif axis == 1 or event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            super().wheelEvent(event, 1)
        else:
            share = self.mapFromScene(event.scenePos()).x() / self.width()
            scope.zoom(_ZOOM_PER_NOTCH**notches, min(max(share, 0.0), 1.0))
        event.accept()

    @override
    def mouseDragEvent(self, event: MouseDragEvent, axis: int | None = None) -> None:
        """Move in time; move in value only over the value axis, or once that axis is locked."""
        self._catch_up()
        is_free = axis is not None or self._chart.y_locked
        super().mouseDragEvent(event, axis if is_free else 0)
        if event.isFinish():
            self._chart.unsetCursor()
        elif event.isStart():
            self._chart.setCursor(Qt.CursorShape.ClosedHandCursor)

    def _catch_up(self) -> None:
        """Bring the view up to date before acting on it.

        The run has gone on since the last drawing.
        """
        self._chart.show_ranges()
        self.updateMatrix()


class Chart(pg.PlotWidget):
    """Draws the view, axes, marks and cursor of one plot.

    Attributes:
        scope: The range and cursor that all plots share.
        y_range: Lowest and highest value, set by the plot before a drawing.
        y_locked: The user chose the y range; the plot must not change it.
        hover: Where the mouse is between the axes of this chart, or None.

    Signals:
        touched: The user moved something that only this chart has (its y range).
    """

    touched = Signal()

    def __init__(self, scope: PlotScope, *, labelled: bool, whole_numbers: bool) -> None:
        axes = {side: Axis(side) for side in ("left", "bottom")}
        super().__init__(viewBox=_View(self), axisItems=axes, enableMenu=False)
        self.scope = scope
        self.y_range = (0.0, 1.0)
        self.y_locked = False
        self.hover: QPointF | None = None
        self._theme = LIGHT
        self._whole_numbers = whole_numbers
        self._items: list[pg.GraphicsObject] = []
        self._bar: pg.ColorBarItem | None = None
        self._origin_s = 0.0
        self._shown_ticks: dict[str, Ticks] = {}
        self._painted_s = 0.0
        self._shows_focus = False
        self._view: _View = self.plotItem.vb
        self._view.sigRangeChangedManually.connect(self._on_moved)
        self._marks = Marks(self._view, labelled=labelled)
        self._cursor = pg.InfiniteLine(angle=90)
        self._cursor.setZValue(30)
        self._view.addItem(self._cursor, ignoreBounds=True)
        self.plotItem.hideButtons()
        self.plotItem.layout.setContentsMargins(0, _TOP_PX, _RIGHT_PX, 0)
        axes["left"].setWidth(_LEFT_PX)
        axes["left"].setGrid(255)
        axes["bottom"].setHeight(_BOTTOM_PX)
        for axis in axes.values():
            axis.setStyle(tickAlpha=255, tickTextOffset=3, tickLength=3)
            axis.setZValue(-1000)  # the grid lies behind the data
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(180, 70)
        # When anything moves, nearly everything does, so finding out what is a waste of time.
        self.setViewportUpdateMode(self.ViewportUpdateMode.FullViewportUpdate)
        self.viewport().setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)

    @override
    def sizeHint(self) -> QSize:
        return QSize(420, 200)

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

    def add_points(self, z: int = 0) -> pg.ScatterPlotItem:
        """Add round points, the same size at any zoom."""
        return self._add(RoundPoints(_POINT_PX), z)

    def add_image(self) -> pg.ImageItem:
        """Add an image of bytes in the heatmap's colours, with a colour scale beside the axes."""
        image = pg.ImageItem(levels=(0, 255), colorMap=_COLOURS)
        self._bar = pg.ColorBarItem(
            values=(0.0, 1.0),
            width=_BAR_PX,
            colorMap=_COLOURS,
            interactive=False,
            colorMapMenu=False,
        )
        self._bar.axis.setWidth(_BAR_AXIS_PX)
        self._bar.axis.setStyle(tickAlpha=255, tickTextOffset=4, tickLength=0)
        policy = self._bar.sizePolicy()
        policy.setRetainSizeWhenHidden(True)
        self._bar.setSizePolicy(policy)
        self.plotItem.layout.addItem(self._bar, 2, 5)
        self.plotItem.layout.setColumnFixedWidth(4, _RIGHT_PX)
        self.plotItem.layout.setContentsMargins(0, _TOP_PX, 0, 0)
        return self._add(image, 0)

    def _add(self, item: pg.GraphicsObject, z: int) -> pg.GraphicsObject:
        item.setZValue(z)
        self._view.addItem(item, ignoreBounds=True)
        self._items.append(item)
        return item

    # --- what the plot sets ---

    def set_theme(self, theme: Theme) -> None:
        """Use the colours of another theme."""
        self._theme = theme
        self.setBackground(theme.card)
        left, bottom = (self.plotItem.getAxis(side) for side in ("left", "bottom"))
        left.setPen(None)
        left.setTickPen(theme.grid)
        bottom.setPen(theme.border)
        bottom.setTickPen(theme.border)
        axes = [left, bottom]
        if self._bar is not None:
            axes.append(self._bar.axis)
            for side in ("left", "right", "top", "bottom"):
                self._bar.getAxis(side).setPen(None)
        for axis in axes:
            axis.setTextPen(theme.muted)
            axis.setTickFont(self.font())
        self._marks.set_theme(theme)
        self._cursor.setPen(theme.muted, width=1, style=Qt.PenStyle.DotLine)

    def set_scale(self, top: float) -> None:
        """Set the value that the last of the heatmap's colours stands for."""
        ticks = value_ticks(0.0, top, max(3, int(self.area().height() / 36)))
        if self._bar is not None and ticks != self._shown_ticks.get("bar"):
            self._shown_ticks["bar"] = ticks
            self._bar.setLevels((0.0, top))
            self._bar.axis.setTicks([ticks])

    def show_data(self, *, has_data: bool) -> None:
        """Bring ranges, ticks and marks up to date; show the items if there are data."""
        self.show_ranges()
        for item in self._items:
            item.setVisible(has_data)
        if self._bar is not None:
            self._bar.setVisible(has_data)
        marks = self.scope.marks() if has_data else []
        self._marks.show(marks, self._origin_s, self._view.viewRange(), self.area(), self.font())
        self._show_ticks("left", self._value_ticks() if has_data else [])
        self._show_ticks("bottom", self._time_ticks() if self.scope.run else [])

    def show_ranges(self) -> None:
        """Bring the view to the scope's range and to `y_range`."""
        low_s, high_s = self.scope.view()
        # While a run is followed, times in the view count from now: then the view and, mostly, its
        # axes stand still, and only the data move.
        self._origin_s = self.scope.now_s if self.scope.following else 0.0
        # Rounded, so that the same range does not differ a little each time.
        times = [round(t_s - self._origin_s, 6) for t_s in (low_s, high_s)]
        wanted = [times, list(self.y_range)]
        if self._view.viewRange() != wanted:
            self._view.setRange(xRange=times, yRange=wanted[1], padding=0)
        for item in self._items:
            item.setX(-self._origin_s)

    def show_cursor(self, *, has_data: bool) -> None:
        """Move the cursor line to where the mouse is, in whichever chart that may be."""
        at_s = self.scope.cursor_s()
        self._cursor.setVisible(has_data and at_s is not None)
        if at_s is not None:
            self._cursor.setValue(at_s - self._origin_s)

    # --- where things are ---

    def area(self) -> QRectF:
        """The area between the axes, in pixels."""
        self.plotItem.layout.activate()
        area = QRectF(self._view.sceneBoundingRect())
        return area if area.width() >= 20 and area.height() >= 20 else QRectF(_LEFT_PX, 0, 20, 20)

    def point(self, t_s: float, value: float) -> QPointF:
        """Where a time and a value are, in pixels."""
        area, (low_s, high_s), (low, high) = self.area(), self.scope.view(), self.y_range
        return QPointF(
            area.left() + (t_s - low_s) / (high_s - low_s) * area.width(),
            area.bottom() - (value - low) / (high - low) * area.height(),
        )

    def value_at(self, y: float) -> float:
        """The value at a height in pixels."""
        area, (low, high) = self.area(), self.y_range
        return low + (area.bottom() - y) / area.height() * (high - low)

    def px_s(self) -> float:
        """How many seconds one pixel is wide."""
        low_s, high_s = self.scope.view()
        return (high_s - low_s) / self.area().width()

    def mark_at_cursor(self) -> Event | None:
        """The mark under the mouse, if there is one."""
        at_s = self.scope.cursor_s()
        if at_s is None:
            return None
        reach_s = _MARK_REACH_PX * self.px_s()
        near = [mark for mark in self.scope.marks() if abs(mark.t_s - at_s) <= reach_s]
        return min(near, key=lambda mark: abs(mark.t_s - at_s), default=None)

    # --- ticks ---

    def _value_ticks(self) -> Ticks:
        most = max(2, int(self.area().height() / (QFontMetricsF(self.font()).height() * 1.9)))
        return value_ticks(*self.y_range, most, whole=self._whole_numbers)

    def _time_ticks(self) -> Ticks:
        room = QFontMetricsF(self.font()).horizontalAdvance("-10:00:00") * 1.35
        most = max(2, int(self.area().width() / room))
        low_s, high_s = self.scope.view()
        count = self.scope.step_count
        if count is not None:
            ticks = step_ticks(count, low_s, high_s, most)
        elif self.scope.counts_back:
            ticks = ago_ticks(low_s, high_s, self.scope.now_s, most, self.scope.extent()[0])
        else:
            ticks = clock_ticks(low_s, high_s, most)
        return [(round(t_s - self._origin_s, 6), label) for t_s, label in ticks]

    def _show_ticks(self, side: str, ticks: Ticks) -> None:
        if ticks != self._shown_ticks.get(side):
            self._shown_ticks[side] = ticks
            self.plotItem.getAxis(side).setTicks([ticks])

    # --- painting ---

    def take_paint_s(self) -> float:
        """The seconds spent painting since the last call."""
        painted_s, self._painted_s = self._painted_s, 0.0
        return painted_s

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint, and measure how long it took."""
        began_s = time.perf_counter()
        super().paintEvent(event)
        if self._shows_focus:
            with QPainter(self.viewport()) as painter:
                painter.setPen(QColor(self._theme.accent))
                painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)
        self._painted_s += time.perf_counter() - began_s

    @override
    def focusInEvent(self, event: QFocusEvent) -> None:
        """Show a focus ring to keyboard users; after a click it is clear where the focus went."""
        super().focusInEvent(event)
        self._shows_focus = event.reason() in (
            *(Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason),
            Qt.FocusReason.ShortcutFocusReason,
        )
        self.viewport().update()

    @override
    def focusOutEvent(self, event: QFocusEvent) -> None:
        super().focusOutEvent(event)
        self._shows_focus = False
        self.viewport().update()

    # --- mouse and keys ---

    def reset(self) -> None:
        """Follow the run again, and let the y range follow the data."""
        self.y_locked = False
        self.scope.follow()
        self.touched.emit()

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
        share = (where.x() - area.left()) / area.width()
        is_inside = 0.0 <= share <= 1.0
        self.hover = where if is_inside else None
        self.scope.set_cursor(share if is_inside else None)

    @override
    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Follow the run again."""
        self.reset()

    @override
    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.hover = None
        self.scope.set_cursor(None)

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Move with the arrows, zoom with plus and minus, follow again with Escape or Home."""
        match event.key():
            case Qt.Key.Key_Left:
                self.scope.pan(-_PAN_PER_NOTCH)
            case Qt.Key.Key_Right:
                self.scope.pan(_PAN_PER_NOTCH)
            case Qt.Key.Key_Plus | Qt.Key.Key_Equal:
                self.scope.zoom(0.8, 0.5)
            case Qt.Key.Key_Minus:
                self.scope.zoom(1.25, 0.5)
            case Qt.Key.Key_Escape | Qt.Key.Key_Home:
                self.reset()
            case _:
                event.ignore()

    def _on_moved(self) -> None:
        """Take over the range to which the user dragged or zoomed the view."""
        (low_s, high_s), (low, high) = self._view.viewRange()
        low_s, high_s = low_s + self._origin_s, high_s + self._origin_s
        if abs(low_s - self.scope.view()[0]) > 1e-5:
            self.scope.zoom_to(low_s, high_s)
        is_extended = high - low > 1e-9 * max(abs(low), abs(high), 1e-6)
        if (low, high) != self.y_range and is_extended:
            self.y_range = (low, high)
            self.y_locked = True
            self.touched.emit()
