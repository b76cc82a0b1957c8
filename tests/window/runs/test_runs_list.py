"""The list of runs: what its lines say, what clicks and keys do, what each line's menu offers."""

from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QFileDialog
from pytestqt.qtbot import QtBot

from raydash.core.messages import CommandRun, RunList, StartRun, Verb
from raydash.core.spec import RolloutSpec, RunSpec
from raydash.core.states import RunState
from raydash.core.words import numbers
from raydash.link.session import Session
from raydash.ui.compare.page import ComparePage
from raydash.ui.frame.main_window import MainWindow
from raydash.ui.runs.lines import RunLine, run_lines
from raydash.ui.runs.numbers import RunNumbers
from tests.fakes.engines.engine import FakeEngine, summary

FIRST, SECOND, OTHERS = "20261122-120000-a", "20261122-120100-b", "20261122-120200-c"


@pytest.fixture
def several(window: MainWindow, session: Session, engine: FakeEngine) -> MainWindow:
    """Two runs of this window, of which the second is shown, and one of another user."""
    engine.come_up()
    for run_id in (FIRST, SECOND):
        session.start_run(RunSpec())
        number = next(c.command_id for c in reversed(engine.sent) if isinstance(c, StartRun))
        engine.answer(run_id=run_id, to=number)
        engine.update(run_id)
    live = (summary(FIRST), summary(SECOND), summary(OTHERS, owner="eve@there", name="theirs"))
    engine.say(RunList(live))
    engine.sent.clear()
    return window


def line_of(window: MainWindow, run_id: str) -> RunLine:
    return next(line for line in window.runs.list.lines if line.run_id == run_id)


def overlaid(session: Session) -> tuple[str, ...]:
    # A function, because mypy believes that an attribute keeps the value that was asserted.
    return session.store.overlaid


def entry(window: MainWindow, run_id: str, name: str) -> QAction:
    menu = window.runs.list_actions.menu(run_id, window)
    return next(each for each in menu.actions() if each.objectName() == f"run_list_{name}")


def click(window: MainWindow, run_id: str, qtbot: QtBot, *, on_box: bool = False) -> None:
    runs = window.runs.list
    item = runs.item_of(run_id)
    assert item is not None
    rect = runs.visualItemRect(item)
    where = QPoint(rect.left() + 12, rect.center().y()) if on_box else rect.center()
    qtbot.mouseClick(runs.viewport(), Qt.MouseButton.LeftButton, pos=where)


def commands(engine: FakeEngine) -> list[CommandRun]:
    return [command for command in engine.sent if isinstance(command, CommandRun)]


# --- lines ----------------------------------------------------------------------------------------


def test_lines_are_newest_first_and_say_state_time_figures_and_whose_run_it_is(
    several: MainWindow,
) -> None:
    lines = several.runs.list.lines
    assert [line.run_id for line in lines] == [OTHERS, SECOND, FIRST]
    theirs, second, _ = lines
    assert theirs.state_words == "running · 10:00 · eve@there"
    assert (theirs.execution, second.execution) == ("random", "random")
    assert theirs.pace_words == f"1{numbers.NBSP}M steps"
    assert second.state_words == "running · 10:00"
    assert second.pace_words.endswith("k/s")
    assert float(second.return_words) > 100
    assert (second.is_shown, second.is_drawn) == (True, True)
    assert several.runs.subtitle() == "3 · 3 live"


def test_runs_that_are_called_alike_are_told_apart_by_seed_or_id(
    several: MainWindow, session: Session
) -> None:
    assert [line.name for line in several.runs.list.lines][1:] == [
        f"cartpole-random · {SECOND[-4:]}",
        f"cartpole-random · {FIRST[-4:]}",
    ]
    run = session.store.runs[FIRST]
    assert run.spec is not None
    run.spec = replace(run.spec, rollout=RolloutSpec(seed=7))
    assert [line.name for line in run_lines(session)][1:] == [
        "cartpole-random · seed 0",
        "cartpole-random · seed 7",
    ]


def test_what_a_line_says_is_heard_too(several: MainWindow, session: Session) -> None:
    session.overlay(FIRST, drawn=True)
    runs = several.runs.list
    said = [
        str(runs.item(row).data(Qt.ItemDataRole.AccessibleTextRole)) for row in range(runs.count())
    ]
    assert said[0].startswith("theirs, random, running · 10:00 · eve@there")
    assert said[1].endswith(", on screen")
    assert said[2].endswith(", overlaid")
    assert "mean return" in said[2]


def test_a_run_keeps_its_number_while_it_is_known_and_a_freed_one_is_taken_again() -> None:
    numbers = RunNumbers()
    numbers.keep(["a", "b", "c"])
    assert [numbers.of(run) for run in "abc"] == [0, 1, 2]
    numbers.keep(["b", "c", "d"])
    assert [numbers.of(run) for run in "bcd"] == [1, 2, 0]
    assert numbers.known("a") is None


def test_colours_follow_the_order_in_which_runs_came(several: MainWindow) -> None:
    numbers = several.runs.numbers
    assert [numbers.known(run_id) for run_id in (FIRST, SECOND, OTHERS)] == [0, 1, 2]


def test_the_list_is_not_filled_anew_while_nothing_changes(
    several: MainWindow, engine: FakeEngine
) -> None:
    before = several.runs.list.lines
    several.runs.list.refresh()
    assert several.runs.list.lines is before


# --- mouse and keys -------------------------------------------------------------------------------


def test_click_shows_a_run_and_click_on_its_box_overlays_it(
    several: MainWindow, session: Session, qtbot: QtBot
) -> None:
    click(several, FIRST, qtbot, on_box=True)
    assert overlaid(session) == (FIRST,)
    assert session.store.shown_run_id == SECOND
    assert several.runs.subtitle() == "3 · 3 live · 2 drawn"
    click(several, FIRST, qtbot)
    assert session.store.shown_run_id == FIRST
    assert overlaid(session) == (SECOND,)
    click(several, SECOND, qtbot, on_box=True)
    assert overlaid(session) == ()


def test_box_of_the_run_on_screen_stays_ticked(
    several: MainWindow, session: Session, qtbot: QtBot
) -> None:
    click(several, SECOND, qtbot, on_box=True)
    item = several.runs.list.item_of(SECOND)
    assert item is not None
    assert item.checkState() is Qt.CheckState.Checked
    assert overlaid(session) == ()


def test_keys_go_through_the_list_overlay_and_show(
    several: MainWindow, session: Session, qtbot: QtBot
) -> None:
    runs = several.runs.list
    runs.setFocus()
    assert runs.currentItem() is runs.item_of(SECOND)
    qtbot.keyClick(runs, Qt.Key.Key_Down)
    runs.refresh()
    assert runs.currentItem() is runs.item_of(FIRST), "looking on does not put it on screen"
    assert session.store.shown_run_id == SECOND
    qtbot.keyClick(runs, Qt.Key.Key_Space)
    assert overlaid(session) == (FIRST,)
    qtbot.keyClick(runs, Qt.Key.Key_Space)
    assert overlaid(session) == ()
    qtbot.keyClick(runs, Qt.Key.Key_Return)
    assert session.store.shown_run_id == FIRST


def test_delete_closes_a_run_that_is_over_and_no_other(
    several: MainWindow, session: Session, engine: FakeEngine, qtbot: QtBot
) -> None:
    runs = several.runs.list
    runs.setFocus()
    qtbot.keyClick(runs, Qt.Key.Key_Delete)
    assert SECOND in session.store.runs
    engine.update(SECOND, state=RunState.STOPPED, snapshot=False, last=True)
    engine.say(RunList((summary(FIRST),)))
    qtbot.keyClick(runs, Qt.Key.Key_Delete)
    assert SECOND not in session.store.runs
    assert session.store.shown_run_id == FIRST


# --- the menu -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", [Verb.PAUSE, Verb.STOP, Verb.DRAIN, Verb.KEEP])
def test_a_run_that_is_not_on_screen_is_commanded_from_its_menu(
    several: MainWindow, session: Session, engine: FakeEngine, verb: Verb
) -> None:
    entry(several, FIRST, verb.value).trigger()
    (command,) = commands(engine)
    assert (command.run_id, command.verb) == (FIRST, verb)
    assert not entry(several, FIRST, verb.value).isEnabled()
    assert "asked already" in entry(several, FIRST, verb.value).toolTip()
    assert entry(several, SECOND, verb.value).isEnabled()


def test_menu_offers_what_the_state_of_that_run_allows(
    several: MainWindow, engine: FakeEngine
) -> None:
    engine.update(FIRST, state=RunState.PAUSED, snapshot=False)
    assert not entry(several, FIRST, "pause").isEnabled()
    assert entry(several, FIRST, "resume").isEnabled()
    assert entry(several, SECOND, "pause").isEnabled()
    assert entry(several, OTHERS, "pause").isEnabled()
    assert not entry(several, OTHERS, "resume").isEnabled()
    assert entry(several, FIRST, "close").toolTip() == "Not now: it goes on; stop it first"
    engine.update(FIRST, state=RunState.STOPPED, snapshot=False, last=True)
    for verb in ("pause", "resume", "stop", "drain", "keep"):
        assert entry(several, FIRST, verb).toolTip() == "Not now: the run is stopped"


def test_a_run_that_is_kept_cannot_be_kept_again(several: MainWindow, engine: FakeEngine) -> None:
    engine.say(RunList((summary(FIRST, keep=True), summary(SECOND))))
    assert entry(several, FIRST, "keep").toolTip() == "Not now: it is kept already"
    assert entry(several, SECOND, "keep").isEnabled()


def test_menu_overlays_and_shows(several: MainWindow, session: Session) -> None:
    assert not entry(several, SECOND, "show").isEnabled()
    entry(several, FIRST, "overlay").trigger()
    assert overlaid(session) == (FIRST,)
    assert entry(several, FIRST, "overlay").isChecked()
    entry(several, FIRST, "show").trigger()
    assert session.store.shown_run_id == FIRST


def test_run_again_fills_the_form_and_starts_nothing(
    several: MainWindow, session: Session, engine: FakeEngine
) -> None:
    run = session.store.runs[FIRST]
    assert run.spec is not None
    run.spec = replace(run.spec, name="the first")
    entry(several, FIRST, "run_again").trigger()
    assert several.form.spec().name == "the first"
    assert not engine.sent
    assert not entry(several, OTHERS, "run_again").isEnabled()


def test_chosen_runs_are_compared_in_their_colours(
    several: MainWindow, session: Session, engine: FakeEngine
) -> None:
    assert entry(several, SECOND, "compare").toolTip().startswith("Not now: there is one run only")
    session.overlay(FIRST, drawn=True)
    session.show_run(FIRST)
    found = entry(several, FIRST, "compare")
    assert found.text() == f"Compare 2{numbers.NBSP}runs"
    found.trigger()
    page = several.pages.currentWidget()
    assert isinstance(page, ComparePage)
    assert page.run_ids == (FIRST, SECOND)
    drawn = {entry.run.run_id: entry.number for entry in page._entries}
    assert drawn == {FIRST: 0, SECOND: 1}


def test_report_is_asked_about_that_run(several: MainWindow) -> None:
    entry(several, FIRST, "report").trigger()
    dialog = several.findChild(QFileDialog, "library_report_dialog")
    assert dialog is not None
    assert [Path(name).name for name in dialog.selectedFiles()] == [f"{FIRST}.html"]
    dialog.close()


# --- whose the rest of the window is --------------------------------------------------------------


def test_tool_bar_and_panel_say_whose_they_are_where_there_are_several(
    several: MainWindow,
) -> None:
    pause = several.actions_.verbs[Verb.PAUSE]
    assert pause.toolTip().startswith("cartpole-random: keep half-finished episodes")
    assert several.bottom.subtitle().startswith("cartpole-random · ")


def test_start_is_offered_beside_live_runs_and_says_so(
    several: MainWindow, engine: FakeEngine
) -> None:
    start = several.actions_.start
    assert start.isEnabled()
    assert "beside the 3 runs that go on" in start.toolTip()
    start.trigger()
    assert isinstance(engine.sent[-1], StartRun)
