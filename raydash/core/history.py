"""The writer's side of a run's history: time buckets, at two resolutions, bounded for ever.

`History` takes in chunks as they come and answers "what changed since version `seq`" with a
`HistoryDelta`, so a late reader and one that was there all along hold the same buckets.
"""

import numpy as np

from raydash.core.histogram import Histogram
from raydash.core.records import EpisodeColumns, Int64
from raydash.core.states import Ending
from raydash.core.updates import HistoryDelta

BUCKET_S = 0.5
CAPACITY = 1200
_KINDS = len(Ending)


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
        self, worker_index: int, start_s: float, end_s: float, steps: int, seq: int
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
        tail = slice(first, self._rows)
        return_n = self._return_n[tail].copy()
        worker_n = self._worker_n[tail, : self._width]
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(return_n > 0, self._return_sum[tail] / return_n, np.nan)
            worker_mean = np.where(
                worker_n > 0, self._worker_sum[tail, : self._width] / worker_n, np.nan
            ).astype(np.float32)
        return HistoryDelta(
            bucket_s=self.bucket_s,
            first_bucket=self.first_bucket + first,
            oldest_bucket=self.first_bucket + oldest,
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
        )

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


_NANS = ("_return_min", "_return_max", "_p10", "_p90")
_ARRAYS = (
    "_seq", "_steps", "_kinds", "_return_n", "_return_sum", "_return_min", "_return_max",
    "_p10", "_p90", "_worker_steps", "_worker_sum", "_worker_n",
)  # fmt: skip


class History:
    """Both resolutions: the last 10 minutes in 0.5 s buckets, and the whole run."""

    def __init__(self) -> None:
        self.recent = Tier(merges=False)
        self.whole = Tier(merges=True)

    def widen(self, num_workers: int) -> None:
        """Make room for workers up to this index."""
        self.recent.widen(num_workers)
        self.whole.widen(num_workers)

    def add_steps(
        self, worker_index: int, start_s: float, end_s: float, steps: int, seq: int
    ) -> None:
        """Count the steps of a chunk that took from `start_s` to `end_s`."""
        self.recent.add_steps(worker_index, start_s, end_s, steps, seq)
        self.whole.add_steps(worker_index, start_s, end_s, steps, seq)

    def add_episodes(self, episodes: EpisodeColumns, seq: int) -> None:
        """Count finished episodes."""
        self.recent.add_episodes(episodes, seq)
        self.whole.add_episodes(episodes, seq)

    def pass_time(self, t_s: float, seq: int) -> None:
        """Let buckets without steps come to be."""
        self.recent.pass_time(t_s, seq)
        self.whole.pass_time(t_s, seq)
