"""A mergeable histogram for quantiles of values that are not kept."""

import math
import sys

import numpy as np

from raydash.core.records import Float64, Int64

MAX_BINS = 256
_KEY_BITS = 53  # of a double: neighbouring values get different keys, and a key fits 64 bits
_FINEST = -1074


class Histogram:
    """Counts and sums in bins of a power-of-two width, aligned at zero.

    Merging is associative: the width only depends on the values, not on their order. It is the
    finest at which all of them fall into `MAX_BINS` bins. A bin answers with the mean of its own
    values, so point masses (CartPole's whole numbers) come out exactly; otherwise the error of a
    quantile is at most one bin, which is under 1 % of the range because more than 128 bins are in
    use once bins had to be merged.
    """

    __slots__ = ("_counts", "_exponent", "_keys", "_sums")

    def __init__(self) -> None:
        self._exponent = _FINEST
        self._keys = np.empty(0, np.int64)
        self._counts = np.empty(0, np.int64)
        self._sums = np.empty(0, np.float64)  # in bin widths: sums of huge values stay finite

    def __len__(self) -> int:
        return int(self._counts.sum())

    def add(self, values: Float64) -> None:
        """Count values in; those that are not finite are left out."""
        values = values[np.isfinite(values)]
        if not len(values):
            return
        exponent = max(self._exponent, _finest_exponent(values))
        scaled = np.ldexp(values, -exponent)
        keys = np.floor(scaled).astype(np.int64)
        keys -= (scaled == 0) & (values < 0)  # so tiny that scaling lost it: still below zero
        self._merge(exponent, keys, np.ones(len(values)), scaled)

    def merge(self, other: "Histogram") -> None:
        """Take in another's counts."""
        if len(other._keys):
            self._merge(other._exponent, other._keys, other._counts, other._sums)

    def quantile(self, q: float) -> float:
        """The value below which a share `q` of all values lies; NaN if there is none."""
        if not len(self._keys):
            return math.nan
        cumulated = self._counts.cumsum()
        rank = int(q * (cumulated[-1] - 1))
        bin_index = int(cumulated.searchsorted(rank, side="right"))
        mean = float(self._sums[bin_index] / self._counts[bin_index])
        try:
            return math.ldexp(mean, self._exponent)
        except OverflowError:  # rounding carried it past the largest double
            return math.copysign(sys.float_info.max, mean)

    def _merge(
        self,
        exponent: int,
        keys: Int64,
        counts: Int64 | Float64,
        sums: Float64,
    ) -> None:
        wanted = max(exponent, self._exponent)
        both = np.concatenate(
            [_coarsened(self._keys, wanted - self._exponent), _coarsened(keys, wanted - exponent)]
        )
        extra = _surplus_bits(int(both.min()), int(both.max()))
        self._keys, places = np.unique(_coarsened(both, extra), return_inverse=True)
        size = len(self._keys)
        all_counts = np.concatenate([self._counts, counts])
        mine = np.ldexp(self._sums, self._exponent - wanted - extra)
        all_sums = np.concatenate([mine, np.ldexp(sums, exponent - wanted - extra)])
        self._exponent = wanted + extra
        self._counts = np.asarray(np.bincount(places, all_counts, size), np.int64)
        self._sums = np.asarray(np.bincount(places, all_sums, size), np.float64)


def _finest_exponent(values: Float64) -> int:
    """Of the narrowest bins whose numbers fit."""
    largest = float(np.abs(values).max())
    return max(_FINEST, math.frexp(largest)[1] - _KEY_BITS) if largest else _FINEST


def _surplus_bits(low: int, high: int) -> int:
    """By how many powers of two bins must widen, so that `low` to `high` are at most `MAX_BINS`."""
    bits = max(0, (high - low).bit_length() - MAX_BINS.bit_length())
    while (high >> bits) - (low >> bits) >= MAX_BINS:
        bits += 1
    return bits


def _coarsened(keys: Int64, shift: int) -> Int64:
    return keys >> min(shift, 63) if shift > 0 else keys
