"""`raydash delete` and `raydash prune`: delete recordings that are no longer wanted."""

import sys
from collections.abc import Sequence
from pathlib import Path

from raydash import paths
from raydash.core.faults import Fault, FaultError
from raydash.core.library import LibrarySettings, RecordedRun
from raydash.core.words import plain
from raydash.record.library.library import LibraryFolder, open_library
from raydash.terminal.commands.recordings.printing import (
    aligned,
    clipped,
    parse_bytes,
    print_text,
    printable,
    state_words,
)
from raydash.terminal.commands.run import EXIT_BAD_INPUT, EXIT_CLUSTER_FAILED, EXIT_DONE

_TITLE_WIDTH = 40


def delete_recordings(
    wanted: Sequence[str], *, yes: bool = False, even_pinned: bool = False
) -> int:
    """Delete recordings with their notes and logs, after a question unless `yes` is set.

    `wanted` are ids, unique beginnings of ids, titles, or files of the library.

    Raises:
        FaultError: if one of them is not in the library (nothing is deleted then), or some were
            refused (the others are gone then).
    """
    library = open_library(paths.data_dir())
    runs = _find_runs(library, wanted)
    print_text(_table([(run, "") for run in runs]))
    if not _is_confirmed(runs, yes):
        return EXIT_BAD_INPUT
    library.delete([run.run_id for run in runs], even_pinned=even_pinned)
    print_text(_done_words(runs))
    return EXIT_DONE


def prune(
    *,
    older_than: float | None = None,
    max_size: str | None = None,
    yes: bool = False,
    dry_run: bool = False,
) -> int:
    """Delete recordings by age or size, after a question unless `yes` is set.

    A live or pinned run, the newest run and what can't be read are never deleted. `older_than` is
    in days since a run's end; `max_size` is that of the library afterwards (`10GB`). Without
    either, the library's own rules apply. A dry run only prints what would be deleted.

    Raises:
        FaultError: if a rule makes no sense, or none is given and the library has none.
    """
    library = open_library(paths.data_dir())
    rules = _rules(library, older_than, max_size)
    found = library.doomed(rules)
    if not found:
        print_text("nothing to delete")
        return EXIT_DONE
    runs = [each.run for each in found]
    print_text(_table([(each.run, each.reason) for each in found]))
    if dry_run:
        print_text(f"{_amount(runs)} would be deleted")
        return EXIT_DONE
    if not _is_confirmed(runs, yes):
        return EXIT_BAD_INPUT
    deleted = set(library.apply_retention(rules))
    print_text(_done_words([run for run in runs if run.run_id in deleted]))
    left = [run.run_id for run in runs if run.run_id not in deleted]
    if left:
        where = paths.state_dir() / "library.log"
        print(f"raydash: not deleted: {', '.join(left)}; {where} says why", file=sys.stderr)
        return EXIT_CLUSTER_FAILED
    return EXIT_DONE


def _rules(
    library: LibraryFolder, older_than: float | None, max_size: str | None
) -> LibrarySettings:
    if older_than is None and max_size is None:
        settings = library.settings()
        if settings.keep_days is None and settings.keep_bytes is None:
            raise FaultError(
                Fault(
                    "No rule says what to delete",
                    remedy="Give --older-than DAYS or --max-size SIZE",
                    bad_input=True,
                )
            )
        return settings
    keep_bytes = parse_bytes(max_size) if max_size is not None else None
    if max_size is not None and keep_bytes is None:
        raise FaultError(
            Fault(f"--max-size {printable(max_size)} is no size", remedy="Say 10GB", bad_input=True)
        )
    if older_than is not None and not 0 < older_than < 1e9:
        raise FaultError(
            Fault(f"--older-than {older_than:g} is no number of days above 0", bad_input=True)
        )
    return LibrarySettings(keep_days=older_than, keep_bytes=keep_bytes)


def _find_runs(library: LibraryFolder, wanted: Sequence[str]) -> list[RecordedRun]:
    by_path = {Path(run.path).absolute(): run for run in library.runs()}
    found: dict[str, RecordedRun] = {}
    for each in wanted:
        path = library.find(each)
        run = by_path.get(path)
        if run is None:
            raise FaultError(
                Fault(
                    f"{printable(path.name)} is not in the library, and nothing was deleted",
                    f"raydash deletes in {library.folder} only",
                    "Delete it like any other file",
                    bad_input=True,
                )
            )
        found[run.run_id] = run
    return list(found.values())


def _is_confirmed(runs: Sequence[RecordedRun], yes: bool) -> bool:
    """Ask whether to delete, unless `yes` is set; return whether the user agrees."""
    if yes:
        return True
    if not sys.stdin.isatty():
        print("raydash: nothing was deleted: say --yes to delete unasked", file=sys.stderr)
        return False
    print(f"Delete {_amount(runs)} for good? [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().casefold() in ("y", "yes"):
        return True
    print("raydash: nothing was deleted", file=sys.stderr)
    return False


def _table(rows: Sequence[tuple[RecordedRun, str]]) -> str:
    return aligned(
        [
            (
                printable(run.run_id),
                clipped(run.title, _TITLE_WIDTH),
                state_words(run),
                plain.dated(run.started_utc),
                plain.size(run.size_bytes),
                reason,
            )
            for run, reason in rows
        ],
        right=frozenset({4}),
    )


def _amount(runs: Sequence[RecordedRun]) -> str:
    size = plain.size(sum(run.size_bytes for run in runs))
    return f"{plain.plural(len(runs), 'recording')} ({size})"


def _done_words(runs: Sequence[RecordedRun]) -> str:
    return f"deleted {_amount(runs)}"
