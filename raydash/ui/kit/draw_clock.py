"""One clock draws everything: data arrive at any time, views are drawn when the clock ticks.

A view that is hidden or has nothing new costs one question per tick.
"""

import statistics
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QPaintEvent

from raydash.core.clock import Clock

FRAMES_PER_S = 30


class View(Protocol):
    """What the clock draws. Widgets have `isVisible` from Qt."""

    def isVisible(self) -> bool:
        """Whether the view can be seen."""

    def is_dirty(self) -> bool:
        """Whether `draw` would change what is seen. Called 30 times a second."""

    def draw(self) -> None:
        """Load the latest data and ask Qt for a repaint."""


@runtime_checkable
class ReportsPaintTime(Protocol):
    """A view that paints a lot, and reports how long that took."""

    def take_paint_s(self) -> float:
        """The seconds spent painting since the last call."""


class PaintTimer:
    """Adds up how long a widget paints."""

    def __init__(self, clock: Clock = time.perf_counter) -> None:
        self._clock = clock
        self._painted_s = 0.0

    def time(self, paint: Callable[[QPaintEvent], None], event: QPaintEvent) -> None:
        """Paint, and measure how long it takes."""
        began_s = self._clock()
        paint(event)
        self._painted_s += self._clock() - began_s

    def take_s(self) -> float:
        """The seconds since the last call."""
        painted_s, self._painted_s = self._painted_s, 0.0
        return painted_s


@dataclass(frozen=True, slots=True)
class DrawFigures:
    """What drawing cost in the last second.

    Attributes:
        median_ms: Median over the frames in which something was drawn; 0 if there was none.
        worst_ms: The slowest of these frames.
        frames_per_s: How many of them there were.
    """

    median_ms: float = 0.0
    worst_ms: float = 0.0
    frames_per_s: int = 0


class DrawClock(QObject):
    """Asks visible views that have changed to draw, 30 times a second."""

    def __init__(self, parent: QObject | None = None, clock: Clock = time.perf_counter) -> None:
        super().__init__(parent)
        self._clock = clock
        self._views: list[View] = []
        self._frames: deque[tuple[float, float]] = deque()
        self._drawn_s = 0.0
        self._timer = QTimer(self)
        self._timer.setInterval(1000 // FRAMES_PER_S)
        self._timer.timeout.connect(self.tick)

    def register(self, view: View) -> None:
        """Draw this view from now on."""
        if view not in self._views:
            self._views.append(view)

    def unregister(self, view: View) -> None:
        """Stop drawing this view; call it before the view is deleted."""
        if view in self._views:
            self._views.remove(view)

    def start(self) -> None:
        """Start ticking."""
        self._timer.start()

    def stop(self) -> None:
        """Stop ticking."""
        self._timer.stop()

    def tick(self) -> None:
        """Draw what is visible and has changed, and record the cost of the previous frame."""
        now_s = self._clock()
        painted_s = sum(
            view.take_paint_s() for view in self._views if isinstance(view, ReportsPaintTime)
        )
        if self._drawn_s or painted_s:
            self._frames.append((now_s, (self._drawn_s + painted_s) * 1000.0))
        self._drawn_s = 0.0
        drew = False
        for view in self._views:
            if view.isVisible() and view.is_dirty():
                view.draw()
                drew = True
        if drew:
            self._drawn_s = max(self._clock() - now_s, 1e-9)

    def figures(self) -> DrawFigures:
        """What drawing cost in the last second."""
        now_s = self._clock()
        while self._frames and self._frames[0][0] < now_s - 1.0:
            self._frames.popleft()
        costs = [cost_ms for _, cost_ms in self._frames]
        if not costs:
            return DrawFigures()
        return DrawFigures(statistics.median(costs), max(costs), len(costs))
