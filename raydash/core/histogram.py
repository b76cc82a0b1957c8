"""A mergeable histogram for quantiles of values that are not kept."""

import math

import numpy as np

from raydash.core.records import Float64, Int64

MAX_BINS = 256


class Histogram:
    """Counts and sums in bins of a power-of-two width, aligned at zero.

    Merging is associative and exact in its counts: two histograms are brought to the coarser
    width first. A bin answers with the mean of its own values, so point masses (CartPole's whole
    numbers) come out exactly; otherwise the error of a quantile is at most one bin, which is
    under 1 % of the range because more than 128 bins are in use before bins are merged.
    """

    __slots__ = ("_counts", "_exponent", "_keys", "_sums")

    def __init__(self) -> None:
        self._exponent = -1074
        self._keys = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)
        self._sums = np.empty(0, np.float64)

    def __len__(self) -> int:
        return int(self._counts.sum())

    def add(self, values: Float64) -> None:
        """Count values in; those that are not finite are left out."""
        values = values[np.isfinite(values)]
        if not len(values):
            return
        exponent = max(self._exponent, _finest_exponent(values))
        keys = np.floor(np.ldexp(values, -exponent)).astype(np.int64)
        self._merge(exponent, keys, np.ones(len(values), np.int64), values)

    def merge(self, other: "Histogram") -> None:
        """Take in another's counts."""
        if len(other._keys):
            self._merge(other._exponent, other._keys, other._counts, other._sums)

    def quantile(self, q: float) -> float:
        """The value below which a share `q` of all values lies; NaN if there is none."""
        if not len(self._keys):
            return math.nan
        cumulated = np.cumsum(self._counts)
        rank = q * (cumulated[-1] - 1)
        bin_index = int(np.searchsorted(cumulated, rank, side="right"))
        return float(self._sums[bin_index] / self._counts[bin_index])

    def _merge(
        self,
        exponent: int,
        keys: Int64,
        counts: Int64,
        sums: Float64,
    ) -> None:
        wanted = max(exponent, self._exponent) if len(self._keys) else exponent
        mine = _coarsened(self._keys, wanted - self._exponent)
        both = np.concatenate([mine, _coarsened(keys, wanted - exponent)])
        span = int(both.max()) - int(both.min()) + 1
        extra = max(0, math.ceil(math.log2(span / MAX_BINS))) if span > MAX_BINS else 0
        both = _coarsened(both, extra)
        self._exponent = wanted + extra
        self._keys, place = np.unique(both, return_inverse=True)
        all_counts = np.concatenate([self._counts, counts])
        all_sums = np.concatenate([self._sums, sums])
        size = len(self._keys)
        self._counts = np.asarray(np.bincount(place, all_counts, size), np.int64)
        self._sums = np.asarray(np.bincount(place, all_sums, size), np.float64)


def _finest_exponent(values: Float64) -> int:
    """Bins so fine that only the merge step decides, and so coarse that keys fit 64 bits."""
    largest = float(np.abs(values).max())
    return (math.frexp(largest)[1] if largest else 0) - 40


def _coarsened(keys: Int64, shift: int) -> Int64:
    return keys >> min(shift, 63) if shift > 0 else keys
