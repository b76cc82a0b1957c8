"""The question before a policy is loaded whose file can execute code."""

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from raydash.core.spec import PolicySpec
from raydash.core.trust import WHAT_IT_DOES, needs_trust, trusted
from raydash.ui.dialogs.fault_banner import widen_for_bold


def when_trusted(
    policy: PolicySpec, proceed: Callable[[PolicySpec], object], parent: QWidget
) -> None:
    """Call `proceed` with a policy: at once, or after the user has agreed to load its file.

    Args:
        policy: The policy to load.
        proceed: Called with the policy as it may be loaded; not called if the user declines.
        parent: The widget over which the question appears.
    """
    if not needs_trust(policy):
        proceed(policy)
        return
    dialog = TrustDialog(policy, parent)
    dialog.accepted.connect(lambda: proceed(trusted(policy)))
    dialog.open()


class TrustDialog(QDialog):
    """Asks one question; its default button is the safe answer."""

    def __init__(self, policy: PolicySpec, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("trust_dialog")
        self.setWindowTitle("Load this policy?")
        self.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        title = QLabel(f"Do you know where this {policy.kind} policy comes from?")
        title.setProperty("role", "title")
        text = QLabel(
            f"{policy.path}\n\n{WHAT_IT_DOES} Load it only if you made it yourself, or trust "
            "whoever did. The answer holds for this start."
        )
        text.setWordWrap(True)
        text.setTextFormat(Qt.TextFormat.PlainText)
        cancel, load = QPushButton("Cancel"), QPushButton("Load it")
        for button, name, then in (
            (cancel, "trust_cancel", self.reject),
            (load, "trust_load", self.accept),
        ):
            button.setObjectName(name)
            button.setAccessibleName(button.text())
            button.setAutoDefault(False)
            button.clicked.connect(then)
        cancel.setDefault(True)
        load.setProperty("danger", True)
        widen_for_bold(cancel)
        row = QHBoxLayout()
        row.addStretch(1)
        row.addWidget(load)
        row.addWidget(cancel)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(18, 16, 18, 14)
        layout.setSpacing(12)
        layout.addWidget(title)
        layout.addWidget(text)
        layout.addLayout(row)
        self.setMinimumWidth(480)
