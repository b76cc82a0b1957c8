"""The library page: search, table, details, and what can be done with recordings.

::

    search                                       12 recordings · 2 selected   Import
    table                                                          | details
    Open  Compare  Run again…  Export…  Report…  Delete…            |
    disk use                                                                 Limits…
"""

import math
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from PySide6.QtCore import QItemSelection, QItemSelectionModel, Qt, QTimer, Signal
from PySide6.QtGui import (
    QFont,
    QFontMetrics,
    QKeySequence,
    QPainter,
    QPaintEvent,
    QResizeEvent,
    QShortcut,
    QShowEvent,
)
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFileDialog,
    QHBoxLayout,
    QLineEdit,
    QMenu,
    QPushButton,
    QSplitter,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from raydash.core.library import ExportFormat, LibrarySettings, Notes
from raydash.core.messages import Answer
from raydash.core.spec import RunSpec
from raydash.core.words import numbers
from raydash.link.session import Session
from raydash.ui.dialogs.saving import ask_where
from raydash.ui.kit.card import Card, ElidedLabel
from raydash.ui.kit.icons import IconName, icon
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.library import lines
from raydash.ui.library.cells import LibraryCells
from raydash.ui.library.details import RunDetails
from raydash.ui.library.dialogs import DeleteDialog, ExportDialog, LimitsDialog
from raydash.ui.library.disk_bar import DiskBar
from raydash.ui.library.lines import COLUMN_OF, COLUMNS, RecordingLine
from raydash.ui.library.model import LibraryModel
from raydash.ui.tables.row_table import RowTable

_ROW_HEIGHT = 26
_CELL_PADDING = 18
_TITLE_PADDING = 18
_DENSE = "QHeaderView::section { padding: 5px 3px 5px 6px; }"
_SEARCH_AFTER_MS = 120
_IMPORTED = "Runs of other tools (*.csv *.json *.duckdb *tfevents*);;All files (*)"
_NOTHING = "No recordings yet. Each run is recorded here; past work of other tools can be imported."
_NO_MATCH = "No recording matches the search."
_LOOKING = "Looking at the recordings…"


def can_be_imported(path: Path) -> bool:
    """Whether a dropped file or folder may hold a run of another tool."""
    return path.is_dir() or path.suffix in (".csv", ".json", ".duckdb") or "tfevents" in path.name


def shared_widths(least: Sequence[int], wanted: Sequence[int], room: int) -> list[int]:
    """The width of each column: those that grow take what is left, and are the first to shrink.

    Args:
        least: Smallest width of each column in pixels, from its title.
        wanted: Wanted width of each column in pixels, from its longest text.
        room: The width for all of them in pixels.
    """
    widths = [max(pair) for pair in zip(least, wanted, strict=True)]
    growing = [number for number, column in enumerate(COLUMNS) if column.grows]
    left = room - sum(widths)
    if left >= 0:
        for number in growing:
            widths[number] += left // len(growing)
        widths[growing[-1]] += left % len(growing)
        return widths
    spare = {number: widths[number] - least[number] for number in growing}
    share = min(1.0, -left / max(1, sum(spare.values())))
    for number in growing:
        widths[number] -= math.ceil(share * spare[number])
    return widths


class _Table(RowTable):
    """A table that says in words why it is empty."""

    def __init__(self, themes: ThemeManager) -> None:
        super().__init__(_ROW_HEIGHT)
        self._themes = themes
        self.empty_text = ""
        self._user_sized = False
        self.horizontalHeader().sectionResized.connect(self._on_section_resized)

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Distribute the width over the columns, unless the user has sized them."""
        super().resizeEvent(event)
        if self._user_sized:
            return
        header = self.horizontalHeader()
        words_of, title = self.fontMetrics(), QFont(self.font())
        title.setWeight(QFont.Weight.DemiBold)
        title_of = QFontMetrics(title)
        least = [title_of.horizontalAdvance(column.title) + _TITLE_PADDING for column in COLUMNS]
        wanted = [words_of.horizontalAdvance(column.longest) + _CELL_PADDING for column in COLUMNS]
        widths = shared_widths(least, wanted, self.viewport().width())
        header.blockSignals(True)
        for number, width in enumerate(widths):
            header.resizeSection(number, width)
        header.blockSignals(False)
        self.updateGeometries()

    def _on_section_resized(self) -> None:
        self._user_sized = True

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the rows, or say why there are none."""
        super().paintEvent(event)
        if self.empty_text and not self.model().rowCount():
            painter = QPainter(self.viewport())
            painter.setPen(self._themes.theme.muted)
            box = self.viewport().rect().adjusted(20, 0, -20, 0)
            flags = int(Qt.AlignmentFlag.AlignCenter | Qt.TextFlag.TextWordWrap)
            painter.drawText(box, flags, self.empty_text)
            painter.end()


class LibraryPage(QWidget):
    """Shows all recordings.

    Signals:
        compare_requested(tuple[str, ...]): Show these runs on the compare page.
        run_again_requested(RunSpec): Put this spec into the form.
        said(str): One line about what was done.
    """

    compare_requested = Signal(object)
    run_again_requested = Signal(object)
    said = Signal(str)

    def __init__(self, session: Session, themes: ThemeManager, parent: QWidget | None = None):
        super().__init__(parent)
        self.setObjectName("library_page")
        self._session = session
        self._store = session.store
        self._library = session.library
        self._themes = themes
        self._selected: tuple[str, ...] = ()
        self._has_preselected = False
        self._restoring = False
        self._scroll = 0
        self.model = LibraryModel(themes, self)
        self.details = RunDetails()
        self.disk = DiskBar()
        self._buttons: dict[
            QPushButton, tuple[Callable[[list[RecordingLine]], str], str, IconName]
        ] = {}
        self._compose()
        self._search_timer = QTimer(self)
        self._search_timer.setSingleShot(True)
        self._search_timer.setInterval(_SEARCH_AFTER_MS)
        self._search_timer.timeout.connect(lambda: self.model.set_search(self.search.text()))
        self.search.textChanged.connect(self._search_timer.start)
        self.model.modelAboutToBeReset.connect(self._keep_scroll)
        self.model.modelReset.connect(self._restore_selection)
        self.model.dataChanged.connect(self._refresh)
        self.table.selectionModel().selectionChanged.connect(self._on_selection)
        self.table.doubleClicked.connect(lambda _index: self.open_selected())
        self.details.notes_edited.connect(self._on_notes)
        self.details.said.connect(self.said)
        self.disk.limits_requested.connect(self.ask_limits)
        self._store.library_changed.connect(self.refresh)
        self._store.runs_changed.connect(self._on_runs)
        session.pending_changed.connect(self._refresh_buttons)
        themes.changed.connect(self._paint_icons)
        self._paint_icons()
        self.refresh()

    # --- composition --------------------------------------------------------------------------

    def _compose(self) -> None:
        self.search = self._make_search()
        self._count = ElidedLabel()
        self._count.setObjectName("library_count")
        self._count.setProperty("role", "muted")
        self._import = self._make_import_button()
        self.table = self._make_table()
        head = QHBoxLayout()
        head.setSpacing(12)
        head.addWidget(self.search, 1)
        head.addWidget(self._count)
        head.addStretch(1)
        head.addWidget(self._import)
        card = Card("Library")
        card.header.addLayout(head, 100)
        card.body.setSpacing(8)
        card.body.addWidget(self.table, 1)
        card.body.addLayout(self._make_buttons())
        card.body.addWidget(self.disk)
        self._split = QSplitter(Qt.Orientation.Horizontal)
        self._split.setHandleWidth(10)
        self._split.setChildrenCollapsible(False)
        self._split.addWidget(card)
        self._split.addWidget(self.details)
        self._split.setStretchFactor(0, 5)
        self._split.setStretchFactor(1, 1)
        self._split.setSizes([960, 270])
        self.details.setMinimumWidth(250)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 6)
        layout.addWidget(self._split)

    def _make_search(self) -> QLineEdit:
        search = QLineEdit()
        search.setObjectName("library_search")
        search.setAccessibleName("Search the library")
        search.setPlaceholderText("Search: a word, tag:baseline, env:cartpole, state:failed")
        search.setToolTip(
            "Words that must all match, in title, name, environment, id, tags or notes; or "
            "tag:x, env:y, state:z, owner:o, is:pinned (Ctrl+F)"
        )
        search.setClearButtonEnabled(True)
        search.setMaximumWidth(460)
        find = QShortcut(QKeySequence(QKeySequence.StandardKey.Find), self)
        find.setContext(Qt.ShortcutContext.WidgetWithChildrenShortcut)
        find.activated.connect(search.setFocus)
        return search

    def _make_import_button(self) -> QToolButton:
        button = QToolButton()
        button.setObjectName("library_import")
        button.setText("Import…")
        button.setAccessibleName("Import")
        button.setToolTip(
            "Bring in runs of SB3 (monitor.csv), RLlib (progress.csv, result.json) or TensorBoard; "
            "files and folders can be dropped here too"
        )
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        menu.addAction("Files…", self._ask_files)
        menu.addAction("A folder…", self._ask_folder)
        button.setMenu(menu)
        return button

    def _make_buttons(self) -> QHBoxLayout:
        """Make the row of buttons for what can be done with the selected recordings."""
        row = QHBoxLayout()
        row.setSpacing(6)
        for name, text, picture, reason, help_text, slot in (
            ("open", "Open", IconName.OPEN, lines.why_cannot_open,
             "Show it in the run view (double click)", self.open_selected),
            ("compare", "Compare", IconName.COMPARE, lines.why_cannot_compare,
             "Lay the selected runs over each other", self.compare_selected),
            ("run_again", "Run again…", IconName.RESTART, lines.why_cannot_run_again,
             "Put its spec into the form; nothing is started", self.run_again),
            ("export", "Export…", IconName.SAVE, lines.why_cannot_export,
             "Write it as CSV, Parquet, JSON, SB3 monitor or TensorBoard files", self.ask_export),
            ("report", "Report…", IconName.REPORT, lines.why_cannot_report,
             "Write one HTML file about the selected runs", self.ask_report),
            ("delete", "Delete…", IconName.DELETE, lines.why_cannot_delete,
             "Delete the selected recordings for good", self.ask_delete),
        ):  # fmt: skip
            button = QPushButton(text)
            button.setObjectName(f"library_{name}")
            button.setAccessibleName(text)
            button.clicked.connect(slot)
            self._buttons[button] = (reason, help_text, picture)
            row.addWidget(button)
        row.addStretch(1)
        return row

    def _make_table(self) -> _Table:
        table = _Table(self._themes)
        table.setObjectName("library_table")
        table.setAccessibleName("Recordings")
        table.setModel(self.model)
        table.setItemDelegate(LibraryCells(self.model, self._themes, table))
        table.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        table.setStyleSheet(_DENSE)
        table.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        table.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        header = table.horizontalHeader()
        header.setMinimumSectionSize(44)
        table.sortByColumn(COLUMN_OF["started"], Qt.SortOrder.DescendingOrder)
        table.setSortingEnabled(True)
        for keys in (Qt.Key.Key_Return, Qt.Key.Key_Enter):
            go = QShortcut(QKeySequence(keys), table)
            go.setContext(Qt.ShortcutContext.WidgetShortcut)
            go.activated.connect(self.open_selected)
        delete = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), table)
        delete.setContext(Qt.ShortcutContext.WidgetShortcut)
        delete.activated.connect(self.ask_delete)
        return table

    def _paint_icons(self) -> None:
        theme = self._themes.theme
        for button, (_reason, _help, picture) in self._buttons.items():
            button.setIcon(icon(picture, theme))
        self._import.setIcon(icon(IconName.IMPORT, theme))
        self.table.viewport().update()

    # --- what it shows ------------------------------------------------------------------------

    @override
    def showEvent(self, event: QShowEvent) -> None:
        """Ask the engine for the library, now that somebody looks at it."""
        super().showEvent(event)
        self._library.watch()
        self.refresh()
        self.table.setFocus()

    def refresh(self) -> None:
        """Show the library and the live runs, if the page is visible."""
        library = self._store.library
        self.table.empty_text = _LOOKING if library is None else _NOTHING
        if library is not None and library.runs:
            self.table.empty_text = _NO_MATCH
        if not self.isVisible():
            return
        runs = library.runs if library else ()
        self.model.set_lines(lines.lines_of(runs, self._store.live_runs))
        self.disk.show_library(library)
        self._refresh()

    def _on_runs(self) -> None:
        if self.isVisible():
            self.model.set_live(self._store.live_runs)

    def _refresh(self) -> None:
        self._refresh_details()
        self._refresh_buttons()
        shown, known = len(self.model.rows), self.model.num_lines
        parts = [numbers.plural(known, "recording")]
        if shown != known:
            parts.append(f"{numbers.count(shown)} match")
        if len(self._selected) > 1:
            parts.append(f"{numbers.count(len(self._selected))} selected")
        self._count.set_text(" · ".join(parts) if self._store.library else "")

    def _refresh_details(self) -> None:
        chosen = self.selected_lines()
        if len(chosen) == 1:
            self.details.show_line(chosen[0], "")
            return
        size = numbers.size(sum(line.run.size_bytes for line in chosen))
        many = f"{numbers.plural(len(chosen), 'recording')} selected, {size}"
        self.details.show_line(None, many if chosen else "Select a recording to see what it holds")

    def _refresh_buttons(self) -> None:
        chosen = self.selected_lines()
        for button, (why_cannot, help_text, _picture) in self._buttons.items():
            reason = why_cannot(chosen)
            button.setEnabled(not reason)
            button.setToolTip(f"Not now: {reason}" if reason else help_text)

    # --- selection, by recording and not by row -----------------------------------------------

    @property
    def selected(self) -> tuple[str, ...]:
        """The ids of the selected recordings, from top to bottom."""
        return self._selected

    def selected_lines(self) -> list[RecordingLine]:
        """The selected recordings, from top to bottom."""
        rows = (self.model.row_of(run_id) for run_id in self._selected)
        return [self.model.rows[row] for row in sorted(rows) if row >= 0]

    def select(self, run_ids: tuple[str, ...]) -> None:
        """Select these recordings and no others."""
        self._selected = run_ids
        self._restore_selection()
        row = self.model.row_of(run_ids[0]) if run_ids else -1
        if row >= 0:
            self.table.scrollTo(self.model.index(row, 0))

    def _on_selection(self) -> None:
        if self._restoring:
            return
        rows = sorted(
            row
            for part in self.table.selectionModel().selection()  # type: ignore[attr-defined]
            for row in range(part.top(), part.bottom() + 1)
        )
        self._selected = tuple(self.model.rows[row].run.run_id for row in rows)
        self._refresh()

    def _keep_scroll(self) -> None:
        # A reset clears the selection before it is signalled, and that is not the user's doing.
        self._restoring = True
        self._scroll = self.table.verticalScrollBar().value()

    def _restore_selection(self) -> None:
        """Select the same recordings again, except for those that are out of sight now."""
        scroll = self._scroll if self._restoring else None
        if self.model.rows and not self._has_preselected:
            # Select the topmost one, which is the newest, so that there is something to look at.
            self._has_preselected = True
            self._selected = self._selected or (self.model.rows[0].run.run_id,)
        selection = QItemSelection()
        last = len(COLUMNS) - 1
        rows = {run_id: self.model.row_of(run_id) for run_id in self._selected}
        for top, bottom in _ranges(row for row in rows.values() if row >= 0):
            selection.select(self.model.index(top, 0), self.model.index(bottom, last))
        self._restoring = True
        self.table.selectionModel().select(
            selection, QItemSelectionModel.SelectionFlag.ClearAndSelect
        )
        self._restoring = False
        if scroll is not None:
            self.table.doItemsLayout()  # until then there is nothing to scroll
            self.table.verticalScrollBar().setValue(scroll)
        self._selected = tuple(run_id for run_id, row in rows.items() if row >= 0)
        self._refresh()

    # --- what is done -------------------------------------------------------------------------

    def open_selected(self) -> None:
        """Show the selected recording in the run view."""
        chosen = self.selected_lines()
        if not lines.why_cannot_open(chosen):
            self._library.open(chosen[0].run.run_id)

    def compare_selected(self) -> None:
        """Compare the selected runs."""
        chosen = self.selected_lines()
        if not lines.why_cannot_compare(chosen):
            self.compare_requested.emit(tuple(line.run.run_id for line in chosen))

    def run_again(self) -> None:
        """Put the selected run's spec into the form."""
        chosen = self.selected_lines()
        if lines.why_cannot_run_again(chosen):
            return

        def on_answer(answer: Answer) -> None:
            run = self._store.runs.get(answer.run_id)
            if answer.fault is None and run is not None and isinstance(run.spec, RunSpec):
                self.run_again_requested.emit(run.spec)

        self._library.load(chosen[0].run.run_id, on_answer)

    def ask_delete(self) -> None:
        """Ask whether to delete the selected recordings."""
        chosen = self.selected_lines()
        if lines.why_cannot_delete(chosen):
            return
        dialog = DeleteDialog(chosen, self)
        run_ids = tuple(line.run.run_id for line in chosen)
        dialog.confirmed.connect(lambda: self._library.delete(run_ids))
        dialog.open()

    def ask_export(self) -> None:
        """Ask for format and path, then export."""
        chosen = self.selected_lines()
        if lines.why_cannot_export(chosen):
            return
        run_id = chosen[0].run.run_id
        dialog = ExportDialog(chosen[0], Path.home(), self)

        def on_chosen(kind: ExportFormat, out: str) -> None:
            self._library.export(run_id, kind, out)

        dialog.chosen.connect(on_chosen)
        dialog.open()

    def ask_report(self) -> None:
        """Ask where to write a report about the selected runs."""
        chosen = self.selected_lines()
        if lines.why_cannot_report(chosen):
            return
        self.ask_report_of(tuple(line.run.run_id for line in chosen))

    def ask_report_of(self, run_ids: tuple[str, ...]) -> None:
        """Ask where to write a report about these runs."""
        name = f"{run_ids[0]}.html" if len(run_ids) == 1 else "raydash-report.html"
        dialog = ask_where(
            self.window(),
            "Report",
            name,
            "Web page",
            lambda out: self._library.write_report(run_ids, out),
            folder=str(Path.home()),
        )
        dialog.setObjectName("library_report_dialog")

    def ask_limits(self) -> None:
        """Ask how much the library may hold."""
        library = self._store.library
        dialog = LimitsDialog(library.settings if library else LibrarySettings(), self)
        dialog.chosen.connect(self._library.change_settings)
        dialog.open()

    def import_paths(self, paths: tuple[str, ...]) -> None:
        """Import runs of other tools, and select the first of them."""

        def on_answer(answer: Answer) -> None:
            if answer.fault is None and answer.run_id:
                self.select((answer.run_id,))

        self._library.import_paths(paths, on_answer)

    def _ask_files(self) -> None:
        dialog = QFileDialog(self, "Import runs", "", _IMPORTED)
        dialog.setObjectName("library_import_dialog")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFiles)
        dialog.filesSelected.connect(lambda names: self.import_paths(tuple(names)))
        dialog.open()

    def _ask_folder(self) -> None:
        dialog = QFileDialog(self, "Import a folder of runs")
        dialog.setObjectName("library_import_dialog")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.Directory)
        dialog.fileSelected.connect(lambda name: self.import_paths((name,)))
        dialog.open()

    def _on_notes(self, run_id: str, notes: Notes) -> None:
        self._library.edit_notes(run_id, notes)


def _ranges(rows: Iterable[int]) -> list[tuple[int, int]]:
    """Join neighbouring rows: two thousand ranges of one row would take Qt a tenth of a second."""
    found: list[tuple[int, int]] = []
    for row in sorted(rows):
        if found and found[-1][1] == row - 1:
            found[-1] = (found[-1][0], row)
        else:
            found.append((row, row))
    return found
