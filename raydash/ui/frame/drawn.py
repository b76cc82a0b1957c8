"""Tell the plots which runs to draw, with which names and colours."""

from PySide6.QtCore import QObject

from raydash.link.session import Session
from raydash.link.store import RunStore
from raydash.ui.frame.overview import Overview
from raydash.ui.kit.run_names import distinct_names
from raydash.ui.plots.shown.scope import DrawnRun
from raydash.ui.runs.numbers import RunNumbers


class DrawnRuns(QObject):
    """Keeps the overview in line with the runs that are shown and overlaid."""

    def __init__(
        self, session: Session, overview: Overview, numbers: RunNumbers, parent: QObject
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._store = session.store
        self._overview = overview
        self._numbers = numbers
        store = session.store
        for signal in (
            *(store.shown_run_changed, store.overlaid_changed),
            *(store.runs_changed, store.run_state_changed, session.pending_changed),
        ):
            signal.connect(self.refresh)

    def refresh(self) -> None:
        """Pass on the runs with their present names and colours."""
        store = self._store
        shown = store.shown
        others = [store.runs[run_id] for run_id in store.overlaid if run_id in store.runs]
        runs: list[RunStore] = [*([shown] if shown is not None else []), *others]
        labels = distinct_names(
            [run.name for run in runs],
            [run.spec.rollout.seed if run.spec else None for run in runs],
            [run.run_id for run in runs],
        )
        drawn = [
            DrawnRun(run, label, self._numbers.of(run.run_id))
            for run, label in zip(runs, labels, strict=True)
        ]
        first = drawn[0] if shown is not None else None
        self._overview.set_starting(self._session.is_starting_run)
        self._overview.set_drawn(first, drawn[len(runs) - len(others) :])
