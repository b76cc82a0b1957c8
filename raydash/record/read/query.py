"""Queries over recordings that nobody is writing."""

import json
import math
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path

from raydash.core.events import Event, EventKind
from raydash.core.faults import Fault, FaultError
from raydash.core.records import WorkerTotals
from raydash.core.spec import PolicySpec
from raydash.core.spec_rules import spec_from_table
from raydash.core.states import EndedBy, Ending, RunState
from raydash.record.file.database import connect, reading
from raydash.record.file.schema import Connection, SchemaError, check_readable, version_of


@dataclass(frozen=True, slots=True)
class RecordedFigures:
    """What a recording says of its whole run; names are RLlib's where it has one.

    Returns and lengths leave out episodes that ended in an error; they are NaN if there are none
    besides.

    Attributes:
        started_utc: ISO 8601.
        state: How the run ended; None if it was never closed (it was interrupted).
        cause: Why it failed, in words; empty if it did not.
        elapsed_s: The time it ran, without that spent paused or without a worker.
        num_env_steps_sampled_lifetime: The sum of the workers' totals.
        num_episodes_lifetime: The number of rows of `episodes`, errors included.
        num_episodes_terminated_lifetime: Episodes with that flag, alone or with the other.
        num_episodes_truncated_lifetime: Episodes with that flag, alone or with the other.
        num_episodes_error_lifetime: Episodes that ended in an exception.
    """

    run_id: str
    env_id: str
    started_utc: str
    state: RunState | None
    ended_by: EndedBy | None
    cause: str
    elapsed_s: float
    num_env_steps_sampled_lifetime: int
    num_episodes_lifetime: int
    num_episodes_terminated_lifetime: int
    num_episodes_truncated_lifetime: int
    num_episodes_error_lifetime: int
    episode_return_mean: float
    episode_return_min: float
    episode_return_max: float
    episode_len_mean: float


def open_read_only(path: Path) -> Connection:
    """Open a DuckDB connection that can't change the recording; the caller closes it.

    Raises:
        FaultError: if the file can't be read.
    """
    with reading(path, SchemaError):
        connection = connect(path, read_only=True)
        try:
            check_readable(connection)
        except BaseException:
            connection.close()
            raise
    return connection


def check_begun(connection: Connection, path: Path) -> None:
    """Close a connection to a recording that holds no run.

    Raises:
        FaultError: if it holds none.
    """
    if version_of(connection) is None:
        connection.close()
        why, remedy = "its recording was never begun", "Choose another one"
        raise FaultError(Fault(f"{path.name} holds no run", why, remedy, str(path), bad_input=True))


def tables_of(connection: Connection) -> frozenset[str]:
    """List the names of a recording's tables; an older schema has fewer."""
    rows = connection.execute("SELECT table_name FROM duckdb_tables()").fetchall()
    return frozenset(name for (name,) in rows)


def has_rows(connection: Connection, source: str) -> bool:
    """Tell whether a table, or what SQL makes of one, has any row."""
    return connection.execute(f"SELECT 1 FROM {source} LIMIT 1").fetchone() is not None


def recorded_until_s(connection: Connection) -> float:
    """Return the run's clock at the end of a recording."""
    (ended_s,) = connection.execute("SELECT max(ended_s) FROM run").fetchone()
    if ended_s is not None:
        return float(ended_s)
    newest = ["SELECT max(t_s) FROM commits", "SELECT max(end_s) FROM episodes"]
    if "scalars" in tables_of(connection):
        newest.append("SELECT max(t_s) FROM scalars")
    rows = connection.execute(" UNION ALL ".join(newest)).fetchall()
    return float(max((value for (value,) in rows if value is not None), default=0.0))


def figures(path: Path) -> RecordedFigures:
    """Read the figures of a whole run.

    Raises:
        FaultError: if the file can't be read or holds no run.
    """
    with closing(open_read_only(path)) as connection, reading(path, TypeError):
        return figures_of(connection)


def figures_of(connection: Connection) -> RecordedFigures:
    """Read the figures of a whole run from an open recording.

    Raises:
        duckdb.Error: if it can't be read.
        TypeError: if it holds no run.
    """
    run_id, env_id, started_utc, state, ended_by, cause, elapsed_s = connection.execute(
        "SELECT run_id, env_id, started_utc, state, ended_by, cause,"
        " coalesce(elapsed_s, (SELECT max(elapsed_s) FROM commits), 0) FROM run"
    ).fetchone()
    (steps,) = connection.execute(
        "SELECT coalesce(sum(steps), 0) FROM (SELECT max(num_env_steps) AS steps"
        " FROM worker_totals GROUP BY worker_index, incarnation)"
    ).fetchone()
    both, error = int(Ending.BOTH), int(Ending.ERROR)
    counts = connection.execute(
        f"SELECT count(*), count(*) FILTER (ending IN ({int(Ending.TERMINATED)}, {both})),"
        f" count(*) FILTER (ending IN ({int(Ending.TRUNCATED)}, {both})),"
        f" count(*) FILTER (ending = {error}) FROM episodes"
    ).fetchone()
    returns = connection.execute(
        # DuckDB would take a return of NaN for the largest.
        "SELECT avg(episode_return), min(episode_return) FILTER (NOT isnan(episode_return)),"
        " max(episode_return) FILTER (NOT isnan(episode_return)), avg(episode_len)"
        f" FROM episodes WHERE ending IS DISTINCT FROM {error}"  # NULL: imported, not known
    ).fetchone()
    mean, low, high, len_mean = (math.nan if value is None else value for value in returns)
    return RecordedFigures(
        run_id=run_id,
        env_id=env_id,
        started_utc=started_utc,
        state=RunState(state) if state else None,
        ended_by=EndedBy(ended_by) if ended_by else None,
        cause=cause or "",
        elapsed_s=elapsed_s,
        num_env_steps_sampled_lifetime=int(steps),
        num_episodes_lifetime=counts[0],
        num_episodes_terminated_lifetime=counts[1],
        num_episodes_truncated_lifetime=counts[2],
        num_episodes_error_lifetime=counts[3],
        episode_return_mean=mean,
        episode_return_min=low,
        episode_return_max=high,
        episode_len_mean=len_mean,
    )


COUNTERS = tuple(WorkerTotals.__slots__)
"""The names of a worker's counters."""
_NEWEST = ", ".join(f"max({name}) AS {name}" for name in COUNTERS)
_SUMS = ", ".join(
    f"sum({name})::{'DOUBLE' if name.endswith('_s') else 'BIGINT'} AS {name}" for name in COUNTERS
)
# Counters only grow within an incarnation, so its largest value is its last.
WORKERS = (
    f"SELECT worker_index, max(incarnation) AS incarnation, {_SUMS}"
    f" FROM (SELECT worker_index, incarnation, {_NEWEST} FROM worker_totals GROUP BY ALL)"
    " GROUP BY worker_index ORDER BY worker_index"
)
"""SQL that gives one row per worker, summed over its incarnations, named as in `WorkerTotals`."""


@dataclass(frozen=True, slots=True)
class RecordedWorker:
    """What is recorded of one worker.

    Attributes:
        worker_index: 1..N.
        incarnation: The newest incarnation that has reported.
        totals: The sum over all its incarnations.
    """

    worker_index: int
    incarnation: int
    totals: WorkerTotals


def workers_of(connection: Connection) -> tuple[RecordedWorker, ...]:
    """Read what is recorded of each worker, in the order of their indices."""
    return tuple(
        RecordedWorker(worker_index, incarnation, WorkerTotals(*sums))
        for worker_index, incarnation, *sums in connection.execute(WORKERS).fetchall()
    )


EVENTS = 'SELECT number, t_s, kind, text, worker_index, detail, "count" FROM events ORDER BY number'
"""SQL that gives all events, oldest first, named as in `Event`."""


def events_of(connection: Connection, newest: int | None = None) -> tuple[Event, ...]:
    """Read all events, or only so many of the newest; oldest first.

    Raises:
        ValueError: if one is of a kind that this raydash does not know.
    """
    rows = connection.execute(f"{EVENTS} DESC LIMIT ?", [newest]).fetchall()
    return tuple(
        Event(number, t_s, EventKind(kind), *rest) for number, t_s, kind, *rest in reversed(rows)
    )


def policy_to_json(policy: PolicySpec | None) -> str | None:
    """Write a policy as JSON; None if none was swapped in."""
    return None if policy is None else json.dumps(asdict(policy))


def policy_from_json(text: str | None) -> PolicySpec | None:
    """Read a policy from JSON; None if none was swapped in.

    Raises:
        ValueError: if the text is damaged.
    """
    return None if text is None else spec_from_table({"policy": json.loads(text)}).policy


def num_restarts(connection: Connection, until_s: float = math.inf) -> int:
    """Count restarts of workers after a death or on demand, as the live run counted them.

    A worker that comes back because of a change of scale, or with a new incarnation of the
    supervisor, was not restarted. So the workers' incarnations do not tell. The recording may have
    any schema; `until_s` is on the run's clock.
    """
    newest = connection.execute(
        "FROM commits WHERE t_s <= ? ORDER BY number DESC LIMIT 1", [until_s]
    )
    names = [column[0] for column in newest.description]
    row = newest.fetchone()
    known = dict(zip(names, row, strict=True)).get("num_restarts") if row is not None else None
    if known is not None:
        return int(known)
    # Schema 1 did not count them.
    (count,) = connection.execute(
        "SELECT count(*) FROM events WHERE kind = ? AND t_s <= ?",
        [EventKind.WORKER_RESTARTED.value, until_s],
    ).fetchone()
    return int(count)
