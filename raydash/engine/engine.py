"""The engine: one process with a Ray driver between a window (or terminal) and supervisors.

Expendable. One main thread runs jobs from a queue, and only that thread touches the engine's
state; whatever may block (launching, connecting, trying an environment, asking the GCS) happens on
a thread of its own and posts its outcome back as a job.
"""

import contextlib
import heapq
import itertools
import os
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil

import raydash
from raydash import paths
from raydash.cluster import launch, private_ray
from raydash.core.faults import Fault, FaultError
from raydash.core.messages import (
    PROTOCOL_VERSION,
    Answer,
    AttachRun,
    CancelConnect,
    ClusterStatus,
    CommandRun,
    Connect,
    DetachRun,
    EngineHealth,
    EnvRegistry,
    Goodbye,
    Hello,
    LibraryCommand,
    Ping,
    Pong,
    QueryHistory,
    RunList,
    RunSummary,
    StartRun,
    StopCluster,
    Verb,
)
from raydash.core.states import ClusterPhase
from raydash.core.updates import RunUpdate
from raydash.engine import start_run
from raydash.engine.connection import Connection, Connector
from raydash.engine.library_desk import LibraryDesk
from raydash.engine.live_runs import (
    LEAVE_S,
    MAX_BACKLOG,
    RETRY_S,
    SLOW_S,
    STAY_S,
    Pulled,
    RunReader,
    await_all,
    when_done,
)
from raydash.engine.watch import ClusterWatch
from raydash.engine.wire import Wire
from raydash.engine.worker_output import WorkerOutput
from raydash.protocol.codec import encode
from raydash.worker.trial import list_environments

HEALTH_S = 1.0
STATUS_S = 0.25
GONE_AFTER_FAILURES = 40


class Engine:
    """Takes messages from a wire and answers on it."""

    def __init__(self, wire: Wire, log_path: str) -> None:
        self._wire = wire
        self._log_path = log_path
        self._jobs: queue.SimpleQueue[Callable[[], None]] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._timer_ids = itertools.count()
        self._running = True
        self._clean_end = False
        self._reader_id = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._connector: Connector | None = None
        self._connection: Connection | None = None
        self._connect_id = 0
        self._status = ClusterStatus(ClusterPhase.ABSENT)
        self._connected = threading.Event()
        self._connect_fault: Fault | None = None
        self._watch: ClusterWatch | None = None
        self._output: WorkerOutput | None = None
        self._readers: dict[str, RunReader] = {}
        self._handles: dict[str, Any] = {}
        self._runs: tuple[RunSummary, ...] | None = None
        self._library = LibraryDesk(paths.data_dir(), send=wire.send, attach=self._attach_if_live)
        self._loop_delay_s = 0.0
        self._process = psutil.Process()
        self._num_merged_before = 0

    # --- the loop ----------------------------------------------------------------------------

    def run(self) -> None:
        """Serve until the input ends."""
        self._wire.send(Hello(PROTOCOL_VERSION, raydash.__version__, os.getpid()))
        self._wire.start(
            on_message=lambda message: self.post(lambda: self._on_message(message)),
            on_end=lambda reason: self.post(lambda: self._on_input_end(reason)),
        )
        self._in_background(list_environments, self._on_registry)
        self._process.cpu_percent()
        self._health()
        while self._running:
            timeout_s = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            with contextlib.suppress(queue.Empty):
                self._jobs.get(timeout=timeout_s)()
            while self._timers and self._timers[0][0] <= time.monotonic():
                due_s, _, job = heapq.heappop(self._timers)
                self._loop_delay_s = max(self._loop_delay_s, time.monotonic() - due_s)
                job()
        self._leave()

    def post(self, job: Callable[[], None]) -> None:
        """Have something done by the main thread; callable from any."""
        self._jobs.put(job)

    def _later(self, delay_s: float, job: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._timer_ids), job))

    def _in_background(
        self, work: Callable[[], Any], then: Callable[[Any, Fault | None], None]
    ) -> None:
        """Do what may block on a thread; `then` gets its value, or the fault instead."""

        def body() -> None:
            try:
                value, fault = work(), None
            except FaultError as error:
                value, fault = None, error.fault
            except Exception as error:
                value, fault = None, start_run.unexpected(error)
            self.post(lambda: then(value, fault))

        threading.Thread(target=body, daemon=True).start()

    def _leave(self) -> None:
        if self._connector is not None:
            self._connector.cancel()
        await_all([reader.leave() for reader in self._readers.values()], LEAVE_S)
        self._wire.close()
        lease = self._connection.lease if self._connection else None
        if lease is not None and self._clean_end:
            lease.release()
        # Ray's shutdown takes up to 5 s and can hang with a dead GCS; nothing here needs it: the
        # driver owns nothing, and the lock of the lease goes with the process.
        os._exit(0)

    # --- messages ----------------------------------------------------------------------------

    def _on_input_end(self, reason: str) -> None:
        if reason:
            _log(f"engine: {reason}")
        self._running = False

    def _on_message(self, message: object) -> None:
        match message:
            case Ping(number):
                self._wire.send(Pong(number))
            case Goodbye():
                self._clean_end = True
                self._running = False
            case Hello(protocol_version=version):
                if version != PROTOCOL_VERSION:
                    self._on_input_end(f"the window speaks protocol {version}")
            case Connect():
                self._connect(message)
            case CancelConnect():
                self._cancel_connect(message)
            case StartRun():
                self._start_run(message)
            case CommandRun():
                self._command_run(message)
            case AttachRun(command_id=command_id, run_id=run_id):
                self._attach(command_id, run_id)
            case DetachRun(command_id=command_id, run_id=run_id):
                reader = self._readers.pop(run_id, None)
                if reader is not None:
                    reader.leave()
                    self._answer_lost(reader.unanswered.give_up(), "the run is not read any more")
                self._answer(command_id)
            case StopCluster(command_id=command_id):
                self._in_background(
                    lambda: launch.stop_cluster(paths.state_dir()),
                    lambda _, fault: self._answer(command_id, fault),
                )
            case QueryHistory():
                self._query_history(message)
            case _ if isinstance(message, LibraryCommand):
                self._library.take(message)
            case _:
                self._on_input_end(f"{type(message).__name__} is no command")

    def _answer(self, command_id: int, fault: Fault | None = None, run_id: str = "") -> None:
        self._wire.send(Answer(command_id, fault, run_id))

    def _on_registry(self, env_ids: Any, fault: Fault | None) -> None:
        if fault is None:
            self._wire.send(EnvRegistry(tuple(env_ids)))

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
        self._connect_id = message.command_id
        self._connector = Connector(
            message.cluster,
            tell=lambda status: self.post(lambda: self._tell_cluster(status)),
            give_up=lambda fault: self._die_of(fault),
        )
        self._in_background(self._connector.connect, self._on_connected)
        self._repeat_status()

    def _cancel_connect(self, message: CancelConnect) -> None:
        if self._connector is not None:
            self._connector.cancel()
        self._answer(message.command_id)

    def _repeat_status(self) -> None:
        """While connecting: the same words with more seconds, so that the window can count."""
        if self._connector is not None and self._status.phase.is_busy:
            self._wire.send(
                replace(
                    self._status,
                    elapsed_s=self._connector.status(self._status.phase, "").elapsed_s,
                )
            )
        if not self._connected.is_set():
            self._later(STATUS_S, self._repeat_status)

    def _tell_cluster(self, status: ClusterStatus) -> None:
        self._status = status
        self._wire.send(status)

    def _on_connected(self, connection: Connection | None, fault: Fault | None) -> None:
        assert self._connector is not None
        self._connect_fault = fault
        self._connected.set()
        if connection is None:
            self._tell_cluster(self._connector.status(ClusterPhase.FAILED, "", fault))
            self._answer(self._connect_id, fault)
            return
        self._connection = connection
        self._tell_cluster(connection.status)
        self._watch = ClusterWatch(
            connection,
            on_status=lambda status: self.post(lambda: self._tell_cluster(status)),
            on_runs=lambda runs, handles: self.post(lambda: self._on_runs(runs, handles)),
            on_lost=lambda reason: self.post(lambda: self._on_lost(reason)),
        )
        self._watch.start()
        self._output = WorkerOutput(Path(private_ray.logs_dir()), _log)
        self._output.start()
        self._answer(self._connect_id)

    def _on_runs(self, runs: tuple[RunSummary, ...], handles: dict[str, Any]) -> None:
        self._handles.update(handles)
        for run_id in set(self._handles) - set(handles) - set(self._readers):
            del self._handles[run_id]
        if runs != self._runs:
            self._runs = runs
            self._wire.send(RunList(runs))
        for reader in [r for r in self._readers.values() if r.run_id not in handles]:
            # Seen twice, on a loaded machine: Ray never told that the actor asked had died.
            if reader.is_overdue:
                self._lose_reader(reader)

    def _on_lost(self, fault: Fault) -> None:
        """The cluster is gone: say so and end; a Ray driver does not survive it (ray_facts, 1)."""
        self._tell_cluster(replace(self._status, phase=ClusterPhase.LOST, text="", fault=fault))
        self._running = False

    def _die_of(self, fault: Fault) -> None:
        """From any thread: the process is beyond help, but the window shall know why."""
        assert self._connector is not None
        self._wire.send(self._connector.status(ClusterPhase.FAILED, "", fault))
        self._wire.send(Answer(self._connect_id, fault))
        self._wire.close()
        os._exit(3)

    # --- runs --------------------------------------------------------------------------------

    def _start_run(self, message: StartRun) -> None:
        self._in_background(
            lambda: start_run.start(message, self._await_connection, watch=lambda: self._watch),
            lambda started, fault: self._on_started(message.command_id, started, fault),
        )

    def _await_connection(self) -> Connection:
        """Block a starting run until the cluster is up.

        Raises:
            FaultError: if it does not come up, or nobody asked for it.
        """
        if self._connector is None:
            raise FaultError(Fault("There is no cluster", "nobody asked for one", "Connect first"))
        self._connected.wait()
        if self._connection is None:
            raise FaultError(self._connect_fault or Fault("The cluster did not come up"))
        return self._connection

    def _on_started(
        self, command_id: int, started: tuple[str, Any] | None, fault: Fault | None
    ) -> None:
        if started is None:
            self._answer(command_id, fault)
            return
        run_id, handle = started
        self._handles[run_id] = handle
        self._answer(command_id, run_id=run_id)
        self._read(run_id, handle)
        if self._watch is not None:
            self._watch.look_now()

    def _attach(self, command_id: int, run_id: str) -> None:
        handle = self._handles.get(run_id)
        if handle is not None:
            self._answer(command_id, self._why_unreadable(run_id), run_id)
            self._read(run_id, handle)
            return
        if self._connector is None:
            self._answer(
                command_id, Fault(f"Run {run_id} is out of reach", "no cluster is connected")
            )
            return
        self._in_background(
            lambda: start_run.find(run_id, self._await_connection()),
            lambda found, fault: self._on_found(command_id, run_id, found, fault),
        )

    def _attach_if_live(self, command_id: int, run_id: str) -> bool:
        """Attach a run instead of showing its file; from any thread. False if it is not live."""
        is_live = run_id in self._handles
        if is_live:
            self.post(lambda: self._attach(command_id, run_id))
        return is_live

    def _query_history(self, message: QueryHistory) -> None:
        """Of a live run only its supervisor can read the file."""
        handle = self._handles.get(message.run_id)
        if handle is None or not hasattr(handle, "history"):
            self._library.take(message)
            return
        when_done(
            handle.history.remote(message.start_s, message.end_s, message.num_buckets),
            lambda payload, error: self.post(lambda: self._on_history(message, payload, error)),
        )

    def _on_history(
        self, message: QueryHistory, payload: bytes | None, error: BaseException | None
    ) -> None:
        fault: Fault | None = None
        if payload is not None:
            self._wire.send_encoded(payload)
        elif error is not None and start_run.is_dead(error):
            self._handles.pop(message.run_id, None)
            self._library.take(message)
            return
        else:
            fault = Fault(
                "That part of the history is not known",
                "the run's supervisor did not answer",
                "Look again in a moment",
                detail=str(error),
            )
        self._answer(message.command_id, fault, message.run_id)

    def _on_found(self, command_id: int, run_id: str, handle: Any, fault: Fault | None) -> None:
        if handle is not None:
            self._handles[run_id] = handle
            self._read(run_id, handle)
        self._answer(command_id, fault, run_id)

    def _why_unreadable(self, run_id: str) -> Fault | None:
        for run in self._runs or ():
            if run.run_id == run_id and run.protocol_version != PROTOCOL_VERSION:
                return Fault(
                    f"Run {run_id} cannot be shown",
                    f"it was started by raydash {run.raydash_version}",
                    "It can be stopped from here; to watch it, use that version",
                )
        return None

    def _read(self, run_id: str, handle: Any) -> None:
        if self._why_unreadable(run_id) is not None:
            return
        old = self._readers.get(run_id)
        if old is not None and not old.is_over:
            old.restart()
            old.pull()
            return
        reader = RunReader(
            run_id,
            handle,
            self._reader_id,
            lambda reader, pulled: self.post(lambda: self._on_pulled(reader, pulled)),
        )
        self._readers[run_id] = reader
        reader.pull()

    def _on_pulled(self, reader: RunReader, pulled: Pulled) -> None:
        reader.take(pulled)
        if self._readers.get(reader.run_id) is not reader:
            return
        if pulled.error is not None:
            # A restarting supervisor is unavailable for a second or two; a dead one stays so.
            if reader.failures > GONE_AFTER_FAILURES or start_run.is_dead(pulled.error):
                self._lose_reader(reader)
                return
            self._later(RETRY_S, reader.pull)
            return
        for payload in pulled.payloads:
            self._wire.send_encoded(payload)
        if reader.is_over:
            self._forget(reader)
            return
        self._answer_lost(
            reader.unanswered.lost_before(reader.incarnation), "its supervisor was restarted"
        )
        self._pull_when_written(reader)

    def _pull_when_written(self, reader: RunReader, waited_s: float = 0.0) -> None:
        """Ask for more only when the window has read what there is: so nothing queues up.

        A window that is slow for longer (suspended, say) still counts as one that is there.
        """
        if self._wire.backlog <= MAX_BACKLOG:
            reader.pull()
            return
        waited_s += SLOW_S
        if waited_s >= STAY_S:
            reader.stay()
            waited_s = 0.0
        self._later(SLOW_S, lambda: self._pull_when_written(reader, waited_s))

    def _lose_reader(self, reader: RunReader) -> None:
        self._forget(reader)
        self._tell_end(reader)

    def _tell_end(self, reader: RunReader) -> None:
        """The supervisor is gone without a last word: the recording has it."""
        snapshot, newest = reader.snapshot, reader.newest()
        if snapshot is None or snapshot.info is None or snapshot.spec is None or newest is None:
            return
        info, spec = snapshot.info, snapshot.spec

        def work() -> RunUpdate:
            from raydash.engine.last_words import last_words

            return last_words(newest, info, spec)

        def then(update: RunUpdate | None, fault: Fault | None) -> None:
            if update is not None:
                self._wire.send(update)
            elif fault is not None:
                print(f"engine: no end of {info.run_id}: {fault.detail}", flush=True)

        self._in_background(work, then)

    def _forget(self, reader: RunReader) -> None:
        self._num_merged_before += reader.num_merged
        self._readers.pop(reader.run_id, None)
        self._handles.pop(reader.run_id, None)
        self._answer_lost(reader.unanswered.give_up(), "the run is over", is_over=reader.is_over)
        if self._watch is not None:
            self._watch.look_now()

    def _command_run(self, message: CommandRun) -> None:
        handle = self._handles.get(message.run_id)
        if handle is None:
            fault = Fault(
                f"{message.verb.value.capitalize()} was not done",
                f"run {message.run_id} is not live",
            )
            self._answer(message.command_id, fault, message.run_id)
            return
        unreadable = self._why_unreadable(message.run_id)
        if unreadable is not None:
            self._command_other_version(message, handle, unreadable)
            return
        if message.run_id not in self._readers:
            self._read(message.run_id, handle)
        reader = self._readers[message.run_id]
        when_done(
            reader.submit(message, encode(message)),
            lambda life, error: self.post(lambda: self._on_submitted(reader, message, life, error)),
        )

    def _command_other_version(self, message: CommandRun, handle: Any, why: Fault) -> None:
        """Of a supervisor of another version only `stop` is known to be understood."""
        if message.verb is not Verb.STOP or message.workers is not None:
            self._answer(message.command_id, why, message.run_id)
            return
        when_done(
            handle.stop.remote(),
            lambda _, error: self.post(lambda: self._on_stop_sent(message, error)),
        )

    def _on_stop_sent(self, message: CommandRun, error: BaseException | None) -> None:
        fault = None if error is None else Fault("Stop did not reach the run", detail=str(error))
        self._answer(message.command_id, fault, message.run_id)

    def _on_submitted(
        self,
        reader: RunReader,
        message: CommandRun,
        life: int | None,
        error: BaseException | None,
    ) -> None:
        if life is not None:
            reader.unanswered.taken(message.command_id, life)
            self._answer_lost(
                reader.unanswered.lost_before(reader.incarnation), "its supervisor was restarted"
            )
        elif reader.unanswered.forget(message.command_id):
            fault = Fault(
                f"{message.verb.value.capitalize()} did not reach the run",
                "its supervisor is restarting or gone",
                "Try again in a moment",
                detail=str(error),
            )
            self._answer(message.command_id, fault, message.run_id)

    def _answer_lost(self, commands: list[CommandRun], why: str, *, is_over: bool = False) -> None:
        """Answer what nobody else will; a run that has ended is stopped, whoever asked late."""
        for command in commands:
            done = is_over and command.verb in (Verb.STOP, Verb.KEEP) and command.workers is None
            fault = Fault(
                f"{command.verb.value.capitalize()} was not done", why, "Look, and try again"
            )
            self._answer(command.command_id, None if done else fault, command.run_id)

    # --- health ------------------------------------------------------------------------------

    def _health(self) -> None:
        latency = self._watch.latency_ms if self._watch else float("nan")
        self._wire.send(
            EngineHealth(
                pid=os.getpid(),
                cpu_percent=self._process.cpu_percent(),
                rss_bytes=float(self._process.memory_info().rss),
                loop_delay_ms=self._loop_delay_s * 1000,
                supervisor_latency_ms=latency,
                num_merged=self._num_merged_before
                + sum(reader.num_merged for reader in self._readers.values()),
                num_log_lines_folded=self._output.num_folded if self._output else 0,
                log_path=self._log_path,
            )
        )
        self._loop_delay_s = 0.0
        self._later(HEALTH_S, self._health)


def _log(line: str) -> None:
    """Everything that prints goes to the engine's log file (`wire.take_stdio`)."""
    print(line, flush=True)
