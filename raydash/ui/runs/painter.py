"""Paint the lines of the list of runs: check box, colour, name and state, figures on the right."""

from PySide6.QtCore import (
    QAbstractItemModel,
    QEvent,
    QModelIndex,
    QPersistentModelIndex,
    QPointF,
    QRect,
    QRectF,
    QSize,
    Qt,
)
from PySide6.QtGui import QColor, QFont, QFontMetrics, QPainter, QPen
from PySide6.QtWidgets import QStyle, QStyledItemDelegate, QStyleOptionViewItem, QWidget
from typing_extensions import override

from raydash.ui.kit.glyphs import run_state_icon
from raydash.ui.kit.run_style import draw_line
from raydash.ui.kit.theme import Theme, ThemeManager
from raydash.ui.runs.lines import RunLine
from raydash.ui.runs.numbers import RunNumbers

LINE_ROLE = Qt.ItemDataRole.UserRole + 1
LINE_PADDING = 4
_MARGIN, _GAP, _BOX, _GLYPH, _BAR, _SWATCH = 7, 6, 13, 12, 3, 12
_SHORTEST = 36
_ELIDE = Qt.TextElideMode.ElideRight
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)


class RunLinePainter(QStyledItemDelegate):
    """Paints two rows of text per line. The run on screen is bold and has another background."""

    def __init__(self, numbers: RunNumbers, themes: ThemeManager, parent: QWidget) -> None:
        super().__init__(parent)
        self._numbers = numbers
        self._themes = themes

    @override
    def sizeHint(
        self, option: QStyleOptionViewItem, index: QModelIndex | QPersistentModelIndex
    ) -> QSize:
        metrics: QFontMetrics = option.fontMetrics
        return QSize(120, 2 * metrics.height() + 2 * LINE_PADDING)

    def box(self, rect: QRect) -> QRect:
        """The area of a line that toggles the overlay when it is clicked."""
        return QRect(rect.left(), rect.top(), _MARGIN + _BOX + _GAP, rect.height())

    @override
    def editorEvent(
        self,
        event: QEvent,
        model: QAbstractItemModel,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> bool:
        """Let keys toggle the check box.

        The list handles the mouse, for it knows where the box is.
        """
        return event.type() == QEvent.Type.KeyPress and super().editorEvent(
            event, model, option, index
        )

    @override
    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        index: QModelIndex | QPersistentModelIndex,
    ) -> None:
        line = index.data(LINE_ROLE)
        if not isinstance(line, RunLine):
            return
        theme, rect = self._themes.theme, QRect(option.rect)
        painter.save()
        state: QStyle.StateFlag = option.state
        if line.is_shown:
            painter.fillRect(rect, QColor(theme.selection))
            painter.fillRect(QRect(rect.topLeft(), QSize(_BAR, rect.height())), theme.accent)
        elif state & QStyle.StateFlag.State_MouseOver:
            painter.fillRect(rect, QColor(theme.raised))
        self._draw_box(painter, QRectF(rect), line, theme)
        left = rect.left() + _MARGIN + _BOX + _GAP
        number = self._numbers.of(line.run_id)
        draw_line(painter, left, rect.top() + rect.height() / 2, number, theme, _SWATCH)
        left += _SWATCH + _GAP
        upper = QRect(left, rect.top() + LINE_PADDING, 0, option.fontMetrics.height())
        upper.setRight(rect.right() - _MARGIN)
        self._draw_texts(painter, option, line, upper, upper.translated(0, upper.height()))
        if state & QStyle.StateFlag.State_HasFocus:
            painter.setPen(QColor(theme.accent))
            painter.drawRect(rect.adjusted(0, 0, -1, -1))
        painter.restore()

    def _draw_box(self, painter: QPainter, rect: QRectF, line: RunLine, theme: Theme) -> None:
        top = rect.top() + (rect.height() - _BOX) / 2
        box = QRectF(rect.left() + _MARGIN + 0.5, top + 0.5, _BOX - 1, _BOX - 1)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        colour = QColor(theme.disabled if line.is_shown else theme.accent)
        ticked = line.is_drawn
        painter.setPen(QPen(colour if ticked else QColor(theme.muted), 1))
        painter.setBrush(colour if ticked else Qt.BrushStyle.NoBrush)
        painter.drawRoundedRect(box, 3, 3)
        if ticked:
            painter.setPen(QPen(QColor(theme.on_accent), 1.8))
            left, top = box.left(), box.top()
            points = [(2.8, 6.4), (5.2, 8.8), (9.4, 3.6)]
            painter.drawPolyline([QPointF(left + x, top + y) for x, y in points])
        painter.setRenderHint(QPainter.RenderHint.Antialiasing, on=False)

    def _draw_texts(
        self,
        painter: QPainter,
        option: QStyleOptionViewItem,
        line: RunLine,
        upper: QRect,
        lower: QRect,
    ) -> None:
        """Draw name, execution (if it fits) and return in the upper row.

        Glyph, state and pace below.
        """
        theme = self._themes.theme
        plain, highlighted = QFont(option.font), QFont(option.font)
        highlighted.setBold(line.is_shown)
        painter.setFont(plain)
        painter.setPen(QColor(theme.text))
        upper.setRight(_left_of_figure(painter, upper, line.return_words))
        painter.setPen(QColor(theme.muted))
        lower.setRight(_left_of_figure(painter, lower, line.pace_words))
        glyph = QRect(lower.left(), lower.center().y() - _GLYPH // 2 + 1, _GLYPH, _GLYPH)
        run_state_icon(line.state, theme).paint(painter, glyph)
        lower.setLeft(lower.left() + _GLYPH + 4)
        _draw_elided(painter, lower, line.state_words)
        painter.setFont(highlighted)
        painter.setPen(QColor(theme.text))
        _draw_elided(painter, upper, line.name)
        upper.setLeft(upper.left() + painter.fontMetrics().horizontalAdvance(line.name) + _GAP)
        if upper.width() > _SHORTEST:
            painter.setFont(plain)
            painter.setPen(QColor(theme.muted))
            _draw_elided(painter, upper, line.execution)


def _left_of_figure(painter: QPainter, row: QRect, figure: str) -> int:
    """Draw a figure at a row's right end; gives where the space to its left ends."""
    if not figure:
        return row.right()
    painter.drawText(row, _RIGHT, figure)
    return row.right() - painter.fontMetrics().horizontalAdvance(figure) - _GAP


def _draw_elided(painter: QPainter, row: QRect, text: str) -> None:
    elided = painter.fontMetrics().elidedText(text, _ELIDE, max(row.width(), 10))
    painter.drawText(row, _LEFT, elided)
