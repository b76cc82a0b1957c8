"""Connects a Ray driver: launches a cluster or attaches to one, reports phases, can be cancelled.

Runs on a thread of the engine, once: to connect to another cluster, start another engine.
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from typing_extensions import override

from raydash import paths
from raydash.cluster import launch, preflight
from raydash.cluster.ray_env import apply_driver_environment
from raydash.core.faults import Fault, FaultError
from raydash.core.messages import ClusterStatus
from raydash.core.spec import ClusterSpec
from raydash.core.states import ClusterPhase
from raydash.engine.cluster.backend import Connection, Connector

INIT_TIMEOUT_S = 30.0
NAMESPACE = "raydash"
ACTOR_PREFIX = "run:"
"""A supervisor has this before its run's id as its name in the namespace."""


@dataclass(slots=True)
class RayConnector(Connector):
    """One attempt to connect a Ray driver.

    Attributes:
        spec: The cluster to connect to.
        on_status: Called with each new `ClusterStatus`, on the connecting thread.
        on_hang: Called when `ray.init` hangs: the engine has to end
            (assets/docs/internals/ray.md, "What ends a driver").
    """

    spec: ClusterSpec
    on_status: Callable[[ClusterStatus], None]
    on_hang: Callable[[Fault], None]
    _cancelled: threading.Event = field(default_factory=threading.Event)
    _started_s: float = field(default_factory=time.monotonic)

    @override
    def cancel(self) -> None:
        self._cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    @override
    def connect(self) -> Connection:
        """Launch the cluster or attach to it, and connect the driver."""
        if self.spec.address is None:
            return self._launch()
        return self._attach(self.spec.address)

    @override
    def status(self, phase: ClusterPhase, text: str, fault: Fault | None = None) -> ClusterStatus:
        return ClusterStatus(
            phase,
            text,
            elapsed_s=time.monotonic() - self._started_s,
            launched=self.spec.address is None,
            address=self.spec.address or "",
            fault=fault,
        )

    def _report(self, phase: ClusterPhase, text: str) -> None:
        self.on_status(self.status(phase, text))

    def _launch(self) -> Connection:
        self._report(ClusterPhase.LAUNCHING, "looking for a running cluster")
        # Import Ray while its daemons start, so that nobody waits half a second for it. It reads
        # its settings when imported, so the token's path is set before the file exists.
        token_path = launch.cluster_folder(paths.state_dir()) / "token"
        apply_driver_environment(token_path=token_path, cache_dir=paths.cache_dir())
        importer = threading.Thread(target=_import_ray, daemon=True)
        importer.start()
        cluster = launch.ensure_cluster(
            state_dir=paths.state_dir(),
            cache_dir=paths.cache_dir(),
            on_phase=lambda text: self._report(ClusterPhase.LAUNCHING, text),
            cancelled=self._cancelled.is_set,
        )
        importer.join()
        try:
            return self._init(cluster.address, cluster, cluster.token_path, cluster.ray_version)
        except FaultError:
            cluster.lease.release()  # a cluster that nobody uses ends at once
            raise

    def _attach(self, text: str) -> Connection:
        self._report(ClusterPhase.CHECKING, f"checking {text}")
        address = preflight.parse_address(text)
        token_path = Path(self.spec.token_path).expanduser() if self.spec.token_path else None
        metadata = preflight.probe(address, token_path, cancelled=self._cancelled.is_set)
        apply_driver_environment(token_path=token_path, cache_dir=paths.cache_dir())
        connection = self._init(address, None, token_path, metadata.ray_version)
        self._report(ClusterPhase.ATTACHING, "asking the nodes for raydash and gymnasium")
        import ray

        faults = preflight.check_nodes(ray)
        if faults:
            others = "\n".join(fault.sentence() for fault in faults[1:])
            raise FaultError(replace(faults[0], detail=faults[0].detail or others))
        return connection

    def _init(
        self,
        address: str,
        cluster: launch.LaunchedCluster | None,
        token_path: Path | None,
        ray_version: str,
    ) -> Connection:
        self._report(ClusterPhase.CONNECTING, f"connecting to {address}")
        watchdog = threading.Timer(INIT_TIMEOUT_S, self._init_hangs, args=(address,))
        watchdog.daemon = True
        watchdog.start()
        try:
            import ray

            ray.init(
                address=address,
                namespace=NAMESPACE,
                log_to_driver=False,
                logging_level="error",
                configure_logging=True,
            )
        except Exception as error:
            raise FaultError(
                Fault(
                    f"Ray refused the connection to {address}",
                    str(error).strip().splitlines()[0] if str(error).strip() else repr(error),
                    "Run raydash doctor, or look at the engine's log",
                    detail=str(error),
                )
            ) from error
        finally:
            watchdog.cancel()
        if self.is_cancelled:
            raise FaultError(Fault("Connecting was cancelled"))
        status = replace(
            self.status(ClusterPhase.UP, ""),
            address=address,
            ray_version=ray_version,
            token_auth=os.environ.get("RAY_AUTH_MODE") == "token",
        )
        node_id = ray.get_runtime_context().get_node_id()
        return Connection(status, cluster, token_path, node_id)

    def _init_hangs(self, address: str) -> None:
        self.on_hang(
            Fault(
                f"Ray at {address} does not finish the connection",
                f"ray.init has hung for {INIT_TIMEOUT_S:g} s, as it does when the node is frozen",
                "Try again; if it stays so, restart that Ray",
            )
        )


def _import_ray() -> None:
    import ray  # noqa: F401
