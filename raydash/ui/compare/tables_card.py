"""The card below the plot of a comparison: figures and differences, as two tabs."""

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QLabel, QPushButton, QStackedWidget, QTabBar

from raydash.core.clock import Clock
from raydash.ui.compare import labels
from raydash.ui.compare.curves import CompareChoice, ComparedRun
from raydash.ui.compare.plot import REDRAW_S
from raydash.ui.compare.tables import CompareTable, differences_of, figures_of
from raydash.ui.kit.card import Card
from raydash.ui.kit.theme import ThemeManager

_NO_DIFFERENCES = "the specs of these runs do not differ"


class TablesCard(Card):
    """Shows the two tables as tabs. It is a view of the draw clock."""

    def __init__(self, clock: Clock, themes: ThemeManager) -> None:
        super().__init__()
        self._themes = themes
        self._clock = clock
        self._entries: tuple[ComparedRun, ...] = ()
        self._choice = CompareChoice()
        self._stamp = 0
        self._drawn: object = None
        self._drawn_versions: tuple[int, ...] = ()
        self._drawn_s = float("-inf")
        self.figures = CompareTable("compare_figures", "Figures of the runs")
        self.differences = CompareTable("compare_differences", "Differences of the specs")
        self.nothing = QLabel(_NO_DIFFERENCES)
        self.nothing.setProperty("role", "muted")
        self.nothing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.tabs = QTabBar()
        self.tabs.setObjectName("compare_tabs")
        self.tabs.setAccessibleName("Figures or differences")
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.addTab("Figures")
        self.tabs.addTab("Differences")
        self.copy = QPushButton("Copy table")
        self.copy.setObjectName("compare_copy_table")
        self.copy.setToolTip("For a spreadsheet: columns parted by tabs")
        self.stack = QStackedWidget()
        for page in (self.figures, self.differences, self.nothing):
            self.stack.addWidget(page)
        title = self.header.itemAt(0)
        if title is not None and (label := title.widget()) is not None:
            label.hide()  # the tabs say the same
        self.header.insertWidget(0, self.tabs)
        self.add_corner(self.copy)
        self.body.addWidget(self.stack)
        self.setAccessibleName("Figures and differences")
        self.tabs.currentChanged.connect(self._on_tab)
        self.copy.clicked.connect(self._on_copy)

    def set_entries(self, entries: Sequence[ComparedRun], choice: CompareChoice) -> None:
        """Show other runs, or group them differently."""
        self._entries, self._choice = tuple(entries), choice
        self._stamp += 1

    def is_dirty(self) -> bool:
        """Whether a drawing would show something new."""
        if self._state() != self._drawn:
            return True
        is_due = self._clock() - self._drawn_s >= REDRAW_S
        return is_due and self._versions() != self._drawn_versions

    def draw(self) -> None:
        """Fill the table that is visible."""
        self._drawn, self._drawn_versions = self._state(), self._versions()
        self._drawn_s = self._clock()
        theme = self._themes.theme
        differences = differences_of(self._entries)
        self.tabs.setTabText(1, f"Differences ({len(differences.rows)})")
        if self.tabs.currentIndex() == 0:
            table = figures_of(self._entries, self._choice)
            self.figures.show_table(table, theme)
            self.stack.setCurrentWidget(self.figures)
        else:
            self.differences.show_table(differences, theme)
            self.stack.setCurrentWidget(self.differences if differences.rows else self.nothing)
        self.set_subtitle(self._explanation())

    def _explanation(self) -> str:
        if self.tabs.currentIndex() == 1:
            return "keys of the spec; bold: not as in the first run"
        if self._choice.centre is not None:
            return f"{labels.CENTRES[self._choice.centre]} of the seeds [bootstrap 95 % interval]"
        return "bold: the best, where better is clear"

    def _state(self) -> object:
        return (self._stamp, self.tabs.currentIndex(), self._themes.theme.name)

    def _versions(self) -> tuple[int, ...]:
        return tuple(entry.run.version for entry in self._entries)

    def _on_tab(self) -> None:
        self.draw()

    def _on_copy(self) -> None:
        self.draw()
        table = self.figures if self.tabs.currentIndex() == 0 else self.differences
        QGuiApplication.clipboard().setText(table.text())
