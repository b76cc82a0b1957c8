"""Event marks on a chart: dashed lines, and labels that never overlap."""

import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFont, QFontMetricsF

from raydash.core.events import Event, EventKind
from raydash.ui.kit import run_words
from raydash.ui.kit.theme import LIGHT, Theme

Ranges = list[list[float]]

_NUM_ROWS = 2
_APART_PX = 2.0


class Marks:
    """Draws all marks with two items, and reuses the labels that it has created."""

    def __init__(self, view: pg.ViewBox, *, labelled: bool) -> None:
        self._view = view
        self._labelled = labelled
        self._theme = LIGHT
        self._veil = pg.mkBrush(None)
        self._lines = {is_bad: pg.VTickGroup() for is_bad in (False, True)}
        self._labels: list[pg.TextItem] = []
        for lines in self._lines.values():
            lines.setZValue(20)
            view.addItem(lines, ignoreBounds=True)

    def set_theme(self, theme: Theme) -> None:
        """Use the colours of another theme; labels take them when they are next shown."""
        self._theme = theme
        veil = QColor(theme.card)
        veil.setAlpha(190)
        self._veil = pg.mkBrush(veil)
        for is_bad, lines in self._lines.items():
            lines.setPen(self._colour(is_bad=is_bad), width=1, style=Qt.PenStyle.DashLine)
            lines.update()

    def show(
        self,
        marks: list[Event],
        origin_s: float,
        view_range: Ranges,
        area: QRectF,
        font: QFont,
    ) -> None:
        """Place lines and labels; marks closer together than two pixels share a line.

        Args:
            marks: The events to mark, oldest first.
            origin_s: The time that is 0 in the view.
            view_range: Lowest and highest x, then lowest and highest y of the view.
            area: The area between the axes, in pixels.
            font: Font of the labels.
        """
        (low, high), _ = view_range
        apart = _APART_PX * (high - low) / area.width()
        shown: list[tuple[float, Event]] = []
        for mark in marks:
            x = mark.t_s - origin_s
            if low <= x <= high and (not shown or x - shown[-1][0] >= apart):
                shown.append((x, mark))
        for is_bad, lines in self._lines.items():
            places = [x for x, mark in shown if _is_bad(mark) is is_bad]
            if places != lines.xvals:
                lines.setXVals(places)
                lines.update()
        if self._labelled:
            self._show_labels(shown, view_range, area, font)

    def _show_labels(
        self, marks: list[tuple[float, Event]], view_range: Ranges, area: QRectF, font: QFont
    ) -> None:
        metrics = QFontMetricsF(font)
        (low, high), (bottom, top) = view_range
        px = (high - low) / area.width()
        line = (metrics.height() + 1) * (top - bottom) / area.height()
        row_ends = [0.0] * _NUM_ROWS
        num_used = 0
        for x, mark in marks:
            text = run_words.mark_label(mark)
            x_px, width = (x - low) / px, metrics.horizontalAdvance(text) + 6
            left = x_px + 4 if x_px + 4 + width <= area.width() else x_px - 4 - width
            row = next((row for row, end in enumerate(row_ends) if left >= end), None)
            if row is None:
                continue
            row_ends[row] = max(left + width, x_px + 4)
            label = self._label(num_used, font)
            num_used += 1
            label.setColor(self._colour(is_bad=_is_bad(mark)))
            label.fill = self._veil
            label.setText(text)
            label.setPos(low + left * px, top - row * line)
            label.show()
        for label in self._labels[num_used:]:
            label.hide()

    def _label(self, number: int, font: QFont) -> pg.TextItem:
        if number == len(self._labels):
            label = pg.TextItem(anchor=(0, 0))
            label.textItem.document().setDocumentMargin(1)
            label.setFont(font)
            label.setZValue(21)
            self._view.addItem(label, ignoreBounds=True)
            self._labels.append(label)
        return self._labels[number]

    def _colour(self, *, is_bad: bool) -> QColor:
        return QColor(self._theme.bad if is_bad else self._theme.warn)


def _is_bad(mark: Event) -> bool:
    """Whether a mark tells of something that went wrong.

    A restart counts, for it follows a failure.
    """
    return mark.kind.is_bad or mark.kind is EventKind.WORKER_RESTARTED
