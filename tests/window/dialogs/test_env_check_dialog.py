"""Check environment: what is sent to the engine, and what the dialog shows."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QAbstractButton, QDialog, QLabel, QLineEdit, QSpinBox, QToolButton
from pytestqt.qtbot import QtBot

from raydash.core.analysis.env_check_words import lines_of
from raydash.core.env_check import AgentSpaces, CheckPhase, EnvCheck, EnvProblem
from raydash.core.faults import Fault
from raydash.core.messages import CancelCheck, CheckEnv, EnvChecked, EnvCheckPhase
from raydash.core.spec import EnvSpec, RolloutSpec, RunSpec, StopSpec, WrapperSpec
from raydash.core.states import EngineState
from raydash.link.engine_process import EngineProcess
from raydash.link.session import Session
from raydash.ui.frame.main_window import MainWindow
from raydash.ui.kit.theme import ThemeManager
from tests.fakes.engines.engine import FakeEngine
from tests.window.conftest import ManualClock

FOUND = EnvCheck(
    "Mine-v0",
    "Box(-1.0, 1.0, (2,), float32)",
    "Discrete(2)",
    make_time_s=0.25,
    step_time_median_s=0.0000123,
    step_time_p95_s=0.0456,
    reset_time_median_s=1.5,
    env_steps_per_s=81234.5,
    num_env_steps=2000,
    num_episodes=3,
    memory_bytes=50 * 2**20,
    memory_growth_bytes=2**20,
    problems=(
        EnvProblem(True, "it is broken", "Traceback: line 3"),
        EnvProblem(False, "it is odd"),
    ),
)


@pytest.fixture
def ready(window: MainWindow, engine: FakeEngine) -> MainWindow:
    """A window with a ready engine and without a cluster."""
    engine.become(EngineState.READY)
    engine.sent.clear()
    return window


def action(window: MainWindow) -> QAction:
    found = window.findChild(QAction, "action_check_env")
    assert found is not None
    return found


def begun(window: MainWindow, engine: FakeEngine) -> CheckEnv:
    action(window).trigger()
    asked = engine.sent[-1]
    assert isinstance(asked, CheckEnv)
    return asked


def dialog(window: MainWindow) -> QDialog:
    found = window.findChild(QDialog, "check_env_dialog")
    assert found is not None
    return found


def button(window: MainWindow, name: str) -> QAbstractButton:
    found = dialog(window).findChild(QAbstractButton, f"check_env_{name}")
    assert found is not None
    return found


def words(window: MainWindow) -> list[str]:
    """The texts that are visible in the dialog."""
    shown = [label for label in dialog(window).findChildren(QLabel) if label.isVisible()]
    return [label.text() for label in shown if label.text()]


def test_button_in_the_form_is_the_action_with_its_words(
    ready: MainWindow, engine: FakeEngine, qtbot: QtBot
) -> None:
    found = ready.form.findChild(QToolButton, "button_check_env")
    assert found is not None
    assert found.text() == "Check"
    assert found.accessibleName() == "Check environment"
    assert "in a process of its own" in found.toolTip()
    qtbot.mouseClick(found, Qt.MouseButton.LeftButton)
    assert isinstance(engine.sent[-1], CheckEnv)


def test_check_needs_an_engine_and_an_environment_that_can_be_asked_for(
    window: MainWindow, engine: FakeEngine
) -> None:
    assert "the engine is not there yet" in action(window).toolTip()
    assert not action(window).isEnabled()
    engine.become(EngineState.READY)
    assert action(window).isEnabled()
    kwargs = window.form.findChild(QLineEdit, "form_env_kwargs")
    assert kwargs is not None
    kwargs.setText("{")
    assert not action(window).isEnabled()
    assert "mistake in env.kwargs" in action(window).toolTip()


def test_what_the_form_holds_at_that_moment_is_checked(
    ready: MainWindow, engine: FakeEngine
) -> None:
    env = EnvSpec("Mine-v0", {"g": 1.5}, (WrapperSpec("ClipAction"),))
    spec = RunSpec(env=env, rollout=RolloutSpec(num_workers=3, seed=5), stop=StopSpec(episodes=1))
    ready.form.set_spec(spec)
    envs = ready.form.findChild(QSpinBox, "form_envs_per_worker")
    assert envs is not None
    envs.setValue(8)
    asked = begun(ready, engine)
    assert asked.env == env
    assert asked.rollout == RolloutSpec(num_envs_per_worker=8)
    assert dialog(ready).isVisible()
    assert not dialog(ready).isModal()
    assert '{"g": 1.5} · ClipAction · 8 together, sync' in words(ready)


def test_runs_that_slow_the_check_down_are_told(
    window: MainWindow, running: Session, engine: FakeEngine
) -> None:
    begun(window, engine)
    assert "timed beside 1\u00a0live run" in words(window)


def test_phases_and_seconds_are_told_while_it_runs(
    ready: MainWindow, engine: FakeEngine, hands: ManualClock
) -> None:
    asked = begun(ready, engine)
    assert "Starting a process · 0.0\u00a0s" in words(ready)
    hands.now_s += 3.0
    engine.say(EnvCheckPhase(asked.command_id, CheckPhase.CHECK))
    assert "Looking for mistakes · 3.0\u00a0s" in words(ready)
    engine.say(EnvCheckPhase(asked.command_id + 7, CheckPhase.TIMING))  # of another check
    assert "Looking for mistakes · 3.0\u00a0s" in words(ready)
    assert button(ready, "close").text() == "Cancel"
    assert not button(ready, "copy").isVisible()


def test_figures_and_problems_are_shown_and_can_be_copied(
    ready: MainWindow, engine: FakeEngine
) -> None:
    asked = begun(ready, engine)
    engine.say(EnvChecked(asked.command_id, FOUND))
    engine.answer(to=asked.command_id)
    told = words(ready)
    for expected in (
        "1 error, 1 warning",
        "Box(-1.0, 1.0, (2,), float32)",
        "12.3 µs median, 45.6 ms p95",
        "1.5 s median",
        "52.4 MB, +1.05 MB in its last second",
        "it is broken",
        "it is odd",
    ):
        assert expected in told
    assert button(ready, "close").text() == "Close"
    button(ready, "copy").click()
    assert QGuiApplication.clipboard().text() == "\n".join(lines_of(FOUND))


def test_traceback_of_a_problem_is_one_click_away(ready: MainWindow, engine: FakeEngine) -> None:
    asked = begun(ready, engine)
    engine.say(EnvChecked(asked.command_id, FOUND))
    engine.answer(to=asked.command_id)
    button(ready, "traceback").click()
    details = dialog(ready).findChild(QDialog, "details_dialog")
    assert details is not None
    details.close()


def test_spaces_of_all_agents_are_shown(ready: MainWindow, engine: FakeEngine) -> None:
    asked = begun(ready, engine)
    agents = (AgentSpaces("a", "Box(2)", "Discrete(2)"), AgentSpaces("b", "Box(3)", "Discrete(2)"))
    engine.say(EnvChecked(asked.command_id, EnvCheck("m", multi_agent="aec", agents=agents)))
    engine.answer(to=asked.command_id)
    told = words(ready)
    assert "2, taking turns: a, b" in told
    assert "Box(2) of a" in told
    assert "Box(3) of b" in told
    assert "Discrete(2)" in told
    assert "no problems found" in told


def test_fault_is_told_in_words_beside_the_field_too_and_not_in_the_banner(
    ready: MainWindow, engine: FakeEngine
) -> None:
    asked = begun(ready, engine)
    fault = Fault("There is no Mine-v0", "a typo", "look", "Traceback", ("env.id",), bad_input=True)
    engine.answer(fault, to=asked.command_id)
    told = words(ready)
    assert "There is no Mine-v0" in told
    assert "A typo. Look." in told
    field = ready.form.findChild(QLabel, "form_env_problem")
    assert field is not None
    assert field.text() == "There is no Mine-v0. look"
    assert ready.banner.fault is None
    button(ready, "details").click()
    details = dialog(ready).findChild(QDialog, "details_dialog")
    assert details is not None
    details.close()


def test_closing_the_dialog_cancels_the_check_and_nothing_more_is_heard_of_it(
    ready: MainWindow, engine: FakeEngine
) -> None:
    asked = begun(ready, engine)
    button(ready, "close").click()
    cancel = engine.sent[-1]
    assert isinstance(cancel, CancelCheck)
    assert cancel.check_id == asked.command_id
    assert not dialog(ready).isVisible()
    engine.answer(to=cancel.command_id)
    engine.say(EnvChecked(asked.command_id, FOUND))
    engine.answer(to=asked.command_id)
    assert not dialog(ready).isVisible()
    button(ready, "close").click()
    assert engine.sent[-1] is cancel  # nothing is under way any more


def test_check_again_goes_by_what_is_in_the_form_by_then(
    ready: MainWindow, engine: FakeEngine
) -> None:
    asked = begun(ready, engine)
    engine.say(EnvChecked(asked.command_id, FOUND))
    engine.answer(to=asked.command_id)
    ready.form.set_spec(RunSpec(env=EnvSpec("Pendulum-v1")))
    button(ready, "again").click()
    again = engine.sent[-1]
    assert isinstance(again, CheckEnv)
    assert again.env.id == "Pendulum-v1"
    assert again.command_id != asked.command_id
    assert button(ready, "close").text() == "Cancel"


def test_check_again_of_a_form_that_has_a_mistake_by_then_says_so(
    ready: MainWindow, engine: FakeEngine
) -> None:
    asked = begun(ready, engine)
    engine.answer(Fault("There is no Mine-v0"), to=asked.command_id)
    kwargs = ready.form.findChild(QLineEdit, "form_env_kwargs")
    assert kwargs is not None
    kwargs.setText("{")
    button(ready, "again").click()
    assert engine.sent[-1] is asked
    said = ready.findChild(QLabel, "status_said")
    assert said is not None
    assert "mistake in env.kwargs" in said.toolTip() + said.text()


def test_second_press_while_a_check_runs_cancels_the_first(
    ready: MainWindow, engine: FakeEngine
) -> None:
    first = begun(ready, engine)
    second = begun(ready, engine)
    cancel = engine.sent[-2]
    assert isinstance(cancel, CancelCheck)
    assert cancel.check_id == first.command_id
    engine.answer(to=first.command_id)
    assert button(ready, "close").text() == "Cancel"
    engine.say(EnvChecked(second.command_id, FOUND))
    engine.answer(to=second.command_id)
    assert button(ready, "close").text() == "Close"


def test_engine_that_dies_meanwhile_is_told(ready: MainWindow, engine: FakeEngine) -> None:
    asked = begun(ready, engine)
    engine.answer(Fault("The engine died before it answered", "", "Try again"), to=asked.command_id)
    assert "The engine died before it answered" in words(ready)
    assert button(ready, "again").isVisible()


@pytest.fixture
def real(themes: ThemeManager, qtbot: QtBot, private_dirs: Path) -> Iterator[MainWindow]:
    """A window with a real engine and without a cluster."""
    session = Session(EngineProcess(time.monotonic), time.monotonic)
    session.start()
    made = MainWindow(session, themes)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitUntil(lambda: action(made).isEnabled(), timeout=30_000)
    yield made
    with qtbot.waitSignal(session.finished, timeout=30_000):
        made.close()


def test_real_engine_checks_while_the_window_goes_on(real: MainWindow, qtbot: QtBot) -> None:
    action(real).trigger()
    qtbot.waitUntil(lambda: button(real, "copy").isVisible(), timeout=60_000)
    assert "Box([-4.8 -inf -0.41887903 -inf], [4.8 inf 0.41887903 inf], (4,), float32)" in words(
        real
    )
    button(real, "close").click()
