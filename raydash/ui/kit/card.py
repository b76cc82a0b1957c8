"""The rounded frame around everything on screen, with a title and a corner for controls."""

from PySide6.QtCore import QSize, Qt
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QSizePolicy, QVBoxLayout, QWidget
from typing_extensions import override


class ElidedLabel(QLabel):
    """A label that ends in "…" where it does not fit, and then shows its text as a tool tip.

    It asks for the width of its whole text and accepts little.
    """

    def __init__(
        self, text: str = "", parent: QWidget | None = None, *, min_chars: int = 4
    ) -> None:
        super().__init__(parent)
        self._full = ""
        self._hint = ""
        self._min_chars = min_chars
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Fixed)
        self.set_text(text)

    def set_text(self, text: str) -> None:
        """Show another text."""
        if text != self._full:
            self._full = text
            self.updateGeometry()
            self._elide()

    def set_hint(self, hint: str) -> None:
        """Set a tool tip that appears even when nothing is elided."""
        self._hint = hint
        self._elide()

    def full_text(self) -> str:
        """The whole text, elided or not."""
        return self._full

    @override
    def sizeHint(self) -> QSize:
        return QSize(
            self.fontMetrics().horizontalAdvance(self._full) + 2, super().sizeHint().height()
        )

    @override
    def minimumSizeHint(self) -> QSize:
        """Ask for the width of the first characters."""
        width = self.fontMetrics().averageCharWidth() * self._min_chars
        return QSize(min(width, self.sizeHint().width()), super().minimumSizeHint().height())

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._elide()

    def _elide(self) -> None:
        shown = self.fontMetrics().elidedText(
            self._full, Qt.TextElideMode.ElideRight, max(self.width(), 1)
        )
        if shown != self.text():
            self.setText(shown)
        tips = [self._full] if shown != self._full else []
        self.setToolTip("\n\n".join([*tips, *([self._hint] if self._hint else [])]))


class Card(QFrame):
    """A rounded frame with a heading.

    Attributes:
        header: The layout of the heading.
        body: The layout below it.
    """

    def __init__(self, title: str = "", subtitle: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self._title = QLabel(title)
        self._title.setProperty("role", "title")
        self._title.setMinimumHeight(
            20
        )  # so that nothing jumps when a small control appears beside it
        self._subtitle = ElidedLabel(subtitle)
        self._subtitle.setProperty("role", "muted")
        self.header = QHBoxLayout()
        self.header.setSpacing(10)
        self.header.addWidget(self._title)
        self.header.addWidget(self._subtitle, 1)
        self.body = QVBoxLayout()
        self.body.setContentsMargins(0, 0, 0, 0)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(12, 8, 12, 8)
        outer.setSpacing(4)
        outer.addLayout(self.header)
        outer.addLayout(self.body, 1)
        if title and not self.accessibleName():
            self.setAccessibleName(title)

    def set_subtitle(self, subtitle: str) -> None:
        """Change the muted text beside the title."""
        self._subtitle.set_text(subtitle)

    def subtitle(self) -> str:
        """The muted text beside the title, in full."""
        return self._subtitle.full_text()

    def show_title_control(self, choice: QWidget, *, offered: bool) -> None:
        """Show a control in place of the title, or the title again."""
        if self.header.indexOf(choice) < 0:
            self.header.insertWidget(0, choice)
        choice.setVisible(offered)
        self._title.setVisible(not offered)

    def add_corner(self, widget: QWidget) -> None:
        """Put a small control into the right corner of the heading."""
        self.header.addWidget(widget)
