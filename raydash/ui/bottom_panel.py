"""Below the plots: the workers, and what happened, as two tabs of one card."""

from PySide6.QtWidgets import QStackedWidget, QTabBar, QWidget

from raydash.link.session import Session
from raydash.ui import words
from raydash.ui.card import Card
from raydash.ui.draw_clock import DrawClock
from raydash.ui.event_list import EventList
from raydash.ui.theme import ThemeManager
from raydash.ui.workers.table_view import WorkerTable


class BottomPanel(Card):
    """Worker table and event list.

    Attributes:
        workers: The worker table.
        events: The event list.
        tabs: Which of them is shown.
    """

    def __init__(
        self,
        session: Session,
        themes: ThemeManager,
        clock: DrawClock,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent=parent)
        self._store = session.store
        self._summary = ""
        self.workers = WorkerTable(session, themes)
        self.events = EventList(session, themes)
        self.tabs = QTabBar()
        self.tabs.setObjectName("bottom_tabs")
        self.tabs.setAccessibleName("Workers or events")
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.addTab("Workers")
        self.tabs.addTab("Events")
        self._stack = QStackedWidget()
        self._stack.addWidget(self.workers)
        self._stack.addWidget(self.events)
        title = self.header.itemAt(0)
        if title is not None and (label := title.widget()) is not None:
            label.hide()  # the tabs say it
        self.header.insertWidget(0, self.tabs)
        self.add_corner(self.workers.filter)
        self.add_corner(self.events.details)
        self.body.addWidget(self._stack)
        self.tabs.currentChanged.connect(self._on_tab)
        self.workers.summary_changed.connect(self._on_summary)
        self.events.drawn.connect(self._refresh)
        session.store.shown_run_changed.connect(self._refresh)
        session.store.runs_changed.connect(self._refresh)
        clock.register(self.workers)
        clock.register(self.events)
        self._on_tab(0)

    def _on_tab(self, number: int) -> None:
        self._stack.setCurrentIndex(number)
        self.workers.filter.setVisible(number == 0)
        self.events.details.setVisible(number == 1)
        self._refresh()

    def _on_summary(self, summary: str) -> None:
        self._summary = summary
        self._refresh()

    def _refresh(self) -> None:
        on_workers = self.tabs.currentIndex() == 0
        run = self._store.shown
        events = words.plural(len(run.events) if run else 0, "event")
        said = self._summary if on_workers else events
        is_one_of_many = run is not None and len(self._store.runs) > 1
        self.set_subtitle(f"{run.name} · {said}" if run and is_one_of_many else said)
