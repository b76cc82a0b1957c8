"""Points to what a chart's items take, without a Python loop over points. Pure."""

import itertools

import numpy as np
from numpy.typing import NDArray

from raydash.core.records import Float64

Bool = NDArray[np.bool_]


def widest_gap(x: Float64, bucket_s: float) -> float:
    """The gap above which a line is torn: episodes may be rare, so it follows their own rhythm."""
    if len(x) < 3:
        return 20.0 * bucket_s
    return max(20.0 * bucket_s, 5.0 * float(np.median(np.diff(x))))


def stairs(edges: Float64, heights: Float64) -> tuple[Float64, Float64]:
    """The outline of bars that stand side by side.

    Args:
        edges: One more than there are bars.
        heights: Of the bars.
    """
    return np.repeat(edges, 2)[1:-1], np.repeat(heights, 2)


def closed(x: Float64, y: Float64) -> tuple[Float64, Float64]:
    """The outline of what lies between a line and zero."""
    return np.concatenate([x, x[-1:], x[:1]]), np.concatenate([y, [0.0, 0.0]])


def torn(x: Float64, y: Float64, max_gap: float, width: float) -> tuple[Float64, Float64, Bool]:
    """A line through points, torn at wide gaps, and which of its points are joined to the next.

    A point that is left alone has no extent: it becomes two, as far apart as what it speaks of.

    Args:
        x: Ascending.
        y: As many.
        max_gap: The widest step in x that is still joined.
        width: Between the two that a lone point becomes.
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


def band(x: Float64, low: Float64, high: Float64, joined: Bool) -> tuple[Float64, Float64, Bool]:
    """The outlines of a band, one after the other: along the lows and back along the highs.

    Args:
        x: Ascending.
        low: Lower edge.
        high: Upper edge.
        joined: Which points are joined to the next, as of `torn`.
    """
    bounds = [0, *(np.flatnonzero(~joined) + 1).tolist()]
    xs, ys, joins = [], [], []
    for begin, end in itertools.pairwise(bounds):
        xs += [x[begin:end], x[begin:end][::-1]]
        ys += [low[begin:end], high[begin:end][::-1]]
        joins += [np.ones(2 * (end - begin) - 1, np.bool_), np.zeros(1, np.bool_)]
    return np.concatenate(xs), np.concatenate(ys), np.concatenate(joins)


def bundled(lines: list[tuple[Float64, Float64, Bool]]) -> tuple[Float64, Float64, Bool]:
    """Many lines as one, which costs a chart as much as one."""
    if not lines:
        return np.empty(0), np.empty(0), np.empty(0, np.bool_)
    x, y, joined = zip(*lines, strict=True)
    return np.concatenate(x), np.concatenate(y), np.concatenate(joined)
