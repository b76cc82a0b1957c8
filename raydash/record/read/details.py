"""Reads all that a recording says of its run, except the episodes: for `raydash show`."""

import json
import math
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from raydash.core.events import Event
from raydash.core.faults import Fault, FaultError
from raydash.core.updates import AgentFigures, LearningFigures, ScalarFigures
from raydash.record.file.database import reading_fault
from raydash.record.file.rows import IncarnationRow
from raydash.record.file.schema import Connection
from raydash.record.read.generations import learning_figures
from raydash.record.read.named_values import NamedValueReader
from raydash.record.read.query import (
    RecordedFigures,
    RecordedWorker,
    events_of,
    figures_of,
    num_restarts,
    open_read_only,
    workers_of,
)

NUM_EVENTS = 20


@dataclass(frozen=True, slots=True)
class RecordedDetails:
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
        return_means: By its index, the mean return of each worker without error episodes; NaN if
            it has no other.
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
    workers: tuple[RecordedWorker, ...]
    return_means: Mapping[int, float]
    events: tuple[Event, ...]
    num_events: int
    scalars: ScalarFigures = field(default_factory=ScalarFigures)
    agents: AgentFigures | None = None
    learning: LearningFigures | None = None


def details(path: Path) -> RecordedDetails:
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


def _details(connection: Connection, path: Path) -> RecordedDetails:
    name, owner, cluster, seed, spec, versions, machine, ended_utc, ended_s = connection.execute(
        "SELECT name, owner, cluster, seed, spec_json, versions_json, machine_json,"
        " ended_utc, ended_s FROM run"
    ).fetchone()
    workers = workers_of(connection)
    last = connection.execute(
        "SELECT num_workers FROM commits ORDER BY number DESC LIMIT 1"
    ).fetchone()
    incarnations = connection.execute(
        "SELECT incarnation, started_s, started_utc, node, pid FROM incarnations"
        " ORDER BY incarnation"
    ).fetchall()
    (num_events,) = connection.execute("SELECT count(*) FROM events").fetchone()
    named = NamedValueReader(connection)
    return RecordedDetails(
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
        return_means=_return_means(connection, workers),
        events=events_of(connection, NUM_EVENTS),
        num_events=num_events,
        scalars=named.scalars(),
        agents=named.agents(),
        learning=learning_figures(connection, path),
    )


def _return_means(connection: Connection, workers: tuple[RecordedWorker, ...]) -> dict[int, float]:
    # Error episodes have a return of NaN, which DuckDB would take into the mean.
    rows = connection.execute(
        "SELECT worker_index, coalesce(avg(episode_return), 'nan') FROM episodes"
        " WHERE ending IS DISTINCT FROM 3 GROUP BY worker_index"
    ).fetchall()
    return dict.fromkeys((each.worker_index for each in workers), math.nan) | dict(rows)


def _table(text: str) -> dict[str, Any]:
    """Parse a JSON object; empty if the text holds something else."""
    try:
        table = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}
