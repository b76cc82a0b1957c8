"""Reads cumulative counters of each worker over time, summed over its incarnations."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from raydash.core.records import Float64, Int64
from raydash.core.states import Ending
from raydash.record.file.schema import Connection
from raydash.record.read.query import COUNTERS, has_rows, tables_of

MAX_WRITE_DELAY_S = 10.0
"""How long after its first step a chunk may be written: a chunk, a slow step and a commit."""
FIRST_SPAN_S = 0.5
"""How long an incarnation is assumed to have stepped before its first commit."""

_BOTH = int(Ending.BOTH)
_NO_TIMES = ", ".join(f"0.0 AS {name}" for name in COUNTERS if name.endswith("_s"))
_EPISODE = f"""SELECT end_s AS t_s, worker_index, episode_len AS num_env_steps, 1 AS num_episodes,
    coalesce(ending IN ({int(Ending.TERMINATED)}, {_BOTH}), false)::INTEGER AS num_terminated,
    coalesce(ending IN ({int(Ending.TRUNCATED)}, {_BOTH}), false)::INTEGER AS num_truncated,
    coalesce(ending = {int(Ending.ERROR)}, false)::INTEGER AS num_error, {_NO_TIMES}
    FROM episodes"""
_SCALARS = f"""(SELECT t_s, 1 AS worker_index, 0 AS incarnation,
    max(num_env_steps) AS num_env_steps, 0 AS num_episodes, 0 AS num_terminated,
    0 AS num_truncated, 0 AS num_error, {_NO_TIMES}
    FROM scalars WHERE t_s IS NOT NULL AND num_env_steps IS NOT NULL GROUP BY t_s)"""


@dataclass(frozen=True, slots=True)
class WorkerCurve:
    """One worker's counters over time: straight lines between points.

    Attributes:
        worker_index: 1..N.
        incarnation: The newest incarnation in these rows.
        t_s: The time of each point, ascending.
        totals: The counters at each point, shape (points, counters asked for).
        last_row_s: The time of the newest row.
    """

    worker_index: int
    incarnation: int
    t_s: Float64
    totals: Float64
    last_row_s: float

    def at(self, times_s: Float64) -> Float64:
        """Interpolate the counters, shape (times, counters); they are 0 before the first point."""
        columns = [
            np.interp(times_s, self.t_s, self.totals[:, place], left=0.0)
            for place in range(self.totals.shape[1])
        ]
        return np.stack(columns, axis=-1)


def worker_curves(
    connection: Connection,
    *,
    from_s: float,
    until_s: float,
    counters: Sequence[str] = COUNTERS,
) -> list[WorkerCurve]:
    """Read curves that are right from `from_s` to `until_s`.

    A worker's steps are spread evenly over the time for which it was busy before they were
    written, at most back to the row before. An imported run without such rows has curves made from
    its episodes, or else from its metrics. `counters` are fields of `WorkerTotals`.
    """
    before_sql, within_sql = _queries(connection, ("busy_time_s", *counters))
    before = connection.execute(before_sql, [from_s]).fetchnumpy()
    within = connection.execute(within_sql, [from_s, until_s + MAX_WRITE_DELAY_S]).fetchnumpy()
    columns = [
        np.concatenate([np.asarray(one, np.float64), np.asarray(other, np.float64)])
        for one, other in zip(before.values(), within.values(), strict=True)
    ]
    order = np.lexsort((columns[2], columns[1], columns[0]))
    worker, incarnation, t_s, busy_s, *values = (column[order] for column in columns)
    if not len(worker):
        return []
    return list(
        _curves(
            worker.astype(np.int64), incarnation.astype(np.int64), t_s, busy_s, np.stack(values, -1)
        )
    )


def _queries(connection: Connection, counters: Sequence[str]) -> tuple[str, str]:
    """Build SQL for each incarnation's counters at a time, and for its rows between two times."""
    names = ", ".join(counters)
    summed = ", ".join(f"sum({name}) AS {name}" for name in counters)
    running = ", ".join(f"sum({name}) OVER one AS {name}" for name in counters)
    if has_rows(connection, "worker_totals") or not has_rows(connection, "episodes"):
        source = "worker_totals"
        if not has_rows(connection, source) and "scalars" in tables_of(connection):
            source = _SCALARS
        # Counters only grow within an incarnation, so its newest row is its largest.
        largest = ", ".join(f"max({name}) AS {name}" for name in counters)
        return (
            f"SELECT worker_index, incarnation, max(t_s) AS t_s, {largest} FROM {source}"
            " WHERE t_s <= ? GROUP BY worker_index, incarnation",
            f"SELECT worker_index, incarnation, t_s, {names} FROM {source}"
            " WHERE t_s > ? AND t_s <= ?",
        )
    # What was before the range counts as an incarnation of its own, which needs no ordering.
    return (
        f"SELECT worker_index, -1 AS incarnation, max(t_s) AS t_s, {summed} FROM ({_EPISODE})"
        " WHERE t_s <= ? GROUP BY worker_index",
        f"SELECT worker_index, 0 AS incarnation, t_s, {running} FROM"
        f" ({_EPISODE} WHERE end_s > ? AND end_s <= ?)"
        " WINDOW one AS (PARTITION BY worker_index ORDER BY t_s ROWS UNBOUNDED PRECEDING)",
    )


def _curves(
    worker: Int64, incarnation: Int64, t_s: Float64, busy_s: Float64, values: Float64
) -> Iterator[WorkerCurve]:
    """Make curves from rows that are sorted by worker, incarnation and time."""
    is_first_of_worker = np.append(True, worker[1:] != worker[:-1])
    is_first_of_incarnation = is_first_of_worker | np.append(
        True, incarnation[1:] != incarnation[:-1]
    )
    old = np.where(is_first_of_incarnation[:, None], 0.0, np.roll(values, 1, axis=0))
    gained = np.maximum(values - old, 0.0)
    busy = busy_s - np.where(is_first_of_incarnation, 0.0, np.roll(busy_s, 1))
    row_before_s = np.where(is_first_of_worker, 0.0, np.roll(t_s, 1))
    since_s = np.where(
        busy > 0, t_s - busy, np.where(is_first_of_incarnation, t_s - FIRST_SPAN_S, row_before_s)
    )
    since_s = np.minimum(np.maximum(since_s, row_before_s), t_s)
    starts = np.flatnonzero(is_first_of_worker)
    for start, end in zip(starts, [*starts[1:], len(worker)], strict=True):
        rows = slice(start, end)
        after = gained[rows].cumsum(axis=0)
        yield WorkerCurve(
            worker_index=int(worker[start]),
            incarnation=max(0, int(incarnation[end - 1])),
            t_s=np.stack([since_s[rows], t_s[rows]], axis=-1).ravel(),
            totals=np.stack([after - gained[rows], after], axis=1).reshape(-1, values.shape[1]),
            last_row_s=float(t_s[end - 1]),
        )
