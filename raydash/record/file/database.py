"""Opening a recording, and what a database's complaints mean in plain words."""

import contextlib
import re
from pathlib import Path

import duckdb

from raydash.core.faults import Fault
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
        duckdb.Error: if it can't be opened; `why_not` puts the reason into words.
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


_REASONS: tuple[tuple[str, str, str], ...] = (
    (
        r"Could not set lock",
        "another program has the file open",
        "Close that program",
    ),
    (
        r"different configuration|Unique file handle conflict",
        "this program has the file open for writing",
        "Wait until the run has ended",
    ),
    (
        r"No space left|disk quota|File too large",
        "the disk is full",
        "Free some space: recording goes on by itself",
    ),
    (
        r"Read-only file system|Permission denied",
        "the folder is not writable",
        "Make it writable, or choose another with RAYDASH_DATA_DIR",
    ),
    (
        r"No such file or directory|does not exist",
        "the folder or file is gone",
        "Make the folder again, or choose another with RAYDASH_DATA_DIR",
    ),
    (
        r"is no file$",
        "it is a folder or a device, and no file",
        "Choose another one",
    ),
    (
        r"version number|newer version|schema \d+ is newer",
        "the file was written by a newer version",
        "Open it with that version of raydash",
    ),
    (
        r"[Oo]ut of [Mm]emory|failed to (allocate|pin)",
        "there was not enough memory to read it",
        "Close something and try again",
    ),
)


_DAMAGE = re.compile(
    r"not a valid DuckDB|Extension \"|read enough bytes|[Cc]orrupt|checksum|replaying WAL|"
    r"[Dd]eserializ|INTERNAL Error|Catalog Error|Binder Error|has been invalidated",
)


def why_not(error: Exception) -> tuple[str, str]:
    """Put into words why a recording can't be used, and what to do about it."""
    text = str(error)
    if isinstance(error, NewerSchemaError):
        text = f"newer version: {text}"
    if isinstance(error, ForeignSchemaError):
        return f"raydash did not make it: {text}", "Open it with the program that made it"
    for pattern, reason, remedy in _REASONS:
        if re.search(pattern, text):
            process = re.search(r"PID (\d+)", text)
            return reason + (f" (process {process.group(1)})" if process else ""), remedy
    if _DAMAGE.search(text):
        return "the file is damaged", ""
    return f"{type(error).__name__}: {text}".splitlines()[0][:300], ""


def is_damage(error: Exception) -> bool:
    """Tell whether the file itself is broken, so that trying again can't help."""
    return why_not(error)[0] == "the file is damaged"


def is_locked(error: Exception) -> bool:
    """Tell whether the file can't be read because some process is writing it."""
    return bool(re.search(f"{_REASONS[0][0]}|{_REASONS[1][0]}", str(error)))


def reading_fault(path: Path, error: Exception) -> Fault:
    """Make a fault that says why a recording can't be opened or read."""
    reason, remedy = why_not(error)
    return Fault(
        what=f"The recording {path.name} can't be read",
        why=reason,
        remedy=remedy or "Put a copy in its place, or delete it",
        detail=f"{path}\n{error}",
        bad_input=True,
    )
