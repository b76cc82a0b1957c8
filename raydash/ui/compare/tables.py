"""Figures side by side, and the keys in which specs differ.

A column is a run or a group of seeds.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import (
    QAbstractItemView,
    QHeaderView,
    QTableWidget,
    QTableWidgetItem,
    QWidget,
)

from raydash.core.analysis.compare import Centre, figures_table, interval, spec_differences
from raydash.core.spec_rules import FIELDS
from raydash.core.words import figures, numbers
from raydash.ui.compare import labels
from raydash.ui.compare.curves import CompareChoice, ComparedRun, group_labels, groups_of
from raydash.ui.kit.run_style import line_icon
from raydash.ui.kit.theme import LIGHT, Theme


@dataclass(frozen=True, slots=True)
class Cell:
    """The content of a cell.

    Attributes:
        text: What people read.
        raw: What a spreadsheet gets; empty: the same as `text`.
        strong: It is the best of its row, or differs from what the first run has.
        tip: More about it, for a tool tip.
    """

    text: str
    raw: str = ""
    strong: bool = False
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Table:
    """The content of a table.

    Attributes:
        columns: Name and number (colour) of each column's run or group.
        rows: Name, explanation and cells of each row.
    """

    columns: tuple[tuple[str, int], ...]
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


def figures_of(entries: Sequence[ComparedRun], choice: CompareChoice) -> Table:
    """The figures of the runs that are shown; for groups the centre with its interval."""
    groups = groups_of([entry for entry in entries if entry.shown], choice)
    latest = [entry.run.latest for group in groups for entry in group]
    table = figures_table(
        [each.figures if each is not None else None for each in latest],
        {entry.run.spec.env.id for entry in entries if entry.shown and entry.run.spec},
    )
    ends = list(itertools.accumulate([len(group) for group in groups], initial=0))
    rows = []
    for row in table:
        if choice.centre is None:
            cells = tuple(
                _figure_cell(row.key, value, best=best)
                for value, best in zip(row.values, row.best, strict=True)
            )
        else:
            cells = tuple(
                _interval_cell(row.key, row.values[begin:end], choice.centre)
                for begin, end in itertools.pairwise(ends)
            )
        rows.append((labels.FIGURES[row.key], row.key, cells))
    names = group_labels(groups)
    columns = tuple((name, group[0].number) for name, group in zip(names, groups, strict=True))
    return Table(columns, tuple(rows))


def _figure_cell(key: str, value: float, *, best: bool) -> Cell:
    raw = "" if value != value else f"{value:.10g}"
    return Cell(figures.figure(key, value), raw, best, "the best of these" if best else "")


def _interval_cell(key: str, values: Sequence[float], centre: Centre) -> Cell:
    middle, low, high, n = interval(values, centre)
    text = figures.figure(key, middle)
    if n < 2:
        return Cell(text, "" if middle != middle else f"{middle:.10g}")
    ends = f"{figures.figure(key, low)}, {figures.figure(key, high)}"
    return Cell(
        f"{text}  [{ends}]",
        f"{middle:.10g} [{low:.10g}, {high:.10g}]",
        tip=f"{labels.CENTRES[centre]} of {n} runs, bootstrap 95 % interval",
    )


def differences_of(entries: Sequence[ComparedRun]) -> Table:
    """The keys in which the specs of the runs that are shown differ."""
    shown = [entry for entry in entries if entry.shown]
    found = spec_differences([entry.run.spec for entry in shown])
    rows = []
    for each in found:
        field = FIELDS.get(each.key) or FIELDS[".".join(each.key.split(".")[:2])]
        cells = tuple(
            Cell(figures.spec_value(value), strong=value != each.values[0]) for value in each.values
        )
        rows.append((each.key, field.help, cells))
    return Table(tuple((entry.label, entry.number) for entry in shown), tuple(rows))


def as_tsv(table: Table) -> str:
    """A table as tab-separated text, for a spreadsheet."""
    lines = ["\t".join(["", *(_plain(name) for name, _ in table.columns)])]
    for _, key, cells in table.rows:
        lines.append("\t".join([key, *(_plain(cell.raw or cell.text) for cell in cells)]))
    return "\n".join(lines) + "\n"


def _plain(text: str) -> str:
    """Remove tabs and line breaks, and keep a spreadsheet from taking the text for a formula."""
    text = "" if text == numbers.UNKNOWN else " ".join(text.split())
    return f"'{text}" if text[:1] in ("=", "+", "@") else text


class CompareTable(QTableWidget):
    """Shows a `Table`; cells are changed in place, so that selection and scrolling stay."""

    def __init__(self, object_name: str, accessible_name: str, parent: QWidget | None = None):
        super().__init__(parent)
        self._table: Table | None = None
        self._theme = LIGHT
        self.setObjectName(object_name)
        self.setAccessibleName(accessible_name)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ContiguousSelection)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.setTabKeyNavigation(False)
        self.setVerticalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        self.setHorizontalScrollMode(QAbstractItemView.ScrollMode.ScrollPerPixel)
        header = self.horizontalHeader()
        header.setDefaultAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
        header.setTextElideMode(Qt.TextElideMode.ElideRight)
        header.setHighlightSections(False)
        header.setMaximumSectionSize(300)
        names = self.verticalHeader()
        names.setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        names.setDefaultSectionSize(self.fontMetrics().height() + 7)
        names.setStyleSheet(
            "QHeaderView::section { border: 0; padding: 0 10px 0 2px; font-weight: 400; }"
        )
        self.setStyleSheet("QAbstractScrollArea::corner { background: transparent; border: 0; }")
        names.setHighlightSections(False)
        self.setIconSize(QSize(18, 12))

    def show_table(self, table: Table, theme: Theme) -> None:
        """Show another table, unless it is the same."""
        if table == self._table and theme is self._theme:
            return
        is_new = self._table is None or table.columns != self._table.columns
        self._table, self._theme = table, theme
        self.setColumnCount(len(table.columns))
        self.setRowCount(len(table.rows))
        for column, (name, number) in enumerate(table.columns):
            head = QTableWidgetItem(line_icon(number, theme), name)
            head.setToolTip(name)
            self.setHorizontalHeaderItem(column, head)
        for row, (name, help_text, cells) in enumerate(table.rows):
            head = QTableWidgetItem(name)
            head.setToolTip(help_text)
            self.setVerticalHeaderItem(row, head)
            for column, cell in enumerate(cells):
                self._show_cell(row, column, cell)
        if is_new:
            self.resizeColumnsToContents()
            for column in range(self.columnCount()):
                self.setColumnWidth(column, min(300, max(96, self.columnWidth(column))))

    def _show_cell(self, row: int, column: int, cell: Cell) -> None:
        item = self.item(row, column)
        if item is None:
            item = QTableWidgetItem()
            self.setItem(row, column, item)
        if item.text() != cell.text:
            item.setText(cell.text)
        font = item.font()
        if font.bold() != cell.strong:
            font.setBold(cell.strong)
            item.setFont(font)
        item.setToolTip(cell.tip or (cell.text if len(cell.text) > 30 else ""))

    def text(self) -> str:
        """The content as tab-separated text, for a spreadsheet."""
        return as_tsv(self._table) if self._table is not None else ""
