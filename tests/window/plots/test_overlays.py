"""Curves of several runs in one plot: where they lie, what is read from them, their cost."""

from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtGui import QColor, QFont, QFontMetricsF, QStandardItemModel
from pytestqt.qtbot import QtBot

from raydash.core.states import RunState
from raydash.core.words import numbers
from raydash.link.store import RunStore, Store
from raydash.ui.frame.bars.view_controls import ViewControls
from raydash.ui.frame.overview import Overview
from raydash.ui.kit.run_style import line_colour
from raydash.ui.kit.theme import DARK, LIGHT, ThemeManager
from raydash.ui.plots.chart.legend_row import LegendItem, _fitted
from raydash.ui.plots.shown.placing import ByTime
from raydash.ui.plots.shown.scope import DrawnRun
from raydash.ui.plots.views.plot_base import Plot
from tests.fakes.updates.updates import make_update
from tests.window.conftest import ManualClock

SHOWN, OTHER, RECORDED = "shown", "other", "recorded"


class Scene:
    """An overview, and runs that a test feeds."""

    def __init__(self, overview: Overview, hands: ManualClock) -> None:
        self.overview = overview
        self.scope = overview.scope
        self.hands = hands
        self.store = Store(hands)
        self._seq = 0

    def feed(
        self,
        run_id: str,
        t_s: float,
        *,
        seed: int = 0,
        recorded_until_s: float | None = None,
        state: RunState = RunState.RUNNING,
        episodes: bool = True,
    ) -> RunStore:
        """Add a run with a snapshot from when it was that old."""
        self._seq += 1
        made = make_update(4, self._seq, 0, t_s, seed, state=state, episodes=episodes)
        assert made.info is not None
        info = replace(made.info, run_id=run_id, recorded_until_s=recorded_until_s)
        last = recorded_until_s is not None or state.is_over
        self.store.receive(replace(made, run_id=run_id, info=info, last=last))
        return self.store.runs[run_id]

    def show(self, run_id: str, *others: str) -> None:
        """Draw these runs: the first one is shown, the others are laid over it."""
        first, *rest = (
            DrawnRun(self.store.runs[each], each, number)
            for number, each in enumerate((run_id, *others))
        )
        self.overview.set_drawn(first, rest)
        self.draw()

    def draw(self) -> None:
        for plot in self.overview.plots.plots:
            plot.draw()

    @property
    def overlaid(self) -> tuple[Plot, Plot]:
        return self.overview.plots.episode_return, self.overview.plots.throughput


@pytest.fixture
def scene(qtbot: QtBot, hands: ManualClock) -> Iterator[Scene]:
    overview = Overview()
    qtbot.addWidget(overview)
    overview.set_theme(LIGHT)
    overview.resize(1180, 560)
    overview.show()
    yield Scene(overview, hands)
    overview.close()


@pytest.fixture
def two(scene: Scene) -> Scene:
    """A run of 300 s, overlaid with one that is 100 s younger."""
    scene.feed(SHOWN, 300.0)
    scene.feed(OTHER, 200.0, seed=1)
    scene.show(SHOWN, OTHER)
    return scene


def begins_at(scene: Scene) -> list[float]:
    """Where the overlaid curves of the return plot begin on the axis."""
    plot = scene.overview.plots.episode_return
    return [float(curve.x[0]) for curve in plot._overlaid.curves]


# --- where they lie -------------------------------------------------------------------------------


def test_with_time_ago_runs_lie_where_they_were_at_the_same_moment(two: Scene) -> None:
    (overlay,) = two.scope.overlays()
    assert overlay.placement == ByTime(100.0)
    assert begins_at(two)[0] == pytest.approx(100.25, abs=0.5)


def test_with_run_clock_runs_lie_at_their_own_start(two: Scene) -> None:
    two.overview.set_time_axis("clock")
    two.draw()
    assert two.scope.overlays()[0].placement == ByTime()
    assert begins_at(two)[0] == pytest.approx(0.25, abs=0.5)


def test_with_env_steps_runs_lie_where_the_shown_one_had_made_as_many(two: Scene) -> None:
    two.overview.set_time_axis("env_steps")
    two.draw()
    shown, its = (two.store.runs[each].whole for each in (SHOWN, OTHER))
    (curve,) = two.overview.plots.throughput._overlaid.curves
    row = len(its) // 2
    middle_s = (its.first_bucket + row + 0.5) * its.bucket_s
    steps = its.num_env_steps[:row].sum() + its.num_env_steps[row] / 2
    own_steps = np.concatenate([[0.0], np.cumsum(shown.num_env_steps)])
    edges_s = (shown.first_bucket + np.arange(len(own_steps))) * shown.bucket_s
    expected = float(np.interp(steps, own_steps, edges_s))
    (overlay,) = two.scope.overlays()
    assert overlay.placement.to_axis(middle_s) == pytest.approx(expected, abs=1e-6)
    assert curve.x[0] >= 0.0
    assert (np.diff(curve.x) >= 0.0).all()


def test_env_steps_are_read_beside_the_clock(two: Scene) -> None:
    two.overview.set_time_axis("env_steps")
    two.scope.set_cursor(0.5)
    two.draw()
    assert two.scope.step_count is not None
    steps = float(two.scope.step_count.steps_at(two.scope.cursor_s() or 0.0))
    said = two.overview.plots.throughput.subtitle()
    assert said.startswith(f"{numbers.compact(steps)} steps · 2:30 · ")


def test_a_recording_has_no_now_and_lies_at_its_start(scene: Scene) -> None:
    scene.feed(SHOWN, 300.0)
    scene.feed(RECORDED, 120.0, recorded_until_s=120.0, state=RunState.FINISHED)
    scene.show(SHOWN, RECORDED)
    assert scene.scope.overlays()[0].placement == ByTime()
    assert begins_at(scene)[0] == pytest.approx(0.25, abs=0.5)
    scene.show(RECORDED, SHOWN)
    assert scene.scope.overlays()[0].placement == ByTime()
    assert not scene.scope.counts_back


def test_a_recording_offers_run_clock_and_env_steps_but_not_time_ago(
    scene: Scene, themes: ThemeManager, qtbot: QtBot
) -> None:
    controls = ViewControls(scene.overview, themes)
    qtbot.addWidget(controls)
    scene.feed(SHOWN, 300.0)
    scene.feed(RECORDED, 120.0, recorded_until_s=120.0, state=RunState.FINISHED)
    model = controls.axis.model()
    assert isinstance(model, QStandardItemModel)

    def offered() -> list[str]:
        items = [model.item(row) for row in range(model.rowCount())]
        return [item.text() for item in items if item.isEnabled()]

    scene.show(SHOWN)
    assert offered() == ["time ago", "run clock", "env steps"]
    scene.show(RECORDED)
    assert offered() == ["run clock", "env steps"]
    assert controls.axis.currentText() == "run clock"
    scene.overview.set_time_axis("env_steps")
    assert controls.axis.currentText() == "env steps"


def test_a_run_that_ended_here_stays_at_its_moment(two: Scene) -> None:
    two.feed(OTHER, 200.0, seed=1, state=RunState.STOPPED)
    two.hands.now_s += 50.0
    two.feed(SHOWN, 350.0)
    (overlay,) = two.scope.overlays()
    assert overlay.placement == ByTime(100.0)
    assert overlay.placement.to_axis(overlay.part.edges_s[-1]) == pytest.approx(300.0)


def test_a_young_run_leaves_room_for_an_older_one_laid_over_it(scene: Scene) -> None:
    scene.feed(SHOWN, 40.0)
    scene.feed(OTHER, 200.0, seed=1)
    scene.show(SHOWN)
    assert scene.scope.view() == (0.0, 40.0)
    scene.show(SHOWN, OTHER)
    assert scene.scope.view() == (-160.0, 40.0)
    scene.overview.set_time_axis("clock")
    assert scene.scope.view() == (0.0, 40.0)
    scene.overview.set_range("whole")
    assert scene.scope.view() == (0.0, 200.0)


def test_zoom_and_pan_hold_for_all_and_reach_as_far_as_any(two: Scene) -> None:
    two.scope.zoom_to(120.0, 150.0)
    two.draw()
    (overlay,) = two.scope.overlays()
    edges_s = overlay.placement.to_axis(overlay.part.edges_s)
    assert edges_s[0] <= 120.0
    assert edges_s[-1] >= 150.0
    assert edges_s[-1] < 155.0
    two.feed(OTHER, 600.0, seed=1)
    two.overview.set_time_axis("clock")
    two.scope.zoom_to(500.0, 560.0)
    assert two.scope.view() == (500.0, 560.0)


def test_freeze_holds_all_runs(two: Scene) -> None:
    two.overview.set_frozen(True)
    two.draw()
    before = [curve.x.copy() for curve in two.overview.plots.episode_return._overlaid.curves]
    two.hands.now_s += 20.0
    two.feed(OTHER, 220.0, seed=1)
    two.draw()
    after = [curve.x for curve in two.overview.plots.episode_return._overlaid.curves]
    assert all(np.array_equal(old, new) for old, new in zip(before, after, strict=True))
    two.overview.set_frozen(False)
    two.draw()
    assert len(two.overview.plots.episode_return._overlaid.curves[0].x) > len(before[0])


def test_detail_is_wanted_of_every_run_that_is_zoomed_into(scene: Scene) -> None:
    for run_id in (SHOWN, RECORDED):
        scene.feed(run_id, 4000.0, recorded_until_s=4000.0, state=RunState.FINISHED)
    scene.show(SHOWN, RECORDED)
    scene.scope.zoom_to(100.0, 160.0)
    wishes = [request for request, _ in scene.scope.wanted_details(600)]
    assert [request.run_id for request in wishes] == [SHOWN, RECORDED]
    assert all(request.start_s <= 100.0 and request.end_s >= 160.0 for request in wishes)


# --- what is seen ---------------------------------------------------------------------------------


def test_curves_wear_the_colours_of_their_runs(two: Scene) -> None:
    for theme in (LIGHT, DARK):
        two.overview.set_theme(theme)
        two.draw()
        for plot in two.overlaid:
            colours = [item.colour for item in plot.legend() if item.text in (SHOWN, OTHER)]
            assert colours == [QColor(line_colour(number, theme)) for number in (0, 1)]
    items = two.overview.plots.throughput._overlaid._items
    assert items[0][0].opts["pen"].color() == QColor(line_colour(1, DARK))


def test_a_run_of_another_number_wears_that_colour_alone_too(scene: Scene) -> None:
    run = scene.feed(SHOWN, 300.0)
    scene.overview.set_drawn(DrawnRun(run, SHOWN, 3), [])
    scene.draw()
    mean, _ = scene.overview.plots.episode_return.legend()
    assert (mean.text, mean.colour) == ("mean", QColor(line_colour(3, LIGHT)))
    assert scene.overview.plots.throughput.legend() == []


def test_value_axis_holds_all_curves(two: Scene) -> None:
    for plot in two.overlaid:
        low, high = plot.canvas.y_range
        for curve in plot._overlaid.curves:  # type: ignore[attr-defined]
            assert low <= curve.y.min()
            assert curve.y.max() <= high


def test_read_out_gives_the_values_of_all_runs_at_the_same_place(two: Scene) -> None:
    two.scope.set_cursor(0.5)
    two.draw()
    assert two.scope.cursor_s() == 150.0
    other = two.store.runs[OTHER]
    bucket = int(50.0 / other.recent.bucket_s)
    mean, rate = (plot.legend() for plot in two.overlaid)
    read = {item.text: item.value for item in (*mean, *rate)[:3]}
    assert read[OTHER] == numbers.decimal(float(other.recent.return_mean[bucket]))
    steps = float(other.recent.num_env_steps[bucket])
    assert rate[1].value == numbers.decimal(steps / other.recent.bucket_s)
    two.scope.set_cursor(0.1)
    assert two.overview.plots.throughput.legend()[1].value == numbers.UNKNOWN, "not begun by then"


def test_another_run_is_seen_while_the_one_shown_has_nothing_yet(scene: Scene) -> None:
    scene.feed(SHOWN, 5.0, episodes=False)
    scene.feed(OTHER, 200.0, seed=1)
    scene.show(SHOWN)
    plot = scene.overview.plots.episode_return
    assert plot.empty_text.startswith("no episode finished yet")
    scene.show(SHOWN, OTHER)
    assert plot.empty_text == ""
    assert plot.value_limits()[1] > 0
    scene.show(SHOWN)
    assert plot.empty_text.startswith("no episode finished yet")


def test_endings_and_heatmap_stay_with_the_run_that_is_shown(two: Scene) -> None:
    endings, heatmap = two.overview.plots.endings, two.overview.plots.heatmap
    assert not endings.draws_overlays
    assert not heatmap.draws_overlays
    assert [item.text for item in endings.legend()] == [
        *("terminated", "truncated", "both", "error"),
    ]


def test_saved_data_have_a_column_for_each_other_run(two: Scene) -> None:
    header, *lines = two.overview.plots.throughput.csv().splitlines()
    names = header.split(",")
    column = names.index(f"env_steps_per_s_{OTHER}")
    values = [line.split(",")[column] for line in lines]
    assert values[0] == "", "not begun by then"
    assert float(values[-20]) > 0
    assert f"episode_return_mean_{OTHER}" in two.overview.plots.episode_return.csv()


# --- what they cost -------------------------------------------------------------------------------


def test_items_are_used_again(two: Scene) -> None:
    plot = two.overview.plots.throughput
    made = len(plot.canvas._items)
    for _ in range(3):
        two.show(SHOWN)
        two.show(SHOWN, OTHER)
    assert len(plot.canvas._items) == made
    assert [item.getData()[0] is not None for item, _ in plot._overlaid._items] == [True]
    two.show(SHOWN)
    assert not len(plot._overlaid._items[0][0].getData()[0] or ())


def test_an_overlaid_run_is_drawn_along_with_a_live_one_and_by_itself_over_a_still_one(
    two: Scene,
) -> None:
    plot = two.overview.plots.throughput
    assert not plot.is_dirty()
    two.feed(OTHER, 205.0, seed=1)
    assert not plot.is_dirty(), "the shown run's next bucket draws both"
    two.feed(SHOWN, 300.0, state=RunState.STOPPED)
    two.draw()
    two.feed(OTHER, 210.0, seed=1)
    assert plot.is_dirty()
    assert not two.overview.plots.endings.is_dirty()


# --- the legend in little room --------------------------------------------------------------------


def item(text: str, *, elides: bool = True) -> LegendItem:
    return LegendItem(QColor("red"), text, elides=elides)


@pytest.fixture
def width(qapp: object) -> Callable[[str], float]:
    metrics = QFontMetricsF(QFont())
    return metrics.horizontalAdvance


def test_long_names_are_shortened_before_any_is_left_out(width: Callable[[str], float]) -> None:
    metrics = QFontMetricsF(QFont())
    items = [item("short"), item("a very long name of a run"), item("10–90 %", elides=False)]
    room = sum(24 + width(each.text) for each in items) - width(" long name")
    fitted = _fitted(items, metrics, room)
    assert [each.text for each in fitted][::2] == ["short", "10–90 %"]
    assert fitted[1].text.startswith("a very")
    assert fitted[1].text.endswith("…")
    assert [each.text for each in _fitted(items, metrics, 70.0)] == ["short"]
