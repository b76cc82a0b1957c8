"""How the window closes: it asks if something would be lost, then shuts down without blocking."""

from enum import Enum, auto

from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import QWidget

from raydash.core.states import EndedBy
from raydash.link.session import Session
from raydash.ui.dialogs.close_dialog import CloseDialog


class _Stage(Enum):
    """How far the closing has come."""

    OPEN = auto()
    CLOSING = auto()
    CLOSED = auto()


class Closing(QObject):
    """Closes the window in order.

    Signals:
        leaving: The user has decided; the window still looks as it was left.
        shutting_down: The runs are stopped or kept, and the session ends.
        closed: The window has closed, and nothing of it is left running.
        said(str): One line about what is done.
    """

    leaving = Signal()
    shutting_down = Signal()
    closed = Signal()
    said = Signal(str)

    def __init__(self, session: Session, window: QWidget) -> None:
        super().__init__(window)
        self._session = session
        self._window = window
        self._stage = _Stage.OPEN
        session.own_runs.settled.connect(self._on_runs_settled)
        session.finished.connect(self._on_session_finished)

    def on_close_event(self, event: QCloseEvent) -> None:
        """Let the window close once everything has ended; until then see to it that it does."""
        if self._stage is _Stage.CLOSED:
            event.accept()
            return
        event.ignore()
        if self._stage is _Stage.CLOSING:
            return
        at_stake = self._session.own_runs.at_stake()
        if not at_stake or self._session.store.cluster.is_simulated:
            self._begin()
            self._shut_down()
            return
        dialog = CloseDialog(tuple(self._name_of(run_id) for run_id in at_stake), self._window)
        dialog.stop_chosen.connect(self.stop_runs)
        dialog.keep_chosen.connect(self._keep_runs)
        dialog.open()

    def stop_runs(self, ended_by: EndedBy = EndedBy.USER) -> None:
        """Stop the runs that this window started, then close."""
        if self._stage is not _Stage.OPEN:
            return
        self._begin()
        self.said.emit("stopping the runs of this window…")
        self._session.own_runs.stop(ended_by)

    def _keep_runs(self) -> None:
        self._begin()
        self._session.own_runs.keep()

    def _name_of(self, run_id: str) -> str:
        run = self._session.store.runs.get(run_id)
        return (run.spec.name or run.spec.env.id) if run and run.spec else run_id

    def _begin(self) -> None:
        self._stage = _Stage.CLOSING
        self.leaving.emit()

    def _on_runs_settled(self) -> None:
        if self._stage is _Stage.CLOSING:
            self._shut_down()

    def _shut_down(self) -> None:
        self.shutting_down.emit()
        self._session.shut_down()

    def _on_session_finished(self) -> None:
        # Later, because Qt ignores another close while it handles a close event.
        QTimer.singleShot(0, self._close_for_good)

    def _close_for_good(self) -> None:
        self._stage = _Stage.CLOSED
        self._window.close()
        self.closed.emit()
