"""The banner of a fault: what, why and what to do, with details one click away."""

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QFontMetrics
from PySide6.QtWidgets import (
    QDialog,
    QDialogButtonBox,
    QFrame,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QSizePolicy,
    QVBoxLayout,
    QWidget,
)

from raydash.core.faults import Fault
from raydash.core.spec import RunSpec
from raydash.core.states import ClusterPhase, EndedBy, EngineState
from raydash.link.session import Session


class FaultBanner(QFrame):
    """Shows the newest fault until it is dismissed or mended.

    Signals:
        relaunch_requested: The user wants the cluster, or the engine, to be started again.
        start_again_requested(RunSpec): The user also wants the interrupted run to start again.
    """

    relaunch_requested = Signal()
    start_again_requested = Signal(object)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("card", True)
        self.setObjectName("fault_banner")
        self.setAccessibleName("Fault")
        self._session = session
        self._fault: Fault | None = None
        self._is_transient = False
        self._what = QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText)
        self._what.setProperty("role", "problem")
        self._what.setObjectName("fault_what")
        self._why = QLabel(wordWrap=True, textFormat=Qt.TextFormat.PlainText)
        self._why.setObjectName("fault_why")
        for label in (self._what, self._why):
            label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
            label.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self._details = self._button("Details…", "fault_details", self._show_details)
        self._relaunch = self._button("Relaunch", "fault_relaunch", self._on_relaunch)
        self._relaunch.setProperty("primary", True)
        widen_for_bold(self._relaunch)
        self._again = self._button("Start again", "fault_start_again", self._on_start_again)
        self._again.setToolTip("Relaunch, then start a new run from the interrupted one's spec")
        dismiss = self._button("Dismiss", "fault_dismiss", self.dismiss)
        texts = QVBoxLayout()
        texts.setSpacing(2)
        texts.addWidget(self._what)
        texts.addWidget(self._why)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 8, 12, 8)
        row.addLayout(texts, 1)
        for button in (self._details, self._again, self._relaunch, dismiss):
            row.addWidget(button, 0, Qt.AlignmentFlag.AlignVCenter)
        self.hide()
        session.fault_raised.connect(self.show_fault)
        session.recovered.connect(self._on_recovered)
        session.store.cluster_changed.connect(self._on_cluster_changed)
        session.store.engine_changed.connect(self._refresh_buttons)
        session.store.run_state_changed.connect(self._refresh_buttons)
        session.store.shown_run_changed.connect(self._refresh_buttons)

    @property
    def fault(self) -> Fault | None:
        """The fault on screen."""
        return self._fault

    def show_fault(self, fault: Fault) -> None:
        """Show a fault in place of the one before."""
        self._fault = fault
        self._is_transient = self._session.store.engine_state.is_recovering
        self._what.setText(fault.what.rstrip("."))
        self._why.setText(why_and_remedy(fault))
        self._why.setVisible(bool(self._why.text()))
        self._details.setVisible(bool(fault.detail))
        self._refresh_buttons()
        self.show()

    def dismiss(self) -> None:
        """Hide the fault."""
        self._fault = None
        self.hide()

    def _refresh_buttons(self) -> None:
        store = self._session.store
        engine_failed = store.engine_state is EngineState.FAILED
        cluster_gone = store.cluster.phase in (ClusterPhase.LOST, ClusterPhase.FAILED)
        self._relaunch.setText("Retry" if engine_failed or self._attaches() else "Relaunch")
        self._relaunch.setVisible(engine_failed or cluster_gone)
        self._again.setVisible(cluster_gone and self._interrupted_spec() is not None)

    def _interrupted_spec(self) -> RunSpec | None:
        """The spec of the shown run, if the loss of the cluster ended it."""
        run = self._session.store.shown
        if run is None or run.is_recording or run.latest is None:
            return None
        return run.spec if run.latest.ended_by is EndedBy.CLUSTER_LOST else None

    def _on_start_again(self) -> None:
        spec = self._interrupted_spec()
        if spec is not None:
            self.dismiss()
            self.start_again_requested.emit(spec)

    def _attaches(self) -> bool:
        return self._session.cluster_spec.address is not None

    def _on_recovered(self) -> None:
        if self._is_transient:
            self.dismiss()

    def _on_cluster_changed(self) -> None:
        self._refresh_buttons()

    def _on_relaunch(self) -> None:
        self.dismiss()
        self.relaunch_requested.emit()

    def _show_details(self) -> None:
        if self._fault is not None:
            show_details(self, self._fault.what, self._fault.detail)

    def _button(self, text: str, name: str, slot: object) -> QPushButton:
        button = QPushButton(text)
        button.setObjectName(name)
        button.clicked.connect(slot)
        return button


def why_and_remedy(fault: Fault) -> str:
    """Why the fault happened and what to do, as sentences."""
    parts = [part.rstrip(". ") for part in (fault.why, fault.remedy) if part]
    return " ".join(part[:1].upper() + part[1:] + "." for part in parts)


def show_details(parent: QWidget, title: str, text: str) -> QDialog:
    """Open a non-modal window with a traceback or log tail that can be copied."""
    dialog = QDialog(parent)
    dialog.setObjectName("details_dialog")
    dialog.setWindowTitle(title)
    dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
    view = QPlainTextEdit(text)
    view.setReadOnly(True)
    view.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
    font = view.font()
    font.setFamilies(["DejaVu Sans Mono", "monospace"])
    view.setFont(font)
    view.setAccessibleName("Details")
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
    buttons.rejected.connect(dialog.close)
    layout = QVBoxLayout(dialog)
    layout.addWidget(view)
    layout.addWidget(buttons)
    dialog.resize(820, 440)
    dialog.open()
    return dialog


def widen_for_bold(button: QPushButton) -> None:
    """Make room for bold text.

    WORKAROUND: Qt measures a default button before the style sheet has made its text bold.
    """
    font = button.font()
    font.setBold(True)
    button.setMinimumWidth(QFontMetrics(font).horizontalAdvance(button.text()) + 30)
