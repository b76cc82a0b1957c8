"""The tabs below the plots: workers, events, and the agents of a multi-agent run."""

from PySide6.QtWidgets import QStackedWidget, QTabBar, QWidget

from raydash.core.words import numbers
from raydash.link.session import Session
from raydash.ui.kit.card import Card
from raydash.ui.kit.draw_clock import DrawClock
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.tables.agent_table import AgentTable
from raydash.ui.tables.event_list import EventList
from raydash.ui.tables.table_view import WorkerTable

_WORKERS, _EVENTS, _AGENTS = range(3)


class BottomPanel(Card):
    """Worker table and event list, and for multi-agent runs a table of agents.

    Attributes:
        workers: The worker table.
        events: The event list.
        agents: The agent table.
        tabs: Chooses which of them is shown.
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
        self.agents = AgentTable(session)
        self.tabs = QTabBar()
        self.tabs.setObjectName("bottom_tabs")
        self.tabs.setAccessibleName("Workers, events or agents")
        self.tabs.setDrawBase(False)
        self.tabs.setExpanding(False)
        self.tabs.setUsesScrollButtons(False)  # so that it asks for the width of all its tabs
        self.tabs.addTab("Workers")
        self.tabs.addTab("Events")
        self.tabs.addTab("Agents")
        self.tabs.setTabVisible(_AGENTS, False)
        self._stack = QStackedWidget()
        self._stack.addWidget(self.workers)
        self._stack.addWidget(self.events)
        self._stack.addWidget(self.agents)
        title = self.header.itemAt(0)
        if title is not None and (label := title.widget()) is not None:
            label.hide()  # the tabs say the same
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
        clock.register(self.agents)
        clock.register(self)
        self._on_tab(0)

    # --- a view of the draw clock: only an update says whether there are agents ---

    def is_dirty(self) -> bool:
        """Whether the tab of the agents has to come or go, or its summary has changed."""
        if (self.agents.agents is not None) != self.tabs.isTabVisible(_AGENTS):
            return True
        return self.tabs.currentIndex() == _AGENTS and self.agents.is_dirty()

    def draw(self) -> None:
        """Show the tab of the agents if the run has any."""
        has_agents = self.agents.agents is not None
        if not has_agents and self.tabs.currentIndex() == _AGENTS:
            self.tabs.setCurrentIndex(_WORKERS)
        self.tabs.setTabVisible(_AGENTS, has_agents)
        self.tabs.updateGeometry()  # Qt does not do that, and the new tab would lie outside
        self._refresh()

    def _on_tab(self, number: int) -> None:
        self._stack.setCurrentIndex(number)
        self.workers.filter.setVisible(number == _WORKERS)
        self.events.details.setVisible(number == _EVENTS)
        self._refresh()

    def _on_summary(self, summary: str) -> None:
        self._summary = summary
        self._refresh()

    def _refresh(self) -> None:
        run = self._store.shown
        match self.tabs.currentIndex():
            case 0:
                text = self._summary
            case 1:
                text = numbers.plural(len(run.events) if run else 0, "event")
            case _:
                text = self.agents.summary()
        is_one_of_many = run is not None and len(self._store.runs) > 1
        self.set_subtitle(f"{run.name} · {text}" if run and is_one_of_many else text)
