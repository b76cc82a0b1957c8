"""The line above a plot's axes: the unit of its values on the left, its colours on the right."""

from dataclasses import dataclass

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget

from raydash.ui.theme import LIGHT, Theme

_SWATCH_PX, _GAP_PX = 8.0, 4.0


@dataclass(frozen=True, slots=True)
class LegendItem:
    """A colour and what it stands for; without a colour, words alone."""

    colour: QColor | None
    text: str


class KeyRow(QWidget):
    """Unit and legend; what finds no room is left out from the legend's end."""

    def __init__(self, unit: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._unit = unit
        self._theme = LIGHT
        self._items: list[LegendItem] | None = None
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def set_theme(self, theme: Theme) -> None:
        """Wear other colours."""
        self._theme = theme
        self.update()

    def set_unit(self, unit: str) -> None:
        """The values are in another unit now."""
        if unit != self._unit:
            self._unit = unit
            self.update()

    def show_items(self, items: list[LegendItem] | None) -> None:
        """Say what the colours mean; None: there is nothing on the axes, not even a unit."""
        if items != self._items:
            self._items = items
            self.update()

    def sizeHint(self) -> QSize:
        """One line of text."""
        return QSize(180, self.fontMetrics().height() + 1)

    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint both."""
        if self._items is None:
            return
        metrics = QFontMetricsF(self.font())
        line_px, unit_px = metrics.height(), metrics.horizontalAdvance(self._unit)
        with QPainter(self) as painter:
            painter.setPen(QColor(self._theme.muted))
            painter.drawText(QRectF(2, 0, unit_px + 2, line_px), 0, self._unit)
            items = list(self._items)
            widths = [_width(item, metrics) for item in items]
            while items and sum(widths) > self.width() - unit_px - 16:
                items, widths = items[:-1], widths[:-1]
            left = self.width() - sum(widths)
            for item, width in zip(items, widths, strict=True):
                start = left + 12
                if item.colour is not None:
                    top = (line_px - _SWATCH_PX) / 2
                    painter.fillRect(QRectF(start, top, _SWATCH_PX, _SWATCH_PX), item.colour)
                    start += _SWATCH_PX + _GAP_PX
                flags = Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextDontClip
                painter.drawText(QRectF(start, 0, width, line_px), flags, item.text)
                left += width


def _width(item: LegendItem, metrics: QFontMetricsF) -> float:
    swatch = _SWATCH_PX + _GAP_PX if item.colour is not None else 0.0
    return 12 + swatch + metrics.horizontalAdvance(item.text)
