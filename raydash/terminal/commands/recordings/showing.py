"""`raydash show` and `raydash note`: print one recording, and edit its notes."""

import sys
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from raydash import paths
from raydash.core.analysis.run_table import RunFacts, env_steps_per_s
from raydash.core.faults import Fault, FaultError
from raydash.core.library import Notes, RecordedRun, RunSource
from raydash.core.spec_rules import SpecError, spec_from_table
from raydash.core.words import plain
from raydash.protocol.spec_file import toml_from_spec
from raydash.record.file.folder import entry_of
from raydash.record.library.index import line_of
from raydash.record.library.library import open_library
from raydash.record.read.details import RecordedDetails, details
from raydash.terminal.commands.recordings.printing import (
    aligned,
    notes_table,
    print_json,
    print_text,
    printable,
)
from raydash.terminal.commands.run import EXIT_BAD_INPUT, EXIT_DONE
from raydash.terminal.commands.summary import learning_lines, named_lines

_SHOWN_WORKERS = 16


def show_recording(wanted: str, *, as_json: bool = False) -> int:
    """Print everything about one recording but its episodes.

    `wanted` is a run's id, a unique beginning of one, a title, or a file. With `as_json` it prints
    one JSON object, whatever happens, with the keys of `raydash run --json` and more.

    Returns:
        0, or 2 if there is no such recording or it can't be read.
    """
    run: RecordedRun | None = None
    found: RecordedDetails | None = None
    fault: Fault | None = None
    try:
        library = open_library(paths.data_dir())
        path = library.find(wanted)
        run = line_of(entry_of(path))
        if not run.is_live:
            found = details(path)
            if path.parent != library.folder:  # only in the library the file is named by the id
                run = replace(run, run_id=found.figures.run_id)
    except FaultError as error:
        fault = error.fault
    if as_json:
        print_json(table_of(run, found, fault))
    elif run is not None:
        print_text(_text(run, found))
    if fault is not None:
        print(f"raydash: {fault.sentence()}", file=sys.stderr)
        return EXIT_BAD_INPUT
    return EXIT_DONE


def edit_notes(
    wanted: str,
    *,
    title: str | None = None,
    tags: Sequence[str] = (),
    untags: Sequence[str] = (),
    text: str | None = None,
    pinned: bool | None = None,
) -> int:
    """Change the notes of a recording, and print them; None leaves a part as it is.

    Raises:
        FaultError: if there is no such recording in the library, or the notes are refused.
    """
    library = open_library(paths.data_dir())
    path = library.find(wanted)
    run = next((run for run in library.runs() if Path(run.path).absolute() == path), None)
    if run is None:
        raise FaultError(
            Fault(
                f"{printable(path.name)} is not in the library",
                f"notes are kept in {library.folder} only",
                "Copy the recording there",
                bad_input=True,
            )
        )

    def change(before: Notes) -> Notes:
        kept = [tag for tag in before.tags if tag not in set(untags)]
        return replace(
            before,
            title=before.title if title is None else title,
            tags=(*kept, *tags),
            text=before.text if text is None else text,
            pinned=before.pinned if pinned is None else pinned,
        )

    print_text(_notes_text(run, library.change_notes(run.run_id, change)))
    return EXIT_DONE


def table_of(
    run: RecordedRun | None, found: RecordedDetails | None, fault: Fault | None
) -> dict[str, object]:
    """Describe a recording with the keys of `raydash run --json` and more; None if unknown."""
    why = fault.sentence() if fault else run.fault if run else ""
    was_ours = found is not None and run is not None and run.source is RunSource.RAYDASH
    facts = RunFacts(
        run_id=run.run_id if run else None,
        env_id=run.env_id if run else None,
        num_workers=(found.num_workers if found else run.num_workers if run else 0) or None,
        seed=found.seed if found else None,
        spec=found.spec if found and was_ours else None,
        figures=found.figures if found else None,
        scalars=found.scalars if found else None,
        agents=found.agents if found else None,
        learning=found.learning if found else None,
        num_restarts=found.num_restarts if found else None,
        state=run.state if run else None,
        ended_by=run.ended_by if run else None,
        cause=found.figures.cause if found else None,
        recording=run.path if run else None,
        error=why,
        keys=RunFacts.keys_of(fault),
    )
    return {
        **facts.table(),
        "title": run.title if run else None,
        "name": (run.name if run else "") or None,
        "owner": (run.owner if run else "") or None,
        "source": run.source.value if run and found else None,
        "cluster": (found.cluster if found else "") or None,
        "started_utc": (run.started_utc if run else "") or None,
        "ended_utc": (found.ended_utc if found else None) or None,
        "ended_s": found.ended_s if found else None,
        "modified_utc": (run.modified_utc if run else "") or None,
        "size_bytes": run.size_bytes if run else None,
        **(notes_table(run) if run else {"tags": [], "notes": None, "pinned": None}),
        "spec": found.spec if found else None,
        "versions": found.versions if found else None,
        "machine": found.machine if found else None,
        "incarnations": [asdict(incarnation) for incarnation in found.incarnations]
        if found
        else [],
        "workers": _worker_tables(found) if found else [],
        "num_events": found.num_events if found else None,
        "events": [asdict(event) for event in found.events] if found else [],
    }


def _worker_tables(found: RecordedDetails) -> list[dict[str, object]]:
    return [
        {
            "worker_index": worker.worker_index,
            "incarnation": worker.incarnation,
            **asdict(worker.totals),
            "episode_return_mean": found.return_means[worker.worker_index],
        }
        for worker in found.workers
    ]


def _text(run: RecordedRun, found: RecordedDetails | None) -> str:
    by = f" by {run.ended_by.value.replace('_', ' ')}" if run.ended_by else ""
    state = f"{run.state.value}{by}" if run.state else "can't be read"
    lines = [("run", f"{printable(run.run_id)}  {state}"), ("title", printable(run.title))]
    if run.env_id:
        lines.append(("env", printable(run.env_id)))
    if run.owner:
        lines.append(("owner", printable(run.owner)))
    lines.append(("started", plain.dated(run.started_utc)))
    if run.fault:
        lines.append(("note", printable(run.fault)))
    if found:
        lines += _figure_lines(found)
    lines.append(("recording", f"{printable(run.path)}, {plain.size(run.size_bytes)}"))
    text = "\n".join(f"{name:<10} {value}" for name, value in lines)
    parts = [text, _notes_text(run, run.notes, only_if_any=True)]
    if found:
        parts += [
            _spec_text(found),
            _incarnations_text(found),
            _workers_text(found),
            _events_text(found),
        ]
    return "\n\n".join(part for part in parts if part)


def _figure_lines(found: RecordedDetails) -> list[tuple[str, str]]:
    figures = found.figures
    steps = plain.count(figures.num_env_steps_sampled_lifetime)
    rate = env_steps_per_s(figures)
    lines = [
        ("workers", f"{plain.count(found.num_workers)}, seed {found.seed}"),
        (
            "stepped",
            f"{plain.duration(figures.elapsed_s)}, {steps} env steps"
            + (f", {plain.decimal(rate)} env steps/s" if rate is not None else ""),
        ),
        (
            "episodes",
            f"{plain.count(figures.num_episodes_lifetime)}: "
            f"terminated {plain.count(figures.num_episodes_terminated_lifetime)}, "
            f"truncated {plain.count(figures.num_episodes_truncated_lifetime)}, "
            f"error {plain.count(figures.num_episodes_error_lifetime)}",
        ),
        (
            "return",
            f"mean {plain.decimal(figures.episode_return_mean)}, "
            f"min {plain.decimal(figures.episode_return_min)}, "
            f"max {plain.decimal(figures.episode_return_max)}; "
            f"length mean {plain.decimal(figures.episode_len_mean)} (whole run)",
        ),
        ("restarts", plain.count(found.num_restarts)),
    ]
    lines += named_lines(found.scalars, found.agents)
    lines += learning_lines(found.learning)
    if figures.cause:
        lines.append(("cause", printable(figures.cause)))
    if found.ended_utc:
        lines.append(("ended", plain.dated(found.ended_utc)))
    if found.cluster:
        lines.append(("cluster", printable(found.cluster)))
    for name, table in (("versions", found.versions), ("machine", found.machine)):
        if table:
            lines.append(
                (name, printable(", ".join(f"{key} {value}" for key, value in table.items())))
            )
    return lines


def _notes_text(run: RecordedRun, notes: Notes, *, only_if_any: bool = False) -> str:
    if only_if_any and notes == Notes():
        return ""
    lines = [f"notes of {printable(run.run_id)}" + (" (pinned)" if notes.pinned else "")]
    lines.append(f"  title  {printable(notes.title) or '-'}")
    lines.append(f"  tags   {printable(', '.join(notes.tags)) or '-'}")
    lines += [f"  {printable(line)}" for line in notes.text.splitlines()]
    return "\n".join(lines)


def _spec_text(found: RecordedDetails) -> str:
    try:
        toml = toml_from_spec(spec_from_table(found.spec))
    except SpecError:
        return "spec: it holds what this raydash does not know; see --json"
    return "\n".join(["spec", *(f"  {printable(line)}" for line in toml.splitlines() if line)])


def _incarnations_text(found: RecordedDetails) -> str:
    if len(found.incarnations) < 2:
        return ""
    rows = [("SUPERVISOR", "FROM", "UTC", "NODE", "PROCESS")]
    for incarnation in found.incarnations:
        cells = (
            plain.duration(incarnation.started_s),
            printable(incarnation.started_utc),
            printable(incarnation.node),
        )
        rows.append((str(incarnation.incarnation), *cells, str(incarnation.pid)))
    return aligned(rows)


def _workers_text(found: RecordedDetails) -> str:
    if not found.workers:
        return ""
    rows = [
        ("WORKER", "EARLIER LIVES", "ENV STEPS", "EPISODES", "ERRORS", "RETURN", "IN STEP", "BUSY")
    ]
    rows += [
        (
            str(worker.worker_index),
            str(worker.incarnation),
            plain.count(worker.totals.num_env_steps),
            plain.count(worker.totals.num_episodes),
            plain.count(worker.totals.num_error),
            plain.decimal(found.return_means[worker.worker_index]),
            plain.duration(worker.totals.step_time_s),
            plain.duration(worker.totals.busy_time_s),
        )
        for worker in found.workers[:_SHOWN_WORKERS]
    ]
    text = aligned(rows, right=frozenset(range(len(rows[0]))))
    more = len(found.workers) - _SHOWN_WORKERS
    return f"{text}\n... and {more} more: see --json" if more > 0 else text


def _events_text(found: RecordedDetails) -> str:
    if not found.events:
        return ""
    left_out = found.num_events - len(found.events)
    head = f"events (the last {len(found.events)})" if left_out else "events"
    rows = [
        (
            f"  {plain.duration(event.t_s)}",
            f"worker {event.worker_index}" if event.worker_index is not None else "",
            printable(event.text) + (f"  ({event.count} times)" if event.count > 1 else ""),
        )
        for event in found.events
    ]
    return f"{head}\n{aligned(rows, right=frozenset({0}))}"
