"""Reads what a restarted supervisor needs from the recording to continue its run.

Everything here runs before the `Recorder` opens the file: DuckDB lets one connection write.
"""

import json
import math
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import numpy as np

from raydash.core.analysis.run_figures import ReturnSums
from raydash.core.events import Event
from raydash.core.faults import Fault, FaultError
from raydash.core.history.history import CAPACITY, HistoryRows
from raydash.core.machine.generation_plan import PastLearning
from raydash.core.machine.requested_state import RequestedState
from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.records import EpisodeColumns, Float64, Int32, Int64
from raydash.core.spec import RunSpec
from raydash.core.spec_rules import SpecError, spec_from_table
from raydash.core.states import EndedBy, Ending
from raydash.core.updates import RECENT_EPISODES, Generations
from raydash.record.file.database import connect, is_damage, reading, reading_fault, wal_of
from raydash.record.file.schema import Connection, SchemaError, bring_up_to_date
from raydash.record.read.episode_sums import EpisodeSums
from raydash.record.read.generations import past_learning
from raydash.record.read.named_values import (
    AGENTS,
    INFO,
    NamedSums,
    NamedValues,
    agent_steps,
    recorded_bucket_sums,
    sources_of,
)
from raydash.record.read.query import (
    RecordedWorker,
    events_of,
    num_restarts,
    open_read_only,
    policy_from_json,
    workers_of,
)
from raydash.record.read.worker_curves import FIRST_SPAN_S

BATCH_ROWS = 100_000
NEWEST_ROWS = 200_000
"""How many of the newest episodes are searched first for the newest of each worker."""
_EPISODES = ", ".join(EpisodeColumns.__slots__)
_NONE: tuple[tuple[()], ...] = ((), (), (), ())


@dataclass(frozen=True, slots=True)
class RecordedPast:
    """What earlier incarnations of a run's supervisor committed; the defaults are a new run's.

    Attributes:
        spec: What the run was started with.
        is_closed: Whether the run had ended, so that its last state is written.
        num_incarnations: How many incarnations the supervisor has had.
        last_t_s: The run's clock at the last commit.
        elapsed_s: The time the run has run, without that spent paused or without a worker.
        commanded: What users have asked of the run, as it stands.
        num_restarts: How often a worker was restarted after a death or on demand.
        workers: In the order of their indices.
        recent_returns: The returns of each worker's last 100 episodes without error, oldest first,
            by its index.
        sums: Sums over all episodes without error.
        recent: The last 100 episodes without error by finish time, all workers, oldest first.
        events: All events, oldest first.
        history: The whole run in buckets, as far as they were recorded; None if they were not, or
            make no sense.
        scalars: Scalars from the episodes' info, in the order in which they were recorded.
        agent_returns: The returns of each agent, in the same order.
        agent_steps: How many actions each agent has taken.
        learning: Where the plan of a run that learns goes on.
        generations: The learner's generations; if there are very many, the newest and some of the
            older ones.
    """

    spec: RunSpec = field(default_factory=RunSpec)
    is_closed: bool = False
    num_incarnations: int = 0
    last_t_s: float = 0.0
    elapsed_s: float = 0.0
    commanded: RequestedState = field(default_factory=RequestedState)
    num_restarts: int = 0
    workers: tuple[RecordedWorker, ...] = ()
    recent_returns: Mapping[int, Float64] = field(default_factory=dict)
    sums: ReturnSums = field(default_factory=ReturnSums)
    recent: EpisodeColumns = field(default_factory=EpisodeColumns)
    events: tuple[Event, ...] = ()
    history: HistoryRows | None = None
    scalars: tuple[NamedSums, ...] = ()
    agent_returns: tuple[NamedSums, ...] = ()
    agent_steps: Mapping[str, int] = field(default_factory=dict)
    learning: PastLearning = field(default_factory=PastLearning)
    generations: Generations = field(default_factory=Generations)


@dataclass(frozen=True, slots=True)
class StepsColumns:
    """How far each worker stepped from one commit that names it to the next, oldest first.

    Attributes:
        t_s: The time of the later commit.
        since_s: The time of the earlier commit; half a second before the later one if that is an
            incarnation's first.
        worker_index: 1..N.
        num_env_steps: The steps between the two.
    """

    t_s: Float64
    since_s: Float64
    worker_index: Int32
    num_env_steps: Int64

    def __len__(self) -> int:
        return len(self.t_s)


def restore(path: Path) -> RecordedPast | None:
    """Read back what a run's earlier incarnations committed.

    Returns:
        The run, or None if there is no such file or nothing was committed to it.

    Raises:
        FaultError: if it can't be read. A damaged file has then been renamed, not deleted, so
            that the run can begin another one.
    """
    if not path.exists():
        return None
    try:
        connection = connect(path)
        try:
            bring_up_to_date(connection)
            return _read(connection, path)
        finally:
            connection.close()
    except (duckdb.Error, SchemaError) as error:
        if is_damage(error):
            raise FaultError(_set_aside(path, error)) from error
        raise FaultError(reading_fault(path, error)) from error
    except SpecError as error:
        raise FaultError(
            Fault(f"The spec in {path.name} is not understood", str(error), detail=str(path))
        ) from error


def episodes_in_time_order(
    path: Path, *, from_s: float = -math.inf, batch_rows: int = BATCH_ROWS
) -> Iterator[EpisodeColumns]:
    """Yield batches of recorded episodes, in the order in which their chunks arrived.

    Args:
        path: A recording that nobody is writing.
        from_s: Only episodes that ended then or later.
        batch_rows: Rows read per batch; each batch is sorted by end time.

    Raises:
        FaultError: if the file can't be read.
    """
    with _reading(path) as connection:
        # Rows are only ever appended, so row ids have no gaps.
        first, end = connection.execute(
            "SELECT coalesce(min(rowid) FILTER (end_s >= $from_s), count(*)), count(*)"
            " FROM episodes",
            {"from_s": from_s},
        ).fetchone()
        for row in range(first, end, batch_rows):
            columns = connection.execute(
                f"SELECT {_EPISODES} FROM episodes"
                " WHERE rowid >= $row AND rowid < $row + $count AND end_s >= $from_s",
                {"row": row, "count": batch_rows, "from_s": from_s},
            ).fetchnumpy()
            yield _in_time_order(columns)


def late_episodes(path: Path, *, until_s: float, num_known: int) -> EpisodeColumns:
    """Read episodes that ended before `until_s`, but whose chunks arrived late.

    Args:
        path: A recording that nobody is writing.
        until_s: Only episodes that ended before this time.
        num_known: How many of them to leave out: those that arrived first.

    Raises:
        FaultError: if the file can't be read.
    """
    with _reading(path) as connection:
        (count,) = connection.execute(
            "SELECT count(*) FROM episodes WHERE end_s < ?", [until_s]
        ).fetchone()
        columns = connection.execute(
            f"SELECT {_EPISODES} FROM episodes WHERE end_s < ? ORDER BY rowid DESC LIMIT ?",
            [until_s, max(0, count - num_known)],
        ).fetchnumpy()
    return _in_time_order(columns)


def worker_steps_over_time(
    path: Path, *, from_s: float = -math.inf, batch_rows: int = BATCH_ROWS
) -> Iterator[StepsColumns]:
    """Yield the steps of every worker's incarnation from one commit to the next, oldest first.

    Args:
        path: A recording that nobody is writing.
        from_s: Only commits at this time or later.
        batch_rows: Rows read per batch.

    Raises:
        FaultError: if the file can't be read.
    """
    with _reading(path) as connection:
        # Time and steps of each incarnation at its newest commit so far.
        last_seen: dict[tuple[int, int], tuple[float, int]] = {
            (index, incarnation): (t_s, steps)
            for index, incarnation, t_s, steps in connection.execute(
                "SELECT worker_index, incarnation, max(t_s), max(num_env_steps)"
                " FROM worker_totals WHERE t_s < ? GROUP BY ALL",
                [from_s],
            ).fetchall()
        }
        first, end = connection.execute(
            "SELECT coalesce(min(rowid) FILTER (t_s >= $from_s), count(*)), count(*)"
            " FROM worker_totals",
            {"from_s": from_s},
        ).fetchone()
        for row in range(first, end, batch_rows):
            rows = connection.execute(
                "SELECT t_s, worker_index, incarnation, num_env_steps FROM worker_totals"
                " WHERE rowid >= $row AND rowid < $row + $count AND t_s >= $from_s",
                {"row": row, "count": batch_rows, "from_s": from_s},
            ).fetchall()
            gained: list[tuple[float, float, int, int]] = []
            for t_s, index, incarnation, steps in rows:
                since_s, before = last_seen.get(
                    (index, incarnation), (max(0.0, t_s - FIRST_SPAN_S), 0)
                )
                gained.append((t_s, since_s, index, steps - before))
                last_seen[index, incarnation] = (t_s, steps)
            t_column, since_column, workers, counts = zip(*gained, strict=True) if gained else _NONE
            yield StepsColumns(
                np.array(t_column, np.float64),
                np.array(since_column, np.float64),
                np.array(workers, np.int32),
                np.array(counts, np.int64),
            )


def _in_time_order(columns: dict[str, np.ndarray]) -> EpisodeColumns:
    order = np.argsort(columns["end_s"], kind="stable")
    return EpisodeColumns(*(columns[name][order] for name in EpisodeColumns.__slots__))


@contextmanager
def _reading(path: Path) -> Iterator[Connection]:
    with closing(open_read_only(path)) as connection, reading(path):
        yield connection


def _read(connection: Connection, path: Path) -> RecordedPast | None:
    run = connection.execute("SELECT spec_json, state FROM run").fetchone()
    if run is None:
        return None
    t_s, elapsed_s = connection.execute(
        "SELECT t_s, elapsed_s FROM commits ORDER BY number DESC LIMIT 1"
    ).fetchone() or (0.0, 0.0)
    (num_incarnations,) = connection.execute("SELECT count(*) FROM incarnations").fetchone()
    workers, sums = workers_of(connection), EpisodeSums(connection)
    counts = {
        worker.worker_index: worker.totals.num_episodes - worker.totals.num_error
        for worker in workers
    }
    newest = sums.newest(math.inf, NEWEST_ROWS)
    learning, generations = past_learning(connection, path)
    named = {
        source: tuple(NamedValues(connection, source).up_to(math.inf))
        for source in sources_of(connection)
    }
    return RecordedPast(
        spec=spec_from_table(json.loads(run[0])),
        is_closed=run[1] is not None,
        num_incarnations=num_incarnations,
        last_t_s=t_s,
        elapsed_s=elapsed_s,
        commanded=_requested_state(connection),
        num_restarts=num_restarts(connection),
        workers=workers,
        recent_returns=sums.recent_returns(newest, counts, math.inf),
        sums=sums.up_to(math.inf),
        recent=sums.newest(math.inf, RECENT_EPISODES, with_errors=False),
        events=events_of(connection),
        history=_history(connection),
        scalars=named.get(INFO, ()),
        agent_returns=named.get(AGENTS, ()),
        agent_steps=agent_steps(connection, math.inf) if AGENTS in named else {},
        learning=learning,
        generations=generations,
    )


def _requested_state(connection: Connection) -> RequestedState:
    newest = connection.execute(
        "SELECT num_workers, keep, paused, paused_workers, stopped_workers, failed_workers,"
        " last_worker, ended_by, policy_json, weights_seq_no"
        " FROM commits ORDER BY number DESC LIMIT 1"
    ).fetchone()
    if newest is None:
        return RequestedState()
    num_workers, keep, paused, *lists, last_worker, ended_by, policy_json, number = newest
    paused_workers, stopped_workers, failed_workers = (tuple(each or ()) for each in lists)
    policy = policy_from_json(policy_json)
    return RequestedState(
        num_workers=num_workers,
        keep=keep,
        paused=paused,
        paused_workers=paused_workers,
        stopped_workers=stopped_workers,
        failed_workers=failed_workers,
        last_worker=last_worker or 0,
        ended_by=EndedBy(ended_by) if ended_by else None,
        # If no policy was swapped in, the number is that of a learner's generation.
        version=PolicyVersion() if policy is None else PolicyVersion(policy, number or 0),
    )


def _history(connection: Connection) -> HistoryRows | None:
    """Read the recorded buckets; without them the history is computed from episodes again."""
    (count,) = connection.execute("SELECT count(*) FROM history").fetchone()
    if not 0 < count <= CAPACITY:
        return None
    rows = connection.execute("FROM history ORDER BY bucket").fetchnumpy()
    columns = {
        name: np.ma.filled(rows[name].astype(np.float64), np.nan)
        for name in (
            "num_env_steps", "return_sum", "return_min", "return_max", "return_p10", "return_p90",
        )
    }  # fmt: skip
    kinds = [rows[f"num_{ending.name.lower()}"] for ending in Ending]
    if len(np.unique(rows["bucket_s"])) != 1:
        return None
    width = max(len(steps) for steps in rows["worker_steps"])
    names, scalar_sum, scalar_n = _history_scalars(connection, rows["bucket"])
    return HistoryRows(
        bucket_s=float(rows["bucket_s"][0]),
        bucket=rows["bucket"],
        endings=np.stack(kinds, axis=1),
        return_n=rows["return_n"],
        worker_steps=_matrix(rows["worker_steps"], width, np.float32),
        worker_return_sum=_matrix(rows["worker_return_sum"], width, np.float64),
        worker_return_n=_matrix(rows["worker_return_n"], width, np.int32),
        returns=tuple(bytes(data or b"") for data in rows["returns"]),
        num_env_steps=columns["num_env_steps"],
        return_sum=columns["return_sum"],
        return_min=columns["return_min"],
        return_max=columns["return_max"],
        return_p10=columns["return_p10"],
        return_p90=columns["return_p90"],
        scalar_names=names,
        scalar_sum=scalar_sum,
        scalar_n=scalar_n,
    )


def _history_scalars(
    connection: Connection, bucket: Int64
) -> tuple[tuple[str, ...], Float64, Int64]:
    """Read names, sums and counts of the named scalars of recorded buckets."""
    recorded = recorded_bucket_sums(connection, int(bucket[0]), int(bucket[-1]) + 1)
    names = tuple(dict.fromkeys(recorded.name))
    places = {name: place for place, name in enumerate(names)}
    total, count = (
        np.zeros((len(bucket), len(names))),
        np.zeros((len(bucket), len(names)), np.int64),
    )
    for number, name, n, one in zip(
        recorded.bucket, recorded.name, recorded.n, recorded.total, strict=True
    ):
        row = int(np.searchsorted(bucket, number))
        if bucket[row] == number:
            total[row, places[name]], count[row, places[name]] = one, n
    return names, total, count


def _matrix(lists: np.ndarray, width: int, dtype: type) -> np.ndarray:
    """Make a matrix with one row per list; rows older than a worker have 0 for it."""
    matrix: np.ndarray = np.zeros((len(lists), width), dtype)
    for row, values in enumerate(lists):
        matrix[row, : len(values)] = values
    return matrix


def _set_aside(path: Path, error: Exception) -> Fault:
    """Rename a damaged file and its WAL, so that the names say what they are."""
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
