"""Applying the form's policy to the shown run: when that is offered, and what is sent."""

from dataclasses import replace

import pytest
from PySide6.QtWidgets import QComboBox, QLabel, QLineEdit, QPushButton

from raydash.core.faults import Fault
from raydash.core.messages import CommandRun, Verb
from raydash.core.spec import PolicySpec
from raydash.core.states import RunState
from raydash.link.session import Session
from raydash.ui.form.run_form import RunForm
from tests.fakes.engines.engine import FakeEngine
from tests.fakes.updates.updates import RUN_ID


def button(form: RunForm) -> QPushButton:
    found = form.findChild(QPushButton, "form_apply_policy")
    assert found is not None
    return found


def choose(form: RunForm, policy: PolicySpec) -> None:
    kind = form.findChild(QComboBox, "form_policy")
    path = form.findChild(QLineEdit, "form_policy_path")
    action = form.findChild(QLineEdit, "form_policy_action")
    assert kind is not None
    assert path is not None
    assert action is not None
    kind.setEditText(policy.kind)
    path.setText(policy.path or "")
    action.setText("" if policy.action is None else str(policy.action))


def test_another_policy_is_applied_to_the_live_run(
    running: Session, form: RunForm, engine: FakeEngine
) -> None:
    assert not button(form).isVisibleTo(form)
    choose(form, PolicySpec("onnx", "/models/p.onnx"))
    assert button(form).isVisibleTo(form)
    button(form).click()
    (command,) = engine.sent
    assert isinstance(command, CommandRun)
    assert (command.run_id, command.verb) == (RUN_ID, Verb.SWAP)
    assert command.policy == PolicySpec("onnx", "/models/p.onnx")
    assert not button(form).isEnabled()
    assert button(form).text() == "Swapping…"
    engine.answer()
    engine.update(policy=command.policy, snapshot=False)
    assert not button(form).isVisibleTo(form)
    choose(form, PolicySpec())
    assert button(form).isVisibleTo(form)  # back to the policy of the spec


def test_policy_that_lacks_something_is_not_offered(running: Session, form: RunForm) -> None:
    choose(form, PolicySpec("onnx"))
    assert not button(form).isVisibleTo(form)


def test_nothing_is_applied_without_a_live_run(
    running: Session, form: RunForm, engine: FakeEngine
) -> None:
    engine.update(state=RunState.STOPPED, snapshot=False)
    choose(form, PolicySpec("constant", action=1))
    assert not button(form).isVisibleTo(form)


@pytest.mark.parametrize(("answer", "is_sent"), [("trust_load", True), ("trust_cancel", False)])
def test_policy_that_can_execute_code_is_asked_for_first(
    running: Session, form: RunForm, engine: FakeEngine, answer: str, is_sent: bool
) -> None:
    policy = PolicySpec("sb3", "/models/ppo.zip")
    choose(form, policy)
    button(form).click()
    assert engine.sent == []
    reply = form.findChild(QPushButton, answer)
    assert reply is not None
    reply.click()
    sent = [command.policy for command in engine.sent if isinstance(command, CommandRun)]
    assert sent == [replace(policy, trust=True)] * is_sent


def test_fault_of_a_swap_is_told_under_the_field_that_it_names(
    running: Session, form: RunForm, engine: FakeEngine
) -> None:
    choose(form, PolicySpec("onnx", "/models/p.onnx"))
    button(form).click()
    engine.answer(Fault("It does not fit", "it takes 3 numbers", keys=("policy.path",)))
    problem = form.findChild(QLabel, "form_policy_path_problem")
    assert problem is not None
    assert "it takes 3 numbers" in problem.text()
    assert button(form).isEnabled()
