"""Reads a part of a run's history from its recording, at the resolution that a plot can show.

If the part has few episodes, they are counted one by one, so quantiles are exact. If it has many,
the rows of table `history` (the whole run in buckets) are merged. What that table lacks, which is
the end of a run that is live or was killed, is computed from the episodes themselves.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raydash.core.history.histogram import Histogram
from raydash.core.history.history import BUCKET_S, MAX_SCALARS
from raydash.core.history.named_columns import all_names, placed
from raydash.core.records import Float64, Int64
from raydash.core.states import Ending
from raydash.core.updates import HistoryDelta
from raydash.record.file.schema import Connection
from raydash.record.read.episode_sums import UNKNOWN_ENDING
from raydash.record.read.named_values import BucketSums, bucket_sums, recorded_bucket_sums
from raydash.record.read.query import recorded_until_s, tables_of
from raydash.record.read.worker_curves import worker_curves

MAX_RAW_EPISODES = 800_000
"""How many episodes are counted one by one at most, in 0.2 s; also how many rows a batch has."""
MAX_BUCKETS = 20_000
"""More than any plot has pixels."""
_KINDS = len(Ending)
_QUANTILES = (0.1, 0.9)


def history(
    connection: Connection, *, start_s: float, end_s: float, num_buckets: int
) -> HistoryDelta:
    """Read at most `num_buckets` buckets that cover a range of the run's clock.

    Buckets are 0.5 s times a power of two wide and aligned at 0, like those of updates. They are
    wider than asked for where a run has so many episodes in the range that only the rows of table
    `history` can answer in time.

    An imported run may have means instead of episodes. Then `return_n` is 1 for every bucket with
    a mean, as nobody knows how many episodes are behind it.
    """
    end_s = max(0.0, min(end_s, recorded_until_s(connection)))
    start_s = min(max(start_s, 0.0), end_s)
    bucket_s = bucket_width_s(start_s, end_s, min(num_buckets, MAX_BUCKETS))
    recorded = _recorded_buckets(connection)
    if (
        recorded is not None
        and bucket_s < recorded.bucket_s
        and _has_many_episodes(connection, start_s, end_s)
    ):
        bucket_s = recorded.bucket_s
    first, last = int(start_s // bucket_s), int(end_s // bucket_s)
    return buckets(connection, bucket_s, first, last)


def bucket_width_s(start_s: float, end_s: float, num_buckets: int) -> float:
    """Choose the narrowest width at which `num_buckets` cover a range, its end included."""
    bucket_s = BUCKET_S
    while int(end_s // bucket_s) - int(start_s // bucket_s) >= max(1, num_buckets):
        bucket_s *= 2
    return bucket_s


def buckets(
    connection: Connection, bucket_s: float, first: int, last: int, *, until_s: float = math.inf
) -> HistoryDelta:
    """Read buckets `first` to `last` (inclusive) of a width; nothing after `until_s` counts."""
    builder = _BucketBuilder(bucket_s, first, last - first + 1)
    from_s, end_s = first * bucket_s, min((last + 1) * bucket_s, until_s)
    recorded = _recorded_buckets(connection)
    if recorded is not None and bucket_s >= recorded.bucket_s and recorded.end_s > from_s:
        whole = int(min(end_s, recorded.end_s) // recorded.bucket_s)
        _add_recorded(connection, builder, recorded.bucket_s, whole)
        from_s = max(from_s, whole * recorded.bucket_s)
    if from_s < end_s:
        if not _add_episodes(connection, builder, from_s, end_s):
            _add_imported_means(connection, builder, from_s, end_s)
        _add_steps(connection, builder, from_s, end_s)
        for sums in bucket_sums(connection, bucket_s, from_s, end_s):
            builder.add_scalars(sums.bucket - first, sums)
    return builder.delta()


def joined(parts: list[HistoryDelta]) -> HistoryDelta:
    """Join neighbouring parts of the same bucket width, the earliest first."""
    width = max(part.worker_steps.shape[1] for part in parts)

    def column(name: str) -> Any:
        return np.concatenate([getattr(part, name) for part in parts])

    def matrix(name: str, fill: float) -> NDArray[np.float32]:
        return np.concatenate([_widened(getattr(part, name), width, fill) for part in parts])

    head = parts[0]
    names = [name for name in HistoryDelta.__slots__ if name not in _NOT_COLUMNS]
    scalars = all_names(part.scalar_names for part in parts)
    return HistoryDelta(
        bucket_s=head.bucket_s,
        first_bucket=head.first_bucket,
        oldest_bucket=head.first_bucket,
        worker_steps=matrix("worker_steps", 0.0),
        worker_return_mean=matrix("worker_return_mean", np.nan),
        scalar_names=scalars,
        scalar_mean=np.concatenate(
            [placed(part.scalar_mean, part.scalar_names, scalars, np.nan) for part in parts]
        ),
        **{name: column(name) for name in names},
    )


def sliced(delta: HistoryDelta, first: int, end: int) -> HistoryDelta:
    """Cut out buckets `first` to `end` (exclusive)."""
    rows = slice(max(0, first - delta.first_bucket), max(0, end - delta.first_bucket))
    columns = {
        name: getattr(delta, name)[rows]
        for name in HistoryDelta.__slots__
        if name not in ("bucket_s", "first_bucket", "oldest_bucket", "scalar_names")
    }
    start = delta.first_bucket + rows.start
    return HistoryDelta(
        bucket_s=delta.bucket_s,
        first_bucket=start,
        oldest_bucket=start,
        scalar_names=delta.scalar_names,
        **columns,
    )


_NOT_COLUMNS = (
    "bucket_s", "first_bucket", "oldest_bucket", "worker_steps", "worker_return_mean",
    "scalar_names", "scalar_mean",
)  # fmt: skip


def _widened(matrix: NDArray[np.float32], width: int, fill: float) -> NDArray[np.float32]:
    return np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])), constant_values=fill)


class _BucketBuilder:
    """Gathers sums per bucket, and makes a `HistoryDelta` of them."""

    def __init__(self, bucket_s: float, first: int, count: int) -> None:
        self.bucket_s = bucket_s
        self.first = first
        self.count = count
        self.steps = np.zeros(count)
        self.kinds = np.zeros((count, _KINDS), np.int64)
        self.return_n = np.zeros(count, np.int64)
        self.return_sum = np.zeros(count)
        self.low = np.full(count, np.nan)
        self.high = np.full(count, np.nan)
        self.quantiles = np.full((count, len(_QUANTILES)), np.nan)
        self.histograms: dict[int, Callable[[], Histogram]] = {}
        self.worker_steps = np.zeros((count, 0))
        self.worker_sum = np.zeros((count, 0))
        self.worker_n = np.zeros((count, 0), np.int64)
        self.scalars: dict[str, tuple[Float64, Int64]] = {}  # sum and episodes, by name

    def add_scalars(self, at: Int64, sums: BucketSums) -> None:
        """Add sums of named scalars to the buckets at places `at`."""
        names = np.array(sums.name, object)
        for name in dict.fromkeys(sums.name):
            rows = names == name
            if name not in self.scalars:
                self.scalars[name] = np.zeros(self.count), np.zeros(self.count, np.int64)
            total, n = self.scalars[name]
            np.add.at(total, at[rows], sums.total[rows])
            np.add.at(n, at[rows], sums.n[rows])

    def widen(self, num_workers: int) -> None:
        """Make room for workers up to index `num_workers`."""
        missing = num_workers - self.worker_sum.shape[1]
        if missing > 0:
            for name in ("worker_steps", "worker_sum", "worker_n"):
                setattr(self, name, np.pad(getattr(self, name), ((0, 0), (0, missing))))

    def add_quantiles(self, row: int, exact: Float64, more: Callable[[], Histogram]) -> None:
        """Add some returns of a bucket by their exact quantiles.

        If the bucket has returns already, both histograms are merged instead; until then `more`,
        which makes the histogram, is not called.
        """
        earlier = self.histograms.get(row)
        if earlier is None:
            self.histograms[row] = more
            self.quantiles[row] = exact
            return
        both = earlier()
        both.merge(more())
        self.histograms[row] = _constant(both)
        self.quantiles[row] = [both.quantile(q) for q in _QUANTILES]

    def delta(self) -> HistoryDelta:
        """Turn what was gathered into a `HistoryDelta`."""
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(self.return_n > 0, self.return_sum / self.return_n, np.nan)
            worker_mean = np.where(self.worker_n > 0, self.worker_sum / self.worker_n, np.nan)
            names = tuple(self.scalars)[:MAX_SCALARS]
            means = [total / n for total, n in (self.scalars[name] for name in names)]  # 0 / 0: NaN
        return HistoryDelta(
            bucket_s=self.bucket_s,
            first_bucket=self.first,
            oldest_bucket=self.first,
            num_env_steps=self.steps,
            num_terminated=self.kinds[:, Ending.TERMINATED].copy(),
            num_truncated=self.kinds[:, Ending.TRUNCATED].copy(),
            num_both=self.kinds[:, Ending.BOTH].copy(),
            num_error=self.kinds[:, Ending.ERROR].copy(),
            return_n=self.return_n,
            return_mean=mean,
            return_min=self.low,
            return_max=self.high,
            return_p10=self.quantiles[:, 0].copy(),
            return_p90=self.quantiles[:, 1].copy(),
            worker_steps=self.worker_steps.astype(np.float32),
            worker_return_mean=worker_mean.astype(np.float32),
            scalar_names=names,
            scalar_mean=np.array(means, np.float32).reshape(len(names), self.count).T.copy(),
        )


# --- rows of table `history` ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _RecordedBuckets:
    bucket_s: float
    end_s: float


def _recorded_buckets(connection: Connection) -> _RecordedBuckets | None:
    """Read the bucket width of table `history`, and where its last bucket ends."""
    if "history" not in tables_of(connection):
        return None
    width_s, last = connection.execute("SELECT max(bucket_s), max(bucket) FROM history").fetchone()
    return None if width_s is None else _RecordedBuckets(width_s, (last + 1) * width_s)


_RECORDED_COLUMNS = (
    "bucket", "num_env_steps", "num_terminated", "num_truncated", "num_both", "num_error",
    "return_n", "return_sum", "return_min", "return_max", "return_p10", "return_p90",
    "worker_steps", "worker_return_sum", "worker_return_n", "returns",
)  # fmt: skip


def _add_recorded(
    connection: Connection, builder: _BucketBuilder, recorded_s: float, end: int
) -> None:
    """Merge rows of table `history` before bucket `end` of their own width."""
    ratio = round(builder.bucket_s / recorded_s)
    rows = connection.execute(
        f"SELECT {', '.join(_RECORDED_COLUMNS)} FROM history WHERE bucket >= ? AND bucket < ?"
        " ORDER BY bucket",
        [builder.first * ratio, min(end, (builder.first + builder.count) * ratio)],
    ).fetchnumpy()
    at = np.asarray(rows["bucket"], np.int64) // ratio - builder.first
    np.add.at(builder.steps, at, _filled(rows["num_env_steps"]))
    for ending in Ending:
        np.add.at(builder.kinds[:, ending], at, rows[f"num_{ending.name.lower()}"])
    np.add.at(builder.return_n, at, rows["return_n"])
    np.add.at(builder.return_sum, at, _filled(rows["return_sum"]))
    np.fmin.at(builder.low, at, _filled(rows["return_min"]))
    np.fmax.at(builder.high, at, _filled(rows["return_max"]))
    builder.widen(max((len(steps) for steps in rows["worker_steps"]), default=0))
    lists = zip(
        at, rows["worker_steps"], rows["worker_return_sum"], rows["worker_return_n"], strict=True
    )
    for row, steps, sums, counts in lists:
        builder.worker_steps[row, : len(steps)] += _filled(steps)
        builder.worker_sum[row, : len(sums)] += _filled(sums)
        builder.worker_n[row, : len(counts)] += np.ma.filled(counts, 0)
    exact = np.stack([_filled(rows["return_p10"]), _filled(rows["return_p90"])], axis=-1)
    for place in np.flatnonzero(rows["return_n"]):
        blob = rows["returns"][place]
        builder.add_quantiles(int(at[place]), exact[place], _histogram_from(blob))
    if "history_scalars" in tables_of(connection):
        sums = recorded_bucket_sums(
            connection, builder.first * ratio, min(end, (builder.first + builder.count) * ratio)
        )
        builder.add_scalars(sums.bucket // ratio - builder.first, sums)


def _histogram_from(blob: bytes | None) -> Callable[[], Histogram]:
    return lambda: Histogram.from_bytes(bytes(blob or b""))


def _filled(column: NDArray[np.generic]) -> Float64:
    """Turn NULL, which DuckDB masks, into NaN."""
    return np.asarray(np.ma.filled(np.ma.asarray(column, np.float64), np.nan))


# --- the episodes themselves ----------------------------------------------------------------------


def _has_many_episodes(connection: Connection, start_s: float, end_s: float) -> bool:
    (count,) = connection.execute(
        "SELECT count(*) FROM episodes WHERE end_s >= ? AND end_s < ?", [start_s, end_s]
    ).fetchone()
    return bool(count > MAX_RAW_EPISODES)


def _add_episodes(
    connection: Connection, builder: _BucketBuilder, from_s: float, end_s: float
) -> bool:
    """Count episodes that ended in a range; False if there is none."""
    count, low, high = connection.execute(
        "SELECT count(*), min(rowid), max(rowid) FROM episodes WHERE end_s >= ? AND end_s < ?",
        [from_s, end_s],
    ).fetchone()
    if not count:
        return False
    size = high + 1 - low if count <= MAX_RAW_EPISODES else MAX_RAW_EPISODES
    for start in range(low, high + 1, size):
        rows = connection.execute(
            "SELECT floor(end_s / ?)::BIGINT - ? AS at, worker_index - 1 AS worker,"
            f" episode_return, coalesce(ending, {UNKNOWN_ENDING}) AS ending FROM episodes"
            " WHERE end_s >= ? AND end_s < ? AND rowid >= ? AND rowid < ?",
            [builder.bucket_s, builder.first, from_s, end_s, start, min(start + size, high + 1)],
        ).fetchnumpy()
        if len(rows["at"]):
            _add_batch(builder, **rows, is_all=count <= MAX_RAW_EPISODES)
    return True


def _add_batch(
    builder: _BucketBuilder,
    *,
    at: Int64,
    worker: Int64,
    episode_return: Float64,
    ending: NDArray[np.uint8],
    is_all: bool,
) -> None:
    for kind in Ending:
        builder.kinds[:, kind] += np.bincount(at[ending == kind], minlength=builder.count)
    good = ending != Ending.ERROR
    at, worker, returns = at[good], worker[good], _filled(episode_return[good])
    if not len(at):
        return
    builder.return_n += np.bincount(at, minlength=builder.count)
    builder.return_sum += np.bincount(at, returns, builder.count)
    width = int(worker.max()) + 1
    builder.widen(width)
    cells = at * width + worker
    size = builder.count * width
    shape = (builder.count, width)
    builder.worker_sum[:, :width] += np.bincount(cells, returns, size).reshape(shape)
    builder.worker_n[:, :width] += np.bincount(cells, minlength=size).reshape(shape)
    order = np.argsort(at, kind="stable")
    at, returns = at[order], returns[order]
    rows, starts = np.unique(at, return_index=True)
    builder.low[rows] = np.fmin(builder.low[rows], np.fmin.reduceat(returns, starts))
    builder.high[rows] = np.fmax(builder.high[rows], np.fmax.reduceat(returns, starts))
    for row, start, end in zip(rows, starts, [*starts[1:], len(at)], strict=True):
        values = returns[start:end]
        counted = _histogram_of(values)
        if not is_all:  # keeping the values of all batches would take too much memory
            counted = _constant(counted())
        builder.add_quantiles(int(row), _quantiles(values), counted)


def _quantiles(values: Float64) -> Float64:
    """Compute quantiles of the finite values, by the same rank as `Histogram.quantile`."""
    values = values[np.isfinite(values)]
    if not len(values):
        return np.full(len(_QUANTILES), np.nan)
    ranks = [int(q * (len(values) - 1)) for q in _QUANTILES]
    return np.asarray(np.partition(values, ranks)[ranks])


def _constant(histogram: Histogram) -> Callable[[], Histogram]:
    return lambda: histogram


def _histogram_of(values: Float64) -> Callable[[], Histogram]:
    def count() -> Histogram:
        histogram = Histogram()
        histogram.add(values)
        return histogram

    return count


def _add_steps(
    connection: Connection, builder: _BucketBuilder, from_s: float, end_s: float
) -> None:
    edges_s = (builder.first + np.arange(builder.count + 1)) * builder.bucket_s
    curves = worker_curves(
        connection,
        from_s=from_s,
        until_s=min(end_s, float(edges_s[-1])),
        counters=("num_env_steps",),
    )
    edges_s = np.minimum(np.maximum(edges_s, from_s), end_s)
    for curve in curves:
        builder.widen(curve.worker_index)
        steps = np.diff(curve.at(edges_s)[:, 0])
        builder.steps += steps
        builder.worker_steps[:, curve.worker_index - 1] += steps


def _add_imported_means(
    connection: Connection, builder: _BucketBuilder, from_s: float, end_s: float
) -> None:
    """Add the means that an imported run came with instead of episodes."""
    if "scalars" not in tables_of(connection):
        return
    for tag, place in (("mean", None), ("min", builder.low), ("max", builder.high)):
        rows = connection.execute(
            f"SELECT floor(t_s / ?)::BIGINT - ? AS at, {'avg' if tag == 'mean' else tag}(value)"
            " AS value FROM scalars WHERE tag = ? AND NOT isnan(value)"
            " AND t_s >= ? AND t_s < ? GROUP BY 1",
            [builder.bucket_s, builder.first, f"episode_return_{tag}", from_s, end_s],
        ).fetchnumpy()
        at, values = np.asarray(rows["at"], np.int64), _filled(rows["value"])
        if place is not None:
            place[at] = np.where(builder.return_n[at] > 0, values, np.nan)
            continue
        builder.return_n[at], builder.return_sum[at] = 1, values
        builder.low[at] = builder.high[at] = values
        builder.quantiles[at] = values[:, None]
