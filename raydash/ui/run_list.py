"""The runs: live ones of the cluster, those that this window knows, and opened recordings.

A click shows one. Live runs have a filled square, recordings a hollow one; they can be closed.
"""

from dataclasses import dataclass

from PySide6.QtCore import QPoint, QSize, Qt, QTimer
from PySide6.QtGui import (
    QColor,
    QIcon,
    QKeySequence,
    QPainter,
    QPaintEvent,
    QPen,
    QPixmap,
    QShortcut,
)
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QMenu, QWidget

from raydash.core.states import RunState
from raydash.link.session import Session
from raydash.ui import words
from raydash.ui.icons import IconName, icon
from raydash.ui.theme import ThemeManager

_RUN_ID = Qt.ItemDataRole.UserRole


@dataclass(frozen=True, slots=True)
class RunLine:
    """One line of the list."""

    run_id: str
    name: str
    state: RunState | None
    elapsed_s: float
    owner: str
    detail: str
    is_own: bool
    is_recording: bool = False


def run_lines(session: Session) -> tuple[RunLine, ...]:
    """Live runs, known runs and opened recordings, newest first."""
    store = session.store
    lines: dict[str, RunLine] = {}
    for live in store.live_runs:
        lines[live.run_id] = RunLine(
            live.run_id,
            live.name or live.env_id,
            live.state,
            live.elapsed_s,
            live.owner,
            f"{live.env_id}, {words.plural(live.num_workers, 'worker')}, since {live.started_utc}",
            live.run_id in session.own_runs,
        )
    for run_id, run in store.runs.items():
        is_closed = run.is_recording and run_id not in session.library.opened
        if run.latest is None or (is_closed and run_id not in session.own_runs):
            continue
        name = run.name
        env_id = run.spec.env.id if run.spec else ""
        detail = f"{env_id}, {words.plural(run.latest.num_workers, 'worker')}"
        state, elapsed_s = run.latest.state, run.latest.figures.elapsed_s
        if run.is_recording and run.ended[0] is not None:
            # Whatever moment is shown, the line speaks of the whole run.
            state, elapsed_s = run.ended[0], run.recorded_until_s or elapsed_s
            detail += f", recording, {words.outcome(*run.ended)}"
        elif state.is_over:
            reason = run.latest.cause or words.ended_by(run.latest.ended_by)
            detail += f", {state.value}: {reason}"
        lines[run_id] = RunLine(
            run_id,
            name,
            state,
            elapsed_s,
            run.info.owner if run.info else "",
            detail,
            run_id in session.own_runs,
            run.is_recording,
        )
    return tuple(sorted(lines.values(), key=lambda line: line.run_id, reverse=True))


class RunList(QListWidget):
    """The list; renewed when runs come and go, and once a second for their ages."""

    def __init__(self, session: Session, themes: ThemeManager, parent: QWidget | None = None):
        super().__init__(parent)
        self._session = session
        self._themes = themes
        self.setObjectName("run_list")
        self.setAccessibleName("Runs")
        self.setIconSize(QSize(10, 10))
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.setMinimumHeight(40)
        self.setSizeAdjustPolicy(QListWidget.SizeAdjustPolicy.AdjustIgnored)
        self.itemActivated.connect(self._on_chosen)
        self.itemClicked.connect(self._on_chosen)
        self._timer = QTimer(self)
        self._timer.setInterval(1000)
        self._timer.timeout.connect(self.refresh)
        self._timer.start()
        store = session.store
        for signal in (store.runs_changed, store.run_state_changed, store.shown_run_changed):
            signal.connect(self.refresh)
        session.library.opened_changed.connect(self.refresh)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._open_menu)
        remove = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self)
        remove.setContext(Qt.ShortcutContext.WidgetShortcut)
        remove.activated.connect(self._close_current)
        themes.changed.connect(self.refresh)

    def sizeHint(self) -> QSize:
        """Room for two runs; more if there is some."""
        return QSize(200, 72)

    def paintEvent(self, event: QPaintEvent) -> None:
        """The list, or a word when it is empty."""
        super().paintEvent(event)
        if not self.count():
            painter = QPainter(self.viewport())
            painter.setPen(QColor(self._themes.theme.muted))
            painter.drawText(2, self.fontMetrics().ascent() + 4, "none yet")
            painter.end()

    def refresh(self) -> None:
        """Bring the lines up to date in place, so that focus and scrolling stay."""
        lines = run_lines(self._session)
        while self.count() > len(lines):
            self.takeItem(self.count() - 1)
        while self.count() < len(lines):
            self.addItem(QListWidgetItem())
        for row, line in enumerate(lines):
            item = self.item(row)
            state = words.run_state(line.state)
            whose = "" if line.is_own or line.is_recording else f" · {line.owner}"
            kind = "recording · " if line.is_recording else ""
            text = f"{line.name}\n{kind}{state} · {words.clock_time(line.elapsed_s)}{whose}"
            if item.text() != text:
                item.setText(text)
            item.setIcon(self._square(line.state, hollow=line.is_recording))
            item.setToolTip(f"{line.run_id}\n{line.detail}\n{line.owner}".strip())
            item.setData(_RUN_ID, line.run_id)
            if line.run_id == self._session.store.shown_run_id and not item.isSelected():
                self.setCurrentItem(item)

    def menu_for(self, run_id: str) -> QMenu | None:
        """What can be done to a line; None for a live run, which has the tool bar."""
        if run_id not in self._session.library.opened:
            return None
        menu = QMenu(self)
        close = menu.addAction(icon(IconName.CLOSE, self._themes.theme), "Close recording")
        close.setObjectName("run_list_close")
        close.triggered.connect(lambda: self._session.close_run(run_id))
        return menu

    def _open_menu(self, position: QPoint) -> None:
        item = self.itemAt(position)
        menu = self.menu_for(item.data(_RUN_ID)) if item is not None else None
        if menu is not None:
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            menu.popup(self.viewport().mapToGlobal(position))

    def _close_current(self) -> None:
        item = self.currentItem()
        if item is not None and item.data(_RUN_ID) in self._session.library.opened:
            self._session.close_run(item.data(_RUN_ID))

    def _square(self, state: RunState | None, *, hollow: bool = False) -> QIcon:
        theme = self._themes.theme
        colour = theme.run_state(state) if state else QColor(theme.muted)
        pixmap = QPixmap(20, 20)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        if hollow:
            painter.setPen(QPen(colour, 3.5))
            painter.drawRect(4, 4, 12, 12)
        else:
            painter.fillRect(2, 2, 16, 16, colour)
        painter.end()
        made = QIcon(pixmap)
        made.addPixmap(pixmap, QIcon.Mode.Selected)
        return made

    def _on_chosen(self, item: QListWidgetItem) -> None:
        self._session.show_run(item.data(_RUN_ID))
