"""A mergeable histogram, for quantiles of values that are not kept."""

import math
import struct
import sys

import numpy as np

from raydash.core.records import Float64, Int64

MAX_BINS = 256
_HEAD = struct.Struct("<BBhqB")
"""Head of the byte form: version, bytes per count, exponent, first key, number of bins less one."""
_VERSION = 1
_WITH_OFFSETS = 0x10
_COUNT_SIZES = (1, 2, 4, 8)
_MAX_KEY = 2**54
_MAX_COUNT = 2**53
_KEY_BITS = 53  # as a double has: neighbouring values get different keys, which fit 64 bits
_FINEST = -1074


class HistogramError(ValueError):
    """Raised for bytes that are not a histogram."""


class Histogram:
    """Counts and sums in bins of a power-of-two width, aligned at zero.

    Merging is associative: the width depends only on the values, not on their order. It is the
    finest at which all of them fall into `MAX_BINS` bins. Each bin is represented by the mean of
    its values, so point masses (CartPole's whole numbers) come out exactly. Otherwise the error of
    a quantile is at most one bin, which is under 1 % of the range, because more than 128 bins are
    in use once bins had to be merged.
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
        """Count these values, except those that are not finite."""
        values = values[np.isfinite(values)]
        if not len(values):
            return
        exponent = max(self._exponent, _finest_exponent(values))
        scaled = np.ldexp(values, -exponent)
        keys = np.floor(scaled).astype(np.int64)
        keys -= (scaled == 0) & (values < 0)  # so tiny that scaling lost it: still below zero
        self._merge(exponent, keys, np.ones(len(values)), scaled)

    def merge(self, other: "Histogram") -> None:
        """Add another histogram's counts."""
        if len(other._keys):
            self._merge(other._exponent, other._keys, other._counts, other._sums)

    def quantile(self, q: float) -> float:
        """Estimate the value below which a share `q` of all values lies; NaN without values."""
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

    def to_bytes(self) -> bytes:
        """Pack the histogram into two to six bytes a bin; into none if it has no value.

        If every bin's mean is its lower edge, as with whole numbers, the means take no bytes;
        otherwise they are kept to 24 bits of the bin's width.
        """
        if not len(self._keys):
            return b""
        first = int(self._keys[0])
        offsets = np.clip(self._sums / self._counts - self._keys, 0.0, 1.0).astype("<f4")
        size = next(n for n in _COUNT_SIZES if int(self._counts.max()) < 256**n)
        kind = size | (_WITH_OFFSETS if offsets.any() else 0)
        head = _HEAD.pack(_VERSION, kind, self._exponent, first, len(self._keys) - 1)
        places = (self._keys - first).astype(np.uint8)  # fewer than `MAX_BINS` by `_merge`
        counts = self._counts.astype(f"<u{size}")
        tail = offsets.tobytes() if kind & _WITH_OFFSETS else b""
        return head + places.tobytes() + counts.tobytes() + tail

    @staticmethod
    def from_bytes(data: bytes) -> "Histogram":
        """Read the bytes that `to_bytes` made.

        Raises:
            HistogramError: if these are not such bytes; at most `MAX_BINS` bins are ever made.
        """
        made = Histogram()
        if not data:
            return made
        if len(data) < _HEAD.size:
            raise HistogramError("a histogram is cut short")
        version, kind, exponent, first, last = _HEAD.unpack_from(data)
        size, num_bins = kind & 0x0F, last + 1
        has_offsets = bool(kind & _WITH_OFFSETS)
        if version != _VERSION or size not in _COUNT_SIZES or kind & ~(0x0F | _WITH_OFFSETS):
            raise HistogramError(f"a histogram has an unknown form ({version}, {kind})")
        if len(data) != _HEAD.size + num_bins * (1 + size + 4 * has_offsets):
            raise HistogramError("a histogram has a wrong length")
        if not (_FINEST <= exponent <= sys.float_info.max_exp and abs(first) <= _MAX_KEY):
            raise HistogramError("a histogram has bins that can't be")
        places = np.frombuffer(data, np.uint8, num_bins, _HEAD.size).astype(np.int64)
        counts = np.frombuffer(data, f"<u{size}", num_bins, _HEAD.size + num_bins)
        if places[0] != 0 or (np.diff(places) <= 0).any():
            raise HistogramError("a histogram has bins out of order")
        if not (counts >= 1).all() or sum(counts.tolist()) > _MAX_COUNT:
            raise HistogramError("a histogram has counts that can't be")
        offsets: Float64 = np.zeros(num_bins)
        if has_offsets:
            found = np.frombuffer(data, "<f4", num_bins, len(data) - 4 * num_bins)
            offsets = found.astype(np.float64)
        if not ((offsets >= 0) & (offsets <= 1)).all():
            raise HistogramError("a histogram has means outside their bins")
        made._exponent = exponent
        made._keys = first + places
        made._counts = counts.astype(np.int64)
        made._sums = (made._keys + offsets) * made._counts
        return made

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
    """Return the exponent of the narrowest bins whose keys fit for these values."""
    largest = float(np.abs(values).max())
    return max(_FINEST, math.frexp(largest)[1] - _KEY_BITS) if largest else _FINEST


def _surplus_bits(low: int, high: int) -> int:
    """By how many powers of two to widen bins so that `low` to `high` fit into `MAX_BINS`."""
    bits = max(0, (high - low).bit_length() - MAX_BINS.bit_length())
    while (high >> bits) - (low >> bits) >= MAX_BINS:
        bits += 1
    return bits


def _coarsened(keys: Int64, shift: int) -> Int64:
    return keys >> min(shift, 63) if shift > 0 else keys
