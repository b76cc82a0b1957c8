"""Reads all that a recording says of its run, except the episodes: for `raydash show`."""

import json
import math
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from raydash.core.events import Event, EventKind
from raydash.core.faults import Fault, FaultError
from raydash.core.records import WorkerTotals
from raydash.core.updates import AgentFigures, LearningFigures, ScalarFigures
from raydash.record.file.database import reading_fault
from raydash.record.file.rows import IncarnationRow
from raydash.record.file.schema import Connection
from raydash.record.read.generations import learning_figures
from raydash.record.read.named_values import NamedValueReader
from raydash.record.read.query import RecordedFigures, figures_of, num_restarts, open_read_only

NUM_EVENTS = 20
_TOTALS = tuple(WorkerTotals.__slots__)


@dataclass(frozen=True, slots=True)
class WorkerRow:
    """What is recorded of one worker.

    Attributes:
        worker_index: 1..N.
        incarnation: The newest incarnation.
        totals: The sum over all its incarnations.
        episode_return_mean: The mean without error episodes; NaN if there are none.
    """

    worker_index: int
    incarnation: int
    totals: WorkerTotals
    episode_return_mean: float


@dataclass(frozen=True, slots=True)
class RunDetails:
    """A recording without its episodes.

    Attributes:
        owner: `user@host`.
        cluster: The cluster's address; empty if raydash launched it.
        num_workers: How many workers the run was meant to have at its end.
        num_restarts: How often a worker was restarted after a death or on demand.
        spec: The spec as it was recorded; empty if that is not a JSON object.
        versions: Package name to version.
        machine: Host, cores, memory, system.
        ended_utc: ISO 8601; None if the run was never closed.
        ended_s: The same instant on the run's clock; None if the run was never closed.
        incarnations: The incarnations of the supervisor.
        workers: In the order of their indices.
        events: The newest 20, oldest first.
        num_events: The number of all events.
        scalars: Scalars from the episodes' info.
        agents: None if the environment has a single agent.
        learning: None if nothing learnt.
    """

    figures: RecordedFigures
    name: str
    owner: str
    cluster: str
    seed: int
    num_workers: int
    num_restarts: int
    spec: dict[str, Any]
    versions: dict[str, Any]
    machine: dict[str, Any]
    ended_utc: str | None
    ended_s: float | None
    incarnations: tuple[IncarnationRow, ...]
    workers: tuple[WorkerRow, ...]
    events: tuple[Event, ...]
    num_events: int
    scalars: ScalarFigures = field(default_factory=ScalarFigures)
    agents: AgentFigures | None = None
    learning: LearningFigures | None = None


def details(path: Path) -> RunDetails:
    """Read a recording's details.

    Raises:
        FaultError: if it can't be read or holds no run.
    """
    with closing(open_read_only(path)) as connection:
        try:
            return _details(connection, path)
        except (duckdb.Error, TypeError, ValueError) as error:
            raise FaultError(_fault(path, error)) from error


def _fault(path: Path, error: Exception) -> Fault:
    if isinstance(error, duckdb.Error):
        return reading_fault(path, error)
    return Fault(
        f"The recording {path.name} can't be read",
        "it holds something that raydash does not write",
        detail=f"{path}\n{error}",
    )


def _details(connection: Connection, path: Path) -> RunDetails:
    name, owner, cluster, seed, spec, versions, machine, ended_utc, ended_s = connection.execute(
        "SELECT name, owner, cluster, seed, spec_json, versions_json, machine_json,"
        " ended_utc, ended_s FROM run"
    ).fetchone()
    workers = _workers(connection)
    last = connection.execute(
        "SELECT num_workers FROM commits ORDER BY number DESC LIMIT 1"
    ).fetchone()
    incarnations = connection.execute(
        "SELECT incarnation, started_s, started_utc, node, pid FROM incarnations"
        " ORDER BY incarnation"
    ).fetchall()
    events = connection.execute(
        'SELECT number, t_s, kind, text, worker_index, detail, "count" FROM events'
        f" ORDER BY number DESC LIMIT {NUM_EVENTS}"
    ).fetchall()
    (num_events,) = connection.execute("SELECT count(*) FROM events").fetchone()
    named = NamedValueReader(connection)
    return RunDetails(
        figures=figures_of(connection),
        name=name,
        owner=owner,
        cluster=cluster,
        seed=seed,
        num_workers=(last[0] if last else 0) or len(workers),
        num_restarts=num_restarts(connection),
        spec=_table(spec),
        versions=_table(versions),
        machine=_table(machine),
        ended_utc=ended_utc,
        ended_s=ended_s,
        incarnations=tuple(IncarnationRow(*incarnation) for incarnation in incarnations),
        workers=workers,
        events=tuple(
            Event(number, t_s, EventKind(kind), text, index, detail, count)
            for number, t_s, kind, text, index, detail, count in reversed(events)
        ),
        num_events=num_events,
        scalars=named.scalars(),
        agents=named.agents(),
        learning=learning_figures(connection, path),
    )


def _workers(connection: Connection) -> tuple[WorkerRow, ...]:
    # Counters only grow within an incarnation, so its last row is its largest.
    newest = ", ".join(f"max({name}) AS {name}" for name in _TOTALS)
    summed = ", ".join(f"sum({name})" for name in _TOTALS)
    rows = connection.execute(
        f"SELECT worker_index, max(incarnation), {summed} FROM"
        f" (SELECT worker_index, incarnation, {newest} FROM worker_totals GROUP BY ALL)"
        " GROUP BY worker_index ORDER BY worker_index"
    ).fetchall()
    # Error episodes have a return of NaN, which DuckDB would take into the mean.
    means = dict(
        connection.execute(
            "SELECT worker_index, avg(episode_return) FROM episodes"
            " WHERE ending IS DISTINCT FROM 3 GROUP BY worker_index"
        ).fetchall()
    )
    return tuple(
        WorkerRow(
            worker_index=index,
            incarnation=incarnation,
            totals=WorkerTotals(*sums),
            episode_return_mean=math.nan if means.get(index) is None else means[index],
        )
        for index, incarnation, *sums in rows
    )


def _table(text: str) -> dict[str, Any]:
    """Parse a JSON object; empty if the text holds something else."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}
