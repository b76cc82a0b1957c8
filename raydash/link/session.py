"""Everything that the window does apart from its widgets: run an engine, send commands, keep state.

QtCore only. Widgets read the `store`, call the `session`, and connect to the signals of both.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace

from PySide6.QtCore import QObject, Signal

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
    Verb,
)
from raydash.core.spec import ClusterSpec, PolicySpec, RunSpec
from raydash.core.states import ClusterPhase, EndedBy, EngineState
from raydash.link.attachments import Attachments
from raydash.link.connection import ClusterConnection, ConnectionState, Step
from raydash.link.engine_process import EngineProcess
from raydash.link.env_checker import EnvChecker
from raydash.link.library import LibraryClient
from raydash.link.own_runs import OwnRuns
from raydash.link.pending_commands import (
    VERB_TEXTS,
    Callback,
    PendingCommands,
    fail,
)
from raydash.link.store import Store


class Session(QObject):
    """Drives the engine for one window.

    Attributes:
        store: The state that the widgets read.
        attachments: Decides which live runs are read.
        library: Sends commands about recordings.
        checker: Sends checks of environments.
        own_runs: The runs that this window started.
        source_dirs: Folders from which a run imports the user's own modules.

    Signals:
        fault_raised(Fault): Something went wrong that the user should read.
        recovered: An engine is ready again after another one was gone.
        pending_changed: A command of the user was sent or answered.
        finished: `shut_down` is complete.
    """

    fault_raised = Signal(object)
    recovered = Signal()
    pending_changed = Signal()
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
        self._connection = ClusterConnection()
        self._pending_commands = PendingCommands()
        self.attachments = Attachments(
            self.store,
            self.ask,
            is_connected=lambda: self._connection.is_connected,
            on_recording=lambda run_id: self.library.add_opened(run_id),
            parent=self,
        )
        self.library = LibraryClient(self.store, self.ask, self.attachments.attach, self)
        self.checker = EnvChecker(self.ask, self)
        self.own_runs = OwnRuns(
            self.store,
            self.ask,
            self.attachments,
            self._connection,
            source_dirs=source_dirs,
            stop_timeout_s=stop_timeout_s,
            parent=self,
        )
        self.source_dirs = source_dirs

        self.own_runs.fault_raised.connect(self.fault_raised)
        engine.message_received.connect(self._on_message)
        engine.state_changed.connect(self._on_engine_state)
        engine.lost.connect(self.fault_raised)
        engine.exited.connect(self._on_engine_exited)
        engine.stopped.connect(self.finished)

    def start(self) -> None:
        """Start the engine."""
        self.engine.start()

    def shut_down(self) -> None:
        """End the engine; `finished` is emitted when nothing of it is left."""
        self.engine.shut_down()

    # --- the cluster --------------------------------------------------------------------------

    @property
    def is_connected(self) -> bool:
        """Whether commands can reach the cluster now."""
        return self._connection.is_connected

    @property
    def cluster_spec(self) -> ClusterSpec:
        """The cluster that was asked for, else the planned one; the local one by default."""
        return self._connection.spec

    @property
    def can_connect(self) -> bool:
        """Whether there is no cluster and none was asked for, so that one may be."""
        return self._connection.state is ConnectionState.IDLE

    def plan_cluster(self, spec: ClusterSpec) -> None:
        """Connect to this cluster once a run is started, and not before."""
        self._connection.plan(spec)

    def connect_cluster(self, spec: ClusterSpec) -> None:
        """Launch the local cluster or attach to `spec.address`, leaving the cluster that is up."""
        self._do(self._connection.request(spec))

    def cancel_connect(self) -> None:
        """Give up connecting. The engine ends, and a new one waits for commands."""
        step = self._connection.cancel()
        if self.can_connect:
            self.own_runs.forget_waiting()
            self._do(step)
            self.store.set_cluster(ClusterStatus(ClusterPhase.ABSENT))

    def relaunch(self) -> None:
        """Connect to the same cluster with a new engine, after it was lost or never came up."""
        step = self._connection.request(self.cluster_spec)
        if self.engine.state is EngineState.FAILED:
            self.engine.retry()
        else:
            self._do(step or Step.REPLACE_ENGINE)

    def _do(self, step: Step | None) -> None:
        match step:
            case Step.CONNECT:
                spec = self.cluster_spec
                self.ask(
                    lambda number: Connect(number, spec), self._on_connect_answered, quiet=True
                )
                self.own_runs.start_early()
            case Step.REPLACE_ENGINE:
                self._forget_cluster()
                self.engine.replace()
            case Step.END_ENGINE:
                self.ask(lambda number: CancelConnect(number), quiet=True)
                self.engine.expect_exit()
            case Step.USE_CLUSTER:
                self.attachments.reattach()
                self.own_runs.send_stops()
                self._start_or_show_run()
                self.store.cluster_changed.emit()

    def _on_connect_answered(self, answer: Answer) -> None:
        step = self._connection.on_connect_answered(accepted=answer.fault is None)
        if step is not Step.REPORT or answer.fault is None:
            self._do(step)
            return
        if self.store.cluster.phase is not ClusterPhase.FAILED:
            self.store.set_cluster(
                replace(self.store.cluster, phase=ClusterPhase.FAILED, fault=answer.fault)
            )
        self.fault_raised.emit(answer.fault)

    def _on_cluster_lost(self, status: ClusterStatus) -> None:
        self._connection.on_cluster_lost()
        self.engine.expect_exit()  # it does not outlive its cluster, which is no second fault
        self.attachments.clear()
        self.store.set_cluster(status)
        fault = status.fault or Fault("The cluster was lost")
        cause = status.fault.sentence() if status.fault else "the cluster was lost"
        for run_id in self.store.runs:
            self.store.interrupt(run_id, cause)
        self.fault_raised.emit(fault)

    def _forget_cluster(self) -> None:
        """Show no cluster, unless it is on screen that it was lost or never came up."""
        self.attachments.clear()
        is_shown = self.store.cluster.phase is not ClusterPhase.ABSENT
        if is_shown and self._connection.state is not ConnectionState.ON_HOLD:
            self.store.set_cluster(ClusterStatus(ClusterPhase.ABSENT))

    # --- runs ---------------------------------------------------------------------------------

    def start_run(self, spec: RunSpec, callback: Callback | None = None) -> int:
        """Start a run and show it; its id is in the answer.

        Without a cluster the planned one is connected first; the engine waits for it by itself.
        """
        if self.can_connect:
            self.connect_cluster(self.cluster_spec)
        return self.own_runs.start(spec, callback)

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
            self.own_runs.ids.discard(run_id)
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
            text=VERB_TEXTS[verb],
        )

    @property
    def pending(self) -> dict[int, str]:
        """What is going on ("Pausing…"), by the id of each unanswered command of the user."""
        return self._pending_commands.texts

    def pending_verb(self, verb: Verb, run_id: str = "") -> bool:
        """Whether a command with `verb` to the whole run is not answered yet."""
        return self._pending_commands.has_verb(verb, run_id or self.store.shown_run_id)

    @property
    def is_starting_run(self) -> bool:
        """Whether the start of a run is not answered yet."""
        return self._pending_commands.has_start()

    def _start_or_show_run(self) -> None:
        """Start the run that was asked for at start-up, else show the newest live run."""
        if not self.is_connected or self.own_runs.start_waiting():
            return
        if not self.store.shown_run_id and self.store.live_runs and not self.is_starting_run:
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
        command = self._pending_commands.add(make, callback, text=text, quiet=quiet)
        if text:
            self.pending_changed.emit()
        if self.engine.state is EngineState.READY:
            self.engine.send(command)
        else:
            self._on_answer(fail(command.command_id, "The engine is not there to take the command"))
        return command.command_id

    def _on_message(self, message: object) -> None:
        match message:
            case Answer():
                self._on_answer(message)
            case ClusterStatus() if not self._connection.expects_status:
                pass  # from an engine that was cancelled or replaced, and is about to end
            case ClusterStatus(phase=ClusterPhase.LOST):
                self._on_cluster_lost(message)
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
        pending = self._pending_commands.pop(answer.command_id)
        if pending is None:
            return
        if pending.callback is not None:
            pending.callback(answer)
        if pending.text:
            self.pending_changed.emit()
        if answer.fault is not None and not pending.quiet:
            self.fault_raised.emit(answer.fault)

    def _on_engine_state(self, state: EngineState) -> None:
        was_recovering = self.store.engine_state.is_recovering
        if state is not EngineState.READY:
            self._connection.on_engine_gone()
            self._forget_cluster()
        self.store.set_engine_state(state)
        if state is EngineState.READY:
            if was_recovering:
                self.recovered.emit()
            self._do(self._connection.on_engine_ready())
            self.library.on_engine_ready()

    def _on_engine_exited(self) -> None:
        for answer in self._pending_commands.fail_all("The engine died before it answered"):
            self._on_answer(answer)
