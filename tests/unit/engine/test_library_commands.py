"""Commands about recordings: each is answered once, and no file stays open for long."""

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from raydash.core.faults import Fault, FaultError
from raydash.core.library import DiskUse, LibrarySettings, Notes, RecordedRun
from raydash.core.messages import (
    Answer,
    ChangeLibrary,
    DeleteRecordings,
    EditNotes,
    HistoryRange,
    Library,
    ListRecordings,
    OpenRecording,
    QueryHistory,
)
from raydash.core.updates import RunUpdate
from raydash.engine.commands.library_commands import LibraryCommands
from raydash.engine.commands.open_recordings import IDLE_S, OpenRecordings
from tests.fakes.clock import FakeClock
from tests.fakes.recordings.recorded_run import RecordedRun as RecordedFiles
from tests.fakes.recordings.recorded_run import lived
from tests.fakes.runs.supervised_run import RUN_ID

WaitUntil = Callable[..., None]


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RecordedFiles:
    return lived(tmp_path_factory.mktemp("lived"))


class FakeLibrary:
    """A library in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.calls: list[str] = []
        self.title = "before"
        self.refuses = False

    def runs(self) -> tuple[RecordedRun, ...]:
        return (RecordedRun(RUN_ID, str(self.path), notes=Notes(self.title)),)

    def disk(self) -> DiskUse:
        return DiskUse(str(self.path.parent), 1, 2)

    def settings(self) -> LibrarySettings:
        return LibrarySettings()

    def edit_notes(self, run_id: str, notes: Notes) -> None:
        self.title = notes.title

    def delete(self, run_ids: tuple[str, ...]) -> None:
        self.calls.append("delete")
        if self.refuses:
            raise FaultError(Fault("one was refused", "it is live"))

    def change_settings(self, settings: LibrarySettings) -> None:
        self.calls.append("change")

    def find(self, recording: str) -> Path:
        self.calls.append("find")
        if recording == "broken":
            raise RuntimeError("nobody foresaw this")
        return self.path

    def apply_retention(self) -> tuple[str, ...]:
        self.calls.append("retention")
        return ()


class Window:
    """A window that keeps the messages it gets."""

    def __init__(self) -> None:
        self.messages: list[object] = []

    def answers(self) -> list[Answer]:
        return [message for message in self.messages if isinstance(message, Answer)]

    def of(self, kind: type) -> list[object]:
        return [message for message in self.messages if isinstance(message, kind)]


@pytest.fixture
def files(tmp_path: Path, recorded: RecordedFiles) -> FakeLibrary:
    (tmp_path / "runs").mkdir()
    return FakeLibrary(Path(shutil.copy(recorded.path, tmp_path / "runs")))


@pytest.fixture
def window() -> Window:
    return Window()


@pytest.fixture
def live() -> set[str]:
    return set()


@pytest.fixture
def commands(
    tmp_path: Path, files: FakeLibrary, window: Window, live: set[str]
) -> Iterator[LibraryCommands]:
    def attach(command_id: int, run_id: str) -> bool:
        return run_id in live

    made = LibraryCommands(
        tmp_path,
        send=window.messages.append,
        attach=attach,
        open_library=lambda _: files,
        poll_interval_s=0.05,
    )
    yield made
    made.close()


def is_open(path: Path) -> bool:
    return str(path) in {file.path for file in psutil.Process().open_files()}


def test_a_recording_comes_before_the_answer(
    commands: LibraryCommands, window: Window, wait_until: WaitUntil
) -> None:
    commands.submit(OpenRecording(7, RUN_ID))
    wait_until(window.answers)
    update, answer = window.messages
    assert isinstance(update, RunUpdate)
    assert answer == Answer(7, run_id=RUN_ID)
    commands.submit(QueryHistory(8, RUN_ID, 0.0, 10.0, 5))
    wait_until(lambda: len(window.answers()) == 2)
    assert isinstance(window.messages[2], HistoryRange)


def test_of_many_moments_the_newest_is_shown_last_and_all_are_answered_once(
    commands: LibraryCommands, window: Window, wait_until: WaitUntil
) -> None:
    for number, at_s in enumerate(np.linspace(1.0, 30.0, 60)):
        commands.submit(OpenRecording(number, RUN_ID, float(at_s)))
    wait_until(lambda: len(window.answers()) == 60)
    assert sorted(answer.command_id for answer in window.answers()) == list(range(60))
    shown = window.of(RunUpdate)
    assert len(shown) < 60
    assert isinstance(shown[-1], RunUpdate)
    assert shown[-1].t_s == 30.0


def test_a_run_that_is_live_here_is_attached_instead(
    commands: LibraryCommands,
    window: Window,
    live: set[str],
    files: FakeLibrary,
    wait_until: WaitUntil,
) -> None:
    live.add(RUN_ID)
    commands.submit(OpenRecording(1, "a title"))
    commands.submit(ListRecordings(2))
    wait_until(window.answers)
    assert window.answers() == [Answer(2)]  # the other is the engine's to answer
    assert not window.of(RunUpdate)
    assert not is_open(files.path)


def test_what_nobody_foresaw_is_answered_too(
    commands: LibraryCommands, window: Window, wait_until: WaitUntil
) -> None:
    commands.submit(OpenRecording(1, "broken"))
    wait_until(window.answers)
    (answer,) = window.answers()
    assert answer.fault is not None
    assert "nobody foresaw this" in answer.fault.why


def test_the_library_is_sent_when_asked_and_when_it_changed_but_not_before(
    commands: LibraryCommands, window: Window, files: FakeLibrary, wait_until: WaitUntil
) -> None:
    commands.submit(EditNotes(1, RUN_ID, Notes("first")))
    wait_until(window.answers)
    assert not window.of(Library)
    commands.submit(ListRecordings(2))
    wait_until(lambda: len(window.answers()) == 2)
    assert len(window.of(Library)) == 1
    assert files.calls == ["retention"]
    commands.submit(EditNotes(3, RUN_ID, Notes("second")))
    wait_until(lambda: len(window.answers()) == 3)
    assert isinstance(window.messages[-2], Library)
    assert window.messages[-2].runs[0].title == "second"
    files.title = "by another program"
    (files.path.parent / "other.notes.json").write_text("{}")
    wait_until(lambda: len(window.of(Library)) == 3)
    (files.path.parent / "irrelevant").write_text("")
    commands.submit(ListRecordings(4))
    wait_until(lambda: len(window.answers()) == 4)
    assert len(window.of(Library)) == 4  # asked for; the change alone was none


def test_a_refusal_comes_with_the_library_as_it_is_now(
    commands: LibraryCommands, window: Window, files: FakeLibrary, wait_until: WaitUntil
) -> None:
    files.refuses = True
    commands.submit(ListRecordings(1))
    wait_until(window.answers)
    files.title = "what is left"
    commands.submit(DeleteRecordings(2, (RUN_ID,)))
    wait_until(lambda: len(window.answers()) == 2)
    assert window.answers()[-1].fault == Fault("one was refused", "it is live")
    assert len(window.of(Library)) == 2


@pytest.mark.parametrize(
    "command", [DeleteRecordings(2, (RUN_ID,)), ChangeLibrary(2, LibrarySettings())]
)
def test_files_are_closed_before_any_is_deleted(
    commands: LibraryCommands,
    window: Window,
    files: FakeLibrary,
    wait_until: WaitUntil,
    command: DeleteRecordings | ChangeLibrary,
) -> None:
    commands.submit(OpenRecording(1, RUN_ID))
    wait_until(window.answers)
    assert is_open(files.path)
    commands.submit(command)
    wait_until(lambda: len(window.answers()) == 2)
    assert not is_open(files.path)


def test_a_quick_question_does_not_wait_behind_a_long_one(
    commands: LibraryCommands,
    window: Window,
    files: FakeLibrary,
    wait_until: WaitUntil,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    goes_on = threading.Event()
    monkeypatch.setattr(files, "delete", lambda _: goes_on.wait(30.0))
    for number in range(5):
        commands.submit(DeleteRecordings(number, (RUN_ID,)))
    commands.submit(OpenRecording(9, RUN_ID))
    wait_until(window.answers)
    assert window.answers() == [Answer(9, run_id=RUN_ID)]
    goes_on.set()
    wait_until(lambda: len(window.answers()) == 6)


def test_an_idle_file_is_closed_and_opened_again_when_asked_for(files: FakeLibrary) -> None:
    clock = FakeClock()
    recordings = OpenRecordings(clock)
    with recordings.reading(files.path) as first:
        clock.advance(IDLE_S + 1)
        recordings.close_idle()
        assert first.snapshot().last  # somebody is reading it
    with recordings.reading(files.path) as second:
        assert second is first
    clock.advance(IDLE_S + 1)
    recordings.close_idle()
    assert not is_open(files.path)
    with recordings.reading(files.path) as third:
        assert third is not first
    recordings.close()
    assert not is_open(files.path)


def test_what_is_being_read_is_closed_when_its_reader_is_done(files: FakeLibrary) -> None:
    recordings = OpenRecordings(FakeClock())
    with recordings.reading(files.path) as reader:
        recordings.close([files.path])
        assert reader.snapshot().last
        assert is_open(files.path)
    assert not is_open(files.path)


def test_a_file_that_was_replaced_is_opened_again(
    files: FakeLibrary, recorded: RecordedFiles
) -> None:
    recordings = OpenRecordings(FakeClock())
    with recordings.reading(files.path) as first:
        pass
    files.path.unlink()
    shutil.copy(recorded.path, files.path)
    with recordings.reading(files.path) as second:
        assert second is not first
    recordings.close()
