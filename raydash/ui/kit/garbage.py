"""Collects garbage between events, never in the middle of one.

Widgets, items of charts and their slots refer to each other, so what was closed is left to Python's
cyclic collector, which by itself begins wherever an allocation happens to be one too many: in a
method that Qt calls while it paints, too. What is destroyed there is gone under Qt's hands, and the
process crashes, rarely and far from the cause.
"""

import gc

from PySide6.QtCore import QObject, QTimer

LOOK_MS = 1000


class GarbageCollector(QObject):
    """The process's only collector while it is there: looks once a second, from the event loop."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        gc.disable()
        self._timer = QTimer(self)
        self._timer.setInterval(LOOK_MS)
        self._timer.timeout.connect(collect_due)
        self._timer.start()

    def stop(self) -> None:
        """Leave it to Python again."""
        self._timer.stop()
        gc.enable()


def collect_due() -> None:
    """Collect as much as Python itself would have by now."""
    due = -1
    for generation, (count, threshold) in enumerate(
        zip(gc.get_count(), gc.get_threshold(), strict=True)
    ):
        if count <= threshold:
            break
        due = generation
    if due >= 0:
        gc.collect(due)
