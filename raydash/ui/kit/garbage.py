"""Collect garbage between events, never in the middle of one.

Widgets, chart items and their slots refer to each other, so only Python's cyclic collector frees
what was closed. By itself it starts at whichever allocation is one too many, and that may be in a
method that Qt calls while it paints. Objects destroyed there are missing when Qt goes on, and the
process crashes, rarely and far from the cause.
"""

import gc

from PySide6.QtCore import QObject, QTimer

LOOK_MS = 1000


class GarbageCollector(QObject):
    """Replaces Python's automatic collection: checks once a second, from the event loop."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        gc.disable()
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(collect_due)
        self._timer.start()

    def stop(self) -> None:
        """Hand collection back to Python."""
        self._timer.stop()
        gc.enable()


def collect_due() -> None:
    """Collect the generations that Python itself would have collected by now."""
    due = -1
    for generation, (count, threshold) in enumerate(
        zip(gc.get_count(), gc.get_threshold(), strict=True)
    ):
        if count <= threshold:
            break
        due = generation
    if due >= 0:
        gc.collect(due)
