"""The table of a multi-agent run's agents: what each got and how often it acted."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import (
    QAbstractTableModel,
    QModelIndex,
    QObject,
    QPersistentModelIndex,
    QSortFilterProxyModel,
    Qt,
    Signal,
)
from PySide6.QtWidgets import QAbstractItemView, QVBoxLayout, QWidget
from typing_extensions import override

from raydash.core.clock import Clock
from raydash.core.updates import AgentFigures
from raydash.core.words import numbers
from raydash.link.session import Session
from raydash.ui.tables.row_table import RowTable

Index = QModelIndex | QPersistentModelIndex

_ROOT = QModelIndex()
_RIGHT = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
_LEFT = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_SORT_ROLE = int(Qt.ItemDataRole.UserRole)
_REDRAW_EVERY_S = 0.25
_ROW_HEIGHT = 24


@dataclass(frozen=True, slots=True)
class AgentColumn:
    """A column of the table.

    Attributes:
        label: The text of its heading.
        definition: What it means.
        value: Gives the value for an agent's row.
        text: Gives that value in words.
    """

    label: str
    definition: str
    value: Callable[[AgentFigures, int], float]
    text: Callable[[float], str]


AGENT_COLUMNS = (
    AgentColumn(
        "Return, mean",
        "The undiscounted sum of its own rewards in an episode: the mean over the whole run",
        lambda agents, row: float(agents.episode_return_mean[row]),
        numbers.decimal,
    ),
    AgentColumn(
        "Last 100",
        "The same, over its last 100 episodes by finish time, all workers pooled",
        lambda agents, row: float(agents.recent_return_mean[row]),
        numbers.decimal,
    ),
    AgentColumn(
        "Steps",
        "Its actions, lifetime",
        lambda agents, row: int(agents.num_steps[row]),
        numbers.count,
    ),
    AgentColumn(
        "Episodes",
        "In which it took part, lifetime; without those that ended in an error",
        lambda agents, row: int(agents.num_episodes[row]),
        numbers.count,
    ),
)


class AgentModel(QAbstractTableModel):
    """One row per agent, in the order in which they first appeared."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._agents = AgentFigures()

    def show_agents(self, agents: AgentFigures) -> None:
        """Show these agents. The view jumps only if the known ones are not the first of them."""
        before, now = self._agents.names, agents.names
        if now[: len(before)] != before:
            self.beginResetModel()
            self._agents = agents
            self.endResetModel()
            return
        if len(now) > len(before):
            self.beginInsertRows(_ROOT, len(before), len(now) - 1)
            self._agents = agents
            self.endInsertRows()
        self._agents = agents
        if before:
            last = self.index(len(before) - 1, self.columnCount() - 1)
            self.dataChanged.emit(self.index(0, 0), last)

    def agent_of(self, row: int) -> str:
        """The agent in a row."""
        return self._agents.names[row]

    @override
    def rowCount(self, parent: Index = _ROOT) -> int:
        return 0 if parent.isValid() else len(self._agents.names)

    @override
    def columnCount(self, parent: Index = _ROOT) -> int:
        return 0 if parent.isValid() else 1 + len(AGENT_COLUMNS)

    @override
    def headerData(
        self,
        section: int,
        orientation: Qt.Orientation,
        role: int = Qt.ItemDataRole.DisplayRole,
    ) -> object:
        if orientation is not Qt.Orientation.Horizontal:
            return None
        column = AGENT_COLUMNS[section - 1] if section else None
        match role:
            case Qt.ItemDataRole.DisplayRole:
                return column.label if column else "Agent"
            case Qt.ItemDataRole.ToolTipRole:
                return column.definition if column else "Its name in the environment"
            case Qt.ItemDataRole.TextAlignmentRole:
                return _RIGHT if column else _LEFT
        return None

    @override
    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> object:
        row, section = index.row(), index.column()
        if not index.isValid() or row >= len(self._agents.names):
            return None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _RIGHT if section else _LEFT
        if role not in (Qt.ItemDataRole.DisplayRole, _SORT_ROLE):
            return None
        if not section:
            return row if role == _SORT_ROLE else self._agents.names[row]
        column = AGENT_COLUMNS[section - 1]
        value = column.value(self._agents, row)
        if role == _SORT_ROLE:
            return -math.inf if np.isnan(value) else value
        return numbers.UNKNOWN if np.isnan(value) else column.text(value)


class AgentTable(QWidget):
    """Shows the agents of the shown run. It is a view of the draw clock.

    Signals:
        chosen(str): An agent was double-clicked, or Enter pressed on it: show its curve.
    """

    chosen = Signal(str)

    def __init__(
        self, session: Session, parent: QWidget | None = None, clock: Clock = time.monotonic
    ) -> None:
        super().__init__(parent)
        self._store = session.store
        self._clock = clock
        self._drawn: tuple[str, int] = ("", -1)
        self._drawn_s = -math.inf
        self.model = AgentModel(self)
        self._sorted = QSortFilterProxyModel(self)
        self._sorted.setSourceModel(self.model)
        self._sorted.setSortRole(_SORT_ROLE)
        self.view = RowTable(_ROW_HEIGHT)
        self.view.setObjectName("agent_table")
        self.view.setAccessibleName("Agents")
        self.view.setToolTip("Double-click an agent to see its curve in the return plot")
        self.view.setModel(self._sorted)
        self.view.setSelectionMode(QAbstractItemView.SelectionMode.SingleSelection)
        header = self.view.horizontalHeader()
        header.setDefaultSectionSize(120)
        header.resizeSection(0, 240)
        self.view.setSortingEnabled(True)
        self.view.sortByColumn(0, Qt.SortOrder.AscendingOrder)
        self.view.activated.connect(self._on_activated)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.view)

    @property
    def agents(self) -> AgentFigures | None:
        """The agents of the shown run; None if it has none."""
        run = self._store.shown
        return run.latest.agents if run is not None and run.latest is not None else None

    def summary(self) -> str:
        """How many agents there are, and their steps together."""
        agents = self.agents
        if agents is None:
            return ""
        steps = numbers.plural(int(agents.num_steps.sum()), "agent step")
        return f"{numbers.plural(len(agents.names), 'agent')} · {steps}"

    def is_dirty(self) -> bool:
        """Whether there is another run, or news of this one.

        Four times a second is enough to read.
        """
        now = self._now()
        is_due = self._clock() - self._drawn_s >= _REDRAW_EVERY_S
        return now != self._drawn and (is_due or now[0] != self._drawn[0])

    def draw(self) -> None:
        """Show the agents of the shown run."""
        self._drawn, self._drawn_s = self._now(), self._clock()
        self.model.show_agents(self.agents or AgentFigures())

    def _now(self) -> tuple[str, int]:
        run = self._store.shown
        return (run.run_id, run.version) if run else ("", 0)

    def _on_activated(self, index: QModelIndex) -> None:
        self.chosen.emit(self.model.agent_of(self._sorted.mapToSource(index).row()))
