"""A scroll area that asks for all the height of its content, and scrolls when it gets less."""

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtWidgets import QScrollArea, QSizePolicy, QWidget


class TallScroll(QScrollArea):
    """Qt's own asks for the height that its content had at first, whatever it grows to."""

    def __init__(self, content: QWidget, *, min_height: int, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._content = content
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        self.setMinimumHeight(min_height)
        self.setWidget(content)
        content.installEventFilter(self)

    def sizeHint(self) -> QSize:
        """The content's size."""
        content = self._content
        width = max(content.minimumSizeHint().width(), self.viewport().width())
        height = content.heightForWidth(width) if content.hasHeightForWidth() else -1
        return QSize(width, height if height > 0 else content.sizeHint().height())

    def minimumSizeHint(self) -> QSize:
        """As wide as the content has to be: it is never scrolled sideways."""
        bar = self.verticalScrollBar().sizeHint().width()
        return QSize(self._content.minimumSizeHint().width() + bar, self.minimumHeight())

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Ask anew when the content wants another height."""
        if watched is self._content and event.type() == QEvent.Type.LayoutRequest:
            self.updateGeometry()
        return super().eventFilter(watched, event)
