"""The card beside the table: one recording, the notes on it, and where it is."""

from datetime import datetime

from PySide6.QtCore import QEvent, QObject, QSignalBlocker, Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QCheckBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QPlainTextEdit,
    QPushButton,
    QStackedLayout,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from raydash.core.library import MAX_NOTE, MAX_TAG, MAX_TAGS, MAX_TITLE, Notes
from raydash.core.words import moments, numbers, spans
from raydash.ui.kit import run_words
from raydash.ui.kit.card import Card, ElidedLabel
from raydash.ui.library.lines import RecordingLine, source_words

_SAVE_AFTER_MS = 1000
_FIGURES = (
    *("outcome", "environment", "started", "duration"),
    *("steps", "episodes", "return", "size", "from"),
)
_NAMES = {
    "outcome": "Ended",
    "environment": "Environment",
    "started": "Started",
    "duration": "Duration",
    "steps": "Env steps",
    "episodes": "Episodes",
    "return": "Return, mean",
    "size": "Size",
    "from": "Owner",
}


def tags_of(text: str) -> tuple[str, ...]:
    """The tags in a line of text, without duplicates, in the order they were written."""
    return tuple(dict.fromkeys(tag for part in text.split(",") if (tag := part.strip())))


def why_tags_cannot(tags: tuple[str, ...]) -> str:
    """Why these tags can't be stored; empty if they can."""
    if len(tags) > MAX_TAGS:
        return f"{len(tags)} tags; allowed: {MAX_TAGS}"
    long = next((tag for tag in tags if len(tag) > MAX_TAG), "")
    return f"{long[:12]}… is too long; allowed: {MAX_TAG} characters" if long else ""


def figures_of(line: RecordingLine, now: datetime) -> dict[str, str]:
    """The figures of a recording in words, by key."""
    run, known = line.run, line.figures_known
    ended = run_words.outcome(run.state, run.ended_by) if not line.is_live else line.state_words
    workers = f" · {numbers.plural(run.num_workers, 'worker')}" if run.num_workers else ""
    source = "" if run.source.value == "raydash" else f" · {source_words(run.source)}"
    return {
        "outcome": ended,
        "environment": (run.env_id or numbers.UNKNOWN) + workers,
        "started": moments.moment(run.started_utc, now),
        "duration": spans.duration(line.elapsed_s) if known else numbers.UNKNOWN,
        "steps": numbers.count(line.num_env_steps) if known else numbers.UNKNOWN,
        "episodes": numbers.count(line.num_episodes) if known else numbers.UNKNOWN,
        "return": numbers.decimal(run.episode_return_mean) if known else numbers.UNKNOWN,
        "size": numbers.size(run.size_bytes),
        "from": (run.owner or numbers.UNKNOWN) + source,
    }


class RunDetails(Card):
    """Shows the selected recording. What the user writes is saved without being asked.

    Signals:
        notes_edited(str, Notes): The user changed the notes of this run.
        said(str): One line about what was done.
    """

    notes_edited = Signal(str, object)
    said = Signal(str)

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__("Details", parent=parent)
        self.setObjectName("library_details")
        self._line: RecordingLine | None = None
        self._notes = Notes()
        self.title = QLineEdit()
        self.title.setObjectName("library_title")
        self.title.setAccessibleName("Title")
        self.title.setToolTip("What to call this recording; empty: the run's own name")
        self.title.setMaxLength(MAX_TITLE)
        self.pin = QCheckBox("Pinned")
        self.pin.setObjectName("library_pin")
        self.pin.setToolTip("No rule deletes a pinned recording, and neither does Delete")
        self.tags = QLineEdit()
        self.tags.setObjectName("library_tags")
        self.tags.setAccessibleName("Tags")
        self.tags.setPlaceholderText("tags, parted by commas")
        self._problem = QLabel(wordWrap=True)
        self._problem.setObjectName("library_tags_problem")
        self._problem.setProperty("role", "problem")
        self._problem.hide()
        self.text = QPlainTextEdit()
        self.text.setObjectName("library_notes")
        self.text.setAccessibleName("Notes")
        self.text.setPlaceholderText("notes")
        self.text.setTabChangesFocus(True)
        self.text.setMinimumHeight(54)
        self.text.installEventFilter(self)
        self.fault = QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText)
        self.fault.setObjectName("library_fault")
        self.fault.setProperty("role", "problem")
        self._path = ElidedLabel(min_chars=10)
        self._path.setObjectName("library_path")
        self._path.setProperty("role", "muted")
        copy = QPushButton("Copy path")
        copy.setObjectName("library_copy_path")
        copy.clicked.connect(self._copy_path)
        self._values: dict[str, ElidedLabel] = {}
        self._compose(copy)
        self._save_later = QTimer(self)
        self._save_later.setSingleShot(True)
        self._save_later.setInterval(_SAVE_AFTER_MS)
        self._save_later.timeout.connect(self.save)
        self.title.editingFinished.connect(self.save)
        self.tags.editingFinished.connect(self.save)
        self.tags.textEdited.connect(self._check_tags)
        self.text.textChanged.connect(self._save_later.start)
        self.pin.clicked.connect(self.save)
        self.show_line(None, "")

    def _compose(self, copy: QPushButton) -> None:
        grid = QGridLayout()
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(3)
        grid.setColumnStretch(1, 1)
        for row, key in enumerate(_FIGURES):
            name = QLabel(_NAMES[key])
            name.setProperty("role", "muted")
            value = ElidedLabel()
            value.setObjectName(f"library_figure_{key}")
            self._values[key] = value
            grid.addWidget(name, row, 0)
            grid.addWidget(value, row, 1)
        path_row = QHBoxLayout()
        path_row.addWidget(self._path, 1)
        path_row.addWidget(copy)
        content = QWidget()
        column = QVBoxLayout(content)
        column.setContentsMargins(0, 2, 0, 0)
        column.setSpacing(7)
        column.addWidget(self.fault)
        column.addWidget(self.title)
        column.addWidget(self.tags)
        column.addWidget(self._problem)
        column.addWidget(self.pin)
        column.addLayout(grid)
        column.addLayout(path_row)
        column.addWidget(self.text, 1)
        self._nothing = QLabel(wordWrap=True)
        self._nothing.setProperty("role", "muted")
        self._nothing.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._stack = QStackedLayout()
        self._stack.addWidget(self._nothing)
        self._stack.addWidget(content)
        self.body.addLayout(self._stack)

    # --- what it shows ------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The id of the recording that is shown; empty if there is none."""
        return self._line.run.run_id if self._line else ""

    def show_line(self, line: RecordingLine | None, otherwise: str) -> None:
        """Show a recording, or a message instead; save what was written about the one before."""
        if line is None or line.run.run_id != self.run_id:
            self.save()
            self._line = line
            self._notes = Notes()
            self._fill(Notes())
        self._line = line
        self._nothing.setText(otherwise)
        self._stack.setCurrentIndex(0 if line is None else 1)
        if line is None:
            self.set_subtitle("")
            return
        self._load_notes(line.run.notes)
        self.title.setPlaceholderText(line.run.name or line.run.env_id or line.run.run_id)
        for key, text in figures_of(line, datetime.now().astimezone()).items():
            self._values[key].set_text(text)
        self._path.set_text(line.run.path)
        self.fault.setText(line.run.fault)
        self.fault.setVisible(bool(line.run.fault))
        self.set_subtitle(line.run.run_id)

    def _load_notes(self, notes: Notes) -> None:
        """Show the stored notes; leave a field alone that the user is changing."""
        before, self._notes = self._notes, notes
        if self.title.text() == before.title and notes.title != before.title:
            self.title.setText(notes.title)
        if tags_of(self.tags.text()) == before.tags and notes.tags != before.tags:
            self.tags.setText(", ".join(notes.tags))
        if self.text.toPlainText() == before.text and notes.text != before.text:
            with QSignalBlocker(self.text):
                self.text.setPlainText(notes.text)
        self.pin.setChecked(notes.pinned)

    def _fill(self, notes: Notes) -> None:
        self.title.setText(notes.title)
        self.tags.setText(", ".join(notes.tags))
        self._check_tags()
        with QSignalBlocker(self.text):
            self.text.setPlainText(notes.text)
        self.pin.setChecked(notes.pinned)

    # --- writing notes -----------------------------------------------------------------

    def save(self) -> None:
        """Save what was written, if it differs from what is stored and is allowed."""
        self._save_later.stop()
        if self._line is None:
            return
        tags = tags_of(self.tags.text())
        if why_tags_cannot(tags):
            tags = self._notes.tags
        written = Notes(
            self.title.text().strip(),
            tags,
            self.text.toPlainText()[:MAX_NOTE],
            self.pin.isChecked(),
        )
        if written != self._notes:
            self._notes = written
            self.notes_edited.emit(self._line.run.run_id, written)

    def _check_tags(self) -> None:
        problem = why_tags_cannot(tags_of(self.tags.text()))
        self._problem.setText(problem)
        self._problem.setVisible(bool(problem))
        if self.tags.property("invalid") is not bool(problem):
            self.tags.setProperty("invalid", bool(problem))
            self.tags.style().polish(self.tags)

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Save notes when they lose the focus; a timer saves them a second after the last key."""
        if watched is self.text and event.type() == QEvent.Type.FocusOut:
            self.save()
        return super().eventFilter(watched, event)

    def _copy_path(self) -> None:
        if self._line is not None:
            QGuiApplication.clipboard().setText(self._line.run.path)
            self.said.emit("copied the path of the recording")
