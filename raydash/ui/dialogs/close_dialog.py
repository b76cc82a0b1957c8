"""The question when a window with live runs of its own is closed.

Stop them, or keep them running?
"""

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from raydash.core.words import numbers
from raydash.ui.dialogs.fault_banner import widen_for_bold


class CloseDialog(QDialog):
    """Offers to stop the runs, keep them, or cancel. It does not block: `open()` it.

    Signals:
        stop_chosen: Stop the runs, then close.
        keep_chosen: Close; the runs go on.
    """

    stop_chosen = Signal()
    keep_chosen = Signal()

    def __init__(self, names: tuple[str, ...], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("close_dialog")
        self.setWindowTitle("Close raydash")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        one = len(names) == 1
        is_are, it_them, its_their = ("is", "it", "its") if one else ("are", "them", "their")
        title = QLabel(
            f"{numbers.plural(len(names), 'run')} of this window {is_are} still going on"
        )
        title.setProperty("role", "title")
        text = QLabel(
            f"{', '.join(names)}\n\n"
            f"Stop {it_them} now, or keep {it_them} running? A run that is kept goes on without a "
            f"window; the next window shows it with its whole history. Either way {its_their} "
            "recording is complete."
        )
        text.setWordWrap(True)
        text.setTextFormat(Qt.TextFormat.PlainText)
        row = QHBoxLayout()
        row.addStretch(1)
        cancel = self._button("Cancel", "close_cancel")
        keep = self._button("Keep running", "close_keep")
        stop = self._button("Stop runs", "close_stop")
        stop.setProperty("danger", True)
        keep.setDefault(True)
        widen_for_bold(keep)
        for button in (cancel, stop, keep):
            row.addWidget(button)
        cancel.clicked.connect(self.reject)
        keep.clicked.connect(self._keep)
        stop.clicked.connect(self._stop)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 16, 18, 14)
        layout.setSpacing(12)
        layout.addWidget(title)
        layout.addWidget(text)
        layout.addLayout(row)
        self.setMinimumWidth(460)

    def _keep(self) -> None:
        self.accept()
        self.keep_chosen.emit()

    def _stop(self) -> None:
        self.accept()
        self.stop_chosen.emit()

    def _button(self, text: str, name: str) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(name)
        button.setAccessibleName(text)
        button.setAutoDefault(False)
        return button
