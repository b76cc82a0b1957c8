"""The whole window: it shows what arrives, and remembers what was chosen."""

import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QAction, QDropEvent
from PySide6.QtWidgets import QAbstractButton, QComboBox, QLabel, QLineEdit, QSpinBox, QWidget
from pytestqt.qtbot import QtBot

from raydash.core.events import Event, EventKind
from raydash.core.faults import Fault
from raydash.core.messages import ClusterStatus
from raydash.core.spec import ClusterSpec, EnvSpec, RunSpec
from raydash.core.states import ClusterPhase, EngineState, RunState
from raydash.core.words import numbers
from raydash.link.engine_process import EngineProcess, Timings
from raydash.link.session import Session
from raydash.protocol.spec_file import toml_from_spec
from raydash.ui.dialogs.connect_dialog import ConnectDialog, why_address_cannot
from raydash.ui.frame.bars.cluster_badge import cluster_words
from raydash.ui.frame.main_window import MainWindow
from raydash.ui.kit.settings import recent_specs, settings
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.plots.views.plot_base import FIRST_SECONDS
from raydash.ui.runs.lines import run_lines
from raydash.ui.tables.event_list import event_words
from tests.fakes.engines.engine import UP, FakeEngine, summary
from tests.fakes.places import ROOT
from tests.fakes.updates.updates import RUN_ID

STAND_IN = ROOT / "tests" / "fakes" / "engines" / "engine_stand_in.py"
NAMES = (
    "worker_table",
    "plot_episode_return",
    "plot_endings",
    "plot_throughput",
    "heatmap_throughput",
    "form_env",
    "form_env_kwargs",
    "form_policy",
    "form_num_workers",
    "form_mode",
    "form_seed",
    "form_stop_seconds",
    "form_stop_env_steps",
    "form_stop_episodes",
    "status_engine",
    "cluster_badge",
    "run_list",
    "event_list",
    "worker_filter",
)


def words_of(window: MainWindow, name: str) -> str:
    found = window.findChild(QWidget, name)
    assert found is not None
    return str(found.full_text()) if hasattr(found, "full_text") else ""


@pytest.mark.parametrize("name", NAMES)
def test_widget_can_be_found_by_name_and_has_words_for_the_blind(
    window: MainWindow, name: str
) -> None:
    found = window.findChild(QWidget, name)
    assert found is not None
    assert found.accessibleName()


def test_every_control_has_a_name_and_words(window: MainWindow) -> None:
    for kind in (QAbstractButton, QLineEdit, QComboBox, QSpinBox):
        for control in window.findChildren(kind):
            if control.objectName().startswith("qt_") or not control.isVisibleTo(window):
                continue
            parent = control.parentWidget()
            if isinstance(control, QLineEdit) and isinstance(parent, QComboBox | QSpinBox):
                continue
            if parent is not None and parent.metaObject().className() in ("QTabBar", "QTableView"):
                continue
            assert control.objectName(), control
            text = ""
            if isinstance(control, QAbstractButton | QLineEdit | QSpinBox):
                text = control.text()
            assert control.accessibleName() or text, control.objectName()


@pytest.mark.parametrize("name", ["start", "pause", "resume", "stop", "drain"])
def test_run_actions_have_shortcuts_and_tool_tips(window: MainWindow, name: str) -> None:
    found = window.findChild(QAction, f"action_{name}")
    assert found is not None
    assert not found.shortcut().isEmpty()
    assert found.shortcut().toString() in found.toolTip()


def test_everything_fits_at_1280_by_800(window: MainWindow, running: Session) -> None:
    window.clock.tick()
    minimum = window.minimumSizeHint()
    assert minimum.width() <= 1280
    assert minimum.height() <= 800
    assert (window.width(), window.height()) == (1280, 800)
    header = window.bottom.workers.view.horizontalHeader()
    assert header.length() <= window.bottom.workers.view.viewport().width() + 1
    for button in window.findChildren(QAbstractButton):
        if button.isVisibleTo(window) and button.objectName().startswith("button_"):
            assert button.width() >= button.sizeHint().width(), button.objectName()


def test_workers_of_the_shown_run_are_in_the_table(
    window: MainWindow, running: Session, engine: FakeEngine
) -> None:
    window.clock.tick()
    assert window.bottom.workers.model.rowCount() == 8
    engine.update(num_workers=3, snapshot=False)
    window.clock.tick()
    assert window.bottom.workers.model.rowCount() == 3


def test_selection_stays_with_its_workers(
    window: MainWindow, running: Session, engine: FakeEngine
) -> None:
    window.clock.tick()
    table = window.bottom.workers
    table.select((3, 6))
    table.view.sortByColumn(0, Qt.SortOrder.DescendingOrder)
    engine.update(num_workers=7, snapshot=False)
    window.clock.tick()
    assert table.selected == (3, 6)
    rows = table.view.selectionModel().selectedRows()
    assert sorted(table.model.worker_at(index.row()) for index in rows) == [3, 6]


def test_workers_that_a_filter_hides_are_no_longer_selected(
    window: MainWindow, running: Session
) -> None:
    window.clock.tick()
    table = window.bottom.workers
    table.select((1, 2))
    table.filter.setText("2")
    assert table.selected == (2,)


def test_data_stay_on_screen_while_the_engine_is_away(
    window: MainWindow, running: Session, engine: FakeEngine
) -> None:
    window.clock.tick()
    engine.become(EngineState.RECONNECTING)
    engine.lost.emit(Fault("The engine died", "it was killed (SIGKILL)", detail="last words"))
    window.clock.tick()
    assert window.bottom.workers.model.rowCount() == 8
    assert window.badge.text() == "reconnecting to the engine"
    assert "reconnecting" in words_of(window, "status_engine")
    assert window.banner.isVisibleTo(window)
    engine.come_up(summary())
    assert not window.banner.isVisibleTo(window)


def test_fault_is_told_in_words_with_details_one_click_away(
    window: MainWindow, session: Session
) -> None:
    fault = Fault("It broke", "a cable", "plug it in", detail="Traceback")
    session.fault_raised.emit(fault)
    banner = window.banner
    what, why = banner.findChild(QLabel, "fault_what"), banner.findChild(QLabel, "fault_why")
    assert what is not None
    assert why is not None
    assert what.text() == "It broke"
    assert why.text() == "A cable. Plug it in."
    button = banner.findChild(QAbstractButton, "fault_details")
    assert button is not None
    button.click()
    dialog = window.findChild(QWidget, "details_dialog")
    assert dialog is not None
    relaunch = banner.findChild(QAbstractButton, "fault_relaunch")
    assert relaunch is not None
    assert not relaunch.isVisibleTo(window)
    dialog.close()
    banner.dismiss()
    assert not banner.isVisibleTo(window)


@pytest.mark.parametrize(
    ("status", "engine_state", "words"),
    [
        (UP, EngineState.READY, "local cluster · 1\u00a0node · 2\u00a0CPUs · token auth"),
        (ClusterStatus(ClusterPhase.LAUNCHING, "starting Ray"), EngineState.READY, "starting Ray"),
        (ClusterStatus(ClusterPhase.LOST), EngineState.READY, "cluster lost"),
        (ClusterStatus(ClusterPhase.ABSENT), EngineState.READY, "no cluster"),
        (ClusterStatus(ClusterPhase.ABSENT), EngineState.FAILED, "no engine"),
        (
            ClusterStatus(ClusterPhase.UP, address="simulated"),
            EngineState.READY,
            "simulated, no Ray",
        ),
        (
            ClusterStatus(
                ClusterPhase.UP,
                launched=False,
                address="10.0.0.5:6379",
                num_nodes=3,
                num_cpus=96,
                num_gpus=2,
            ),
            EngineState.READY,
            "attached to 10.0.0.5:6379 · 3\u00a0nodes · 96\u00a0CPUs · 2\u00a0GPUs · no auth",
        ),
    ],
)
def test_badge_says_how_the_cluster_is(
    status: ClusterStatus, engine_state: EngineState, words: str
) -> None:
    assert cluster_words(status, engine_state) == words


def test_connecting_can_be_cancelled_and_taken_up_again(
    window: MainWindow, session: Session, engine: FakeEngine
) -> None:
    engine.become(EngineState.READY)
    engine.say(ClusterStatus(ClusterPhase.LAUNCHING, "starting Ray"))
    button = window.badge.findChild(QAbstractButton, "cluster_button")
    assert button is not None
    assert button.text() == "Cancel"
    button.click()
    engine.become(EngineState.RECONNECTING)
    engine.become(EngineState.READY)
    assert window.badge.text() == "no cluster"
    assert button.text() == "Connect"
    button.click()
    assert engine.sent[-1].cluster == ClusterSpec()  # type: ignore[union-attr]


def test_run_list_shows_live_runs_and_those_that_ended_here(
    window: MainWindow, running: Session, engine: FakeEngine
) -> None:
    engine.update(state=RunState.STOPPED, snapshot=False, last=True)
    states = {line.run_id: line.state for line in run_lines(running)}
    assert states == {RUN_ID: RunState.STOPPED}
    assert window.runs.list.item(0).text().startswith("cartpole-random\nstopped · 10:00")


def test_click_on_a_run_shows_it(window: MainWindow, running: Session, engine: FakeEngine) -> None:
    from raydash.core.messages import AttachRun, FollowRuns, RunList

    engine.say(RunList((summary(), summary("other", name="other"))))
    item = next(
        window.runs.list.item(row)
        for row in range(window.runs.list.count())
        if window.runs.list.item(row).text().startswith("other")
    )
    window.runs.list.itemClicked.emit(item)
    assert engine.sent[-2:] == [AttachRun(3, "other"), FollowRuns(4, ("other",))]
    assert running.store.shown_run_id == "other"


def test_events_are_listed_newest_first_with_their_traceback_behind_them(
    window: MainWindow, running: Session
) -> None:
    window.bottom.tabs.setCurrentIndex(1)
    run = running.store.shown
    assert run is not None
    run.events.append(Event(99, 61.0, EventKind.ENV_ERROR, "worker 2: it broke", 2, "Traceback", 3))
    window.clock.tick()
    model = window.bottom.events.model
    assert model.index(0).data() == "00:01:01   worker 2: it broke  ×3  …"
    assert not window.bottom.events.details.isEnabled()
    window.bottom.events.view.setCurrentIndex(model.index(0))
    assert window.bottom.events.details.isEnabled()
    window.bottom.events.details.click()
    dialog = window.findChild(QWidget, "details_dialog")
    assert dialog is not None
    dialog.close()


def test_a_run_that_was_asked_for_is_said_to_start_everywhere(
    session: Session, window: MainWindow, engine: FakeEngine
) -> None:
    """Otherwise users would press Start again while the cluster comes up and the trial runs."""
    plot, tile = window.overview.plots.episode_return, window.overview.tiles.tiles["env_steps"]

    def said() -> set[str]:
        plot.draw()
        window.overview.tiles.draw()
        return {plot.empty_text, tile.small.full_text()}

    engine.come_up()
    assert said() == {"no run yet: press Start"}
    session.start_run(RunSpec())
    assert said() == {"the run is starting"}
    engine.answer(Fault("It is refused"))
    assert said() == {"no run yet: press Start"}
    session.start_run(RunSpec())
    engine.answer(run_id=RUN_ID)
    assert said() == {FIRST_SECONDS, "the run is starting"}


def test_the_number_beside_the_tabs_says_what_it_counts(
    running: Session, window: MainWindow
) -> None:
    window.bottom.workers.draw()
    window.bottom.events.draw()
    run = running.store.shown
    assert run is not None
    assert window.bottom.subtitle() == f"8{numbers.NBSP}workers"
    window.bottom.tabs.setCurrentIndex(1)
    assert window.bottom.subtitle() == numbers.plural(len(run.events), "event")


def test_events_of_a_snapshot_replace_those_that_its_supervisor_never_recorded(
    running: Session, window: MainWindow
) -> None:
    """A supervisor that was restarted gave another event the number of the lost one."""
    run = running.store.shown
    assert run is not None
    assert run.latest is not None
    kept = tuple(run.events)
    number = kept[-1].number + 1
    lost = Event(number, 600.0, EventKind.POLICY_IMPROVED, "not recorded yet")
    other = Event(number, 601.0, EventKind.SUPERVISOR_RESTARTED, "supervisor restarted")
    seq = run.latest.seq
    model = window.bottom.events.model

    def listed() -> list[str]:
        window.bottom.events.draw()
        return [model.event_at(row).text for row in range(model.rowCount())]

    running.store.receive(replace(run.latest, seq=seq + 1, since_seq=seq, events=(lost,)))
    assert listed()[0] == lost.text
    running.store.receive(replace(run.latest, seq=9, since_seq=0, events=(*kept, other)))
    assert listed() == [event.text for event in (other, *reversed(kept))]
    assert window.bottom.events.is_dirty() is False


def test_event_words_hold_time_text_and_count() -> None:
    assert event_words(Event(1, 0.0, EventKind.RUN_STARTED, "started")) == "00:00:00   started"


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("10.0.0.5:6379", ""),
        ("[::1]:6379", ""),
        ("ray://head:10001", "ray:// is the Ray Client"),
        ("http://head:8265", "without a scheme"),
        ("10.0.0.5", "port is missing"),
        ("head:zero", "zero is no port"),
        ("head:70000", "70000 is no port"),
        ("", "HOST:PORT"),
    ],
)
def test_address_is_refused_in_words(address: str, words: str) -> None:
    reason = why_address_cannot(address)
    assert words in reason
    assert bool(reason) == bool(words)


def test_chosen_address_becomes_the_cluster(
    window: MainWindow, running: Session, engine: FakeEngine
) -> None:
    window.ask_address()
    dialog = window.findChild(ConnectDialog)
    assert dialog is not None
    assert not dialog.attach.isEnabled()
    dialog.address.setText("10.0.0.5:6379")
    dialog.token.setText("/home/ada/token")
    dialog.attach.click()
    assert running.cluster_spec == ClusterSpec(
        address="10.0.0.5:6379", token_path="/home/ada/token"
    )
    assert engine.calls[-1] == "replace"


def test_dropped_spec_is_opened_and_remembered(window: MainWindow, tmp_path: Path) -> None:
    path = tmp_path / "acrobot.toml"
    path.write_text(toml_from_spec(RunSpec(env=EnvSpec("Acrobot-v1"))))
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(path))])
    event = QDropEvent(
        QPointF(5, 5),
        Qt.DropAction.CopyAction,
        data,
        Qt.MouseButton.LeftButton,
        Qt.KeyboardModifier.NoModifier,
    )
    window.dropEvent(event)
    assert window.form.spec().env.id == "Acrobot-v1"
    assert recent_specs() == [path]


def test_bad_spec_file_leaves_the_form_and_names_every_mistake(
    window: MainWindow, tmp_path: Path
) -> None:
    path = tmp_path / "bad.toml"
    path.write_text('[rollout]\nnum_workers = 0\nsed = 1\n[env]\nid = "Acrobot-v1"\n')
    window.files.read(path)
    assert window.form.spec() == RunSpec()
    assert window.banner.fault is not None
    assert window.banner.fault.keys == ("rollout.num_workers", "rollout.sed")
    assert recent_specs() == []


def test_saved_spec_is_read_back(window: MainWindow, tmp_path: Path) -> None:
    spec = RunSpec(name="mine", env=EnvSpec("Acrobot-v1", {"a": 1}))
    window.form.set_spec(spec)
    window.files.write(tmp_path / "mine")
    window.form.set_spec(RunSpec())
    window.files.read(tmp_path / "mine.toml")
    assert window.form.spec() == spec


def test_spec_that_cannot_be_saved_raises_a_fault(window: MainWindow, tmp_path: Path) -> None:
    window.files.write(tmp_path / "missing" / "mine.toml")
    assert window.banner.fault is not None
    assert window.banner.fault.what == "mine.toml could not be saved"


def _shown(session: Session, themes: ThemeManager, qtbot: QtBot) -> MainWindow:
    made = MainWindow(session, themes)
    qtbot.addWidget(made)
    made.show()
    return made


def test_geometry_splitters_and_columns_are_remembered(
    window: MainWindow, session: Session, themes: ThemeManager, qtbot: QtBot
) -> None:
    window.run_view.whole.setSizes([430, 260])
    window.bottom.workers.view.setColumnHidden(3, True)
    before = window.run_view.whole.sizes()
    with qtbot.waitSignal(window.closed, timeout=30_000):
        window.close()
    again = _shown(session, themes, qtbot)
    qtbot.waitExposed(again)
    assert settings().value("window/geometry")
    assert again.run_view.whole.sizes() == pytest.approx(before, abs=30)
    assert again.bottom.workers.view.isColumnHidden(3)
    again.clock.stop()


def test_real_child_process_feeds_the_window_and_obeys_its_buttons(
    themes: ThemeManager, qtbot: QtBot, private_dirs: Path
) -> None:
    engine = EngineProcess(
        time.monotonic,
        command=(sys.executable, str(STAND_IN), "--num-workers", "4"),
        timings=Timings(end_grace_s=2.0),
    )
    session = Session(engine, time.monotonic)
    session.start()
    session.connect_cluster(ClusterSpec())
    window = MainWindow(session, themes)
    qtbot.addWidget(window)
    window.show()
    qtbot.waitUntil(lambda: session.is_connected, timeout=30_000)
    window.actions_.start.trigger()
    model = window.bottom.workers.model
    qtbot.waitUntil(lambda: model.rowCount() == 4, timeout=30_000)
    pause = window.findChild(QAction, "action_pause")
    resume = window.findChild(QAction, "action_resume")
    assert pause is not None
    assert resume is not None
    pause.trigger()
    qtbot.waitUntil(resume.isEnabled, timeout=30_000)
    window.stop_and_close()
    with qtbot.waitSignal(session.finished, timeout=30_000):
        pass
    assert engine.pid == 0
