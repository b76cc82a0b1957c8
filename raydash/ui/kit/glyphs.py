"""Glyphs of activities and run states, painted in code, and the application's own icon.

Each activity has its own shape, so that colour is never the only sign. They are painted straight
into the cells of tables, many at a time.
"""

import math
from collections.abc import Callable
from functools import lru_cache

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

from raydash.core.states import Activity, RunState
from raydash.ui.kit.theme import Theme

_SIZES = (16, 20, 24, 32, 48)


@lru_cache(maxsize=64)
def activity_icon(activity: Activity, theme: Theme) -> QIcon:
    """The glyph of an activity as an icon."""
    made = QIcon()
    for size in _SIZES:
        pixmap = _blank(size)
        painter = QPainter(pixmap)
        draw_activity(painter, QRectF(0, 0, size, size), activity, theme)
        painter.end()
        made.addPixmap(pixmap)
        made.addPixmap(pixmap, QIcon.Mode.Selected)
    return made


@lru_cache(maxsize=64)
def run_state_icon(state: RunState | None, theme: Theme) -> QIcon:
    """The glyph of a run's state; None stands for a recording that can't be read."""
    colour = theme.run_state(state) if state else QColor(theme.warn)
    made = QIcon()
    for size in _SIZES:
        pixmap = _pixmap(size, colour, _STATE_GLYPHS[state])
        made.addPixmap(pixmap)
        made.addPixmap(pixmap, QIcon.Mode.Selected)
    return made


def draw_activity(painter: QPainter, rect: QRectF, activity: Activity, theme: Theme) -> None:
    """Paint the glyph of an activity in the middle of `rect`."""
    painter.save()
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    size = min(rect.width(), rect.height())
    painter.translate(rect.center() - QPointF(size / 2, size / 2))
    painter.scale(size / 16, size / 16)
    _GLYPHS[activity](painter, theme.activity(activity))
    painter.restore()


def app_icon() -> QIcon:
    """The application's own icon: a rising curve on a dark ground."""
    made = QIcon()
    for size in (16, 24, 32, 48, 64, 128, 256):
        pixmap = _blank(size)
        painter = QPainter(pixmap)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.scale(size / 16, size / 16)
        painter.setPen(Qt.PenStyle.NoPen)
        painter.setBrush(QColor("#12263a"))
        painter.drawRoundedRect(QRectF(0.5, 0.5, 15, 15), 3.5, 3.5)
        _stroke(painter, QColor("#4c9fee"), [(3, 11.5), (6, 10.5), (8, 6.5), (10, 7.5), (13, 3.5)])
        painter.setPen(QPen(QColor("#3fb98c"), 1.4))
        painter.drawLine(QPointF(3, 13.2), QPointF(13, 13.2))
        painter.end()
        made.addPixmap(pixmap)
    return made


def _blank(size: int) -> QPixmap:
    pixmap = QPixmap(QSize(size, size))
    pixmap.fill(Qt.GlobalColor.transparent)
    return pixmap


def _pixmap(size: int, colour: QColor, paint: Callable[[QPainter, QColor], None]) -> QPixmap:
    pixmap = _blank(size)
    painter = QPainter(pixmap)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.scale(size / 16, size / 16)
    paint(painter, colour)
    painter.end()
    return pixmap


# --- shapes, on a square of 16 by 16 -----------------------------------------------------------

Polyline = list[tuple[float, float]]


def _polygon(points: Polyline) -> QPolygonF:
    return QPolygonF([QPointF(x, y) for x, y in points])


def _fill(painter: QPainter, colour: QColor, points: Polyline) -> None:
    painter.setPen(QPen(colour, 1, j=Qt.PenJoinStyle.RoundJoin))
    painter.setBrush(colour)
    painter.drawPolygon(_polygon(points))


def _stroke(painter: QPainter, colour: QColor, *lines: Polyline, width: float = 1.6) -> None:
    pen = QPen(colour, width, c=Qt.PenCapStyle.RoundCap, j=Qt.PenJoinStyle.RoundJoin)
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    for line in lines:
        painter.drawPolyline(_polygon(line))


def _box(painter: QPainter, colour: QColor, *rects: tuple[float, float, float, float]) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    for rect in rects:
        painter.drawRoundedRect(QRectF(*rect), 0.8, 0.8)


def _arc(
    painter: QPainter, colour: QColor, start_deg: float, sweep_deg: float, *, radius: float = 5.0
) -> None:
    """Paint a part of a circle around the middle, with an arrow head at its end."""
    pen = QPen(colour, 1.6, c=Qt.PenCapStyle.FlatCap)
    painter.setPen(pen)
    painter.setBrush(Qt.BrushStyle.NoBrush)
    around = QRectF(8 - radius, 8 - radius, 2 * radius, 2 * radius)
    painter.drawArc(around, round(start_deg * 16), round(sweep_deg * 16))
    end = math.radians(start_deg + sweep_deg)
    tip = QPointF(8 + radius * math.cos(end), 8 - radius * math.sin(end))
    turn = math.copysign(1.0, sweep_deg)
    along = QPointF(-math.sin(end) * turn, -math.cos(end) * turn)
    out = QPointF(math.cos(end), -math.sin(end))
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    painter.drawPolygon(QPolygonF([tip + along * 3.4, tip + out * 2.6, tip - out * 2.6]))


def _pause(painter: QPainter, colour: QColor) -> None:
    _box(painter, colour, (4, 3, 2.8, 10), (9.2, 3, 2.8, 10))


def _drain(painter: QPainter, colour: QColor) -> None:
    _fill(painter, colour, [(8, 11), (4.6, 6.6), (11.4, 6.6)])
    _stroke(painter, colour, [(8, 2.6), (8, 7)], width=2.0)
    _stroke(painter, colour, [(3, 13.4), (13, 13.4)])


def _restart(painter: QPainter, colour: QColor) -> None:
    _arc(painter, colour, 60, -280)


def _kill(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(4, 4), (12, 12)], [(12, 4), (4, 12)], width=2.0)


def _warning(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(8, 2.6), (14, 13.2), (2, 13.2), (8, 2.6)], width=1.4)
    _stroke(painter, colour, [(8, 6.6), (8, 9.4)], width=1.6)
    _box(painter, colour, (7.2, 10.7, 1.6, 1.6))


def _dot(painter: QPainter, colour: QColor) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    painter.drawEllipse(QPointF(8, 8), 4, 4)


def _ring(painter: QPainter, colour: QColor) -> None:
    painter.setPen(QPen(colour, 1.6))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawEllipse(QPointF(8, 8), 4, 4)


def _half_dot(painter: QPainter, colour: QColor) -> None:
    _ring(painter, colour)
    half = QPainterPath(QPointF(8, 8))
    half.arcTo(QRectF(4, 4, 8, 8), 180, 180)
    painter.fillPath(half, colour)


def _dots(painter: QPainter, colour: QColor) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    for x in (3.5, 8.0, 12.5):
        painter.drawEllipse(QPointF(x, 8), 1.5, 1.5)


def _hollow_pause(painter: QPainter, colour: QColor) -> None:
    painter.setPen(QPen(colour, 1.2))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRect(QRectF(4.5, 4, 2.4, 8))
    painter.drawRect(QRectF(9.1, 4, 2.4, 8))


def _hollow_square(painter: QPainter, colour: QColor) -> None:
    painter.setPen(QPen(colour, 1.5))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawRect(QRectF(4.5, 4.5, 7, 7))


def _square(painter: QPainter, colour: QColor) -> None:
    _box(painter, colour, (4, 4, 8, 8))


def _triangle(painter: QPainter, colour: QColor) -> None:
    _fill(painter, colour, [(8, 3.8), (12.6, 12), (3.4, 12)])


def _cut_off(painter: QPainter, colour: QColor) -> None:
    _ring(painter, colour)
    _stroke(painter, colour, [(4, 12), (12, 4)])


_GLYPHS: dict[Activity, Callable[[QPainter, QColor], None]] = {
    Activity.STARTING: _dots,
    Activity.RESETTING: _half_dot,
    Activity.STEPPING: _dot,
    Activity.PAUSING: _hollow_pause,
    Activity.PAUSED: _pause,
    Activity.DRAINING: _drain,
    Activity.STOPPING: _hollow_square,
    Activity.STOPPED: _square,
    Activity.RESTARTING: _restart,
    Activity.FAILED: _kill,
    Activity.STALLED: _triangle,
    Activity.UNREACHABLE: _cut_off,
    Activity.IDLE: _ring,
}


def _tick(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(3.6, 8.6), (6.8, 11.8), (12.6, 4.8)], width=2.0)


_STATE_GLYPHS: dict[RunState | None, Callable[[QPainter, QColor], None]] = {
    RunState.STARTING: _dots,
    RunState.RUNNING: _dot,
    RunState.PAUSED: _pause,
    RunState.STOPPING: _hollow_square,
    RunState.FINISHED: _tick,
    RunState.STOPPED: _square,
    RunState.FAILED: _kill,
    RunState.INTERRUPTED: _cut_off,
    None: _warning,
}
