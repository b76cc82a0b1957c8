"""The form's part about the policy."""

from collections.abc import Mapping

from PySide6.QtWidgets import QComboBox

from raydash.core.spec import POLICY_KINDS, RunSpec
from raydash.ui.form.part import FormPart


class PolicyPart(FormPart):
    """What chooses the actions."""

    def __init__(self) -> None:
        super().__init__("Policy", "policy", is_open=True)
        self._kind = QComboBox()
        for kind in POLICY_KINDS:
            self._kind.addItem(kind, kind)
        self.add_row("Kind", self._kind, "policy.kind", "form_policy")
        self._kind.setAccessibleName("Policy")

    def values(self) -> Mapping[str, object]:
        """The kind."""
        return {"policy.kind": self._kind.currentData()}

    def show_spec(self, spec: RunSpec) -> None:
        """Put a spec's policy into the fields."""
        self._kind.setCurrentIndex(max(0, self._kind.findData(spec.policy.kind)))

    def summary(self) -> str:
        """The kind."""
        return self._kind.currentText()
