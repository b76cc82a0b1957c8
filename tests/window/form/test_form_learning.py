"""The form's parts for learning: what they build, and what they hide."""

from dataclasses import replace

import pytest
from PySide6.QtWidgets import QCheckBox, QComboBox, QLabel, QLineEdit, QWidget
from pytestqt.qtbot import QtBot

from raydash.core.spec import LearnerSpec, PolicySpec, RolloutSpec, RunSpec, StopSpec
from raydash.core.spec_rules import SpecError, Violation
from raydash.ui.form.run_form import RunForm

LEARNS = RunSpec(
    policy=PolicySpec("mlp", hidden=(64, 32)),
    learner=LearnerSpec(
        "cmaes",
        population=24,
        sigma=0.25,
        episodes_per_candidate=3,
        evaluation_episodes=20,
        evaluation_interval=2,
        normalize_observations=False,
    ),
    stop=StopSpec(target_return=475.0),
)
OWN = RunSpec(
    policy=PolicySpec("linear"), learner=LearnerSpec("my.search:Random", options={"step": 0.1})
)


def violations(form: RunForm) -> tuple[Violation, ...]:
    # A function, because mypy believes that an attribute keeps the value that was asserted.
    return form.violations


def line(form: RunForm, name: str) -> QLineEdit:
    found = form.findChild(QLineEdit, name)
    assert found is not None
    return found


def box(form: RunForm, name: str) -> QComboBox:
    found = form.findChild(QComboBox, name)
    assert found is not None
    return found


def problem(form: RunForm, name: str) -> str:
    label = form.findChild(QLabel, f"{name}_problem")
    assert label is not None
    return label.text() if label.isVisibleTo(form) else ""


def part(form: RunForm, name: str) -> QWidget:
    found = form.findChild(QWidget, f"form_part_{name}")
    assert found is not None
    return found


def unfold(form: RunForm) -> None:
    for each in form.parts:
        each.open(True)


@pytest.mark.parametrize("spec", [LEARNS, OWN], ids=["cmaes over an mlp", "a learner of one's own"])
def test_spec_that_learns_comes_out_as_it_was_set(form: RunForm, spec: RunSpec) -> None:
    form.set_spec(spec)
    assert violations(form) == ()
    assert form.spec() == spec


def test_search_is_out_of_sight_until_something_learns(form: RunForm) -> None:
    unfold(form)
    assert not part(form, "search").isVisible()
    assert not line(form, "form_stop_target_return").isVisible()
    box(form, "form_learner").setCurrentText("CMA-ES")
    assert part(form, "search").isVisible()
    assert line(form, "form_stop_target_return").isVisible()


def test_learner_that_is_chosen_takes_the_simplest_policy_that_can_be_learnt(
    form: RunForm,
) -> None:
    box(form, "form_learner").setCurrentText("CMA-ES")
    assert form.spec() == RunSpec(policy=PolicySpec("linear"), learner=LearnerSpec("cmaes"))


def test_learner_that_is_chosen_keeps_a_policy_that_can_be_learnt(form: RunForm) -> None:
    box(form, "form_policy").setCurrentText("mlp")
    box(form, "form_learner").setCurrentText("CMA-ES")
    assert form.spec().policy.kind == "mlp"


def test_policy_that_cannot_be_learnt_is_refused_below_its_field(form: RunForm) -> None:
    form.set_spec(LEARNS)
    box(form, "form_policy").setCurrentText("random")
    told = problem(form, "form_policy")
    assert told == 'the parameters of "random" can\'t be learnt; allowed: one of linear, mlp'
    with pytest.raises(SpecError):
        form.spec()


def test_run_without_a_learner_keeps_nothing_of_the_search(form: RunForm) -> None:
    form.set_spec(LEARNS)
    box(form, "form_learner").setCurrentText("none")
    box(form, "form_policy").setCurrentText("random")
    spec = form.spec()
    assert spec.learner == LearnerSpec()
    assert spec.stop == StopSpec()


def test_hidden_layers_are_asked_for_of_an_mlp_only(form: RunForm, qtbot: QtBot) -> None:
    form.set_spec(LEARNS)
    unfold(form)
    hidden = line(form, "form_policy_hidden")
    assert hidden.isVisible()
    hidden.clear()
    assert form.spec().policy.hidden == PolicySpec().hidden
    qtbot.keyClicks(hidden, "64 64")
    assert form.spec().policy.hidden == (64, 64)
    box(form, "form_policy").setCurrentText("linear")
    assert not hidden.isVisible()


def test_options_are_asked_for_of_a_learner_of_ones_own_only(form: RunForm) -> None:
    form.set_spec(OWN)
    unfold(form)
    options = line(form, "form_learner_options")
    assert options.isVisible()
    options.setText("{")
    assert "is not JSON" in problem(form, "form_learner_options")
    box(form, "form_learner").setCurrentText("CMA-ES")
    assert not options.isVisible()
    assert form.spec().learner.options == {}


@pytest.mark.parametrize(
    ("name", "typed", "words"),
    [
        ("form_stop_target_return", "high", '"high" is not a number'),
        ("form_learner_population", "1", "1 is too small"),
        ("form_learner_sigma", "0", "0 is too small; allowed: a number above 0"),
        ("form_learner_episodes_per_candidate", "1.5", "is not a whole number"),
        ("form_learner_evaluation_interval", "0", "0 is too small"),
        ("form_learner_evaluation_episodes", "0", "0 is too small"),
        ("form_policy_hidden", "64, many", "is no such list"),
        ("form_policy_hidden", "0", "is no such list"),
    ],
)
def test_mistake_about_the_search_is_told_beside_its_field(
    form: RunForm, name: str, typed: str, words: str
) -> None:
    form.set_spec(LEARNS)
    line(form, name).setText(typed)
    assert words in problem(form, name)


def test_unknown_learner_is_refused_and_one_of_ones_own_is_not(form: RunForm) -> None:
    box(form, "form_learner").setCurrentText("adam")
    assert '"adam" is unknown' in problem(form, "form_learner")
    box(form, "form_learner").setCurrentText("my.search:Random")
    assert form.spec().learner.kind == "my.search:Random"


def test_learner_in_a_mode_that_plays_no_candidates_is_refused(form: RunForm) -> None:
    form.set_spec(LEARNS)
    assert violations(form) == ()
    form.set_spec(replace(LEARNS, rollout=RolloutSpec(mode="tasks")))
    assert [violation.key for violation in violations(form)] == ["rollout.mode"]


def test_observations_are_normalised_unless_it_is_unticked(form: RunForm) -> None:
    box(form, "form_learner").setCurrentText("CMA-ES")
    tick = form.findChild(QCheckBox, "form_learner_normalize_observations")
    assert tick is not None
    assert form.spec().learner.normalize_observations
    tick.setChecked(False)
    assert not form.spec().learner.normalize_observations


def test_closed_parts_say_what_learns_and_how(form: RunForm) -> None:
    form.set_spec(LEARNS)
    told = {each.objectName(): each.summary() for each in form.parts}
    assert told["form_part_learning"] == "CMA-ES to 475"
    assert told["form_part_search"] == "population 24 · sigma 0.25"
    form.set_spec(RunSpec())
    assert form.parts[2].summary() == "none"
