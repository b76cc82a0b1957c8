"""A recording in the run view: read-only, with a time slider, and in detail where zoomed."""

from dataclasses import replace
from datetime import datetime
from typing import TypeVar

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox, QPushButton, QSlider, QWidget
from pytestqt.qtbot import QtBot

from raydash.core.faults import Fault
from raydash.core.messages import (
    ClusterStatus,
    OpenRecording,
    QueryHistory,
    RunList,
    StartRun,
    Verb,
)
from raydash.core.states import ClusterPhase, EndedBy, EngineState, RunState
from raydash.core.words import moments
from raydash.link.session import Session
from raydash.ui.frame.main_window import MainWindow
from raydash.ui.kit import run_words
from raydash.ui.kit.draw_clock import View
from raydash.ui.plots.shown.plotted_run import DetailRequest
from raydash.ui.plots.shown.scope import PlotScope, Range
from raydash.ui.runs.lines import run_lines
from tests.fakes.engines.engine import UP, FakeEngine
from tests.fakes.recordings.library import NEWEST, history_range, opened, recorded
from tests.fakes.updates.updates import RUN_ID, make_store_with_run
from tests.window.conftest import ManualClock

RUN = recorded().run_id
Widget = TypeVar("Widget", bound=QWidget)


def wanted(scope: PlotScope) -> DetailRequest | None:
    """The finer history that plots of 600 pixels lack."""
    found = scope.wanted_details(600)
    return found[0][0] if found else None


def child(window: MainWindow, kind: type[Widget], name: str) -> Widget:
    found = window.findChild(kind, name)
    assert found is not None, name
    return found


def slider_of(window: MainWindow) -> QSlider:
    return child(window, QSlider, "scrub_slider")


def button(window: MainWindow, name: str) -> QPushButton:
    return child(window, QPushButton, name)


def open_recording(session: Session, engine: FakeEngine, run_id: str = RUN) -> None:
    session.library.open(run_id)
    engine.say(opened(run_id))
    engine.answer(run_id=run_id)
    engine.sent.clear()


def answer_scrub(engine: FakeEngine, run_id: str = RUN) -> None:
    command = [each for each in engine.sent if isinstance(each, OpenRecording)][-1]
    engine.say(opened(run_id, command.at_s))
    engine.answer(run_id=run_id, to=command.command_id)


@pytest.fixture
def reopened(running: Session, engine: FakeEngine, window: MainWindow) -> MainWindow:
    """A window that shows a recording of 600 s while a run is live."""
    open_recording(running, engine)
    return window


def test_the_strip_says_how_the_run_ended_when_it_began_and_how_long_it_took(
    reopened: MainWindow, qtbot: QtBot
) -> None:
    strip = reopened.strip
    assert strip.isVisible()
    strip.draw()
    begun = moments.moment(NEWEST.isoformat(), datetime.now().astimezone())
    shown = strip._about.full_text()
    assert shown == f"finished by episodes · {begun} · 10\u00a0min\u00a000\u00a0s"
    assert strip.time.text() == "10:00 / 10:00"


def test_no_command_reaches_a_recording_and_the_buttons_say_why(
    reopened: MainWindow, session: Session, engine: FakeEngine
) -> None:
    engine.say(opened(RUN, 100.0))  # as of then, it was running
    for verb in (Verb.PAUSE, Verb.RESUME, Verb.STOP, Verb.DRAIN):
        action = reopened.actions_.verbs[verb]
        assert not action.isEnabled()
        assert "this is a recording" in action.toolTip()
    assert reopened.actions_.start.isEnabled()
    reopened.bottom.workers.draw()
    reopened.bottom.workers.select((1,))
    assert reopened.bottom.workers.workers_that_can(Verb.PAUSE) == ((), "this is a recording")
    session.own_runs.ids.add(RUN)
    assert RUN not in session.own_runs.live()


def test_dragging_the_slider_shows_the_run_as_it_was_then(
    reopened: MainWindow, engine: FakeEngine
) -> None:
    views: tuple[View, ...] = (
        reopened.strip,
        *reopened.overview.plots.plots,
        reopened.overview.tiles,
    )
    for view in views:
        view.draw()
    slider_of(reopened).setValue(1000)
    assert [command.at_s for command in engine.sent] == [100.0]  # type: ignore[union-attr]
    answer_scrub(engine)
    scope = reopened.overview.scope
    assert scope.now_s == 100.0
    assert scope.view()[1] == 100.0
    part = scope.part()
    assert part is not None
    assert part.edges_s[-1] == 100.0
    assert all(view.is_dirty() for view in views[:-1])  # key figures are drawn 4 times a second
    reopened.strip.draw()
    assert reopened.strip.time.text() == "1:40 / 10:00"


def test_the_end_of_the_slider_is_the_end_of_the_recording(
    reopened: MainWindow, engine: FakeEngine
) -> None:
    reopened.strip.draw()
    slider = slider_of(reopened)
    slider.setValue(1000)
    answer_scrub(engine)
    slider.setValue(slider.maximum())
    assert engine.sent[-1].at_s is None  # type: ignore[union-attr]


def test_playing_goes_on_at_its_speed_and_stops_at_the_end(
    reopened: MainWindow, engine: FakeEngine, hands: ManualClock
) -> None:
    strip, slider = reopened.strip, slider_of(reopened)
    strip.draw()
    slider.setValue(1000)
    answer_scrub(engine)
    speed = child(reopened, QComboBox, "scrub_speed")
    assert isinstance(speed, QComboBox)
    speed.setCurrentIndex(speed.findData(60))
    strip.play.click()
    hands.now_s += 2.0
    strip._on_tick()
    assert slider.value() == 2200
    hands.now_s += 100.0
    strip._on_tick()
    assert slider.value() == slider.maximum()
    assert not strip.play.isChecked()
    strip.play.click()
    assert slider.value() == 0


def test_run_again_fills_the_form_and_starts_nothing(
    reopened: MainWindow, session: Session, engine: FakeEngine
) -> None:
    run = session.store.runs[RUN]
    assert run.spec is not None
    run.spec = replace(run.spec, name="as before")
    button(reopened, "recording_again").click()
    assert reopened.form.spec().name == "as before"
    assert not engine.sent


def test_back_shows_the_live_run_and_the_recording_stays_in_the_list(
    reopened: MainWindow, session: Session
) -> None:
    assert button(reopened, "recording_back").text() == "Back to live run"
    button(reopened, "recording_back").click()
    assert session.store.shown_run_id == RUN_ID
    assert not reopened.strip.isVisible()
    lines = {line.run_id: line for line in run_lines(session)}
    assert lines[RUN].is_recording
    assert not lines[RUN_ID].is_recording


def test_close_takes_the_recording_off_screen_and_list(
    reopened: MainWindow, session: Session
) -> None:
    menu = reopened.runs.list_actions.menu(RUN, reopened)
    close = next(each for each in menu.actions() if each.objectName() == "run_list_close")
    assert close.text() == "Close recording"
    close.trigger()
    assert session.store.shown_run_id == RUN_ID
    assert [line.run_id for line in run_lines(session)] == [RUN_ID]


def test_the_line_in_the_list_speaks_of_the_whole_run_whatever_moment_is_shown(
    reopened: MainWindow, session: Session, engine: FakeEngine
) -> None:
    engine.say(opened(RUN, 100.0))
    line = next(line for line in run_lines(session) if line.run_id == RUN)
    assert (line.state, line.elapsed_s) == (RunState.FINISHED, 600.0)


def test_a_run_that_ended_on_screen_can_be_scrubbed_once_it_is_opened(
    window: MainWindow, running: Session, engine: FakeEngine
) -> None:
    engine.update(state=RunState.FINISHED, snapshot=False, last=True)
    assert not window.strip.isVisible()
    engine.say(RunList(()))
    open_recording(running, engine, RUN_ID)
    assert window.strip.isVisible()
    assert run_lines(running)[0].is_recording


# --- words ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "reason", "said"),
    [
        (RunState.FINISHED, EndedBy.EPISODES, "finished by episodes"),
        (RunState.STOPPED, EndedBy.USER, "stopped by hand"),
        (RunState.FAILED, EndedBy.WORKERS_FAILED, "failed: no worker could go on"),
        (RunState.INTERRUPTED, EndedBy.CLUSTER_LOST, "interrupted: the cluster was lost"),
        (RunState.INTERRUPTED, None, "interrupted"),
        (None, None, "cannot be read"),
    ],
)
def test_how_a_run_ended_is_said_in_few_words(
    state: RunState | None, reason: EndedBy | None, said: str
) -> None:
    assert run_words.outcome(state, reason) == said


# --- detail ---------------------------------------------------------------------------------------


def long_scope(t_s: float = 20_000.0) -> PlotScope:
    """Plots of a run so old that its whole-run buckets are coarse."""
    store, run = make_store_with_run(2, t_s)
    scope = PlotScope()
    scope.set_run(run)
    scope.store = store  # type: ignore[attr-defined]
    coarse = run.whole
    coarse.bucket_s, every = 16.0, 16
    for name in ("num_env_steps", "return_n", "return_mean", "worker_steps"):
        setattr(coarse, name, getattr(coarse, name)[::every])
    return scope


def take(scope: PlotScope, **changes: float) -> None:
    request = wanted(scope)
    assert request is not None
    assert scope.run is not None
    answer = history_range(
        QueryHistory(1, request.run_id, request.start_s, request.end_s, request.num_buckets),
        until_s=scope.now_s,
        num_workers=2,
    )
    scope.run.take_detail(replace(answer, **changes))  # type: ignore[arg-type]


def test_nothing_is_asked_while_a_live_run_is_followed(qapp: object) -> None:
    scope = long_scope()
    for chosen in Range:
        scope.set_range(chosen)
        assert wanted(scope) is None


def test_a_zoom_into_coarse_buckets_asks_for_the_view_and_half_of_it_on_each_side(
    qapp: object,
) -> None:
    scope = long_scope()
    scope.zoom_to(5000.0, 5600.0)
    request = wanted(scope)
    assert request is not None
    assert (request.start_s, request.end_s, request.num_buckets) == (4700.0, 5900.0, 1200)


def test_a_zoom_never_asks_for_more_than_was_measured(qapp: object) -> None:
    scope = long_scope()
    scope.zoom_to(5000.0, 5010.0)
    request = wanted(scope)
    assert request is not None
    assert (request.end_s - request.start_s) / request.num_buckets == 0.5


def test_a_zoom_that_fine_buckets_can_show_asks_for_nothing(qapp: object) -> None:
    scope = long_scope()
    scope.zoom_to(19_700.0, 19_900.0)  # in the last 10 minutes
    assert wanted(scope) is None
    scope.zoom_to(0.0, 20_000.0)  # as coarse as its pixels
    assert wanted(scope) is None


def test_the_coarse_history_is_shown_until_the_fine_one_is_there_and_after_it_was_left(
    qapp: object,
) -> None:
    scope = long_scope()
    run = scope.run
    assert run is not None
    scope.zoom_to(5000.0, 5600.0)
    assert scope.series() is run.whole
    before = scope.progress(1.0)
    take(scope)
    assert run.detail is not None
    assert scope.series() is run.detail.series
    assert scope.progress(1.0) != before
    assert wanted(scope) is None
    part = scope.part()
    assert part is not None
    assert part.edges_s[0] <= 5000.0
    assert part.edges_s[-1] >= 5600.0
    assert np.allclose(np.diff(part.edges_s), 1.0)
    scope.pan(0.4)  # inside the margin
    assert scope.series() is run.detail.series
    scope.pan(2.0)
    assert scope.series() is run.whole
    assert wanted(scope) is not None


def test_a_detail_of_a_growing_run_is_renewed_when_it_has_aged(qapp: object) -> None:
    scope = long_scope()
    run = scope.run
    assert run is not None
    assert run.latest is not None
    scope.zoom_to(18_000.0, 20_400.0)
    take(scope)
    assert wanted(scope) is None
    assert run.detail is not None
    assert scope.series() is run.detail.series
    run.latest = replace(run.latest, t_s=20_003.0)
    assert scope.series() is run.detail.series
    assert wanted(scope) is not None
    run.latest = replace(run.latest, t_s=20_300.0)
    assert scope.series() is run.whole


def test_the_window_asks_once_for_many_notches_and_draws_what_it_got(
    window: MainWindow, running: Session, engine: FakeEngine, qtbot: QtBot
) -> None:
    engine.update(num_workers=2, t_s=20_000.0)
    run = running.store.runs[RUN_ID]
    run.whole.bucket_s = 16.0
    plot = window.overview.plots.episode_return
    qtbot.waitUntil(lambda: plot.has_chart and plot.canvas.area().width() > 50, timeout=30_000)
    for notch in range(10):
        window.overview.scope.zoom_to(5000.0, 5300.0 + notch)

    def queries() -> list[QueryHistory]:
        return [each for each in engine.sent if isinstance(each, QueryHistory)]

    qtbot.waitUntil(lambda: bool(queries()), timeout=30_000)
    assert len(queries()) == 1
    query = queries()[0]
    engine.say(history_range(query, until_s=20_000.0, num_workers=2))
    engine.answer(to=query.command_id)
    assert run.detail is not None
    assert window.overview.scope.series() is run.detail.series
    assert plot.is_dirty()


def test_a_mouse_press_on_the_slider_is_no_scrub_of_a_live_run(
    window: MainWindow, running: Session, engine: FakeEngine, qtbot: QtBot
) -> None:
    qtbot.keyClick(slider_of(window), Qt.Key.Key_Left)
    assert not [each for each in engine.sent if isinstance(each, OpenRecording)]


# --- interrupted ----------------------------------------------------------------------------------


def test_an_interrupted_run_is_started_again_from_its_spec_on_a_new_cluster(
    window: MainWindow, running: Session, engine: FakeEngine
) -> None:
    spec = running.store.runs[RUN_ID].spec
    assert spec is not None
    again = button(window, "fault_start_again")
    engine.say(ClusterStatus(ClusterPhase.LOST, fault=Fault("Ray's head died")))
    assert again.isVisible()
    assert button(window, "fault_relaunch").isVisible()
    again.click()
    assert engine.calls[-1] == "replace"
    assert window.form.spec().name == spec.name
    engine.become(EngineState.READY)
    engine.say(UP)
    starts = [command for command in engine.sent if isinstance(command, StartRun)]
    assert [command.spec for command in starts] == [spec]
    assert not window.banner.isVisible()


def test_without_an_interrupted_run_on_screen_there_is_nothing_to_start_again(
    reopened: MainWindow, engine: FakeEngine
) -> None:
    engine.say(ClusterStatus(ClusterPhase.LOST, fault=Fault("Ray's head died")))
    assert not button(reopened, "fault_start_again").isVisible()
    assert button(reopened, "fault_relaunch").isVisible()
