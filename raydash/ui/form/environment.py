"""The form's part about the environment."""

import difflib
import json
from collections.abc import Mapping

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QComboBox, QCompleter, QLineEdit

from raydash.core.spec import RunSpec, Violation
from raydash.link.store import Store
from raydash.ui.form.part import FormPart
from raydash.ui.form.values import table_in


class EnvironmentPart(FormPart):
    """Which environment, and its constructor's arguments."""

    def __init__(self, store: Store) -> None:
        super().__init__("Environment", "environment", is_open=True)
        self._store = store
        self._env = QComboBox(editable=True)
        self._env.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._env.setMaxVisibleItems(16)
        self._kwargs = QLineEdit(placeholderText="{}")
        self.add_row("Id", self._env, "env.id", "form_env")
        self.add_row("Arguments", self._kwargs, "env.kwargs", "form_env_kwargs")
        self._env.setAccessibleName("Environment")
        store.registry_changed.connect(self._fill_registry)
        self._fill_registry()

    def values(self) -> Mapping[str, object]:
        """Id and arguments."""
        kwargs, _ = table_in("env.kwargs", self._kwargs.text())
        return {"env.id": self._env.currentText().strip(), "env.kwargs": kwargs}

    def violations(self) -> tuple[Violation, ...]:
        """Arguments that are no JSON."""
        return table_in("env.kwargs", self._kwargs.text())[1]

    def show_spec(self, spec: RunSpec) -> None:
        """Put a spec's environment into the fields."""
        self._env.setEditText(spec.env.id)
        self._show_beginning()
        self._kwargs.setText(json.dumps(dict(spec.env.kwargs)) if spec.env.kwargs else "")

    def _show_beginning(self) -> None:
        """Of an id that is longer than its field."""
        line_edit = self._env.lineEdit()
        if line_edit is not None and not line_edit.hasFocus():
            line_edit.home(False)

    def summary(self) -> str:
        """The id, and the arguments if there are any."""
        return " · ".join(
            text for text in (self._env.currentText().strip(), self._kwargs.text().strip()) if text
        )

    def hints(self) -> Mapping[str, str]:
        """When the id is nearly a known one; the engine has the last word."""
        chosen = self._env.currentText().strip()
        known = self._store.env_ids
        if not known or ":" in chosen or chosen in known:
            return {}
        near = difflib.get_close_matches(chosen, known, n=1)
        return {"env.id": f"Not registered; did you mean {near[0]}?"} if near else {}

    def _fill_registry(self) -> None:
        chosen = self._env.currentText()
        with QSignalBlocker(self._env):
            self._env.clear()
            self._env.addItems(list(self._store.env_ids))
            self._env.setEditText(chosen)
        self._show_beginning()
        completer = QCompleter(list(self._store.env_ids), self._env)
        completer.setCaseSensitivity(Qt.CaseSensitivity.CaseInsensitive)
        completer.setFilterMode(Qt.MatchFlag.MatchContains)
        self._env.setCompleter(completer)
