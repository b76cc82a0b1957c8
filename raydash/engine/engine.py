"""The engine: one process with a Ray driver between a window (or terminal) and supervisors.

It may die at any time without harm to a run. One main thread runs jobs from a queue (`loop`), and
only that thread touches the engine's state. Whatever may block (launching, connecting, trying an
environment, asking the GCS) happens on a thread of its own and posts its outcome back as a job.
Runs are handled in `RunCommands`, recordings in `LibraryCommands` and checks of environments in
`CheckCommands`; the wire, the cluster and the engine's end are handled here.
"""

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil

from raydash import paths
from raydash.core.faults import Fault, FaultError
from raydash.core.messages import (
    PROTOCOL_VERSION,
    Answer,
    AttachRun,
    CancelCheck,
    CancelConnect,
    CheckEnv,
    ClusterStatus,
    CommandRun,
    Connect,
    DetachRun,
    EngineHealth,
    EnvRegistry,
    FollowRuns,
    Goodbye,
    Hello,
    LibraryCommand,
    Ping,
    Pong,
    QueryHistory,
    StartRun,
    StopCluster,
)
from raydash.core.states import ClusterPhase
from raydash.engine.cluster.backend import Backend, Connection, Connector, Watch
from raydash.engine.commands.check_commands import CheckCommands
from raydash.engine.commands.library_commands import (
    LibraryCommands,
    LibraryFiles,
    open_library,
)
from raydash.engine.commands.run_commands import RunCommands
from raydash.engine.loop import MainLoop
from raydash.engine.wire import Wire
from raydash.trial.trial import list_names
from raydash.version import __version__

HEALTH_S = 1.0
STATUS_S = 0.25
SIMULATED_REGISTRY_S = 3.0


class Engine:
    """Reads messages from a wire and answers on it."""

    def __init__(
        self,
        wire: Wire,
        log_path: str,
        backend: Backend,
        *,
        open_library: Callable[[Path], LibraryFiles] = open_library,
    ) -> None:
        """Prepare; `open_library` opens the library in a data folder."""
        self._wire = wire
        self._log_path = log_path
        self._backend = backend
        self._got_goodbye = False
        self._has_ended = threading.Event()
        self._registry_thread: threading.Thread | None = None
        self._connector: Connector | None = None
        self._connection: Connection | None = None
        self._connect_command_id = 0
        self._status = ClusterStatus(ClusterPhase.ABSENT)
        self._connected = threading.Event()
        self._connect_fault: Fault | None = None
        self._watch: Watch | None = None
        self._loop = MainLoop()
        self._library = LibraryCommands(
            paths.data_dir(),
            send=wire.send,
            attach=lambda command_id, run_id: self._runs.attach_if_live(command_id, run_id),
            open_library=open_library,
        )
        self._runs = RunCommands(
            wire,
            self._loop,
            backend,
            is_connecting=lambda: self._connector is not None,
            await_connection=self._await_connection,
            watch=lambda: self._watch,
            read_from_file=self._library.submit,
        )
        self._checks = CheckCommands(self._loop, wire.send)
        self._process = psutil.Process()

    def run(self) -> None:
        """Serve the window or terminal until the input ends; the process may end then."""
        self._wire.send(Hello(PROTOCOL_VERSION, __version__, os.getpid()))
        self._wire.start(
            on_message=lambda message: self._loop.post(lambda: self._on_message(message)),
            on_end=lambda reason: self._loop.post(lambda: self._on_input_end(reason)),
        )
        # A simulated run is there at once, and the process that lists names would hold it up.
        self._loop.call_later(
            SIMULATED_REGISTRY_S if self._backend.is_simulated else 0.0, self._list_names
        )
        self._process.cpu_percent()
        self._send_health()
        self._loop.run()
        self._has_ended.set()
        self._shut_down()

    def _list_names(self) -> None:
        self._registry_thread = self._loop.run_in_background(
            lambda: list_names(cancelled=self._has_ended.is_set), self._on_registry
        )

    def join(self) -> None:
        """Wait for the threads that the end of the process would end, where it goes on."""
        self._library.close()
        if self._registry_thread is not None:
            self._registry_thread.join()

    def _shut_down(self) -> None:
        if self._connector is not None:
            self._connector.cancel()
        self._checks.close()
        self._runs.close()
        self._backend.close()
        self._wire.close()
        lease = self._connection.lease if self._connection else None
        if lease is not None and self._got_goodbye:
            lease.release()

    # --- messages ----------------------------------------------------------------------------

    def _on_input_end(self, reason: str) -> None:
        if reason:
            print(f"engine: {reason}", flush=True)
        self._loop.stop()

    def _on_message(self, message: object) -> None:
        match message:
            case Ping(number):
                self._wire.send(Pong(number))
            case Goodbye():
                self._got_goodbye = True
                self._loop.stop()
            case Hello(protocol_version=version):
                if version != PROTOCOL_VERSION:
                    self._on_input_end(f"the window speaks protocol {version}")
            case Connect():
                self._connect(message)
            case CancelConnect():
                self._cancel_connect(message)
            case StartRun():
                self._runs.start(message)
            case CommandRun():
                self._runs.command(message)
            case AttachRun(command_id=command_id, run_id=run_id):
                self._runs.attach(command_id, run_id)
            case DetachRun(command_id=command_id, run_id=run_id):
                self._runs.detach(command_id, run_id)
            case FollowRuns(command_id=command_id, run_ids=run_ids):
                self._runs.follow(command_id, run_ids)
            case StopCluster(command_id=command_id):
                self._loop.run_in_background(
                    self._backend.stop_cluster,
                    lambda _, fault: self._answer(command_id, fault),
                )
            case QueryHistory():
                self._runs.query_history(message)
            case CheckEnv():
                self._checks.check(message)
            case CancelCheck():
                self._checks.cancel(message)
            case _ if isinstance(message, LibraryCommand):
                self._library.submit(message)
            case _:
                self._on_input_end(f"{type(message).__name__} is no command")

    def _answer(self, command_id: int, fault: Fault | None = None, run_id: str = "") -> None:
        self._wire.send(Answer(command_id, fault, run_id))

    def _on_registry(self, names: EnvRegistry | None, fault: Fault | None) -> None:
        if names is not None:
            self._wire.send(names)

    # --- the cluster -------------------------------------------------------------------------

    def _connect(self, message: Connect) -> None:
        if self._connector is not None:
            fault = Fault(
                "This engine is connected already",
                "an engine connects once",
                "Start another engine for another cluster",
            )
            self._answer(message.command_id, fault)
            return
        self._connect_command_id = message.command_id
        self._connector = self._backend.connector(
            message.cluster,
            on_status=lambda status: self._loop.post(lambda: self._set_status(status)),
            on_hang=lambda fault: self._fail_and_exit(fault),
        )
        self._loop.run_in_background(self._connector.connect, self._on_connected)
        self._repeat_status()

    def _cancel_connect(self, message: CancelConnect) -> None:
        if self._connector is not None:
            self._connector.cancel()
        self._answer(message.command_id)

    def _repeat_status(self) -> None:
        """Repeat the status while connecting, so that the window can count the seconds."""
        if self._connector is not None and self._status.phase.is_busy:
            self._wire.send(
                replace(
                    self._status,
                    elapsed_s=self._connector.status(self._status.phase, "").elapsed_s,
                )
            )
        if not self._connected.is_set():
            self._loop.call_later(STATUS_S, self._repeat_status)

    def _set_status(self, status: ClusterStatus) -> None:
        self._status = status
        self._wire.send(status)

    def _on_connected(self, connection: Connection | None, fault: Fault | None) -> None:
        assert self._connector is not None
        self._connect_fault = fault
        self._connected.set()
        if connection is None:
            self._set_status(self._connector.status(ClusterPhase.FAILED, "", fault))
            self._answer(self._connect_command_id, fault)
            return
        self._connection = connection
        self._set_status(connection.status)
        self._watch = self._backend.watch(
            connection,
            on_status=lambda status: self._loop.post(lambda: self._set_status(status)),
            on_runs=lambda runs, handles: self._loop.post(
                lambda: self._runs.on_runs(runs, handles)
            ),
            on_lost=lambda reason: self._loop.post(lambda: self._on_lost(reason)),
        )
        self._watch.start()
        self._answer(self._connect_command_id)

    def _await_connection(self) -> Connection:
        """Block the calling thread until the cluster is up.

        Raises:
            FaultError: if it does not come up, or nobody asked for it.
        """
        if self._connector is None:
            raise FaultError(Fault("There is no cluster", "nobody asked for one", "Connect first"))
        self._connected.wait()
        if self._connection is None:
            raise FaultError(self._connect_fault or Fault("The cluster did not come up"))
        return self._connection

    def _on_lost(self, fault: Fault) -> None:
        """Report that the cluster is lost, and end: a Ray driver does not survive it.

        See assets/docs/internals/ray.md, "What ends a driver", and
        https://github.com/ray-project/ray/issues/45570.
        """
        self._set_status(replace(self._status, phase=ClusterPhase.LOST, text="", fault=fault))
        self._loop.stop()

    def _fail_and_exit(self, fault: Fault) -> None:
        """Tell the window why this process is beyond help, and exit. Callable from any thread."""
        assert self._connector is not None
        self._wire.send(self._connector.status(ClusterPhase.FAILED, "", fault))
        self._wire.send(Answer(self._connect_command_id, fault))
        self._wire.close()
        os._exit(3)

    # --- health ------------------------------------------------------------------------------

    def _send_health(self) -> None:
        latency = self._watch.latency_ms if self._watch else float("nan")
        self._wire.send(
            EngineHealth(
                pid=os.getpid(),
                cpu_percent=self._process.cpu_percent(),
                rss_bytes=float(self._process.memory_info().rss),
                loop_delay_ms=self._loop.pop_max_delay_s() * 1000,
                supervisor_latency_ms=latency,
                num_merged=self._runs.num_merged,
                num_log_lines_folded=self._watch.num_log_lines_folded if self._watch else 0,
                log_path=self._log_path,
            )
        )
        self._loop.call_later(HEALTH_S, self._send_health)
