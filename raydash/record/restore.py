"""What a restarted supervisor needs from the recording to go on with its run.

Everything here runs before the `Recorder` opens the file: DuckDB lets one connection write.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np

from raydash.core.events import Event, EventKind
from raydash.core.faults import Fault, FaultError
from raydash.core.records import EpisodeColumns, Float64, Int32, Int64, WorkerTotals
from raydash.core.spec import RunSpec, SpecError, spec_from_table
from raydash.core.states import Ending
from raydash.record.database import connect, is_damage, reading_fault, wal_of
from raydash.record.schema import Connection, NewerSchemaError, bring_up_to_date, check_readable

RECENT_EPISODES = 100
BATCH_ROWS = 100_000
_EPISODES = ", ".join(EpisodeColumns.__slots__)
_TOTALS = tuple(WorkerTotals.__slots__)


@dataclass(frozen=True, slots=True)
class RestoredWorker:
    """What is recorded of one worker.

    Attributes:
        worker_index: 1..N.
        incarnation: Of its newest life that was heard of.
        totals: Of all its lives together.
        recent_returns: Of its last 100 episodes without error, oldest first.
    """

    worker_index: int
    incarnation: int
    totals: WorkerTotals
    recent_returns: Float64


@dataclass(frozen=True, slots=True)
class Restored:
    """A run as far as it was committed.

    Attributes:
        run_id: Unique.
        spec: What was asked for.
        is_closed: It had ended: its last state is written.
        num_incarnations: Lives of the supervisor so far.
        last_t_s: The run's clock at the last commit.
        elapsed_s: Without the time paused or without a worker.
        num_workers: That the run was meant to have; 0 if nothing was committed yet.
        paused: The whole run.
        keep: Somebody chose to keep it.
        workers: By index.
        ending_counts: Episodes by `Ending` number.
        return_n: Episodes without error, behind the next four.
        return_sum: Of their returns.
        return_min: Smallest; NaN if none.
        return_max: Largest; NaN if none.
        len_sum: Of their steps.
        recent: The last 100 episodes without error by finish time, all workers, oldest first.
        events: All of them.
        next_event_number: For the next one.
    """

    run_id: str
    spec: RunSpec
    is_closed: bool
    num_incarnations: int
    last_t_s: float
    elapsed_s: float
    num_workers: int
    paused: bool
    keep: bool
    workers: tuple[RestoredWorker, ...]
    ending_counts: Int64
    return_n: int
    return_sum: float
    return_min: float
    return_max: float
    len_sum: int
    recent: EpisodeColumns
    events: tuple[Event, ...]
    next_event_number: int


@dataclass(frozen=True, slots=True)
class StepsColumns:
    """Cumulative steps of workers' lives over time, oldest first.

    Attributes:
        t_s: When.
        worker_index: 1..N.
        incarnation: Which life.
        num_env_steps: Of that life so far.
    """

    t_s: Float64
    worker_index: Int32
    incarnation: Int32
    num_env_steps: Int64

    def __len__(self) -> int:
        return len(self.t_s)


def restore(path: Path) -> Restored | None:
    """Read back what a run's earlier lives committed.

    Returns:
        None if there is no such file, or nothing was committed to it.

    Raises:
        FaultError: if it can't be read. A damaged file has then been renamed, not deleted, so
            that the run can begin another.
    """
    if not path.exists():
        return None
    try:
        connection = connect(path)
        try:
            bring_up_to_date(connection)
            return _read(connection)
        finally:
            connection.close()
    except (duckdb.Error, NewerSchemaError) as error:
        if is_damage(error):
            raise FaultError(_set_aside(path, error)) from error
        raise FaultError(reading_fault(path, error)) from error
    except SpecError as error:
        raise FaultError(
            Fault(f"The spec in {path.name} is not understood", str(error), detail=str(path))
        ) from error


def episodes_in_time_order(path: Path, batch_rows: int = BATCH_ROWS) -> Iterator[EpisodeColumns]:
    """All recorded episodes, in the order in which the supervisor heard of them.

    Args:
        path: A recording that nobody writes.
        batch_rows: Episodes per batch at most; each batch is sorted by its end times.

    Raises:
        FaultError: if the file can't be read.
    """
    for columns in _in_batches(path, "episodes", _EPISODES, batch_rows):
        order = np.argsort(columns["end_s"], kind="stable")
        yield EpisodeColumns(*(columns[name][order] for name in EpisodeColumns.__slots__))


def worker_steps_over_time(path: Path, batch_rows: int = BATCH_ROWS) -> Iterator[StepsColumns]:
    """Cumulative steps of every life of every worker, oldest first.

    Raises:
        FaultError: if the file can't be read.
    """
    names = StepsColumns.__slots__
    for columns in _in_batches(path, "worker_totals", ", ".join(names), batch_rows):
        yield StepsColumns(*(columns[name] for name in names))


def _in_batches(
    path: Path, table: str, names: str, batch_rows: int
) -> Iterator[dict[str, np.ndarray]]:
    try:
        connection = connect(path, read_only=True)
        try:
            check_readable(connection)
            (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
            for first in range(0, count, batch_rows):
                # Rows are only ever appended, so row ids have no gaps.
                yield connection.execute(
                    f"SELECT {names} FROM {table} WHERE rowid >= ? AND rowid < ?",
                    [first, first + batch_rows],
                ).fetchnumpy()
        finally:
            connection.close()
    except (duckdb.Error, NewerSchemaError) as error:
        raise FaultError(reading_fault(path, error)) from error


def _read(connection: Connection) -> Restored | None:
    run = connection.execute("SELECT run_id, spec_json, state FROM run").fetchone()
    if run is None:
        return None
    clocks = connection.execute(
        "SELECT t_s, elapsed_s, num_workers, paused, keep FROM commits ORDER BY number DESC LIMIT 1"
    ).fetchone() or (0.0, 0.0, 0, False, False)
    (lives,) = connection.execute("SELECT count(*) FROM incarnations").fetchone()
    good = f"FROM episodes WHERE ending <> {int(Ending.ERROR)}"
    return_n, return_sum, low, high, len_sum = connection.execute(
        "SELECT count(*), coalesce(sum(episode_return), 0),"
        " min(episode_return) FILTER (NOT isnan(episode_return)),"
        " max(episode_return) FILTER (NOT isnan(episode_return)),"
        f" coalesce(sum(episode_len), 0) {good}"
    ).fetchone()
    ending_counts = np.zeros(len(Ending), np.int64)
    for ending, count in connection.execute(
        "SELECT ending, count(*) FROM episodes GROUP BY ending"
    ).fetchall():
        ending_counts[ending] = count
    recent = connection.execute(
        f"SELECT {_EPISODES} {good} ORDER BY end_s DESC, rowid DESC LIMIT {RECENT_EPISODES}"
    ).fetchnumpy()
    events = _events(connection)
    return Restored(
        run_id=run[0],
        spec=spec_from_table(json.loads(run[1])),
        is_closed=run[2] is not None,
        num_incarnations=lives,
        last_t_s=clocks[0],
        elapsed_s=clocks[1],
        num_workers=clocks[2],
        paused=clocks[3],
        keep=clocks[4],
        workers=_workers(connection, good),
        ending_counts=ending_counts,
        return_n=return_n,
        return_sum=float(return_sum),
        return_min=np.nan if low is None else low,
        return_max=np.nan if high is None else high,
        len_sum=int(len_sum),
        recent=EpisodeColumns(*(recent[name][::-1] for name in EpisodeColumns.__slots__)),
        events=events,
        next_event_number=1 + (events[-1].number if events else 0),
    )


def _workers(connection: Connection, good: str) -> tuple[RestoredWorker, ...]:
    recent: dict[int, list[float]] = dict(
        connection.execute(
            f"SELECT worker_index, max_by(episode_return, end_s, {RECENT_EPISODES}) {good}"
            " GROUP BY worker_index"
        ).fetchall()
    )
    # Counters only grow within a life, so its last row is its largest.
    newest = ", ".join(f"max({name}) AS {name}" for name in _TOTALS)
    summed = ", ".join(f"sum({name})" for name in _TOTALS)
    rows = connection.execute(
        f"SELECT worker_index, max(incarnation), {summed} FROM"
        f" (SELECT worker_index, incarnation, {newest} FROM worker_totals GROUP BY ALL)"
        " GROUP BY worker_index ORDER BY worker_index"
    ).fetchall()
    return tuple(
        RestoredWorker(
            worker_index=index,
            incarnation=life,
            totals=WorkerTotals(*sums),
            recent_returns=np.array(recent.get(index, [])[::-1], np.float64),
        )
        for index, life, *sums in rows
    )


def _events(connection: Connection) -> tuple[Event, ...]:
    rows = connection.execute(
        'SELECT number, t_s, kind, text, worker_index, detail, "count" FROM events ORDER BY number'
    ).fetchall()
    return tuple(
        Event(number, t_s, EventKind(kind), text, worker_index, detail, count)
        for number, t_s, kind, text, worker_index, detail, count in rows
    )


def _set_aside(path: Path, error: Exception) -> Fault:
    """Rename a damaged file and its WAL; the name says what they are."""
    count = 1
    while (aside := path.with_name(f"{path.name}.damaged-{count}")).exists():
        count += 1
    try:
        path.rename(aside)
        if wal_of(path).exists():
            wal_of(path).rename(wal_of(aside))
    except OSError:
        return reading_fault(path, error)
    return Fault(
        what=f"The recording {path.name} is damaged",
        why="It can't be read back after a crash of the disk or of another program",
        remedy=f"It was kept as {aside.name}; the run begins a new recording",
        detail=f"{path}\n{error}",
    )
