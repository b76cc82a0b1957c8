"""Which live runs this window reads, and which of them as closely as the eye can follow.

A run that was shown or started here is read until it ends, so that its end is known and its curves
have no gap when it is shown again. Those that are neither on screen nor overlaid bring an update a
second, merged by the run itself: they cost next to nothing.
"""

from collections.abc import Callable

from PySide6.QtCore import QObject

from raydash.core.messages import Answer, AttachRun, FollowRuns
from raydash.link.library import Ask, Callback
from raydash.link.store import Store


class Attachments(QObject):
    """Keeps the engine's reading in line with what is shown."""

    def __init__(
        self,
        store: Store,
        ask: Ask,
        *,
        is_connected: Callable[[], bool],
        was_recorded: Callable[[str], None],
        parent: QObject,
    ) -> None:
        """Made by the session.

        Args:
            store: Knows what is shown.
            ask: Sends a command.
            is_connected: The engine has a cluster.
            was_recorded: Told of a run that was over already: its recording was read instead.
            parent: The session.
        """
        super().__init__(parent)
        self._store = store
        self._ask = ask
        self._is_connected = is_connected
        self._was_recorded = was_recorded
        self._attached: set[str] = set()
        self._followed: tuple[str, ...] | None = None
        store.shown_run_changed.connect(self.follow)
        store.overlaid_changed.connect(self.follow)
        store.run_state_changed.connect(self.follow)

    def attach(self, run_id: str, callback: Callback | None = None) -> None:
        """Begin to read a live run, unless it is read already."""
        if run_id in self._attached or not self._is_connected():
            if callback is not None:
                callback(Answer(0, run_id=run_id))
            return
        self.add(run_id)

        def on_answer(answer: Answer) -> None:
            if answer.fault is not None and self._store.engine_state == "ready":
                self._attached.discard(run_id)
                self._store.interrupt(run_id, answer.fault.sentence())
            run = self._store.runs.get(run_id)
            if answer.fault is None and run is not None and run.is_recording:
                self._was_recorded(run_id)
            if callback is not None:
                callback(answer)

        self._ask(lambda number: AttachRun(number, run_id), on_answer, quiet=True)

    def add(self, run_id: str) -> None:
        """The engine reads this run already: it was started here."""
        self._attached.add(run_id)

    def forget(self) -> None:
        """The engine is another one, which reads nothing."""
        self._attached.clear()
        self._followed = None

    def renew(self) -> None:
        """Connected: read everything again that was read before and is not over."""
        for run_id, run in self._store.runs.items():
            if run.latest and not run.latest.state.is_over and not run.latest.last:
                self.attach(run_id)
        self.follow()

    def follow(self, _run_id: str = "") -> None:
        """Tell the engine what is looked at, if it reads anything else."""
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
