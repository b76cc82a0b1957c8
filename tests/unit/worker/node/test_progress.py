"""A worker's last progress can be read, whatever happened to the worker."""

from pathlib import Path

import pytest

from raydash.worker.node.progress import (
    COUNTER,
    EPISODE_LEN,
    NUM_ENV_STEPS,
    PHASE,
    Phase,
    ProgressReader,
    ProgressReading,
    ProgressWriter,
)


def test_reader_sees_what_the_writer_stored(tmp_path: Path) -> None:
    writer = ProgressWriter(tmp_path / "new" / "w1")
    writer.cells[PHASE] = Phase.STEPPING
    writer.cells[NUM_ENV_STEPS] = 2**40
    writer.cells[EPISODE_LEN] = 17
    writer.cells[COUNTER] += 1
    assert ProgressReader(writer.path).read() == ProgressReading(Phase.STEPPING, 2**40, 17, 1)
    writer.close()


def test_closing_removes_the_file_and_leaves_the_cells_writable(tmp_path: Path) -> None:
    writer = ProgressWriter(tmp_path / "w1")
    writer.cells[NUM_ENV_STEPS] = 5
    writer.close()
    writer.cells[NUM_ENV_STEPS] += 1
    writer.close()
    assert list(tmp_path.iterdir()) == []
    assert writer.cells[NUM_ENV_STEPS] == 6


@pytest.mark.parametrize("content", [None, b"", b"\0" * 31, b"\xff" * 32])
def test_missing_short_or_foreign_file_reads_as_nothing(
    tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "w1"
    if content is not None:
        path.write_bytes(content)
    assert ProgressReader(str(path)).read() is None


def test_empty_or_absurd_path_reads_as_nothing() -> None:
    assert ProgressReader("").read() is None
    assert ProgressReader("a\0b").read() is None


def test_writer_without_a_place_to_write_keeps_its_cells(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    writer = ProgressWriter(tmp_path / "file" / "w1")
    writer.cells[PHASE] = Phase.RESETTING
    assert writer.path == ""
    writer.close()
