"""Closing: the user is asked only if something would be lost, and has three choices."""

from dataclasses import replace

import pytest
from PySide6.QtWidgets import QAbstractButton, QLabel
from pytestqt.qtbot import QtBot

from raydash.core.messages import CommandRun, RunList, StartRun, Verb
from raydash.core.spec import SIMULATED, RunSpec
from raydash.core.states import EndedBy, EngineState, RunState
from raydash.link.session import Session
from raydash.ui.dialogs.close_dialog import CloseDialog
from raydash.ui.frame.main_window import MainWindow
from tests.fakes.engines.engine import FakeEngine, summary

OWN = "20261122-120000-own"


@pytest.fixture
def own(window: MainWindow, session: Session, engine: FakeEngine) -> MainWindow:
    """A window with a live run that it started."""
    engine.come_up()
    session.start_run(RunSpec())
    assert isinstance(engine.sent[-1], StartRun)
    engine.answer(run_id=OWN)
    engine.say(RunList((summary(OWN),)))
    engine.update(OWN)
    return window


def dialog_of(window: MainWindow) -> CloseDialog | None:
    return window.findChild(CloseDialog)


def press(window: MainWindow, name: str) -> None:
    button = window.findChild(QAbstractButton, name)
    assert button is not None
    button.click()


def test_window_without_runs_closes_without_a_question(
    window: MainWindow, engine: FakeEngine, qtbot: QtBot
) -> None:
    with qtbot.waitSignal(window.closed, timeout=30_000):
        window.close()
    assert dialog_of(window) is None
    assert engine.calls[-1] == "shut_down"
    assert not window.isVisible()


def test_window_with_simulated_runs_closes_without_a_question(
    own: MainWindow, session: Session, engine: FakeEngine, qtbot: QtBot
) -> None:
    engine.say(replace(session.store.cluster, address=SIMULATED))
    with qtbot.waitSignal(own.closed, timeout=30_000):
        own.close()
    assert dialog_of(own) is None
    assert engine.calls[-1] == "shut_down"


def test_run_of_somebody_else_is_no_reason_to_ask(
    window: MainWindow, running: Session, engine: FakeEngine, qtbot: QtBot
) -> None:
    with qtbot.waitSignal(window.closed, timeout=30_000):
        window.close()
    assert engine.sent == []


def test_run_that_is_over_is_no_reason_to_ask(
    own: MainWindow, engine: FakeEngine, qtbot: QtBot
) -> None:
    engine.update(OWN, state=RunState.FINISHED, snapshot=False, last=True)
    with qtbot.waitSignal(own.closed, timeout=30_000):
        own.close()


def test_run_that_was_kept_is_no_reason_to_ask(
    own: MainWindow, engine: FakeEngine, qtbot: QtBot
) -> None:
    engine.say(RunList((summary(OWN, keep=True),)))
    with qtbot.waitSignal(own.closed, timeout=30_000):
        own.close()


def test_cancel_leaves_the_window_and_its_runs(own: MainWindow, engine: FakeEngine) -> None:
    own.close()
    assert dialog_of(own) is not None
    press(own, "close_cancel")
    assert own.isVisible()
    assert not any(isinstance(command, CommandRun) for command in engine.sent)
    assert "shut_down" not in engine.calls


def test_stop_runs_waits_for_their_end_and_closes(
    own: MainWindow, engine: FakeEngine, qtbot: QtBot
) -> None:
    own.close()
    with qtbot.waitSignal(own.closed, timeout=30_000):
        press(own, "close_stop")
        assert engine.sent[-1] == CommandRun(3, OWN, Verb.STOP, ended_by=EndedBy.USER)
        assert own.isVisible()
        engine.answer()
        assert own.isVisible()
        engine.update(OWN, state=RunState.STOPPED, snapshot=False, last=True)
    assert not own.isVisible()


def test_several_runs_are_asked_about_once_and_all_of_them_stopped(
    own: MainWindow, session: Session, engine: FakeEngine, qtbot: QtBot
) -> None:
    session.start_run(RunSpec())
    engine.answer(run_id="second", to=3)
    engine.update("second")
    engine.say(RunList((summary(OWN), summary("second"), summary("of somebody else"))))
    own.close()
    (dialog,) = own.findChildren(CloseDialog)
    said = " ".join(label.text() for label in dialog.findChildren(QLabel))
    assert "2\u00a0runs of this window are still going on" in said
    with qtbot.waitSignal(own.closed, timeout=30_000):
        press(own, "close_stop")
        stops = [command for command in engine.sent if isinstance(command, CommandRun)]
        assert {(each.run_id, each.verb) for each in stops} == {
            (OWN, Verb.STOP),
            ("second", Verb.STOP),
        }
        engine.update(OWN, state=RunState.STOPPED, snapshot=False, last=True)
        assert own.isVisible()
        engine.update("second", state=RunState.STOPPED, snapshot=False, last=True)


def test_keep_running_tells_the_run_and_closes(
    own: MainWindow, engine: FakeEngine, qtbot: QtBot
) -> None:
    own.close()
    with qtbot.waitSignal(own.closed, timeout=30_000):
        press(own, "close_keep")
        assert engine.sent[-1] == CommandRun(3, OWN, Verb.KEEP)
        engine.answer()
    assert engine.calls[-1] == "shut_down"


def test_second_close_while_runs_are_stopping_changes_nothing(
    own: MainWindow, engine: FakeEngine
) -> None:
    own.stop_and_close(EndedBy.SIGNAL)
    sent = list(engine.sent)
    own.close()
    assert engine.sent == sent
    assert own.isVisible()


def test_run_is_stopped_once_the_engine_is_back(own: MainWindow, engine: FakeEngine) -> None:
    engine.become(EngineState.RECONNECTING)
    own.stop_and_close()
    engine.come_up(summary(OWN))
    stops = [command for command in engine.sent if isinstance(command, CommandRun)]
    assert [command.verb for command in stops] == [Verb.STOP]
