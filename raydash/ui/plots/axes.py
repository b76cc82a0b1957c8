"""The ground of a plot: grid, ticks, unit and legend, kept as a picture while they do not change.

While a plot follows the run its ticks ("-5 min") stand still, so most frames reuse the picture.
"""

import numpy as np
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPixmap
from PySide6.QtWidgets import QWidget

from raydash.ui.plots.frame import Frame, LegendItem
from raydash.ui.plots.scope import PlotScope, TimeAxis
from raydash.ui.plots.ticks import ago_ticks, clock_ticks, value_ticks
from raydash.ui.theme import LIGHT, Theme

Placed = list[tuple[float, str]]


class Axes:
    """Paints the ground and keeps it.

    Attributes:
        theme: Whose colours are worn.
        whole_numbers: Ticks of the value axis are at whole numbers only.
    """

    def __init__(self, scope: PlotScope, unit: str) -> None:
        self.theme: Theme = LIGHT
        self.whole_numbers = False
        self._scope = scope
        self._unit = unit
        self._key: tuple[object, ...] | None = None
        self._picture = QPixmap()

    def picture(self, widget: QWidget, frame: Frame, legend: list[LegendItem]) -> QPixmap:
        """The ground, as large as the widget."""
        metrics = QFontMetricsF(widget.font())
        values, times = self._value_ticks(frame, metrics), self._time_ticks(frame, metrics)
        items = tuple((item.colour.rgba(), item.text) for item in legend)
        ratio = widget.devicePixelRatioF()
        key = (
            *(widget.size(), ratio, widget.font().key(), self.theme.name),
            *(tuple(values), tuple(times), items),
        )
        if key != self._key:
            self._key = key
            self._picture = QPixmap(widget.size() * ratio)
            self._picture.setDevicePixelRatio(ratio)
            self._picture.fill(QColor(self.theme.card))
            with QPainter(self._picture) as painter:
                painter.setFont(widget.font())
                self._paint_values(painter, frame, metrics, values)
                self._paint_times(painter, frame, metrics, times, widget.width())
                self._paint_legend(painter, frame, metrics, legend)
        return self._picture

    def _value_ticks(self, frame: Frame, metrics: QFontMetricsF) -> Placed:
        most = max(2, int(frame.area.height() / (metrics.height() * 2.2)))
        ticks = value_ticks(*frame.y, most, whole=self.whole_numbers)
        places = frame.py(np.array([value for value, _ in ticks])).tolist()
        return [(round(y, 1), label) for y, (_, label) in zip(places, ticks, strict=True)]

    def _time_ticks(self, frame: Frame, metrics: QFontMetricsF) -> Placed:
        room = metrics.horizontalAdvance("-10:00:00") * 1.35
        most = max(2, int(frame.area.width() / room))
        if self._scope.following and self._scope.time_axis is TimeAxis.AGO:
            ticks = ago_ticks(*frame.x, self._scope.now_s, most)
        else:
            ticks = clock_ticks(*frame.x, most)
        places = frame.px(np.array([t_s for t_s, _ in ticks])).tolist()
        return [(round(x, 1), label) for x, (_, label) in zip(places, ticks, strict=True)]

    def _paint_values(
        self, painter: QPainter, frame: Frame, metrics: QFontMetricsF, ticks: Placed
    ) -> None:
        area, line_px = frame.area, metrics.height()
        grid, muted = QColor(self.theme.grid), QColor(self.theme.muted)
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter
        for y, label in ticks:
            level = round(y) + 0.5
            painter.setPen(grid)
            painter.drawLine(QPointF(area.left(), level), QPointF(area.right(), level))
            painter.setPen(muted)
            where = QRectF(0, y - line_px / 2, area.left() - 6, line_px)
            painter.drawText(where, flags, label)
        where = QRectF(2, 0, area.width() * 0.6, line_px)
        painter.drawText(where, Qt.AlignmentFlag.AlignLeft, self._unit)

    def _paint_times(
        self, painter: QPainter, frame: Frame, metrics: QFontMetricsF, ticks: Placed, width: int
    ) -> None:
        area, line_px = frame.area, metrics.height()
        painter.setPen(QColor(self.theme.border))
        painter.drawLine(area.bottomLeft(), area.bottomRight())
        painter.setPen(QColor(self.theme.muted))
        for x, label in ticks:
            half = metrics.horizontalAdvance(label) / 2 + 1
            left = min(max(x - half, 0.0), width - 2 * half)
            painter.drawLine(QPointF(x, area.bottom()), QPointF(x, area.bottom() + 3))
            where = QRectF(left, area.bottom() + 4, 2 * half, line_px)
            painter.drawText(where, Qt.AlignmentFlag.AlignCenter, label)

    def _paint_legend(
        self, painter: QPainter, frame: Frame, metrics: QFontMetricsF, items: list[LegendItem]
    ) -> None:
        line_px = metrics.height()
        widths = [metrics.horizontalAdvance(item.text) + 20 for item in items]
        room = frame.area.right() - metrics.horizontalAdvance(self._unit) - 16
        while items and sum(widths) > room:
            items, widths = items[:-1], widths[:-1]
        left = frame.area.right() - sum(widths) + 8
        painter.setPen(QColor(self.theme.muted))
        for item, width in zip(items, widths, strict=True):
            painter.fillRect(QRectF(left, line_px / 2 - 3, 8, 8), item.colour)
            where = QRectF(left + 12, 0, width, line_px)
            painter.drawText(where, Qt.AlignmentFlag.AlignLeft, item.text)
            left += width
