"""`raydash runs`: lists the library of recordings."""

from collections.abc import Sequence
from dataclasses import asdict

from raydash import paths
from raydash.core.library import DiskUse, RecordedRun
from raydash.core.words import plain
from raydash.record.library.library import open_library
from raydash.terminal.commands.recordings.printing import (
    aligned,
    clipped,
    has_figures,
    notes_table,
    print_json,
    print_text,
    printable,
    state_words,
)
from raydash.terminal.commands.run import EXIT_DONE

_TITLE_WIDTH = 32
_TAGS_WIDTH = 40
_RIGHT = frozenset({6, 7, 8, 9, 10})
_POLICY_WIDTH = 28


def list_recordings(
    *,
    tags: Sequence[str] = (),
    search: str = "",
    limit: int | None = None,
    as_json: bool = False,
) -> int:
    """Print the library, newest first.

    Only those are listed that have all of `tags`, and that have `search` (in any case) in their id,
    title, name, environment, owner, tags or notes; of these at most `limit`.

    Raises:
        FaultError: if the library can't be read.
    """
    library = open_library(paths.data_dir())
    everything = library.runs()
    runs = [run for run in everything if _is_wanted(run, tags, search)]
    shown = runs[:limit]
    disk = library.disk()
    if as_json:
        print_json(
            {
                "runs": [_table_of(run) for run in shown],
                "num_runs": len(everything),
                "disk": asdict(disk),
                "settings": asdict(library.settings()),
            }
        )
        return EXIT_DONE
    if shown:
        print_text(_table(shown))
        for run in shown:
            if run.fault and not run.is_live:
                print_text(f"{printable(run.run_id)}: {printable(run.fault)}")
    elif everything:
        print_text("no recording is like that")
    else:
        print_text(f"no recording yet in {printable(disk.folder)}")
    if len(shown) < len(everything):
        print_text(f"{plain.count(len(shown))} of {plain.count(len(everything))} recordings")
    print_text(_disk_words(disk))
    return EXIT_DONE


def _is_wanted(run: RecordedRun, tags: Sequence[str], search: str) -> bool:
    if not set(tags) <= set(run.notes.tags):
        return False
    words = (run.run_id, run.title, run.name, run.env_id, run.owner, *run.notes.tags)
    wanted = search.casefold()
    return any(wanted in word.casefold() for word in (*words, run.notes.text))


def _table_of(run: RecordedRun) -> dict[str, object]:
    """Describe a run with the keys of `raydash run --json` and some more; None if unknown."""
    known = has_figures(run)
    return {
        "run_id": run.run_id,
        "title": run.title,
        "name": run.name or None,
        "env_id": run.env_id or None,
        "owner": run.owner or None,
        "source": run.source.value if known else None,
        "state": run.state.value if run.state else None,
        "ended_by": run.ended_by.value if run.ended_by else None,
        "started_utc": run.started_utc or None,
        "modified_utc": run.modified_utc or None,
        "elapsed_s": run.elapsed_s if known else None,
        "num_workers": run.num_workers or None,
        "mode": run.mode or None,
        "policy": run.policy or None,
        "learner": run.learner or None,
        "num_env_steps_sampled_lifetime": run.num_env_steps_sampled_lifetime if known else None,
        "num_episodes_lifetime": run.num_episodes_lifetime if known else None,
        "episode_return_mean": run.episode_return_mean if known else None,
        "size_bytes": run.size_bytes,
        "recording": run.path,
        **notes_table(run),
        "error": run.fault or None,
    }


def _table(runs: Sequence[RecordedRun]) -> str:
    head = ("RUN", "TITLE", "STATE", "ENV", "POLICY", "STARTED", "STEPPED")
    rows = [(*head, "ENV STEPS", "EPISODES", "RETURN", "SIZE", "TAGS")]
    for run in runs:
        known = has_figures(run)
        rows.append(
            (
                printable(run.run_id),
                clipped(run.title if run.title != run.run_id else "-", _TITLE_WIDTH),
                state_words(run),
                clipped(run.env_id or "-", _TITLE_WIDTH),
                clipped(_policy_words(run) or "-", _POLICY_WIDTH),
                plain.dated(run.started_utc),
                plain.duration(run.elapsed_s) if known else "-",
                plain.count(run.num_env_steps_sampled_lifetime) if known else "-",
                plain.count(run.num_episodes_lifetime) if known else "-",
                plain.decimal(run.episode_return_mean) if known else "-",
                plain.size(run.size_bytes),
                clipped(", ".join((*["pinned"] * run.notes.pinned, *run.notes.tags)), _TAGS_WIDTH),
            )
        )
    return aligned(rows, right=_RIGHT)


def _policy_words(run: RecordedRun) -> str:
    """Name the policy, the learner and the mode, but for the usual mode."""
    mode = "" if run.mode == "actors" else run.mode
    return ", ".join(part for part in (run.policy, run.learner, mode) if part)


def _disk_words(disk: DiskUse) -> str:
    words = (
        f"{plain.size(disk.library_bytes)} in {printable(disk.folder)}, "
        f"{plain.size(disk.free_bytes)} free"
    )
    return f"{words}\nwarning: {printable(disk.warning)}" if disk.warning else words
