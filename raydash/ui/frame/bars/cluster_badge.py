"""The cluster's state in one line, with seconds and Cancel while it is coming up."""

import time

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QWidget

from raydash.core.messages import ClusterStatus
from raydash.core.states import ClusterPhase, EngineState
from raydash.core.words import numbers, spans
from raydash.link.session import Session
from raydash.ui.kit.card import ElidedLabel
from raydash.ui.kit.theme import ThemeManager

_PHASE_WORDS = {
    ClusterPhase.ABSENT: "no cluster",
    ClusterPhase.CHECKING: "checking",
    ClusterPhase.LAUNCHING: "starting Ray",
    ClusterPhase.ATTACHING: "attaching",
    ClusterPhase.CONNECTING: "connecting",
    ClusterPhase.FAILED: "no cluster: it could not be reached",
    ClusterPhase.LOST: "cluster lost",
}


def cluster_words(status: ClusterStatus, engine_state: EngineState) -> str:
    """The state of the cluster in one line."""
    if engine_state.is_recovering:
        return "reconnecting to the engine"
    if engine_state is EngineState.FAILED:
        return "no engine"
    if engine_state is EngineState.STARTING:
        return "starting the engine"
    if status.phase is not ClusterPhase.UP:
        return status.text or _PHASE_WORDS[status.phase]
    if status.is_simulated:
        return "simulated, no Ray"
    parts = [
        "local cluster" if status.launched else f"attached to {status.address}",
        numbers.plural(status.num_nodes, "node"),
        numbers.plural(status.num_cpus, "CPU"),
    ]
    if status.num_gpus:
        parts.append(numbers.plural(status.num_gpus, "GPU"))
    parts.append("token auth" if status.token_auth else "no auth")
    return " · ".join(parts)


def _hint(status: ClusterStatus) -> str:
    if status.is_simulated:
        return "The workers are simulated; recordings are deleted when this window closes"
    return f"Ray {status.ray_version} at {status.address}"


class ClusterBadge(QWidget):
    """A coloured dot, one line, and a button while there is something to cancel or to do."""

    def __init__(self, session: Session, themes: ThemeManager, parent: QWidget | None = None):
        super().__init__(parent)
        self.setObjectName("cluster_badge")
        self.setAccessibleName("Cluster")
        self._session = session
        self._themes = themes
        self._since_s = time.monotonic()
        self._dot = QLabel("●")
        self._text = ElidedLabel(min_chars=12)
        self._text.setObjectName("cluster_text")
        self._seconds = QLabel()
        self._seconds.setProperty("role", "muted")
        self._button = QPushButton()
        self._button.setObjectName("cluster_button")
        self._button.clicked.connect(self._on_button)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 4, 0)
        row.setSpacing(6)
        row.addStretch(1)
        for part in (self._dot, self._text, self._seconds, self._button):
            row.addWidget(part)
        self._timer = QTimer(self)
        self._timer.setInterval(100)
        self._timer.timeout.connect(self._refresh_seconds)
        self._was_busy = False
        session.store.cluster_changed.connect(self.refresh)
        session.store.engine_changed.connect(self.refresh)
        themes.changed.connect(self.refresh)
        self.refresh()

    def text(self) -> str:
        """The line that is shown."""
        return self._text.full_text()

    def refresh(self) -> None:
        """Show the cluster's present state."""
        status, engine = self._session.store.cluster, self._session.store.engine_state
        theme = self._themes.theme
        ready = engine is EngineState.READY
        busy = engine is EngineState.STARTING or engine.is_recovering or status.phase.is_busy
        up = ready and status.phase is ClusterPhase.UP
        absent = ready and status.phase is ClusterPhase.ABSENT
        bad = engine is EngineState.FAILED or status.phase in (
            ClusterPhase.LOST,
            ClusterPhase.FAILED,
        )
        colour = theme.good if up else theme.bad if bad else theme.warn if busy else theme.muted
        self._dot.setStyleSheet(f"color: {colour}")
        self._text.set_text(cluster_words(status, engine))
        self._text.set_hint(_hint(status) if up else "")
        if busy and not self._was_busy:
            self._since_s = time.monotonic()
        self._was_busy = busy
        self._seconds.setVisible(busy)
        self._button.setVisible((ready and status.phase.is_busy) or absent)
        self._button.setText("Connect" if absent else "Cancel")
        self._button.setToolTip(
            "Launch the local cluster, or attach to the one that was chosen last"
            if absent
            else "Give up connecting"
        )
        if busy:
            self._timer.start()
        else:
            self._timer.stop()
        self._refresh_seconds()

    def _refresh_seconds(self) -> None:
        self._seconds.setText(spans.duration(time.monotonic() - self._since_s))

    def _on_button(self) -> None:
        if self._session.store.cluster.phase.is_busy:
            self._session.cancel_connect()
        else:
            self._session.connect_cluster(self._session.cluster_spec)
