"""`raydash export`: a recording in another format."""

import sys
from pathlib import Path

from raydash import paths
from raydash.core.library import ExportFormat
from raydash.record.export.export import export
from raydash.record.library.library import open_library
from raydash.terminal.commands.recordings.words import say_aside
from raydash.terminal.commands.run import EXIT_BAD_INPUT, EXIT_DONE


def export_recording(
    wanted: str, format: str, out: Path, *, force: bool = False, all_tables: bool = False
) -> int:
    """Write a recording to `out` and print where it is.

    Args:
        wanted: A run's id, a unique beginning of one, or a file.
        format: A word of `ExportFormat`.
        out: The file or folder to write.
        force: Replace what is there.
        all_tables: Of CSV and Parquet: not only the episodes.

    Raises:
        FaultError: if there is no such recording, or it can't be handed on.
    """
    try:
        chosen = ExportFormat(format)
    except ValueError:
        words = ", ".join(ExportFormat)
        print(f"raydash: --to {format} is unknown; there are {words}", file=sys.stderr)
        return EXIT_BAD_INPUT
    export(find_recording(wanted), chosen, out, force=force, all_tables=all_tables, say=say_aside)
    print(out)
    return EXIT_DONE


def find_recording(wanted: str) -> Path:
    """The file of a run that is named by its id, a unique beginning of one, or the file itself.

    Raises:
        FaultError: if there is none, or more than one.
    """
    return open_library(paths.data_dir()).find(wanted)
