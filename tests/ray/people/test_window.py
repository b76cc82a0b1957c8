"""The real window on a real engine and a real cluster: what is clicked happens, and is seen."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PySide6.QtCore import QAbstractItemModel, Qt
from PySide6.QtWidgets import QApplication, QTableView, QToolButton, QWidget
from pytestqt.qtbot import QtBot

from raydash.cluster.launch import LaunchedCluster
from raydash.core.events import EventKind
from raydash.core.messages import RunSummary
from raydash.core.spec import ClusterSpec
from raydash.core.states import RunState
from raydash.core.updates import RunFigures
from raydash.link.engine_process import EngineProcess
from raydash.link.session import Session
from raydash.link.store import RunStore
from raydash.ui.frame.main_window import MainWindow
from raydash.ui.kit.theme import Appearance, ThemeManager, apply
from raydash.ui.tables.columns import COLUMN_OF
from tests.fakes.engines.terminal import CEILING_S, SOURCE_DIRS, Terminal, spec
from tests.fakes.runs.recount import check_recording


class Screen:
    """A window as somebody in front of it sees it."""

    def __init__(self, themes: ThemeManager, qtbot: QtBot) -> None:
        self.engine = EngineProcess(time.monotonic)
        self.session = Session(self.engine, time.monotonic, source_dirs=SOURCE_DIRS)
        self.session.start()
        self.session.connect_cluster(ClusterSpec())
        self.window = MainWindow(self.session, themes)
        self.window.resize(1280, 800)
        self.window.show()
        self._qtbot = qtbot

    def wait(self, condition: Callable[[], object], what: str) -> None:
        """Wait until something is so; at most 30 s."""
        try:
            self._qtbot.waitUntil(lambda: bool(condition()), timeout=round(CEILING_S * 1000))
        except AssertionError as error:
            raise AssertionError(f"not within {CEILING_S:g} s: {what}") from error

    def close(self) -> None:
        """Stop what it started, and leave."""
        with self._qtbot.waitSignal(self.window.closed, timeout=round(CEILING_S * 1000)):
            self.window.stop_and_close()

    # --- what can be seen and clicked ---------------------------------------------------------

    @property
    def run(self) -> RunStore:
        """The run on screen."""
        shown = self.session.store.shown
        assert shown is not None
        return shown

    def click(self, button: str) -> None:
        """Click a button of the tool bar once it can be clicked."""
        found = self.window.findChild(QToolButton, button)
        assert found is not None
        self.wait(found.isEnabled, f"{button} can be clicked")
        self._qtbot.mouseClick(found, Qt.MouseButton.LeftButton)

    def words(self, name: str) -> str:
        """The whole text of a label."""
        found = self.window.findChild(QWidget, name)
        assert found is not None
        return str(found.full_text())  # type: ignore[attr-defined]

    def activities(self) -> list[str]:
        """What the table says that each worker does, by worker."""
        table = self.window.findChild(QTableView, "worker_table")
        assert table is not None
        model = table.model()
        rows = {
            self._cell(model, row, "worker"): self._cell(model, row, "activity")
            for row in range(model.rowCount())
        }
        return [rows[worker] for worker in sorted(rows)]

    @staticmethod
    def _cell(model: QAbstractItemModel, row: int, column: str) -> str:
        return str(model.index(row, COLUMN_OF[column]).data())

    def all_do(self, *words: str) -> bool:
        """Every worker's row says one of these."""
        said = self.activities()
        return bool(said) and all(text.split("\xa0")[0].split()[0] in words for text in said)

    def start(self, num_workers: int = 2) -> None:
        """Fill the form, click Start, and wait until the table shows every worker stepping."""
        before = self.session.store.shown_run_id
        self.window.form.set_spec(spec(rollout={"num_workers": num_workers}))
        self.click("button_start")
        self.wait(
            lambda: (
                self.session.store.shown_run_id != before
                and self.session.store.shown is not None
                and self.run.latest is not None
            ),
            "another run",
        )
        self.wait(self.steps, "the table shows all workers stepping")

    def steps(self) -> bool:
        """The table and the tiles show that all workers step."""
        return (
            self.all_do("stepping", "resetting")
            and self.words("tile_env_steps_value") not in ("", "–", "0")
            and self.figures.num_episodes_lifetime > 0
        )

    @property
    def figures(self) -> RunFigures:
        """Of the run on screen."""
        assert self.run.latest is not None
        return self.run.latest.figures


@pytest.fixture(scope="session")
def themes(qapp: QApplication) -> ThemeManager:
    return apply(qapp, Appearance.LIGHT)


@pytest.fixture
def open_screen(
    ray_cluster: LaunchedCluster, themes: ThemeManager, qtbot: QtBot
) -> Iterator[Callable[[], Screen]]:
    opened: list[Screen] = []

    def open_one() -> Screen:
        opened.append(Screen(themes, qtbot))
        return opened[-1]

    yield open_one
    for screen in opened:
        screen.close()


@pytest.fixture
def screen(open_screen: Callable[[], Screen]) -> Screen:
    return open_screen()


def test_start_pause_resume_and_stop_are_clicked_reach_the_workers_and_are_shown(
    screen: Screen,
) -> None:
    screen.start()
    screen.click("button_pause")
    screen.wait(lambda: screen.all_do("paused"), "the table shows all workers paused")
    steps = screen.figures.num_env_steps_sampled_lifetime
    screen.click("button_resume")
    screen.wait(screen.steps, "stepping again")
    screen.wait(lambda: screen.figures.num_env_steps_sampled_lifetime > steps, "more steps")
    screen.click("button_stop")
    screen.wait(lambda: screen.run.state is RunState.STOPPED, "the run has stopped")
    screen.wait(lambda: screen.all_do("stopped"), "the table shows all workers stopped")
    assert not screen.session.pending


def test_a_run_that_is_not_on_screen_is_paused_resumed_and_stopped_from_the_list_of_runs(
    screen: Screen, terminal: Terminal
) -> None:
    screen.start(num_workers=1)
    first = screen.run
    screen.start(num_workers=1)
    second = screen.run
    assert second is not first
    seen = [terminal.attach(run.run_id) for run in (first, second)]

    def ask(name: str) -> None:
        menu = screen.window.runs.list_actions.menu(first.run_id, screen.window)
        next(each for each in menu.actions() if each.objectName() == f"run_list_{name}").trigger()

    ask("pause")
    screen.wait(lambda: first.state is RunState.PAUSED, "the first is paused")
    assert second.state is RunState.RUNNING
    assert first.latest is not None
    held, before = first.latest.figures, screen.figures.num_env_steps_sampled_lifetime
    ask("overlay")
    throughput = screen.window.overview.plots.throughput
    screen.wait(lambda: len(throughput.legend()) == 2, "both are in the plot")
    screen.wait(
        lambda: screen.figures.num_env_steps_sampled_lifetime > before + 5000, "the second steps"
    )
    assert (
        first.latest.figures.num_env_steps_sampled_lifetime == held.num_env_steps_sampled_lifetime
    )
    ask("resume")
    screen.wait(lambda: first.state is RunState.RUNNING, "the first goes on")
    ask("stop")
    screen.wait(lambda: first.state is RunState.STOPPED, "the first has stopped")
    assert second.state is RunState.RUNNING
    screen.click("button_stop")
    screen.wait(lambda: second.state is RunState.STOPPED, "the second has stopped")
    for run in seen:
        terminal.end_of(run)
        check_recording(run)


def test_a_killed_worker_is_shown_restarting_then_stepping_with_a_mark_on_the_plots(
    screen: Screen,
) -> None:
    screen.start()
    assert screen.run.latest is not None
    os.kill(int(screen.run.latest.workers.pid[0]), signal.SIGKILL)
    screen.wait(lambda: screen.activities()[0].startswith("restarting"), "shown as restarting")
    screen.wait(screen.steps, "stepping again")
    screen.wait(
        lambda: (
            EventKind.WORKER_RESTARTED in [e.kind for e in screen.window.overview.scope.marks()]
        ),
        "a mark",
    )
    assert screen.figures.num_restarts == 1


def test_a_killed_engine_is_said_the_data_stay_and_another_engine_goes_on(screen: Screen) -> None:
    screen.start()
    run, before = screen.run, screen.run.latest
    assert before is not None
    pid = screen.engine.pid
    os.kill(pid, signal.SIGKILL)
    screen.wait(lambda: "reconnecting" in screen.words("status_engine"), "said in the status bar")
    assert screen.run is run
    assert screen.window.bottom.workers.view.model().rowCount() == 2
    episodes = screen.figures.num_episodes_lifetime
    assert episodes >= before.figures.num_episodes_lifetime
    screen.wait(lambda: screen.figures.num_episodes_lifetime > episodes + 20, "updates again")
    assert screen.engine.pid not in (0, pid)
    assert screen.run.recent.first_bucket == 0
    assert list(screen.run.latest.workers.incarnation) == [0, 0]  # type: ignore[union-attr]
    screen.wait(lambda: screen.window.banner.fault is None, "the banner is gone")


def test_a_killed_window_leaves_its_run_going_and_another_shows_it_with_its_whole_history(
    terminal: Terminal, open_screen: Callable[[], Screen], tmp_path: Path
) -> None:
    path = tmp_path / "spec.toml"
    path.write_text('name = "orphan-to-be"\n[rollout]\nnum_workers = 2\n')

    def listed() -> list[RunSummary]:
        return [run for run in terminal.listed.runs if run.name == "orphan-to-be"]

    gui = subprocess.Popen(
        [sys.executable, "-m", "raydash", "gui", str(path), "--start"],
        env={**os.environ, "QT_QPA_PLATFORM": "offscreen"},
    )
    try:
        terminal.wait(
            lambda: any(run.num_episodes_lifetime for run in listed()), "the window's run steps"
        )
    finally:
        gui.kill()
        gui.wait()
    terminal.started.append(listed()[0].run_id)
    run = terminal.attach(listed()[0].run_id)
    terminal.wait(lambda: run.latest.health.num_readers == 1, "the window's engine is gone")

    screen = open_screen()
    screen.wait(lambda: screen.session.store.shown_run_id == run.run_id, "shown by itself")
    screen.wait(screen.steps, "the table shows its workers stepping")
    assert list(screen.run.latest.workers.incarnation) == [0, 0]  # type: ignore[union-attr]
    recent = screen.run.recent
    assert recent.first_bucket == 0
    assert recent.num_terminated.sum() > 0
    stepped = np.flatnonzero(recent.num_env_steps)
    assert (np.diff(stepped) == 1).all()
    screen.click("button_stop")
    screen.wait(lambda: screen.run.state is RunState.STOPPED, "stopped in the window")
    assert terminal.end_of(run).state is RunState.STOPPED
