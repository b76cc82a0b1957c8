"""The form's part about the policy."""

from collections.abc import Mapping

from PySide6.QtWidgets import QComboBox

from raydash.core.spec import LEARNED_POLICY_KINDS, POLICY_KINDS, RunSpec
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

    @property
    def kind(self) -> str:
        """The kind that is chosen."""
        return str(self._kind.currentData())

    def be_learnable(self) -> None:
        """Something is to learn: a kind without parameters gives way to the simplest that has."""
        if self.kind not in LEARNED_POLICY_KINDS:
            self._kind.setCurrentIndex(self._kind.findData(LEARNED_POLICY_KINDS[0]))

    def values(self) -> Mapping[str, object]:
        """The kind."""
        return {"policy.kind": self._kind.currentData()}

    def show_spec(self, spec: RunSpec) -> None:
        """Put a spec's policy into the fields."""
        self._kind.setCurrentIndex(max(0, self._kind.findData(spec.policy.kind)))

    def summary(self) -> str:
        """The kind."""
        return self._kind.currentText()
