"""The drawing surface of a plot: axes, grid, marks, cursor, legend, and the mouse.

It paints with QPainter and no graphics scene: a whole plot costs a millisecond, and start-up does
not pay for a plotting library. What lies between the axes is painted by a `Content`.
"""

import time
from typing import Protocol

import numpy as np
from PySide6.QtCore import QEvent, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import (
    QColor,
    QFocusEvent,
    QFontMetricsF,
    QKeyEvent,
    QMouseEvent,
    QPainter,
    QPaintEvent,
    QPen,
    QWheelEvent,
)
from PySide6.QtWidgets import QSizePolicy, QWidget

from raydash.core.events import Event
from raydash.ui import words
from raydash.ui.plots.axes import Axes
from raydash.ui.plots.frame import Frame, LegendItem
from raydash.ui.plots.scope import PlotScope
from raydash.ui.theme import LIGHT, Theme

_TOP, _BOTTOM, _RIGHT = 25.0, 20.0, 12.0
_MARK_REACH_PX = 4.0


class Content(Protocol):
    """What a plot puts between the axes."""

    def paint(self, painter: QPainter, frame: Frame) -> None:
        """Paint the data; the painter is clipped to the area."""

    def paint_beside(self, painter: QPainter, frame: Frame) -> None:
        """Paint what belongs into the right margin."""

    def legend(self) -> list[LegendItem]:
        """What the colours mean."""


class PlotCanvas(QWidget):
    """The drawing surface.

    Attributes:
        y_range: Lowest and highest value, set by the plot before a drawing.
        y_locked: The user chose the y range; the plot must not change it.
        hover: Where the mouse is on this canvas, or None.
        empty_words: Shown in the middle instead of data; empty: there are data.
        mark_labels: Whether marks have labels here.

    Signals:
        touched: The user moved something of this canvas only (its y range).
    """

    touched = Signal()

    def __init__(self, content: Content, scope: PlotScope, *, unit: str) -> None:
        super().__init__()
        self._content = content
        self._scope = scope
        self._axes = Axes(scope, unit)
        self._theme = LIGHT
        self._left, self._right = 46.0, _RIGHT
        self._drag: QPointF | None = None
        self._painted_s = 0.0
        self._shows_focus = False
        self.y_range = (0.0, 1.0)
        self.y_locked = False
        self.hover: QPointF | None = None
        self.empty_words = ""
        self.mark_labels = True
        self.setMouseTracking(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setAttribute(Qt.WidgetAttribute.WA_OpaquePaintEvent)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumSize(180, 90)

    def set_theme(self, theme: Theme) -> None:
        """Wear other colours."""
        self._theme = theme
        self._axes.theme = theme
        self.update()

    def set_right_margin(self, width: float) -> None:
        """Keep room for `Content.paint_beside`."""
        self._right = width

    def set_whole_numbers(self, whole: bool) -> None:
        """Ticks of the value axis are at whole numbers only (worker numbers)."""
        self._axes.whole_numbers = whole

    def frame(self) -> Frame:
        """Where things are now."""
        area = QRectF(
            self._left,
            _TOP,
            max(20.0, self.width() - self._left - self._right),
            max(20.0, self.height() - _TOP - _BOTTOM),
        )
        return Frame(area, self._scope.view(), self.y_range)

    def take_paint_s(self) -> float:
        """Seconds spent painting since the last call."""
        painted_s, self._painted_s = self._painted_s, 0.0
        return painted_s

    def sizeHint(self) -> QSize:
        """A plot that can be read."""
        return QSize(420, 220)

    def mark_at_cursor(self) -> Event | None:
        """The mark under the mouse."""
        at_s = self._scope.cursor_s()
        if at_s is None:
            return None
        frame = self.frame()
        reach_s = _MARK_REACH_PX * (frame.x[1] - frame.x[0]) / frame.area.width()
        marks = [mark for mark in self._scope.marks() if abs(mark.t_s - at_s) <= reach_s]
        return min(marks, key=lambda mark: abs(mark.t_s - at_s), default=None)

    # --- painting ---

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint everything; a millisecond or so."""
        began_s = time.perf_counter()
        # Ended even if something raises: Qt crashes when a widget's painter outlives its event.
        with QPainter(self) as painter:
            self._paint(painter, event)
        self._painted_s += time.perf_counter() - began_s

    def _paint(self, painter: QPainter, event: QPaintEvent) -> None:
        frame = self.frame()
        if self.empty_words:
            painter.fillRect(event.rect(), QColor(self._theme.card))
            self._paint_empty(painter, frame)
        else:
            painter.drawPixmap(0, 0, self._axes.picture(self, frame, self._content.legend()))
            painter.save()
            painter.setClipRect(frame.area)
            self._content.paint(painter, frame)
            painter.restore()
            self._content.paint_beside(painter, frame)
            self._paint_marks(painter, frame)
            self._paint_cursor(painter, frame)
        if self._shows_focus:
            painter.setPen(QColor(self._theme.accent))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 3, 3)

    def _paint_empty(self, painter: QPainter, frame: Frame) -> None:
        painter.setPen(QColor(self._theme.border))
        painter.drawLine(frame.area.bottomLeft(), frame.area.bottomRight())
        painter.setPen(QColor(self._theme.muted))
        flags = Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap
        painter.drawText(frame.area, flags, self.empty_words)

    def _paint_marks(self, painter: QPainter, frame: Frame) -> None:
        low_s, high_s = frame.x
        marks = [mark for mark in self._scope.marks() if low_s <= mark.t_s <= high_s]
        if not marks:
            return
        metrics = QFontMetricsF(self.font())
        area, line_px = frame.area, metrics.height()
        lines = frame.px(np.array([mark.t_s for mark in marks]))
        row_ends = [area.left(), area.left()]
        last_x = -10.0
        for mark, x in zip(marks, lines.tolist(), strict=True):
            if x - last_x < 2.0:
                continue
            last_x = x
            colour = QColor(self._theme.bad if _is_bad(mark) else self._theme.warn)
            painter.setPen(QPen(colour, 1, Qt.PenStyle.DashLine))
            painter.drawLine(
                QPointF(round(x) + 0.5, area.top()), QPointF(round(x) + 0.5, area.bottom())
            )
            if not self.mark_labels:
                continue
            text = words.mark_label(mark)
            width = metrics.horizontalAdvance(text) + 6
            left = x + 4 if x + 4 + width <= area.right() else x - 4 - width
            row = next((row for row, end in enumerate(row_ends) if left >= end), None)
            if row is None:
                continue
            row_ends[row] = max(left + width, x + 4)
            where = QRectF(left, area.top() + 1 + row * line_px, width, line_px)
            veil = QColor(self._theme.card)
            veil.setAlpha(190)
            painter.fillRect(where, veil)
            painter.setPen(colour)
            painter.drawText(where, Qt.AlignmentFlag.AlignCenter, text)

    def _paint_cursor(self, painter: QPainter, frame: Frame) -> None:
        at_s = self._scope.cursor_s()
        if at_s is None:
            return
        x = round(float(frame.px(np.array([at_s]))[0])) + 0.5
        painter.setPen(QPen(QColor(self._theme.muted), 1, Qt.PenStyle.DotLine))
        painter.drawLine(QPointF(x, frame.area.top()), QPointF(x, frame.area.bottom()))

    # --- mouse and keys ---

    def focusInEvent(self, event: QFocusEvent) -> None:
        """A ring for those who came by keyboard; a click shows by itself where it went."""
        super().focusInEvent(event)
        self._shows_focus = event.reason() in (
            *(Qt.FocusReason.TabFocusReason, Qt.FocusReason.BacktabFocusReason),
            Qt.FocusReason.ShortcutFocusReason,
        )
        self.update()

    def focusOutEvent(self, event: QFocusEvent) -> None:
        """No ring."""
        super().focusOutEvent(event)
        self._shows_focus = False
        self.update()

    def wheelEvent(self, event: QWheelEvent) -> None:
        """Zoom in time; over the value axis or with Ctrl in value; with Shift move in time."""
        frame = self.frame()
        turn = event.angleDelta().y() or event.angleDelta().x()
        where = event.position()
        factor = 0.85 ** (turn / 120)
        modifiers = event.modifiers()
        if modifiers & Qt.KeyboardModifier.ShiftModifier or event.angleDelta().y() == 0:
            self._scope.pan(-0.1 * turn / 120)
        elif modifiers & Qt.KeyboardModifier.ControlModifier or where.x() < frame.area.left():
            fixed = frame.value_at(where.y())
            self._set_y(
                fixed - (fixed - frame.y[0]) * factor, fixed + (frame.y[1] - fixed) * factor
            )
        else:
            share = (where.x() - frame.area.left()) / frame.area.width()
            self._scope.zoom(factor, min(max(share, 0.0), 1.0))
        event.accept()

    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Begin to drag."""
        if event.button() is Qt.MouseButton.LeftButton:
            self._drag = event.position()
            self.setCursor(Qt.CursorShape.ClosedHandCursor)

    def mouseMoveEvent(self, event: QMouseEvent) -> None:
        """Drag, or read the values under the mouse."""
        frame = self.frame()
        where = event.position()
        if self._drag is not None:
            moved = where - self._drag
            if moved.manhattanLength() >= 3:
                self._drag = where
                if abs(moved.x()) > 0:
                    self._scope.pan(-moved.x() / frame.area.width())
                if self.y_locked:
                    shift = moved.y() / frame.area.height() * (frame.y[1] - frame.y[0])
                    self._set_y(frame.y[0] + shift, frame.y[1] + shift)
        share = (where.x() - frame.area.left()) / frame.area.width()
        inside = 0.0 <= share <= 1.0
        self.hover = where if inside else None
        self._scope.set_cursor(share if inside else None)

    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """End to drag."""
        self._drag = None
        self.unsetCursor()

    def mouseDoubleClickEvent(self, event: QMouseEvent) -> None:
        """Back to now, and to a y range that follows the data."""
        self.reset()

    def leaveEvent(self, event: QEvent) -> None:
        """No values are read."""
        self.hover = None
        self._scope.set_cursor(None)

    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Arrows move, plus and minus zoom, Escape and Home go back to now."""
        match event.key():
            case Qt.Key.Key_Left:
                self._scope.pan(-0.1)
            case Qt.Key.Key_Right:
                self._scope.pan(0.1)
            case Qt.Key.Key_Plus | Qt.Key.Key_Equal:
                self._scope.zoom(0.8, 0.5)
            case Qt.Key.Key_Minus:
                self._scope.zoom(1.25, 0.5)
            case Qt.Key.Key_Escape | Qt.Key.Key_Home:
                self.reset()
            case _:
                super().keyPressEvent(event)

    def reset(self) -> None:
        """Follow again, in time and in value."""
        self.y_locked = False
        self._scope.follow()
        self.touched.emit()

    def _set_y(self, low: float, high: float) -> None:
        if high - low > 1e-9 * max(abs(low), abs(high), 1e-6):
            self.y_range = (low, high)
            self.y_locked = True
            self.touched.emit()


def _is_bad(mark: Event) -> bool:
    """A mark of something that went wrong; a restart follows one that did."""
    return mark.kind.is_bad or mark.kind.value == "worker_restarted"
