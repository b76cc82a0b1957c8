"""Sums over all episodes up to any instant, without reading them all each time.

Episodes lie in the file in the order in which their chunks arrived, so a block of rows is roughly a
span of time. Blocks that end before the instant are added up from their cached sums, and only the
one or two blocks that contain the instant are read.
"""

import math
from collections.abc import Mapping

import numpy as np

from raydash.core.analysis.run_figures import ReturnSums
from raydash.core.records import EpisodeColumns, Float64
from raydash.core.states import Ending
from raydash.core.updates import RECENT_EPISODES
from raydash.record.file.schema import Connection

BLOCK_ROWS = 122_880
"""The size of DuckDB's row groups, which a query can skip as a whole."""

_GOOD = f"ending IS DISTINCT FROM {int(Ending.ERROR)}"  # NULL: imported, not known
_SUMS = f"""count(*),
    count(*) FILTER (ending = {int(Ending.BOTH)}),
    coalesce(sum(episode_return), 0),
    coalesce(sum(episode_len), 0),
    min(episode_return),
    max(episode_return)"""
"""Sums over episodes without error. Here the maximum is NaN if any return is, because a filter for
NaN would take as long as all the rest; `_bounds_without_nan` mends that."""
_EPISODES = ", ".join(
    "coalesce(ending, 255)::UTINYINT AS ending" if name == "ending" else name
    for name in EpisodeColumns.__slots__
)
UNKNOWN_ENDING = 255
"""Stands for the `Ending` of an imported episode, which is not known."""


class EpisodeSums:
    """Sums up a recording's episodes; the sums of its blocks are computed when first needed."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        (last,) = connection.execute("SELECT max(rowid) FROM episodes").fetchone()
        self._num_rows = 0 if last is None else last + 1
        self._all: ReturnSums | None = None
        self._blocks: Float64 | None = None

    @property
    def has_episodes(self) -> bool:
        """Whether the recording has any episode."""
        return self._num_rows > 0

    def up_to(self, at_s: float) -> ReturnSums:
        """Sum over the episodes that had ended by `at_s`; infinity means all."""
        if math.isinf(at_s):
            if self._all is None:
                self._all = _total(self._query_sums("true"))
            return self._all
        blocks = self._block_sums()
        first_s, last_s = blocks[:, 1], blocks[:, 2]
        parts = [blocks[last_s <= at_s, 3:]]
        for block in np.flatnonzero((first_s <= at_s) & (at_s < last_s)):
            low = int(blocks[block, 0]) * BLOCK_ROWS
            parts.append(
                self._query_sums(
                    "rowid >= ? AND rowid < ? AND end_s <= ?", low, low + BLOCK_ROWS, at_s
                )
            )
        return _total(np.concatenate(parts))

    def newest(self, at_s: float, count: int, *, with_errors: bool = True) -> EpisodeColumns:
        """Read the last `count` (or all) episodes that had ended by `at_s`, oldest first."""
        rows = self._connection.execute(
            f"SELECT {_EPISODES} FROM episodes WHERE rowid >= ? AND end_s <= ?"
            f" AND {'true' if with_errors else _GOOD} ORDER BY end_s DESC, rowid DESC LIMIT ?",
            [self._row_before(at_s, count) if with_errors else 0, at_s, count],
        ).fetchnumpy()
        return EpisodeColumns(
            *(np.asarray(rows[name])[::-1].copy() for name in EpisodeColumns.__slots__)
        )

    def _row_before(self, at_s: float, count: int) -> int:
        """Find a row, as late as is cheaply known, before which none of the last `count` can be."""
        if math.isinf(at_s):
            return max(0, self._num_rows - count - BLOCK_ROWS)
        blocks = self._block_sums()
        begun = blocks[blocks[:, 1] <= at_s, 0]
        if not len(begun):
            return 0
        # In the newest of these blocks, few episodes may have ended by then: take one more.
        return max(0, int(begun[-1]) - 1 - -(-count // BLOCK_ROWS)) * BLOCK_ROWS

    def _block_sums(self) -> Float64:
        """Compute sums of all blocks, shape (blocks, 9): number, first and last end, `_SUMS`."""
        if self._blocks is None:
            rows = self._connection.execute(
                f"SELECT rowid // {BLOCK_ROWS} AS block, min(end_s), max(end_s), {_SUMS}"
                f" FROM episodes WHERE {_GOOD} GROUP BY block ORDER BY block"
            ).fetchall()
            self._blocks = np.array(rows, np.float64).reshape(len(rows), 9)
            for row in self._blocks[np.isnan(self._blocks[:, 8])]:
                low = int(row[0]) * BLOCK_ROWS
                row[7:] = self._bounds_without_nan(
                    "rowid >= ? AND rowid < ?", low, low + BLOCK_ROWS
                )
        return self._blocks

    def _query_sums(self, where: str, *values: float) -> Float64:
        """Compute `_SUMS` over some rows, shape (1, 6)."""
        row = self._connection.execute(
            f"SELECT {_SUMS} FROM episodes WHERE {_GOOD} AND {where}", list(values)
        ).fetchone()
        sums = np.array([row], np.float64)
        if np.isnan(sums[0, 5]):
            sums[0, 4:] = self._bounds_without_nan(where, *values)
        return sums

    def _bounds_without_nan(self, where: str, *values: float) -> Float64:
        """Find the smallest and largest return that is a number; DuckDB ranks NaN above those."""
        row = self._connection.execute(
            "SELECT min(episode_return), max(episode_return) FROM episodes"
            f" WHERE {_GOOD} AND NOT isnan(episode_return) AND {where}",
            list(values),
        ).fetchone()
        return np.array(row, np.float64)

    def recent_returns(
        self, newest: EpisodeColumns, counts: Mapping[int, int], at_s: float
    ) -> dict[int, Float64]:
        """Find the returns of each worker's last 100 episodes without error, oldest first.

        Args:
            newest: The newest episodes of all workers.
            counts: How many episodes without error each worker has, as far as that is known. The
                file is searched for those that `newest` does not reach back to.
            at_s: Only episodes that had ended by this time.
        """
        good = newest.ending != Ending.ERROR
        order = np.argsort(newest.worker_index[good], kind="stable")
        worker, returns = newest.worker_index[good][order], newest.episode_return[good][order]
        ends = np.searchsorted(worker, list(counts), side="right")
        starts = np.searchsorted(worker, list(counts))
        found = {
            index: returns[max(start, end - RECENT_EPISODES) : end]
            for index, start, end in zip(counts, starts, ends, strict=True)
        }
        incomplete = [
            index for index, n in counts.items() if len(found[index]) < min(n, RECENT_EPISODES)
        ]
        if incomplete:
            rows = self._connection.execute(
                f"SELECT worker_index, max_by(episode_return, end_s, {RECENT_EPISODES})"
                f" FROM episodes WHERE end_s <= ? AND {_GOOD} AND list_contains(?, worker_index)"
                " GROUP BY worker_index",
                [at_s, incomplete],
            ).fetchall()
            found |= {index: np.array(values[::-1], np.float64) for index, values in rows}
        return found


def _total(rows: Float64) -> ReturnSums:
    count, both, return_sum, len_sum = rows[:, :4].sum(axis=0)
    low, high = rows[:, 4], rows[:, 5]
    return ReturnSums(
        return_n=int(count),
        num_both=int(both),
        return_sum=float(return_sum),
        len_sum=int(len_sum),
        return_min=float(np.fmin.reduce(low)) if len(low) else math.nan,
        return_max=float(np.fmax.reduce(high)) if len(high) else math.nan,
    )
