"""Reads named values of a recording's episodes: scalars from info, and each agent's returns.

Both are read as rows (row id, end of the episode, name, value); row ids of a table only grow.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from raydash.core.history.named_columns import all_names
from raydash.core.records import AGENT_RETURN_MEAN, Float64, Int64
from raydash.core.updates import RECENT_EPISODES, AgentFigures, ScalarFigures
from raydash.record.file.schema import Connection
from raydash.record.read.episode_sums import BLOCK_ROWS
from raydash.record.read.query import has_rows, tables_of


@dataclass(frozen=True, slots=True)
class NamedValueSource:
    """A table that holds named values.

    Attributes:
        rows: SQL that gives `row`, `end_s`, `name` and `value`, with a placeholder for a condition.
        prefix: Put before a name to make it the name of a metric.
    """

    table: str
    rows: str
    prefix: str = ""

    def where(self, condition: str = "true") -> str:
        """Return SQL for the rows that meet a condition on the table."""
        return f"({self.rows.format(condition)})"


INFO = NamedValueSource(
    "episodes",
    "SELECT rowid AS row, end_s, unnest(map_keys(info)) AS name, unnest(map_values(info)) AS value"
    " FROM episodes WHERE info IS NOT NULL AND {0}",
)
AGENTS = NamedValueSource(
    "agent_episodes",
    "SELECT rowid AS row, end_s, agent AS name, agent_return AS value"
    " FROM agent_episodes WHERE NOT isnan(agent_return) AND {0}",
    prefix=f"{AGENT_RETURN_MEAN}/",
)


def sources_of(connection: Connection) -> tuple[NamedValueSource, ...]:
    """List the sources that a recording has values in; most recordings have none."""
    found: list[NamedValueSource] = []
    columns = {
        name
        for (name,) in connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_name = 'episodes'"
        ).fetchall()
    }
    if "info" in columns and has_rows(connection, "episodes WHERE info IS NOT NULL"):
        found.append(INFO)
    if "agent_episodes" in tables_of(connection) and has_rows(connection, "agent_episodes"):
        found.append(AGENTS)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class NamedSums:
    """The values of one name, summed over some episodes.

    Attributes:
        name: The name without a prefix.
        count: The number of episodes that had a value.
        total: The sum of the values.
        end_s: When the newest 100 of those episodes ended, oldest first.
        recent: The values of those 100.
    """

    name: str
    count: int
    total: float
    end_s: Float64
    recent: Float64


class NamedValues:
    """Sums the values of one source up to any instant; sums of whole blocks of rows are cached."""

    def __init__(self, connection: Connection, source: NamedValueSource) -> None:
        self._connection = connection
        self._source = source
        # Per block and name: block, name, first end, last end, count, sum, first row.
        rows = connection.execute(
            f"SELECT row // {BLOCK_ROWS} AS block, name, min(end_s), max(end_s), count(*),"
            f" sum(value), min(row) FROM {source.where()} GROUP BY block, name"
            " ORDER BY min(row), name"
        ).fetchall()
        self.names = all_names([(name,) for _, name, *_ in rows])
        self._blocks = rows

    def up_to(self, at_s: float) -> list[NamedSums]:
        """Sum over the episodes that had ended by then; names are in the order of recording."""
        sums = {name: [0.0, 0.0] for name in self.names}
        partial: set[int] = set()
        for block, name, first_s, last_s, count, total, _ in self._blocks:
            if last_s <= at_s:
                sums[name][0] += count
                sums[name][1] += total
            elif first_s <= at_s:
                partial.add(block)
        for block in partial:
            low = block * BLOCK_ROWS
            complete = {n for b, n, _, last_s, *_ in self._blocks if b == block and last_s <= at_s}
            within = f"rowid >= {low} AND rowid < {low + BLOCK_ROWS} AND end_s <= ?"
            rows = self._source.where(within)
            for name, count, total in self._connection.execute(
                f"SELECT name, count(*), sum(value) FROM {rows} GROUP BY name", [at_s]
            ).fetchall():
                if name not in complete:
                    sums[name][0] += count
                    sums[name][1] += total
        recent = self._newest(at_s, {name: int(count) for name, (count, _) in sums.items()})
        return [
            NamedSums(name, int(count), total, *recent[name])
            for name, (count, total) in sums.items()
            if count
        ]

    def _newest(self, at_s: float, counts: dict[str, int]) -> dict[str, tuple[Float64, Float64]]:
        """Read the last 100 values of each name, looking among the newest rows first."""
        found: dict[str, tuple[Float64, Float64]] = {}
        started = [block for block, _, first_s, *_ in self._blocks if first_s <= at_s]
        low = (max(started) - 1) * BLOCK_ROWS if started else 0
        for first in (low, 0):
            rows = self._connection.execute(
                f"SELECT name, max_by({{'t': end_s, 'v': value}}, end_s, {RECENT_EPISODES})"
                f" FROM {self._source.where('rowid >= ? AND end_s <= ?')} GROUP BY name",
                [first, at_s],
            ).fetchall()
            found = {
                name: (
                    np.array([each["t"] for each in newest[::-1]], np.float64),
                    np.array([each["v"] for each in newest[::-1]], np.float64),
                )
                for name, newest in rows
            }
            if all(
                len(found[name][0]) >= min(RECENT_EPISODES, count) if name in found else not count
                for name, count in counts.items()
            ):
                break
        return found


class NamedValueReader:
    """Reads figures of named scalars and of agents from an open recording, up to any instant."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._values = {
            source: NamedValues(connection, source) for source in sources_of(connection)
        }
        self._has_agents = "agent_totals" in tables_of(connection)

    def scalars(self, at_s: float = math.inf) -> ScalarFigures:
        """Read the scalars from the info of episodes that had ended by then."""
        if INFO not in self._values:
            return ScalarFigures()
        sums = self._values[INFO].up_to(at_s)
        return ScalarFigures(
            names=tuple(each.name for each in sums),
            mean=np.array([each.total / each.count for each in sums], np.float64),
            recent_mean=np.array([each.recent.mean() for each in sums], np.float64),
            count=np.array([each.count for each in sums], np.int64),
        )

    def agents(self, at_s: float = math.inf) -> AgentFigures | None:
        """Read the figures of the agents by then; None if there was no agent."""
        steps = agent_steps(self._connection, at_s) if self._has_agents else {}
        if not steps:
            return None
        sums = self._values[AGENTS].up_to(at_s) if AGENTS in self._values else []
        by_name = {each.name: each for each in sums}
        known = [by_name.get(name) for name in steps]
        return AgentFigures(
            names=tuple(steps),
            num_steps=np.array(list(steps.values()), np.int64),
            episode_return_mean=np.array([e.total / e.count if e else math.nan for e in known]),
            recent_return_mean=np.array([e.recent.mean() if e else math.nan for e in known]),
            num_episodes=np.array([e.count if e else 0 for e in known], np.int64),
        )


def agent_steps(connection: Connection, at_s: float) -> dict[str, int]:
    """Count the actions of each agent by an instant, over all incarnations of all workers."""
    rows = connection.execute(
        "SELECT agent, sum(steps)::BIGINT FROM (SELECT agent, max(num_steps) AS steps,"
        " min(rowid) AS met FROM agent_totals WHERE t_s <= ?"
        " GROUP BY worker_index, incarnation, agent) GROUP BY agent ORDER BY min(met)",
        [at_s],
    ).fetchall()
    return dict(rows)


@dataclass(frozen=True, slots=True)
class BucketSums:
    """Sums of named values, one row per bucket and name.

    Attributes:
        bucket: The bucket's number.
        name: The name of the metric.
        n: The number of episodes that had a value.
        total: The sum of the values.
    """

    bucket: Int64
    name: tuple[str, ...]
    n: Int64
    total: Float64


def bucket_sums(
    connection: Connection, bucket_s: float, from_s: float, end_s: float
) -> Iterator[BucketSums]:
    """Sum named values of the episodes that ended in a range by time buckets, source by source."""
    for source in sources_of(connection):
        rows = connection.execute(
            "SELECT floor(end_s / ?)::BIGINT AS bucket, name, count(*) AS n, sum(value) AS total"
            f" FROM {source.where('end_s >= ? AND end_s < ?')} GROUP BY ALL ORDER BY bucket, name",
            [bucket_s, from_s, end_s],
        ).fetchnumpy()
        yield BucketSums(
            np.asarray(rows["bucket"], np.int64),
            tuple(source.prefix + str(name) for name in rows["name"]),
            np.asarray(rows["n"], np.int64),
            np.asarray(rows["total"], np.float64),
        )


def recorded_bucket_sums(connection: Connection, first: int, end: int) -> BucketSums:
    """Read buckets `first` to `end` (exclusive) from table `history_scalars`."""
    rows = connection.execute(
        "SELECT bucket, name, n, total FROM history_scalars WHERE bucket >= ? AND bucket < ?",
        [first, end],
    ).fetchnumpy()
    return BucketSums(
        np.asarray(rows["bucket"], np.int64),
        tuple(str(name) for name in rows["name"]),
        np.asarray(rows["n"], np.int64),
        np.asarray(rows["total"], np.float64),
    )
