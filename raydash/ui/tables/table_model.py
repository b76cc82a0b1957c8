"""The workers of the shown run as a table model that sorts and filters itself, with NumPy.

A proxy model would ask Python for each cell it compares: 1000 workers at 10 Hz would cost more than
everything else on screen. Here an update costs one `dataChanged`; rows move, appear or disappear
only when the order or the filter requires it.
"""

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    Qt,
)
from typing_extensions import override

from raydash.core.updates import RunUpdate
from raydash.ui.kit.glyphs import activity_icon
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.tables.columns import COLUMN_OF, COLUMNS, WorkerRows

Index = QModelIndex | QPersistentModelIndex

_ROOT = QModelIndex()
_NONE: NDArray[np.intp] = np.empty(0, np.intp)
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)


class WorkerTableModel(QAbstractTableModel):
    """One row per worker that matches the filter, in the chosen order."""

    def __init__(self, themes: ThemeManager, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._themes = themes
        self._update: RunUpdate | None = None
        self._rows: WorkerRows | None = None
        self._order = _NONE
        self._num_arranged = 0
        self._sort_column = COLUMN_OF["activity"]
        self._descending = False
        self._filter = ""

    # --- what it shows ------------------------------------------------------------------------

    @property
    def num_workers(self) -> int:
        """The number of workers, whether they match the filter or not."""
        return len(self._rows.workers) if self._rows else 0

    @property
    def rows(self) -> WorkerRows | None:
        """What the cells are made from."""
        return self._rows

    def set_update(self, update: RunUpdate | None, since_s: float = 0.0, *, sort: bool) -> None:
        """Show another update.

        Args:
            update: The newest update of the run, or None for no run.
            since_s: Time since it arrived.
            sort: Sort the rows again; rows that jump 10 times a second cannot be read.
        """
        self._update = update
        self._rows = WorkerRows(update.workers, update.nodes, since_s) if update else None
        if sort or self.num_workers != self._num_arranged:
            self._arrange()
        else:
            self._emit_all_changed()

    def set_filter(self, text: str) -> None:
        """Show only workers that match every word: `stalled`, `node:10.0`, `12`."""
        self._filter = text.strip().lower()
        self._arrange()

    @override
    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        """Sort the rows by a column, equal ones by worker."""
        self._sort_column = column
        self._descending = order == Qt.SortOrder.DescendingOrder
        self._arrange()

    def worker_at(self, row: int) -> int:
        """The index of the worker in a row."""
        assert self._rows is not None
        return int(self._rows.workers.worker_index[self._order[row]])

    def position(self, row: int) -> int:
        """Where a row's worker is in the update's columns; -1 if there is no such row."""
        return int(self._order[row]) if row < len(self._order) else -1

    def row_of(self, worker_index: int) -> int:
        """The row of a worker; -1 if it is not shown."""
        if self._rows is None:
            return -1
        found = np.flatnonzero(self._rows.workers.worker_index[self._order] == worker_index)
        return int(found[0]) if len(found) else -1

    def position_of(self, worker_index: int) -> int:
        """Where a worker is in the update's columns; -1 if it is not there."""
        if self._rows is None:
            return -1
        found = np.flatnonzero(self._rows.workers.worker_index == worker_index)
        return int(found[0]) if len(found) else -1

    # --- QAbstractTableModel ------------------------------------------------------------------

    @override
    def rowCount(self, parent: Index = _ROOT) -> int:
        return 0 if parent.isValid() else len(self._order)

    @override
    def columnCount(self, parent: Index = _ROOT) -> int:
        return 0 if parent.isValid() else len(COLUMNS)

    @override
    def headerData(
        self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(COLUMNS):
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
        rows = self._rows
        if rows is None or not index.isValid() or index.row() >= len(self._order):
            return None
        column = COLUMNS[index.column()]
        row = int(self._order[index.row()])
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return column.text(rows, row)
            case Qt.ItemDataRole.TextAlignmentRole:
                return _RIGHT if column.is_number else _LEFT
            case Qt.ItemDataRole.ForegroundRole if column.key == "activity":
                return self._themes.theme.activity(rows.activity(row))
            case Qt.ItemDataRole.DecorationRole if column.key == "activity":
                return activity_icon(rows.activity(row), self._themes.theme)
            case Qt.ItemDataRole.ToolTipRole:
                return self._tool_tip(column.key, row)
            case _:
                return None

    def _tool_tip(self, key: str, row: int) -> str:
        assert self._rows is not None
        assert self._update is not None
        worker_index = int(self._rows.workers.worker_index[row])
        if key == "activity":
            return self._update.pending.get(worker_index, "")
        if key == "worker":
            return f"seed {self._rows.workers.seed[row]}"
        return ""

    # --- order and filter ---------------------------------------------------------------------

    def _arrange(self) -> None:
        order = self._wanted_order()
        self._num_arranged = self.num_workers
        if np.array_equal(order, self._order):
            self._emit_all_changed()
        elif len(order) == len(self._order) and np.array_equal(
            np.sort(order), np.sort(self._order)
        ):
            self._move_to(order)
        else:
            self.beginResetModel()
            self._order = order
            self.endResetModel()

    def _wanted_order(self) -> NDArray[np.intp]:
        rows = self._rows
        if rows is None:
            return _NONE
        shown = np.flatnonzero(self._mask(rows))
        values = COLUMNS[self._sort_column].sort_by(rows)[shown].astype(np.float64)
        if self._descending:
            values = -values
        ranked = np.lexsort((rows.workers.worker_index[shown], values))
        return shown[ranked]

    def _mask(self, rows: WorkerRows) -> NDArray[np.bool_]:
        mask = np.ones(len(rows.workers), np.bool_)
        for word in self._filter.split():
            key, colon, part = word.partition(":")
            if colon and key in COLUMN_OF:
                texts = [COLUMNS[COLUMN_OF[key]].text(rows, row) for row in range(len(mask))]
                mask &= np.array([part in text.lower() for text in texts], np.bool_)
            elif word.isdigit():
                mask &= rows.workers.worker_index == int(word)
            else:
                mask &= np.array(
                    [
                        word in rows.activity(row).word or word in rows.node(row)
                        for row in range(len(mask))
                    ],
                    np.bool_,
                )
        return mask

    def _move_to(self, order: NDArray[np.intp]) -> None:
        self.layoutAboutToBeChanged.emit()
        new_row = np.empty(int(order.max()) + 1, np.intp)
        new_row[order] = np.arange(len(order))
        before, old_order = self.persistentIndexList(), self._order
        self._order = order
        after = [
            self.index(int(new_row[old_order[index.row()]]), index.column()) for index in before
        ]
        self.changePersistentIndexList(before, after)
        self.layoutChanged.emit()

    def _emit_all_changed(self) -> None:
        if len(self._order):
            self.dataChanged.emit(
                self.index(0, 0), self.index(len(self._order) - 1, len(COLUMNS) - 1)
            )
