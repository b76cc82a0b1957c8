"""The library page: what is listed, found, sorted, allowed and asked."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from PySide6.QtWidgets import QDialog, QFileDialog, QLineEdit, QPushButton
from pytestqt.qtbot import QtBot

from raydash.core.library import DiskUse, ExportFormat, LibrarySettings, Notes, RunSource
from raydash.core.messages import (
    ChangeLibrary,
    Connect,
    DeleteRecordings,
    EditNotes,
    ExportRecording,
    ImportRecordings,
    Library,
    ListRecordings,
    OpenRecording,
    RunList,
    WriteReport,
)
from raydash.core.states import EngineState, RunState
from raydash.link.session import Session
from raydash.ui.frame.main_window import MainWindow
from raydash.ui.library import lines
from raydash.ui.library.details import tags_of, why_tags_cannot
from raydash.ui.library.dialogs import DeleteDialog, ExportDialog, LimitsDialog
from raydash.ui.library.lines import COLUMN_OF, COLUMNS, RecordingLine, lines_of, matches, ordered
from raydash.ui.library.page import LibraryPage, can_be_imported, shared_widths
from tests.fakes.engines.engine import FakeEngine, summary
from tests.fakes.recordings.library import DISK, make_library, opened, recorded

NAN = float("nan")


@pytest.fixture
def page(window: MainWindow, session: Session, engine: FakeEngine) -> LibraryPage:
    """A window that shows a library of 12 recordings."""
    engine.come_up()
    window.actions_.library.trigger()
    engine.say(make_library(12))
    engine.answer()
    engine.sent.clear()
    return window.library


def button(page: LibraryPage, name: str) -> QPushButton:
    found = page.findChild(QPushButton, f"library_{name}")
    assert found is not None
    return found


def ids(page: LibraryPage) -> list[str]:
    return [line.run.run_id for line in page.model.rows]


def dialog_of(page: LibraryPage, kind: type[QDialog]) -> QDialog:
    found = page.window().findChild(kind)
    assert found is not None
    return found


def test_columns_share_what_is_left_and_give_way_where_there_is_too_little() -> None:
    least, wanted = [40] * len(COLUMNS), [60] * len(COLUMNS)
    growing = {number for number, column in enumerate(COLUMNS) if column.grows}
    wide = shared_widths(least, wanted, 2000)
    assert sum(wide) == 2000
    assert {width for n, width in enumerate(wide) if n not in growing} == {60}
    small = shared_widths(least, wanted, 60 * len(COLUMNS) - 30)
    assert sum(small) <= 60 * len(COLUMNS) - 30
    assert {width for n, width in enumerate(small) if n not in growing} == {60}
    tiny = shared_widths(least, wanted, 100)
    assert {tiny[number] for number in growing} == {40}, "its title can be read"


def test_every_column_is_in_sight_in_a_small_window(
    page: LibraryPage, window: MainWindow, qtbot: QtBot
) -> None:
    window.resize(1280, 800)
    qtbot.waitUntil(lambda: page.table.horizontalScrollBar().maximum() == 0, timeout=30_000)
    header = page.table.horizontalHeader()
    assert header.length() <= page.table.viewport().width()


# --- the list, pure -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("search", "found"),
    [
        ("", True),
        ("paper", True),
        ("PAPER mountaincar", True),
        ("paper pendulum", False),
        ("tag:keep", True),
        ("tag:sweep", False),
        ("env:mountain", True),
        ("env:cart", False),
        ("state:failed", True),
        ("state:finished", False),
        ("is:pinned", False),
        ("10:29", False),
        ("20261122-10", True),
        ("learning", True),
    ],
)
def test_every_word_of_a_search_must_match_somewhere(search: str, found: bool) -> None:
    run = recorded(3)
    run = replace(run, notes=replace(run.notes, text="a new learning rate"))
    assert matches(lines_of([run], [])[0], search) is found


def test_a_line_of_a_live_run_has_the_clusters_figures() -> None:
    run = recorded(0, state=RunState.RUNNING, fault="being written", num_episodes_lifetime=0)
    live = summary(run.run_id, state=RunState.PAUSED, elapsed_s=99.0, num_episodes_lifetime=7)
    line = lines_of([run], [live])[0]
    assert (line.state, line.elapsed_s, line.num_episodes) == (RunState.PAUSED, 99.0, 7)
    assert line.figures_known
    elsewhere = lines_of([run], [])[0]
    assert elsewhere.state_words == "live elsewhere"
    assert not elsewhere.figures_known


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.key)
@pytest.mark.parametrize("descending", [False, True])
def test_lines_without_a_value_come_last_whichever_way_they_are_ordered(
    column: lines.LibraryColumn, descending: bool
) -> None:
    made = lines_of([recorded(number) for number in range(8)], [])
    broken = lines_of(
        [recorded(20, state=None, fault="no", env_id="", started_utc="", episode_return_mean=NAN)],
        [],
    )
    found = ordered([*broken, *made], column, descending=descending)
    assert len(found) == 9
    if column.sort(broken[0]) is None:
        assert found[-1] is broken[0]
    values = [column.sort(line) for line in found if column.sort(line) is not None]
    assert values == sorted(values, reverse=descending)  # type: ignore[type-var]


GOOD = recorded(0)
LIVE_HERE = recorded(1, state=RunState.RUNNING)
LIVE_ELSEWHERE = recorded(2, state=RunState.RUNNING)
PINNED = recorded(3, notes=Notes(pinned=True))
BROKEN = recorded(4, state=None, fault="it is cut short", notes=Notes())
IMPORTED = recorded(5, source=RunSource.RLLIB)


@pytest.mark.parametrize(
    ("why", "runs", "reason"),
    [
        (lines.why_cannot_open, [], "no recording is selected"),
        (lines.why_cannot_open, [GOOD, PINNED], "select one recording only"),
        (lines.why_cannot_open, [GOOD], ""),
        (lines.why_cannot_open, [LIVE_HERE], ""),
        (lines.why_cannot_open, [LIVE_ELSEWHERE], ""),
        (lines.why_cannot_open, [BROKEN], "it is cut short"),
        (lines.why_cannot_compare, [GOOD], "select two runs or more"),
        (lines.why_cannot_compare, [GOOD, LIVE_HERE], ""),
        (lines.why_cannot_compare, [GOOD] * 21, "20 runs at most"),
        (lines.why_cannot_compare, [GOOD, BROKEN], "it is cut short"),
        (lines.why_cannot_run_again, [GOOD], ""),
        (lines.why_cannot_run_again, [IMPORTED], "it was imported"),
        (lines.why_cannot_export, [LIVE_HERE], ""),
        (lines.why_cannot_export, [IMPORTED], ""),
        (lines.why_cannot_report, [GOOD, PINNED], ""),
        (lines.why_cannot_report, [GOOD, LIVE_ELSEWHERE], ""),
        (lines.why_cannot_delete, [], "no recording is selected"),
        (lines.why_cannot_delete, [GOOD, BROKEN], ""),
        (lines.why_cannot_delete, [GOOD, LIVE_HERE], "still going on"),
        (lines.why_cannot_delete, [GOOD, PINNED], "pinned; unpin first"),
    ],
)
def test_what_cannot_be_done_has_its_reason(why: object, runs: list[object], reason: str) -> None:
    made: list[RecordingLine] = lines_of(runs, [summary(LIVE_HERE.run_id)])  # type: ignore[arg-type]
    said = why(made)  # type: ignore[operator]
    assert (reason in said) if reason else said == ""


def test_tags_are_parted_by_commas_and_kept_once() -> None:
    assert tags_of(" a, b ,,a,  c d ") == ("a", "b", "c d")
    assert why_tags_cannot(tags_of("a,b")) == ""
    assert "allowed: 40 characters" in why_tags_cannot(("x" * 41,))
    assert "allowed: 32" in why_tags_cannot(tuple(map(str, range(33))))


@pytest.mark.parametrize(
    ("name", "is_run"),
    [
        ("0.monitor.csv", True),
        ("result.json", True),
        ("run.duckdb", True),
        ("events.out.tfevents.17.host", True),
        ("notes.txt", False),
        ("spec.toml", False),
    ],
)
def test_files_that_may_be_runs_can_be_dropped(tmp_path: Path, name: str, is_run: bool) -> None:
    assert can_be_imported(tmp_path / name) is is_run
    assert can_be_imported(tmp_path)


# --- the page -------------------------------------------------------------------------------------


def test_the_library_is_asked_for_when_its_page_is_first_seen(
    window: MainWindow, engine: FakeEngine
) -> None:
    engine.come_up()
    assert not [each for each in engine.sent if isinstance(each, ListRecordings)]
    for _ in range(3):
        window.actions_.library.trigger()
    assert len([each for each in engine.sent if isinstance(each, ListRecordings)]) == 1
    assert window.library.isVisible()
    assert window.actions_.library.isChecked()
    window.actions_.library.trigger()
    assert window.run_view.isVisible()


def test_the_newest_recording_is_on_top(page: LibraryPage) -> None:
    assert ids(page) == [run.run_id for run in make_library(12).runs]
    assert page._count.full_text().replace("\u00a0", " ") == "12 recordings"


def test_a_search_narrows_the_list_and_lets_go_of_what_is_out_of_sight(
    page: LibraryPage, qtbot: QtBot
) -> None:
    page.select((recorded(0).run_id, recorded(2).run_id))
    search = page.findChild(QLineEdit, "library_search")
    assert search is not None
    search.setText("env:cartpole")
    qtbot.waitUntil(lambda: len(page.model.rows) == 3, timeout=30_000)
    assert page.selected == (recorded(0).run_id,)
    search.setText("no such thing")
    qtbot.waitUntil(lambda: not page.model.rows, timeout=30_000)
    assert "matches the search" in page.table.empty_text


def test_a_newer_library_leaves_selection_scroll_and_what_is_being_typed(
    page: LibraryPage, engine: FakeEngine, qtbot: QtBot
) -> None:
    engine.say(make_library(200))
    page.select((recorded(150).run_id,))
    bar = page.table.verticalScrollBar()
    assert bar.value() > 0
    bar.setValue(bar.maximum() // 2)
    was = bar.value()
    page.details.tags.setText("half, writ")
    engine.say(make_library(201))
    assert page.selected == (recorded(150).run_id,)
    assert bar.value() == was
    assert page.details.tags.text() == "half, writ"
    assert len(page.table.selectionModel().selectedRows()) == 1


def test_a_column_orders_the_rows(page: LibraryPage) -> None:
    page.table.sortByColumn(COLUMN_OF["episode_return"], Qt.SortOrder.DescendingOrder)
    means = [line.run.episode_return_mean for line in page.model.rows]
    assert means == sorted(means, reverse=True)
    assert not any(map(math.isnan, means))


def test_live_figures_follow_the_cluster(page: LibraryPage, engine: FakeEngine) -> None:
    run = recorded(0, state=RunState.RUNNING)
    engine.say(replace(make_library(3), runs=(run, recorded(1))))
    engine.say(RunList((summary(run.run_id, elapsed_s=61.0),)))
    text = page.model.data(page.model.index(0, COLUMN_OF["duration"]))
    assert text == "00:01:01"
    engine.say(RunList(()))
    assert page.model.data(page.model.index(0, COLUMN_OF["state"])) == "live elsewhere"


def test_open_shows_the_recording_in_the_run_view(
    page: LibraryPage, window: MainWindow, session: Session, engine: FakeEngine
) -> None:
    run_id = recorded(2).run_id
    page.select((run_id,))
    button(page, "open").click()
    assert engine.sent == [OpenRecording(engine.sent[-1].command_id, run_id)]
    assert page.isVisible()
    engine.say(opened(run_id))
    engine.answer(run_id=run_id)
    assert window.run_view.isVisible()
    assert window.strip.isVisible()
    assert not window.actions_.library.isChecked()


def test_run_again_fills_the_form_in_the_run_view_and_starts_nothing(
    page: LibraryPage, window: MainWindow, session: Session, engine: FakeEngine
) -> None:
    run_id = recorded(2).run_id
    page.select((run_id,))
    button(page, "run_again").click()
    update = opened(run_id)
    assert update.spec is not None
    engine.say(replace(update, spec=replace(update.spec, name="once more")))
    engine.answer(run_id=run_id)
    assert window.run_view.isVisible()
    assert window.form.spec().name == "once more"
    assert session.store.shown_run_id == ""
    assert [type(command) for command in engine.sent] == [OpenRecording]


def test_compare_loads_the_chosen_runs_and_shows_them(
    page: LibraryPage, window: MainWindow, engine: FakeEngine
) -> None:
    chosen = (recorded(0).run_id, recorded(5).run_id)
    page.select(chosen)
    button(page, "compare").click()
    assert [command.recording for command in engine.sent] == list(chosen)  # type: ignore[union-attr]
    assert window.pages.currentWidget() is window.pages.comparison
    assert window.actions_.compare.isChecked()
    window.actions_.compare.trigger()
    assert window.run_view.isVisible()


def test_delete_names_the_recordings_and_asks_first(page: LibraryPage, engine: FakeEngine) -> None:
    chosen = (recorded(0).run_id, recorded(2).run_id)
    page.select(chosen)
    button(page, "delete").click()
    dialog = dialog_of(page, DeleteDialog)
    assert "2" in dialog.heading.full_text()  # type: ignore[attr-defined]
    said = " ".join(label.full_text() for label in dialog.findChildren(type(dialog.heading)))  # type: ignore[attr-defined]
    for run_id in chosen:
        assert run_id in said
    assert not engine.sent
    confirm = dialog.findChild(QPushButton, "library_delete_confirm")
    assert confirm is not None
    confirm.click()
    assert engine.sent == [DeleteRecordings(engine.sent[-1].command_id, chosen)]


def test_a_pinned_recording_cannot_be_deleted_and_the_button_says_why(page: LibraryPage) -> None:
    page.select((recorded(4).run_id,))
    assert not button(page, "delete").isEnabled()
    assert "pinned; unpin first" in button(page, "delete").toolTip()


def test_what_is_written_to_a_recording_is_kept(page: LibraryPage, engine: FakeEngine) -> None:
    run = recorded(1)
    page.select((run.run_id,))
    details = page.details
    details.title.setText("a good one")
    details.title.editingFinished.emit()
    details.tags.setText("baseline, best")
    details.tags.editingFinished.emit()
    details.pin.click()
    sent = [command.notes for command in engine.sent if isinstance(command, EditNotes)]
    assert sent[-1] == Notes("a good one", ("baseline", "best"), "", pinned=True)
    details.text.setPlainText("seen twice")
    page.select(
        (recorded(2).run_id,)
    )  # notes are saved at the latest when another recording is chosen
    last = engine.sent[-1]
    assert isinstance(last, EditNotes)
    assert (last.run_id, last.notes.text) == (run.run_id, "seen twice")
    assert details.title.text() == recorded(2).notes.title


def test_notes_are_kept_a_while_after_the_last_key(
    page: LibraryPage, engine: FakeEngine, qtbot: QtBot
) -> None:
    page.select((recorded(1).run_id,))
    page.details.text.setPlainText("half a sentence")
    qtbot.waitUntil(lambda: bool(engine.sent), timeout=30_000)
    assert isinstance(engine.sent[-1], EditNotes)


def test_tags_that_are_too_long_are_marked_and_not_sent(
    page: LibraryPage, engine: FakeEngine, qtbot: QtBot
) -> None:
    page.select((recorded(1).run_id,))
    page.details.tags.clear()
    qtbot.keyClicks(page.details.tags, "x" * 41)
    page.details.save()
    assert not engine.sent
    assert page.details._problem.isVisible()


def test_export_proposes_a_name_refuses_what_exists_and_sends_format_and_target(
    page: LibraryPage, engine: FakeEngine, tmp_path: Path
) -> None:
    run_id = recorded(0).run_id
    page.select((run_id,))
    button(page, "export").click()
    dialog = dialog_of(page, ExportDialog)
    assert isinstance(dialog, ExportDialog)
    dialog.format.setCurrentIndex(dialog.format.findData(ExportFormat.PARQUET))
    assert dialog.out.text().endswith(f"{run_id}.parquet")
    (tmp_path / "there").touch()
    for bad in ("", "relative.csv", str(tmp_path / "there"), str(tmp_path / "no" / "folder.csv")):
        dialog.out.setText(bad)
        assert not dialog.export.isEnabled()
        assert dialog.problem.text()
    out = str(tmp_path / "out.parquet")
    dialog.out.setText(out)
    dialog.export.click()
    number = engine.sent[-1].command_id
    assert engine.sent == [ExportRecording(number, run_id, ExportFormat.PARQUET, out)]


def test_a_report_is_written_where_the_user_says(
    page: LibraryPage, engine: FakeEngine, tmp_path: Path
) -> None:
    chosen = (recorded(0).run_id, recorded(1).run_id)
    page.select(chosen)
    button(page, "report").click()
    dialog = page.window().findChild(QFileDialog, "library_report_dialog")
    assert dialog is not None
    out = str(tmp_path / "report.html")
    dialog.fileSelected.emit(out)
    dialog.close()
    assert engine.sent == [WriteReport(engine.sent[-1].command_id, chosen, out)]


def test_the_outcome_of_a_long_action_is_said(
    page: LibraryPage, session: Session, engine: FakeEngine, window: MainWindow
) -> None:
    session.library.export(recorded(0).run_id, ExportFormat.CSV, "/tmp/a.csv")
    assert "Exporting…" in session.pending.values()
    engine.answer()
    assert not session.pending
    assert window.status._said.full_text() == "exported to /tmp/a.csv"


def test_an_imported_run_is_selected(page: LibraryPage, engine: FakeEngine) -> None:
    page.import_paths(("/tmp/a/progress.csv",))
    assert engine.sent == [ImportRecordings(engine.sent[-1].command_id, ("/tmp/a/progress.csv",))]
    number = engine.sent[-1].command_id
    new = recorded(40)
    engine.say(replace(make_library(5), runs=(*make_library(5).runs, new)))
    engine.answer(run_id=new.run_id, to=number)
    assert page.selected == (new.run_id,)


def test_dropped_runs_are_imported_and_the_library_is_shown(
    window: MainWindow, session: Session, engine: FakeEngine, tmp_path: Path
) -> None:
    engine.come_up()
    file = tmp_path / "0.monitor.csv"
    file.touch()
    mime = QMimeData()
    mime.setUrls([QUrl.fromLocalFile(str(file))])
    nothing = Qt.MouseButton.NoButton
    event = QDropEvent(
        QPointF(5, 5), Qt.DropAction.CopyAction, mime, nothing, Qt.KeyboardModifier.NoModifier
    )
    window.dropEvent(event)
    assert window.library.isVisible()
    imports = [each for each in engine.sent if isinstance(each, ImportRecordings)]
    assert [command.paths for command in imports] == [(str(file),)]


def test_limits_are_changed_as_the_fields_say(page: LibraryPage, engine: FakeEngine) -> None:
    button(page, "limits").click()
    dialog = dialog_of(page, LimitsDialog)
    assert isinstance(dialog, LimitsDialog)
    assert dialog.settings() == LibrarySettings()
    dialog._limit[1].setValue(20.5)
    dialog._days[0].setChecked(True)
    dialog._days[1].setValue(30)
    dialog._on_save()
    wanted = LibrarySettings(limit_bytes=20_500_000_000, keep_days=30.0, keep_bytes=None)
    assert engine.sent == [ChangeLibrary(engine.sent[-1].command_id, wanted)]


def test_the_disk_bar_warns_in_words(page: LibraryPage, engine: FakeEngine) -> None:
    full = DiskUse(DISK.folder, 48 * 10**9, 10**11, "the library is near its limit of 50 GB")
    engine.say(Library((), full, LibrarySettings()))
    assert page.disk.bar.value() == 960
    assert page.disk.bar.property("warned") is True
    assert page.disk._warning.full_text() == full.warning
    assert page.disk._words.full_text().replace("\u00a0", " ") == (
        "48 GB of 50 GB · 100 GB free on this disk"
    )


def test_an_empty_library_says_what_to_do(page: LibraryPage, engine: FakeEngine) -> None:
    engine.say(make_library(0))
    assert page.table.empty_text.startswith("No recordings yet")
    assert page.details.run_id == ""


def test_a_recording_that_cannot_be_read_says_why(page: LibraryPage, engine: FakeEngine) -> None:
    bad = recorded(0, state=None, name="", env_id="", fault="it is cut short")
    engine.say(replace(make_library(1), runs=(bad,)))
    page.select((bad.run_id,))
    assert page.details.fault.isVisible()
    assert page.details.fault.text() == "it is cut short"
    assert page.model.data(page.model.index(0, COLUMN_OF["state"])) == "unreadable"
    assert page.model.data(page.model.index(0, COLUMN_OF["episodes"])) == "–"


# --- a spec that names a cluster ------------------------------------------------------------------


@pytest.mark.parametrize(("address", "is_asked"), [('"10.0.0.5:6379"', True), (None, False)])
def test_a_spec_for_another_cluster_offers_to_attach_to_it(
    window: MainWindow, engine: FakeEngine, tmp_path: Path, address: str | None, is_asked: bool
) -> None:
    engine.come_up()
    path = tmp_path / "there.toml"
    path.write_text(f"[cluster]\naddress = {address}\n" if address else "[rollout]\nseed = 1\n")
    assert window.files.read(path)
    attach = window.findChild(QPushButton, "switch_cluster_attach")
    assert (attach is not None) is is_asked
    assert engine.calls == ["start"]
    if attach is not None:
        attach.click()
        assert engine.calls[-1] == "replace"
        engine.become(EngineState.READY)
        connect = engine.sent[-1]
        assert isinstance(connect, Connect)
        assert connect.cluster.address == "10.0.0.5:6379"
