"""The return plot can show another metric of the episodes, if they have any."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtWidgets import QToolButton
from pytestqt.qtbot import QtBot

from raydash.core.words import numbers
from raydash.link.store import RunStore, Store
from raydash.ui.figures.tile_words import tile_texts
from raydash.ui.kit.theme import DARK
from raydash.ui.plots.views.metric_choice import EPISODE_RETURN, metric_words, metrics_of
from raydash.ui.plots.views.return_plot import ReturnPlot
from tests.fakes.updates.named_updates import AGENTS, make_named_store, with_names
from tests.fakes.updates.updates import make_store_with_run, make_update

Show = Callable[[RunStore], ReturnPlot]
WALKER = "agent_episode_return_mean/walker_1"


@pytest.fixture
def show(qtbot: QtBot) -> Show:
    def make(run: RunStore) -> ReturnPlot:
        plot = ReturnPlot()
        qtbot.addWidget(plot)
        plot.resize(600, 300)
        plot.set_theme(DARK)
        plot.set_run(run)
        plot.show()
        qtbot.waitUntil(lambda: plot.has_chart, timeout=30_000)
        plot.draw()
        return plot

    return make


def choice_of(plot: ReturnPlot) -> QToolButton:
    found = plot.findChild(QToolButton, "plot_episode_return_metric")
    assert found is not None
    return found


def offered(plot: ReturnPlot) -> list[str]:
    menu = choice_of(plot).menu()
    menu.aboutToShow.emit()
    return [action.text() for action in menu.actions()]


def choose(plot: ReturnPlot, words: str) -> None:
    menu = choice_of(plot).menu()
    menu.aboutToShow.emit()
    next(action for action in menu.actions() if action.text() == words).trigger()
    assert plot.is_dirty()
    plot.draw()


def test_names_are_offered_in_an_order_for_people() -> None:
    names = ("score", WALKER, "is_success")
    assert metrics_of(names) == (EPISODE_RETURN, "is_success", WALKER, "score")
    assert metric_words(WALKER) == "walker_1 return"


def test_run_without_names_has_a_plain_title(show: Show) -> None:
    _, run = make_store_with_run()
    plot = show(run)
    assert choice_of(plot).isHidden()
    assert plot.shown_metric == EPISODE_RETURN


def test_title_becomes_a_choice_and_the_plot_shows_what_is_chosen(show: Show) -> None:
    _, run = make_named_store(agents=AGENTS)
    plot = show(run)
    assert choice_of(plot).isVisible()
    assert choice_of(plot).text() == "Episode return"
    assert offered(plot) == [
        "Episode return", "is_success", "walker_0 return", "walker_1 return", "score",
    ]  # fmt: skip
    choose(plot, "is_success")
    assert (choice_of(plot).text(), plot.empty_text) == ("is_success", "")
    assert plot.value_limits()[1] <= 1.25
    assert [item.text for item in plot.legend()] == ["mean"]
    part = plot.scope.part()
    assert part is not None
    assert plot.read_out(part, len(part) - 1).startswith("mean 0.9")
    choose(plot, "Episode return")
    assert plot.value_limits()[1] > 100


def test_choice_is_as_high_as_a_title_and_its_menu_shows_every_metric(show: Show) -> None:
    _, run = make_named_store(agents=AGENTS)
    plot = show(run)
    assert choice_of(plot).height() == 20
    menu = choice_of(plot).menu()
    menu.popup(plot.mapToGlobal(plot.rect().center()))
    assert menu.height() >= sum(menu.actionGeometry(each).height() for each in menu.actions())
    assert len(menu.actions()) == 5
    menu.close()


def test_choice_stays_where_a_run_has_it_and_others_show_their_return(show: Show) -> None:
    _, run = make_named_store()
    plot = show(run)
    choose(plot, "score")
    _, other = make_store_with_run()
    plot.set_run(other)
    plot.draw()
    assert plot.shown_metric == EPISODE_RETURN
    assert choice_of(plot).isHidden()
    plot.set_run(run)
    plot.draw()
    assert choice_of(plot).text() == "score"


def test_names_that_come_later_are_offered(show: Show) -> None:
    store = Store(clock=lambda: 600.0)
    store.receive(make_update())
    store.show_run(make_update().run_id)
    run = store.shown
    assert run is not None
    plot = show(run)
    assert choice_of(plot).isHidden()
    later = with_names(make_update(seq=2, since_seq=1))
    store.receive(later)
    assert plot.is_dirty()
    plot.draw()
    assert offered(plot)[1:] == ["is_success", "score"]
    choose(plot, "score")
    series = run.recent
    assert np.isnan(series.scalar("score")[0])
    assert np.isfinite(series.scalar("score")[-1])


def test_csv_has_every_metric(show: Show) -> None:
    _, run = make_named_store(agents=AGENTS)
    head = show(run).csv().splitlines()[0]
    assert head.endswith(f"is_success,score,agent_episode_return_mean/walker_0,{WALKER}")


def test_tile_says_how_many_succeed() -> None:
    update = make_update()
    figures = replace(update.figures, recent_n=100, recent_return_mean=10.0)
    text = tile_texts(with_names(replace(update, figures=figures)))["episode_return"].small[0]
    assert "success 83 %" in text.replace(numbers.NBSP, " ")
