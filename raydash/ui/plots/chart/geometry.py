"""Turn points into the arrays that a chart's items take, without a Python loop over points.

Pure.
"""

import itertools

import numpy as np
from numpy.typing import NDArray

from raydash.core.records import Float64

Bool = NDArray[np.bool_]


def widest_gap(x: Float64, bucket_s: float) -> float:
    """The gap above which a line is broken.

    It grows with the points' own spacing: episodes may be rare.
    """
    if len(x) < 3:
        return 20.0 * bucket_s
    return max(20.0 * bucket_s, 5.0 * float(np.median(np.diff(x))))


def bar_outline(edges: Float64, heights: Float64) -> tuple[Float64, Float64]:
    """The outline of bars that stand side by side; `edges` has one more value than `heights`."""
    return np.repeat(edges, 2)[1:-1], np.repeat(heights, 2)


def area_outline(x: Float64, y: Float64) -> tuple[Float64, Float64]:
    """The outline of what lies between a line and zero."""
    return np.concatenate([x, x[-1:], x[:1]]), np.concatenate([y, [0.0, 0.0]])


def split_at_gaps(
    x: Float64, y: Float64, max_gap: float, width: float
) -> tuple[Float64, Float64, Bool]:
    """Break a line at wide gaps; gives x, y, and which points are joined to the next one.

    A point that stands alone between two gaps would be invisible, so it becomes two.

    Args:
        x: Positions, ascending.
        y: Values, as many as `x`.
        max_gap: The widest step in x that is still joined.
        width: How far apart the two points are that a lone one becomes.
    """
    is_wide = np.diff(x) > max_gap
    begins = np.concatenate([[True], is_wide])[: len(x)]
    ends = np.concatenate([is_wide, [True]])[: len(x)]
    is_lone = begins & ends
    origin = np.repeat(np.arange(len(x)), 1 + is_lone)
    first = np.flatnonzero(is_lone) + np.arange(np.count_nonzero(is_lone))
    x, y, joined = x[origin], y[origin], ~ends[origin]
    x[first] -= width / 2
    x[first + 1] += width / 2
    joined[first] = True
    return x, y, joined


def band_outline(
    x: Float64, low: Float64, high: Float64, joined: Bool
) -> tuple[Float64, Float64, Bool]:
    """The outlines of a band, piece by piece: along the lower edge and back along the upper one.

    Args:
        x: Positions, ascending.
        low: Lower edge, as many values as `x`.
        high: Upper edge, as many values as `x`.
        joined: Which points are joined to the next one, as from `split_at_gaps`.
    """
    bounds = [0, *(np.flatnonzero(~joined) + 1).tolist()]
    xs, ys, joins = [], [], []
    for begin, end in itertools.pairwise(bounds):
        xs += [x[begin:end], x[begin:end][::-1]]
        ys += [low[begin:end], high[begin:end][::-1]]
        joins += [np.ones(2 * (end - begin) - 1, np.bool_), np.zeros(1, np.bool_)]
    return np.concatenate(xs), np.concatenate(ys), np.concatenate(joins)


def concatenated(lines: list[tuple[Float64, Float64, Bool]]) -> tuple[Float64, Float64, Bool]:
    """Concatenate many lines into one path, which costs a chart no more than one line."""
    if not lines:
        return np.empty(0), np.empty(0), np.empty(0, np.bool_)
    x, y, joined = zip(*lines, strict=True)
    return np.concatenate(x), np.concatenate(y), np.concatenate(joined)
