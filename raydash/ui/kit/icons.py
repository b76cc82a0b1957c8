"""Icons and activity glyphs, painted in code: one shape per meaning, in the theme's colours.

Each activity has its own shape, so that colour is never the only sign.
"""

import math
from collections.abc import Callable
from enum import StrEnum
from functools import lru_cache

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPainterPath, QPen, QPixmap, QPolygonF

from raydash.core.states import Activity, RunState
from raydash.ui.kit.theme import Theme

_SIZES = (16, 20, 24, 32, 48)


class IconName(StrEnum):
    """The names of all icons."""

    START = "start"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    DRAIN = "drain"
    RESTART = "restart"
    KILL = "kill"
    ADD = "add"
    COPY = "copy"
    OPEN = "open"
    SAVE = "save"
    SUN = "sun"
    MOON = "moon"
    SYSTEM = "system"
    FREEZE = "freeze"
    RELAUNCH = "relaunch"
    FOLLOW = "follow"
    LIBRARY = "library"
    COMPARE = "compare"
    REPORT = "report"
    IMPORT = "import"
    PIN = "pin"
    DELETE = "delete"
    CLOSE = "close"
    WARNING = "warning"
    SWAP = "swap"


@lru_cache(maxsize=256)
def icon(name: IconName, theme: Theme, colour: str = "") -> QIcon:
    """An icon for buttons and menus; `colour` (`#rrggbb`) replaces the theme's text colour."""
    usual, disabled = QColor(colour or theme.text), QColor(theme.disabled)
    made = QIcon()
    for size in _SIZES:
        made.addPixmap(_pixmap(size, usual, _PAINTERS[name]))
        made.addPixmap(_pixmap(size, disabled, _PAINTERS[name]), QIcon.Mode.Disabled)
    return made


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


def _start(painter: QPainter, colour: QColor) -> None:
    _fill(painter, colour, [(4.5, 3), (13, 8), (4.5, 13)])


def _pause(painter: QPainter, colour: QColor) -> None:
    _box(painter, colour, (4, 3, 2.8, 10), (9.2, 3, 2.8, 10))


def _resume(painter: QPainter, colour: QColor) -> None:
    _box(painter, colour, (2.5, 3, 2.2, 10))
    _fill(painter, colour, [(7, 3.2), (14, 8), (7, 12.8)])


def _stop(painter: QPainter, colour: QColor) -> None:
    _box(painter, colour, (3.5, 3.5, 9, 9))


def _drain(painter: QPainter, colour: QColor) -> None:
    _fill(painter, colour, [(8, 11), (4.6, 6.6), (11.4, 6.6)])
    _stroke(painter, colour, [(8, 2.6), (8, 7)], width=2.0)
    _stroke(painter, colour, [(3, 13.4), (13, 13.4)])


def _restart(painter: QPainter, colour: QColor) -> None:
    _arc(painter, colour, 60, -280)


def _kill(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(4, 4), (12, 12)], [(12, 4), (4, 12)], width=2.0)


def _add(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(8, 3), (8, 13)], [(3, 8), (13, 8)], width=1.8)


def _copy(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(5.5, 5.5), (13, 5.5), (13, 13.5), (5.5, 13.5), (5.5, 5.5)])
    _stroke(painter, colour, [(3, 10.5), (3, 2.5), (10.5, 2.5)])


def _open(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(2, 12.5), (2, 3.5), (6, 3.5), (7.5, 5.2), (13, 5.2), (13, 7.2)])
    _stroke(painter, colour, [(2, 12.8), (4.6, 7.4), (14.6, 7.4), (12.4, 12.8), (2, 12.8)])


def _save(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(8, 2.5), (8, 9.5)], [(4.8, 6.6), (8, 9.8), (11.2, 6.6)])
    _stroke(painter, colour, [(2.5, 10.5), (2.5, 13.5), (13.5, 13.5), (13.5, 10.5)])


def _sun(painter: QPainter, colour: QColor) -> None:
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    painter.drawEllipse(QPointF(8, 8), 3.1, 3.1)
    rays: list[Polyline] = []
    for eighth in range(8):
        x, y = math.cos(eighth * math.pi / 4), math.sin(eighth * math.pi / 4)
        rays.append([(8 + 5.1 * x, 8 + 5.1 * y), (8 + 6.7 * x, 8 + 6.7 * y)])
    _stroke(painter, colour, *rays, width=1.4)


def _moon(painter: QPainter, colour: QColor) -> None:
    whole, bite = QPainterPath(), QPainterPath()
    whole.addEllipse(QPointF(7.4, 8.4), 5.6, 5.6)
    bite.addEllipse(QPointF(10.6, 6.0), 4.9, 4.9)
    painter.setPen(Qt.PenStyle.NoPen)
    painter.setBrush(colour)
    painter.drawPath(whole.subtracted(bite))


def _system(painter: QPainter, colour: QColor) -> None:
    painter.setPen(QPen(colour, 1.5))
    painter.setBrush(Qt.BrushStyle.NoBrush)
    painter.drawEllipse(QPointF(8, 8), 5.4, 5.4)
    half = QPainterPath(QPointF(8, 2.6))
    half.arcTo(QRectF(2.6, 2.6, 10.8, 10.8), 90, -180)
    painter.fillPath(half, colour)


def _freeze(painter: QPainter, colour: QColor) -> None:
    arms: list[Polyline] = []
    for sixth in range(6):
        turn = sixth * math.pi / 3 + math.pi / 6
        x, y = math.cos(turn), math.sin(turn)
        arms.append([(8, 8), (8 + 6 * x, 8 + 6 * y)])
        for side in (-0.7, 0.7):
            dx, dy = math.cos(turn + side), math.sin(turn + side)
            at = (8 + 3.4 * x, 8 + 3.4 * y)
            arms.append([at, (at[0] + 2.1 * dx, at[1] + 2.1 * dy)])
    _stroke(painter, colour, *arms, width=1.1)


def _relaunch(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(8, 2), (8, 7.6)], width=1.8)
    painter.drawArc(QRectF(2.8, 3.0, 10.4, 10.4), 125 * 16, 290 * 16)


def _follow(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(2.5, 8), (9.5, 8)], [(6.6, 4.6), (10, 8), (6.6, 11.4)])
    _stroke(painter, colour, [(13, 3), (13, 13)])


def _library(painter: QPainter, colour: QColor) -> None:
    _box(painter, colour, (2.2, 3, 2.6, 10), (6, 3, 2.6, 10))
    _stroke(painter, colour, [(10.6, 3.6), (13.4, 12.6)], width=2.2)


def _compare(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(2.4, 12), (5.6, 8.6), (9, 9.6), (13.6, 3.4)])
    _stroke(painter, colour, [(2.4, 8), (6.2, 4.6), (9.4, 12), (13.6, 9.6)], width=1.1)


def _report(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(3.5, 2), (10, 2), (12.8, 4.8), (12.8, 14), (3.5, 14), (3.5, 2)])
    _stroke(painter, colour, [(6, 11), (7.6, 8.4), (10.4, 7)], width=1.3)


def _import(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(2, 8), (9.4, 8)], [(6.6, 4.9), (9.8, 8), (6.6, 11.1)])
    _stroke(painter, colour, [(9, 2.6), (13.6, 2.6), (13.6, 13.4), (9, 13.4)])


def _pin(painter: QPainter, colour: QColor) -> None:
    _fill(painter, colour, [(6, 2.6), (10, 2.6), (9.6, 7), (12, 9.4), (4, 9.4), (6.4, 7)])
    _stroke(painter, colour, [(8, 9.6), (8, 14)], width=1.4)


def _delete(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(2.6, 4.4), (13.4, 4.4)], [(6.2, 4.2), (6.2, 2.4), (9.8, 2.4)])
    _stroke(painter, colour, [(4, 4.6), (4.6, 13.6), (11.4, 13.6), (12, 4.6)])


def _close(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(4.5, 4.5), (11.5, 11.5)], [(11.5, 4.5), (4.5, 11.5)], width=1.4)


def _swap(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(2.4, 5.4), (13, 5.4)], [(10, 2.4), (13, 5.4), (10, 8.4)])
    _stroke(painter, colour, [(13.6, 10.8), (3, 10.8)], [(6, 7.8), (3, 10.8), (6, 13.8)])


def _warning(painter: QPainter, colour: QColor) -> None:
    _stroke(painter, colour, [(8, 2.6), (14, 13.2), (2, 13.2), (8, 2.6)], width=1.4)
    _stroke(painter, colour, [(8, 6.6), (8, 9.4)], width=1.6)
    _box(painter, colour, (7.2, 10.7, 1.6, 1.6))


_PAINTERS: dict[IconName, Callable[[QPainter, QColor], None]] = {
    IconName.START: _start,
    IconName.PAUSE: _pause,
    IconName.RESUME: _resume,
    IconName.STOP: _stop,
    IconName.DRAIN: _drain,
    IconName.RESTART: _restart,
    IconName.KILL: _kill,
    IconName.ADD: _add,
    IconName.COPY: _copy,
    IconName.OPEN: _open,
    IconName.SAVE: _save,
    IconName.SUN: _sun,
    IconName.MOON: _moon,
    IconName.SYSTEM: _system,
    IconName.FREEZE: _freeze,
    IconName.RELAUNCH: _relaunch,
    IconName.FOLLOW: _follow,
    IconName.LIBRARY: _library,
    IconName.COMPARE: _compare,
    IconName.REPORT: _report,
    IconName.IMPORT: _import,
    IconName.PIN: _pin,
    IconName.DELETE: _delete,
    IconName.CLOSE: _close,
    IconName.WARNING: _warning,
    IconName.SWAP: _swap,
}


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
