"""What a window offers once a policy was learnt, and the examples that lead there."""

import pytest
from PySide6.QtGui import QAction, QGuiApplication
from pytestqt.qtbot import QtBot

from raydash.core.spec import LearnerSpec, PolicySpec, StopSpec
from raydash.core.spec_rules import violations_of
from raydash.link.session import Session
from raydash.protocol.spec_file import read_spec
from raydash.ui.form.examples import EXAMPLES, Example
from raydash.ui.frame.main_window import MainWindow
from tests.fakes.engines.engine import FakeEngine, summary
from tests.fakes.places import ROOT
from tests.fakes.updates.learning import BEST_POLICY, learning_spec, make_learning_update
from tests.fakes.updates.updates import RUN_ID, make_update


@pytest.fixture
def learning(window: MainWindow, session: Session, engine: FakeEngine) -> MainWindow:
    """A window that shows a live run with a best policy."""
    engine.come_up(summary())
    engine.answer()
    engine.say(make_learning_update(t_s=40.0))
    session.show_run(RUN_ID)
    window.overview.plots.draw()
    return window


def action(window: MainWindow, name: str) -> QAction:
    found = window.findChild(QAction, name)
    assert found is not None
    return found


def test_best_policy_is_offered_once_there_is_one(learning: MainWindow, engine: FakeEngine) -> None:
    assert learning.best_policy.isVisible()
    engine.say(make_learning_update(seq=9, t_s=0.25))
    assert not learning.best_policy.isVisible()
    engine.say(make_update(seq=10))
    assert not learning.best_policy.isVisible()


def test_running_the_best_policy_fills_the_form_and_starts_nothing(
    learning: MainWindow, engine: FakeEngine
) -> None:
    engine.sent.clear()
    action(learning, "best_policy_run").trigger()
    spec = learning.form.spec()
    assert spec.policy == PolicySpec("linear", BEST_POLICY)
    assert spec.learner == LearnerSpec()
    assert spec.stop == StopSpec(episodes=100)
    assert spec.env == learning_spec().env
    assert spec.rollout.num_workers == 2
    assert engine.sent == []


def test_best_policy_is_run_on_other_episodes_than_it_was_chosen_by(learning: MainWindow) -> None:
    action(learning, "best_policy_run").trigger()
    assert learning.form.spec().rollout.seed != learning_spec().rollout.seed


def test_path_of_the_best_policy_is_copied(learning: MainWindow) -> None:
    action(learning, "best_policy_copy").trigger()
    assert QGuiApplication.clipboard().text() == BEST_POLICY


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.title)
def test_example_can_be_started_as_it_is(example: Example) -> None:
    assert violations_of(example.spec) == ()


def test_example_fills_the_form(window: MainWindow, qtbot: QtBot) -> None:
    action(window, "example_1").trigger()
    assert window.form.spec() == EXAMPLES[0].spec
    assert window.form.violations == ()


@pytest.mark.parametrize(("number", "file"), [(0, "cartpole_learns"), (1, "lunar_lander_learns")])
def test_example_file_is_the_example_of_the_window(number: int, file: str) -> None:
    read = read_spec(ROOT / "assets" / "examples" / f"{file}.toml")
    assert read == EXAMPLES[number].spec
