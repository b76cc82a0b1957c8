"""The dialog of an environment check: its progress, then what it found. It blocks nothing."""

import json
from functools import partial

from PySide6.QtCore import Qt, QTimer, Signal
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QDialog,
    QFrame,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QProgressBar,
    QPushButton,
    QScrollArea,
    QStackedWidget,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from raydash.core.analysis.env_check_words import lines_of, rows_of, verdict_of
from raydash.core.env_check import TIME_LIMIT_S, CheckPhase, EnvCheck, EnvProblem
from raydash.core.faults import Fault
from raydash.core.spec import RunSpec
from raydash.core.words import numbers, spans
from raydash.link.session import Session
from raydash.ui.dialogs.fault_banner import show_details, why_and_remedy
from raydash.ui.kit.card import ElidedLabel

_PHASES = {
    None: "Starting a process",
    CheckPhase.IMPORT: "Importing what it needs",
    CheckPhase.MAKE: "In its constructor",
    CheckPhase.CHECK: "Looking for mistakes",
    CheckPhase.RESET: "In its first reset",
    CheckPhase.TIMING: "Stepping with random actions",
    CheckPhase.TOGETHER: "Stepping several together",
}
_TICK_MS = 200


class EnvCheckDialog(QDialog):
    """Shows one check at a time; closing it cancels a check that is still running.

    Signals:
        again_requested: Check what is in the form now.
        failed(Fault): The environment could not be checked; the fault is shown here.
        said(str): One line about what was done.
    """

    again_requested = Signal()
    failed = Signal(object)
    said = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("check_env_dialog")
        self.setWindowTitle("Check environment")
        self._session = session
        self._checker = session.checker
        self._began_s = 0.0
        self._text = ""
        self._name = ElidedLabel(min_chars=20)
        self._name.setObjectName("check_env_name")
        self._name.setProperty("role", "title")
        self._conditions = ElidedLabel(min_chars=20)
        self._conditions.setObjectName("check_env_how")
        self._conditions.setProperty("role", "muted")
        self._verdict = QLabel()
        self._verdict.setObjectName("check_env_verdict")
        self._pages = QStackedWidget()
        self._running, self._results, self._fault = _Running(), _Results(), _FaultPage()
        for page in (self._running, self._results, self._fault):
            self._pages.addWidget(page)
        self._copy = self._button("Copy", "check_env_copy", self._on_copy)
        self._again = self._button("Check again", "check_env_again", self.again_requested.emit)
        self._close = self._button("Cancel", "check_env_close", self.reject)
        self._close.setMinimumWidth(self._close.fontMetrics().horizontalAdvance("Cancel") + 36)
        self._compose()
        self._timer = QTimer(self)
        self._timer.setInterval(_TICK_MS)
        self._timer.timeout.connect(self._refresh)
        self._checker.phase_changed.connect(self._refresh)
        self._checker.found.connect(self._show_found)
        self._checker.failed.connect(self._show_fault)

    def _compose(self) -> None:
        title = QHBoxLayout()
        title.addWidget(self._name, 1)
        title.addWidget(self._verdict)
        head = QVBoxLayout()
        head.setSpacing(2)
        head.addLayout(title)
        head.addWidget(self._conditions)
        row = QHBoxLayout()
        row.addWidget(self._copy)
        row.addStretch(1)
        row.addWidget(self._again)
        row.addWidget(self._close)
        column = QVBoxLayout(self)
        column.setContentsMargins(18, 16, 18, 14)
        column.setSpacing(12)
        column.addLayout(head)
        column.addWidget(self._pages, 1)
        column.addLayout(row)
        self.resize(660, 500)
        self.setMinimumSize(480, 280)

    def _button(self, text: str, name: str, slot: object) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(name)
        button.setAccessibleName(text)
        button.setAutoDefault(False)
        button.clicked.connect(slot)
        return button

    # --- what happens -------------------------------------------------------------------------

    def check(self, spec: RunSpec) -> None:
        """Start to check a spec's environment, in place of an earlier check."""
        self._name.set_text(spec.env.id)
        self._conditions.set_text(_conditions(spec, len(self._session.store.live_runs)))
        self._conditions.setVisible(bool(self._conditions.full_text()))
        self._verdict.setText("")
        self._text = ""
        self._began_s = self._session.store.clock()
        self._running.set_phases(len(CheckPhase) - (spec.rollout.chosen_vectorization == "none"))
        self._show_page(self._running)
        self._timer.start()
        self.show()
        self.raise_()
        self.activateWindow()
        self._checker.check(spec, self._session.source_dirs)

    @override
    def reject(self) -> None:
        """Close the dialog, and cancel a check that is still running."""
        self._timer.stop()
        self._checker.cancel()
        super().reject()

    def _refresh(self) -> None:
        seconds = self._session.store.clock() - self._began_s
        self._running.show_phase(self._checker.phase, seconds)

    def _show_found(self, found: EnvCheck) -> None:
        self._results.show_check(found)
        self._text = "\n".join(lines_of(found))
        self._set_verdict(verdict_of(found), is_bad=not found.ok)
        self._show_page(self._results)

    def _show_fault(self, fault: Fault) -> None:
        self._fault.show_fault(fault)
        self._text = "\n\n".join(part for part in (fault.sentence(), fault.detail) if part)
        self._set_verdict("not checked", is_bad=True)
        self._show_page(self._fault)
        self.failed.emit(fault)

    def _set_verdict(self, verdict: str, *, is_bad: bool) -> None:
        self._verdict.setText(verdict)
        self._verdict.setProperty("role", "problem" if is_bad else "muted")
        self._verdict.style().polish(self._verdict)

    def _show_page(self, page: QWidget) -> None:
        is_over = page is not self._running
        if is_over:
            self._timer.stop()
        else:
            self._refresh()
        self._pages.setCurrentWidget(page)
        self._copy.setVisible(is_over)
        self._again.setVisible(is_over)
        self._close.setText("Close" if is_over else "Cancel")
        self._close.setAccessibleName(self._close.text())

    def _on_copy(self) -> None:
        QGuiApplication.clipboard().setText(self._text)
        self.said.emit(f"copied: what the check of {self._name.full_text()} found")


def _conditions(spec: RunSpec, num_live_runs: int) -> str:
    """What is checked besides the id, and what to bear in mind about its timings."""
    env, rollout = spec.env, spec.rollout
    together = rollout.chosen_vectorization
    parts = [
        json.dumps(dict(env.kwargs)) if env.kwargs else "",
        *(wrapper.name for wrapper in env.wrappers),
        f"{rollout.num_envs_per_worker} together, {together}" if together != "none" else "",
        f"timed beside {numbers.plural(num_live_runs, 'live run')}" if num_live_runs else "",
    ]
    return " · ".join(part for part in parts if part)


class _Running(QWidget):
    """Shows the phase of a running check, and how long the check has taken so far."""

    def __init__(self) -> None:
        super().__init__()
        self._bar = QProgressBar()
        self._bar.setTextVisible(False)
        self._bar.setAccessibleName("Progress")
        self._phase = QLabel()
        self._phase.setObjectName("check_env_phase")
        about = QLabel(
            "In a process of its own, which is ended if it hangs, "
            f"{spans.rough(TIME_LIMIT_S)} after its start. It shares the processor with runs that "
            "go on: each slows the other down for these seconds.",
            wordWrap=True,
        )
        about.setProperty("role", "muted")
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 6, 0, 0)
        column.setSpacing(10)
        column.addWidget(self._phase)
        column.addWidget(self._bar)
        column.addWidget(about)
        column.addStretch(1)

    def set_phases(self, count: int) -> None:
        """Set the number of phases of this check."""
        self._bar.setRange(0, count)

    def show_phase(self, phase: CheckPhase | None, seconds: float) -> None:
        """Show the phase, and how long the check has taken so far."""
        self._phase.setText(f"{_PHASES[phase]} · {spans.rough(seconds)}")
        reached = 0 if phase is None else list(CheckPhase).index(phase)
        self._bar.setValue(reached if phase is None else max(reached, self._bar.value()))


class _Results(QScrollArea):
    """Shows figures and problems, one per row."""

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("check_env_results")
        self.setAccessibleName("What was found")
        self.setWidgetResizable(True)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)

    def show_check(self, found: EnvCheck) -> None:
        """Show the results of another check."""
        content = QWidget()
        rows = QGridLayout(content)
        rows.setContentsMargins(0, 0, 6, 0)
        rows.setHorizontalSpacing(16)
        rows.setVerticalSpacing(6)
        rows.setColumnStretch(1, 1)
        for title, text in rows_of(found):
            _add_row(rows, title.capitalize(), text, "muted")
        if found.problems:
            line = QFrame()
            line.setFixedHeight(1)
            line.setProperty("role", "line")
            rows.addWidget(line, rows.rowCount(), 0, 1, 3)
        for problem in found.problems:
            _add_problem(rows, problem)
        rows.setRowStretch(rows.rowCount(), 1)
        self.setWidget(content)


def _add_row(rows: QGridLayout, title: str, text: str, role: str) -> int:
    """Add a row, and give its number."""
    row, top = rows.rowCount(), Qt.AlignmentFlag.AlignTop
    label = QLabel(title)
    label.setProperty("role", role)
    value = QLabel(text, wordWrap=True, textFormat=Qt.TextFormat.PlainText)
    value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    rows.addWidget(label, row, 0, top)
    rows.addWidget(value, row, 1, top)
    return row


def _add_problem(rows: QGridLayout, problem: EnvProblem) -> None:
    is_error = problem.is_error
    title, role = ("Error", "problem") if is_error else ("Warning", "warning")
    row = _add_row(rows, title, problem.text, role)
    if problem.detail:
        button = QPushButton("Traceback…")
        button.setObjectName("check_env_traceback")
        button.setAutoDefault(False)
        button.clicked.connect(partial(_show_traceback, button, problem))
        rows.addWidget(button, row, 2, Qt.AlignmentFlag.AlignTop)


def _show_traceback(button: QWidget, problem: EnvProblem, _checked: bool = False) -> None:
    show_details(button.window(), "Traceback", problem.detail)


class _FaultPage(QWidget):
    """Shows why the environment could not be checked."""

    def __init__(self) -> None:
        super().__init__()
        self._shown = Fault("")
        self._what = QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText)
        self._what.setObjectName("check_env_fault_what")
        self._what.setProperty("role", "problem")
        self._why = QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText)
        self._why.setObjectName("check_env_fault_why")
        for label in (self._what, self._why):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._details = QPushButton("Details…")
        self._details.setObjectName("check_env_details")
        self._details.setAutoDefault(False)
        self._details.clicked.connect(self._show_details)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 6, 0, 0)
        column.setSpacing(8)
        column.addWidget(self._what)
        column.addWidget(self._why)
        column.addWidget(self._details, 0, Qt.AlignmentFlag.AlignLeft)
        column.addStretch(1)

    def show_fault(self, fault: Fault) -> None:
        """Show another fault."""
        self._shown = fault
        self._what.setText(fault.what.rstrip("."))
        self._why.setText(why_and_remedy(fault))
        self._details.setVisible(bool(fault.detail))

    def _show_details(self) -> None:
        show_details(self.window(), self._shown.what, self._shown.detail)
