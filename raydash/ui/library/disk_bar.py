"""The bar below the library: its size on disk, against its limit."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QProgressBar, QPushButton, QWidget

from raydash.core.messages import Library
from raydash.core.words import numbers
from raydash.ui.kit.card import ElidedLabel

_STEPS = 1000


def disk_words(library: Library) -> str:
    """The library's size, its limit if there is one, and the free space on its disk."""
    disk, limit = library.disk, library.settings.limit_bytes
    taken = numbers.size(disk.library_bytes)
    of = f" of {numbers.size(limit)}" if limit is not None else ""
    return f"{taken}{of} · {numbers.size(disk.free_bytes)} free on this disk"


def disk_share(library: Library) -> float:
    """How full the library is, from 0 to 1.

    The whole is its limit or, without one, all that would fit on its disk.
    """
    disk, limit = library.disk, library.settings.limit_bytes
    whole = disk.library_bytes + disk.free_bytes if limit is None else limit
    return min(1.0, disk.library_bytes / whole) if whole > 0 else 1.0


class DiskBar(QWidget):
    """Shows bar, figures, warning, and the button for limits.

    Signals:
        limits_requested: The user wants to change the limits.
    """

    limits_requested = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.bar = QProgressBar()
        self.bar.setObjectName("library_disk")
        self.bar.setAccessibleName("Disk use")
        self.bar.setRange(0, _STEPS)
        self.bar.setTextVisible(False)
        self.bar.setFixedWidth(160)
        self._words = ElidedLabel(min_chars=20)
        self._words.setObjectName("library_disk_words")
        self._words.setProperty("role", "muted")
        self._warning = ElidedLabel(min_chars=20)
        self._warning.setObjectName("library_disk_warning")
        self._warning.setProperty("role", "problem")
        limits = QPushButton("Limits…")
        limits.setObjectName("library_limits")
        limits.setToolTip("When to warn, and what to delete by age or size")
        limits.clicked.connect(self.limits_requested)
        row = QHBoxLayout(self)
        row.setContentsMargins(2, 0, 0, 0)
        row.setSpacing(10)
        row.addWidget(self.bar)
        row.addWidget(self._words)
        row.addWidget(self._warning)
        row.addStretch(1)
        row.addWidget(limits)
        self.show_library(None)

    def show_library(self, library: Library | None) -> None:
        """Show the figures of the library; None while they are not known."""
        self.setEnabled(library is not None)
        if library is None:
            self._words.set_text("looking at the recordings…")
            return
        self.bar.setValue(round(disk_share(library) * _STEPS))
        warned = bool(library.disk.warning)
        if self.bar.property("warned") is not warned:
            self.bar.setProperty("warned", warned)
            self.bar.style().polish(self.bar)
        self._words.set_text(disk_words(library))
        self._words.set_hint(library.disk.folder)
        self._warning.set_text(library.disk.warning)
