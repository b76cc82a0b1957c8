"""The form: what it builds, what it refuses and how it says so, and how it scales a live run."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QWheelEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QComboBox,
    QFileDialog,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QToolButton,
)
from pytestqt.qtbot import QtBot

from raydash.core.faults import Fault
from raydash.core.messages import CommandRun, EnvRegistry, Verb
from raydash.core.spec import (
    VECTORIZATIONS,
    ClusterSpec,
    EnvSpec,
    PolicySpec,
    RolloutSpec,
    RunSpec,
    StopSpec,
    WrapperSpec,
)
from raydash.core.spec_rules import SpecError
from raydash.core.states import RunState
from raydash.link.session import Session
from raydash.protocol.spec_file import spec_from_toml, toml_from_spec
from raydash.ui.form.run_form import RunForm
from raydash.ui.form.values import wrappers_in, wrappers_text
from tests.fakes.engines.engine import FakeEngine
from tests.fakes.updates.updates import RUN_ID

FULL = RunSpec(
    name="cliff",
    env=EnvSpec("CliffWalking-v1", {"is_slippery": True}),
    rollout=RolloutSpec(num_workers=3, seed=2**40, hang_timeout_s=5.0),
    stop=StopSpec(seconds=1.5, env_steps=10_000, episodes=7),
)


def line(form: RunForm, name: str) -> QLineEdit:
    found = form.findChild(QLineEdit, name)
    assert found is not None
    return found


def env(form: RunForm) -> QComboBox:
    found = form.findChild(QComboBox, "form_env")
    assert found is not None
    return found


def workers(form: RunForm) -> QSpinBox:
    found = form.findChild(QSpinBox, "form_num_workers")
    assert found is not None
    return found


def problem(form: RunForm, name: str) -> str:
    label = form.findChild(QLabel, f"{name}_problem")
    assert label is not None
    return label.text() if label.isVisibleTo(form) else ""


def heading(form: RunForm, name: str) -> QAbstractButton:
    found = form.findChild(QAbstractButton, f"form_part_{name}_heading")
    assert found is not None
    return found


def test_fresh_form_holds_the_default_spec(form: RunForm) -> None:
    assert form.spec() == RunSpec()


def test_spec_that_is_set_comes_out_again_with_the_keys_that_have_no_field(form: RunForm) -> None:
    form.set_spec(FULL)
    assert form.spec() == FULL


def test_what_is_typed_is_in_the_spec(form: RunForm, qtbot: QtBot) -> None:
    env(form).setEditText("Pendulum-v1")
    qtbot.keyClicks(line(form, "form_env_kwargs"), '{"g": 9.81}')
    qtbot.keyClicks(line(form, "form_seed"), "42")
    qtbot.keyClicks(line(form, "form_stop_seconds"), "2.5")
    qtbot.keyClicks(line(form, "form_stop_env_steps"), "1e6")
    qtbot.keyClicks(line(form, "form_stop_episodes"), "1 000")
    workers(form).setValue(4)
    assert form.spec() == RunSpec(
        env=EnvSpec("Pendulum-v1", {"g": 9.81}),
        rollout=RolloutSpec(num_workers=4, seed=42),
        stop=StopSpec(seconds=2.5, env_steps=1_000_000, episodes=1000),
    )


@pytest.mark.parametrize(
    ("name", "typed", "words"),
    [
        ("form_env_kwargs", "{gravity: 1}", "is not JSON"),
        ("form_env_kwargs", "[1]", "is not a table"),
        ("form_env_kwargs", '{"a": NaN}', "NaN is no number of JSON"),
        ("form_seed", "-1", "-1 is too small; allowed: a whole number from 0"),
        ("form_seed", "1.5", "is not a whole number"),
        ("form_stop_seconds", "0", "too small; allowed: a number above 0"),
        ("form_stop_env_steps", "many", '"many" is not a whole number'),
        ("form_stop_episodes", "0", "0 is too small; allowed: a whole number, 1 or more"),
    ],
)
def test_mistake_is_told_beside_its_field_while_typing(
    form: RunForm, qtbot: QtBot, name: str, typed: str, words: str
) -> None:
    qtbot.keyClicks(line(form, name), typed)
    assert words in problem(form, name)
    assert line(form, name).property("invalid") is True
    with pytest.raises(SpecError):
        form.spec()
    line(form, name).clear()
    assert problem(form, name) == ""
    assert line(form, name).property("invalid") is False


def test_all_mistakes_are_told_at_once(form: RunForm, qtbot: QtBot) -> None:
    env(form).setEditText(" ")
    qtbot.keyClicks(line(form, "form_env_kwargs"), "{")
    qtbot.keyClicks(line(form, "form_seed"), "x")
    assert "is empty" in problem(form, "form_env")
    assert "is not JSON" in problem(form, "form_env_kwargs")
    assert "is not a whole number" in problem(form, "form_seed")
    assert {violation.key for violation in form.violations} == {
        "env.id",
        "env.kwargs",
        "rollout.seed",
    }


def test_environments_of_the_registry_are_completed_in_any_place(
    form: RunForm, engine: FakeEngine
) -> None:
    engine.say(EnvRegistry(("Acrobot-v1", "CartPole-v1")))
    completer = env(form).completer()
    assert completer is not None
    completer.setCompletionPrefix("pole")
    assert completer.currentCompletion() == "CartPole-v1"
    assert env(form).currentText() == "CartPole-v1"


def test_id_that_is_nearly_registered_gets_a_hint_but_is_no_mistake(
    form: RunForm, engine: FakeEngine
) -> None:
    engine.say(EnvRegistry(("Acrobot-v1", "CartPole-v1")))
    env(form).setEditText("CartPole-v9")
    assert problem(form, "form_env") == "Not registered; did you mean CartPole-v1?"
    assert form.violations == ()


def test_fault_of_the_engine_marks_the_fields_that_it_names(form: RunForm) -> None:
    form.mark_fault(Fault("CartPole-v1 takes no gravity", keys=("env.kwargs",)))
    assert problem(form, "form_env_kwargs") == "CartPole-v1 takes no gravity"


def test_apply_scales_the_live_run(
    running: Session, form: RunForm, engine: FakeEngine, qtbot: QtBot
) -> None:
    apply = form.findChild(QPushButton, "form_apply_workers")
    assert apply is not None
    workers(form).setValue(12)
    assert apply.isVisibleTo(form)
    qtbot.mouseClick(apply, Qt.MouseButton.LeftButton)
    assert engine.sent == [CommandRun(1 + 2, RUN_ID, Verb.SCALE, None, 12)]
    assert not apply.isEnabled()
    engine.answer()
    engine.update(num_workers=12, snapshot=False)
    assert not apply.isVisibleTo(form)


def test_enter_in_the_number_of_workers_scales_the_live_run(
    running: Session, form: RunForm, engine: FakeEngine, qtbot: QtBot
) -> None:
    workers(form).setValue(12)
    qtbot.keyClick(workers(form), Qt.Key.Key_Return)
    assert [command.verb for command in engine.sent] == [Verb.SCALE]  # type: ignore[union-attr]


def test_there_is_nothing_to_apply_without_a_live_run(
    running: Session, form: RunForm, engine: FakeEngine
) -> None:
    apply = form.findChild(QPushButton, "form_apply_workers")
    assert apply is not None
    engine.update(state=RunState.STOPPED, snapshot=False)
    workers(form).setValue(12)
    assert not apply.isVisibleTo(form)


def test_part_is_folded_and_says_what_is_in_it(form: RunForm, qtbot: QtBot) -> None:
    form.set_spec(FULL)
    assert not line(form, "form_stop_seconds").isVisible()
    assert heading(form, "stop").accessibleName() == (
        "Stop, closed: 1.5 s · 10000 steps · 7 episodes"
    )
    qtbot.mouseClick(heading(form, "stop"), Qt.MouseButton.LeftButton)
    assert line(form, "form_stop_seconds").isVisible()
    assert heading(form, "stop").accessibleName() == "Stop, open"


def test_part_stays_as_it_was_left_in_the_next_window(
    form: RunForm, session: Session, qtbot: QtBot
) -> None:
    qtbot.mouseClick(heading(form, "stop"), Qt.MouseButton.LeftButton)
    qtbot.mouseClick(heading(form, "rollout"), Qt.MouseButton.LeftButton)
    later = RunForm(session)
    qtbot.addWidget(later)
    is_open = {part.objectName().removeprefix("form_part_"): part.is_open for part in later.parts}
    assert is_open["environment"]
    assert is_open["stop"]
    assert not is_open["rollout"]


def test_mistake_opens_the_part_that_it_is_in(form: RunForm) -> None:
    assert not line(form, "form_stop_episodes").isVisible()
    line(form, "form_stop_episodes").setText("0")
    assert line(form, "form_stop_episodes").isVisible()


def test_mistake_in_a_key_without_a_field_is_told_at_the_end(form: RunForm) -> None:
    form.set_spec(RunSpec(cluster=ClusterSpec(num_cpus=-1.0)))
    told = form.findChild(QLabel, "form_problem")
    assert told is not None
    assert told.isVisible()
    assert told.text().startswith("cluster.num_cpus: -1.0 is too small")
    form.set_spec(RunSpec())
    assert not told.isVisible()


def test_wheel_changes_no_field_without_focus(form: RunForm, qtbot: QtBot) -> None:
    env(form).setFocus()
    turn_wheel(workers(form))
    assert workers(form).value() == 0
    workers(form).setFocus()
    turn_wheel(workers(form))
    assert workers(form).value() == 1


def turn_wheel(field: QSpinBox) -> None:
    place = QPointF(field.rect().center())
    up, none = QPoint(0, 120), Qt.MouseButton.NoButton
    event = QWheelEvent(
        *(place, QPointF(field.mapToGlobal(place)), QPoint(), up, none),
        *(Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False),
    )
    QApplication.sendEvent(field, event)


# --- the policy's own fields ------------------------------------------------------------------


def kind(form: RunForm) -> QComboBox:
    found = form.findChild(QComboBox, "form_policy")
    assert found is not None
    return found


@pytest.mark.parametrize(
    "policy",
    [
        PolicySpec("constant", action=[0.5, -1]),
        PolicySpec("mlp", "/weights/best.npz"),
        PolicySpec("onnx", "/models/p.onnx"),
        PolicySpec("my_module:make"),
    ],
    ids=lambda policy: policy.kind,
)
def test_policy_that_is_set_comes_out_again(form: RunForm, policy: PolicySpec) -> None:
    form.set_spec(RunSpec(policy=policy))
    assert form.spec().policy == policy


@pytest.mark.parametrize(
    ("policy_kind", "has_file", "has_action"),
    [("random", False, False), ("constant", False, True), ("onnx", True, False)],
)
def test_policy_shows_only_the_fields_of_its_kind(
    form: RunForm, policy_kind: str, has_file: bool, has_action: bool
) -> None:
    kind(form).setEditText(policy_kind)
    assert line(form, "form_policy_path").isVisibleTo(form) is has_file
    assert line(form, "form_policy_action").isVisibleTo(form) is has_action
    choose = form.findChild(QToolButton, "form_policy_choose")
    assert choose is not None
    assert choose.isVisibleTo(form) is has_file


@pytest.mark.parametrize(
    ("policy_kind", "field", "text", "words"),
    [
        ("constant", "action", "", "is missing"),
        ("constant", "action", "left", '"left" is no action'),
        ("onnx", "path", "", "is missing; allowed: the file of the onnx policy"),
    ],
)
def test_what_a_policy_lacks_is_told_under_its_field(
    form: RunForm, policy_kind: str, field: str, text: str, words: str
) -> None:
    kind(form).setEditText(policy_kind)
    line(form, f"form_policy_{field}").setText(text)
    assert words in problem(form, f"form_policy_{field}")
    kind(form).setEditText("random")
    assert form.violations == ()


def test_unknown_kind_of_policy_is_told_with_those_that_there_are(form: RunForm) -> None:
    kind(form).setEditText("clever")
    assert "onnx" in problem(form, "form_policy")


def test_chosen_file_is_in_the_spec(form: RunForm, tmp_path: Path, qtbot: QtBot) -> None:
    kind(form).setEditText("onnx")
    choose = form.findChild(QToolButton, "form_policy_choose")
    assert choose is not None
    choose.click()
    dialog = form.findChild(QFileDialog, "form_policy_dialog")
    assert dialog is not None
    assert dialog.nameFilters()[0] == "ONNX models (*.onnx)"
    dialog.fileSelected.emit(str(tmp_path / "p.onnx"))
    dialog.reject()
    assert form.spec().policy == PolicySpec("onnx", str(tmp_path / "p.onnx"))


def test_trust_of_a_spec_from_elsewhere_is_not_taken_over(form: RunForm) -> None:
    form.set_spec(RunSpec(policy=PolicySpec("sb3", "/models/ppo.zip", trust=True)))
    assert form.spec().policy == PolicySpec("sb3", "/models/ppo.zip")


@pytest.mark.parametrize("kind", ["random", "constant", "linear", "onnx"])
def test_fields_fill_the_width_whichever_rows_a_kind_needs(form: RunForm, kind: str) -> None:
    form.resize(280, 500)
    policy = form.findChild(QComboBox, "form_policy")
    assert policy is not None
    policy.setCurrentText(kind)
    QApplication.processEvents()
    assert policy.width() == env(form).width()
    assert policy.mapTo(form, QPoint()).x() == env(form).mapTo(form, QPoint()).x()


def test_execution_is_chosen_by_mode_with_a_line_on_what_each_does(
    qtbot: QtBot, session: Session
) -> None:
    form = RunForm(session)
    qtbot.addWidget(form)
    mode, said = form.findChild(QComboBox, "form_mode"), form.findChild(QLabel, "form_mode_words")
    assert mode is not None
    assert said is not None
    assert form.spec().rollout.mode == "actors"
    words = set()
    for number, name in enumerate(("actors", "lockstep", "tasks")):
        mode.setCurrentIndex(number)
        assert form.spec().rollout.mode == name
        assert said.text() == mode.itemData(number, Qt.ItemDataRole.ToolTipRole)
        words.add(said.text())
    assert len(words) == 3
    form.set_spec(RunSpec(rollout=RolloutSpec(mode="lockstep")))
    assert mode.currentText() == "lockstep"
    assert form.spec().rollout.mode == "lockstep"


# --- several environments per worker, and wrappers ----------------------------------------------


def envs(form: RunForm) -> QSpinBox:
    found = form.findChild(QSpinBox, "form_envs_per_worker")
    assert found is not None
    return found


def vectorization(form: RunForm) -> QComboBox:
    found = form.findChild(QComboBox, "form_vectorization")
    assert found is not None
    return found


def test_vectorization_is_asked_for_where_there_are_several_environments(form: RunForm) -> None:
    assert not vectorization(form).isVisible()
    envs(form).setValue(8)
    assert vectorization(form).isVisible()
    assert form.spec().rollout == RolloutSpec(num_envs_per_worker=8)
    assert form.spec().rollout.chosen_vectorization == "sync"
    texts = [vectorization(form).itemText(row) for row in range(vectorization(form).count())]
    assert texts == ["automatic", *VECTORIZATIONS]
    vectorization(form).setCurrentText("vector_entry_point")
    assert form.spec().rollout.vectorization == "vector_entry_point"
    envs(form).setValue(1)
    assert vectorization(form).isVisible()  # it was chosen, so it stays in sight


@pytest.mark.parametrize(
    ("rollout", "name", "words"),
    [
        (
            RolloutSpec(vectorization="none", num_envs_per_worker=4),
            "form_vectorization",
            '"none" steps one environment, not 4',
        ),
        (
            RolloutSpec(mode="lockstep", num_envs_per_worker=4),
            "form_envs_per_worker",
            "lockstep steps one environment per worker",
        ),
    ],
)
def test_what_does_not_go_together_is_told_beside_its_field(
    form: RunForm, rollout: RolloutSpec, name: str, words: str
) -> None:
    form.set_spec(RunSpec(rollout=rollout))
    assert words in problem(form, name)


def test_wrappers_that_are_typed_are_in_the_spec(form: RunForm, qtbot: QtBot) -> None:
    qtbot.keyClicks(
        line(form, "form_wrappers"), 'ClipAction, TimeLimit {"max_episode_steps": 200}, my.mod:Wrap'
    )
    assert form.spec().env.wrappers == (
        WrapperSpec("ClipAction"),
        WrapperSpec("TimeLimit", {"max_episode_steps": 200}),
        WrapperSpec("my.mod:Wrap"),
    )


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("TimeLimit {max: 1}", "is not JSON: expecting property name enclosed in double quotes"),
        ('TimeLimit {"a": NaN}', "NaN is no number of JSON"),
        ('{"a": 1}', "{ stands where a name belongs"),
        ("}", "} stands where a name belongs"),
        ('"', "is not JSON"),
        ("TimeLimit {" + '"a": {' * 50_000, "is not JSON"),
    ],
)
def test_wrappers_that_are_no_list_are_told_beside_their_field(
    form: RunForm, typed: str, words: str
) -> None:
    line(form, "form_wrappers").setText(typed)
    assert words in problem(form, "form_wrappers")
    with pytest.raises(SpecError):
        form.spec()


def test_name_of_a_wrapper_is_completed_behind_the_last_comma(
    form: RunForm, engine: FakeEngine
) -> None:
    engine.say(EnvRegistry(("CartPole-v1",), ("ClipAction", "TimeLimit")))
    wrappers = line(form, "form_wrappers")
    wrappers.setText("ClipAction, limit")
    completer = wrappers.completer()
    completer.setCompletionPrefix(wrappers.text())
    assert completer.currentCompletion() == "ClipAction, TimeLimit"
    completer.setCompletionPrefix('TimeLimit {"max_episode_steps": 1, ')
    assert completer.completionCount() == 0


def test_wrapper_that_is_nearly_known_gets_a_hint_but_is_no_mistake(
    form: RunForm, engine: FakeEngine
) -> None:
    engine.say(EnvRegistry(("CartPole-v1",), ("ClipAction", "TimeLimit")))
    line(form, "form_wrappers").setText("TimeLimits")
    assert problem(form, "form_wrappers") == "No wrapper TimeLimits; did you mean TimeLimit?"
    assert form.violations == ()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@given(
    st.lists(
        st.builds(
            WrapperSpec,
            st.text(min_size=1).filter(str.strip),
            st.dictionaries(st.text(), JSON_VALUES, max_size=3),
        ),
        max_size=4,
    )
)
def test_wrappers_of_any_name_come_out_of_their_text(wrappers: list[WrapperSpec]) -> None:
    found, violations = wrappers_in(wrappers_text(wrappers))
    assert violations == ()
    assert [WrapperSpec(**each) for each in found] == wrappers


def test_spec_file_goes_through_the_form_and_loses_nothing(form: RunForm) -> None:
    text = (
        'name = "all of it"\n'
        '[env]\nid = "CartPole-v1"\nkwargs = {sutton_barto_reward = true}\n'
        '[[env.wrappers]]\nname = "TimeLimit"\nkwargs = {max_episode_steps = 100}\n'
        '[[env.wrappers]]\nname = "my.mod:Wrap"\n'
        '[rollout]\nnum_workers = 2\nnum_envs_per_worker = 8\nvectorization = "sync"\n'
        'info_keys = ["score"]\nseed = 3\nhang_timeout_s = 4.5\n'
        "[stop]\nepisodes = 10\n[cluster]\nnum_gpus = 0.5\n"
        '[sinks]\ntensorboard = "/tmp/tb"\n'
    )
    spec = spec_from_toml(text)
    form.set_spec(spec)
    assert form.violations == ()
    assert form.spec() == spec
    assert spec_from_toml(toml_from_spec(form.spec())) == spec


def test_check_goes_by_the_environment_whatever_else_is_wrong(form: RunForm) -> None:
    form.set_spec(FULL)
    envs(form).setValue(4)
    line(form, "form_stop_seconds").setText("never ever")
    assert form.violations
    assert form.checkable_spec() == RunSpec(
        env=FULL.env, rollout=RolloutSpec(num_envs_per_worker=4)
    )
    line(form, "form_env_kwargs").setText("{")
    with pytest.raises(SpecError) as caught:
        form.checkable_spec()
    assert [violation.key for violation in caught.value.violations] == ["env.kwargs"]
