"""A recording that another process is writing is read through a copy that is whole."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from raydash.core.faults import FaultError, FaultKind
from raydash.core.states import RunState
from raydash.record.file.database import connect, wal_of
from raydash.record.read import live_copy
from raydash.record.read.live_copy import open_live_copy
from raydash.record.read.snapshot import RecordingReader
from tests.fakes.recordings.recorded_run import RecordedRun, lived

EPISODES_A_COMMIT = 20


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    return lived(tmp_path_factory.mktemp("lived"))


class Writer:
    """A process that records until it is killed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.fakes.recordings.recordings", str(path)],
            stdout=subprocess.PIPE,
        )

    def until(self, number: int) -> None:
        """Wait until its recorder has got `count` batches."""
        assert self.process.stdout is not None
        while int(self.process.stdout.readline()) < number:
            pass


@pytest.fixture
def writer(tmp_path: Path) -> Iterator[Writer]:
    made = Writer(tmp_path / "run.duckdb")
    yield made
    made.process.kill()
    made.process.communicate()


@pytest.fixture
def copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Provide the folder in which copies are made, and check that none is left there."""
    folder = tmp_path / "copies"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    return folder


def test_it_can_only_be_read_through_a_copy_and_that_grows_with_the_run(
    writer: Writer, copies: Path
) -> None:
    writer.until(60)
    with pytest.raises(FaultError) as refused:
        RecordingReader(writer.path)
    assert refused.value.fault.kind is FaultKind.WRITTEN_ELSEWHERE
    seen = []
    for number in (120, 200, 280):
        with open_live_copy(writer.path) as reader:
            assert not list(copies.iterdir())
            found = reader.snapshot()
        assert found.state is RunState.RUNNING
        assert found.info is not None
        assert found.info.recording == str(writer.path)
        episodes = found.figures.num_episodes_lifetime
        assert episodes == found.whole.return_n.sum() == EPISODES_A_COMMIT * len(found.events)
        seen.append(episodes)
        writer.until(number)
    assert seen[0] < seen[1] < seen[2]
    assert writer.process.poll() is None


def test_a_checkpoint_between_the_two_copies_is_noticed(
    recorded: RecordedRun, tmp_path: Path, copies: Path
) -> None:
    path = tmp_path / "run.duckdb"
    shutil.copy(recorded.path, path)
    copied: list[Path] = []

    def copy(source: Path, target: Path) -> None:
        shutil.copyfile(source, target)
        copied.append(source)
        if len(copied) == 1:
            shutil.copy(recorded.path, path)  # what a checkpoint does to its time

    with open_live_copy(path, copy=copy, wait=lambda _: None) as reader:
        assert reader.snapshot().figures.num_episodes_lifetime > 0
    assert len(copied) == 2


def test_a_copy_with_a_hole_is_thrown_away(
    recorded: RecordedRun, tmp_path: Path, copies: Path
) -> None:
    path = tmp_path / "run.duckdb"
    shutil.copy(recorded.path, path)
    connection = connect(path)
    connection.execute("DELETE FROM commits WHERE number = 7")
    connection.close()
    waits: list[float] = []
    with pytest.raises(FaultError, match="it changed each time"):
        open_live_copy(path, wait=waits.append)
    assert len(waits) == live_copy.ATTEMPTS - 1
    assert not list(copies.iterdir())


def test_a_half_written_end_of_the_wal_is_left_out(
    writer: Writer, tmp_path: Path, copies: Path
) -> None:
    writer.until(150)
    writer.process.kill()
    writer.process.wait()
    wal = wal_of(writer.path)
    assert wal.stat().st_size > 0
    os.truncate(wal, wal.stat().st_size - 11)
    with open_live_copy(writer.path) as reader:
        found = reader.snapshot()
    assert found.figures.num_episodes_lifetime == EPISODES_A_COMMIT * len(found.events) > 0


def test_one_that_never_stands_still_is_refused_in_words(
    recorded: RecordedRun, tmp_path: Path, copies: Path
) -> None:
    path = tmp_path / "run.duckdb"
    shutil.copy(recorded.path, path)

    def copy(source: Path, target: Path) -> None:
        shutil.copyfile(source, target)
        shutil.copy(recorded.path, path)

    with pytest.raises(FaultError, match="Try again in a moment"):
        open_live_copy(path, copy=copy, wait=lambda _: None)
    assert not list(copies.iterdir())


def test_a_huge_one_is_refused_before_it_is_copied(recorded: RecordedRun) -> None:
    def copy(source: Path, target: Path) -> None:
        raise AssertionError("copied")

    with pytest.raises(FaultError, match="too large"):
        open_live_copy(recorded.path, max_bytes=1000, copy=copy)


def test_a_disk_without_room_is_refused_in_words(
    recorded: RecordedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(recorded.path.parent)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(FaultError, match="the disk is full"):
        open_live_copy(recorded.path)
