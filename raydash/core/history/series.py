"""The reader's side of a run's history: buckets that deltas extend and replace."""

import numpy as np

from raydash.core.history.named_columns import all_names, placed
from raydash.core.records import Float32, Float64, Int64
from raydash.core.updates import HistoryDelta

_COLUMNS: dict[str, type] = {
    "num_env_steps": np.float64,
    "num_terminated": np.int64,
    "num_truncated": np.int64,
    "num_both": np.int64,
    "num_error": np.int64,
    "return_n": np.int64,
    "return_mean": np.float64,
    "return_min": np.float64,
    "return_max": np.float64,
    "return_p10": np.float64,
    "return_p90": np.float64,
}


class HistorySeries:
    """One resolution of a run's history as a reader holds it, as bounded as the writer's.

    Attributes:
        bucket_s: Width of a bucket in seconds.
        first_bucket: Number of the first bucket held.
        version: Counts applied deltas, so that a view knows whether to draw.
    """

    num_env_steps: Float64
    num_terminated: Int64
    num_truncated: Int64
    num_both: Int64
    num_error: Int64
    return_n: Int64
    return_mean: Float64
    return_min: Float64
    return_max: Float64
    return_p10: Float64
    return_p90: Float64
    worker_steps: Float32
    worker_return_mean: Float32
    scalar_names: tuple[str, ...]
    scalar_mean: Float32

    def __init__(self) -> None:
        self.bucket_s = 0.5
        self.version = 0
        self._reset(0)

    def __len__(self) -> int:
        return len(self.num_env_steps)

    def _reset(self, first_bucket: int) -> None:
        self.first_bucket = first_bucket
        for name, dtype in _COLUMNS.items():
            setattr(self, name, np.empty(0, dtype))
        self.worker_steps = np.empty((0, 0), np.float32)
        self.worker_return_mean = np.empty((0, 0), np.float32)
        self.scalar_names = ()
        self.scalar_mean = np.empty((0, 0), np.float32)

    def times_s(self) -> Float64:
        """The middle of each bucket, seconds on the run's clock."""
        middles = self.first_bucket + np.arange(len(self), dtype=np.float64) + 0.5
        return np.asarray(middles * self.bucket_s, np.float64)

    def num_complete(self, now_s: float, settle_s: float) -> int:
        """Count the leading buckets that can't change any more.

        `now_s` is the run's clock, `settle_s` is how late a chunk may arrive.
        """
        end = int(np.floor((now_s - settle_s) / self.bucket_s))
        return int(np.clip(end - self.first_bucket, 0, len(self)))

    def apply(self, delta: HistoryDelta) -> None:
        """Extend and replace buckets, and drop those that the writer has dropped."""
        self.version += 1
        if delta.bucket_s != self.bucket_s:
            self.bucket_s = delta.bucket_s
            self._reset(delta.first_bucket)
        keep_from = max(delta.oldest_bucket, self.first_bucket)
        end = self.first_bucket + len(self)
        if not len(self) or delta.first_bucket > end or delta.first_bucket < keep_from:
            self._reset(delta.first_bucket)
            keep_from = end = delta.first_bucket
        kept = slice(keep_from - self.first_bucket, delta.first_bucket - self.first_bucket)
        for name in _COLUMNS:
            column = getattr(self, name)[kept]
            setattr(self, name, np.concatenate([column, getattr(delta, name)]))
        width = max(self.worker_steps.shape[1], delta.worker_steps.shape[1])
        self.worker_steps = np.concatenate(
            [
                _widened(self.worker_steps[kept], width, 0.0),
                _widened(delta.worker_steps, width, 0.0),
            ],
        )
        self.worker_return_mean = np.concatenate(
            [
                _widened(self.worker_return_mean[kept], width, np.nan),
                _widened(delta.worker_return_mean, width, np.nan),
            ],
        )
        names = all_names((self.scalar_names, delta.scalar_names))
        scalars = delta.scalar_mean
        if not delta.scalar_names:
            scalars = np.empty((len(delta), 0), np.float32)
        self.scalar_mean = np.concatenate(
            [
                placed(self.scalar_mean[kept], self.scalar_names, names, np.nan),
                placed(scalars, delta.scalar_names, names, np.nan),
            ],
        )
        self.scalar_names = names
        self.first_bucket = keep_from

    def scalar(self, name: str) -> Float32:
        """Return the mean of a named scalar in each bucket; NaN where no episode had it."""
        if name not in self.scalar_names:
            return np.full(len(self), np.nan, np.float32)
        return self.scalar_mean[:, self.scalar_names.index(name)]


def _widened(matrix: Float32, width: int, fill: float) -> Float32:
    missing = width - matrix.shape[1]
    if missing <= 0:
        return matrix
    return np.pad(matrix, ((0, 0), (0, missing)), constant_values=fill)
