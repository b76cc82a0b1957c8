"""Arrays to what a QPainter draws, without a Python loop over points."""

import itertools
import struct

import numpy as np
from PySide6.QtCore import QByteArray, QDataStream
from PySide6.QtGui import QPolygonF

from raydash.core.records import Float64


def polygon(x: Float64, y: Float64) -> QPolygonF:
    """The points (x, y) as Qt's; they go as the bytes of a QDataStream, all in one call."""
    points = np.empty((len(x), 2), ">f8")
    points[:, 0] = x
    points[:, 1] = y
    made = QPolygonF()
    stream = QDataStream(QByteArray(struct.pack(">I", len(x)) + points.tobytes()))
    stream >> made
    return made


def pieces(x: Float64, y: Float64, max_gap: float) -> list[slice]:
    """Where a line through finite points has to be torn: at gaps wider than `max_gap` in x.

    Args:
        x: Ascending.
        y: Finite.
        max_gap: The widest step that is still joined.
    """
    if not len(x):
        return []
    cuts = np.flatnonzero(np.diff(x) > max_gap) + 1
    bounds = [0, *cuts.tolist(), len(x)]
    return [slice(a, b) for a, b in itertools.pairwise(bounds)]


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
