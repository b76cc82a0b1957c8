"""The form's part about the policy."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QComboBox, QFileDialog, QLineEdit, QToolButton

from raydash.core.spec import FILE_POLICY_KINDS, LEARNED_POLICY_KINDS, POLICY_KINDS, RunSpec
from raydash.ui.form.part import FormPart

_FILTERS = {
    "linear": "Weights (*.npz)",
    "mlp": "Weights (*.npz)",
    "onnx": "ONNX models (*.onnx)",
    "sb3": "Stable-Baselines3 models (*.zip)",
}
_FILES = {
    "linear": "weights, .npz",
    "mlp": "weights, .npz",
    "onnx": "model, .onnx",
    "sb3": "model, .zip",
    "rllib": "folder of a checkpoint",
}


class PolicyPart(FormPart):
    """What chooses the actions: a kind, and what that kind needs."""

    def __init__(self) -> None:
        super().__init__("Policy", "policy", is_open=True)
        self._kind = QComboBox(editable=True)
        self._kind.setInsertPolicy(QComboBox.InsertPolicy.NoInsert)
        for kind in POLICY_KINDS:
            self._kind.addItem(kind)
        self._path = QLineEdit()
        self._choose = QToolButton()
        self._choose.setText("…")
        self._choose.setToolTip("Choose the policy's file")
        self._choose.setObjectName("form_policy_choose")
        self._choose.setAccessibleName("Choose the policy's file")
        self._action = QLineEdit(placeholderText="0, or [0.5, -1]")
        self.add_row("Kind", self._kind, "policy.kind", "form_policy")
        self.add_row("File", self._path, "policy.path", "form_policy_path", beside=self._choose)
        self.add_row("Action", self._action, "policy.action", "form_policy_action")
        self._kind.setAccessibleName("Policy")
        self._kind.setToolTip(f"{self._kind.toolTip()} One of these, or your own: module:callable")
        self._choose.clicked.connect(self._browse)
        self._kind.currentTextChanged.connect(self._show_rows)
        self._show_rows()

    @property
    def kind(self) -> str:
        """The kind that is chosen."""
        return self._kind.currentText().strip()

    def be_learnable(self) -> None:
        """Something is to learn: a kind without parameters gives way to the simplest that has."""
        if self.kind not in LEARNED_POLICY_KINDS:
            self._kind.setEditText(LEARNED_POLICY_KINDS[0])

    def values(self) -> Mapping[str, object]:
        """The kind, and what it needs; trust is never kept, but asked for at each start."""
        kind = self.kind
        path = self._path.text().strip() if kind in FILE_POLICY_KINDS else ""
        return {
            "policy.kind": kind,
            "policy.path": str(Path(path).expanduser().absolute()) if path else None,
            "policy.action": _action_in(self._action.text()) if kind == "constant" else None,
            "policy.trust": False,
        }

    def show_spec(self, spec: RunSpec) -> None:
        """Put a spec's policy into the fields."""
        policy = spec.policy
        self._kind.setEditText(policy.kind)
        self._path.setText(policy.path or "")
        self._action.setText("" if policy.action is None else json.dumps(policy.action))
        self._show_rows()

    def summary(self) -> str:
        """The kind, and the file's name or the action."""
        kind = self.kind
        more = self._action.text() if kind == "constant" else ""
        if kind in FILE_POLICY_KINDS:
            more = Path(self._path.text().strip()).name
        return " · ".join(text for text in (kind, more) if text)

    def _show_rows(self) -> None:
        kind = self.kind
        has_file = kind in FILE_POLICY_KINDS
        self.set_row_visible("policy.path", visible=has_file)
        self._choose.setVisible(has_file)
        self.set_row_visible("policy.action", visible=kind == "constant")
        self._path.setPlaceholderText(_FILES.get(kind, ""))

    def _browse(self) -> None:
        kind = self.kind
        dialog = QFileDialog(self, "Policy", self._path.text().strip())
        dialog.setObjectName("form_policy_dialog")
        if kind == "rllib":
            dialog.setFileMode(QFileDialog.FileMode.Directory)
        else:
            dialog.setFileMode(QFileDialog.FileMode.ExistingFile)
            dialog.setNameFilters([_FILTERS[kind], "All files (*)"])
        dialog.fileSelected.connect(self._path.setText)
        dialog.finished.connect(dialog.deleteLater)
        dialog.open()


def _action_in(text: str) -> Any:
    """The action that a text means, or the text itself, to be refused."""
    try:
        return json.loads(text)
    except ValueError:
        return text.strip() or None
