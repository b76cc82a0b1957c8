"""The row of key figures: widgets for the texts of `tile_words`.

Each figure says which time span and how many episodes it covers, in the longest wording that fits.
"""

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget
from typing_extensions import override

from raydash.core.words import numbers
from raydash.link.store import RunStore
from raydash.ui.figures.tile_text import TileText
from raydash.ui.figures.tile_words import TILES, TileKind, tile_texts
from raydash.ui.kit.card import ElidedLabel
from raydash.ui.kit.theme import LIGHT, Theme

_SMALL_LINES = 2
_DRAWINGS_PER_S = 4
_WIDE_PX = 1560


class FittedLabel(QLabel):
    """Shows the longest of several wordings that fits into two lines, in whole words."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._wordings: tuple[str, ...] = ("",)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setWordWrap(True)
        self.setProperty("role", "small")
        self.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)

    def set_wordings(self, wordings: tuple[str, ...]) -> None:
        """Set the wordings, from the longest to the shortest."""
        if wordings != self._wordings:
            self._wordings = wordings
            self._fit()

    def full_text(self) -> str:
        """The longest wording."""
        return self._wordings[0]

    @override
    def sizeHint(self) -> QSize:
        return QSize(120, self.fontMetrics().lineSpacing() * _SMALL_LINES + 1)

    @override
    def minimumSizeHint(self) -> QSize:
        return QSize(60, self.sizeHint().height())

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Choose the wording that fits now."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        chosen = next((text for text in self._wordings if self._fits(text)), None)
        if chosen is None:
            parts = self._wordings[-1].split(" ")
            while len(parts) > 1 and not self._fits(" ".join(parts) + " …"):
                parts.pop()
            chosen = " ".join(parts) + " …"
        if chosen != self.text():
            self.setText(chosen)

    def _fits(self, text: str) -> bool:
        flags = int(Qt.TextFlag.TextWordWrap.value)
        around = self.fontMetrics().boundingRect(0, 0, self.width(), 10_000, flags, text)
        return (
            around.height() <= self.fontMetrics().lineSpacing() * _SMALL_LINES + 1
            and around.width() <= self.width()
        )


class Tile(QFrame):
    """Shows one key figure: label, value, small print."""

    def __init__(self, kind: TileKind, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setObjectName(f"tile_{kind.key}")
        self.setAccessibleName(kind.label)
        self.setToolTip(f"<p>{kind.definition}</p>")
        self._label = kind.label
        self._colour = ""
        label = ElidedLabel(kind.label)
        label.setProperty("role", "muted")
        self.value = ElidedLabel(numbers.UNKNOWN)
        self.value.setProperty("role", "value")
        self.value.setObjectName(f"{self.objectName()}_value")
        font = self.value.font()
        font.setPointSizeF(font.pointSizeF() * 1.55)
        font.setBold(True)
        self.value.setFont(font)
        self.small = FittedLabel()
        self.small.setObjectName(f"{self.objectName()}_small")
        column = QVBoxLayout(self)
        column.setContentsMargins(12, 7, 10, 7)
        column.setSpacing(1)
        for part in (label, self.value, self.small):
            column.addWidget(part)

    def show_text(self, text: TileText, theme: Theme) -> None:
        """Show another text."""
        self.value.set_text(text.value)
        self.small.set_wordings(text.small)
        colour = getattr(theme, text.tone)
        if colour != self._colour:
            self._colour = colour
            self.value.setStyleSheet(f"color: {colour}")
        description = f"{self._label}: {text.value}, {text.small[0]}"
        if description != self.accessibleDescription():
            self.setAccessibleDescription(description)


class TilesRow(QWidget):
    """Shows the key figures of a run. It is a `View` of the draw clock."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("tiles")
        self._run: RunStore | None = None
        self._is_starting = False
        self._theme = LIGHT
        self._drawn: tuple[object, ...] | None = None
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(10)
        self.tiles = {kind.key: Tile(kind) for kind in TILES}
        for kind in TILES:
            row.addWidget(self.tiles[kind.key], kind.stretch)
        self._choose()
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)

    def set_run(self, run: RunStore | None) -> None:
        """Show the figures of another run."""
        self._run = run

    def set_starting(self, is_starting: bool) -> None:
        """Set whether a run has been requested that has not started yet."""
        self._is_starting = is_starting

    def set_theme(self, theme: Theme) -> None:
        """Use the colours of another theme."""
        self._theme = theme

    def is_dirty(self) -> bool:
        """Whether there is something new, at most four times a second.

        Faster figures only flicker.
        """
        return self._state() != self._drawn

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Choose the tiles that fit: a wide window has room for all of them."""
        super().resizeEvent(event)
        self._choose()

    def _choose(self) -> None:
        """Show the tiles that matter: a run that learns has other ones, and room for three more."""
        learns = self._run is not None and self._run.learns
        crowded = learns and self.width() < _WIDE_PX
        for kind in TILES:
            shown = learns if kind.learns else not (crowded and kind.gives_way)
            self.tiles[kind.key].setVisible(shown)

    def draw(self) -> None:
        """Show the figures of the newest update."""
        self._drawn = self._state()
        self._choose()
        awaited = self._is_starting or self._run is not None
        texts = tile_texts(self._run.latest if self._run else None, is_starting=awaited)
        for key, tile in self.tiles.items():
            tile.show_text(texts[key], self._theme)

    def _state(self) -> tuple[object, ...]:
        latest = self._run.latest if self._run else None
        if latest is None:
            return (self._run, self._theme, self._is_starting)
        tick = int(latest.t_s * _DRAWINGS_PER_S)
        return (self._run, self._theme, tick, latest.state, latest.paused, latest.num_workers)
