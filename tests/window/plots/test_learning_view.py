"""What a window shows of a run that learns: the learning curve, its figures, versions."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtWidgets import QToolButton
from pytestqt.qtbot import QtBot

from raydash.core.states import RunState
from raydash.core.updates import LearningFigures
from raydash.core.words import numbers
from raydash.link.session import Session
from raydash.link.store import RunStore, Store
from raydash.ui.figures.tile_words import tile_texts
from raydash.ui.frame.main_window import MainWindow
from raydash.ui.frame.overview import Overview
from raydash.ui.kit.theme import DARK
from raydash.ui.plots.shown.scope import DrawnRun
from raydash.ui.plots.views.learning_plot import LearningPlot
from raydash.ui.tables.columns import COLUMN_OF
from tests.fakes.engines.engine import FakeEngine, summary
from tests.fakes.updates.learning import (
    make_generations,
    make_learning,
    make_learning_update,
    make_store_that_learns,
)
from tests.fakes.updates.updates import RUN_ID, make_store_with_run, make_update

Show = Callable[..., tuple[Overview, Store, RunStore]]


def plain(text: str) -> str:
    return text.replace(numbers.THIN, " ").replace(numbers.NBSP, " ")


@pytest.fixture
def show(qtbot: QtBot, private_dirs: object) -> Show:
    """A visible overview that has drawn a run that learns."""

    def make(t_s: float = 40.0, width: int = 1000) -> tuple[Overview, Store, RunStore]:
        store, run = make_store_that_learns(t_s=t_s)
        overview = Overview()
        qtbot.addWidget(overview)
        overview.resize(width, 700)
        overview.set_theme(DARK)
        overview.set_run(run)
        overview.plots.draw()
        overview.tiles.draw()
        overview.show()
        qtbot.waitUntil(
            lambda: all(plot.has_chart for plot in overview.plots.shown), timeout=30_000
        )
        draw(overview)
        return overview, store, run

    return make


def draw(overview: Overview) -> None:
    for plot in overview.plots.shown:
        if plot.is_dirty():
            plot.draw()


def read_at(plot: LearningPlot, t_s: float) -> str:
    low_s, high_s = plot.scope.view()
    plot.scope.set_cursor((t_s - low_s) / (high_s - low_s))
    plot.draw()
    return plain(plot.subtitle())


# --- the store -----------------------------------------------------------------------------------


def test_generations_that_come_in_parts_are_those_of_the_whole_run() -> None:
    store, run = make_store_that_learns(t_s=10.0)
    store.receive(make_learning_update(seq=2, since_seq=1, t_s=12.0, since_s=10.0))
    np.testing.assert_array_equal(run.generations.columns.number, make_generations(24).number)
    np.testing.assert_array_equal(
        run.generations.columns.evaluation_mean, make_generations(24).evaluation_mean
    )


def test_snapshot_forgets_generations_that_the_moment_does_not_know() -> None:
    store, run = make_store_that_learns(t_s=40.0)
    store.receive(make_learning_update(seq=2, t_s=10.0))
    assert len(run.generations) == 20


def test_run_learns_from_its_first_snapshot_on() -> None:
    _, run = make_store_that_learns()
    assert run.learns
    _, other = make_store_with_run()
    assert not other.learns
    assert len(other.generations) == 0


# --- the plots' places ---------------------------------------------------------------------------


def names(overview: Overview) -> set[str]:
    return {plot.objectName() for plot in overview.plots.shown}


def test_learning_curve_is_there_only_of_a_run_that_learns(show: Show) -> None:
    overview, _, _ = show()
    assert names(overview) == {
        *("plot_learning", "plot_endings", "plot_throughput", "heatmap_throughput"),
    }
    _, other = make_store_with_run()
    overview.set_run(other)
    assert overview.plots.is_dirty()
    overview.plots.draw()
    assert names(overview) == {
        *("plot_episode_return", "plot_endings", "plot_throughput", "heatmap_throughput"),
    }


def test_wide_window_has_room_for_all_plots(show: Show) -> None:
    overview, _, _ = show(width=1600)
    assert len(names(overview)) == 5
    learning, usual = overview.plots.learning, overview.plots.episode_return
    assert learning.height() > 1.5 * usual.height()
    overview.resize(1000, 700)
    overview.grab()
    assert len(names(overview)) == 4


def test_user_chooses_which_plot_the_learning_curve_takes_the_place_of(
    show: Show, qtbot: QtBot
) -> None:
    overview, _, _ = show()
    swap = overview.findChild(QToolButton, "plot_learning_swap")
    assert swap is not None
    menu = swap.menu()
    menu.aboutToShow.emit()
    chosen = next(each for each in menu.actions() if each.text() == "Throughput per worker")
    chosen.trigger()
    kept = {"plot_learning", "plot_episode_return", "plot_endings", "plot_throughput"}
    assert names(overview) == kept
    later = Overview()
    qtbot.addWidget(later)
    _, run = make_store_that_learns()
    later.set_run(run)
    later.plots.draw()
    assert names(later) == kept


# --- the learning curve --------------------------------------------------------------------------


def test_generation_under_the_cursor_is_read_out(show: Show) -> None:
    overview, _, run = show()
    plot, columns = overview.plots.learning, run.generations.columns
    row = 29  # generation 30 ended at 15 s, and was evaluated
    said = read_at(plot, 15.0)
    worst, steps = columns.return_worst[row], columns.num_env_steps[row]
    assert said.startswith(
        f"0:15 · generation 30 · 10 episodes evaluated · worst {plain(numbers.decimal(worst))} · "
        f"{plain(numbers.count(steps))} steps · sigma "
    )
    assert "evaluated" not in read_at(plot, 15.5)


def test_figures_under_the_cursor_stand_beside_their_colours(show: Show) -> None:
    overview, _, run = show()
    plot, columns = overview.plots.learning, run.generations.columns
    assert {item.value for item in plot.legend()} == {""}
    read_at(plot, 15.0)
    values = {item.text: item.value for item in plot.legend()}
    assert values["mean"] == numbers.decimal(columns.return_mean[29])
    assert values["best"] == numbers.decimal(columns.return_best[29])
    assert values["evaluation"] == numbers.decimal(columns.evaluation_mean[29])
    read_at(plot, 15.5)
    values = {item.text: item.value for item in plot.legend()}
    assert values["evaluation"] == numbers.UNKNOWN


def test_values_hold_best_evaluations_and_target(show: Show) -> None:
    overview, _, run = show(t_s=6.0)
    low, high = overview.plots.learning.canvas.y_range
    assert run.generations.columns.return_best.max() < 200
    assert high >= 475.0
    assert low <= run.generations.columns.return_mean.min()


def test_legend_names_the_target(show: Show) -> None:
    overview, _, _ = show()
    assert "– – target 475" in [item.text for item in overview.plots.learning.legend()]


def test_curve_without_a_target_has_no_line_for_it(show: Show) -> None:
    overview, store, _ = show()
    learning = replace(make_learning(40.5, 40.0), target_return=None)
    update = make_learning_update(seq=2, since_seq=1, t_s=40.5, since_s=40.0)
    store.receive(replace(update, learning=learning))
    draw(overview)
    assert not any("target" in item.text for item in overview.plots.learning.legend())


def test_before_the_first_generation_its_progress_is_said(show: Show) -> None:
    overview, store, _ = show(t_s=0.25)
    assert overview.plots.learning.empty_text == (
        "the first generation is being played: 8 of 16 candidates"
    )
    store.receive(make_learning_update(seq=2, since_seq=1, t_s=0.5, since_s=0.25))
    draw(overview)
    assert overview.plots.learning.empty_text == ""


def test_run_whose_learner_is_not_there_yet_says_so(show: Show) -> None:
    overview, store, _ = show(t_s=0.25)
    update = make_learning_update(seq=2, since_seq=1, t_s=0.3, since_s=0.25)
    store.receive(replace(update, learning=LearningFigures()))
    draw(overview)
    assert overview.plots.learning.empty_text == "the learner is starting"


def test_generation_that_comes_makes_the_curve_dirty_without_a_new_bucket(show: Show) -> None:
    overview, store, run = show()
    plot = overview.plots.learning
    assert not plot.is_dirty()
    update = make_learning_update(seq=2, since_seq=1, t_s=40.0, since_s=40.0)
    learning = replace(make_learning(40.0, 40.0), generations=make_generations(81, 81))
    store.receive(replace(update, learning=learning))
    assert len(run.generations) == 81
    assert plot.is_dirty()


def test_frozen_curve_stands_still(show: Show) -> None:
    overview, store, run = show()
    overview.set_frozen(True)
    store.receive(make_learning_update(seq=2, since_seq=1, t_s=45.0, since_s=40.0))
    assert len(run.generations) == 90
    lines = csv_lines(overview.plots.learning)
    assert len(lines) == 80


def csv_lines(plot: LearningPlot) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(plot.csv())))


def test_csv_has_the_visible_generations(show: Show) -> None:
    overview, _, run = show()
    overview.scope.zoom_to(10.0, 20.0)
    lines = csv_lines(overview.plots.learning)
    assert [int(line["number"]) for line in lines] == list(range(20, 41))
    columns = run.generations.columns
    assert float(lines[0]["return_mean"]) == pytest.approx(columns.return_mean[19])
    assert [line["number"] for line in lines if line["evaluation_mean"]] == [
        *("20", "25", "30", "35", "40"),
    ]


def test_picture_of_the_curve_is_not_empty(show: Show) -> None:
    overview, _, _ = show()
    image = overview.plots.learning.canvas.grab().toImage()
    colours = {
        image.pixelColor(x, y).name()
        for x in range(0, image.width(), 3)
        for y in range(image.height())
    }
    assert DARK.accent in colours
    assert DARK.series[0] in colours
    assert DARK.good in colours


# --- other runs over it --------------------------------------------------------------------------


def test_other_runs_that_learn_are_laid_over_the_curve(show: Show) -> None:
    overview, store, run = show()
    other = replace(make_learning_update(t_s=20.0), run_id="other")
    store.receive(other)
    store.receive(replace(make_update(2, t_s=30.0), run_id="random"))
    others = [
        DrawnRun(store.runs[each], each, number)
        for number, each in enumerate(("other", "random"), 1)
    ]
    overview.set_time_axis("clock")
    overview.set_drawn(DrawnRun(run, "mine", 0), others)
    draw(overview)
    plot = overview.plots.learning
    names = [item.text for item in plot.legend()]
    assert names[:2] == ["mine", "other"]
    assert "random" not in names
    (curve,) = plot._overlaid.curves
    assert curve.x.max() == pytest.approx(20.0)
    assert curve.y.max() == pytest.approx(make_generations(40).return_mean.max(), rel=0.1)


def test_run_without_generations_yet_shows_those_of_the_others(show: Show) -> None:
    overview, store, run = show(t_s=0.25)
    store.receive(replace(make_learning_update(t_s=20.0), run_id="other"))
    overview.set_time_axis("clock")
    overview.set_range("whole")
    overview.set_drawn(DrawnRun(run, "mine", 0), [DrawnRun(store.runs["other"], "other", 1)])
    draw(overview)
    assert overview.plots.learning.empty_text == ""
    assert len(overview.plots.learning._overlaid.curves) == 1


# --- the figures ---------------------------------------------------------------------------------


def test_evaluation_stands_beside_its_target() -> None:
    update = make_learning_update()
    learning = replace(
        make_learning(40.0),
        evaluation_episode_return_mean=412.25,
        best_episode_return_mean=500.0,
    )
    text = tile_texts(replace(update, learning=learning))["evaluation"]
    assert (text.value, text.tone) == ("412.2", "text")
    assert plain(text.small[0]) == (
        "mean of 10 episodes of the best guess · target 475 · best candidate 500"
    )
    reached = replace(learning, evaluation_episode_return_mean=475.0)
    assert tile_texts(replace(update, learning=reached))["evaluation"].tone == "good"


def test_before_the_first_evaluation_the_tile_says_so() -> None:
    text = tile_texts(make_learning_update(t_s=1.0))["evaluation"]
    assert text.value == numbers.UNKNOWN
    assert plain(text.small[0]).startswith("no evaluation yet · target 475 · best candidate ")


def test_generation_says_its_age_and_progress() -> None:
    learning = replace(
        make_learning(40.3), weights_seq_no=41, weights_age_s=0.3, num_played=12, num_stale=0
    )
    text = tile_texts(replace(make_learning_update(), learning=learning))["generation"]
    assert text.value == "41"
    assert plain(text.small[0]) == "0.3 s old · 12 of 16 played"


def test_generation_tells_restarts_of_the_search_and_stale_results() -> None:
    learning = replace(make_learning(40.3), num_restarts=2, num_stale=1)
    text = tile_texts(replace(make_learning_update(), learning=learning))["generation"]
    assert plain(text.small[0]).endswith("played · 2 restarts · 1 stale result")


def test_generations_of_a_run_that_is_over_are_counted() -> None:
    update = make_learning_update(state=RunState.FINISHED)
    text = tile_texts(update)["generation"]
    assert text.value == "80"
    assert plain(text.small[0]) == "80 finished generations · 10 parameters · 3 stale results"


@pytest.mark.parametrize(
    ("width", "shown"),
    [
        (1100, {"evaluation", "generation", "env_steps", "episodes", "workers"}),
        (
            1700,
            {
                *("evaluation", "generation", "episode_return", "env_steps", "episodes"),
                *("workers", "time_share"),
            },
        ),
    ],
)
def test_figures_of_learning_find_room(show: Show, width: int, shown: set[str]) -> None:
    overview, _, _ = show(width=width)
    tiles = overview.tiles.tiles
    assert {key for key, tile in tiles.items() if not tile.isHidden()} == shown
    for key in shown:
        assert not tiles[key].small.text().endswith("…"), key


# --- the worker table ----------------------------------------------------------------------------


def test_version_is_shown_of_runs_whose_parameters_change(
    window: MainWindow, session: Session, engine: FakeEngine
) -> None:
    header = window.bottom.workers.view.horizontalHeader()
    engine.come_up(summary())
    engine.answer()
    engine.say(make_update())
    session.show_run(RUN_ID)
    table = window.bottom.workers
    table.draw()
    assert header.isSectionHidden(COLUMN_OF["version"])
    engine.say(make_learning_update(seq=9))
    table.draw()
    assert not header.isSectionHidden(COLUMN_OF["version"])
    assert table.model.index(0, COLUMN_OF["version"]).data() == "81"


# --- young runs ----------------------------------------------------------------------------------


def starts_late(run: RunStore, begun_s: float) -> None:
    """Nothing was stepped before that time, for the workers were starting."""
    steps = run.whole.num_env_steps
    run.whole.num_env_steps = np.where(run.whole.times_s() < begun_s, 0.0, steps)


def test_what_is_followed_begins_with_the_first_step(show: Show) -> None:
    overview, _, run = show(t_s=40.0)
    starts_late(run, 8.0)
    assert overview.scope.view() == (8.0, 40.0)
    starts_late(run, 38.0)
    assert overview.scope.view() == (35.0, 40.0)


def test_short_run_that_is_over_fills_the_width(show: Show) -> None:
    overview, store, run = show(t_s=12.0)
    store.receive(make_learning_update(seq=2, t_s=12.0, state=RunState.FINISHED))
    starts_late(run, 9.0)
    assert overview.scope.view() == (9.0, 12.0)


def test_evaluation_that_comes_while_the_view_moves_on_is_drawn(show: Show) -> None:
    overview, store, run = show(t_s=93.5)
    plot = overview.plots.learning
    overview.set_range("1min")
    plot.canvas.y_range, plot.canvas.y_locked = (0.0, 550.0), True
    draw(overview)
    plot.canvas.grab()
    for seq, t_s in enumerate((94.0, 94.5, 95.0, 95.5, 96.0), start=2):
        store.receive(make_learning_update(seq=seq, since_seq=seq - 1, t_s=t_s, since_s=t_s - 0.5))
        draw(overview)
    assert plot.scope.view() == (36.0, 96.0)
    columns = run.generations.columns
    assert np.isfinite(columns.evaluation_mean[189])
    place = plot.canvas.point(columns.end_s[189], columns.evaluation_mean[189])
    image = plot.canvas.grab().toImage()
    assert image.pixelColor(int(place.x()), int(place.y())).name() == DARK.good
