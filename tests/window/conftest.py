"""Fixtures: a session on an engine that only records what was sent, and private settings."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from raydash.core.clock import Clock
from raydash.core.faults import Fault
from raydash.core.spec import ClusterSpec
from raydash.link.session import Session
from raydash.ui.form.run_form import RunForm
from raydash.ui.frame.main_window import MainWindow
from raydash.ui.kit.theme import Appearance, ThemeManager, apply
from tests.fakes.engines.engine import FakeEngine, summary


class ManualClock:
    """A clock that stands still until a test sets it."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def hands() -> ManualClock:
    return ManualClock()


@pytest.fixture
def engine(qapp: object) -> FakeEngine:
    return FakeEngine()


@pytest.fixture
def session(engine: FakeEngine, hands: Clock, private_dirs: Path) -> Iterator[Session]:
    made = Session(engine, hands)  # type: ignore[arg-type]
    made.start()
    made.connect_cluster(ClusterSpec())
    yield made
    made.deleteLater()


@pytest.fixture
def faults(session: Session) -> list[Fault]:
    raised: list[Fault] = []
    session.fault_raised.connect(raised.append)
    return raised


@pytest.fixture
def running(session: Session, engine: FakeEngine) -> Session:
    """A session that shows a live run of 8 workers."""
    engine.come_up(summary())
    engine.answer()
    engine.update()
    engine.sent.clear()
    return session


@pytest.fixture(scope="session")
def themes(qapp: QApplication) -> ThemeManager:
    return apply(qapp, Appearance.LIGHT)


@pytest.fixture
def form(session: Session, themes: ThemeManager, qtbot: QtBot) -> RunForm:
    made = RunForm(session)
    qtbot.addWidget(made)
    made.show()
    return made


@pytest.fixture
def window(session: Session, themes: ThemeManager, qtbot: QtBot) -> Iterator[MainWindow]:
    made = MainWindow(session, themes)
    made.resize(1280, 800)
    qtbot.addWidget(made)
    made.show()
    qtbot.waitExposed(made)
    yield made
    made.clock.stop()
