"""The dialogs about which cluster to use: an address and its token, or a spec's. None blocks."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFileDialog,
    QGridLayout,
    QLabel,
    QLineEdit,
    QMessageBox,
    QPushButton,
    QWidget,
)

from raydash.core.spec import ClusterSpec
from raydash.ui.dialogs.fault_banner import widen_for_bold


def why_address_cannot(address: str) -> str:
    """Why this is no address to attach to; empty if it may be one."""
    text = address.strip()
    if not text:
        return "HOST:PORT of a running Ray, such as 10.0.0.5:6379"
    if text.startswith("ray://"):
        return (
            "ray:// is the Ray Client, which cannot carry rollouts. Use HOST:PORT of the head node "
            "on a machine of that cluster; from elsewhere, run raydash there over ssh"
        )
    if "://" in text:
        return "An address is HOST:PORT, without a scheme"
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        return f"The port is missing: {text}:6379?"
    if not port.isdecimal() or not 0 < int(port) < 65536:
        return f"{port or 'nothing'} is no port; allowed: 1 to 65535"
    return ""


class ConnectDialog(QDialog):
    """Asks for address and token file.

    Signals:
        chosen(ClusterSpec): The user wants this cluster.
    """

    chosen = Signal(object)

    def __init__(self, spec: ClusterSpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("connect_dialog")
        self.setWindowTitle("Attach to a cluster")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self._spec = spec
        self.address = QLineEdit(spec.address or "")
        self.address.setObjectName("connect_address")
        self.address.setAccessibleName("Address")
        self.address.setPlaceholderText("HOST:PORT")
        self.token = QLineEdit(spec.token_path or "")
        self.token.setObjectName("connect_token")
        self.token.setAccessibleName("Token file")
        self.token.setPlaceholderText("none: the one that Ray finds by itself")
        browse = QPushButton("Choose…")
        browse.setObjectName("connect_browse")
        browse.clicked.connect(self._browse)
        self.problem = QLabel()
        self.problem.setWordWrap(True)
        self.problem.setProperty("role", "muted")
        self.problem.setObjectName("connect_problem")
        self.problem.setMinimumHeight(48)
        self.problem.setAlignment(Qt.AlignmentFlag.AlignTop)
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Cancel)
        self.attach = buttons.addButton("Attach", QDialogButtonBox.ButtonRole.AcceptRole)
        self.attach.setObjectName("connect_attach")
        widen_for_bold(self.attach)
        buttons.accepted.connect(self._accept)
        buttons.rejected.connect(self.reject)
        layout = QGridLayout(self)
        layout.setContentsMargins(16, 14, 16, 12)
        layout.addWidget(QLabel("Address"), 0, 0)
        layout.addWidget(self.address, 0, 1, 1, 2)
        layout.addWidget(QLabel("Token file"), 1, 0)
        layout.addWidget(self.token, 1, 1)
        layout.addWidget(browse, 1, 2)
        layout.addWidget(self.problem, 2, 0, 1, 3)
        layout.addWidget(buttons, 3, 0, 1, 3)
        self.setMinimumWidth(520)
        self.address.textChanged.connect(self._check)
        self._check()

    def _check(self) -> None:
        problem = why_address_cannot(self.address.text())
        typed = bool(self.address.text().strip())
        self.problem.setText(
            problem or "This machine has to be a node of that cluster, with the same Python and Ray"
        )
        self.problem.setProperty("role", "problem" if problem and typed else "muted")
        self.problem.style().polish(self.problem)
        self.attach.setEnabled(not problem)

    def _browse(self) -> None:
        dialog = QFileDialog(self, "Token file")
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(self.token.setText)
        dialog.open()

    def _accept(self) -> None:
        self.chosen.emit(
            replace(
                self._spec,
                address=self.address.text().strip(),
                token_path=self.token.text().strip() or None,
            )
        )
        self.accept()


def ask_to_switch(path: Path, address: str, switch: Callable[[], None], parent: QWidget) -> None:
    """Ask before switching to the cluster that an opened spec names.

    Args:
        path: The spec's file.
        address: The address that it names.
        switch: Called if the user agrees.
        parent: The window.
    """
    box = QMessageBox(parent)
    box.setObjectName("switch_cluster_dialog")
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.setWindowTitle("Another cluster")
    box.setText(f"{path.name} is meant for the cluster at {address}.")
    box.setInformativeText("Attach to it? Runs on the cluster that is up now go on there.")
    box.addButton("Stay here", QMessageBox.ButtonRole.RejectRole)
    attach = box.addButton("Attach", QMessageBox.ButtonRole.AcceptRole)
    attach.setObjectName("switch_cluster_attach")
    attach.clicked.connect(lambda: switch())
    box.open()
