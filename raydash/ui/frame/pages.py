"""The pages in the middle of the window: run view, library and comparison."""

from typing import TYPE_CHECKING

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QStackedWidget, QWidget

from raydash.link.session import Session
from raydash.ui.frame.actions import Actions
from raydash.ui.kit.draw_clock import DrawClock
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.library.page import LibraryPage
from raydash.ui.runs.numbers import RunNumbers

if TYPE_CHECKING:
    from raydash.ui.compare.page import ComparePage


class Pages(QStackedWidget):
    """Shows one page at a time; the actions of library and comparison go there and back.

    Attributes:
        run_view: The page of the shown run, live or recorded.
        library: The page of all recordings.
        comparison: The compare page; None until runs are compared for the first time.

    Signals:
        run_again_requested(RunSpec): Put this spec into the form.
        said(str): One line about what to do.
    """

    run_again_requested = Signal(object)
    said = Signal(str)

    def __init__(
        self,
        session: Session,
        themes: ThemeManager,
        clock: DrawClock,
        numbers: RunNumbers,
        actions: Actions,
        run_view: QWidget,
    ) -> None:
        super().__init__()
        self._session = session
        self._themes = themes
        self._clock = clock
        self._numbers = numbers
        self._actions = actions
        self.run_view = run_view
        self.library = LibraryPage(session, themes)
        self.comparison: ComparePage | None = None
        self.addWidget(self.run_view)
        self.addWidget(self.library)
        self.library.compare_requested.connect(self.compare)
        self.library.run_again_requested.connect(self.run_again_requested)
        self.library.said.connect(self.said)
        actions.library.triggered.connect(self._on_library)
        actions.compare.triggered.connect(self._on_compare)
        self.currentChanged.connect(self._check_actions)
        session.library.shown.connect(self.show_run_view)
        session.own_runs.started.connect(self.show_run_view)

    def show_run_view(self) -> None:
        """Go to the page of the shown run, live or recorded."""
        self.setCurrentWidget(self.run_view)

    def show_library(self) -> None:
        """Go to the page of all recordings."""
        self.setCurrentWidget(self.library)

    def compare(self, run_ids: tuple[str, ...]) -> None:
        """Go to the compare page with these runs."""
        if self.comparison is None:
            self.comparison = self._make_comparison()
        recorded = {run_id: self._session.store.recorded(run_id) for run_id in run_ids}
        titles = {run_id: run.title for run_id, run in recorded.items() if run is not None}
        for run_id in run_ids:
            self._session.library.load(run_id)
        self.comparison.set_runs(run_ids, titles)
        self.setCurrentWidget(self.comparison)

    def _make_comparison(self) -> "ComparePage":
        # Not before it is needed, for importing it would delay the window's first paint.
        from raydash.ui.compare.page import ComparePage

        page = ComparePage(self._session, self._themes, self._numbers)
        page.register_with(self._clock)
        page.run_again_requested.connect(self.run_again_requested)
        page.report_requested.connect(self.library.ask_report_of)
        page.closed.connect(self.show_library)
        layout = page.layout()
        if layout is not None:
            layout.setContentsMargins(0, 4, 0, 6)  # the window has margins of its own
        self.addWidget(page)
        return page

    def _on_library(self) -> None:
        if self.currentWidget() is self.library:
            self.show_run_view()
        else:
            self.show_library()
        self._check_actions()

    def _on_compare(self) -> None:
        if self.comparison is None:
            self.show_library()
            self.said.emit("select two runs or more, then press Compare")
        elif self.currentWidget() is self.comparison:
            self.show_run_view()
        else:
            self.setCurrentWidget(self.comparison)
        self._check_actions()

    def _check_actions(self) -> None:
        """Check the action of the page that is shown."""
        page = self.currentWidget()
        self._actions.library.setChecked(page is self.library)
        self._actions.compare.setChecked(page is self.comparison)
