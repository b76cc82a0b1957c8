"""Opening a recording, and what a database's complaints mean in plain words."""

import contextlib
import errno
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import duckdb

from raydash.core.faults import Fault, FaultError, FaultKind
from raydash.record.file.schema import Connection, ForeignSchemaError, NewerSchemaError

_MEMORY = "128MB"
"""The recording gets no more than this, for the supervisor shares its machine with workers."""
_RELEASED_MEMORY = "16MB"
_CONFIG: dict[str, object] = {
    "memory_limit": _MEMORY,
    "threads": 1,
    # Given a foreign file (SQLite, ...), DuckDB would download and load an extension to read it.
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_NO_PROGRESS_BAR = "SET enable_progress_bar = false"
"""DuckDB would draw it on stdout, in the middle of JSON. Each cursor has its own setting."""


def connect(path: Path, *, read_only: bool = False) -> Connection:
    """Open a recording; what a killed writer had committed is there.

    Raises:
        duckdb.Error: if it can't be opened; `diagnose` says why.
    """
    config = dict(_CONFIG)
    if not read_only:
        # Beside the file, so that a full /tmp does no harm; only huge sorts need it.
        config["temp_directory"] = f"{path}.tmp"
    if path.exists() and not path.is_file():
        raise duckdb.IOException(f"{path} is no file")  # waiting for a pipe would never end
    connection = duckdb.connect(str(path), read_only=read_only, config=config)
    connection.execute(_NO_PROGRESS_BAR)
    return connection


def release_memory(connection: Connection) -> None:
    """Make DuckDB drop most of the file that it has cached, which it never does by itself."""
    for limit in (_RELEASED_MEMORY, _MEMORY):
        # What is in use right now can't be dropped; the next call will drop it.
        with contextlib.suppress(duckdb.OutOfMemoryException):
            connection.execute(f"SET memory_limit = '{limit}'")


def connect_to_folder(folder: Path) -> Connection:
    """Open an in-memory DuckDB that can attach recordings of one folder and read nothing else."""
    connection = duckdb.connect(config=dict(_CONFIG))
    connection.execute(_NO_PROGRESS_BAR)
    connection.execute(f"SET allowed_directories = [{sql_literal(folder)}]")
    connection.execute("SET enable_external_access = false")
    return connection


def sql_literal(path: Path) -> str:
    """Quote a path as a SQL literal."""
    return "'" + str(path).replace("'", "''") + "'"


def wal_of(path: Path) -> Path:
    """Return the path of the WAL, which holds commits that are not yet in the file itself."""
    return path.with_name(path.name + ".wal")


def size_of(path: Path) -> int:
    """Count the bytes on disk of a recording and its WAL; 0 if there is no such file."""
    total = 0
    for part in (path, wal_of(path)):
        try:
            total += part.stat().st_size
        except OSError:
            continue
    return total


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Why a recording can't be used.

    Attributes:
        reason: That in words.
        remedy: What to do about it; empty if that is not known.
    """

    kind: FaultKind
    reason: str
    remedy: str = ""


_WRITTEN_ELSEWHERE = Diagnosis(
    FaultKind.WRITTEN_ELSEWHERE, "another program has the file open", "Close that program"
)
_WRITTEN_HERE = Diagnosis(
    FaultKind.WRITTEN_HERE,
    "this program has the file open for writing",
    "Wait until the run has ended",
)
_DISK_FULL = Diagnosis(
    FaultKind.DISK_FULL, "the disk is full", "Free some space: recording goes on by itself"
)
_NO_PERMISSION = Diagnosis(
    FaultKind.NO_PERMISSION,
    "the folder is not writable",
    "Make it writable, or choose another with RAYDASH_DATA_DIR",
)
_READ_ONLY = replace(_NO_PERMISSION, kind=FaultKind.OTHER)
_GONE = Diagnosis(
    FaultKind.OTHER,
    "the folder or file is gone",
    "Make the folder again, or choose another with RAYDASH_DATA_DIR",
)
_NO_FILE = Diagnosis(
    FaultKind.OTHER, "it is a folder or a device, and no file", "Choose another one"
)
_NEWER = Diagnosis(
    FaultKind.OTHER,
    "the file was written by a newer version",
    "Open it with that version of raydash",
)
_NO_MEMORY = Diagnosis(
    FaultKind.OTHER, "there was not enough memory to read it", "Close something and try again"
)
_DAMAGED = Diagnosis(FaultKind.DAMAGED, "the file is damaged")

_BY_ERRNO = {
    errno.ENOSPC: _DISK_FULL,
    errno.EDQUOT: _DISK_FULL,
    errno.EFBIG: _DISK_FULL,
    errno.EACCES: _NO_PERMISSION,
    errno.EROFS: _READ_ONLY,
    errno.ENOENT: _GONE,
}
# An error of DuckDB has the type of the outermost cause, and in its text all of them. The first
# pattern that is found there counts.
_BY_TEXT = (
    (r"Could not set lock", _WRITTEN_ELSEWHERE),
    (r"different configuration|Unique file handle conflict", _WRITTEN_HERE),
    (r"No space left|[Dd]isk quota|File too large", _DISK_FULL),
    (r"Permission denied", _NO_PERMISSION),
    (r"Read-only file system", _READ_ONLY),
    (r"No such file or directory|does not exist", _GONE),
    (r"is no file$", _NO_FILE),
    (r"version number|newer version", _NEWER),
    (r"[Oo]ut of [Mm]emory|failed to (allocate|pin)", _NO_MEMORY),
    (
        r"not a valid DuckDB|Extension \"|read enough bytes|[Cc]orrupt|checksum|replaying WAL|"
        r"[Dd]eserializ|INTERNAL Error|Catalog Error|Binder Error|has been invalidated",
        _DAMAGED,
    ),
)


def diagnose(error: Exception) -> Diagnosis:
    """Find out why a recording can't be used from the error that says so."""
    if isinstance(error, NewerSchemaError):
        return _NEWER
    if isinstance(error, ForeignSchemaError):
        remedy = "Open it with the program that made it"
        return Diagnosis(FaultKind.OTHER, f"raydash did not make it: {error}", remedy)
    if isinstance(error, OSError) and error.errno in _BY_ERRNO:
        return _BY_ERRNO[error.errno]
    text = str(error)
    for pattern, found in _BY_TEXT:
        if re.search(pattern, text):
            process = re.search(r"PID (\d+)", text)
            return found if process is None else _with_process(found, process[1])
    return Diagnosis(FaultKind.OTHER, f"{type(error).__name__}: {text}".splitlines()[0][:300])


def _with_process(found: Diagnosis, pid: str) -> Diagnosis:
    return replace(found, reason=f"{found.reason} (process {pid})")


def is_damage(error: Exception) -> bool:
    """Tell whether the file itself is broken, so that trying again can't help."""
    return diagnose(error).kind is FaultKind.DAMAGED


def reading_fault(path: Path, error: Exception) -> Fault:
    """Make a fault that says why a recording can't be opened or read."""
    found = diagnose(error)
    return Fault(
        what=f"The recording {path.name} can't be read",
        why=found.reason,
        remedy=found.remedy or "Put a copy in its place, or delete it",
        detail=f"{path}\n{error}",
        bad_input=True,
        kind=found.kind,
    )


@contextlib.contextmanager
def reading(path: Path, *more: type[Exception]) -> Iterator[None]:
    """Turn a database's errors, and those of the types `more`, into the fault of a recording.

    Raises:
        FaultError: instead of such an error.
    """
    try:
        yield
    except (duckdb.Error, *more) as error:
        raise FaultError(reading_fault(path, error)) from error
