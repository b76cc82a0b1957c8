"""Exports a recording to a format that other tools read, whole or not at all."""

from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import duckdb

from raydash.core.faults import Fault, FaultError
from raydash.core.library import ExportFormat
from raydash.record.export import document, monitor, tables, tensorboard
from raydash.record.export.staging import staged_output
from raydash.record.file.database import is_damage, why_not
from raydash.record.file.schema import Connection, version_of
from raydash.record.read.live_copy import connect_to_live_copy, is_locked
from raydash.record.read.query import open_read_only

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
            reason, remedy = why_not(error)
            if reason == "the disk is full":
                remedy = "Free some space, or choose another place"
            detail = f"{path}\n{out}\n{error}"
            what, bad = f"{out.name} was not written", is_damage(error)
            raise FaultError(Fault(what, reason, remedy, detail, bad_input=bad)) from error


def _opened(path: Path, say: Say) -> Connection:
    """Open the recording read-only, or a copy of it if it is live; refuse it if it holds no run."""
    try:
        connection = open_read_only(path)
    except FaultError as error:
        if not is_locked(error.fault):
            raise
        connection = connect_to_live_copy(path)
        say(f"{path.stem} is live: this is what it has done so far")
    if version_of(connection) is None:
        connection.close()
        raise FaultError(
            Fault(
                f"{path.name} holds no run",
                "its recording was never begun",
                "Choose another one",
                str(path),
                bad_input=True,
            )
        )
    return connection
