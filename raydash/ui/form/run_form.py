"""The form of a run; the spec's own rules check every field, and problems appear beside it."""

from collections.abc import Iterable, Mapping
from typing import Any

from PySide6.QtCore import QSignalBlocker, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QLabel, QVBoxLayout, QWidget

from raydash.core.faults import Fault
from raydash.core.spec import RunSpec, table_from_spec
from raydash.core.spec_rules import SpecError, Violation, spec_from_table
from raydash.link.session import Session
from raydash.ui.form.environment import EnvironmentPart
from raydash.ui.form.learning import LearningPart, SearchPart
from raydash.ui.form.part import FormPart
from raydash.ui.form.policy import PolicyPart
from raydash.ui.form.rollout import RolloutPart
from raydash.ui.form.stop import StopPart

_CHECKED = (
    *("env.id", "env.kwargs", "env.wrappers"),
    *("rollout.num_envs_per_worker", "rollout.vectorization"),
)
"""Keys of the spec that a check of the environment uses."""


class RunForm(QWidget):
    """Collects a `RunSpec`. Keys without a field keep the value of the spec that was set.

    Attributes:
        parts: The parts from top to bottom.

    Signals:
        changed: The content of the form has changed.
    """

    changed = Signal()

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._base: dict[str, Any] = {}
        self._violations: tuple[Violation, ...] = ()
        self._environment = EnvironmentPart(session.store)
        self._policy = PolicyPart(session)
        self._learning, self._search = LearningPart(), SearchPart()
        self.parts: tuple[FormPart, ...] = (
            self._environment,
            self._policy,
            self._learning,
            self._search,
            RolloutPart(session),
            StopPart(),
        )
        self._learning.learner_chosen.connect(self._policy.choose_learnable_kind)
        self._part_of = {key: part for part in self.parts for key in part.keys}
        # Problems with keys that have no field here: these came with a spec file.
        self._problem = QLabel(wordWrap=True)
        self._problem.setObjectName("form_problem")
        self._problem.setProperty("role", "problem")
        self._problem.hide()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        label_px = max(part.label_px() for part in self.parts)
        for part in self.parts:
            part.set_label_px(label_px)
            part.changed.connect(self._on_edited)
            column.addWidget(part)
        column.addWidget(self._problem)
        column.addStretch(1)
        self.set_spec(RunSpec())

    def spec(self) -> RunSpec:
        """The spec in the form.

        Raises:
            SpecError: with everything that is wrong with it.
        """
        violations = tuple(found for part in self.parts for found in part.violations())
        try:
            spec = spec_from_table(self._table())
        except SpecError as error:
            raise SpecError((*violations, *error.violations)) from error
        if violations:
            raise SpecError(violations)
        return spec

    def checkable_spec(self) -> RunSpec:
        """A spec with only what a check of the environment needs.

        Raises:
            SpecError: with everything that is wrong with that.
        """
        violations = tuple(
            found for part in self.parts for found in part.violations() if found.key in _CHECKED
        )
        if violations:
            raise SpecError(violations)
        table = self._table()
        rollout = {
            name: value for name, value in table["rollout"].items() if f"rollout.{name}" in _CHECKED
        }
        return spec_from_table({"env": table["env"], "rollout": rollout})

    def offer_check(self, action: QAction) -> None:
        """Put the action that checks the environment on the button beside the heading."""
        self._environment.check.setDefaultAction(action)
        self._environment.check.setAccessibleName("Check environment")

    @property
    def violations(self) -> tuple[Violation, ...]:
        """What is wrong with the content now."""
        return self._violations

    def set_spec(self, spec: RunSpec) -> None:
        """Put a spec into the fields."""
        self._base = table_from_spec(spec)
        for part in self.parts:
            with QSignalBlocker(part):
                part.show_spec(spec)
        self._on_edited()

    def mark_fault(self, fault: Fault) -> None:
        """Show an engine's fault beside the fields that it names."""
        for key in fault.keys:
            if key in self._part_of:
                words = ". ".join(part for part in (fault.what, fault.remedy) if part)
                self._part_of[key].show_problem(key, words)

    def _table(self) -> dict[str, Any]:
        table = {
            part: dict(values) if isinstance(values, Mapping) else values
            for part, values in self._base.items()
        }
        for form_part in self.parts:
            for key, value in form_part.values().items():
                part, name = key.split(".")
                table.setdefault(part, {})[name] = value
        return table

    def _on_edited(self) -> None:
        self._search.show_choice(self._learning.kind, self._policy.kind)
        try:
            self.spec()
            self._violations = ()
        except SpecError as error:
            self._violations = error.violations
        words = {violation.key: _words(violation) for violation in self._violations}
        for part in self.parts:
            hints = part.hints()
            for key in part.keys:
                part.show_problem(key, words.get(key) or hints.get(key, ""))
            part.refresh_heading()
        without_field = [v.sentence() for v in self._violations if v.key not in self._part_of]
        self._problem.setText("\n".join(without_field))
        self._problem.setVisible(bool(without_field))
        self.changed.emit()


def _words(violation: Violation) -> str:
    return f"{violation.problem}; allowed: {violation.allowed}"


def keys_of(violations: Iterable[Violation]) -> str:
    """The keys that are wrong, for a tool tip."""
    return ", ".join(sorted({violation.key for violation in violations}))
