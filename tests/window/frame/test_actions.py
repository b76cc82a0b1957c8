"""Buttons: when they are enabled, why they are not, and exactly what they send."""

import argparse
import json
import shlex
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QApplication, QLabel, QPushButton

from raydash.core.faults import Fault
from raydash.core.messages import ClusterStatus, CommandRun, StartRun, Verb
from raydash.core.spec import (
    ClusterSpec,
    EnvSpec,
    PolicySpec,
    RolloutSpec,
    RunSpec,
    StopSpec,
)
from raydash.core.states import Activity, ClusterPhase, EngineState, RunState
from raydash.link.session import Session
from raydash.ui.form.command_line import command_from_spec
from raydash.ui.frame.main_window import MainWindow
from raydash.ui.runs.run_verbs import RunContext, why_start_cannot, why_verb_cannot
from tests.fakes.engines.engine import FakeEngine, summary
from tests.fakes.updates.updates import RUN_ID


def action(window: MainWindow, name: str) -> QAction:
    found = window.findChild(QAction, f"action_{name}")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("context", "words"),
    [
        (RunContext(), ""),
        (RunContext(state=RunState.FINISHED), ""),
        (RunContext(engine_ready=False), "engine"),
        (RunContext(connected=False), "cluster is not up"),
        (RunContext(connected=False, can_connect=True), ""),
        (RunContext(state=RunState.RUNNING), ""),
        (RunContext(starting=True), "being started"),
        (RunContext(form_mistakes="env.id"), "mistake in env.id"),
    ],
)
def test_start_says_why_it_cannot_be_pressed(context: RunContext, words: str) -> None:
    reason = why_start_cannot(context)
    assert words in reason
    assert bool(reason) == bool(words)


@pytest.mark.parametrize(
    ("verb", "context", "words"),
    [
        (Verb.PAUSE, RunContext(state=RunState.RUNNING), ""),
        (Verb.RESUME, RunContext(state=RunState.PAUSED, paused=True), ""),
        (Verb.STOP, RunContext(state=RunState.PAUSED, paused=True), ""),
        (Verb.PAUSE, RunContext(), "there is no run"),
        (Verb.PAUSE, RunContext(state=RunState.PAUSED, paused=True), "paused already"),
        (Verb.RESUME, RunContext(state=RunState.RUNNING), "not paused"),
        (Verb.STOP, RunContext(state=RunState.STOPPED), "the run is stopped"),
        (Verb.STOP, RunContext(state=RunState.RUNNING, connected=False), "not connected"),
        (Verb.STOP, RunContext(state=RunState.RUNNING, engine_ready=False), "engine"),
        (
            Verb.PAUSE,
            RunContext(state=RunState.RUNNING, pending=frozenset({Verb.PAUSE})),
            "asked already",
        ),
        (Verb.PAUSE, RunContext(state=RunState.RUNNING, foreign_version="9.9"), "raydash 9.9"),
        (Verb.STOP, RunContext(state=RunState.RUNNING, foreign_version="9.9"), ""),
    ],
)
def test_run_buttons_say_why_they_cannot_be_pressed(
    verb: Verb, context: RunContext, words: str
) -> None:
    reason = why_verb_cannot(verb, context)
    assert words in reason
    assert bool(reason) == bool(words)


def test_start_sends_the_spec_of_the_form(
    session: Session, engine: FakeEngine, window: MainWindow
) -> None:
    assert not action(window, "start").isEnabled()
    engine.come_up()
    assert action(window, "start").isEnabled()
    action(window, "start").trigger()
    assert engine.sent[-1] == StartRun(2, RunSpec())
    assert action(window, "start").text() == "Starting…"
    assert not action(window, "start").isEnabled()


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.STOP, Verb.DRAIN])
def test_run_button_sends_its_verb_and_waits_for_the_answer(
    window: MainWindow, session: Session, engine: FakeEngine, verb: Verb
) -> None:
    engine.come_up(summary())
    engine.answer()
    engine.update()
    button = action(window, verb.value)
    assert button.isEnabled()
    button.trigger()
    assert engine.sent[-1] == CommandRun(3, RUN_ID, verb)
    assert button.text().endswith("ing…")
    assert "asked already" in button.toolTip()
    engine.answer()
    assert not button.text().endswith("…")


def test_resume_is_offered_once_the_run_is_paused(
    window: MainWindow, running: Session, engine: FakeEngine
) -> None:
    assert not action(window, "resume").isEnabled()
    assert "not paused" in action(window, "resume").toolTip()
    engine.update(state=RunState.PAUSED, snapshot=False)
    assert action(window, "resume").isEnabled()
    assert not action(window, "pause").isEnabled()
    action(window, "resume").trigger()
    assert engine.sent[-1] == CommandRun(3, RUN_ID, Verb.RESUME)


def test_refused_start_marks_the_field_that_is_at_fault(
    session: Session, engine: FakeEngine, window: MainWindow
) -> None:
    engine.come_up()
    action(window, "start").trigger()
    engine.answer(Fault("There is no environment CartPole-v1", keys=("env.id",), bad_input=True))
    problem = window.form.findChild(QLabel, "form_env_problem")
    assert problem is not None
    assert problem.text() == "There is no environment CartPole-v1"
    assert window.banner.fault is not None


def test_worker_menu_commands_only_the_selected_workers_that_can(
    window: MainWindow, running: Session, engine: FakeEngine
) -> None:
    engine.update(activities={3: Activity.PAUSED, 5: Activity.FAILED}, snapshot=False)
    table = window.bottom.workers
    table.draw()
    table.select((3, 4, 5))
    menu = table.worker_menu()
    by_name = {entry.objectName(): entry for entry in menu.actions()}
    assert by_name["worker_pause"].text() == "Pause (1 of 3)"
    by_name["worker_pause"].trigger()
    assert engine.sent[-1] == CommandRun(3, RUN_ID, Verb.PAUSE, (4,))
    by_name["worker_restart"].trigger()
    assert engine.sent[-1] == CommandRun(4, RUN_ID, Verb.RESTART, (3, 4, 5))


def test_worker_menu_says_why_not(window: MainWindow, running: Session, engine: FakeEngine) -> None:
    engine.update(activities={5: Activity.FAILED}, snapshot=False)
    table = window.bottom.workers
    table.draw()
    table.select((5,))
    by_name = {entry.objectName(): entry for entry in table.worker_menu().actions()}
    assert not by_name["worker_kill"].isEnabled()
    assert by_name["worker_kill"].toolTip() == "Not now: worker 5: it is failed"


def test_buttons_rest_while_the_engine_is_away(
    window: MainWindow, running: Session, engine: FakeEngine
) -> None:
    engine.become(EngineState.RECONNECTING)
    for name in ("pause", "stop", "drain"):
        assert not action(window, name).isEnabled()
        assert "the run itself is not affected" in action(window, name).toolTip()


def test_relaunch_after_the_cluster_was_lost_starts_another_engine(
    window: MainWindow, running: Session, engine: FakeEngine
) -> None:
    engine.say(ClusterStatus(ClusterPhase.LOST, fault=Fault("The head node died")))
    assert window.banner.isVisibleTo(window)
    window.banner._relaunch.click()
    assert engine.calls[-1] == "replace"
    assert not window.banner.isVisibleTo(window)


# --- copy as command --------------------------------------------------------------------------


def parsed_back(command: str) -> RunSpec:
    """The meaning of a command line, read by an independent parser."""
    words = shlex.split(command)
    assert words[:2] == ["raydash", "run"]
    parser = argparse.ArgumentParser()
    for flag, kind in (
        ("--env", str),
        ("--env-kwargs", json.loads),
        ("--policy", str),
        ("--workers", int),
        ("--seed", int),
        ("--for", float),
        ("--steps", int),
        ("--episodes", int),
        ("--address", str),
    ):
        parser.add_argument(flag, type=kind)
    got = vars(parser.parse_args([f"{flag}={value}" for flag, value in _pairs(words[2:])]))
    return RunSpec(
        env=EnvSpec(got["env"], got["env_kwargs"] or {}),
        policy=PolicySpec(got["policy"] or "random"),
        rollout=RolloutSpec(num_workers=got["workers"], seed=got["seed"] or 0),
        stop=StopSpec(got["for"], got["steps"], got["episodes"]),
        cluster=ClusterSpec(address=got["address"]),
    )


def _pairs(words: list[str]) -> list[tuple[str, str]]:
    return list(zip(words[::2], words[1::2], strict=True))


@given(
    env_id=st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1),
    kwargs=st.dictionaries(
        st.text(), st.integers(-(2**63), 2**63 - 1) | st.text() | st.booleans(), max_size=3
    ),
    workers=st.none() | st.integers(1, 10_000),
    seed=st.integers(0, 2**63 - 1),
    seconds=st.none() | st.floats(1e-9, 1e12),
    steps=st.none() | st.integers(1, 10**15),
)
def test_copied_command_means_the_same_spec(
    env_id: str,
    kwargs: dict[str, object],
    workers: int | None,
    seed: int,
    seconds: float | None,
    steps: int | None,
) -> None:
    spec = RunSpec(
        env=EnvSpec(env_id, kwargs),
        rollout=RolloutSpec(num_workers=workers, seed=seed),
        stop=StopSpec(seconds=seconds, env_steps=steps),
    )
    command, left_out = command_from_spec(spec)
    assert parsed_back(command) == spec
    assert left_out == ()


def test_keys_without_a_flag_are_named(window: MainWindow) -> None:
    spec = RunSpec(name="x", rollout=RolloutSpec(hang_timeout_s=3.0))
    _command, left_out = command_from_spec(spec)
    assert left_out == ("name", "rollout.hang_timeout_s")


def test_copy_as_command_puts_it_on_the_clipboard(window: MainWindow) -> None:
    window.form.set_spec(RunSpec(env=EnvSpec("my.module:make it", {"a": 1})))
    action(window, "copy_command").trigger()
    copied = QApplication.clipboard().text()
    assert copied == "raydash run --env 'my.module:make it' --env-kwargs '{\"a\": 1}'"


# --- policies that execute what their files say -----------------------------------------------

MODEL = PolicySpec("sb3", "/models/ppo.zip")


def sent_starts(engine: FakeEngine) -> list[StartRun]:
    return [command for command in engine.sent if isinstance(command, StartRun)]


def press(window: MainWindow, name: str) -> None:
    button = window.findChild(QPushButton, name)
    assert button is not None
    button.click()


@pytest.mark.parametrize(("answer", "is_started"), [("trust_load", True), ("trust_cancel", False)])
def test_start_asks_before_such_a_policy_is_loaded(
    window: MainWindow, running: Session, engine: FakeEngine, answer: str, is_started: bool
) -> None:
    window.form.set_spec(RunSpec(policy=MODEL))
    action(window, "start").trigger()
    assert sent_starts(engine) == []
    press(window, answer)
    assert [start.spec.policy.trust for start in sent_starts(engine)] == [True] * is_started
    assert not window.form.spec().policy.trust  # the next start asks again


def test_other_policies_start_unasked(
    window: MainWindow, running: Session, engine: FakeEngine
) -> None:
    action(window, "start").trigger()
    assert len(sent_starts(engine)) == 1


def test_run_that_starts_with_the_window_asks_too_whatever_its_spec_says(
    window: MainWindow, running: Session, engine: FakeEngine
) -> None:
    window.start_when_up(RunSpec(policy=replace(MODEL, trust=True)))
    assert sent_starts(engine) == []
    press(window, "trust_load")
    assert [start.spec.policy for start in sent_starts(engine)] == [replace(MODEL, trust=True)]
