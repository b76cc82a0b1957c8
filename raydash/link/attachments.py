"""Decides which live runs this window reads, and which of them as fast as they send updates.

A run that was shown or started here is read until it ends, so that its end is known and its curves
have no gap when it is shown again. A run that is neither on screen nor overlaid sends one merged
update a second, which costs next to nothing.
"""

from collections.abc import Callable

from PySide6.QtCore import QObject

from raydash.core.messages import Answer, AttachRun, FollowRuns
from raydash.core.states import EngineState
from raydash.link.pending_commands import Ask, Callback
from raydash.link.store import Store


class Attachments(QObject):
    """Makes the engine read the runs that are shown, and follow those that are looked at."""

    def __init__(
        self,
        store: Store,
        ask: Ask,
        *,
        is_connected: Callable[[], bool],
        on_recording: Callable[[str], None],
        parent: QObject,
    ) -> None:
        """Prepare for a session.

        `on_recording` is called with the id of a run that was over already when it was to be
        attached, so that its recording was read instead.
        """
        super().__init__(parent)
        self._store = store
        self._ask = ask
        self._is_connected = is_connected
        self._was_recorded = on_recording
        self._attached: set[str] = set()
        self._followed: tuple[str, ...] | None = None
        store.shown_run_changed.connect(self.follow)
        store.overlaid_changed.connect(self.follow)
        store.run_state_changed.connect(self.follow)

    def attach(self, run_id: str, callback: Callback | None = None) -> None:
        """Begin to read a live run, unless it is read already or there is no cluster."""
        if run_id in self._attached or not self._is_connected():
            if callback is not None:
                callback(Answer(0, run_id=run_id))
            return
        self.mark_attached(run_id)

        def on_answer(answer: Answer) -> None:
            if answer.fault is not None and self._store.engine_state is EngineState.READY:
                self._attached.discard(run_id)
                self._store.interrupt(run_id, answer.fault.sentence())
            run = self._store.runs.get(run_id)
            if answer.fault is None and run is not None and run.is_recording:
                self._was_recorded(run_id)
            if callback is not None:
                callback(answer)

        self._ask(lambda number: AttachRun(number, run_id), on_answer, quiet=True)

    def mark_attached(self, run_id: str) -> None:
        """Record that the engine reads a run already, because it was started here."""
        self._attached.add(run_id)

    def clear(self) -> None:
        """Forget all runs, because another engine reads none of them."""
        self._attached.clear()
        self._followed = None

    def reattach(self) -> None:
        """Read the runs again that were read before and are not over, by a new engine."""
        for run_id, run in self._store.runs.items():
            if run.latest and not run.latest.state.is_over and not run.latest.last:
                self.attach(run_id)
        self.follow()

    def follow(self, _run_id: str = "") -> None:
        """Tell the engine which runs are looked at, unless all of those that it reads are."""
        live = {run_id for run_id in self._attached if not self._is_over(run_id)}
        store = self._store
        seen = {store.shown_run_id, *store.overlaid}
        wanted = None if live <= seen else tuple(sorted(live & seen))
        if wanted == self._followed or not self._is_connected():
            return
        self._followed = wanted
        for run_id, run in store.runs.items():
            run.rests = wanted is not None and run_id not in wanted
        self._ask(lambda number: FollowRuns(number, wanted), quiet=True)

    def _is_over(self, run_id: str) -> bool:
        run = self._store.runs.get(run_id)
        return run is not None and run.latest is not None and run.latest.last
