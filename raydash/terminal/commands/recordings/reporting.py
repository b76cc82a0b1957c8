"""`raydash report`: one self-contained HTML file about some recordings."""

from collections.abc import Sequence
from pathlib import Path

from raydash import paths
from raydash.record.library.library import open_library
from raydash.record.report.report import write_report
from raydash.terminal.commands.recordings.words import say
from raydash.terminal.commands.run import EXIT_DONE


def report_recordings(wanted: Sequence[str], out: Path, *, force: bool = False) -> int:
    """Write a report and print where it is.

    Args:
        wanted: Of each run its id, a unique beginning of one, its title, or a file.
        out: The HTML file to write.
        force: Replace what is there.

    Raises:
        FaultError: if there is no such recording, or the report can't be written.
    """
    library = open_library(paths.data_dir())
    found = list(dict.fromkeys(library.find(each) for each in wanted))
    titles = {run.path: run.notes.title for run in library.runs()}
    write_report(found, out, force=force, titles=[titles.get(str(path), "") for path in found])
    say(str(out))
    return EXIT_DONE
