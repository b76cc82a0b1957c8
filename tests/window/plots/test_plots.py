import csv
import io
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QEvent, QPoint, QPointF, Qt
from PySide6.QtGui import QColor, QContextMenuEvent, QKeyEvent, QMouseEvent, QWheelEvent
from PySide6.QtTest import QTest
from PySide6.QtWidgets import QApplication, QToolButton
from pytestqt.qtbot import QtBot

from raydash.core.events import Event, EventKind
from raydash.core.states import Ending, RunState
from raydash.core.words import numbers
from raydash.link.store import RunStore, Store
from raydash.ui.frame.overview import Overview
from raydash.ui.kit.draw_clock import DrawClock, ReportsPaintTime
from raydash.ui.kit.theme import DARK, LIGHT
from raydash.ui.plots.shown.plotted_run import settle_s
from raydash.ui.plots.shown.scope import PlotScope, Range, TimeAxis
from raydash.ui.plots.views.heatmap import ThroughputHeatmap
from raydash.ui.plots.views.plot_base import NO_RUN, NO_STEP, Plot
from raydash.ui.plots.views.return_plot import ReturnPlot
from raydash.ui.plots.views.throughput_plot import ThroughputPlot
from tests.fakes.updates.updates import make_store_with_run, make_update

Show = Callable[..., tuple[Overview, Store, RunStore]]


@pytest.fixture
def show(qtbot: QtBot) -> Show:
    """A visible overview that has drawn a run."""

    def make(num_workers: int = 8, **changes: object) -> tuple[Overview, Store, RunStore]:
        store, run = make_store_with_run(num_workers, **changes)  # type: ignore[arg-type]
        overview = Overview()
        qtbot.addWidget(overview)
        overview.resize(1200, 700)
        overview.set_theme(DARK)
        overview.set_run(run)
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


def plain(text: str) -> str:
    return text.replace(numbers.THIN, " ").replace(numbers.NBSP, " ")


def test_plots_can_be_found_and_are_named(show: Show) -> None:
    overview, _, _ = show()
    assert [plot.objectName() for plot in overview.plots.shown] == [
        *("plot_episode_return", "plot_endings", "plot_throughput", "heatmap_throughput"),
    ]
    for plot in overview.plots.shown:
        assert plot.accessibleName()
        assert plot.canvas.accessibleName()
        assert "Escape follows" in plot.canvas.accessibleDescription()
        assert isinstance(plot, ReportsPaintTime)


def test_plot_without_a_run_says_what_to_do(qtbot: QtBot) -> None:
    plot = ReturnPlot()
    qtbot.addWidget(plot)
    plot.set_theme(LIGHT)
    plot.draw()
    assert plot.empty_text == NO_RUN
    assert not plot.grab().isNull()


def test_chart_comes_once_the_plot_was_seen(qtbot: QtBot) -> None:
    _, run = make_store_with_run(8)
    plot = ReturnPlot()
    qtbot.addWidget(plot)
    plot.set_theme(DARK)
    plot.set_run(run)
    plot.set_selected_workers([1])
    plot.follow()
    assert not plot.has_chart
    assert not plot.is_dirty()
    plot.show()
    qtbot.waitUntil(lambda: plot.has_chart, timeout=30_000)
    assert plot.empty_text == ""
    assert plot.canvas.backgroundBrush().color() == QColor(DARK.card)


def test_theme_changes_while_plots_are_shown(show: Show) -> None:
    overview, _, _ = show(8)
    overview.set_theme(LIGHT)
    draw(overview)
    image = overview.plots.endings.canvas.grab().toImage()
    assert image.pixelColor(0, 0) == QColor(LIGHT.card)
    area = overview.plots.endings.canvas.area()
    column = [image.pixelColor(int(area.center().x()), y) for y in range(image.height())]
    assert LIGHT.ending(Ending.TERMINATED) in column


def test_before_the_first_episode_the_steps_so_far_are_said(show: Show) -> None:
    overview, _, run = show(4, t_s=6.0, episodes=False)
    assert run.latest is not None
    steps = numbers.count(run.latest.figures.num_env_steps_sampled_lifetime)
    for plot in (overview.plots.episode_return, overview.plots.endings):
        assert plot.empty_text == f"no episode finished yet, {steps} steps so far"
    assert overview.plots.throughput.empty_text == ""


def test_run_whose_first_bucket_is_not_complete_says_so(show: Show) -> None:
    overview, _, _ = show(4, t_s=0.4)
    assert "first seconds" in overview.plots.throughput.empty_text


def test_only_complete_buckets_are_drawn(show: Show) -> None:
    overview, _, _ = show(64)
    part = overview.scope.part()
    assert part is not None
    assert part.edges_s[-1] <= 600.0 - settle_s(64)
    assert part.edges_s[-1] > 600.0 - settle_s(64) - 0.5


def test_run_that_is_over_is_drawn_to_its_end(show: Show) -> None:
    overview, _, _ = show(8, t_s=599.8, state=RunState.FINISHED)
    part = overview.scope.part()
    assert part is not None
    assert part.edges_s[-1] == pytest.approx(599.8)


def test_plot_is_dirty_only_when_a_drawing_would_differ(show: Show) -> None:
    overview, store, _ = show(8)
    plots = overview.plots.shown
    assert not any(plot.is_dirty() for plot in plots)
    store.receive(make_update(8, seq=2, since_seq=1, t_s=600.2))
    draw(overview)
    store.receive(make_update(8, seq=3, since_seq=2, t_s=600.201))
    assert not any(plot.is_dirty() for plot in plots)
    store.receive(make_update(8, seq=4, since_seq=3, t_s=601.5))
    assert all(plot.is_dirty() for plot in plots)
    draw(overview)
    overview.set_selected_workers([3])
    assert overview.plots.episode_return.is_dirty()


def test_range_is_followed_as_the_run_goes_on(show: Show) -> None:
    overview, store, _ = show(8)
    overview.set_range("1min")
    assert overview.scope.view() == (540.0, 600.0)
    store.receive(make_update(8, seq=2, since_seq=1, t_s=602.0))
    assert overview.scope.view() == (542.0, 602.0)
    overview.set_range(Range.WHOLE)
    assert overview.scope.view() == (0.0, 602.0)


def test_young_run_fills_the_width(show: Show) -> None:
    overview, _, _ = show(8, t_s=90.0)
    assert overview.scope.view() == (0.0, 90.0)


def test_whole_run_is_drawn_from_its_coarse_history(show: Show) -> None:
    overview, _, run = show(8, t_s=2000.0)
    assert overview.scope.series() is run.recent
    overview.set_range("whole")
    assert overview.scope.series() is run.whole
    overview.scope.zoom_to(1900, 1960)
    assert overview.scope.series() is run.recent


def wheel(
    plot: Plot,
    share: float,
    turn: int,
    *,
    x: float | None = None,
    key: Qt.KeyboardModifier = Qt.KeyboardModifier.NoModifier,
) -> None:
    area = plot.canvas.area()
    where = QPointF(area.left() + share * area.width() if x is None else x, area.center().y())
    plot.canvas.wheelEvent(
        QWheelEvent(
            where,
            plot.canvas.mapToGlobal(where),
            QPoint(),
            QPoint(0, turn),
            Qt.MouseButton.NoButton,
            key,
            Qt.ScrollPhase.NoScrollPhase,
            False,
        )
    )


def test_wheel_zooms_all_plots_about_the_mouse_while_data_stream(show: Show) -> None:
    overview, store, _ = show(8)
    wheel(overview.plots.endings, 0.25, 120)
    low_s, high_s = overview.scope.view()
    assert high_s - low_s == pytest.approx(600 * 0.85)
    px_s = 600.0 / overview.plots.endings.canvas.area().width()
    assert low_s + 0.25 * (high_s - low_s) == pytest.approx(150.0, abs=px_s)
    assert not overview.scope.following
    assert all(plot.is_dirty() for plot in overview.plots.shown)
    store.receive(make_update(8, seq=2, since_seq=1, t_s=601.0))
    assert overview.scope.view() == (low_s, high_s)


def test_double_click_follows_again_in_time_and_value(show: Show, qtbot: QtBot) -> None:
    overview, _, _ = show(8)
    plot = overview.plots.episode_return
    wheel(plot, 0.0, 240, x=5.0)
    assert plot.canvas.y_locked
    assert overview.scope.following
    locked = plot.canvas.y_range
    wheel(plot, 0.5, 120)
    plot.draw()
    assert plot.canvas.y_range == locked
    follow = plot.findChild(QToolButton, "plot_episode_return_follow")
    assert follow is not None
    assert follow.isVisible()
    QTest.mouseDClick(plot.canvas.viewport(), Qt.MouseButton.LeftButton)
    plot.draw()
    assert overview.scope.following
    assert plot.canvas.y_range != locked
    assert not follow.isVisible()


def test_wheel_moves_in_time_with_shift_and_zooms_values_with_control(show: Show) -> None:
    overview, _, _ = show(8)
    plot = overview.plots.throughput
    overview.scope.zoom_to(200, 300)
    wheel(plot, 0.5, -120, key=Qt.KeyboardModifier.ShiftModifier)
    assert overview.scope.view() == pytest.approx((210.0, 310.0))
    plot.draw()
    low, high = plot.canvas.y_range
    wheel(plot, 0.5, 120, key=Qt.KeyboardModifier.ControlModifier)
    assert plot.canvas.y_range[1] - plot.canvas.y_range[0] == pytest.approx((high - low) * 0.85)
    assert overview.scope.view() == pytest.approx((210.0, 310.0))


def drag(plot: Plot, by: QPointF) -> None:
    canvas = plot.canvas
    start = canvas.area().center()
    end = start + by
    left, none = Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    for kind, where, handler in (
        (QEvent.Type.MouseButtonPress, start, canvas.mousePressEvent),
        (QEvent.Type.MouseMove, end, canvas.mouseMoveEvent),
        (QEvent.Type.MouseButtonRelease, end, canvas.mouseReleaseEvent),
    ):
        handler(QMouseEvent(kind, where, canvas.mapToGlobal(where), left, left, none))


def test_drag_pans_in_time(show: Show) -> None:
    overview, _, _ = show(8)
    overview.scope.zoom_to(200, 300)
    plot = overview.plots.throughput
    width = plot.canvas.area().width()
    drag(plot, QPointF(width / 4, 20))
    assert overview.scope.view() == pytest.approx((175.0, 275.0), abs=100.0 / width)
    assert not plot.canvas.y_locked


def test_drag_moves_values_once_they_are_locked(show: Show) -> None:
    overview, _, _ = show(8)
    plot = overview.plots.throughput
    wheel(plot, 0.5, 120, key=Qt.KeyboardModifier.ControlModifier)
    low, high = plot.canvas.y_range
    drag(plot, QPointF(0, plot.canvas.area().height() / 2))
    px = (high - low) / plot.canvas.area().height()
    # The press and the release are each rounded to a whole pixel.
    assert plot.canvas.y_range[0] == pytest.approx(low + (high - low) / 2, abs=2 * px)
    assert overview.scope.following


def test_click_changes_nothing(show: Show) -> None:
    overview, _, _ = show(8)
    QTest.mouseClick(overview.plots.endings.canvas.viewport(), Qt.MouseButton.LeftButton)
    assert overview.scope.following
    assert not overview.plots.endings.canvas.y_locked


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        (Qt.Key.Key_Left, (190.0, 290.0)),
        (Qt.Key.Key_Right, (210.0, 310.0)),
        (Qt.Key.Key_Plus, (210.0, 290.0)),
        (Qt.Key.Key_Minus, (187.5, 312.5)),
        (Qt.Key.Key_Escape, (0.0, 600.0)),
    ],
)
def test_keys_move_and_zoom(show: Show, key: Qt.Key, expected: tuple[float, float]) -> None:
    overview, _, _ = show(8)
    overview.scope.zoom_to(200, 300)
    event = QKeyEvent(QEvent.Type.KeyPress, key, Qt.KeyboardModifier.NoModifier)
    overview.plots.heatmap.canvas.keyPressEvent(event)
    assert overview.scope.view() == pytest.approx(expected)


def test_zoom_keeps_to_what_makes_sense() -> None:
    scope = PlotScope()
    scope.zoom_to(10.0, 10.0)
    low_s, high_s = scope.view()
    assert high_s - low_s >= 2.0
    scope.zoom_to(-1e9, 1e9)
    low_s, high_s = scope.view()
    assert high_s - low_s <= 60.0


def test_values_under_the_cursor_are_read_out_in_every_plot(show: Show) -> None:
    overview, store, run = show(8)
    overview.set_selected_workers([3])
    overview.scope.set_cursor(0.5)
    draw(overview)
    said = plain(overview.plots.episode_return.subtitle())
    row = 600
    assert said.startswith(f"5:00 · mean {plain(numbers.decimal(run.recent.return_mean[row]))}")
    assert f"n = {run.recent.return_n[row]}" in said
    assert "worker 3: " in said
    per_s = numbers.count(run.recent.num_env_steps[row] / 0.5)
    assert plain(overview.plots.throughput.subtitle()) == f"5:00 · {plain(per_s)} env steps/s"
    assert "terminated" in overview.plots.endings.subtitle()
    store.receive(make_update(8, seq=2, since_seq=1, t_s=601.0))
    draw(overview)
    assert overview.plots.throughput.subtitle().startswith("5:01 · ")
    overview.scope.set_cursor(None)
    draw(overview)
    assert overview.plots.throughput.subtitle() == "all workers together"


def test_heatmap_reads_the_worker_under_the_mouse(show: Show) -> None:
    overview, _, _ = show(8)
    canvas = overview.plots.heatmap.canvas
    area = canvas.area()
    canvas.hover = QPointF(area.center().x(), area.bottom() - area.height() * 0.5 / 8)
    overview.scope.set_cursor(0.5)
    draw(overview)
    assert "worker 1: " in plain(overview.plots.heatmap.subtitle())


def test_event_under_the_cursor_is_told(show: Show) -> None:
    overview, _, _ = show(8)
    overview.scope.set_cursor(390.0 / 600.0)
    draw(overview)
    assert overview.plots.throughput.subtitle() == "6:30 · worker 3 restarted"


def test_only_marks_become_lines(show: Show) -> None:
    overview, _, run = show(8)
    assert [mark.kind for mark in overview.scope.marks()] == [EventKind.WORKER_RESTARTED]
    run.events.append(Event(9, 595.0, EventKind.WORKER_FAILED, "worker 4 failed", 4))
    assert overview.plots.endings.is_dirty()


def test_crowded_marks_still_paint(show: Show) -> None:
    overview, _, run = show(8)
    before = overview.plots.episode_return.grab().toImage()
    for number in range(300):
        run.events.append(
            Event(100 + number, 2.0 * number, EventKind.WORKER_RESTARTED, "again", number)
        )
    draw(overview)
    assert overview.plots.episode_return.grab().toImage() != before


def test_frozen_plots_stand_still_and_can_still_be_zoomed(show: Show) -> None:
    overview, store, _ = show(8)
    overview.set_frozen(True)
    draw(overview)
    assert overview.plots.throughput.subtitle().startswith("frozen at 10:00")
    store.receive(make_update(8, seq=2, since_seq=1, t_s=601.5))
    assert not any(plot.is_dirty() for plot in overview.plots.shown)
    assert overview.scope.now_s == 600.0
    wheel(overview.plots.throughput, 0.5, 120)
    assert overview.plots.throughput.is_dirty()
    overview.follow()
    overview.set_frozen(False)
    assert overview.scope.now_s == 601.5


def test_other_run_is_shown_from_its_end(show: Show) -> None:
    overview, _, _ = show(8)
    overview.scope.zoom_to(100, 200)
    _, other = make_store_with_run(4, t_s=300.0)
    overview.set_run(other)
    assert overview.scope.view() == (0.0, 300.0)
    overview.set_run(None)
    draw(overview)
    assert overview.plots.heatmap.empty_text == NO_RUN


def test_selected_workers_get_curves(show: Show) -> None:
    overview, _, _ = show(8)
    overview.set_selected_workers([1, 3, 99])
    draw(overview)
    said = [item.text for item in overview.plots.episode_return.legend()]
    assert said == ["mean", "10–90 %", "worker 1", "worker 3"]
    overview.set_selected_workers(list(range(1, 9)))
    draw(overview)
    assert overview.plots.episode_return.legend()[-1].text == "2 more"


def test_endings_are_stacked_in_their_colours(show: Show) -> None:
    overview, _, _ = show(64)
    said = [item.text for item in overview.plots.endings.legend()]
    assert said == ["terminated", "truncated", "both", "error"]
    canvas = overview.plots.endings.canvas
    image = canvas.grab().toImage()
    x = int(canvas.area().right()) - 20
    bottom, top = int(canvas.area().bottom()), int(canvas.area().top())
    seen = {image.pixelColor(x, y).name() for y in range(top, bottom)}
    assert DARK.ending(Ending.TERMINATED).name() in seen
    assert DARK.ending(Ending.TRUNCATED).name() in seen
    assert DARK.ending(Ending.ERROR).name() not in seen


@pytest.mark.parametrize("num_workers", [8, 1000])
def test_stalled_worker_is_dark_in_the_heatmap(show: Show, num_workers: int) -> None:
    overview, _, _ = show(num_workers)
    stalled = 8 if num_workers == 8 else 41
    plot = overview.plots.heatmap
    canvas = plot.canvas
    image = canvas.grab().toImage()
    where = canvas.point(595.0, float(stalled)).toPoint()
    near = [image.pixelColor(where + QPoint(0, shift)) for shift in (-2, -1, 0, 1, 2)]
    assert QColor("#440154") in near
    centre = QPoint(int(canvas.area().center().x()), where.y())
    assert QColor("#440154") not in [image.pixelColor(centre)]
    if num_workers == 1000:
        assert "slowest of" in plain(plot.subtitle())


def test_data_of_the_plot_are_exported_with_names_and_times(show: Show, tmp_path: Path) -> None:
    overview, _, run = show(8)
    overview.set_selected_workers([2])
    rows = list(csv.DictReader(io.StringIO(overview.plots.episode_return.csv())))
    assert float(rows[0]["start_s"]) == 0.0
    assert float(rows[0]["episode_return_mean"]) == pytest.approx(run.recent.return_mean[0])
    assert "episode_return_mean_worker_2" in rows[0]
    assert rows[-1]["episode_return_mean_worker_2"] == ""
    endings = list(csv.DictReader(io.StringIO(overview.plots.endings.csv())))
    assert sum(int(row["num_episodes_terminated"]) for row in endings) == int(
        run.recent.num_terminated[: len(endings)].sum()
    )
    heat = overview.plots.heatmap.csv().splitlines()[0].split(",")
    assert heat[-1] == "env_steps_per_s_worker_8"
    assert ThroughputPlot().csv() == ""
    picture = tmp_path / "plot.png"
    assert overview.plots.heatmap.save_picture(picture)
    assert picture.stat().st_size > 1000


def test_context_menu_offers_the_exports(show: Show, qtbot: QtBot) -> None:
    overview, _, _ = show(8)
    with qtbot.waitSignal(overview.plots.endings.canvas.customContextMenuRequested, timeout=30_000):
        where = QPoint(50, 50)
        view = overview.plots.endings.canvas.viewport()
        reason = QContextMenuEvent.Reason.Mouse
        QApplication.sendEvent(view, QContextMenuEvent(reason, where, view.mapToGlobal(where)))
    popup = QApplication.activePopupWidget()
    assert popup is not None
    assert popup.objectName() == "plot_endings_menu"
    popup.close()
    texts = [action.text() for action in overview.plots.endings.menu().actions() if action.text()]
    assert texts == ["Follow", "Copy picture", "Save picture…", "Save data as CSV…"]


def test_time_axis_can_show_the_run_clock(show: Show) -> None:
    overview, _, _ = show(8)
    before = overview.plots.throughput.canvas.grab().toImage()
    overview.set_time_axis(TimeAxis.CLOCK)
    draw(overview)
    assert overview.plots.throughput.canvas.grab().toImage() != before


def test_axis_can_show_the_env_steps_that_the_run_had_made(show: Show) -> None:
    overview, _, run = show(8)
    overview.set_time_axis(TimeAxis.ENV_STEPS)
    overview.set_range(Range.WHOLE)
    draw(overview)
    plot = overview.plots.episode_return
    said = [label for _, label in plot.canvas._shown_ticks["bottom"]]
    total = float(run.whole.num_env_steps.sum())
    assert plain(said[0]) == "0 steps"
    number, unit = plain(said[-1]).split()
    assert 0.5 * total < float(number) * {"k": 1e3, "M": 1e6}[unit] <= total


def test_plots_survive_every_size_and_number_of_workers(show: Show) -> None:
    overview, store, run = show(1, t_s=3.0)
    for width, height in ((300, 260), (2200, 1300)):
        overview.resize(width, height)
        draw(overview)
        assert not overview.grab().isNull()
    store.receive(make_update(64, seq=2, since_seq=1, t_s=4.0))
    draw(overview)
    assert run.recent.worker_steps.shape[1] == 64
    assert not overview.grab().isNull()


def test_overview_is_drawn_by_the_clock_and_costs_are_known(show: Show, qtbot: QtBot) -> None:
    overview, store, _ = show(64)
    clock = DrawClock()
    overview.register_with(clock)
    clock.tick()
    clock.tick()  # records what was drawn and painted before
    before = clock.figures().frames_per_s
    store.receive(make_update(64, seq=2, since_seq=1, t_s=605.0))
    clock.tick()
    assert not any(plot.is_dirty() for plot in overview.plots.shown)
    overview.repaint()
    clock.tick()
    assert clock.figures().frames_per_s == before + 1
    assert clock.figures().worst_ms > 0


def test_scope_change_is_told_to_controls(show: Show, qtbot: QtBot) -> None:
    overview, _, _ = show(8)
    with qtbot.waitSignal(overview.scope_changed, timeout=30_000):
        overview.set_range("1min")
    with qtbot.waitSignal(overview.scope_changed, timeout=30_000):
        overview.scope.zoom(0.5, 0.5)
    with qtbot.assertNotEmitted(overview.scope_changed):
        overview.scope.set_cursor(0.3)


def test_heatmap_alone_is_a_whole_widget(qtbot: QtBot) -> None:
    _, run = make_store_with_run(8)
    plot = ThroughputHeatmap()
    qtbot.addWidget(plot)
    plot.set_run(run)
    plot.set_range("1min")
    plot.set_frozen(False)
    plot.draw()
    assert plain(plot.subtitle()) == "8 workers"


def test_heatmap_of_a_run_without_a_step_says_so(qtbot: QtBot) -> None:
    """Dark colours would say that all workers are stuck."""
    update = make_update()
    figures = replace(update.figures, num_env_steps_sampled_lifetime=0)
    store = Store(clock=lambda: 600.0)
    store.receive(replace(update, figures=figures))
    plot = ThroughputHeatmap()
    qtbot.addWidget(plot)
    plot.resize(500, 300)
    plot.set_run(store.run(update.run_id))
    plot.draw()
    assert plot.empty_text == NO_STEP


def test_a_single_worker_is_seen_in_the_heatmap(show: Show) -> None:
    overview, _, _ = show(1, troubles=False)
    canvas = overview.plots.heatmap.canvas
    image = canvas.grab().toImage()
    middle = canvas.area().center()
    colour = image.pixelColor(int(middle.x()), int(middle.y()))
    assert colour != QColor(DARK.card)
    assert colour.green() > 100, "it steps fast"
