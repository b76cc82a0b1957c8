"""Move specs between the form and files: open, save, recent, drop, copy as command."""

from functools import partial
from pathlib import Path

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from raydash.core.faults import Fault
from raydash.core.spec import RunSpec
from raydash.core.spec_rules import SpecError
from raydash.protocol.spec_file import read_spec, toml_from_spec
from raydash.ui.form.command_line import command_from_spec
from raydash.ui.form.run_form import RunForm
from raydash.ui.kit.settings import recent_specs, remember_spec

_FILTER = "Run specs (*.toml);;All files (*)"


def fault_of(error: SpecError, what: str) -> Fault:
    """A fault that lists the violations of a bad spec."""
    sentences = [violation.sentence() for violation in error.violations]
    return Fault(
        what,
        "; ".join(sentences[:3]),
        "Mend it and try again",
        detail="\n".join(sentences) if len(sentences) > 3 else "",
        keys=tuple(violation.key for violation in error.violations),
        bad_input=True,
    )


class SpecFiles(QObject):
    """Opens and saves spec files for the user.

    Signals:
        failed(Fault): A file could not be read or written, or holds no good spec.
        said(str): One line about what was done.
        opened(Path): A spec was read from this file.
    """

    failed = Signal(object)
    said = Signal(str)
    opened = Signal(object)

    def __init__(self, form: RunForm, window: QWidget) -> None:
        super().__init__(window)
        self._form = form
        self._window = window

    def read(self, path: Path) -> bool:
        """Put a file's spec into the form; a bad file leaves the form as it is."""
        try:
            spec = read_spec(path)
        except SpecError as error:
            self.failed.emit(fault_of(error, f"{path.name} cannot be used"))
            return False
        self._form.set_spec(spec)
        remember_spec(path)
        self.opened.emit(path)
        self.said.emit(f"opened {path.name}")
        return True

    def write(self, path: Path) -> None:
        """Save the form's spec."""
        spec = self._spec("The form cannot be saved yet")
        if spec is None:
            return
        if not path.suffix:
            path = path.with_suffix(".toml")
        try:
            path.write_text(toml_from_spec(spec), encoding="utf-8")
        except SpecError as error:
            self.failed.emit(Fault(f"{path.name} could not be saved", str(error)))
            return
        except OSError as error:
            self.failed.emit(
                Fault(f"{path.name} could not be saved", str(error), "Choose another folder")
            )
            return
        remember_spec(path)
        self.said.emit(f"saved {path.name}")

    def ask_open(self) -> None:
        """Let the user choose a file to open."""
        dialog = self._dialog("Open spec")
        dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
        dialog.fileSelected.connect(lambda name: self.read(Path(name)))
        dialog.open()

    def ask_save(self) -> None:
        """Let the user choose where to save."""
        dialog = self._dialog("Save spec as")
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix("toml")
        dialog.fileSelected.connect(lambda name: self.write(Path(name)))
        dialog.open()

    def copy_command(self) -> None:
        """Put the `raydash run` line of the form's spec on the clipboard."""
        spec = self._spec("The form has no command yet")
        if spec is None:
            return
        command, left_out = command_from_spec(spec)
        QGuiApplication.clipboard().setText(command)
        note = f" (needs a spec file for {', '.join(left_out)})" if left_out else ""
        self.said.emit(f"copied: {command}{note}")

    def fill_recent(self, menu: QMenu) -> None:
        """Fill the menu with the recent specs."""
        menu.clear()
        for path in recent_specs():
            action = menu.addAction(path.name)
            action.setToolTip(str(path))
            action.triggered.connect(partial(self._on_recent, path))
        if menu.isEmpty():
            menu.addAction("none yet").setEnabled(False)

    def _on_recent(self, path: Path, _checked: bool = False) -> None:
        self.read(path)

    def _spec(self, what: str) -> RunSpec | None:
        try:
            return self._form.spec()
        except SpecError as error:
            self.failed.emit(fault_of(error, what))
            return None

    def _dialog(self, title: str) -> QFileDialog:
        dialog = QFileDialog(self._window, title, "", _FILTER)
        dialog.setObjectName("spec_dialog")
        return dialog
