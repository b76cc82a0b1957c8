"""`raydash runs`: the library of recordings."""

from collections.abc import Sequence
from dataclasses import asdict

from raydash import paths
from raydash.core.library import DiskUse, RecordedRun
from raydash.record.library.library import open_library
from raydash.record.library.retention import words_for_bytes
from raydash.terminal.commands.progress import grouped
from raydash.terminal.commands.recordings.words import (
    aligned,
    clipped,
    duration,
    has_figures,
    local_time,
    notes_table,
    number,
    plain,
    say,
    say_json,
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

    Args:
        tags: Only those that have all of these.
        search: Only those with this in id, title, name, environment, owner, tags or notes; case
            does not matter.
        limit: At most so many.
        as_json: One JSON object.

    Raises:
        FaultError: if the library can't be read.
    """
    library = open_library(paths.data_dir())
    everything = library.runs()
    runs = [run for run in everything if _is_wanted(run, tags, search)]
    shown = runs[:limit]
    disk = library.disk()
    if as_json:
        say_json(
            {
                "runs": [_table_of(run) for run in shown],
                "num_runs": len(everything),
                "disk": asdict(disk),
                "settings": asdict(library.settings()),
            }
        )
        return EXIT_DONE
    if shown:
        say(_table(shown))
        for run in shown:
            if run.fault and not run.is_live:
                say(f"{plain(run.run_id)}: {plain(run.fault)}")
    elif everything:
        say("no recording is like that")
    else:
        say(f"no recording yet in {plain(disk.folder)}")
    if len(shown) < len(everything):
        say(f"{grouped(len(shown))} of {grouped(len(everything))} recordings")
    say(_disk_words(disk))
    return EXIT_DONE


def _is_wanted(run: RecordedRun, tags: Sequence[str], search: str) -> bool:
    if not set(tags) <= set(run.notes.tags):
        return False
    words = (run.run_id, run.title, run.name, run.env_id, run.owner, *run.notes.tags)
    wanted = search.casefold()
    return any(wanted in word.casefold() for word in (*words, run.notes.text))


def _table_of(run: RecordedRun) -> dict[str, object]:
    """A run under the names that `raydash run --json` has, and some more; null: not known."""
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
                plain(run.run_id),
                clipped(run.title if run.title != run.run_id else "-", _TITLE_WIDTH),
                state_words(run),
                clipped(run.env_id or "-", _TITLE_WIDTH),
                clipped(_ways(run) or "-", _POLICY_WIDTH),
                local_time(run.started_utc),
                duration(run.elapsed_s) if known else "-",
                grouped(run.num_env_steps_sampled_lifetime) if known else "-",
                grouped(run.num_episodes_lifetime) if known else "-",
                number(run.episode_return_mean) if known else "-",
                words_for_bytes(run.size_bytes),
                clipped(", ".join((*["pinned"] * run.notes.pinned, *run.notes.tags)), _TAGS_WIDTH),
            )
        )
    return aligned(rows, right=_RIGHT)


def _ways(run: RecordedRun) -> str:
    """What chose the actions, what improved that, and the mode unless it is the usual one."""
    mode = "" if run.mode == "actors" else run.mode
    return ", ".join(part for part in (run.policy, run.learner, mode) if part)


def _disk_words(disk: DiskUse) -> str:
    words = (
        f"{words_for_bytes(disk.library_bytes)} in {plain(disk.folder)}, "
        f"{words_for_bytes(disk.free_bytes)} free"
    )
    return f"{words}\nwarning: {plain(disk.warning)}" if disk.warning else words
