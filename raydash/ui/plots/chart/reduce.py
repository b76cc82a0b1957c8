"""Reduce matrices of buckets by workers to what pixels can show, much faster than `reduceat`."""

import numpy as np
from numpy.typing import NDArray

from raydash.core.records import Float32


def group_sums(matrix: Float32, starts: NDArray[np.intp]) -> Float32:
    """Sum up groups of rows.

    Args:
        matrix: Shape (buckets, workers).
        starts: First row of each group, beginning with 0; all groups but the first and the last
            have
            the same length.
    """
    if len(starts) == len(matrix):
        return matrix
    if len(starts) < 4:
        return np.asarray(np.add.reduceat(matrix, starts, axis=0), np.float32)
    length = int(starts[2] - starts[1])
    first, last = int(starts[1]), int(starts[-1])
    middle = matrix[first:last].reshape(len(starts) - 2, length, matrix.shape[1])
    sums = np.empty((len(starts), matrix.shape[1]), np.float32)
    sums[0] = matrix[:first].sum(axis=0)
    np.sum(middle, axis=1, out=sums[1:-1])
    sums[-1] = matrix[last:].sum(axis=0)
    return sums


def lowest_of_groups(matrix: Float32, count: int) -> Float32:
    """The lowest value of each `count` neighbouring columns; the last group may be smaller."""
    lowest = matrix[:, ::count].copy()
    for offset in range(1, count):
        others = matrix[:, offset::count]
        known = lowest[:, : others.shape[1]]
        np.minimum(known, others, out=known)
    return lowest


def upper_quantile(matrix: Float32, share: float = 0.998) -> float:
    """A quantile near the maximum, estimated from a sample; 0 for an empty matrix."""
    if not matrix.size:
        return 0.0
    sample = matrix.ravel()[:: max(1, matrix.size // 8192)]
    return float(np.quantile(sample, share))
