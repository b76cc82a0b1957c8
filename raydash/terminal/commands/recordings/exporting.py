"""`raydash export`: writes a recording in another format."""

import sys
from pathlib import Path

from raydash import paths
from raydash.core.library import ExportFormat
from raydash.record.export.export import export
from raydash.record.library.library import open_library
from raydash.terminal.commands.recordings.printing import print_notice
from raydash.terminal.commands.run import EXIT_BAD_INPUT, EXIT_DONE


def export_recording(
    wanted: str, format: str, out: Path, *, force: bool = False, all_tables: bool = False
) -> int:
    """Write a recording to the file or folder `out`, and print that path.

    `wanted` is a run's id, a unique beginning of one, or a file; `format` is a value of
    `ExportFormat`. With `force`, what is there is replaced. With `all_tables`, CSV and Parquet get
    all tables and not only the episodes.

    Raises:
        FaultError: if there is no such recording, or it can't be exported.
    """
    try:
        chosen = ExportFormat(format)
    except ValueError:
        words = ", ".join(ExportFormat)
        print(f"raydash: --to {format} is unknown; there are {words}", file=sys.stderr)
        return EXIT_BAD_INPUT
    export(
        find_recording(wanted), chosen, out, force=force, all_tables=all_tables, say=print_notice
    )
    print(out)
    return EXIT_DONE


def find_recording(wanted: str) -> Path:
    """The file of a run that is named by its id, a unique beginning of one, or the file itself.

    Raises:
        FaultError: if there is none, or more than one.
    """
    return open_library(paths.data_dir()).find(wanted)
