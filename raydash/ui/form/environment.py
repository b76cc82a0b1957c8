"""The part of the form for the environment."""

import difflib
import json
from collections.abc import Mapping

from PySide6.QtCore import QSignalBlocker
from PySide6.QtWidgets import QComboBox, QLineEdit, QToolButton
from typing_extensions import override

from raydash.core.spec import RunSpec
from raydash.core.spec_rules import Violation
from raydash.link.store import Store
from raydash.ui.form.completion import NameCompleter, NamesLine
from raydash.ui.form.part import FormPart
from raydash.ui.form.values import table_in, wrappers_in, wrappers_text


class EnvironmentPart(FormPart):
    """Fields for the environment, its constructor's arguments, and its wrappers.

    Attributes:
        check: The button beside the heading, which gets the action that checks the environment.
    """

    def __init__(self, store: Store) -> None:
        super().__init__("Environment", "environment", is_open=True)
        self._store = store
        self._env = QComboBox(editable=True)
        self._env.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        self._env.setMaxVisibleItems(16)
        self._kwargs = QLineEdit(placeholderText="{}")
        self._wrappers = NamesLine(placeholderText="none")
        self.check = QToolButton()
        self.check.setObjectName("button_check_env")
        self.add_corner(self.check)
        self.add_row("Id", self._env, "env.id", "form_env")
        self.add_row("Arguments", self._kwargs, "env.kwargs", "form_env_kwargs")
        self.add_row("Wrappers", self._wrappers, "env.wrappers", "form_wrappers")
        self._env.setAccessibleName("Environment")
        self._wrappers.setToolTip(
            "Around each environment, the first one innermost: Gymnasium's by name, or your own as "
            'module:callable; arguments behind the name: TimeLimit {"max_episode_steps": 200}'
        )
        store.registry_changed.connect(self._fill_registry)
        self._fill_registry()

    @override
    def values(self) -> Mapping[str, object]:
        kwargs, _ = table_in("env.kwargs", self._kwargs.text())
        wrappers, _ = wrappers_in(self._wrappers.text())
        return {
            "env.id": self._env.currentText().strip(),
            "env.kwargs": kwargs,
            "env.wrappers": wrappers,
        }

    @override
    def violations(self) -> tuple[Violation, ...]:
        """Report arguments that are not JSON, and wrappers that are not a list."""
        return (
            *table_in("env.kwargs", self._kwargs.text())[1],
            *wrappers_in(self._wrappers.text())[1],
        )

    @override
    def show_spec(self, spec: RunSpec) -> None:
        self._env.setEditText(spec.env.id)
        self._show_beginning()
        self._kwargs.setText(json.dumps(dict(spec.env.kwargs)) if spec.env.kwargs else "")
        self._wrappers.setText(wrappers_text(spec.env.wrappers))
        for line in (self._kwargs, self._wrappers):
            line.home(False)  # the beginning of a text that is longer than its field

    def _show_beginning(self) -> None:
        """Scroll to the beginning of an id that is longer than its field."""
        line_edit = self._env.lineEdit()
        if line_edit is not None and not line_edit.hasFocus():
            line_edit.home(False)

    @override
    def summary(self) -> str:
        texts = (self._env.currentText(), self._kwargs.text(), self._wrappers.text())
        return " · ".join(text.strip() for text in texts if text.strip())

    @override
    def hints(self) -> Mapping[str, str]:
        """Hints for names that resemble a known one; the engine decides whether they are wrong."""
        hints = {}
        near = _closest_name(self._env.currentText().strip(), self._store.env_ids)
        if near:
            hints["env.id"] = f"Not registered; did you mean {near}?"
        wrappers, _ = wrappers_in(self._wrappers.text())
        for each in wrappers:
            near = _closest_name(each["name"], self._store.wrapper_names)
            if near:
                hints["env.wrappers"] = f"No wrapper {each['name']}; did you mean {near}?"
        return hints

    def _fill_registry(self) -> None:
        chosen = self._env.currentText()
        with QSignalBlocker(self._env):
            self._env.clear()
            self._env.addItems(list(self._store.env_ids))
            self._env.setEditText(chosen)
        self._show_beginning()
        self._env.setCompleter(NameCompleter(self._store.env_ids, self._env))
        self._wrappers.set_names(self._store.wrapper_names)


def _closest_name(name: str, known: tuple[str, ...]) -> str:
    """The known name that was perhaps meant; empty if `name` is known, or resembles none."""
    if ":" in name or name in known:
        return ""
    return next(iter(difflib.get_close_matches(name, known, n=1)), "")
