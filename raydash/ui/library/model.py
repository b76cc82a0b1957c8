"""The library as a table model that sorts and filters itself: 2000 recordings, no proxy."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime

from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
)
from PySide6.QtGui import QColor
from typing_extensions import override

from raydash.core.messages import RunSummary
from raydash.core.words import moments
from raydash.ui.kit import run_words
from raydash.ui.kit.glyphs import run_state_icon
from raydash.ui.kit.icons import IconName, icon
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.library.lines import COLUMN_OF, COLUMNS, RecordingLine, matches, ordered

Index = QModelIndex | QPersistentModelIndex

_ROOT = QModelIndex()
_TITLE, _STATE, _STARTED = COLUMN_OF["title"], COLUMN_OF["state"], COLUMN_OF["started"]
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)


class LibraryModel(QAbstractTableModel):
    """One row per recording that matches the search, in the chosen order.

    When rows appear, disappear or move, the model is reset; its view keeps selection and scroll by
    id.
    """

    def __init__(self, themes: ThemeManager, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._themes = themes
        self._lines: Sequence[RecordingLine] = ()
        self._rows: list[RecordingLine] = []
        self._row_of: dict[str, int] = {}
        self._texts: dict[int, list[str]] = {}  # by row, only of rows that were painted
        self._search = ""
        self._column = _STARTED
        self._descending = True

    @property
    def num_lines(self) -> int:
        """The number of recordings, whether they match the search or not."""
        return len(self._lines)

    @property
    def rows(self) -> Sequence[RecordingLine]:
        """The recordings that are shown, from top to bottom."""
        return self._rows

    def set_lines(self, lines: Sequence[RecordingLine]) -> None:
        """Show other recordings, or the same ones with newer figures."""
        self._lines = lines
        self._arrange()

    def set_live(self, live: Iterable[RunSummary]) -> None:
        """Update the figures of live runs; rows keep their places until the library changes."""
        live_by_id = {summary.run_id: summary for summary in live}
        changed = {
            line.run.run_id: replace(line, live=live_by_id.get(line.run.run_id))
            for line in self._lines
            if line.live != live_by_id.get(line.run.run_id)
        }
        if not changed:
            return
        self._lines = [changed.get(line.run.run_id, line) for line in self._lines]
        for run_id, line in changed.items():
            row = self.row_of(run_id)
            if row >= 0:
                self._rows[row] = line
                self._texts.pop(row, None)
                self.dataChanged.emit(self.index(row, 0), self.index(row, len(COLUMNS) - 1))

    def set_search(self, search: str) -> None:
        """Show only what matches the search (`lines.matches`)."""
        self._search = search.strip()
        self._arrange()

    @override
    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._column = column
        self._descending = order == Qt.SortOrder.DescendingOrder
        self._arrange()

    def row_of(self, run_id: str) -> int:
        """The row of a recording; -1 if it is not shown."""
        return self._row_of.get(run_id, -1)

    def _arrange(self) -> None:
        found = [line for line in self._lines if matches(line, self._search)]
        rows = ordered(found, COLUMNS[self._column], descending=self._descending)
        ids = [line.run.run_id for line in rows]
        self._texts = {}
        if ids == [line.run.run_id for line in self._rows]:
            self._rows = rows
            if rows:
                self.dataChanged.emit(self.index(0, 0), self.index(len(rows) - 1, len(COLUMNS) - 1))
            return
        self.beginResetModel()
        self._rows = rows
        self._row_of = {run_id: row for row, run_id in enumerate(ids)}
        self.endResetModel()

    def text(self, row: int, column: int) -> str:
        """The text of a cell."""
        texts = self._texts.get(row)
        if texts is None:
            line, now = self._rows[row], _now()
            texts = self._texts[row] = [each.text(line, now) for each in COLUMNS]
        return texts[column]

    # --- QAbstractTableModel ------------------------------------------------------------------

    @override
    def rowCount(self, parent: Index = _ROOT) -> int:
        return 0 if parent.isValid() else len(self._rows)

    @override
    def columnCount(self, parent: Index = _ROOT) -> int:
        return 0 if parent.isValid() else len(COLUMNS)

    @override
    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> object:
        if orientation != Qt.Orientation.Horizontal:
            return None
        column = COLUMNS[section]
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return column.title
            case Qt.ItemDataRole.ToolTipRole:
                return column.help
            case Qt.ItemDataRole.TextAlignmentRole:
                return _RIGHT if column.is_number else _LEFT
            case _:
                return None

    @override
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        line, number = self._rows[index.row()], index.column()
        column, theme = COLUMNS[number], self._themes.theme
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return self.text(index.row(), number)
            case Qt.ItemDataRole.TextAlignmentRole:
                return _RIGHT if column.is_number else _LEFT
            case Qt.ItemDataRole.ForegroundRole if number == _STATE:
                return theme.run_state(line.state) if line.state else QColor(theme.warn)
            case Qt.ItemDataRole.ForegroundRole if not line.is_readable:
                return QColor(theme.muted)
            case Qt.ItemDataRole.DecorationRole if number == _STATE:
                return run_state_icon(line.state, theme)
            case Qt.ItemDataRole.DecorationRole if number == _TITLE and line.run.notes.pinned:
                return icon(IconName.PIN, theme, theme.accent)
            case Qt.ItemDataRole.ToolTipRole:
                return self._tool_tip(line, number)
            case _:
                return None

    def _tool_tip(self, line: RecordingLine, number: int) -> str:
        match number:
            case _ if number == _STARTED:
                return moments.since(line.run.started_utc, _now())
            case _ if number == _STATE:
                return line.run.fault or run_words.outcome(line.state, line.run.ended_by)
            case _ if number == _TITLE:
                pinned = "pinned: no rule deletes it" if line.run.notes.pinned else ""
                parts = (line.run.title, line.run.run_id, line.run.owner, pinned)
                return "\n".join(part for part in parts if part)
            case _:
                return COLUMNS[number].text(line, _now())


def _now() -> datetime:
    return datetime.now().astimezone()
