"""The worker table on screen: sort, filter, choose columns, command the selected workers."""

import math
from functools import partial

import numpy as np
from PySide6.QtCore import QItemSelection, QItemSelectionModel, QPoint, Qt, Signal
from PySide6.QtGui import QAction, QFontMetrics, QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import (
    QAbstractItemView,
    QLineEdit,
    QMenu,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from raydash.core.machine.permissions import why_worker_cannot, worker_is_paused
from raydash.core.messages import Verb
from raydash.core.states import Activity
from raydash.core.updates import RunUpdate
from raydash.core.words import numbers
from raydash.link.session import Session
from raydash.ui.kit.icons import IconName, icon
from raydash.ui.kit.settings import settings
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.tables.cell_painter import CellPainter, TimedTableView
from raydash.ui.tables.columns import COLUMN_OF, COLUMNS
from raydash.ui.tables.table_model import WorkerTableModel

WORKER_VERBS: tuple[tuple[Verb, str, IconName, str], ...] = (
    (Verb.PAUSE, "Pause", IconName.PAUSE, "Keep its half-finished episode and step no further"),
    (Verb.RESUME, "Resume", IconName.RESUME, "Go on with the half-finished episode"),
    (Verb.DRAIN, "Drain", IconName.DRAIN, "Finish its episodes, then stop"),
    (Verb.STOP, "Stop", IconName.STOP, "Close its environment and end"),
    (Verb.RESTART, "Restart", IconName.RESTART, "A new process in its place"),
    (Verb.KILL, "Kill", IconName.KILL, "End its process at once, whatever it is doing"),
)
_SORT_EVERY_S = 1.0
_REDRAW_EVERY_S = 1.0
_FIGURES_EVERY_S = 0.2
# Resetting and stepping alternate all the time, so a change between them is no news.
_ALIKE = np.arange(len(Activity))
_ALIKE[Activity.RESETTING] = Activity.STEPPING
_ROW_HEIGHT = 24
_PADDING = 14
_DENSE = "QHeaderView::section { padding: 5px 3px; }"


class WorkerTable(QWidget):
    """The table, and its filter, which is placed elsewhere. It is a view of the draw clock.

    Signals:
        selection_changed(tuple[int, ...]): The indices of the selected workers, ascending.
        summary_changed(str): How many workers there are, match the filter, are selected.
    """

    selection_changed = Signal(object)
    summary_changed = Signal(str)

    def __init__(self, session: Session, themes: ThemeManager, parent: QWidget | None = None):
        super().__init__(parent)
        self._session = session
        self._store = session.store
        self._themes = themes
        self._drawn: tuple[str, int] = ("", -1)
        self._drawn_s = self._sorted_s = -math.inf
        self._selected: tuple[int, ...] = ()
        self._restoring = False
        self._user_sized = False
        self._last_summary = ""
        self._applicable: dict[int, bool] = {}
        self.model = WorkerTableModel(themes, self)

        self.filter = self._make_filter()
        self.view = self._make_view()
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.view)
        self.model.modelReset.connect(self._restore_selection)
        themes.changed.connect(self.view.viewport().update)
        self._restore_header()
        self._choose_columns(None)
        self.view.horizontalHeader().sectionResized.connect(self._on_section_resized)

    def _make_filter(self) -> QLineEdit:
        made = QLineEdit()
        made.setPlaceholderText("Filter: stalled, node:10.0, 12")
        made.setClearButtonEnabled(True)
        made.setObjectName("worker_filter")
        made.setAccessibleName("Filter workers")
        made.setToolTip(
            "Words that must all match: an activity, a node, a worker's number, "
            "or column:text such as node:10.0 (Ctrl+F)"
        )
        made.setFixedWidth(230)
        made.textChanged.connect(self._on_filter)
        find = QShortcut(QKeySequence(QKeySequence.StandardKey.Find), self)
        find.activated.connect(made.setFocus)
        return made

    def _make_view(self) -> TimedTableView:
        view = TimedTableView(_ROW_HEIGHT)
        view.setItemDelegate(CellPainter(self.model, self._themes, self))
        view.setObjectName("worker_table")
        view.setAccessibleName("Workers")
        view.setModel(self.model)
        view.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        view.setStyleSheet(_DENSE)
        view.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        view.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        header = view.horizontalHeader()
        header.setSectionsMovable(True)
        header.setMinimumSectionSize(40)
        for number, column in enumerate(COLUMNS):
            header.setSectionHidden(number, column.is_hidden)
        header.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        header.customContextMenuRequested.connect(self._open_column_menu)
        view.setSortingEnabled(True)
        view.sortByColumn(COLUMN_OF["activity"], Qt.SortOrder.AscendingOrder)
        view.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        view.customContextMenuRequested.connect(self._open_worker_menu)
        view.selectionModel().selectionChanged.connect(self._on_selection)
        return view

    @property
    def selected(self) -> tuple[int, ...]:
        """The indices of the selected workers, ascending."""
        return self._selected

    def select(self, workers: tuple[int, ...]) -> None:
        """Select these workers and no others."""
        before, self._selected = self._selected, tuple(sorted(workers))
        self._restore_selection()
        if self._selected != before:
            self.selection_changed.emit(self._selected)

    # --- the draw clock -----------------------------------------------------------------------

    def is_dirty(self) -> bool:
        """Whether there is something new: activities at once, other figures five times a second.

        Ages are redrawn once a second. Figures that change ten times a second cannot be read, and
        cost twice as much.
        """
        run = self._store.shown
        now = (run.run_id, run.version) if run else ("", 0)
        since_s = self._store.clock() - self._drawn_s
        if now != self._drawn:
            return since_s >= _FIGURES_EVERY_S or now[0] != self._drawn[0] or self._has_news()
        return run is not None and since_s > _REDRAW_EVERY_S

    def _has_news(self) -> bool:
        run, rows = self._store.shown, self.model.rows
        latest = run.latest if run else None
        if latest is None or rows is None:
            return True
        return not np.array_equal(_ALIKE[latest.workers.activity], _ALIKE[rows.workers.activity])

    def take_paint_s(self) -> float:
        """The seconds spent painting since the last call."""
        return self.view.take_paint_s()

    def draw(self) -> None:
        """Show the newest update of the shown run."""
        run = self._store.shown
        latest = run.latest if run else None
        now_s = self._store.clock()
        another_run = (run.run_id if run else "") != self._drawn[0]
        self._drawn = (run.run_id, run.version) if run else ("", 0)
        self._drawn_s = now_s
        if another_run:
            self.select(())
        since_s = now_s - run.received_s if run and latest and not latest.last else 0.0
        sort = another_run or now_s - self._sorted_s >= _SORT_EVERY_S
        if sort:
            self._sorted_s = now_s
        self._choose_columns(latest)
        self.model.set_update(latest, since_s, sort=sort)
        self._emit_summary(self._summary(latest))

    def _choose_columns(self, latest: RunUpdate | None) -> None:
        """Hide columns that say nothing of this run; the user may still choose them."""
        applicable = {
            number: latest is not None and column.applies_to(latest)
            for number, column in enumerate(COLUMNS)
            if column.applies_to is not None
        }
        if applicable != self._applicable:
            self._applicable = applicable
            for number, shown in applicable.items():
                self._show_column(number, shown)

    def _emit_summary(self, summary: str) -> None:
        if summary != self._last_summary:
            self._last_summary = summary
            self.summary_changed.emit(summary)

    def _summary(self, latest: RunUpdate | None) -> str:
        if latest is None:
            return "none yet"
        parts = [numbers.plural(self.model.num_workers, "worker")]
        if self.model.rowCount() != self.model.num_workers:
            parts.append(f"{self.model.rowCount()} match the filter")
        if self._selected:
            parts.append(f"{len(self._selected)} selected")
        return " · ".join(parts)

    # --- selection, by worker and not by row --------------------------------------------------

    def _on_selection(self) -> None:
        if self._restoring:
            return
        rows = self.view.selectionModel().selectedRows()
        selected = tuple(sorted(self.model.worker_at(index.row()) for index in rows))
        if selected != self._selected:
            self._selected = selected
            self.selection_changed.emit(selected)

    def _restore_selection(self) -> None:
        """Select the same workers again, except for those that are out of sight now."""
        selection = QItemSelection()
        last = len(COLUMNS) - 1
        found: list[int] = []
        for worker in self._selected:
            row = self.model.row_of(worker)
            if row >= 0:
                selection.select(self.model.index(row, 0), self.model.index(row, last))
                found.append(worker)
        self._restoring = True
        self.view.selectionModel().select(
            selection, QItemSelectionModel.SelectionFlag.ClearAndSelect
        )
        self._restoring = False
        if tuple(found) != self._selected:
            self._selected = tuple(found)
            self.selection_changed.emit(self._selected)

    def _on_filter(self, text: str) -> None:
        self.model.set_filter(text)
        run = self._store.shown
        self._emit_summary(self._summary(run.latest if run else None))

    # --- commands -----------------------------------------------------------------------------

    def workers_that_can(self, verb: Verb) -> tuple[tuple[int, ...], str]:
        """The selected workers that `verb` can be sent to, or why there is none."""
        run = self._store.shown
        latest = run.latest if run else None
        rows = self.model.rows
        if latest is None or rows is None or not self._selected:
            return (), "no worker is selected"
        if run is not None and run.is_recording:
            return (), "this is a recording"
        if not self._session.is_connected:
            return (), "the cluster is not connected"
        if latest.state.is_over:
            return (), f"the run is {latest.state.value}"
        able: list[int] = []
        reasons: list[str] = []
        for worker in self._selected:
            position = self.model.position_of(worker)
            if position < 0:
                continue
            activity = Activity(int(rows.workers.activity[position]))
            # While the whole run is paused, nothing here says which workers were paused one by one.
            paused = worker_is_paused(activity) and not latest.paused
            reason = why_worker_cannot(verb, activity, worker_paused=paused)
            if reason:
                reasons.append(f"worker {worker}: {reason}")
            else:
                able.append(worker)
        return tuple(able), reasons[0] if reasons else "that worker is gone"

    def worker_menu(self) -> QMenu:
        """The commands for the selected workers, with the reason where one is disabled."""
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        count = len(self._selected)
        one = count == 1
        title = f"Worker {self._selected[0]}" if one else numbers.plural(count, "worker")
        menu.addAction(title).setEnabled(False)
        menu.addSeparator()
        for verb, text, picture, help_text in WORKER_VERBS:
            able, reason = self.workers_that_can(verb)
            action = QAction(icon(picture, self._themes.theme), text, menu)
            action.setObjectName(f"worker_{verb.value}")
            action.setEnabled(bool(able))
            action.setToolTip(help_text if able else f"Not now: {reason}")
            if able and len(able) < count:
                action.setText(f"{text} ({len(able)} of {count})")
            action.triggered.connect(partial(self._command, verb, able))
            menu.addAction(action)
        return menu

    def _command(self, verb: Verb, workers: tuple[int, ...], _checked: bool = False) -> None:
        self._session.command(verb, workers)

    def _open_worker_menu(self, position: QPoint) -> None:
        if self._selected:
            menu = self.worker_menu()
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            menu.popup(self.view.viewport().mapToGlobal(position))

    # --- columns ------------------------------------------------------------------------------

    def column_menu(self) -> QMenu:
        """A menu of the columns, with those ticked that are shown."""
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        header = self.view.horizontalHeader()
        for number, column in enumerate(COLUMNS):
            action = menu.addAction(column.title)
            action.setCheckable(True)
            action.setChecked(not header.isSectionHidden(number))
            action.setToolTip(column.help)
            action.setEnabled(column.key != "worker")
            action.toggled.connect(partial(self._show_column, number))
        menu.addSeparator()
        menu.addAction("Fit columns to the window").triggered.connect(self._fit_again)
        return menu

    def _show_column(self, number: int, shown: bool) -> None:
        # The header reports a new size when a column appears, which the user did not ask for.
        user_sized = self._user_sized
        self.view.horizontalHeader().setSectionHidden(number, not shown)
        self._user_sized = user_sized
        self._fit_columns()

    def _open_column_menu(self, position: QPoint) -> None:
        menu = self.column_menu()
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.view.horizontalHeader().mapToGlobal(position))

    def _fit_again(self) -> None:
        self._user_sized = False
        self._fit_columns()

    def _fit_columns(self) -> None:
        """Stretch the columns evenly over the width, but never narrower than readable."""
        if self._user_sized:
            return
        header = self.view.horizontalHeader()
        shown = [number for number in range(len(COLUMNS)) if not header.isSectionHidden(number)]
        natural = {number: self._natural_width(number) for number in shown}
        room = self.view.viewport().width()
        factor = max(1.0, room / max(1, sum(natural.values())))
        header.blockSignals(True)
        left = room
        for number in shown:
            width = int(natural[number] * factor)
            header.resizeSection(number, width)
            left -= width
        if factor > 1.0 and shown:
            header.resizeSection(shown[-1], header.sectionSize(shown[-1]) + left)
        header.blockSignals(False)
        self.view.updateGeometries()
        self.view.viewport().update()

    def _natural_width(self, number: int) -> int:
        column = COLUMNS[number]
        bold = self.view.font()
        bold.setBold(True)
        title = QFontMetrics(bold).horizontalAdvance(column.title)
        sample = self.view.fontMetrics().horizontalAdvance(column.sample)
        sign = 20 if column.key == "activity" else 0
        return max(title, sample + sign) + _PADDING

    def _on_section_resized(self, _number: int, _old: int, _new: int) -> None:
        self._user_sized = True

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Stretch the columns over the new width, unless the user has sized them."""
        super().resizeEvent(event)
        self._fit_columns()

    def save_header(self) -> None:
        """Store widths, order and sorting in the settings."""
        store = settings()
        store.setValue("worker_table/header", self.view.horizontalHeader().saveState())
        store.setValue("worker_table/user_sized", int(self._user_sized))
        store.setValue("worker_table/columns", len(COLUMNS))

    def _restore_header(self) -> None:
        store = settings()
        if str(store.value("worker_table/columns")) != str(len(COLUMNS)):
            return
        self.view.horizontalHeader().restoreState(store.value("worker_table/header"))
        self._user_sized = str(store.value("worker_table/user_sized")) == "1"
