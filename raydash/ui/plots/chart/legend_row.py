"""The line above a plot's axes: the unit of its values on the left, its colours on the right."""

from dataclasses import dataclass, replace

from PySide6.QtCore import QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QWidget
from typing_extensions import override

from raydash.ui.kit.theme import LIGHT, Theme

_SWATCH_PX, _GAP_PX, _SHORTEST_PX = 8.0, 4.0, 34.0


@dataclass(frozen=True, slots=True)
class LegendItem:
    """A colour and what it stands for; without a colour it is text alone.

    Attributes:
        colour: Colour of the small square.
        text: What the colour stands for.
        value: The value under the cursor; it is never shortened.
        elides: The text may be shortened where there is little room.
    """

    colour: QColor | None
    text: str
    value: str = ""
    elides: bool = False


class LegendRow(QWidget):
    """Shows the unit and the legend; what does not fit is left out from the legend's end."""

    def __init__(self, unit: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._unit = unit
        self._theme = LIGHT
        self._items: list[LegendItem] | None = None
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def set_theme(self, theme: Theme) -> None:
        """Use the colours of another theme."""
        self._theme = theme
        self.update()

    def set_unit(self, unit: str) -> None:
        """Show another unit of the values."""
        if unit != self._unit:
            self._unit = unit
            self.update()

    def show_items(self, items: list[LegendItem] | None) -> None:
        """Show what the colours mean.

        None when the axes are empty, so that not even the unit is shown.
        """
        if items != self._items:
            self._items = items
            self.update()

    @override
    def sizeHint(self) -> QSize:
        return QSize(180, self.fontMetrics().height() + 1)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        if self._items is None:
            return
        metrics = QFontMetricsF(self.font())
        line_px, unit_px = metrics.height(), metrics.horizontalAdvance(self._unit)
        with QPainter(self) as painter:
            painter.setPen(QColor(self._theme.muted))
            painter.drawText(QRectF(2, 0, unit_px + 2, line_px), 0, self._unit)
            items = _fitted(self._items, metrics, self.width() - unit_px - 16)
            widths = [_width(item, metrics) for item in items]
            left = self.width() - sum(widths)
            for item, width in zip(items, widths, strict=True):
                start = left + 12
                if item.colour is not None:
                    top = (line_px - _SWATCH_PX) / 2
                    painter.fillRect(QRectF(start, top, _SWATCH_PX, _SWATCH_PX), item.colour)
                    start += _SWATCH_PX + _GAP_PX
                flags = Qt.AlignmentFlag.AlignLeft | Qt.TextFlag.TextDontClip
                painter.drawText(QRectF(start, 0, width, line_px), flags, item.text)
                if item.value:
                    painter.setPen(QColor(self._theme.text))
                    after = start + metrics.horizontalAdvance(item.text) + _GAP_PX
                    painter.drawText(QRectF(after, 0, width, line_px), flags, item.value)
                    painter.setPen(QColor(self._theme.muted))
                left += width


def _fitted(items: list[LegendItem], metrics: QFontMetricsF, room: float) -> list[LegendItem]:
    """The items that fit: long names are shortened first, then items are left out from the end."""
    items = list(items)
    while items:
        too_much = sum(_width(item, metrics) for item in items) - room
        if too_much <= 0:
            return items
        texts = {n: metrics.horizontalAdvance(i.text) for n, i in enumerate(items) if i.elides}
        longest = _cut_to(list(texts.values()), sum(texts.values()) - too_much)
        if texts and longest >= _SHORTEST_PX:
            elide = Qt.TextElideMode.ElideRight
            return [
                replace(item, text=metrics.elidedText(item.text, elide, longest))
                if n in texts
                else item
                for n, item in enumerate(items)
            ]
        items = items[:-1]
    return items


def _cut_to(widths: list[float], room: float) -> float:
    """The width to which the longest texts have to be cut so that all of them fit."""
    for number, width in enumerate(sorted(widths)):
        share = room / (len(widths) - number)
        if width >= share:
            return share
        room -= width
    return max(widths, default=0.0)


def _width(item: LegendItem, metrics: QFontMetricsF) -> float:
    swatch = _SWATCH_PX + _GAP_PX if item.colour is not None else 0.0
    value = metrics.horizontalAdvance(item.value) + _GAP_PX if item.value else 0.0
    return 12 + swatch + metrics.horizontalAdvance(item.text) + value
