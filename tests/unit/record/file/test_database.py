"""What a database complains of is put into words, and into a kind that code can act on."""

import errno
import os
from pathlib import Path

import duckdb
import pytest

from raydash.core.faults import FaultError, FaultKind
from raydash.record.file.database import connect, diagnose, reading, reading_fault
from raydash.record.file.schema import ForeignSchemaError, NewerSchemaError


def disk_error(number: int) -> OSError:
    return OSError(number, os.strerror(number), "run.duckdb")


@pytest.mark.parametrize(
    ("error", "kind", "reason"),
    [
        (
            duckdb.IOException('Could not set lock on file "x": held in python (PID 41).'),
            FaultKind.WRITTEN_ELSEWHERE,
            "another program has the file open (process 41)",
        ),
        (
            duckdb.ConnectionException("Can't open with a different configuration"),
            FaultKind.WRITTEN_HERE,
            "this program has the file open for writing",
        ),
        (duckdb.IOException("No space left on device"), FaultKind.DISK_FULL, "the disk is full"),
        (duckdb.IOException("Disk quota exceeded"), FaultKind.DISK_FULL, "the disk is full"),
        (disk_error(errno.ENOSPC), FaultKind.DISK_FULL, "the disk is full"),
        (disk_error(errno.EDQUOT), FaultKind.DISK_FULL, "the disk is full"),
        (
            duckdb.IOException("Cannot open file: Permission denied"),
            FaultKind.NO_PERMISSION,
            "the folder is not writable",
        ),
        (disk_error(errno.EACCES), FaultKind.NO_PERMISSION, "the folder is not writable"),
        (disk_error(errno.EROFS), FaultKind.OTHER, "the folder is not writable"),
        (disk_error(errno.ENOENT), FaultKind.OTHER, "the folder or file is gone"),
        (
            duckdb.OutOfMemoryException("Out of Memory Error: failed to allocate"),
            FaultKind.OTHER,
            "there was not enough memory to read it",
        ),
        (NewerSchemaError("9"), FaultKind.OTHER, "the file was written by a newer version"),
        (ForeignSchemaError("views"), FaultKind.OTHER, "raydash did not make it: views"),
        (duckdb.CatalogException("Catalog Error: x"), FaultKind.DAMAGED, "the file is damaged"),
        (ValueError("what?\nno"), FaultKind.OTHER, "ValueError: what?"),
    ],
)
def test_error_has_a_kind_and_words(error: Exception, kind: FaultKind, reason: str) -> None:
    found = diagnose(error)
    assert (found.kind, found.reason) == (kind, reason)


def test_writer_in_this_process_is_told_from_damage(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    writer = connect(path)
    with pytest.raises(duckdb.Error) as refused:
        connect(path, read_only=True)
    writer.close()
    assert reading_fault(path, refused.value).kind is FaultKind.WRITTEN_HERE
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(FaultError, match="the file is damaged") as refused_file, reading(path):
        connect(path, read_only=True)
    assert refused_file.value.fault.kind is FaultKind.DAMAGED


def test_only_the_errors_of_a_database_and_those_that_are_named_become_faults(
    tmp_path: Path,
) -> None:
    with pytest.raises(FaultError), reading(tmp_path, KeyError):
        raise KeyError("spec_json")
    with pytest.raises(KeyError), reading(tmp_path):
        raise KeyError("spec_json")
