"""Asking where to save a file, and saying that it was not saved. Neither blocks."""

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QMessageBox, QWidget


def ask_where(
    parent: QWidget,
    title: str,
    name: str,
    kind: str,
    on_chosen: Callable[[str], None],
    *,
    folder: str = "",
) -> QFileDialog:
    """Ask where to save a file; a name without an ending gets that of the proposed one.

    Args:
        parent: The widget that it is about.
        title: The dialog's title.
        name: The name to propose.
        kind: What the ending stands for, such as `Picture`.
        on_chosen: Called with the path, unless the user cancels.
        folder: Where to begin; empty for the folder in which raydash was started.
    """
    suffix = name.rpartition(".")[2]
    dialog = QFileDialog(parent, title, folder, f"{kind} (*.{suffix})")
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
    dialog.setDefaultSuffix(suffix)
    dialog.selectFile(name)
    dialog.fileSelected.connect(on_chosen)
    dialog.open()
    return dialog


def say_not_saved(parent: QWidget, path: str, why: str) -> None:
    """Say why a file was not saved."""
    box = QMessageBox(QMessageBox.Icon.Warning, "Not saved", f"{path} was not saved: {why}.")
    box.setParent(parent, Qt.WindowType.Dialog)
    box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    box.open()
