"""The compare page with runs that learn: metrics of generations, also over generations."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QComboBox
from pytestqt.qtbot import QtBot

from raydash.core.states import RunState
from raydash.link.session import Session
from raydash.ui.compare.page import ComparePage
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.runs.numbers import RunNumbers
from tests.fakes.updates.learning import make_generations, make_learning_update
from tests.fakes.updates.updates import make_update
from tests.window.conftest import ManualClock

LEARNS, OTHER = "20261122-101500-cartpole-v1-0001", "20261122-101501-cartpole-v1-0002"


@pytest.fixture
def page(session: Session, themes: ThemeManager, qtbot: QtBot) -> ComparePage:
    made = ComparePage(session, themes, RunNumbers())
    made.resize(1280, 760)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    return made


@pytest.fixture
def compare(
    page: ComparePage, session: Session, hands: ManualClock
) -> Callable[[str], ComparePage]:
    """Compares a run that learns with one that does not, or shows the other one alone."""

    def make(*run_ids: str) -> ComparePage:
        learning = make_learning_update(t_s=40.0, state=RunState.FINISHED)
        session.store.receive(replace(learning, run_id=LEARNS))
        session.store.receive(replace(make_update(2, t_s=40.0), run_id=OTHER))
        page.set_runs(run_ids)
        return page

    return make


def box(page: ComparePage, name: str) -> QComboBox:
    found = page.findChild(QComboBox, name)
    assert found is not None
    return found


def choose(page: ComparePage, name: str, text: str) -> None:
    box(page, name).setCurrentIndex(box(page, name).findText(text))


def is_offered(page: ComparePage, name: str, text: str) -> bool:
    combo = box(page, name)
    index = combo.model().index(combo.findText(text), 0)
    return bool(combo.model().flags(index) & Qt.ItemFlag.ItemIsEnabled)


def draw(page: ComparePage, hands: ManualClock) -> None:
    hands.now_s += 1.0
    page.plot.draw()


@pytest.mark.parametrize("metric", ["evaluation return", "population mean", "population best"])
def test_figures_of_learning_are_offered_where_something_learns(
    compare: Callable[..., ComparePage], metric: str
) -> None:
    assert not is_offered(compare(OTHER), "compare_metric", metric)
    assert is_offered(compare(LEARNS, OTHER), "compare_metric", metric)


def test_evaluations_are_drawn_over_generations(
    compare: Callable[..., ComparePage], hands: ManualClock
) -> None:
    page = compare(LEARNS, OTHER)
    choose(page, "compare_metric", "evaluation return")
    choose(page, "compare_axis", "generations")
    draw(page, hands)
    (line,) = page.plot.lines
    assert line.run_ids == (LEARNS,)
    assert line.x.tolist() == list(range(5, 81, 5))
    whole = make_generations(80).evaluation_mean
    np.testing.assert_allclose(line.y, whole[np.isfinite(whole)])
    assert page.plot.subtitle() == "evaluation return over generations"


@pytest.mark.parametrize("axis", ["time since start", "env steps", "episodes", "wall clock"])
def test_population_is_drawn_over_every_other_axis(
    compare: Callable[..., ComparePage], hands: ManualClock, axis: str
) -> None:
    page = compare(LEARNS)
    choose(page, "compare_metric", "population best")
    choose(page, "compare_axis", axis)
    draw(page, hands)
    (line,) = page.plot.lines
    assert len(line.x) == 80
    assert np.all(np.diff(line.x) >= 0)


def test_what_has_no_generations_goes_back_to_time(
    compare: Callable[..., ComparePage], hands: ManualClock
) -> None:
    page = compare(LEARNS)
    assert not is_offered(page, "compare_axis", "generations")
    choose(page, "compare_metric", "population mean")
    choose(page, "compare_axis", "generations")
    assert box(page, "compare_axis").currentText() == "generations"
    choose(page, "compare_metric", "episode return")
    assert box(page, "compare_axis").currentText() == "time since start"
    draw(page, hands)
    assert len(page.plot.lines) == 1


def test_generations_that_come_are_drawn_a_second_later(
    compare: Callable[..., ComparePage], session: Session, hands: ManualClock
) -> None:
    page = compare(LEARNS)
    choose(page, "compare_metric", "population mean")
    draw(page, hands)
    later = make_learning_update(seq=2, since_seq=1, t_s=45.0, since_s=40.0)
    session.store.receive(replace(later, run_id=LEARNS))
    draw(page, hands)
    assert len(page.plot.lines[0].x) == 90
