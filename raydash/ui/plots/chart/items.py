"""Chart items that mend shortcomings of pyqtgraph's own."""

import pyqtgraph as pg
from PySide6.QtCore import QRectF
from PySide6.QtGui import QPainter, QTransform
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget
from typing_extensions import override

Specs = tuple[object, list[object], list[tuple[QRectF, object, str]]]


class Axis(pg.AxisItem):
    """An axis whose labels may reach a little beyond its ends; otherwise the last ones are dropped.

    See https://github.com/pyqtgraph/pyqtgraph/issues/3144.

    Attributes:
        reach_px: How far a label may reach beyond the right end.
    """

    reach_px = 12.0

    @override
    def boundingRect(self) -> QRectF:
        """Leave room for half a label on each side."""
        return QRectF(super().boundingRect()).adjusted(-30, -10, 30, 10)

    @override
    def generateDrawSpecs(self, painter: QPainter) -> Specs | None:
        """Move wide labels at the right end a little to the left."""
        specs: Specs | None = super().generateDrawSpecs(painter)
        for place, _, _ in specs[2] if specs is not None else ():
            place.moveRight(min(place.right(), self.width() + self.reach_px))
        return specs


class StrongLine(pg.PlotCurveItem):
    """Two thin lines, one a pixel below the other: a pen of two pixels costs thirty times more.

    See https://github.com/pyqtgraph/pyqtgraph/issues/533.
    """

    @override
    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget) -> None:
        super().paint(painter, option, widget)
        painter.setTransform(painter.transform() * QTransform.fromTranslate(0, 1))
        super().paint(painter, option, widget)


class RoundPoints(pg.ScatterPlotItem):
    """Round points, the same size at any zoom.

    Charts move their items while the view stands still. pyqtgraph skips points that it believes to
    be out of sight, and does not notice by itself that moving the item has changed that. It was
    mended for `PlotDataItem` (https://github.com/pyqtgraph/pyqtgraph/issues/1494), not for these.
    """

    def __init__(self, size_px: float) -> None:
        super().__init__(size=size_px, pxMode=True, antialias=True)

    @override
    def setX(self, x: float) -> None:
        """Move sideways, and have pyqtgraph work out again which points are in sight."""
        if x != self.x():
            super().setX(x)
            self.viewTransformChanged()
