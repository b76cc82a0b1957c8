"""`raydash import`: makes recordings of other tools' files."""

from collections.abc import Sequence
from pathlib import Path

from raydash import paths
from raydash.record.imports.imports import import_runs
from raydash.terminal.commands.recordings.printing import print_notice
from raydash.terminal.commands.run import EXIT_DONE


def import_files(wanted: Sequence[Path]) -> int:
    """Import files and folders, and print the ids of the new runs, one per line.

    Raises:
        FaultError: if something can't be understood; nothing was imported then.
    """
    for run_id in import_runs(wanted, paths.data_dir(), say=print_notice):
        print(run_id)
    return EXIT_DONE
