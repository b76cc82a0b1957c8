"""The dialogs of the library: deleting, exporting, limits. None of them blocks the program."""

from collections.abc import Sequence
from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import (
    QCheckBox,
    QComboBox,
    QDialog,
    QDoubleSpinBox,
    QFileDialog,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from raydash.core.library import ExportFormat, LibrarySettings
from raydash.core.words import numbers
from raydash.ui.dialogs.fault_banner import widen_for_bold
from raydash.ui.kit.card import ElidedLabel
from raydash.ui.library.lines import RecordingLine

MAX_NAMED = 12
_GB = 10**9
_FORMATS = {
    ExportFormat.CSV: ("CSV", "one line an episode, for any program", ".csv"),
    ExportFormat.PARQUET: (
        "Parquet",
        "one row an episode, for pandas, polars and DuckDB",
        ".parquet",
    ),
    ExportFormat.JSON: ("JSON", "everything in one document", ".json"),
    ExportFormat.MONITOR: ("SB3 monitor", "a folder with one N.monitor.csv per worker", ""),
    ExportFormat.TENSORBOARD: ("TensorBoard", "a folder of event files, RLlib's names as tags", ""),
}


class _Dialog(QDialog):
    """A dialog with a title, a body, and a row of buttons."""

    def __init__(self, name: str, title: str, heading: str, parent: QWidget | None) -> None:
        super().__init__(parent)
        self.setObjectName(name)
        self.setWindowTitle(title)
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        self.heading = ElidedLabel(heading)
        self.heading.setProperty("role", "title")
        self.body = QVBoxLayout()
        self.body.setSpacing(8)
        self._buttons = QHBoxLayout()
        self._buttons.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 16, 18, 14)
        layout.setSpacing(12)
        layout.addWidget(self.heading)
        layout.addLayout(self.body)
        layout.addLayout(self._buttons)
        self.setMinimumWidth(480)
        self.add_button("Cancel", f"{name}_cancel").clicked.connect(self.reject)

    def add_button(self, text: str, name: str) -> QPushButton:
        """Add a button to the right of the others."""
        button = QPushButton(text)
        button.setObjectName(name)
        button.setAccessibleName(text)
        button.setAutoDefault(False)
        self._buttons.addWidget(button)
        return button

    def add_words(self, text: str, role: str = "") -> QLabel:
        """Add a paragraph to the body."""
        label = QLabel(text, wordWrap=True, textFormat=Qt.TextFormat.PlainText)
        if role:
            label.setProperty("role", role)
        self.body.addWidget(label)
        return label


class DeleteDialog(_Dialog):
    """Names the recordings that would be deleted, and their size.

    Signals:
        confirmed: Delete them.
    """

    confirmed = Signal()

    def __init__(self, chosen: Sequence[RecordingLine], parent: QWidget | None = None) -> None:
        count, size = len(chosen), sum(line.run.size_bytes for line in chosen)
        heading = f"Delete {numbers.plural(count, 'recording')}, {numbers.size(size)}?"
        super().__init__("library_delete_dialog", "Delete recordings", heading, parent)
        grid = QGridLayout()
        grid.setHorizontalSpacing(16)
        grid.setVerticalSpacing(4)
        for row, line in enumerate(chosen[:MAX_NAMED]):
            cells = (line.run.title, numbers.size(line.run.size_bytes), line.run.run_id)
            for column, text in enumerate(cells):
                label = ElidedLabel(text, min_chars=12 if column != 1 else len(text))
                label.setProperty("role", "" if column == 0 else "muted")
                grid.addWidget(label, row, column)
        self.body.addLayout(grid)
        if count > MAX_NAMED:
            self.add_words(f"and {count - MAX_NAMED} more", "muted")
        self.add_words("Their files are deleted for good, with their notes and logs.", "muted")
        delete = self.add_button("Delete", "library_delete_confirm")
        delete.setProperty("danger", True)
        delete.clicked.connect(self._on_delete)

    def _on_delete(self) -> None:
        self.accept()
        self.confirmed.emit()


class ExportDialog(_Dialog):
    """Asks for a format and a file to write.

    Signals:
        chosen(ExportFormat, str): Write this format to this path.
    """

    chosen = Signal(object, str)

    def __init__(self, line: RecordingLine, folder: Path, parent: QWidget | None = None) -> None:
        super().__init__("library_export_dialog", "Export", f"Export {line.run.title}", parent)
        self._stem = line.run.run_id
        self._folder = folder
        self.format = QComboBox()
        self.format.setObjectName("library_export_format")
        self.format.setAccessibleName("Format")
        for kind, (name, about, _suffix) in _FORMATS.items():
            self.format.addItem(f"{name}: {about}", kind)
        self.out = QLineEdit()
        self.out.setObjectName("library_export_out")
        self.out.setAccessibleName("Target")
        browse = QPushButton("Choose…")
        browse.setAutoDefault(False)
        browse.clicked.connect(self._browse)
        grid = QGridLayout()
        grid.setColumnStretch(1, 1)
        grid.addWidget(QLabel("Format"), 0, 0)
        grid.addWidget(self.format, 0, 1, 1, 2)
        grid.addWidget(QLabel("Write to"), 1, 0)
        grid.addWidget(self.out, 1, 1)
        grid.addWidget(browse, 1, 2)
        self.body.addLayout(grid)
        self.problem = self.add_words("", "problem")
        self.export = self.add_button("Export", "library_export_confirm")
        self.export.setDefault(True)
        widen_for_bold(self.export)
        self.export.clicked.connect(self._on_export)
        self.format.currentIndexChanged.connect(self._on_format)
        self.out.textChanged.connect(self._check)
        self.setMinimumWidth(620)
        self._on_format()

    def _on_format(self) -> None:
        """Give the file name the ending of the chosen format."""
        kind = self.format.currentData()
        suffix = _FORMATS[kind][2] or f"-{kind.value}"
        self.out.setText(str(self._folder / f"{self._stem}{suffix}"))

    def _check(self) -> None:
        target = Path(self.out.text().strip())
        problem = ""
        if not self.out.text().strip():
            problem = "Say where to write it"
        elif not target.is_absolute():
            problem = "Give a whole path, from the root"
        elif target.exists():
            problem = f"{target.name} is there already; nothing is overwritten"
        elif not target.parent.is_dir():
            problem = f"There is no folder {target.parent}"
        self.problem.setText(problem)
        self.export.setEnabled(not problem)

    def _browse(self) -> None:
        dialog = QFileDialog(self, "Export to", str(self._folder))
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setOption(QFileDialog.Option.DontConfirmOverwrite)
        dialog.selectFile(Path(self.out.text()).name)
        dialog.fileSelected.connect(self.out.setText)
        dialog.open()

    def _on_export(self) -> None:
        self.accept()
        self.chosen.emit(self.format.currentData(), self.out.text().strip())


class LimitsDialog(_Dialog):
    """Asks how much the library may hold.

    Signals:
        chosen(LibrarySettings): The user confirmed these limits.
    """

    chosen = Signal(object)

    def __init__(self, settings: LibrarySettings, parent: QWidget | None = None) -> None:
        super().__init__("library_limits_dialog", "Limits", "How much the library may hold", parent)
        grid = QGridLayout()
        grid.setColumnStretch(0, 1)
        self._grid = grid
        limit = None if settings.limit_bytes is None else settings.limit_bytes / _GB
        self._limit = self._rule("limit", "Warn before the library reaches", " GB", limit, 50)
        days = settings.keep_days
        self._days = self._rule("days", "Delete recordings older than", " days", days, 90)
        keep = None if settings.keep_bytes is None else settings.keep_bytes / _GB
        self._size = self._rule("size", "Delete the oldest beyond", " GB", keep, 50)
        self.body.addLayout(grid)
        self.add_words(
            "What is older or larger than that is deleted for good, at once and from now on. Live "
            "and pinned recordings never are, nor the newest one, nor files that cannot be read.",
            "muted",
        )
        save = self.add_button("Keep these limits", "library_limits_confirm")
        save.setDefault(True)
        widen_for_bold(save)
        save.clicked.connect(self._on_save)

    def settings(self) -> LibrarySettings:
        """The limits in the fields."""
        limit, days, size = (self._value(rule) for rule in (self._limit, self._days, self._size))
        return LibrarySettings(
            limit_bytes=None if limit is None else round(limit * _GB),
            keep_days=days,
            keep_bytes=None if size is None else round(size * _GB),
        )

    def _rule(
        self, key: str, text: str, unit: str, value: float | None, usual: float
    ) -> tuple[QCheckBox, QDoubleSpinBox]:
        row = self._grid.rowCount()
        check = QCheckBox(text)
        check.setObjectName(f"library_limits_{key}_on")
        check.setChecked(value is not None)
        field = QDoubleSpinBox()
        field.setObjectName(f"library_limits_{key}")
        field.setAccessibleName(text)
        field.setRange(0.1, 1_000_000.0)
        field.setDecimals(1)
        field.setSuffix(unit)
        field.setMinimumWidth(130)
        field.setValue(usual if value is None else value)
        field.setEnabled(value is not None)
        check.toggled.connect(field.setEnabled)
        self._grid.addWidget(check, row, 0)
        self._grid.addWidget(field, row, 1)
        return check, field

    def _value(self, rule: tuple[QCheckBox, QDoubleSpinBox]) -> float | None:
        check, field = rule
        return field.value() if check.isChecked() else None

    def _on_save(self) -> None:
        self.accept()
        self.chosen.emit(self.settings())
