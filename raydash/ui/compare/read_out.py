"""A small box over the chart with the values of all lines at the cursor."""

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from raydash.ui.kit.run_style import draw_line
from raydash.ui.kit.theme import LIGHT, Theme

_MARGIN, _KEY, _GAP = 9.0, 18.0, 8.0
_MAX_LABEL_PX = 260.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One line's value.

    Attributes:
        number: Number of the line, from which its colour follows.
        label: Name of the line.
        value: The value in words.
    """

    number: int
    label: str
    value: str


class ReadOut(QWidget):
    """Shows a heading and readings, the largest first; it ignores the mouse."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._theme = LIGHT
        self._heading = ""
        self._readings: tuple[Reading, ...] = ()
        self.setObjectName("compare_read_out")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.hide()

    @property
    def text(self) -> str:
        """The whole content as lines of text, for screen readers; empty while nothing is read."""
        if self.isHidden():
            return ""
        return "\n".join([self._heading, *(f"{r.label}: {r.value}" for r in self._readings)])

    def set_theme(self, theme: Theme) -> None:
        """Use the colours of another theme."""
        self._theme = theme
        self.update()

    def read(self, heading: str, readings: Sequence[Reading], at_px: float, area: QRectF) -> None:
        """Show readings on the side of the cursor that has more room.

        Args:
            heading: The place on the x axis, in words.
            readings: The readings to show; if there are none, the box is hidden.
            at_px: Where the cursor is, in pixels of the parent.
            area: Where the box may be, in pixels of the parent.
        """
        self._heading, self._readings = heading, tuple(readings)
        if not readings:
            self.hide()
            return
        metrics = QFontMetricsF(self.font())
        labels = min(
            _MAX_LABEL_PX, max(metrics.horizontalAdvance(each.label) for each in readings) + 1
        )
        values = max(metrics.horizontalAdvance(each.value) for each in readings) + 1
        width = max(_KEY + labels + values + 2 * _GAP, metrics.horizontalAdvance(heading) + 1)
        height = metrics.height() * (len(readings) + 1) + 4
        self.resize(round(width + 2 * _MARGIN), round(height + 2 * _MARGIN))
        is_right = at_px < area.center().x()
        x = at_px + 14 if is_right else at_px - 14 - self.width()
        x = min(max(x, area.left()), max(area.left(), area.right() - self.width()))
        self.move(round(x), round(area.top() + 4))
        self.setAccessibleName(self.text)
        self.show()
        self.raise_()
        self.update()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        metrics = QFontMetricsF(self.font())
        line, theme = metrics.height(), self._theme
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            ground = QColor(theme.card)
            ground.setAlpha(238)
            painter.setBrush(ground)
            painter.setPen(QColor(theme.border))
            painter.drawRoundedRect(QRectF(self.rect()).adjusted(0.5, 0.5, -0.5, -0.5), 5, 5)
            painter.setBrush(Qt.BrushStyle.NoBrush)
            inner = self.width() - 2 * _MARGIN
            painter.setPen(QColor(theme.muted))
            painter.drawText(QRectF(_MARGIN, _MARGIN, inner, line), 0, self._heading)
            for row, each in enumerate(self._readings, start=1):
                top = _MARGIN + row * line + 4
                draw_line(painter, _MARGIN, top + line / 2, each.number, theme)
                painter.setPen(QColor(theme.text))
                value_px = metrics.horizontalAdvance(each.value) + 1
                room = inner - _KEY - 2 * _GAP - value_px
                label = metrics.elidedText(each.label, Qt.TextElideMode.ElideRight, room)
                painter.drawText(QRectF(_MARGIN + _KEY + _GAP, top, room, line), 0, label)
                painter.drawText(
                    QRectF(_MARGIN, top, inner, line), Qt.AlignmentFlag.AlignRight, each.value
                )
