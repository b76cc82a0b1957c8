"""Paint the library's cells: the style sheet's own way is slower, which shows in scrolling."""

from PySide6.QtCore import QModelIndex, QPersistentModelIndex, QRect, Qt
from PySide6.QtGui import QColor, QIcon, QPainter
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget
from typing_extensions import override

from raydash.ui.kit.theme import ThemeManager
from raydash.ui.library.lines import COLUMNS
from raydash.ui.library.model import LibraryModel

_MARGIN = 7
_ICON = 14
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
_ELIDE = Qt.TextElideMode.ElideRight


class LibraryCells(QStyledItemDelegate):
    """Paints selection, icon and text."""

    def __init__(self, model: LibraryModel, themes: ThemeManager, parent: QWidget) -> None:
        super().__init__(parent)
        self._model = model
        self._themes = themes

    @override
    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        theme, roles = self._themes.theme, Qt.ItemDataRole
        rect: QRect = option.rect
        state: QStyle.StateFlag = option.state
        if state & QStyle.StateFlag.State_Selected:
            painter.fillRect(rect, QColor(theme.selection))
        left, width = rect.left() + _MARGIN, rect.width() - 2 * _MARGIN
        picture = self._model.data(index, roles.DecorationRole)
        if isinstance(picture, QIcon):
            top = rect.top() + (rect.height() - _ICON) // 2
            picture.paint(painter, left, top, _ICON, _ICON)
            left, width = left + _ICON + 6, width - _ICON - 6
        colour = self._model.data(index, roles.ForegroundRole)
        painter.setPen(colour if isinstance(colour, QColor) else QColor(theme.text))
        text = self._model.text(index.row(), index.column())
        metrics = painter.fontMetrics()
        if metrics.horizontalAdvance(text) > width:
            text = metrics.elidedText(text, _ELIDE, width)
        flags = _RIGHT if COLUMNS[index.column()].is_number else _LEFT
        painter.drawText(left, rect.top(), width, rect.height(), flags, text)
        if state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(QColor(theme.accent))
            painter.drawRect(rect.adjusted(0, 0, -1, -1))
