"""The writer's side of a run's history: time buckets, at two resolutions, bounded for ever.

`History` takes in chunks as they come and answers "what changed since version `seq`" with a
`HistoryDelta`, so a late reader and one that was there all along hold the same buckets. What is
recorded of it are `HistoryRows`: they hold what a bucket needs to be added to and merged.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from raydash.core.history.histogram import Histogram
from raydash.core.named_columns import all_names, placed
from raydash.core.records import EpisodeColumns, EpisodeScalars, Float32, Float64, Int32, Int64
from raydash.core.states import Ending
from raydash.core.updates import HistoryDelta

BUCKET_S = 0.5
CAPACITY = 1200
MAX_SCALARS = 32
"""Named scalars that are kept over time; of what comes later there are only figures."""
_KINDS = len(Ending)


@dataclass(frozen=True, slots=True)
class HistoryRows:
    """Neighbouring buckets of the whole run, as they are recorded.

    Attributes:
        bucket_s: Width of a bucket.
        bucket: Numbers of the buckets, rising; the recorded ones from the first of these on are
            replaced by these.
        num_env_steps: Steps in the bucket, all workers.
        endings: Episodes by `Ending` number, shape (rows, 4).
        return_n: Episodes behind the return figures.
        return_sum: Of their returns.
        return_min: Smallest; NaN, like the next three, where `return_n` is 0.
        return_max: Largest.
        return_p10: 10 % quantile, approximate.
        return_p90: 90 % quantile, likewise.
        worker_steps: Steps per worker, shape (rows, workers); column j is worker j + 1.
        worker_return_sum: Sum of returns per worker, same shape.
        worker_return_n: Episodes behind it, same shape.
        returns: `Histogram.to_bytes` of each bucket.
        scalar_names: Of the columns of the next two.
        scalar_sum: Of each named scalar, shape (rows, names).
        scalar_n: Episodes behind it, same shape.
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
        """What is left of these after `newer` has replaced some, and `newer` behind it."""
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
                    placed(_scalars(part, name)[:end], part.scalar_names, names, 0)
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


def _scalars(rows: HistoryRows, name: str) -> np.ndarray:
    """A matrix of named scalars; without names one without columns."""
    matrix: np.ndarray = getattr(rows, name)
    return matrix if rows.scalar_names else np.zeros((len(rows), 0), matrix.dtype)


def _widened(matrix: np.ndarray, width: int) -> np.ndarray:
    return np.pad(matrix, ((0, 0), (0, width - matrix.shape[1])))


class Tier:
    """One resolution: `CAPACITY` buckets; then the oldest go, or pairs are merged.

    Attributes:
        bucket_s: Width of a bucket now.
        first_bucket: The oldest bucket that is held.
    """

    def __init__(self, *, merges: bool, bucket_s: float = BUCKET_S, capacity: int = CAPACITY):
        """An empty tier.

        Args:
            merges: When full, merge pairs (whole run) rather than forget the oldest (recent).
            bucket_s: Width to begin with.
            capacity: Buckets held at most.
        """
        self.bucket_s = bucket_s
        self.first_bucket = 0
        self._merges = merges
        self._capacity = capacity
        self._rows = 0
        self._width = 0
        self._histograms: dict[int, Histogram] = {}  # by number of bucket; none where no episode
        room = 2 * capacity
        self._seq = np.zeros(room, np.int64)
        self._steps = np.zeros(room)
        self._kinds = np.zeros((room, _KINDS), np.int64)
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
        self._reach(end_s, seq)
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
        self._reach(float(episodes.end_s.max()), seq)
        rows = np.floor(episodes.end_s / self.bucket_s).astype(np.int64) - self.first_bucket
        rows = np.minimum(np.maximum(rows, 0), self._rows - 1)
        np.add.at(self._kinds, (rows, episodes.ending), 1)
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
        """Put named scalars of episodes into the buckets in which these ended.

        Args:
            end_s: When each episode ended.
            scalars: Of the same episodes; of more than `MAX_SCALARS` names the first are kept.
            seq: The version.
        """
        if not scalars.names or not len(end_s):
            return
        self._know(scalars.names)
        self._reach(float(end_s.max()), seq)
        rows = np.floor(end_s / self.bucket_s).astype(np.int64) - self.first_bucket
        rows = np.minimum(np.maximum(rows, 0), self._rows - 1)
        for column, name in enumerate(scalars.names):
            if name in self._scalar_names:
                place = self._scalar_names.index(name)
                values = scalars.values[:, column]
                known = ~np.isnan(values)
                np.add.at(self._scalar_sum[:, place], rows[known], values[known])
                np.add.at(self._scalar_n[:, place], rows[known], 1)
                self._seq[rows[known]] = seq

    def _know(self, names: tuple[str, ...]) -> None:
        """Make room for named scalars."""
        known = all_names((self._scalar_names, names))[:MAX_SCALARS]
        self._scalar_sum = placed(self._scalar_sum, self._scalar_names, known, 0)
        self._scalar_n = placed(self._scalar_n, self._scalar_names, known, 0)
        self._scalar_names = known

    def pass_time(self, t_s: float, seq: int) -> None:
        """Time goes by: buckets without steps exist too."""
        self._reach(t_s, seq)

    def delta(self, since_seq: int) -> HistoryDelta:
        """The tail of buckets from the first that changed after `since_seq`; 0: all of them."""
        oldest = max(0, self._rows - self._capacity)  # those before are let go a batch at a time
        changed = np.flatnonzero(self._seq[oldest : self._rows] > since_seq)
        first = oldest + int(changed[0]) if len(changed) else self._rows
        if since_seq == 0:
            first = oldest
        return self._columns(first, self._rows, self.first_bucket + oldest)

    def _columns(self, first: int, end: int, oldest_bucket: int) -> HistoryDelta:
        """Rows `first` to `end` (not with it)."""
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
            num_terminated=self._kind(tail, Ending.TERMINATED),
            num_truncated=self._kind(tail, Ending.TRUNCATED),
            num_both=self._kind(tail, Ending.BOTH),
            num_error=self._kind(tail, Ending.ERROR),
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
        """Buckets up to now, forgotten ones too."""
        return self.first_bucket + self._rows

    def first_changed(self, since_seq: int) -> int:
        """The first bucket that changed after a version; `num_buckets` if none did."""
        changed = np.flatnonzero(self._seq[: self._rows] > since_seq)
        return self.first_bucket + (int(changed[0]) if len(changed) else self._rows)

    def rows(self, first: int, end: int) -> HistoryRows:
        """Buckets `first` to `end` (not with it), which must be held."""
        part = slice(first - self.first_bucket, end - self.first_bucket)
        empty = Histogram()
        return HistoryRows(
            bucket_s=self.bucket_s,
            bucket=np.arange(first, end),
            num_env_steps=self._steps[part].copy(),
            endings=self._kinds[part].copy(),
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
        """Begin with recorded buckets; what lies between them was empty. Only an empty tier can.

        Raises:
            ValueError: if these are no buckets of a tier; nothing was restored.
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
        for name, column in _RECORDED.items():
            getattr(self, name)[bucket] = getattr(rows, column)
        self._worker_steps[bucket, :width] = rows.worker_steps
        self._worker_sum[bucket, :width] = rows.worker_return_sum
        self._worker_n[bucket, :width] = rows.worker_return_n
        if rows.scalar_names:
            self._know(rows.scalar_names)
            self._scalar_sum[bucket] = placed(
                rows.scalar_sum, rows.scalar_names, self._scalar_names, 0
            )
            self._scalar_n[bucket] = placed(rows.scalar_n, rows.scalar_names, self._scalar_names, 0)

    def restore_scalar(self, name: str, bucket: Int64, n: Int64, total: Float64, seq: int) -> None:
        """Begin with a named scalar as it is known of some buckets, which must be held."""
        self._know((name,))
        if name not in self._scalar_names:
            return
        place, rows = self._scalar_names.index(name), bucket - self.first_bucket
        changed = self._scalar_n[rows, place] != n
        self._scalar_n[rows, place], self._scalar_sum[rows, place] = n, total
        self._seq[rows[changed]] = seq

    def begin_with(self, part: HistoryDelta) -> None:
        """Begin with buckets that are over: nothing more may be counted into them.

        Only an empty tier that never merges can: the histograms behind the quantiles, and how many
        episodes are behind the mean of a worker or of a named scalar, are not known of such
        buckets.
        """
        count, width = len(part), part.worker_steps.shape[1]
        self.widen(width)
        self.bucket_s, self.first_bucket, self._rows = part.bucket_s, part.first_bucket, count
        rows = slice(0, count)
        self._steps[rows] = part.num_env_steps
        for ending, name in _KIND_NAMES.items():
            self._kinds[rows, ending] = getattr(part, name)
        self._return_n[rows] = part.return_n
        self._return_sum[rows] = np.where(part.return_n > 0, part.return_mean * part.return_n, 0.0)
        self._return_min[rows], self._return_max[rows] = part.return_min, part.return_max
        self._p10[rows], self._p90[rows] = part.return_p10, part.return_p90
        self._worker_steps[rows, :width] = part.worker_steps
        known = ~np.isnan(part.worker_return_mean)
        self._worker_n[rows, :width] = known
        self._worker_sum[rows, :width] = np.where(known, part.worker_return_mean, 0.0)
        if part.scalar_names:
            self._know(part.scalar_names)
            mean = placed(part.scalar_mean, part.scalar_names, self._scalar_names, np.nan)
            self._scalar_n[rows] = ~np.isnan(mean)
            self._scalar_sum[rows] = np.nan_to_num(mean)

    def between(self, start_s: float, end_s: float, num_buckets: int) -> HistoryDelta:
        """A part, as one tail of at most `num_buckets` rows: wider ones than these if need be."""
        first = min(max(int(start_s // self.bucket_s), self.first_bucket), self.num_buckets)
        end = min(max(int(end_s // self.bucket_s) + 1, first), self.num_buckets)
        if end - first <= num_buckets:
            return self._columns(first - self.first_bucket, end - self.first_bucket, first)
        wider = Tier(merges=True, bucket_s=self.bucket_s, capacity=self.num_buckets)
        wider.restore(self.rows(self.first_bucket, self.num_buckets))
        wider._halve(0)
        return wider.between(start_s, end_s, num_buckets)

    def worker_steps_total(self) -> Float64:
        """Steps of each worker in all buckets that are held."""
        held = self._worker_steps[: self._rows, : self._width]
        return np.asarray(held.sum(axis=0, dtype=np.float64))

    def _kind(self, tail: slice, ending: Ending) -> Int64:
        return self._kinds[tail, ending].copy()

    def _row(self, t_s: float) -> int:
        row = int(t_s // self.bucket_s) - self.first_bucket
        return min(max(row, 0), self._rows - 1)

    def _reach(self, t_s: float, seq: int) -> None:
        """Let the rows reach up to the bucket of `t_s`; there is always one."""
        t_s = max(t_s, 0.0)
        if self._merges:
            while int(t_s // self.bucket_s) >= self._capacity:
                self._halve(seq)
        row = int(t_s // self.bucket_s) - self.first_bucket
        if row >= len(self._steps):
            surplus = row + 1 - self._capacity
            self._forget(surplus)
            row -= surplus
        if row >= self._rows:
            self._seq[self._rows : row + 1] = seq
            self._rows = row + 1

    def _forget(self, count: int) -> None:
        """Let the oldest `count` buckets go; more than there are, if time jumped."""
        keep = max(0, self._rows - count)
        for name in _ARRAYS:
            array = getattr(self, name)
            array[:keep] = array[self._rows - keep : self._rows].copy()
            array[keep : self._rows] = np.nan if name in _NANS else 0
        self._rows = keep
        self.first_bucket += count
        for bucket in [bucket for bucket in self._histograms if bucket < self.first_bucket]:
            del self._histograms[bucket]

    def _halve(self, seq: int) -> None:
        """Merge neighbours: half as many buckets, twice as wide."""
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
            array[pairs:] = np.nan if name in _NANS else 0
        histograms, self._histograms = self._histograms, {}
        for bucket, histogram in histograms.items():
            self._histograms.setdefault(bucket // 2, Histogram()).merge(histogram)
        for row, histogram in self._histograms.items():
            self._p10[row], self._p90[row] = histogram.quantile(0.1), histogram.quantile(0.9)
        self._rows = pairs
        self._seq[:pairs] = seq
        self.bucket_s *= 2


_KIND_NAMES = {
    Ending.TERMINATED: "num_terminated",
    Ending.TRUNCATED: "num_truncated",
    Ending.BOTH: "num_both",
    Ending.ERROR: "num_error",
}
_NANS = ("_return_min", "_return_max", "_p10", "_p90")
_ARRAYS = (
    "_seq", "_steps", "_kinds", "_return_n", "_return_sum", "_return_min", "_return_max",
    "_p10", "_p90", "_worker_steps", "_worker_sum", "_worker_n", "_scalar_sum", "_scalar_n",
)  # fmt: skip


_RECORDED = {
    "_steps": "num_env_steps",
    "_kinds": "endings",
    "_return_n": "return_n",
    "_return_sum": "return_sum",
    "_return_min": "return_min",
    "_return_max": "return_max",
    "_p10": "return_p10",
    "_p90": "return_p90",
}


class History:
    """Both resolutions: the last 10 minutes in 0.5 s buckets, and the whole run."""

    def __init__(self) -> None:
        self.recent = Tier(merges=False)
        self.whole = Tier(merges=True)
        self._kept_bucket_s = BUCKET_S
        self._kept_until = 0
        self._kept_seq = 0

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
        """Let buckets without steps come to be."""
        self.recent.pass_time(t_s, seq)
        self.whole.pass_time(t_s, seq)

    # --- what is recorded of it --------------------------------------------------------------

    def restore(self, rows: HistoryRows) -> None:
        """Begin with the whole run as it was recorded.

        Raises:
            ValueError: if these are no buckets of a run; nothing was restored.
        """
        self.whole.restore(rows)
        self._kept_bucket_s, self._kept_until = self.whole.bucket_s, self.whole.num_buckets

    def to_record(self, until_s: float, seq: int) -> HistoryRows | None:
        """Buckets of the whole run that a recording does not hold as they are now.

        Args:
            until_s: Only those that end before; infinite: all of them.
            seq: The newest version that is in them: those of later ones come the next time.

        Returns:
            None if there are none. The rows replace those from their first bucket on.
        """
        whole = self.whole
        if whole.bucket_s != self._kept_bucket_s:
            self._kept_bucket_s, self._kept_until = whole.bucket_s, 0
        ended = min(max(until_s / whole.bucket_s, 0.0), whole.num_buckets)
        end = max(math.floor(ended), self._kept_until)
        first = min(self._kept_until, whole.first_changed(self._kept_seq))
        self._kept_until, self._kept_seq = end, seq
        return whole.rows(first, end) if first < end else None
