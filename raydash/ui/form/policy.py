"""The part of the form for the policy."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PySide6.QtWidgets import QComboBox, QFileDialog, QLineEdit, QPushButton, QToolButton
from typing_extensions import override

from raydash.core.machine.permissions import why_run_cannot
from raydash.core.messages import Answer, Verb
from raydash.core.spec import (
    FILE_POLICY_KINDS,
    LEARNED_POLICY_KINDS,
    POLICY_KINDS,
    PolicySpec,
    RunSpec,
)
from raydash.core.spec_rules import SpecError, spec_from_table
from raydash.link.session import Session
from raydash.ui.dialogs.trust_dialog import when_trusted
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
    """Fields for the kind of policy, and for what that kind needs."""

    def __init__(self, session: Session) -> None:
        super().__init__("Policy", "policy", is_open=True)
        self._session = session
        self._store = session.store
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
        self._choose.setStyleSheet("padding: 4px 5px;")  # the field beside it needs the room
        self._action = QLineEdit(placeholderText="0, or [0.5, -1]")
        self._apply = QPushButton("Apply")
        self._apply.setObjectName("form_apply_policy")
        self._apply.hide()
        self.add_row("Kind", self._kind, "policy.kind", "form_policy")
        self.add_row("File", self._path, "policy.path", "form_policy_path", beside=self._choose)
        self.add_row("Action", self._action, "policy.action", "form_policy_action")
        self._kind.setAccessibleName("Policy")
        self._kind.setToolTip(f"{self._kind.toolTip()} One of these, or your own: module:callable")
        self._choose.clicked.connect(self._browse)
        self._kind.currentTextChanged.connect(self._show_rows)
        self._show_rows()

        self.rows.addWidget(self._apply, self.rows.rowCount(), 1)
        self._apply.clicked.connect(self._swap)
        self.changed.connect(self._refresh_apply)
        self._store.run_state_changed.connect(self._refresh_apply)
        self._store.shown_run_changed.connect(self._refresh_apply)
        session.pending_changed.connect(self._refresh_apply)

    @property
    def kind(self) -> str:
        """The chosen kind."""
        return self._kind.currentText().strip()

    def choose_learnable_kind(self) -> None:
        """Choose the simplest learnable kind, if the chosen one has no parameters to learn."""
        if self.kind not in LEARNED_POLICY_KINDS:
            self._kind.setEditText(LEARNED_POLICY_KINDS[0])

    @override
    def values(self) -> Mapping[str, object]:
        """The values of the fields; trust is never stored, but asked for at each start."""
        kind = self.kind
        path = self._path.text().strip() if kind in FILE_POLICY_KINDS else ""
        return {
            "policy.kind": kind,
            "policy.path": str(Path(path).expanduser().absolute()) if path else None,
            "policy.action": _action_in(self._action.text()) if kind == "constant" else None,
            "policy.trust": False,
        }

    @override
    def show_spec(self, spec: RunSpec) -> None:
        policy = spec.policy
        self._kind.setEditText(policy.kind)
        self._path.setText(policy.path or "")
        self._action.setText("" if policy.action is None else json.dumps(policy.action))
        self._show_rows()
        self._refresh_apply()

    @override
    def summary(self) -> str:
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

    # --- changing the policy of a live run -----------------------------------------------------

    def _chosen(self) -> PolicySpec | None:
        """The policy in the fields; None if something is wrong with it."""
        values = {key.removeprefix("policy."): value for key, value in self.values().items()}
        try:
            return spec_from_table({"policy": values}).policy
        except SpecError:
            return None

    def _why_cannot_swap(self) -> str:
        run = self._store.shown
        latest = run.latest if run else None
        if not self._session.is_connected or run is None or latest is None or run.is_recording:
            return "there is no run"
        learns = run.spec is not None and run.spec.learner.kind is not None
        return why_run_cannot(Verb.SWAP, latest.state, paused=latest.paused, learns=learns)

    def _refresh_apply(self, _run_id: str = "") -> None:
        run, chosen = self._store.shown, self._chosen()
        present = run.spec.policy if run and run.spec else None
        if run is not None and run.latest is not None:
            present = run.latest.policy or present
        differs = bool(chosen and present) and _without_trust(chosen) != _without_trust(present)
        pending = self._session.pending_verb(Verb.SWAP)
        self._apply.setVisible(pending or (differs and not self._why_cannot_swap()))
        self._apply.setEnabled(not pending)
        self._apply.setText("Swapping…" if pending else "Apply to the run")
        self._apply.setToolTip("Let the run on screen go on with this policy; no worker restarts")

    def _swap(self) -> None:
        chosen = self._chosen()
        if chosen is None:
            return
        run_id = self._store.shown_run_id

        def proceed(policy: PolicySpec) -> None:
            self._session.command(
                Verb.SWAP, policy=policy, run_id=run_id, callback=self._on_swap_answered
            )

        when_trusted(chosen, proceed, self)

    def _on_swap_answered(self, answer: Answer) -> None:
        fault = answer.fault
        if fault is None:
            return
        words = ". ".join(part for part in (fault.what, fault.why) if part)
        for key in fault.keys:
            if key in self.keys:
                self.show_problem(key, words)

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


def _without_trust(policy: PolicySpec | None) -> tuple[Any, ...]:
    """What makes it another policy: neither who trusts it, nor what a learner needs."""
    return () if policy is None else (policy.kind, policy.path, policy.action)


def _action_in(text: str) -> Any:
    """The action that a text means, or the text itself, which the spec then refuses."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text.strip() or None
