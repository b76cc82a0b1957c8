"""Exports a recording to a format that other tools read, whole or not at all."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb

from raydash.core.faults import Fault, FaultError, FaultKind
from raydash.core.library import ExportFormat
from raydash.record.export import document, monitor, tables, tensorboard
from raydash.record.export.staging import staged_output
from raydash.record.file.database import diagnose
from raydash.record.file.schema import Connection
from raydash.record.read.live_copy import connect_even_if_live

Say = Callable[[str], None]


def export(
    path: Path,
    format: ExportFormat,
    out: Path,
    *,
    force: bool = False,
    all_tables: bool = False,
    say: Say | None = None,
) -> None:
    """Write a recording in another format.

    Counts and returns are exactly those of the recording. If the export fails, nothing is left at
    `out` or beside it.

    Args:
        path: The recording; if the run is live, what it has done so far is written.
        format: `CSV` and `PARQUET` give a file of episodes, `JSON` one document, `MONITOR` and
            `TENSORBOARD` a folder.
        out: The file or folder to write; its parent must exist.
        force: Replace what is at `out`, if that is a file or a folder of such an export.
        all_tables: With `CSV` and `PARQUET`, write the other tables too, beside `out`, as
            `<stem>.<table>.<suffix>`.
        say: Called with one line for each thing that the format has no place for.

    Raises:
        FaultError: if the recording can't be read, or `out` not written.
    """
    say = say or (lambda line: None)
    out = out.absolute()
    names = [out.name]
    if all_tables and format in tables.FORMATS:
        names += [tables.path_of_table(out, table).name for table in tables.OTHER_TABLES]
    with (
        closing(_opened(path, say)) as connection,
        staged_output(out, names, force=force, recording=path) as staging,
    ):
        target = staging / out.name
        try:
            match format:
                case ExportFormat.CSV | ExportFormat.PARQUET:
                    tables.write(connection, format, target, all_tables=all_tables)
                case ExportFormat.JSON:
                    document.write(connection, path, target)
                case ExportFormat.MONITOR:
                    monitor.write(connection, target, say)
                case ExportFormat.TENSORBOARD:
                    tensorboard.write(connection, path, target)
        except duckdb.Error as error:
            raise FaultError(_writing_fault(path, out, error)) from error


def _opened(path: Path, say: Say) -> Connection:
    connection, is_copy = connect_even_if_live(path)
    if is_copy:
        say(f"{path.stem} is live: this is what it has done so far")
    return connection


def _writing_fault(path: Path, out: Path, error: duckdb.Error) -> Fault:
    found = diagnose(error)
    is_full = found.kind is FaultKind.DISK_FULL
    return Fault(
        f"{out.name} was not written",
        found.reason,
        "Free some space, or choose another place" if is_full else found.remedy,
        f"{path}\n{out}\n{error}",
        bad_input=found.kind is FaultKind.DAMAGED,
        kind=found.kind,
    )
