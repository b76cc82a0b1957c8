"""The parts of the form for learning: what learns, and how it searches."""

import json
from collections.abc import Mapping

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QCheckBox, QComboBox, QLineEdit
from typing_extensions import override

from raydash.core.spec import LearnerSpec, PolicySpec, RunSpec
from raydash.core.spec_rules import Violation
from raydash.ui.form.command_line import plain_number
from raydash.ui.form.part import FormPart
from raydash.ui.form.values import number_in, sizes_in, table_in

_NOTHING = "none"
_NAMES = {None: _NOTHING, "cmaes": "CMA-ES"}
_KINDS = {name: kind for kind, name in _NAMES.items()}
_TARGET = "stop.target_return"


class LearningPart(FormPart):
    """Fields for the learner and the return to reach.

    Signals:
        learner_chosen: The user chose a learner where there was none.
    """

    learner_chosen = Signal()

    def __init__(self) -> None:
        super().__init__("Learning", "learning", is_open=False)
        self._kind = QComboBox(editable=True)
        self._kind.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._kind.addItems(list(_KINDS))
        line_edit = self._kind.lineEdit()
        assert line_edit is not None
        line_edit.setPlaceholderText("or module:Class")
        self._target = QLineEdit(placeholderText="no target")
        self.add_row("Learner", self._kind, "learner.kind", "form_learner")
        self.add_row("Target return", self._target, _TARGET, "form_stop_target_return")
        self._kind.setToolTip(
            "What improves the policy's parameters: CMA-ES, or a learner of your own as "
            "module:Class"
        )
        self._target.setToolTip(
            "The run ends when the mean return of an evaluation reaches this; empty: never"
        )
        self._had_learner = False
        self.changed.connect(self._on_changed)
        self._on_changed()

    @property
    def kind(self) -> str | None:
        """The chosen learner; None if nothing learns."""
        text = self._kind.currentText().strip()
        return _KINDS.get(text, text or None)

    @override
    def values(self) -> Mapping[str, object]:
        target = number_in(_TARGET, self._target.text()) if self.kind else None
        return {"learner.kind": self.kind, _TARGET: target}

    @override
    def show_spec(self, spec: RunSpec) -> None:
        kind, target = spec.learner.kind, spec.stop.target_return
        self._kind.setCurrentText(_NAMES.get(kind, kind or _NOTHING))
        self._target.setText("" if target is None else plain_number(target))
        self._had_learner = kind is not None
        self._show_rows()

    @override
    def summary(self) -> str:
        if self.kind is None:
            return _NOTHING
        target = self._target.text().strip()
        return self._kind.currentText().strip() + (f" to {target}" if target else "")

    def _on_changed(self) -> None:
        self._show_rows()
        had, self._had_learner = self._had_learner, self.kind is not None
        if self._had_learner and not had:
            self.learner_chosen.emit()

    def _show_rows(self) -> None:
        self.set_row_visible(_TARGET, visible=self.kind is not None)


class SearchPart(FormPart):
    """Fields for how a learner searches, visible if something learns."""

    def __init__(self) -> None:
        super().__init__("Search", "search", is_open=False)
        self._kind: str | None = None
        self._policy = ""
        default = LearnerSpec()
        self._numbers = {
            f"learner.{name}": QLineEdit(placeholderText=placeholder)
            for name, placeholder in (
                ("population", "automatic"),
                ("sigma", plain_number(default.sigma)),
                ("episodes_per_candidate", str(default.episodes_per_candidate)),
                ("evaluation_interval", str(default.evaluation_interval)),
                ("evaluation_episodes", str(default.evaluation_episodes)),
            )
        }
        for title, (key, line) in zip(
            ("Population", "Sigma", "Episodes each", "Evaluate every", "Eval. episodes"),
            self._numbers.items(),
            strict=True,
        ):
            self.add_row(title, line, key, f"form_{key.replace('.', '_')}")
        self._hidden = QLineEdit(placeholderText=_sizes(PolicySpec().hidden))
        self.add_row("Hidden layers", self._hidden, "policy.hidden", "form_policy_hidden")
        self._hidden.setToolTip("Units of each hidden layer of the MLP: 16, or 64, 64")
        self._normalize = QCheckBox("normalised")
        self.add_row(
            *("Observations", self._normalize, "learner.normalize_observations"),
            "form_learner_normalize_observations",
        )
        self._options = QLineEdit(placeholderText="{}")
        self.add_row("Options", self._options, "learner.options", "form_learner_options")
        self.show_choice(None, "")

    def show_choice(self, kind: str | None, policy: str) -> None:
        """Show the fields that this learner and this kind of policy need; None: nothing learns."""
        self._kind, self._policy = kind, policy
        self.setVisible(kind is not None)
        self.set_row_visible("policy.hidden", visible=policy == "mlp")
        self.set_row_visible("learner.options", visible=kind is not None and ":" in kind)

    @override
    def values(self) -> Mapping[str, object]:
        """The values of the fields; the defaults if nothing learns."""
        default = LearnerSpec()
        names = [key.removeprefix("learner.") for key in self.keys if key.startswith("learner.")]
        values: dict[str, object] = {f"learner.{name}": getattr(default, name) for name in names}
        if self._kind is None:
            return values
        for key, line in self._numbers.items():
            value = number_in(key, line.text())
            values[key] = values[key] if value is None else value
        values["learner.normalize_observations"] = self._normalize.isChecked()
        if ":" in self._kind:
            values["learner.options"], _ = table_in("learner.options", self._options.text())
        if self._policy == "mlp" and self._hidden.text().strip():
            values["policy.hidden"] = sizes_in(self._hidden.text())
        elif self._policy == "mlp":
            values["policy.hidden"] = PolicySpec().hidden
        return values

    @override
    def violations(self) -> tuple[Violation, ...]:
        """Report options that are not JSON."""
        if self._kind is None or ":" not in self._kind:
            return ()
        return table_in("learner.options", self._options.text())[1]

    @override
    def show_spec(self, spec: RunSpec) -> None:
        """Fill the fields; a default value stays a placeholder."""
        learner, default = spec.learner, LearnerSpec()
        for key, line in self._numbers.items():
            name = key.removeprefix("learner.")
            value = getattr(learner, name)
            is_usual = value == getattr(default, name)
            line.setText("" if is_usual else plain_number(float(value)))
        is_usual = spec.policy.hidden == PolicySpec().hidden
        self._hidden.setText("" if is_usual else _sizes(spec.policy.hidden))
        self._normalize.setChecked(learner.normalize_observations)
        self._options.setText(json.dumps(dict(learner.options)) if learner.options else "")

    @override
    def summary(self) -> str:
        """The population, and sigma if it is not the default."""
        population = self._numbers["learner.population"].text().strip() or "automatic"
        sigma = self._numbers["learner.sigma"].text().strip()
        parts = [f"population {population}", f"sigma {sigma}" if sigma else ""]
        return " · ".join(text for text in parts if text)


def _sizes(sizes: tuple[int, ...]) -> str:
    return ", ".join(map(str, sizes))
