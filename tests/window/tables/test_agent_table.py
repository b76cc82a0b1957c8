"""Multi-agent runs have a tab with their agents; choosing one shows its curve."""

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QTabBar
from pytestqt.qtbot import QtBot

from raydash.core.events import Event, EventKind
from raydash.core.words import numbers
from raydash.link.session import Session
from raydash.ui.frame.main_window import MainWindow
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.tables.agent_table import AgentModel
from raydash.ui.tables.event_list import EventModel
from tests.fakes.updates.named_updates import AGENTS, with_names
from tests.fakes.updates.updates import make_update


def tabs_of(window: MainWindow) -> QTabBar:
    found = window.findChild(QTabBar, "bottom_tabs")
    assert found is not None
    return found


def tick(window: MainWindow) -> None:
    bottom = window.bottom
    if bottom.is_dirty():
        bottom.draw()
    if bottom.agents.is_dirty():
        bottom.agents.draw()


def show(window: MainWindow, session: Session, agents: tuple[str, ...]) -> None:
    run = session.store.shown
    assert run is not None
    assert run.latest is not None
    seq = run.latest.seq
    session.store.receive(with_names(make_update(seq=seq + 1, since_seq=seq), agents=agents))
    tick(window)


def cells(window: MainWindow) -> list[list[str]]:
    model = window.bottom.agents.view.model()
    return [
        [
            str(model.index(row, column).data()).replace(numbers.THIN, " ")
            for column in range(model.columnCount())
        ]
        for row in range(model.rowCount())
    ]


def test_tab_is_there_for_multi_agent_runs_only(
    running: Session, window: MainWindow, qtbot: QtBot
) -> None:
    tabs = tabs_of(window)
    tick(window)
    assert [tabs.isTabVisible(n) for n in range(3)] == [True, True, False]
    show(window, running, AGENTS)
    assert tabs.isTabVisible(2)
    qtbot.waitUntil(lambda: tabs.tabRect(2).right() < tabs.width(), timeout=30_000)  # it has room
    tabs.setCurrentIndex(2)
    wanted = [["walker_0", "10", "12", "1 000", "50"], ["walker_1", "20", "24", "2 000", "100"]]
    # Figures change no faster than people can read.
    qtbot.waitUntil(lambda: cells(window) == wanted, timeout=30_000)
    assert "2 agents · 3 000 agent steps" in (
        window.bottom.subtitle().replace(numbers.THIN, " ").replace(numbers.NBSP, " ")
    )
    show(window, running, ())
    assert not tabs.isTabVisible(2)
    assert tabs.currentIndex() == 0


def test_rows_sort_by_figures(running: Session, window: MainWindow, qtbot: QtBot) -> None:
    show(window, running, ("a_2", "a_10", "a_1"))
    tabs_of(window).setCurrentIndex(2)
    qtbot.waitUntil(lambda: len(cells(window)) == 3, timeout=30_000)
    window.bottom.agents.view.sortByColumn(1, Qt.SortOrder.DescendingOrder)
    assert [row[0] for row in cells(window)] == ["a_1", "a_10", "a_2"]


def test_agent_that_joins_gets_a_row_and_the_others_stay(qtbot: QtBot) -> None:
    model = AgentModel()
    two = with_names(make_update(), agents=AGENTS).agents
    three = with_names(make_update(), agents=(*AGENTS, "walker_2")).agents
    assert two is not None
    assert three is not None
    model.show_agents(two)
    with qtbot.assertNotEmitted(model.modelReset):
        model.show_agents(replace(three, episode_return_mean=np.array([1.0, np.nan, 3.0])))
    assert model.rowCount() == 3
    assert [model.index(row, 1).data() for row in range(3)] == ["1", numbers.UNKNOWN, "3"]
    model.show_agents(two)
    assert model.rowCount() == 2


def test_chosen_agent_is_shown_in_the_return_plot(
    window: MainWindow, running: Session, qtbot: QtBot
) -> None:
    show(window, running, AGENTS)
    view = window.bottom.agents.view
    tabs_of(window).setCurrentIndex(2)
    qtbot.waitUntil(lambda: view.model().rowCount() == 2, timeout=30_000)
    view.activated.emit(view.model().index(1, 0))
    plot = window.overview.plots.episode_return
    assert plot.shown_metric == "agent_episode_return_mean/walker_1"


@pytest.mark.parametrize("kind", list(EventKind))
def test_every_kind_of_event_has_a_line_with_a_sign(kind: EventKind, themes: ThemeManager) -> None:
    model = EventModel(themes)
    model.set_events([Event(1, 0.0, kind, "something")])
    assert not model.index(0).data(Qt.ItemDataRole.DecorationRole).isNull()
    assert "something" in model.index(0).data()
