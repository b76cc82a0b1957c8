"""Data coordinates to pixels and back, and what a legend is made of."""

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtGui import QColor

from raydash.core.records import Float64


@dataclass(frozen=True, slots=True)
class LegendItem:
    """A colour and what it stands for."""

    colour: QColor
    text: str


@dataclass(frozen=True, slots=True)
class Frame:
    """Data coordinates to pixels, for one painting.

    Attributes:
        area: Between the axes, in pixels.
        x: Lowest and highest time in seconds.
        y: Lowest and highest value.
    """

    area: QRectF
    x: tuple[float, float]
    y: tuple[float, float]

    def px(self, t_s: Float64) -> Float64:
        """Times to pixels."""
        scale = self.area.width() / (self.x[1] - self.x[0])
        return np.asarray(self.area.left() + (t_s - self.x[0]) * scale)

    def py(self, values: Float64) -> Float64:
        """Values to pixels; far away values stay within what a painter can take."""
        scale = self.area.height() / (self.y[1] - self.y[0])
        pixels = self.area.bottom() - (values - self.y[0]) * scale
        return np.asarray(np.clip(pixels, -1e4, 1e4))

    def time_at(self, x: float) -> float:
        """Pixel to time."""
        return self.x[0] + (x - self.area.left()) / self.area.width() * (self.x[1] - self.x[0])

    def value_at(self, y: float) -> float:
        """Pixel to value."""
        share = (self.area.bottom() - y) / self.area.height()
        return self.y[0] + share * (self.y[1] - self.y[0])
