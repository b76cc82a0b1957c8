"""The writer's side of a run's history: time buckets at two resolutions, bounded in number.

`History` takes in chunks as they come and answers "what changed since version `seq`" with a
`HistoryDelta`, so a reader that comes late holds the same buckets as one that was there all along.
`HistoryRows` are what is recorded: they hold all that is needed to add to a bucket or to merge it.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from raydash.core.history.histogram import Histogram
from raydash.core.history.named_columns import all_names, placed
from raydash.core.records import EpisodeColumns, EpisodeScalars, Float32, Float64, Int32, Int64
from raydash.core.states import Ending
from raydash.core.updates import HistoryDelta

BUCKET_S = 0.5
CAPACITY = 1200
MAX_SCALARS = 32
"""How many named scalars are kept over time; for any others there are only whole-run figures."""
_NUM_ENDINGS = len(Ending)


@dataclass(frozen=True, slots=True)
class HistoryRows:
    """Neighbouring buckets of the whole run, as they are recorded.

    Attributes:
        bucket_s: Width of a bucket.
        bucket: Ascending bucket numbers. These rows replace the recorded ones from the first of
            them on.
        num_env_steps: Steps in the bucket, all workers.
        endings: Episodes by `Ending` number, shape (rows, 4).
        return_n: Episodes behind the return figures.
        return_sum: Sum of their returns.
        return_min: Smallest return; NaN, like the next three, where `return_n` is 0.
        return_max: Largest return.
        return_p10: 10 % quantile of the returns, approximate.
        return_p90: 90 % quantile of the returns, approximate.
        worker_steps: Steps per worker, shape (rows, workers); column j is worker j + 1.
        worker_return_sum: Sum of returns per worker, same shape.
        worker_return_n: Episodes behind that sum, same shape.
        returns: `Histogram.to_bytes` of each bucket.
        scalar_names: Names of the columns of the next two.
        scalar_sum: Sum of each named scalar, shape (rows, names).
        scalar_n: Episodes behind that sum, same shape.
    """

    bucket_s: float
    bucket: Int64
    num_env_steps: Float64
    endings: Int64
    return_n: Int64
    return_sum: Float64
    return_min: Float64
    return_max: Float64
    return_p10: Float64
    return_p90: Float64
    worker_steps: Float32
    worker_return_sum: Float64
    worker_return_n: Int32
    returns: tuple[bytes, ...]
    scalar_names: tuple[str, ...] = ()
    scalar_sum: Float64 = field(default_factory=lambda: np.empty((0, 0)))
    scalar_n: Int64 = field(default_factory=lambda: np.empty((0, 0), np.int64))

    def __len__(self) -> int:
        return len(self.bucket)

    @property
    def end_s(self) -> float:
        """Where the last bucket ends, on the run's clock; 0 if there is none."""
        return float(self.bucket[-1] + 1) * self.bucket_s if len(self.bucket) else 0.0

    def followed_by(self, newer: "HistoryRows") -> "HistoryRows":
        """Append `newer`, which replaces all rows from its first bucket on."""
        kept = int(np.searchsorted(self.bucket, newer.bucket[0])) if len(newer) else len(self)
        if newer.bucket_s != self.bucket_s or not kept:
            return newer
        width = max(self.worker_steps.shape[1], newer.worker_steps.shape[1])
        columns = {
            name: np.concatenate([getattr(self, name)[:kept], getattr(newer, name)])
            for name in _PLAIN_COLUMNS
        }
        per_worker = {
            name: np.concatenate(
                [
                    _widened(getattr(self, name)[:kept], width),
                    _widened(getattr(newer, name), width),
                ]
            )
            for name in _WORKER_COLUMNS
        }
        names = all_names((self.scalar_names, newer.scalar_names))
        scalars = {
            name: np.concatenate(
                [
                    placed(_scalar_matrix(part, name)[:end], part.scalar_names, names, 0)
                    for part, end in ((self, kept), (newer, len(newer)))
                ]
            )
            for name in ("scalar_sum", "scalar_n")
        }
        return HistoryRows(
            bucket_s=self.bucket_s,
            returns=self.returns[:kept] + newer.returns,
            scalar_names=names,
            **columns,
            **per_worker,
            **scalars,
        )


_PLAIN_COLUMNS = (
    "bucket", "num_env_steps", "endings", "return_n", "return_sum", "return_min", "return_max",
    "return_p10", "return_p90",
)  # fmt: skip
_WORKER_COLUMNS = ("worker_steps", "worker_return_sum", "worker_return_n")


def _scalar_matrix(rows: HistoryRows, name: str) -> np.ndarray:
    """Return a matrix of named scalars, which has no columns if there are no names."""
    matrix: np.ndarray = getattr(rows, name)
    return matrix if rows.scalar_names else np.zeros((len(rows), 0), matrix.dtype)


def _widened(matrix: np.ndarray, width: int) -> np.ndarray:
    return np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])))


class Tier:
    """A run's history at one resolution.

    It holds at most `CAPACITY` buckets; when it is full, it drops the oldest or merges pairs.

    Attributes:
        bucket_s: Current width of a bucket.
        first_bucket: Number of the oldest bucket that is held.
    """

    def __init__(self, *, merges: bool, bucket_s: float = BUCKET_S, capacity: int = CAPACITY):
        """Begin empty, with buckets of `bucket_s` and room for `capacity` of them.

        When full, a tier that `merges` joins pairs of buckets (the whole run); any other drops the
        oldest (the recent past).
        """
        self.bucket_s = bucket_s
        self.first_bucket = 0
        self._merges = merges
        self._capacity = capacity
        self._rows = 0
        self._width = 0
        self._histograms: dict[int, Histogram] = {}  # by bucket number; none without episodes
        room = 2 * capacity
        self._seq = np.zeros(room, np.int64)
        self._steps = np.zeros(room)
        self._endings = np.zeros((room, _NUM_ENDINGS), np.int64)
        self._return_n = np.zeros(room, np.int64)
        self._return_sum = np.zeros(room)
        self._return_min = np.full(room, np.nan)
        self._return_max = np.full(room, np.nan)
        self._p10 = np.full(room, np.nan)
        self._p90 = np.full(room, np.nan)
        self._worker_steps = np.zeros((room, 0), np.float32)
        self._worker_sum = np.zeros((room, 0))
        self._worker_n = np.zeros((room, 0), np.int32)
        self._scalar_names: tuple[str, ...] = ()
        self._scalar_sum = np.zeros((room, 0))
        self._scalar_n = np.zeros((room, 0), np.int64)

    def widen(self, num_workers: int) -> None:
        """Make room for workers up to this index."""
        if num_workers > self._worker_steps.shape[1]:
            room = max(num_workers, 2 * self._worker_steps.shape[1])
            for name in ("_worker_steps", "_worker_sum", "_worker_n"):
                old = getattr(self, name)
                new = np.zeros((old.shape[0], room), old.dtype)
                new[:, : old.shape[1]] = old
                setattr(self, name, new)
        self._width = max(self._width, num_workers)

    def add_steps(
        self, worker_index: int, start_s: float, end_s: float, steps: float, seq: int
    ) -> None:
        """Spread the steps of a chunk evenly over the time it took."""
        if steps <= 0:
            return
        self._extend_to(end_s, seq)
        first, last = self._row(start_s), self._row(end_s)
        if first == last:
            shares = np.array([float(steps)])
        else:
            edges = (self.first_bucket + np.arange(first, last + 2)) * self.bucket_s
            inside = np.diff(np.minimum(np.maximum(edges, start_s), end_s))
            shares = inside * (steps / inside.sum())
        rows = slice(first, last + 1)
        self._steps[rows] += shares
        self._worker_steps[rows, worker_index - 1] += shares
        self._seq[rows] = seq

    def add_episodes(self, episodes: EpisodeColumns, seq: int) -> None:
        """Put finished episodes into the buckets in which they ended."""
        if not len(episodes):
            return
        self._extend_to(float(episodes.end_s.max()), seq)
        rows = np.floor(episodes.end_s / self.bucket_s).astype(np.int64) - self.first_bucket
        rows = np.minimum(np.maximum(rows, 0), self._rows - 1)
        np.add.at(self._endings, (rows, episodes.ending), 1)
        good = episodes.ending != Ending.ERROR
        columns = episodes.worker_index[good] - 1
        returns = episodes.episode_return[good]
        np.add.at(self._worker_sum, (rows[good], columns), returns)
        np.add.at(self._worker_n, (rows[good], columns), 1)
        for row in np.unique(rows):
            self._seq[row] = seq
            values = returns[rows[good] == row]
            if len(values):
                self._return_n[row] += len(values)
                self._return_sum[row] += values.sum()
                self._return_min[row] = np.fmin(self._return_min[row], np.fmin.reduce(values))
                self._return_max[row] = np.fmax(self._return_max[row], np.fmax.reduce(values))
                histogram = self._histograms.setdefault(self.first_bucket + int(row), Histogram())
                histogram.add(values)
                self._p10[row], self._p90[row] = histogram.quantile(0.1), histogram.quantile(0.9)

    def add_scalars(self, end_s: Float64, scalars: EpisodeScalars, seq: int) -> None:
        """Put named scalars of episodes, which ended at `end_s`, into their buckets.

        Only the first `MAX_SCALARS` names are kept.
        """
        if not scalars.names or not len(end_s):
            return
        self._add_scalar_names(scalars.names)
        self._extend_to(float(end_s.max()), seq)
        rows = np.floor(end_s / self.bucket_s).astype(np.int64) - self.first_bucket
        rows = np.minimum(np.maximum(rows, 0), self._rows - 1)
        for column, name in enumerate(scalars.names):
            if name in self._scalar_names:
                own_column = self._scalar_names.index(name)
                values = scalars.values[:, column]
                known = ~np.isnan(values)
                np.add.at(self._scalar_sum[:, own_column], rows[known], values[known])
                np.add.at(self._scalar_n[:, own_column], rows[known], 1)
                self._seq[rows[known]] = seq

    def _add_scalar_names(self, names: tuple[str, ...]) -> None:
        """Make room for the named scalars that are not known yet."""
        known = all_names((self._scalar_names, names))[:MAX_SCALARS]
        self._scalar_sum = placed(self._scalar_sum, self._scalar_names, known, 0)
        self._scalar_n = placed(self._scalar_n, self._scalar_names, known, 0)
        self._scalar_names = known

    def pass_time(self, t_s: float, seq: int) -> None:
        """Extend the buckets up to `t_s`, since those without steps exist too."""
        self._extend_to(t_s, seq)

    def delta(self, since_seq: int) -> HistoryDelta:
        """Return all buckets from the first that changed after `since_seq` on; 0: all of them."""
        oldest = max(0, self._rows - self._capacity)  # older ones are dropped a batch at a time
        changed = np.flatnonzero(self._seq[oldest : self._rows] > since_seq)
        first = oldest + int(changed[0]) if len(changed) else self._rows
        if since_seq == 0:
            first = oldest
        return self._columns(first, self._rows, self.first_bucket + oldest)

    def _columns(self, first: int, end: int, oldest_bucket: int) -> HistoryDelta:
        """Return rows `first` to `end`, without `end` itself."""
        tail = slice(first, end)
        return_n = self._return_n[tail].copy()
        worker_n = self._worker_n[tail, : self._width]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(return_n > 0, self._return_sum[tail] / return_n, np.nan)
            worker_mean = np.where(
                worker_n > 0, self._worker_sum[tail, : self._width] / worker_n, np.nan
            ).astype(np.float32)
            scalar_n = self._scalar_n[tail]
            scalar_mean = np.where(scalar_n > 0, self._scalar_sum[tail] / scalar_n, np.nan).astype(
                np.float32
            )
        return HistoryDelta(
            bucket_s=self.bucket_s,
            first_bucket=self.first_bucket + first,
            oldest_bucket=oldest_bucket,
            num_env_steps=self._steps[tail].copy(),
            num_terminated=self._ending_counts(tail, Ending.TERMINATED),
            num_truncated=self._ending_counts(tail, Ending.TRUNCATED),
            num_both=self._ending_counts(tail, Ending.BOTH),
            num_error=self._ending_counts(tail, Ending.ERROR),
            return_n=return_n,
            return_mean=mean,
            return_min=self._return_min[tail].copy(),
            return_max=self._return_max[tail].copy(),
            return_p10=self._p10[tail].copy(),
            return_p90=self._p90[tail].copy(),
            worker_steps=self._worker_steps[tail, : self._width].copy(),
            worker_return_mean=worker_mean,
            scalar_names=self._scalar_names,
            scalar_mean=scalar_mean,
        )

    @property
    def num_buckets(self) -> int:
        """Buckets up to now, dropped ones included."""
        return self.first_bucket + self._rows

    def first_changed(self, since_seq: int) -> int:
        """Find the first bucket that changed after a version; `num_buckets` if none did."""
        changed = np.flatnonzero(self._seq[: self._rows] > since_seq)
        return self.first_bucket + (int(changed[0]) if len(changed) else self._rows)

    def rows(self, first: int, end: int) -> HistoryRows:
        """Return buckets `first` to `end` (without `end`), which must still be held."""
        part = slice(first - self.first_bucket, end - self.first_bucket)
        empty = Histogram()
        return HistoryRows(
            bucket_s=self.bucket_s,
            bucket=np.arange(first, end),
            num_env_steps=self._steps[part].copy(),
            endings=self._endings[part].copy(),
            return_n=self._return_n[part].copy(),
            return_sum=self._return_sum[part].copy(),
            return_min=self._return_min[part].copy(),
            return_max=self._return_max[part].copy(),
            return_p10=self._p10[part].copy(),
            return_p90=self._p90[part].copy(),
            worker_steps=self._worker_steps[part, : self._width].copy(),
            worker_return_sum=self._worker_sum[part, : self._width].copy(),
            worker_return_n=self._worker_n[part, : self._width].copy(),
            returns=tuple(
                self._histograms.get(bucket, empty).to_bytes() for bucket in range(first, end)
            ),
            scalar_names=self._scalar_names,
            scalar_sum=self._scalar_sum[part].copy(),
            scalar_n=self._scalar_n[part].copy(),
        )

    def restore(self, rows: HistoryRows) -> None:
        """Fill an empty tier with recorded buckets; those between them were empty.

        Raises:
            ValueError: if these can't be buckets of a tier; then nothing is restored.
        """
        bucket = rows.bucket
        if not len(bucket):
            return
        is_width = math.isfinite(rows.bucket_s) and rows.bucket_s > 0
        if not is_width or bucket[0] < 0 or bucket[-1] >= self._capacity:
            raise ValueError("recorded buckets lie outside the run")
        if (np.diff(bucket) <= 0).any():
            raise ValueError("recorded buckets are not in order")
        histograms = {
            int(number): Histogram.from_bytes(data)
            for number, data in zip(bucket, rows.returns, strict=True)
            if data
        }
        self.widen(rows.worker_steps.shape[1])
        width = rows.worker_steps.shape[1]
        self.bucket_s = rows.bucket_s
        self._rows = int(bucket[-1]) + 1
        self._histograms = histograms
        for name, column in _RECORDED_COLUMNS.items():
            getattr(self, name)[bucket] = getattr(rows, column)
        self._worker_steps[bucket, :width] = rows.worker_steps
        self._worker_sum[bucket, :width] = rows.worker_return_sum
        self._worker_n[bucket, :width] = rows.worker_return_n
        if rows.scalar_names:
            self._add_scalar_names(rows.scalar_names)
            self._scalar_sum[bucket] = placed(
                rows.scalar_sum, rows.scalar_names, self._scalar_names, 0
            )
            self._scalar_n[bucket] = placed(rows.scalar_n, rows.scalar_names, self._scalar_names, 0)

    def restore_scalar(self, name: str, bucket: Int64, n: Int64, total: Float64, seq: int) -> None:
        """Set a named scalar in some buckets, which must be held, to `total` over `n` episodes."""
        self._add_scalar_names((name,))
        if name not in self._scalar_names:
            return
        column, rows = self._scalar_names.index(name), bucket - self.first_bucket
        changed = self._scalar_n[rows, column] != n
        self._scalar_n[rows, column], self._scalar_sum[rows, column] = n, total
        self._seq[rows[changed]] = seq

    def begin_with(self, part: HistoryDelta) -> None:
        """Fill an empty tier with finished buckets, into which nothing more may be counted.

        The tier must be one that never merges: such buckets lack the histograms behind their
        quantiles, and the number of episodes behind the mean of a worker or a named scalar.
        """
        count, width = len(part), part.worker_steps.shape[1]
        self.widen(width)
        self.bucket_s, self.first_bucket, self._rows = part.bucket_s, part.first_bucket, count
        rows = slice(0, count)
        self._steps[rows] = part.num_env_steps
        for ending, name in _ENDING_COLUMNS.items():
            self._endings[rows, ending] = getattr(part, name)
        self._return_n[rows] = part.return_n
        self._return_sum[rows] = np.where(part.return_n > 0, part.return_mean * part.return_n, 0.0)
        self._return_min[rows], self._return_max[rows] = part.return_min, part.return_max
        self._p10[rows], self._p90[rows] = part.return_p10, part.return_p90
        self._worker_steps[rows, :width] = part.worker_steps
        known = ~np.isnan(part.worker_return_mean)
        self._worker_n[rows, :width] = known
        self._worker_sum[rows, :width] = np.where(known, part.worker_return_mean, 0.0)
        if part.scalar_names:
            self._add_scalar_names(part.scalar_names)
            mean = placed(part.scalar_mean, part.scalar_names, self._scalar_names, np.nan)
            self._scalar_n[rows] = ~np.isnan(mean)
            self._scalar_sum[rows] = np.nan_to_num(mean)

    def between(self, start_s: float, end_s: float, num_buckets: int) -> HistoryDelta:
        """Return a range of the run in at most `num_buckets` rows, widening buckets if need be."""
        first = min(max(int(start_s // self.bucket_s), self.first_bucket), self.num_buckets)
        end = min(max(int(end_s // self.bucket_s) + 1, first), self.num_buckets)
        if end - first <= num_buckets:
            return self._columns(first - self.first_bucket, end - self.first_bucket, first)
        wider = Tier(merges=True, bucket_s=self.bucket_s, capacity=self.num_buckets)
        wider.restore(self.rows(self.first_bucket, self.num_buckets))
        wider._merge_pairs(0)
        return wider.between(start_s, end_s, num_buckets)

    def worker_steps_total(self) -> Float64:
        """Sum up the steps of each worker over all buckets that are held."""
        held = self._worker_steps[: self._rows, : self._width]
        return np.asarray(held.sum(axis=0, dtype=np.float64))

    def _ending_counts(self, tail: slice, ending: Ending) -> Int64:
        return self._endings[tail, ending].copy()

    def _row(self, t_s: float) -> int:
        row = int(t_s // self.bucket_s) - self.first_bucket
        return min(max(row, 0), self._rows - 1)

    def _extend_to(self, t_s: float, seq: int) -> None:
        """Add rows up to the bucket of `t_s`, at least one."""
        t_s = max(t_s, 0.0)
        if self._merges:
            while int(t_s // self.bucket_s) >= self._capacity:
                self._merge_pairs(seq)
        row = int(t_s // self.bucket_s) - self.first_bucket
        if row >= len(self._steps):
            surplus = row + 1 - self._capacity
            self._drop_oldest(surplus)
            row -= surplus
        if row >= self._rows:
            self._seq[self._rows : row + 1] = seq
            self._rows = row + 1

    def _drop_oldest(self, count: int) -> None:
        """Drop the oldest `count` buckets, which may be more than there are if time jumped."""
        keep = max(0, self._rows - count)
        for name in _ARRAYS:
            array = getattr(self, name)
            array[:keep] = array[self._rows - keep : self._rows].copy()
            array[keep : self._rows] = np.nan if name in _NAN_ARRAYS else 0
        self._rows = keep
        self.first_bucket += count
        for bucket in [bucket for bucket in self._histograms if bucket < self.first_bucket]:
            del self._histograms[bucket]

    def _merge_pairs(self, seq: int) -> None:
        """Merge neighbours, which leaves half as many buckets, twice as wide."""
        pairs = (self._rows + 1) // 2
        for name in _ARRAYS:
            array = getattr(self, name)
            even, odd = array[: 2 * pairs : 2].copy(), array[1 : 2 * pairs : 2].copy()
            if name == "_return_min":
                merged = np.fmin(even, odd)
            elif name == "_return_max":
                merged = np.fmax(even, odd)
            else:
                merged = even + odd
            array[:pairs] = merged
            array[pairs:] = np.nan if name in _NAN_ARRAYS else 0
        histograms, self._histograms = self._histograms, {}
        for bucket, histogram in histograms.items():
            self._histograms.setdefault(bucket // 2, Histogram()).merge(histogram)
        for row, histogram in self._histograms.items():
            self._p10[row], self._p90[row] = histogram.quantile(0.1), histogram.quantile(0.9)
        self._rows = pairs
        self._seq[:pairs] = seq
        self.bucket_s *= 2


_ENDING_COLUMNS = {
    Ending.TERMINATED: "num_terminated",
    Ending.TRUNCATED: "num_truncated",
    Ending.BOTH: "num_both",
    Ending.ERROR: "num_error",
}
_NAN_ARRAYS = ("_return_min", "_return_max", "_p10", "_p90")
_ARRAYS = (
    "_seq", "_steps", "_endings", "_return_n", "_return_sum", "_return_min", "_return_max",
    "_p10", "_p90", "_worker_steps", "_worker_sum", "_worker_n", "_scalar_sum", "_scalar_n",
)  # fmt: skip


_RECORDED_COLUMNS = {
    "_steps": "num_env_steps",
    "_endings": "endings",
    "_return_n": "return_n",
    "_return_sum": "return_sum",
    "_return_min": "return_min",
    "_return_max": "return_max",
    "_p10": "return_p10",
    "_p90": "return_p90",
}


class History:
    """A run's history: the last 10 minutes in 0.5 s buckets, and the whole run in wider ones."""

    def __init__(self) -> None:
        self.recent = Tier(merges=False)
        self.whole = Tier(merges=True)
        self._recorded_bucket_s = BUCKET_S
        self._recorded_until = 0
        self._recorded_seq = 0

    def widen(self, num_workers: int) -> None:
        """Make room for workers up to this index."""
        self.recent.widen(num_workers)
        self.whole.widen(num_workers)

    def add_steps(
        self, worker_index: int, start_s: float, end_s: float, steps: float, seq: int
    ) -> None:
        """Count the steps of a chunk that took from `start_s` to `end_s`."""
        self.recent.add_steps(worker_index, start_s, end_s, steps, seq)
        self.whole.add_steps(worker_index, start_s, end_s, steps, seq)

    def add_episodes(self, episodes: EpisodeColumns, seq: int) -> None:
        """Count finished episodes."""
        self.recent.add_episodes(episodes, seq)
        self.whole.add_episodes(episodes, seq)

    def add_scalars(self, end_s: Float64, scalars: EpisodeScalars, seq: int) -> None:
        """Count named scalars of finished episodes."""
        self.recent.add_scalars(end_s, scalars, seq)
        self.whole.add_scalars(end_s, scalars, seq)

    def pass_time(self, t_s: float, seq: int) -> None:
        """Extend the buckets up to `t_s`, since those without steps exist too."""
        self.recent.pass_time(t_s, seq)
        self.whole.pass_time(t_s, seq)

    # --- what is recorded of it --------------------------------------------------------------

    def restore(self, rows: HistoryRows) -> None:
        """Begin with the whole run as it was recorded.

        Raises:
            ValueError: if these can't be buckets of a run; then nothing is restored.
        """
        self.whole.restore(rows)
        self._recorded_bucket_s, self._recorded_until = self.whole.bucket_s, self.whole.num_buckets

    def to_record(self, until_s: float, seq: int) -> HistoryRows | None:
        """Take the buckets of the whole run whose recorded copy is missing or out of date.

        Only those that end before `until_s` are taken; infinity takes them all. `seq` is the newest
        version that they contain: later changes come the next time.

        Returns:
            Rows that replace the recorded ones from their first bucket on; None: nothing changed.
        """
        whole = self.whole
        if whole.bucket_s != self._recorded_bucket_s:
            self._recorded_bucket_s, self._recorded_until = whole.bucket_s, 0
        ended = min(max(until_s / whole.bucket_s, 0.0), whole.num_buckets)
        end = max(math.floor(ended), self._recorded_until)
        first = min(self._recorded_until, whole.first_changed(self._recorded_seq))
        self._recorded_until, self._recorded_seq = end, seq
        return whole.rows(first, end) if first < end else None
