"""Everything that the window does apart from its widgets: run an engine, send commands, keep state.

QtCore only. Widgets read the `store`, call the `session`, and connect to the signals of both.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from PySide6.QtCore import QObject, QTimer, Signal

from raydash.core.clock import Clock
from raydash.core.faults import Fault
from raydash.core.messages import (
    Answer,
    CancelConnect,
    ClusterStatus,
    Command,
    CommandRun,
    Connect,
    EnvChecked,
    EnvCheckPhase,
    RunList,
    StartRun,
    Verb,
)
from raydash.core.spec import ClusterSpec, PolicySpec, RunSpec
from raydash.core.states import ClusterPhase, EndedBy, EngineState
from raydash.link.attachments import Attachments
from raydash.link.engine_process import EngineProcess
from raydash.link.env_checker import EnvChecker
from raydash.link.library import Callback, LibraryClient
from raydash.link.store import Store

_PENDING_TEXTS = {
    Verb.PAUSE: "Pausing…",
    Verb.RESUME: "Resuming…",
    Verb.DRAIN: "Draining…",
    Verb.STOP: "Stopping…",
    Verb.RESTART: "Restarting…",
    Verb.KILL: "Killing…",
    Verb.SCALE: "Scaling…",
    Verb.KEEP: "Keeping…",
    Verb.SWAP: "Swapping the policy…",
}
_LAST_UPDATE_WAIT_MS = 3000


@dataclass(frozen=True, slots=True)
class _PendingCommand:
    command: Command
    callback: Callback | None
    quiet: bool


class Session(QObject):
    """Drives the engine for one window.

    Attributes:
        store: The state that the widgets read.
        attachments: Decides which live runs are read.
        library: Sends commands about recordings.
        checker: Sends checks of environments.
        pending: What is going on ("Pausing…"), by the id of each unanswered command of the user.
        own_runs: Ids of the runs that this window started.
        source_dirs: Folders from which a run imports the user's own modules.

    Signals:
        fault_raised(Fault): Something went wrong that the user should read.
        recovered: The engine is back after it was lost.
        pending_changed: `pending` has other entries.
        run_started(run_id): A run that this window asked for was accepted.
        runs_stopped: `stop_own_runs` or `keep_own_runs` is complete, or took too long.
        finished: `shut_down` is complete.
    """

    fault_raised = Signal(object)
    recovered = Signal()
    pending_changed = Signal()
    run_started = Signal(str)
    runs_stopped = Signal()
    finished = Signal()

    def __init__(
        self,
        engine: EngineProcess,
        clock: Clock,
        *,
        source_dirs: tuple[str, ...] = (),
        stop_timeout_s: float = 20.0,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.engine = engine
        self.store = Store(clock, self)
        self.attachments = Attachments(
            self.store,
            self.ask,
            is_connected=lambda: self._connected,
            on_recording=lambda run_id: self.library.add_opened(run_id),
            parent=self,
        )
        self.library = LibraryClient(self.store, self.ask, self.attachments.attach, self)
        self.checker = EnvChecker(self.ask, self)
        self.pending: dict[int, str] = {}
        self.own_runs: set[str] = set()
        self.source_dirs = source_dirs
        self._pending_commands: dict[int, _PendingCommand] = {}
        self._last_id = 0
        self._requested_cluster: ClusterSpec | None = None
        self._planned_cluster = ClusterSpec()
        self._connected = False
        # The cluster was lost or never came up: connect again only when the user says so.
        self._on_hold = False
        self._engine_was_lost = False
        self._start_when_up: RunSpec | None = None
        self._stopping_run_ids: set[str] = set()
        self._ended_by = EndedBy.USER
        self._stop_timer = QTimer(self)
        self._stop_timer.setSingleShot(True)
        self._stop_timer.setInterval(round(stop_timeout_s * 1000))
        self._stop_timer.timeout.connect(self._finish_stopping)

        engine.message_received.connect(self._on_message)
        engine.state_changed.connect(self._on_engine_state)
        engine.lost.connect(self._on_engine_lost)
        engine.stopped.connect(self.finished)
        self.store.run_state_changed.connect(self._on_run_state_changed)

    # --- the cluster --------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether commands can reach the cluster now."""
        return self._connected and self.store.cluster.phase is ClusterPhase.UP

    @property
    def cluster_spec(self) -> ClusterSpec:
        """The cluster that was asked for, else the planned one; the local one by default."""
        return self._requested_cluster or self._planned_cluster

    @property
    def can_connect(self) -> bool:
        """Whether there is no cluster and none was asked for, so that one may be."""
        return self._requested_cluster is None and self.store.cluster.phase is ClusterPhase.ABSENT

    def plan_cluster(self, spec: ClusterSpec) -> None:
        """Connect to this cluster once a run is started, and not before."""
        self._planned_cluster = spec

    def start(self) -> None:
        """Start the engine."""
        self.engine.start()

    def connect_cluster(self, spec: ClusterSpec) -> None:
        """Launch the local cluster or attach to `spec.address`, leaving the cluster that is up."""
        already_asked = self._requested_cluster is not None
        self._requested_cluster = spec
        self._on_hold = False
        if already_asked and self.store.cluster.phase is not ClusterPhase.ABSENT:
            self._replace_engine()
        else:
            self._connect()

    def cancel_connect(self) -> None:
        """Give up connecting. The engine ends, and a new one waits for commands."""
        if self._requested_cluster is None or self._connected:
            return
        self._requested_cluster = None
        self._start_when_up = None
        self.ask(lambda number: CancelConnect(number), quiet=True)
        if self.engine.state is EngineState.READY:
            self.engine.expect_exit()
        self.store.set_cluster(ClusterStatus(ClusterPhase.ABSENT))

    def relaunch(self) -> None:
        """Connect to the same cluster with a new engine, after it was lost or never came up."""
        self._requested_cluster = self.cluster_spec
        self._on_hold = False
        if self.engine.state is EngineState.FAILED:
            self.engine.retry()
        else:
            self._replace_engine()

    def _replace_engine(self) -> None:
        self._forget_connection()
        self.engine.replace()

    def _connect(self) -> None:
        if (
            self.engine.state is not EngineState.READY
            or self._requested_cluster is None
            or self._on_hold
        ):
            return
        spec = self._requested_cluster
        self.ask(lambda number: Connect(number, spec), self._on_connect_answered, quiet=True)
        self._start_early()

    def _on_connect_answered(self, answer: Answer) -> None:
        if answer.fault is not None:
            if self._requested_cluster is not None and self.engine.state is EngineState.READY:
                self._set_cluster_failed(answer.fault)
                self.fault_raised.emit(answer.fault)
            return
        self._connected = True
        self.attachments.reattach()
        self._send_stops()
        self._start_or_show_run()
        self.store.cluster_changed.emit()

    def _set_cluster_failed(self, fault: Fault) -> None:
        self._on_hold = True
        if self.store.cluster.phase is not ClusterPhase.FAILED:
            status = replace(self.store.cluster, phase=ClusterPhase.FAILED, fault=fault)
            self.store.set_cluster(status)

    # --- runs ---------------------------------------------------------------------------------

    def start_run(self, spec: RunSpec, callback: Callback | None = None) -> int:
        """Start a run and show it; its id is in the answer.

        Without a cluster the planned one is connected first; the engine waits for it by itself.
        """
        if self.can_connect:
            self.connect_cluster(self.cluster_spec)

        def on_answer(answer: Answer) -> None:
            if answer.fault is None:
                self._on_run_accepted(answer.run_id)
            if callback is not None:
                callback(answer)

        return self.ask(
            lambda number: StartRun(number, spec, self.source_dirs), on_answer, text="Starting…"
        )

    def start_when_up(self, spec: RunSpec) -> None:
        """Start a run as soon as the cluster is up."""
        if self.is_connected:
            self.start_run(spec)
            return
        self._start_when_up = spec
        if self.store.cluster.phase.is_busy:
            self._start_early()

    def _start_early(self) -> None:
        """Send a run while the cluster comes up, so that its environment is tried meanwhile."""
        spec, self._start_when_up = self._start_when_up, None
        if spec is None:
            return

        def on_answer(answer: Answer) -> None:
            if answer.fault is None:
                self._on_run_accepted(answer.run_id)
            elif not (answer.fault.bad_input or self._connected):
                # No cluster came up: start with the next one, unless connecting was cancelled.
                self._start_when_up = spec if self._requested_cluster is not None else None
            else:
                self.fault_raised.emit(answer.fault)

        self.ask(
            lambda number: StartRun(number, spec, self.source_dirs),
            on_answer,
            text="Starting…",
            quiet=True,
        )

    def _on_run_accepted(self, run_id: str) -> None:
        self.own_runs.add(run_id)
        self.attachments.mark_attached(run_id)
        self.store.run(run_id)
        self.store.show_run(run_id)
        self.run_started.emit(run_id)

    @property
    def newest_run_id(self) -> str:
        """The newest live run, else the newest that this window has seen live, else empty."""
        live = [summary.run_id for summary in self.store.live_runs]
        seen = [run_id for run_id, run in self.store.runs.items() if run.latest is not None]
        seen = [run_id for run_id in seen if not self.store.runs[run_id].is_recording]
        return max(live or seen, default="")

    def close_run(self, run_id: str) -> None:
        """Take a recording, or a run that is over, off the screen, and show another one instead."""
        if run_id in self.library.opened:
            self.library.close(run_id)
        elif not self.library.is_live(run_id):
            self.own_runs.discard(run_id)
            self.store.forget(run_id)
        if not self.store.shown_run_id:
            back = self.newest_run_id or max(self.library.opened, default="")
            if back:
                self.show_run(back)

    def show_run(self, run_id: str) -> None:
        """Put a run on the screen, attaching to it first if it is live."""
        if self.library.is_live(run_id):
            self.attachments.attach(run_id)
        self.store.run(run_id)
        self.store.show_run(run_id)

    def overlay(self, run_id: str, *, drawn: bool) -> None:
        """Draw a run beside the one on screen (attach to it if it is live), or stop drawing it."""
        if drawn and self.library.is_live(run_id):
            self.attachments.attach(run_id)
            self.store.run(run_id)
        self.store.overlay(run_id, drawn=drawn)

    def command(
        self,
        verb: Verb,
        workers: Iterable[int] | None = None,
        num_workers: int | None = None,
        *,
        run_id: str = "",
        ended_by: EndedBy = EndedBy.USER,
        policy: PolicySpec | None = None,
        callback: Callback | None = None,
    ) -> int:
        """Send a command to a run: the one on screen unless `run_id` names another."""
        target = run_id or self.store.shown_run_id
        chosen = None if workers is None else tuple(sorted(workers))
        return self.ask(
            lambda number: CommandRun(number, target, verb, chosen, num_workers, ended_by, policy),
            callback,
            text=_PENDING_TEXTS[verb],
        )

    def pending_verb(self, verb: Verb, run_id: str = "") -> bool:
        """Whether a command with `verb` to the whole run is not answered yet."""
        target = run_id or self.store.shown_run_id
        return any(
            isinstance(pending.command, CommandRun)
            and pending.command.verb is verb
            and pending.command.run_id == target
            and pending.command.workers is None
            for pending in self._pending_commands.values()
        )

    @property
    def is_starting_run(self) -> bool:
        """Whether the start of a run is not answered yet."""
        return any(
            isinstance(pending.command, StartRun) for pending in self._pending_commands.values()
        )

    def live_own_runs(self) -> tuple[str, ...]:
        """List the runs of this window that are not over."""
        known = {run_id: self.store.runs.get(run_id) for run_id in sorted(self.own_runs)}
        return tuple(
            run_id
            for run_id, run in known.items()
            if run is not None
            and not run.is_recording
            and (run.state is None or not run.state.is_over)
        )

    def runs_at_stake(self) -> tuple[str, ...]:
        """List the live runs of this window that are not kept, and so would end soon after it."""
        kept = {summary.run_id for summary in self.store.live_runs if summary.keep}
        return tuple(run_id for run_id in self.live_own_runs() if run_id not in kept)

    def stop_own_runs(self, ended_by: EndedBy = EndedBy.USER) -> None:
        """Stop the runs of this window; `runs_stopped` is emitted when they have ended."""
        self._stopping_run_ids = set(self.live_own_runs())
        self._ended_by = ended_by
        if not self._stopping_run_ids:
            QTimer.singleShot(0, self.runs_stopped.emit)
            return
        self._stop_timer.start()
        self._send_stops()

    def _send_stops(self) -> None:
        """Send the stop commands if connected; otherwise they are sent once the engine is back."""
        if self.is_connected:
            for run_id in sorted(self._stopping_run_ids):
                self.command(Verb.STOP, run_id=run_id, ended_by=self._ended_by)

    def keep_own_runs(self) -> None:
        """Make the runs of this window go on without it; emit `runs_stopped` when all will."""
        runs = self.live_own_runs()
        self._stopping_run_ids = set()
        waiting = set(runs) if self.is_connected else set()
        if not waiting:
            QTimer.singleShot(0, self.runs_stopped.emit)
            return
        self._stop_timer.start()
        for run_id in runs:

            def on_answer(_answer: Answer, run_id: str = run_id) -> None:
                waiting.discard(run_id)
                if not waiting:
                    self._finish_stopping()

            self.command(Verb.KEEP, run_id=run_id, callback=on_answer)

    def shut_down(self) -> None:
        """End the engine; `finished` is emitted when nothing of it is left."""
        self._stop_timer.stop()
        self.engine.shut_down()

    def _finish_stopping(self) -> None:
        self._stopping_run_ids = set()
        self._stop_timer.stop()
        self.runs_stopped.emit()

    def _on_run_state_changed(self, run_id: str) -> None:
        if run_id not in self._stopping_run_ids:
            return
        latest = self.store.runs[run_id].latest
        if latest is None or not latest.state.is_over:
            return
        if latest.last:
            self._on_run_ended(run_id)
        else:
            QTimer.singleShot(_LAST_UPDATE_WAIT_MS, self, lambda: self._on_run_ended(run_id))

    def _on_run_ended(self, run_id: str) -> None:
        if run_id in self._stopping_run_ids:
            self._stopping_run_ids.discard(run_id)
            if not self._stopping_run_ids:
                self._finish_stopping()

    def _start_or_show_run(self) -> None:
        """Start the run that was asked for at start-up, else show the newest live run."""
        if not self.is_connected:
            return
        if self._start_when_up is not None:
            spec, self._start_when_up = self._start_when_up, None
            self.start_run(spec)
        elif not self.store.shown_run_id and self.store.live_runs and not self.is_starting_run:
            self.show_run(max(self.store.live_runs, key=lambda run: run.started_utc).run_id)

    # --- what comes from the engine -----------------------------------------------------------

    def ask(
        self,
        make: Callable[[int], Command],
        callback: Callback | None = None,
        *,
        text: str = "",
        quiet: bool = False,
    ) -> int:
        """Send a command and remember it until it is answered.

        Args:
            make: Makes the command from its id.
            callback: Called with the answer, before a fault is shown.
            text: What is going on meanwhile, for the user ("Pausing…").
            quiet: Leave it to the callback to show a fault.

        Returns:
            The command's id.
        """
        self._last_id += 1
        number = self._last_id
        command = make(number)
        self._pending_commands[number] = _PendingCommand(command, callback, quiet)
        if text:
            self.pending[number] = text
            self.pending_changed.emit()
        self.engine.send(command)
        return number

    def _on_message(self, message: object) -> None:
        match message:
            case Answer():
                self._on_answer(message)
            case ClusterStatus(phase=ClusterPhase.LOST, fault=fault):
                if self.store.cluster.phase is ClusterPhase.LOST:
                    return
                self._connected = False
                self._on_hold = True
                self.attachments.clear()
                self.store.set_cluster(message)
                cause = fault.sentence() if fault else "the cluster was lost"
                for run_id in self.store.runs:
                    self.store.interrupt(run_id, cause)
                self.fault_raised.emit(fault or Fault("The cluster was lost"))
            case ClusterStatus() if self._requested_cluster is None:
                pass  # from an engine that has not noticed yet that connecting was cancelled
            case ClusterStatus():
                self.store.set_cluster(message)
                self._start_or_show_run()
            case RunList():
                self.store.receive(message)
                self._start_or_show_run()
            case EnvCheckPhase() | EnvChecked():
                self.checker.receive(message)
            case _:
                self.store.receive(message)  # type: ignore[arg-type]

    def _on_answer(self, answer: Answer) -> None:
        pending = self._pending_commands.pop(answer.command_id, None)
        was_pending = self.pending.pop(answer.command_id, None) is not None
        if pending is not None and pending.callback is not None:
            pending.callback(answer)
        if was_pending:
            self.pending_changed.emit()
        if pending is not None and answer.fault is not None and not pending.quiet:
            self.fault_raised.emit(answer.fault)
        self.store.receive(answer)

    def _on_engine_state(self, state: EngineState) -> None:
        if state is not EngineState.READY:
            self._forget_connection()
        self.store.set_engine_state(state)
        if state is EngineState.READY:
            if self._engine_was_lost:
                self._engine_was_lost = False
                self.recovered.emit()
            self._connect()
            self.library.on_engine_ready()

    def _on_engine_lost(self, fault: Fault) -> None:
        self._engine_was_lost = True
        self.fault_raised.emit(fault)

    def _forget_connection(self) -> None:
        self._connected = False
        self.attachments.clear()
        if self.store.cluster.phase is not ClusterPhase.ABSENT and not self._on_hold:
            self.store.set_cluster(ClusterStatus(ClusterPhase.ABSENT))
