"""Paint the cells of the worker table straight from the model.

Qt's own delegate asks Python for eight roles of every cell and then goes through the style sheet:
20 ms for a full screen of workers, against 3 ms here.
"""

from PySide6.QtCore import QModelIndex, QObject, QPersistentModelIndex, QRect, QRectF, Qt
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem
from typing_extensions import override

from raydash.ui.kit.draw_clock import PaintTimer
from raydash.ui.kit.glyphs import draw_activity
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.tables.columns import COLUMN_OF, COLUMNS
from raydash.ui.tables.row_table import RowTable
from raydash.ui.tables.table_model import WorkerTableModel

_ACTIVITY = COLUMN_OF["activity"]
_MARGIN, _GLYPH = 6, 14
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_ELIDE = Qt.TextElideMode.ElideRight


class CellPainter(QStyledItemDelegate):
    """Paints text, the activity's glyph in its colour, selection and focus."""

    def __init__(self, model: WorkerTableModel, themes: ThemeManager, parent: QObject) -> None:
        super().__init__(parent)
        self._model = model
        self._themes = themes
        self._use_theme()
        themes.changed.connect(self._use_theme)

    def _use_theme(self) -> None:
        theme = self._themes.theme
        self._text = QColor(theme.text)
        self._selection = QColor(theme.selection)
        self._accent = QColor(theme.accent)

    @override
    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        rows = self._model.rows
        row, number = self._model.position(index.row()), index.column()
        if rows is None or row < 0:
            return
        rect: QRect = option.rect
        state: QStyle.StateFlag = option.state
        if state & QStyle.StateFlag.State_Selected:
            painter.fillRect(rect, self._selection)
        column = COLUMNS[number]
        text = column.text(rows, row)
        left, width = rect.left() + _MARGIN, rect.width() - 2 * _MARGIN
        painter.setPen(self._text)
        if number == _ACTIVITY:
            theme, activity = self._themes.theme, rows.activity(row)
            glyph = QRectF(left, rect.center().y() - _GLYPH / 2 + 1, _GLYPH, _GLYPH)
            draw_activity(painter, glyph, activity, theme)
            painter.setPen(theme.activity(activity))
            left, width = left + _GLYPH + 6, width - _GLYPH - 6
        metrics = painter.fontMetrics()
        if metrics.horizontalAdvance(text) > width:
            text = metrics.elidedText(text, _ELIDE, width)
        flags = _RIGHT if column.is_number else _LEFT
        painter.drawText(left, rect.top(), width, rect.height(), flags, text)
        if state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(self._accent)
            painter.drawRect(rect.adjusted(0, 0, -1, -1))


class TimedTableView(RowTable):
    """A table view that measures how long it paints."""

    def __init__(self, row_height: int) -> None:
        super().__init__(row_height)
        self._paint_timer = PaintTimer()

    def take_paint_s(self) -> float:
        """The seconds spent painting since the last call."""
        return self._paint_timer.take_s()

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        self._paint_timer.time(super().paintEvent, event)
