"""`raydash report`: writes one self-contained HTML file about some recordings."""

from collections.abc import Sequence
from pathlib import Path

from raydash import paths
from raydash.record.library.library import open_library
from raydash.record.report.report import write_report
from raydash.terminal.commands.recordings.printing import print_text
from raydash.terminal.commands.run import EXIT_DONE


def report_recordings(wanted: Sequence[str], out: Path, *, force: bool = False) -> int:
    """Write a report to the HTML file `out`, and print that path.

    `wanted` has an id, a unique beginning of one, a title, or a file for each run. With `force`,
    what is there is replaced.

    Raises:
        FaultError: if there is no such recording, or the report can't be written.
    """
    library = open_library(paths.data_dir())
    found = list(dict.fromkeys(library.find(each) for each in wanted))
    titles = {run.path: run.notes.title for run in library.runs()}
    write_report(found, out, force=force, titles=[titles.get(str(path), "") for path in found])
    print_text(str(out))
    return EXIT_DONE
