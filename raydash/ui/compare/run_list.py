"""The list of compared runs: tick to show, select to highlight, remove."""

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QWidget
from typing_extensions import override

from raydash.core.words import spans
from raydash.ui.compare.curves import ComparedRun
from raydash.ui.kit import run_words
from raydash.ui.kit.run_style import line_icon
from raydash.ui.kit.theme import Theme

_RUN_ID = Qt.ItemDataRole.UserRole


class CompareRunList(QListWidget):
    """One entry per run, with a piece of its line, its name and its state.

    Signals:
        shown_changed(run_id, shown): A box was ticked or unticked.
        highlighted(run_id): Another run is selected; empty: none.
        removal_wanted: Delete was pressed.
    """

    shown_changed = Signal(str, bool)
    highlighted = Signal(str)
    removal_wanted = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("compare_runs")
        self.setAccessibleName("Runs that are compared")
        self.setIconSize(QSize(18, 12))
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.itemChanged.connect(self._on_changed)
        self.currentItemChanged.connect(self._on_current)

    @override
    def sizeHint(self) -> QSize:
        return QSize(240, 200)

    def refresh(self, entries: Sequence[ComparedRun], numbers: Sequence[int], theme: Theme) -> None:
        """Bring the entries up to date in place.

        Args:
            entries: The runs.
            numbers: For each run the number of the line that shows it, from which its colour
                follows.
            theme: Gives the colours.
        """
        self.blockSignals(True)
        while self.count() > len(entries):
            self.takeItem(self.count() - 1)
        while self.count() < len(entries):
            item = QListWidgetItem()
            item.setFlags(item.flags() | Qt.ItemFlag.ItemIsUserCheckable)
            self.addItem(item)
        for row, (entry, number) in enumerate(zip(entries, numbers, strict=True)):
            item = self.item(row)
            text, tip = f"{entry.label}\n{_state(entry)}", _tip(entry)
            if item.text() != text:
                item.setText(text)
            if item.toolTip() != tip:
                item.setToolTip(tip)
            look = (number, theme.name)
            if item.data(_RUN_ID + 1) != look:
                item.setData(_RUN_ID + 1, look)
                item.setIcon(line_icon(number, theme))
            item.setData(_RUN_ID, entry.run.run_id)
            ticked = Qt.CheckState.Checked if entry.shown else Qt.CheckState.Unchecked
            if item.checkState() != ticked or item.data(Qt.ItemDataRole.CheckStateRole) is None:
                item.setCheckState(ticked)
        self.blockSignals(False)

    def current_run_id(self) -> str:
        """The id of the selected run; empty if there is none."""
        item = self.currentItem()
        return str(item.data(_RUN_ID)) if item is not None and item.isSelected() else ""

    @override
    def keyPressEvent(self, event: QKeyEvent) -> None:
        """Remove the selected run on Delete."""
        if event.key() == Qt.Key.Key_Delete:
            self.removal_wanted.emit()
        else:
            super().keyPressEvent(event)

    def _on_changed(self, item: QListWidgetItem) -> None:
        is_shown = item.checkState() is Qt.CheckState.Checked
        self.shown_changed.emit(item.data(_RUN_ID), is_shown)

    def _on_current(self, item: QListWidgetItem | None) -> None:
        self.highlighted.emit(str(item.data(_RUN_ID)) if item is not None else "")


def _state(entry: ComparedRun) -> str:
    latest = entry.run.latest
    if latest is None:
        return "is being opened…"
    state = run_words.run_state(latest.state, paused=latest.paused)
    return f"{state} · {spans.rough(latest.figures.elapsed_s)}"


def _tip(entry: ComparedRun) -> str:
    run = entry.run
    lines = [run.run_id]
    if run.spec is not None:
        lines.append(f"{run.spec.env.id}, seed {run.spec.rollout.seed}")
    if run.info is not None:
        lines += [run.info.owner, run.info.started_utc]
    return "\n".join(line for line in lines if line)
