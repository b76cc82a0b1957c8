"""A scroll area that asks for its content's full height, and scrolls when it gets less."""

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtWidgets import QScrollArea, QSizePolicy, QWidget
from typing_extensions import override


class TallScroll(QScrollArea):
    """A scroll area as tall as its content.

    Qt's own keeps asking for the height that the content had at first, even if it grows.
    """

    def __init__(self, content: QWidget, *, min_height: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._content = content
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.setMinimumHeight(min_height)
        self.setWidget(content)
        content.installEventFilter(self)

    @override
    def sizeHint(self) -> QSize:
        content = self._content
        width = max(content.minimumSizeHint().width(), self.viewport().width())
        height = content.heightForWidth(width) if content.hasHeightForWidth() else -1
        return QSize(width, height if height > 0 else content.sizeHint().height())

    @override
    def minimumSizeHint(self) -> QSize:
        """Ask for the content's minimum width, so that it never scrolls sideways."""
        bar = self.verticalScrollBar().sizeHint().width()
        return QSize(self._content.minimumSizeHint().width() + bar, self.minimumHeight())

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ask for another height when the content does."""
        if watched is self._content and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)
