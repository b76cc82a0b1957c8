"""Figures over all episodes up to any instant, without reading them all each time.

Episodes lie in the file in the order in which the supervisor heard of them, so blocks of rows are
spans of time: those that end before an instant are added up from what is kept of them, and only the
one or two that it cuts are read.
"""

import math
from dataclasses import dataclass

import numpy as np

from raydash.core.records import EpisodeColumns, Float64
from raydash.core.states import Ending
from raydash.record.schema import Connection

BLOCK_ROWS = 122_880
"""What DuckDB stores together and can skip."""
NEWEST_PER_WORKER = 100

_GOOD = f"ending IS DISTINCT FROM {int(Ending.ERROR)}"  # NULL: imported, not known
_SUMS = f"""count(*),
    count(*) FILTER (ending = {int(Ending.BOTH)}),
    count(*) FILTER ({_GOOD}),
    coalesce(sum(episode_return) FILTER ({_GOOD}), 0),
    coalesce(sum(episode_len) FILTER ({_GOOD}), 0),
    min(episode_return) FILTER ({_GOOD} AND NOT isnan(episode_return)),
    max(episode_return) FILTER ({_GOOD} AND NOT isnan(episode_return))"""
_EPISODES = ", ".join(
    "coalesce(ending, 255)::UTINYINT AS ending" if name == "ending" else name
    for name in EpisodeColumns.__slots__
)
NOT_KNOWN = 255
"""In place of an `Ending` that an imported run does not tell."""


@dataclass(frozen=True, slots=True)
class Sums:
    """Of some episodes.

    Attributes:
        num_episodes: All of them.
        num_both: That ended with both flags.
        return_n: That did not end in an error; the others are over these.
        return_sum: Of returns.
        len_sum: Of steps.
        return_min: Smallest; NaN if there is none.
        return_max: Largest; likewise.
    """

    num_episodes: int
    num_both: int
    return_n: int
    return_sum: float
    len_sum: int
    return_min: float
    return_max: float


class EpisodeSums:
    """Sums of a recording's episodes by blocks of rows. Reads them all once."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        rows = connection.execute(
            f"SELECT rowid // {BLOCK_ROWS} AS block, min(end_s), max(end_s), {_SUMS} FROM episodes"
            " GROUP BY block ORDER BY block"
        ).fetchall()
        table = np.array(rows, np.float64).reshape(len(rows), 3 + len(Sums.__slots__))
        self._first_s, self._last_s = table[:, 1], table[:, 2]
        self._sums = table[:, 3:]

    @property
    def has_any(self) -> bool:
        """There is an episode."""
        return len(self._sums) > 0

    def up_to(self, at_s: float) -> Sums:
        """Of the episodes that ended by then."""
        parts = [self._sums[self._last_s <= at_s]]
        for block in np.flatnonzero((self._first_s <= at_s) & (at_s < self._last_s)):
            row = self._connection.execute(
                f"SELECT {_SUMS} FROM episodes WHERE rowid >= ? AND rowid < ? AND end_s <= ?",
                [int(block) * BLOCK_ROWS, (int(block) + 1) * BLOCK_ROWS, at_s],
            ).fetchone()
            parts.append(np.array([row], np.float64))
        rows = np.concatenate(parts)
        count, both, good, return_sum, len_sum = rows[:, :5].sum(axis=0)
        low, high = rows[:, 5], rows[:, 6]
        return Sums(
            num_episodes=int(count),
            num_both=int(both),
            return_n=int(good),
            return_sum=float(return_sum),
            len_sum=int(len_sum),
            return_min=float(np.fmin.reduce(low)) if len(low) else math.nan,
            return_max=float(np.fmax.reduce(high)) if len(high) else math.nan,
        )

    def newest(self, at_s: float, count: int, *, with_errors: bool = True) -> EpisodeColumns:
        """The last `count` episodes that ended by then, oldest first; fewer if there are fewer."""
        begun = np.flatnonzero(self._first_s <= at_s)
        if not len(begun):
            return EpisodeColumns()
        # The block before is in it, because the newest one may hold few that ended by then.
        needed = 1 + -(-count // BLOCK_ROWS)
        from_row = max(0, int(begun[-1]) - needed) * BLOCK_ROWS if with_errors else 0
        rows = self._connection.execute(
            f"SELECT {_EPISODES} FROM episodes WHERE rowid >= ? AND end_s <= ?"
            f" AND {'true' if with_errors else _GOOD} ORDER BY end_s DESC, rowid DESC LIMIT ?",
            [from_row, at_s, count],
        ).fetchnumpy()
        return EpisodeColumns(
            *(np.asarray(rows[name])[::-1].copy() for name in EpisodeColumns.__slots__)
        )

    def newest_returns(self, at_s: float, workers: list[int]) -> dict[int, Float64]:
        """Of each worker the returns of its last 100 episodes without error, oldest first."""
        rows = self._connection.execute(
            f"SELECT worker_index, max_by(episode_return, end_s, {NEWEST_PER_WORKER})"
            f" FROM episodes WHERE end_s <= ? AND {_GOOD} AND list_contains(?, worker_index)"
            " GROUP BY worker_index",
            [at_s, workers],
        ).fetchall()
        return {index: np.array(returns[::-1], np.float64) for index, returns in rows}
