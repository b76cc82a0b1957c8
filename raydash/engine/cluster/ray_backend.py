"""Ray as the engine's backend: supervisors are detached named actors in the namespace `raydash`."""

import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from typing_extensions import override

from raydash import paths
from raydash.cluster import launch, private_ray
from raydash.core.faults import Fault, FaultError
from raydash.core.messages import ClusterStatus, RunSummary, StartRun
from raydash.core.spec import ClusterSpec
from raydash.engine.cluster.backend import Backend, Connection, Connector, Watch
from raydash.engine.cluster.connection import ACTOR_PREFIX, NAMESPACE, RayConnector
from raydash.engine.cluster.watch import ClusterWatch
from raydash.engine.cluster.worker_output import WorkerOutput
from raydash.protocol.codec import decode, encode
from raydash.supervise.placement import SupervisorPlacement

HELLO_TIMEOUT_S = 60.0
FIND_TIMEOUT_S = 3.0


class RayBackend(Backend):
    """Connects to Ray. Each method imports it late, to answer the window before that is done."""

    is_simulated = False

    @override
    def connector(
        self,
        spec: ClusterSpec,
        *,
        on_status: Callable[[ClusterStatus], None],
        on_hang: Callable[[Fault], None],
    ) -> Connector:
        return RayConnector(spec, on_status, on_hang)

    @override
    def watch(
        self,
        connection: Connection,
        *,
        on_status: Callable[[ClusterStatus], None],
        on_runs: Callable[[tuple[RunSummary, ...], dict[str, Any]], None],
        on_lost: Callable[[Fault], None],
    ) -> Watch:
        output = WorkerOutput(Path(private_ray.logs_dir()), _log)
        return ClusterWatch(
            connection, output, on_status=on_status, on_runs=on_runs, on_lost=on_lost
        )

    @override
    def default_num_workers(self, connection: Connection) -> int:
        if connection.launched is not None:
            return len(os.sched_getaffinity(0))
        import ray

        return max(1, int(ray.cluster_resources().get("CPU", 1)))

    @override
    def create_supervisor(
        self, message: StartRun, placement: SupervisorPlacement, connection: Connection
    ) -> Any:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        handle: Any = None
        try:
            handle = (
                _supervisor_class()
                .options(
                    name=ACTOR_PREFIX + placement.run_id,
                    namespace=NAMESPACE,
                    lifetime="detached",
                    scheduling_strategy=NodeAffinitySchedulingStrategy(
                        connection.node_id, soft=False
                    ),
                )
                .remote(encode(message), placement)
            )
            decode(ray.get(handle.hello.remote(), timeout=HELLO_TIMEOUT_S))
        except Exception as error:
            if handle is not None:
                ray.kill(handle, no_restart=True)
            raise FaultError(
                Fault(
                    "The run's supervisor could not be started",
                    _last_line(error),
                    "Look at the engine's log; run raydash doctor",
                    detail=str(error),
                )
            ) from error
        return handle

    @override
    def find_supervisor(self, run_id: str, connection: Connection) -> Any:
        """Find the supervisor of a live run, for which this waits some seconds."""
        import ray

        deadline_s = time.monotonic() + FIND_TIMEOUT_S
        while True:
            try:
                return ray.get_actor(ACTOR_PREFIX + run_id, namespace=NAMESPACE)
            except ValueError as error:
                if time.monotonic() > deadline_s:
                    raise FaultError(
                        Fault(f"Run {run_id} is not live", "no supervisor has that name")
                    ) from error
                time.sleep(0.2)

    @override
    def is_actor_dead(self, error: BaseException) -> bool:
        import ray

        return isinstance(error, ray.exceptions.ActorDiedError)

    @override
    def await_all(self, references: list[Any], timeout_s: float) -> None:
        import ray

        if references:
            ray.wait(references, num_returns=len(references), timeout=timeout_s)

    @override
    def stop_cluster(self) -> None:
        launch.stop_cluster(paths.state_dir())

    @override
    def close(self) -> None:
        """Do nothing: runs, cluster and threads live on or end without the engine."""


@functools.cache
def _supervisor_class() -> Any:
    """Import the supervisor's Ray actor class, late because that imports ray."""
    from raydash.supervise.actor import remote_supervisor

    return remote_supervisor()


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__


def _log(line: str) -> None:
    """Print a line, which goes to the engine's log file (`wire.claim_stdio`)."""
    print(line, flush=True)
