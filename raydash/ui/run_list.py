"""The runs: live ones of the cluster and those this window knows. A click shows one."""

from dataclasses import dataclass

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QColor, QIcon, QPainter, QPaintEvent, QPixmap
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QWidget

from raydash.core.states import RunState
from raydash.link.session import Session
from raydash.ui import words
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


def run_lines(session: Session) -> tuple[RunLine, ...]:
    """Live runs and known runs, newest first."""
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
        if run.latest is None:
            continue
        name = (run.spec.name or run.spec.env.id) if run.spec else run_id
        env_id = run.spec.env.id if run.spec else ""
        detail = f"{env_id}, {words.plural(run.latest.num_workers, 'worker')}"
        if run.latest.state.is_over:
            reason = run.latest.cause or words.ended_by(run.latest.ended_by)
            detail += f", {run.latest.state.value}: {reason}"
        lines[run_id] = RunLine(
            run_id,
            name,
            run.latest.state,
            run.latest.figures.elapsed_s,
            run.info.owner if run.info else "",
            detail,
            run_id in session.own_runs,
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
            whose = "" if line.is_own else f" · {line.owner}"
            text = f"{line.name}\n{state} · {words.clock_time(line.elapsed_s)}{whose}"
            if item.text() != text:
                item.setText(text)
            item.setIcon(self._square(line.state))
            item.setToolTip(f"{line.run_id}\n{line.detail}\n{line.owner}".strip())
            item.setData(_RUN_ID, line.run_id)
            if line.run_id == self._session.store.shown_run_id and not item.isSelected():
                self.setCurrentItem(item)

    def _square(self, state: RunState | None) -> QIcon:
        theme = self._themes.theme
        colour = theme.run_state(state) if state else QColor(theme.muted)
        pixmap = QPixmap(20, 20)
        pixmap.fill(Qt.GlobalColor.transparent)
        painter = QPainter(pixmap)
        painter.fillRect(2, 2, 16, 16, colour)
        painter.end()
        made = QIcon(pixmap)
        made.addPixmap(pixmap, QIcon.Mode.Selected)
        return made

    def _on_chosen(self, item: QListWidgetItem) -> None:
        self._session.show_run(item.data(_RUN_ID))
