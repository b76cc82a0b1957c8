"""Commands about recordings to the real engine process. No cluster, no Ray driver."""

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import numpy as np
import psutil
import pytest

from raydash.core.library import ExportFormat, LibrarySettings, Notes
from raydash.core.messages import (
    Answer,
    ChangeLibrary,
    DeleteRecordings,
    EditNotes,
    ExportRecording,
    HistoryRange,
    ImportRecordings,
    Library,
    ListRecordings,
    OpenRecording,
    Ping,
    Pong,
    QueryHistory,
    WriteReport,
)
from raydash.core.states import RunState
from raydash.core.updates import RunUpdate
from raydash.record.read.snapshot import snapshot
from tests.fakes.engines.raw_engine import RawEngine
from tests.fakes.recordings.recorded_run import RecordedRun, lived
from tests.fakes.runs.supervised_run import RUN_ID

LIVE_ID = "20261122-101600-cartpole-v1-live"


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    return lived(tmp_path_factory.mktemp("lived"))


@pytest.fixture
def data_dir(tmp_path: Path, recorded: RecordedRun) -> Path:
    runs = tmp_path / "data" / "runs"
    runs.mkdir(parents=True)
    shutil.copy(recorded.path, runs / recorded.path.name)
    return tmp_path / "data"


@pytest.fixture
def engine(data_dir: Path, tmp_path: Path) -> Iterator[RawEngine]:
    raw = RawEngine(RAYDASH_DATA_DIR=str(data_dir), RAYDASH_STATE_DIR=str(tmp_path / "state"))
    yield raw
    raw.kill()


@pytest.fixture
def live_elsewhere(data_dir: Path) -> Iterator[Path]:
    """A recording that another process is writing."""
    path = data_dir / "runs" / f"{LIVE_ID}.duckdb"
    writer = subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.recordings.recordings", str(path)],
        stdout=subprocess.PIPE,
    )
    assert writer.stdout is not None
    while int(writer.stdout.readline()) < 100:
        pass
    yield path
    writer.kill()
    writer.communicate()


def test_it_lists_what_is_there_and_says_so_when_that_changes(
    engine: RawEngine, data_dir: Path
) -> None:
    engine.send(ListRecordings(1))
    listed = engine.next_of(Library)
    assert engine.next_of(Answer) == Answer(1)
    assert [run.run_id for run in listed.runs] == [RUN_ID]
    assert listed.runs[0].num_episodes_lifetime > 0
    assert listed.disk.folder == str(data_dir / "runs")
    (data_dir / "runs" / f"{RUN_ID}.duckdb").unlink()  # by somebody else
    assert engine.next_of(Library).runs == ()


def test_it_shows_a_recording_and_moves_back_and_forth_in_it(
    engine: RawEngine, data_dir: Path
) -> None:
    path = data_dir / "runs" / f"{RUN_ID}.duckdb"
    for number, (recording, at_s) in enumerate(
        [(RUN_ID, None), (RUN_ID[:12], 12.5), (str(path), 3.0)], start=1
    ):
        engine.send(OpenRecording(number, recording, at_s))
        update = engine.next_of(RunUpdate)
        assert engine.next_of(Answer) == Answer(number, run_id=RUN_ID)
        wanted = snapshot(path, at_s)
        assert (update.run_id, update.t_s, update.state) == (RUN_ID, wanted.t_s, wanted.state)
        assert update.last
        assert update.info is not None
        assert update.info.recorded_until_s == snapshot(path).t_s
        assert update.figures.num_episodes_lifetime == wanted.figures.num_episodes_lifetime
        assert len(update.events) == len(wanted.events)


def test_every_moment_asked_for_is_answered_and_the_newest_is_shown(engine: RawEngine) -> None:
    engine.send(OpenRecording(1, RUN_ID))
    engine.next_of(RunUpdate)
    moments = np.linspace(1.0, 35.0, 40)
    for number, at_s in enumerate(moments, start=2):
        engine.send(OpenRecording(number, RUN_ID, float(at_s)))
    answers = [engine.next_of(Answer) for _ in range(41)]
    assert sorted(answer.command_id for answer in answers) == list(range(1, 42))
    assert all(answer == Answer(answer.command_id, run_id=RUN_ID) for answer in answers)
    shown = engine.seen_of(RunUpdate)
    assert shown[-1].t_s == moments[-1]
    assert len(shown) < 40


def test_it_gives_a_part_of_the_history_at_the_resolution_asked_for(engine: RawEngine) -> None:
    engine.send(QueryHistory(1, RUN_ID, 4.0, 12.0, 10))
    found = engine.next_of(HistoryRange)
    assert engine.next_of(Answer) == Answer(1, run_id=RUN_ID)
    assert (found.run_id, found.start_s, found.end_s) == (RUN_ID, 4.0, 12.0)
    assert found.history.bucket_s == 1.0
    assert (found.history.first_bucket, len(found.history)) == (4, 9)
    assert found.history.return_n.sum() > 0


def test_notes_and_limits_are_kept_and_sent(engine: RawEngine) -> None:
    engine.send(ListRecordings(1))
    engine.next_of(Library)
    engine.send(EditNotes(2, RUN_ID, Notes("The good one", ("paper",), "keep", pinned=True)))
    assert engine.next_of(Library).runs[0].title == "The good one"
    engine.send(ChangeLibrary(3, LibrarySettings(limit_bytes=10**6, keep_days=1.0)))
    library = engine.next_of(Library)
    assert library.settings.keep_days == 1.0
    assert [run.run_id for run in library.runs] == [RUN_ID]  # pinned
    assert {engine.next_of(Answer).command_id for _ in range(3)} == {1, 2, 3}


def test_deleting_closes_what_is_shown_and_says_what_was_refused(
    engine: RawEngine, data_dir: Path
) -> None:
    engine.send(ListRecordings(1))
    engine.next_of(Library)
    engine.send(OpenRecording(2, RUN_ID))
    engine.next_of(RunUpdate)
    engine.send(DeleteRecordings(3, (RUN_ID,)))
    assert engine.next_of(Library).runs == ()
    assert [engine.next_of(Answer) for _ in range(3)][-1] == Answer(3)
    assert not list((data_dir / "runs").glob("*.duckdb*"))
    held = [file.path for file in psutil.Process(engine.process.pid).open_files()]
    assert not [path for path in held if "duckdb" in path]
    engine.send(OpenRecording(4, RUN_ID))
    assert engine.next_of(Answer).fault is not None


def test_a_run_that_is_live_elsewhere_is_shown_from_a_copy(
    engine: RawEngine, live_elsewhere: Path
) -> None:
    engine.send(OpenRecording(1, LIVE_ID))
    update = engine.next_of(RunUpdate)
    assert engine.next_of(Answer).fault is None
    assert update.state is RunState.RUNNING
    assert update.figures.num_episodes_lifetime >= 20
    assert update.figures.num_episodes_lifetime % 20 == 0
    assert update.info.recording == str(live_elsewhere)
    engine.send(QueryHistory(2, update.run_id, 0.0, 1e6, 100))
    assert engine.next_of(HistoryRange).history.return_n.sum() > 0
    engine.send(DeleteRecordings(3, (LIVE_ID,)))
    answers = {(answer := engine.next_of(Answer)).command_id: answer for _ in range(2)}
    assert answers[3].fault is not None
    assert live_elsewhere.exists()


@pytest.mark.parametrize(
    "command",
    [
        OpenRecording(1, "nothing-like-it"),
        OpenRecording(1, "/nowhere/at/all.duckdb"),
        OpenRecording(1, ""),
        QueryHistory(1, "nothing-like-it", 0.0, 1.0, 10),
        EditNotes(1, "../../etc/passwd", Notes("x")),
        DeleteRecordings(1, ("../../etc/passwd",)),
        ExportRecording(1, "nothing-like-it", ExportFormat.CSV, "/tmp/out"),
        WriteReport(1, ("nothing-like-it",), "/tmp/out.html"),
        ImportRecordings(1, ("/nowhere/progress.csv",)),
    ],
)
def test_what_is_not_there_is_refused_in_words(engine: RawEngine, command: object) -> None:
    engine.send(command)
    answer = engine.next_of(Answer)
    assert answer.command_id == 1
    assert answer.fault is not None
    assert "inside raydash" not in answer.fault.sentence()
    assert "Traceback" not in answer.fault.detail


def test_a_damaged_file_is_refused_and_the_engine_lives_on(
    engine: RawEngine, data_dir: Path
) -> None:
    path = data_dir / "runs" / f"{RUN_ID}.duckdb"
    content = path.read_bytes()
    path.write_bytes(content[:4096] + b"\xff" * 8192 + content[12288:])
    engine.send(OpenRecording(1, RUN_ID))
    engine.send(ListRecordings(2))
    engine.next_of(Library)
    answers = {(answer := engine.next_of(Answer)).command_id: answer for _ in range(2)}
    assert answers[1].fault is not None
    assert answers[2].fault is None
    engine.send(Ping(3))
    assert engine.next_of(Pong) == Pong(3)


def test_an_export_is_written_where_it_was_asked_for(
    engine: RawEngine, tmp_path: Path, recorded: RecordedRun
) -> None:
    out = tmp_path / "out.parquet"
    engine.send(ExportRecording(1, RUN_ID, ExportFormat.PARQUET, str(out)))
    assert engine.next_of(Answer) == Answer(1)
    written = [str(path) for path in ([out] if out.is_file() else out.rglob("*episodes*.parquet"))]
    count = duckdb.sql(f"SELECT count(*) FROM read_parquet({written})").fetchall()
    assert count == [(len(recorded.run.recording.episodes()),)]
