"""The card of the runs: the list, what can be done to its runs, and how many runs there are."""

from PySide6.QtWidgets import QWidget

from raydash.core.words import numbers
from raydash.link.session import Session
from raydash.ui.kit.card import Card
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.runs.list import RunList
from raydash.ui.runs.list_actions import RunListActions
from raydash.ui.runs.numbers import RunNumbers


class RunsPanel(Card):
    """The card with the list of runs.

    Attributes:
        list: The list, with one line per run.
        list_actions: What can be done to each run; the window connects its signals.
        numbers: The runs' numbers, from which their colours follow.
    """

    def __init__(
        self, session: Session, themes: ThemeManager, parent: QWidget | None = None
    ) -> None:
        super().__init__("Runs", parent=parent)
        self._store = session.store
        self.numbers = RunNumbers()
        self.list_actions = RunListActions(session, themes, self)
        self.list = RunList(session, themes, self.list_actions, self.numbers)
        self.body.addWidget(self.list)
        for signal in (
            *(self._store.runs_changed, self._store.run_state_changed),
            *(self._store.shown_run_changed, self._store.overlaid_changed),
        ):
            signal.connect(self._refresh)

    def _refresh(self) -> None:
        """Show how many runs there are, are live, and are drawn."""
        lines = self.list.lines
        live = sum(line.state is not None and not line.state.is_over for line in lines)
        parts = [numbers.count(len(lines))] if len(lines) > 1 else []
        parts += [f"{live} live"] if parts and live else []
        parts += [f"{len(self._store.overlaid) + 1} drawn"] if self._store.overlaid else []
        self.set_subtitle(" · ".join(parts))
