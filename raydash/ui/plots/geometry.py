"""Arrays to what a QPainter draws, without a Python loop over points."""

import itertools
import struct

import numpy as np
from PySide6.QtCore import QByteArray, QDataStream
from PySide6.QtGui import QColor, QPainter, QPen, QPolygonF

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


def draw_line(painter: QPainter, points: QPolygonF, colour: QColor) -> None:
    """A smooth line of one pixel: a wider pen would cost a hundred times as much."""
    painter.setRenderHint(QPainter.RenderHint.Antialiasing)
    painter.setPen(QPen(colour, 1))
    painter.drawPolyline(points)
    painter.setRenderHint(QPainter.RenderHint.Antialiasing, False)


def draw_strong_line(painter: QPainter, points: QPolygonF, colour: QColor) -> None:
    """A line that is two pixels wide, and costs as much as two thin ones."""
    draw_line(painter, points, colour)
    painter.translate(0, 1)
    draw_line(painter, points, colour)
    painter.translate(0, -1)
