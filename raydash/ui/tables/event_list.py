"""The events of the shown run, newest first; the traceback is one click away."""

from PySide6.QtCore import (
    QAbstractListModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QSize,
    Qt,
    Signal,
)
from PySide6.QtGui import QColor
from PySide6.QtWidgets import (
    QAbstractItemView,
    QListView,
    QPushButton,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from raydash.core.events import Event, EventKind
from raydash.core.states import Activity
from raydash.core.words import numbers, spans
from raydash.link.session import Session
from raydash.ui.dialogs.fault_banner import show_details
from raydash.ui.kit.glyphs import activity_icon
from raydash.ui.kit.theme import ThemeManager

_ROOT = QModelIndex()
_SIGNS = {
    EventKind.RUN_STARTED: Activity.STEPPING,
    EventKind.RUN_PAUSED: Activity.PAUSED,
    EventKind.RUN_RESUMED: Activity.STEPPING,
    EventKind.RUN_STOPPING: Activity.STOPPING,
    EventKind.RUN_ENDED: Activity.STOPPED,
    EventKind.WORKERS_SCALED: Activity.STARTING,
    EventKind.WORKER_PAUSED: Activity.PAUSED,
    EventKind.WORKER_RESUMED: Activity.STEPPING,
    EventKind.WORKER_STOPPED: Activity.STOPPED,
    EventKind.WORKER_DIED: Activity.FAILED,
    EventKind.WORKER_RESTARTED: Activity.RESTARTING,
    EventKind.WORKER_FAILED: Activity.FAILED,
    EventKind.WORKER_HUNG: Activity.STALLED,
    EventKind.ENV_ERROR: Activity.STALLED,
    EventKind.SUPERVISOR_RESTARTED: Activity.RESTARTING,
    EventKind.RECORDING_FAILED: Activity.FAILED,
    EventKind.RECORDING_RESUMED: Activity.STEPPING,
    EventKind.SINK_FAILED: Activity.FAILED,
    EventKind.POLICY_SWAPPED: Activity.STEPPING,
    EventKind.POLICY_REFUSED: Activity.FAILED,
    EventKind.POLICY_IMPROVED: Activity.STEPPING,
    EventKind.POLICY_NOT_SAVED: Activity.FAILED,
    EventKind.LEARNER_RESTARTED: Activity.RESTARTING,
    EventKind.LEARNER_FAILED: Activity.FAILED,
    EventKind.COST_FOUND: Activity.IDLE,
    EventKind.INFO_IGNORED: Activity.IDLE,
}


def event_words(event: Event) -> str:
    """An event in one line: when, what, how often."""
    times = f"  ×{numbers.count(event.count)}" if event.count > 1 else ""
    more = "  …" if event.detail else ""
    return f"{spans.long_clock(event.t_s)}   {event.text}{times}{more}"


class EventModel(QAbstractListModel):
    """Events as rows, newest first."""

    def __init__(self, themes: ThemeManager, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._themes = themes
        self._events: list[Event] = []

    def set_events(self, events: list[Event]) -> None:
        """Show these events (oldest first); new ones appear on top without moving the rest."""
        num_known = len(self._events)
        num_fresh = len(events) - num_known
        if num_known and events[:num_known] == self._events:
            if num_fresh:
                self.beginInsertRows(_ROOT, 0, num_fresh - 1)
                self._events = events
                self.endInsertRows()
            return
        self.beginResetModel()
        self._events = events
        self.endResetModel()

    def event_at(self, row: int) -> Event:
        """The event in a row."""
        return self._events[len(self._events) - 1 - row]

    @override
    def rowCount(self, parent: QModelIndex | QPersistentModelIndex = _ROOT) -> int:
        return 0 if parent.isValid() else len(self._events)

    @override
    def data(
        self, index: QModelIndex | QPersistentModelIndex, role: int = Qt.ItemDataRole.DisplayRole
    ) -> object:
        if not index.isValid() or index.row() >= len(self._events):
            return None
        event = self.event_at(index.row())
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return event_words(event)
            case Qt.ItemDataRole.DecorationRole:
                return activity_icon(_SIGNS[event.kind], self._themes.theme)
            case Qt.ItemDataRole.ForegroundRole if event.kind.is_bad:
                return QColor(self._themes.theme.bad)
            case Qt.ItemDataRole.ToolTipRole:
                last_line = event.detail.strip().rsplit("\n", 1)[-1]
                return f"{event.text}\n{last_line}" if last_line else event.text
            case _:
                return None


class EventList(QWidget):
    """The list, and a button, placed elsewhere, for an event's details. It is a view of the clock.

    Signals:
        drawn: It shows other events now.
    """

    drawn = Signal()

    def __init__(self, session: Session, themes: ThemeManager, parent: QWidget | None = None):
        super().__init__(parent)
        self._store = session.store
        self._drawn: tuple[str, Event | None, Event | None] = ("-", None, None)
        self.model = EventModel(themes, self)
        self.view = QListView()
        self.view.setModel(self.model)
        self.view.setObjectName("event_list")
        self.view.setAccessibleName("Events")
        self.view.setUniformItemSizes(True)
        self.view.setIconSize(QSize(14, 14))
        self.view.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.view.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.view.activated.connect(self._open)
        self.view.clicked.connect(self._refresh_button)
        self.view.selectionModel().currentChanged.connect(self._refresh_button)
        self.details = QPushButton("Details…")
        self.details.setObjectName("event_details")
        self.details.setToolTip("The traceback or cause of the chosen event (Enter)")
        self.details.clicked.connect(self._open)
        self.details.setEnabled(False)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.view)
        themes.changed.connect(self.view.viewport().update)

    def is_dirty(self) -> bool:
        """Whether there is another run, or new events."""
        return self._now() != self._drawn

    def draw(self) -> None:
        """Show the events of the shown run."""
        self._drawn = self._now()
        run = self._store.shown
        self.model.set_events(list(run.events) if run else [])
        self._refresh_button()
        self.drawn.emit()

    def _now(self) -> tuple[str, Event | None, Event | None]:
        run = self._store.shown
        if run is None or not run.events:
            return (run.run_id if run else "", None, None)
        return (run.run_id, run.events[0], run.events[-1])

    def _current(self) -> Event | None:
        index = self.view.currentIndex()
        return self.model.event_at(index.row()) if index.isValid() else None

    def _refresh_button(self) -> None:
        event = self._current()
        self.details.setEnabled(event is not None and bool(event.detail))

    def _open(self) -> None:
        event = self._current()
        if event is not None and event.detail:
            show_details(self, event.text, event.detail)
