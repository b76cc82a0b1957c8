"""What a chart is made of where pyqtgraph's own parts fall a little short."""

import pyqtgraph as pg
from PySide6.QtCore import QRectF
from PySide6.QtGui import QPainter, QTransform
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

Specs = tuple[object, list[object], list[tuple[QRectF, object, str]]]


class Axis(pg.AxisItem):
    """An axis whose words may stand a little out over its ends: else the last ones are dropped.

    See https://github.com/pyqtgraph/pyqtgraph/issues/3144.

    Attributes:
        reach_px: How far they may beyond the right end.
    """

    reach_px = 12.0

    def boundingRect(self) -> QRectF:
        """Room for half a word."""
        return QRectF(super().boundingRect()).adjusted(-30, -10, 30, 10)

    def generateDrawSpecs(self, painter: QPainter) -> Specs | None:
        """Wide words at the right end move a little to the left."""
        specs: Specs | None = super().generateDrawSpecs(painter)
        for place, _, _ in specs[2] if specs is not None else ():
            place.moveRight(min(place.right(), self.width() + self.reach_px))
        return specs


class StrongLine(pg.PlotCurveItem):
    """Two thin lines, one a pixel below the other: a pen of two pixels costs thirty times more.

    See https://github.com/pyqtgraph/pyqtgraph/issues/533.
    """

    def paint(self, painter: QPainter, option: QStyleOptionGraphicsItem, widget: QWidget) -> None:
        """Paint it twice."""
        super().paint(painter, option, widget)
        painter.setTransform(painter.transform() * QTransform.fromTranslate(0, 1))
        super().paint(painter, option, widget)


class Points(pg.ScatterPlotItem):
    """Round points, the same size at any zoom.

    Charts move their items while the view stands still. pyqtgraph leaves points out that it takes
    to be out of sight, and goes by what was in sight before. Of `PlotDataItem` that was mended
    (https://github.com/pyqtgraph/pyqtgraph/issues/1494), of scatter plots it was not.
    """

    def __init__(self, size_px: float) -> None:
        super().__init__(size=size_px, pxMode=True, antialias=True)

    def setX(self, x: float) -> None:
        """Move sideways, and look again at what is in sight."""
        if x != self.x():
            super().setX(x)
            self.viewTransformChanged()
