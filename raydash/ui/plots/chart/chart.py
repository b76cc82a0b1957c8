"""The chart of a plot over time: a base chart with event marks, a heatmap and a shared scope."""

import pyqtgraph as pg
from pyqtgraph.GraphicsScene.mouseEvents import MouseDragEvent
from PySide6.QtCore import QEvent, QRectF, Qt
from PySide6.QtGui import QColor, QFocusEvent, QMouseEvent, QPainter, QPaintEvent
from PySide6.QtWidgets import QGraphicsSceneWheelEvent
from typing_extensions import override

from raydash.core.events import Event
from raydash.core.words.ticks import Ticks, ago_ticks, clock_ticks, value_ticks
from raydash.ui.kit.theme import Theme
from raydash.ui.plots.chart.base_chart import NOTCH, TOP_PX, ZOOM_PER_NOTCH, BaseChart, ChartView
from raydash.ui.plots.chart.items import RoundPoints
from raydash.ui.plots.chart.marks import Marks
from raydash.ui.plots.shown.placing import step_ticks
from raydash.ui.plots.shown.scope import PlotScope

_RIGHT_PX = 12
_BAR_PX, _BAR_AXIS_PX = 10, 42
_PAN_PER_NOTCH = 0.1
_MARK_REACH_PX = 4.0
_POINT_PX = 8
_COLOURS = "viridis"  # perceptually even, and safe for the colour-blind


class _View(ChartView):
    """The area between the axes. The scope decides about the time range, the chart about values."""

    def __init__(self, chart: "Chart") -> None:
        super().__init__()
        self._chart = chart

    @override
    def wheelEvent(self, event: QGraphicsSceneWheelEvent, axis: int | None = None) -> None:
        """Zoom in time; zoom in value over the value axis or with Ctrl; move in time with Shift."""
        self._catch_up()
        notches, scope = event.delta() / NOTCH, self._chart.scope
        is_sideways = event.orientation() == Qt.Orientation.Horizontal
        if is_sideways or event.modifiers() & Qt.KeyboardModifier.ShiftModifier:
            scope.pan(-_PAN_PER_NOTCH * notches)
        elif axis == 1 or event.modifiers() & Qt.KeyboardModifier.ControlModifier:
            super().wheelEvent(event, 1)
        else:
            share = self.mapFromScene(event.scenePos()).x() / self.width()
            scope.zoom(ZOOM_PER_NOTCH**notches, min(max(share, 0.0), 1.0))
        event.accept()

    @override
    def mouseDragEvent(self, event: MouseDragEvent, axis: int | None = None) -> None:
        """Move in time; move in value only over the value axis, or once that axis is locked."""
        self._catch_up()
        is_free = axis is not None or self._chart.y_locked
        super().mouseDragEvent(event, axis if is_free else 0)

    def _catch_up(self) -> None:
        """Bring the view up to date before acting on it.

        The run has gone on since the last drawing.
        """
        self._chart.show_ranges()
        self.updateMatrix()


class Chart(BaseChart):
    """Draws one plot over time.

    Attributes:
        scope: The range and cursor that all plots share.
        y_range: Lowest and highest value, set by the plot before a drawing.
        y_locked: The user chose the y range; the plot must not change it.
    """

    def __init__(self, scope: PlotScope, *, labelled: bool, whole_numbers: bool) -> None:
        super().__init__(_View(self), right_px=_RIGHT_PX)
        self.scope = scope
        self.y_range = (0.0, 1.0)
        self.y_locked = False
        self._whole_numbers = whole_numbers
        self._bar: pg.ColorBarItem | None = None
        self._shows_focus = False
        self._marks = Marks(self._view, labelled=labelled)

    # --- items, made once ---

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
        self.plotItem.layout.setContentsMargins(0, TOP_PX, 0, 0)
        return self._add(image, 0)

    # --- what the plot sets ---

    @override
    def set_theme(self, theme: Theme) -> None:
        super().set_theme(theme)
        if self._bar is not None:
            for side in ("left", "right", "top", "bottom"):
                self._bar.getAxis(side).setPen(None)
            self._style_texts(self._bar.axis)
        self._marks.set_theme(theme)

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
        self._marks.show(marks, self._origin, self._view.viewRange(), self.area(), self.font())
        self._show_ticks("left", self._value_ticks() if has_data else [])
        self._show_ticks("bottom", self._time_ticks() if self.scope.run else [])

    def show_ranges(self) -> None:
        """Bring the view to the scope's range and to `y_range`."""
        # While a run is followed, times in the view count from now: then the view and, mostly, its
        # axes stand still, and only the data move.
        self._origin = self.scope.now_s if self.scope.following else 0.0
        # Rounded, so that the same range does not differ a little each time.
        times = [round(t_s - self._origin, 6) for t_s in self.scope.view()]
        self._show_view(times, list(self.y_range))
        for item in self._items:
            item.setX(-self._origin)

    def show_cursor(self, *, has_data: bool) -> None:
        """Move the cursor line to where the mouse is, in whichever chart that may be."""
        self._place_cursor(self.scope.cursor_s() if has_data else None)

    # --- where things are ---

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
        return value_ticks(*self.y_range, self._most_value_ticks(), whole=self._whole_numbers)

    def _time_ticks(self) -> Ticks:
        most = self._most_x_ticks("-10:00:00", spread=1.35)
        low_s, high_s = self.scope.view()
        count = self.scope.step_count
        if count is not None:
            ticks = step_ticks(count, low_s, high_s, most)
        elif self.scope.counts_back:
            ticks = ago_ticks(low_s, high_s, self.scope.now_s, most, self.scope.extent()[0])
        else:
            ticks = clock_ticks(low_s, high_s, most)
        return [(round(t_s - self._origin, 6), label) for t_s, label in ticks]

    # --- painting ---

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the chart, and the focus ring over it."""
        super().paintEvent(event)
        if self._shows_focus:
            with QPainter(self.viewport()) as painter:
                painter.setPen(QColor(self._theme.accent))
                painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)

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

    @override
    def reset(self) -> None:
        """Follow the run again, and let the y range follow the data."""
        self.y_locked = False
        self.scope.follow()
        self.touched.emit()

    @override
    def step(self, direction: int) -> None:
        """Move in time."""
        self.scope.pan(direction * _PAN_PER_NOTCH)

    @override
    def zoom(self, factor: float) -> None:
        """Zoom in time."""
        self.scope.zoom(factor, 0.5)

    @override
    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag, or read the values under the mouse in all plots."""
        super().mouseMoveEvent(event)
        area, at = self.area(), self.hover
        self.scope.set_cursor((at.x() - area.left()) / area.width() if at is not None else None)

    @override
    def leaveEvent(self, event: QEvent) -> None:
        super().leaveEvent(event)
        self.scope.set_cursor(None)

    @override
    def _on_moved(self) -> None:
        (low_s, high_s), (low, high) = self._view.viewRange()
        low_s, high_s = low_s + self._origin, high_s + self._origin
        if abs(low_s - self.scope.view()[0]) > 1e-5:
            self.scope.zoom_to(low_s, high_s)
        is_extended = high - low > 1e-9 * max(abs(low), abs(high), 1e-6)
        if (low, high) != self.y_range and is_extended:
            self.y_range = (low, high)
            self.y_locked = True
            self.touched.emit()
