"""The form of a run: every field judged by the spec's own rules, and told so beside it."""

import difflib
import json
from collections.abc import Iterable, Mapping
from typing import Any

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QComboBox,
    QCompleter,
    QGridLayout,
    QLabel,
    QLineEdit,
    QPushButton,
    QSpinBox,
    QWidget,
)

from raydash.core.faults import Fault
from raydash.core.messages import Verb
from raydash.core.permissions import why_run_cannot
from raydash.core.spec import (
    FIELDS,
    MAX_WORKERS,
    POLICY_KINDS,
    RunSpec,
    SpecError,
    Violation,
    spec_from_table,
    table_from_spec,
)
from raydash.link.session import Session
from raydash.ui.command_line import plain_number

_NO_LIMIT = "never"
_ONE_PER_CORE = "one per core"
_KWARGS_ALLOWED = 'JSON such as {"gravity": 9.8}'


class RunForm(QWidget):
    """Collects a `RunSpec`. Keys that have no field are kept from the spec that was set.

    Signals:
        changed: The form has another content.
    """

    changed = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._store = session.store
        self._base: dict[str, Any] = {}
        self._problems: dict[str, QLabel] = {}
        self._fields: dict[str, QWidget] = {}
        self._violations: tuple[Violation, ...] = ()

        self._env = QComboBox(editable=True)
        self._env.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._env.setMaxVisibleItems(16)
        self._kwargs = QLineEdit(placeholderText="{}")
        self._policy = QComboBox()
        for kind in POLICY_KINDS:
            self._policy.addItem(kind, kind)
        self._workers = QSpinBox(minimum=0, maximum=MAX_WORKERS)
        self._workers.setSpecialValueText(_ONE_PER_CORE)
        self._workers.setAccelerated(True)
        self._workers.lineEdit().setTextMargins(5, 0, 0, 0)
        self._apply = QPushButton("Apply")
        self._apply.setObjectName("form_apply_workers")
        self._seed = QLineEdit(placeholderText="0")
        self._seconds = QLineEdit(placeholderText=_NO_LIMIT)
        self._env_steps = QLineEdit(placeholderText=_NO_LIMIT)
        self._episodes = QLineEdit(placeholderText=_NO_LIMIT)

        self._layout = QGridLayout(self)
        self._layout.setContentsMargins(0, 0, 0, 0)
        self._layout.setHorizontalSpacing(8)
        self._layout.setVerticalSpacing(4)
        self._layout.setColumnStretch(1, 1)
        self._add_row("Environment", self._env, "env.id", "form_env")
        self._add_row("Arguments", self._kwargs, "env.kwargs", "form_env_kwargs")
        self._add_row("Policy", self._policy, "policy.kind", "form_policy")
        self._add_row("Workers", self._workers, "rollout.num_workers", "form_num_workers")
        self._add_row("Seed", self._seed, "rollout.seed", "form_seed")
        self._add_row("Max seconds", self._seconds, "stop.seconds", "form_stop_seconds")
        self._add_row("Max steps", self._env_steps, "stop.env_steps", "form_stop_env_steps")
        self._add_row("Max episodes", self._episodes, "stop.episodes", "form_stop_episodes")
        self._layout.addWidget(self._apply, *self._apply_cell)
        self._layout.setRowStretch(self._layout.rowCount(), 1)
        self._apply.hide()

        self._env.editTextChanged.connect(self._on_edited)
        for line in (self._kwargs, self._seed, self._seconds, self._env_steps, self._episodes):
            line.textChanged.connect(self._on_edited)
        self._policy.currentIndexChanged.connect(self._on_edited)
        self._workers.valueChanged.connect(self._on_edited)
        line_edit = self._workers.lineEdit()
        assert line_edit is not None
        line_edit.returnPressed.connect(self._scale)
        self._apply.clicked.connect(self._scale)
        self._store.registry_changed.connect(self._fill_registry)
        self._store.run_state_changed.connect(self._refresh_apply)
        self._store.shown_run_changed.connect(self._refresh_apply)
        session.pending_changed.connect(self._refresh_apply)
        self._fill_registry()
        self.set_spec(RunSpec())

    # --- what is in it ------------------------------------------------------------------------

    def spec(self) -> RunSpec:
        """The spec in the form.

        Raises:
            SpecError: with everything that is wrong with it.
        """
        table, violations = self._table()
        try:
            spec = spec_from_table(table)
        except SpecError as error:
            raise SpecError((*violations, *error.violations)) from error
        if violations:
            raise SpecError(violations)
        return spec

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What is wrong with the content now."""
        return self._violations

    def set_spec(self, spec: RunSpec) -> None:
        """Put a spec into the fields."""
        self._base = table_from_spec(spec)
        stop = spec.stop
        with QSignalBlocker(self):
            self._env.setEditText(spec.env.id)
            self._kwargs.setText(json.dumps(dict(spec.env.kwargs)) if spec.env.kwargs else "")
            self._policy.setCurrentIndex(max(0, self._policy.findData(spec.policy.kind)))
            self._workers.setValue(spec.rollout.num_workers or 0)
            self._seed.setText(str(spec.rollout.seed) if spec.rollout.seed else "")
            self._seconds.setText("" if stop.seconds is None else plain_number(stop.seconds))
            self._env_steps.setText("" if stop.env_steps is None else str(stop.env_steps))
            self._episodes.setText("" if stop.episodes is None else str(stop.episodes))
        self._on_edited()

    def mark_fault(self, fault: Fault) -> None:
        """Show an engine's fault beside the fields that it names."""
        for key in fault.keys:
            if key in self._problems:
                self._show_problem(
                    key, ". ".join(part for part in (fault.what, fault.remedy) if part)
                )

    def _table(self) -> tuple[dict[str, Any], tuple[Violation, ...]]:
        kwargs, violations = _kwargs_from_json(self._kwargs.text())
        fields: dict[str, object] = {
            "env.id": self._env.currentText().strip(),
            "env.kwargs": kwargs,
            "policy.kind": self._policy.currentData(),
            "rollout.num_workers": self._workers.value() or None,
            "rollout.seed": _number("rollout.seed", self._seed.text()) or 0,
            "stop.seconds": _number("stop.seconds", self._seconds.text()),
            "stop.env_steps": _number("stop.env_steps", self._env_steps.text()),
            "stop.episodes": _number("stop.episodes", self._episodes.text()),
        }
        table = {
            part: dict(values) if isinstance(values, Mapping) else values
            for part, values in self._base.items()
        }
        for key, value in fields.items():
            part, name = key.split(".")
            table.setdefault(part, {})[name] = value
        return table, violations

    # --- the fields ---------------------------------------------------------------------------

    def _add_row(self, title: str, field: QWidget, key: str, name: str) -> None:
        row = self._layout.rowCount()
        label = QLabel(title)
        label.setProperty("role", "muted")
        label.setBuddy(field)
        field.setObjectName(name)
        field.setAccessibleName(title)
        field.setToolTip(FIELDS[key].help)
        field.setMinimumWidth(56)
        problem = QLabel(wordWrap=True)
        problem.setProperty("role", "problem")
        problem.setObjectName(f"{name}_problem")
        problem.hide()
        self._problems[key] = problem
        self._fields[key] = field
        is_workers = field is self._workers
        self._layout.addWidget(label, row, 0)
        self._layout.addWidget(field, row, 1, 1, 1 if is_workers else 2)
        self._layout.addWidget(problem, row + 1, 0, 1, 3)
        if is_workers:
            self._apply_cell = (row, 2)

    def _show_problem(self, key: str, words: str) -> None:
        label = self._problems[key]
        label.setText(words)
        label.setVisible(bool(words))
        field = self._fields[key]
        if field.property("invalid") is not bool(words):
            field.setProperty("invalid", bool(words))
            field.style().polish(field)

    def _on_edited(self) -> None:
        try:
            self.spec()
            self._violations = ()
        except SpecError as error:
            self._violations = error.violations
        words = {violation.key: _words(violation) for violation in self._violations}
        for key in self._problems:
            self._show_problem(key, words.get(key, ""))
        if "env.id" not in words:
            self._show_problem("env.id", self._near_miss())
        self._refresh_apply()
        self.changed.emit()

    def _near_miss(self) -> str:
        """A hint when the id is nearly a known one; the engine has the last word."""
        chosen = self._env.currentText().strip()
        known = self._store.env_ids
        if not known or ":" in chosen or chosen in known:
            return ""
        near = difflib.get_close_matches(chosen, known, n=1)
        return f"Not registered; did you mean {near[0]}?" if near else ""

    def _fill_registry(self) -> None:
        chosen = self._env.currentText()
        with QSignalBlocker(self._env):
            self._env.clear()
            self._env.addItems(list(self._store.env_ids))
            self._env.setEditText(chosen)
        completer = QCompleter(list(self._store.env_ids), self._env)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self._env.setCompleter(completer)

    # --- changing the number of workers of a live run -----------------------------------------

    def _why_cannot_scale(self) -> str:
        run = self._store.shown
        latest = run.latest if run else None
        if not self._session.is_connected or run is None or latest is None or run.is_recording:
            return "there is no run"
        return why_run_cannot(Verb.SCALE, latest.state, paused=latest.paused)

    def _refresh_apply(self, _run_id: str = "") -> None:
        run = self._store.shown
        latest = run.latest if run else None
        wanted = self._workers.value()
        differs = latest is not None and wanted not in (0, latest.num_workers)
        can_apply = differs and not self._why_cannot_scale()
        self._apply.setVisible(can_apply)
        row = self._apply_cell[0]
        self._layout.addWidget(self._workers, row, 1, 1, 1 if can_apply else 2)
        pending = self._session.pending_verb(Verb.SCALE)
        self._apply.setEnabled(not pending)
        self._apply.setText("Scaling…" if pending else "Apply")
        if latest is not None:
            self._apply.setToolTip(
                f"Change the run from {latest.num_workers} to {wanted} workers now"
            )

    def _scale(self) -> None:
        if self._apply.isVisibleTo(self) and self._apply.isEnabled():
            self._session.command(Verb.SCALE, num_workers=self._workers.value())


def _words(violation: Violation) -> str:
    return f"{violation.problem}; allowed: {violation.allowed}"


def _number(key: str, text: str) -> object:
    """The number that a text means, None for an empty one, or the text itself, to be refused."""
    cleaned = text.replace(" ", "").replace("\u202f", "").replace("\u00a0", "")
    if not cleaned:
        return None
    try:
        return int(cleaned)
    except ValueError:
        pass
    try:
        number = float(cleaned)
    except ValueError:
        return text
    return int(number) if FIELDS[key].kind == "int" and number.is_integer() else number


def _kwargs_from_json(text: str) -> tuple[object, tuple[Violation, ...]]:
    if not text.strip():
        return {}, ()
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except ValueError as error:
        where = f" at character {error.colno}" if isinstance(error, json.JSONDecodeError) else ""
        cause = str(error)
        if isinstance(error, json.JSONDecodeError):
            cause = error.msg[:1].lower() + error.msg[1:]
        words = f"is not JSON: {cause}{where}"
        return {}, (Violation("env.kwargs", words, _KWARGS_ALLOWED),)
    return value, ()


def _refuse_constant(name: str) -> object:
    raise ValueError(f"{name} is no number of JSON")


def keys_of(violations: Iterable[Violation]) -> str:
    """The keys at fault, for a tooltip."""
    return ", ".join(sorted({violation.key for violation in violations}))
