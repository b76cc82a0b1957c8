"""Reads a recording that another process is writing, through a copy.

While a file is written, DuckDB locks it for readers too. What is committed is in the file or in its
WAL, and a checkpoint moves it from the WAL to the file. So the file is copied first and the WAL
next. If the file did not change meanwhile, the two copies belong together; DuckDB ignores a
half-written end of the WAL, as it does after a crash.
"""

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import duckdb

from raydash.core.faults import Fault, FaultError, FaultKind
from raydash.core.words import plain
from raydash.record.file.database import connect, reading_fault, size_of, wal_of
from raydash.record.file.schema import Connection
from raydash.record.read.query import check_begun, open_read_only
from raydash.record.read.snapshot import RecordingReader

MAX_BYTES = 2 * 10**9
ATTEMPTS = 6
RETRY_INTERVAL_S = 0.25
"""About as long as a checkpoint of a growing recording takes."""
_ROOM_FACTOR = 1.2

_Opened = TypeVar("_Opened")


class _ChangedError(Exception):
    """The file changed while it was copied."""


def open_live_copy(
    path: Path,
    *,
    max_bytes: int = MAX_BYTES,
    wait: Callable[[float], None] = time.sleep,
    copy: Callable[[Path, Path], object] = shutil.copyfile,
) -> RecordingReader:
    """Open a copy of a locked recording, read-only; it has the run so far and does not grow.

    The copy is gone when the reader is closed. Recordings beyond `max_bytes` are refused. `wait`
    sleeps between attempts, and `copy` copies one file.

    Raises:
        FaultError: if it is too large, the disk too full, or it changed during every attempt.
    """
    return _open_copy(
        path,
        lambda copied: RecordingReader(copied, shown_as=path, is_live=True),
        max_bytes=max_bytes,
        wait=wait,
        copy=copy,
    )


def connect_even_if_live(path: Path) -> tuple[Connection, bool]:
    """Connect to a recording, or to a copy of it if it is live, and tell whether it is one.

    Raises:
        FaultError: if it can't be read or holds no run, or as for `open_live_copy`.
    """
    is_copy = False
    try:
        connection = open_read_only(path)
    except FaultError as error:
        if error.fault.kind is not FaultKind.WRITTEN_ELSEWHERE:
            raise
        is_copy = True
        connection = _open_copy(
            path, open_read_only, max_bytes=MAX_BYTES, wait=time.sleep, copy=shutil.copyfile
        )
    check_begun(connection, path)
    return connection, is_copy


def _open_copy(
    path: Path,
    open_copied: Callable[[Path], _Opened],
    *,
    max_bytes: int,
    wait: Callable[[float], None],
    copy: Callable[[Path, Path], object],
) -> _Opened:
    size = size_of(path)
    if size > max_bytes:
        raise FaultError(
            Fault(
                f"The live recording {path.name} is too large to be copied",
                f"it has {plain.size(size)}, and another process writes it",
                "Watch the run on its own cluster, or open it when it has ended",
            )
        )
    error: Exception = _ChangedError()
    for attempt in range(ATTEMPTS):
        if attempt:
            wait(RETRY_INTERVAL_S)
        try:
            with tempfile.TemporaryDirectory(
                prefix="raydash-copy-", dir=_folder_with_room(path, size)
            ) as at:
                copied = Path(at) / path.name
                _copy_together(path, copied, copy)
                _check_complete(copied)
                # An open file stays readable when its name is gone, so no copy is ever left behind.
                return open_copied(copied)
        except (duckdb.Error, _ChangedError) as problem:
            error = problem
        except OSError as problem:
            raise FaultError(reading_fault(path, problem)) from problem
    raise FaultError(
        Fault(
            f"The live recording {path.name} can't be read now",
            "it changed each time while it was copied",
            "Try again in a moment",
            detail=f"{path}\n{error}",
        )
    )


def _folder_with_room(path: Path, size: int) -> Path:
    """Choose a folder with room for a copy: the system's temporary one, or the recording's own.

    Raises:
        OSError: if neither has room.
    """
    for folder in (Path(tempfile.gettempdir()), path.parent):
        try:
            has_room = shutil.disk_usage(folder).free > _ROOM_FACTOR * size
        except OSError:
            continue
        if has_room and os.access(folder, os.W_OK):
            return folder
    raise OSError("No space left for a copy of a live recording")


def _copy_together(path: Path, copied: Path, copy: Callable[[Path, Path], object]) -> None:
    before = _stamp(path)
    copy(path, copied)
    if wal_of(path).exists():
        try:
            copy(wal_of(path), wal_of(copied))
        except FileNotFoundError as error:
            raise _ChangedError("its WAL was moved into it") from error
    if _stamp(path) != before:
        raise _ChangedError("it changed while it was copied")


def _stamp(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size, status.st_ino


def _check_complete(copied: Path) -> None:
    """Check that the copy has every commit once; a checkpoint during copying would break that.

    Raises:
        duckdb.Error: if the copy can't be read.
        _ChangedError: if it is not complete.
    """
    with closing(connect(copied, read_only=True)) as connection:
        first, last, count = connection.execute(
            "SELECT min(number), max(number), count(DISTINCT number) FROM commits"
        ).fetchone()
        (rows,) = connection.execute("SELECT count(*) FROM commits").fetchone()
    if rows and (first != 1 or last != count or rows != count):
        raise _ChangedError(f"{rows} commits, from {first} to {last}")
