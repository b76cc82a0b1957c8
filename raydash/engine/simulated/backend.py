"""The engine's backend without Ray: supervisors with simulated workers, on threads of the engine.

Runs end with the engine, because there is nothing else for them to live in.
"""

import os
import threading
import time
from collections.abc import Callable
from concurrent import futures
from dataclasses import replace
from typing import Any

from typing_extensions import override

from raydash.core.faults import Fault, FaultError
from raydash.core.messages import ClusterStatus, RunSummary, StartRun
from raydash.core.spec import SIMULATED, ClusterSpec, named_simulated
from raydash.core.states import ClusterPhase
from raydash.engine.cluster.backend import Backend, Connection, Connector, Watch
from raydash.engine.simulated.local_actor import LocalActor, LocalActorDiedError
from raydash.supervise.methods import READER_METHODS
from raydash.supervise.placement import SupervisorPlacement
from raydash.supervise.simulated_run import SimulatedRun

POLL_INTERVAL_S = 2.0
END_TIMEOUT_S = 5.0
_NO_RAY = "it was started with --simulated"


class SimulatedBackend(Backend):
    """Keeps the simulated runs of one engine."""

    is_simulated = True

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._runs: dict[str, tuple[SimulatedRun, LocalActor]] = {}
        self._watch: _SimulatedWatch | None = None

    @override
    def connector(
        self,
        spec: ClusterSpec,
        *,
        on_status: Callable[[ClusterStatus], None],
        on_hang: Callable[[Fault], None],
    ) -> Connector:
        return _NoConnector(spec)

    @override
    def watch(
        self,
        connection: Connection,
        *,
        on_status: Callable[[ClusterStatus], None],
        on_runs: Callable[[tuple[RunSummary, ...], dict[str, Any]], None],
        on_lost: Callable[[Fault], None],
    ) -> Watch:
        self._watch = _SimulatedWatch(lambda: on_runs(*self._live_runs()))
        return self._watch

    @override
    def default_num_workers(self, connection: Connection) -> int:
        return len(os.sched_getaffinity(0))

    @override
    def create_supervisor(
        self, message: StartRun, placement: SupervisorPlacement, connection: Connection
    ) -> Any:
        named = replace(message, spec=named_simulated(message.spec))
        run_id = placement.run_id
        run = SimulatedRun(named, placement, on_end=lambda: self._on_end(run_id))
        actor = LocalActor(run, f"run-{run_id}", waiting=READER_METHODS)
        with self._lock:
            self._runs[run_id] = run, actor
        run.start()
        return actor

    @override
    def find_supervisor(self, run_id: str, connection: Connection) -> Any:
        with self._lock:
            if run_id in self._runs:
                return self._runs[run_id][1]
        raise FaultError(Fault(f"Run {run_id} is not live", "no simulated run has that name"))

    @override
    def is_actor_dead(self, error: BaseException) -> bool:
        return isinstance(error, LocalActorDiedError)

    @override
    def await_all(self, references: list[Any], timeout_s: float) -> None:
        futures.wait([reference.future() for reference in references], timeout_s)

    @override
    def stop_cluster(self) -> None:
        raise FaultError(Fault("This engine has no cluster to stop", _NO_RAY))

    @override
    def close(self) -> None:
        """Stop all runs, and wait until their recordings are closed."""
        if self._watch is not None:
            self._watch.close()
        with self._lock:
            runs = [run for run, _ in self._runs.values()]
        for run in runs:
            run.stop_orphaned()
        for run in runs:
            run.join(END_TIMEOUT_S)

    def _live_runs(self) -> tuple[tuple[RunSummary, ...], dict[str, Any]]:
        with self._lock:
            live = dict(sorted(self._runs.items()))
        summaries = tuple(run.summary() for run, _ in live.values())
        return summaries, {run_id: actor for run_id, (_, actor) in live.items()}

    def _on_end(self, run_id: str) -> None:
        with self._lock:
            _, actor = self._runs.pop(run_id)
        actor.close()


class _NoConnector(Connector):
    """Connects to nothing, at once."""

    def __init__(self, spec: ClusterSpec) -> None:
        self._spec = spec
        self._started_s = time.monotonic()

    @override
    def connect(self) -> Connection:
        if self._spec.address is not None:
            raise FaultError(
                Fault(
                    f"This engine can't connect to {self._spec.address}",
                    _NO_RAY,
                    "Start another one without that option",
                )
            )
        return Connection(replace(self.status(ClusterPhase.UP, ""), num_nodes=1))

    @override
    def cancel(self) -> None:
        pass

    @override
    def status(self, phase: ClusterPhase, text: str, fault: Fault | None = None) -> ClusterStatus:
        elapsed_s = time.monotonic() - self._started_s
        return ClusterStatus(
            phase, text, elapsed_s=elapsed_s, launched=False, address=SIMULATED, fault=fault
        )


class _SimulatedWatch(Watch):
    """Lists the runs every few seconds, and when something has changed."""

    latency_ms = float("nan")
    num_log_lines_folded = 0

    def __init__(self, poll: Callable[[], None]) -> None:
        self._poll = poll
        self._wake = threading.Event()
        self._is_closed = False
        self._thread = threading.Thread(target=self._poll_until_closed, name="watch", daemon=True)

    @override
    def start(self) -> None:
        self._thread.start()

    @override
    def poll_now(self) -> None:
        self._wake.set()

    def close(self) -> None:
        """End the thread."""
        self._is_closed = True
        self._wake.set()
        self._thread.join(END_TIMEOUT_S)

    def _poll_until_closed(self) -> None:
        while not self._is_closed:
            started_s = time.monotonic()
            self._poll()
            self.latency_ms = (time.monotonic() - started_s) * 1000
            self._wake.wait(POLL_INTERVAL_S)
            self._wake.clear()
