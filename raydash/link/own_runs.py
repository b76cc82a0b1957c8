"""The runs that this window started: starting them, and stopping or keeping them. QtCore only."""

from PySide6.QtCore import QObject, QTimer, Signal

from raydash.core.messages import Answer, CommandRun, StartRun, Verb
from raydash.core.spec import RunSpec
from raydash.core.states import EndedBy
from raydash.link.attachments import Attachments
from raydash.link.connection import ClusterConnection, ConnectionState
from raydash.link.pending_commands import STARTING_TEXT, VERB_TEXTS, Ask, Callback
from raydash.link.store import Store

_LAST_UPDATE_WAIT_MS = 3000


class OwnRuns(QObject):
    """Starts runs for one window, and stops or keeps them before it is closed.

    Attributes:
        ids: Ids of the runs that this window started.

    Signals:
        fault_raised(Fault): A run that waited for the cluster could not be started.
        started(run_id): A run that this window asked for was accepted.
        settled: `stop` or `keep` is complete, or took too long.
    """

    fault_raised = Signal(object)
    started = Signal(str)
    settled = Signal()

    def __init__(
        self,
        store: Store,
        ask: Ask,
        attachments: Attachments,
        connection: ClusterConnection,
        *,
        source_dirs: tuple[str, ...],
        stop_timeout_s: float,
        parent: QObject,
    ) -> None:
        """Prepare for a session; runs import the user's own modules from `source_dirs`."""
        super().__init__(parent)
        self.ids: set[str] = set()
        self._store = store
        self._ask = ask
        self._attachments = attachments
        self._connection = connection
        self._source_dirs = source_dirs
        self._waiting: RunSpec | None = None
        self._stopping_ids: set[str] = set()
        self._ended_by = EndedBy.USER
        self._timer = QTimer(self)
        self._timer.setSingleShot(True)
        self._timer.setInterval(round(stop_timeout_s * 1000))
        self._timer.timeout.connect(self._settle)
        store.run_state_changed.connect(self._on_run_state_changed)

    # --- starting -----------------------------------------------------------------------------

    def start(self, spec: RunSpec, callback: Callback | None = None, *, quiet: bool = False) -> int:
        """Start a run and show it; its id is in the answer."""

        def on_answer(answer: Answer) -> None:
            if answer.fault is None:
                self._on_accepted(answer.run_id)
            if callback is not None:
                callback(answer)

        return self._ask(
            lambda number: StartRun(number, spec, self._source_dirs),
            on_answer,
            text=STARTING_TEXT,
            quiet=quiet,
        )

    def start_when_up(self, spec: RunSpec) -> None:
        """Start a run as soon as the cluster is up."""
        self._waiting = spec
        if self._connection.is_connected:
            self.start_waiting()
        elif self._connection.state is ConnectionState.CONNECTING:
            self.start_early()

    def start_waiting(self) -> bool:
        """Start the run that waits for the cluster; return whether there was one."""
        spec, self._waiting = self._waiting, None
        if spec is not None:
            self.start(spec)
        return spec is not None

    def start_early(self) -> None:
        """Send the run that waits while the cluster comes up, to try its environment meanwhile."""
        spec, self._waiting = self._waiting, None
        if spec is None:
            return

        def on_answer(answer: Answer) -> None:
            fault = answer.fault
            if fault is not None and (fault.bad_input or self._connection.is_connected):
                self.fault_raised.emit(fault)
            elif fault is not None and self._connection.state is not ConnectionState.IDLE:
                self._waiting = spec  # no cluster came up: start with the next one

        self.start(spec, on_answer, quiet=True)

    def forget_waiting(self) -> None:
        """Start no run when the cluster is up, because connecting was cancelled."""
        self._waiting = None

    def _on_accepted(self, run_id: str) -> None:
        self.ids.add(run_id)
        self._attachments.mark_attached(run_id)
        self._store.run(run_id)
        self._store.show_run(run_id)
        self.started.emit(run_id)

    # --- stopping and keeping -----------------------------------------------------------------

    def live(self) -> tuple[str, ...]:
        """List the runs of this window that are not over."""
        known = {run_id: self._store.runs.get(run_id) for run_id in sorted(self.ids)}
        return tuple(
            run_id
            for run_id, run in known.items()
            if run is not None
            and not run.is_recording
            and (run.state is None or not run.state.is_over)
        )

    def at_stake(self) -> tuple[str, ...]:
        """List the live runs of this window that are not kept, and so would end soon after it."""
        kept = {summary.run_id for summary in self._store.live_runs if summary.keep}
        return tuple(run_id for run_id in self.live() if run_id not in kept)

    def stop(self, ended_by: EndedBy = EndedBy.USER) -> None:
        """Stop them; `settled` is emitted when they have ended."""
        self._stopping_ids = set(self.live())
        self._ended_by = ended_by
        if not self._stopping_ids:
            QTimer.singleShot(0, self.settled.emit)
            return
        self._timer.start()
        self.send_stops()

    def send_stops(self) -> None:
        """Send the stop commands if connected; otherwise they are sent once the engine is back."""
        if self._connection.is_connected:
            for run_id in sorted(self._stopping_ids):
                self._send(Verb.STOP, run_id, self._ended_by)

    def keep(self) -> None:
        """Make them go on without this window; `settled` is emitted when all will."""
        self._stopping_ids = set()
        unanswered = set(self.live()) if self._connection.is_connected else set()
        if not unanswered:
            QTimer.singleShot(0, self.settled.emit)
            return
        self._timer.start()
        for run_id in sorted(unanswered):

            def on_answer(_answer: Answer, run_id: str = run_id) -> None:
                unanswered.discard(run_id)
                if not unanswered:
                    self._settle()

            self._send(Verb.KEEP, run_id, callback=on_answer)

    def _send(
        self,
        verb: Verb,
        run_id: str,
        ended_by: EndedBy = EndedBy.USER,
        callback: Callback | None = None,
    ) -> None:
        self._ask(
            lambda number: CommandRun(number, run_id, verb, ended_by=ended_by),
            callback,
            text=VERB_TEXTS[verb],
        )

    def _settle(self) -> None:
        self._stopping_ids = set()
        self._timer.stop()
        self.settled.emit()

    def _on_run_state_changed(self, run_id: str) -> None:
        if run_id not in self._stopping_ids:
            return
        latest = self._store.runs[run_id].latest
        if latest is None or not latest.state.is_over:
            return
        if latest.last:
            self._on_run_ended(run_id)
        else:
            QTimer.singleShot(_LAST_UPDATE_WAIT_MS, self, lambda: self._on_run_ended(run_id))

    def _on_run_ended(self, run_id: str) -> None:
        if run_id in self._stopping_ids:
            self._stopping_ids.discard(run_id)
            if not self._stopping_ids:
                self._settle()
