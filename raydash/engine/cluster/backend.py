"""What the engine needs of the system that supervisors run on: Ray, or a simulation of it.

References that a supervisor's handle returns have a method `future`, which returns a
`concurrent.futures.Future`; nothing else of them is used outside of a backend.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from raydash.cluster.launch import LaunchedCluster
from raydash.cluster.leases import Lease
from raydash.core.faults import Fault
from raydash.core.messages import ClusterStatus, RunSummary, StartRun
from raydash.core.spec import ClusterSpec
from raydash.core.states import ClusterPhase
from raydash.supervise.placement import SupervisorPlacement


@dataclass(slots=True)
class Connection:
    """A connection to the system that supervisors run on.

    Attributes:
        status: The cluster's status when the connection was made.
        launched: The launched cluster, or None when attached to another one.
        token_path: The file with the cluster's token, if it has one.
        node_id: Ray's id (hex) of the node that the engine is on.
    """

    status: ClusterStatus
    launched: LaunchedCluster | None = None
    token_path: Path | None = None
    node_id: str = ""

    @property
    def lease(self) -> Lease | None:
        """The engine's claim on a launched cluster."""
        return self.launched.lease if self.launched else None

    @property
    def leases_dir(self) -> Path | None:
        """The folder where supervisors take their leases, if the cluster was launched."""
        return self.launched.leases_dir if self.launched else None


class Connector(Protocol):
    """One attempt to connect."""

    def connect(self) -> Connection:
        """Connect, for as long as that takes.

        Raises:
            FaultError: if there is no connection; it says why.
        """

    def cancel(self) -> None:
        """Make `connect` give up at the next opportunity."""

    def status(self, phase: ClusterPhase, text: str, fault: Fault | None = None) -> ClusterStatus:
        """The status of this attempt, with the seconds since it began."""


class Watch(Protocol):
    """Watches one connection until the engine ends."""

    @property
    def latency_ms(self) -> float:
        """How long the supervisors took to answer the newest poll; NaN before the first."""

    @property
    def num_log_lines_folded(self) -> int:
        """How many lines that workers printed were left out of the engine's log."""

    def start(self) -> None:
        """Start to watch, on threads."""

    def poll_now(self) -> None:
        """Poll at once, because something has changed."""


class Backend(Protocol):
    """Connects the engine, and creates and finds supervisors. Called on any thread."""

    @property
    def is_simulated(self) -> bool:
        """Whether workers are simulated, so that neither environments nor policies are tried."""

    def connector(
        self,
        spec: ClusterSpec,
        *,
        on_status: Callable[[ClusterStatus], None],
        on_hang: Callable[[Fault], None],
    ) -> Connector:
        """Prepare an attempt to connect.

        It calls `on_status` with each new status, and `on_hang` if only the engine's end can end
        the attempt; both on the connecting thread.
        """

    def watch(
        self,
        connection: Connection,
        *,
        on_status: Callable[[ClusterStatus], None],
        on_runs: Callable[[tuple[RunSummary, ...], dict[str, Any]], None],
        on_lost: Callable[[Fault], None],
    ) -> Watch:
        """Prepare a watch.

        It calls `on_status` when the cluster's figures have changed, `on_runs` after each poll
        with the live runs and the handles of their supervisors (by run id), and `on_lost` once,
        when the cluster is gone. All of them are called on the watch's threads.
        """

    def default_num_workers(self, connection: Connection) -> int:
        """How many workers a run gets whose spec does not say."""

    def create_supervisor(
        self, message: StartRun, placement: SupervisorPlacement, connection: Connection
    ) -> Any:
        """Create the supervisor of a new run, and return its handle once it answers.

        Raises:
            FaultError: if it cannot be created; nothing is left behind.
        """

    def find_supervisor(self, run_id: str, connection: Connection) -> Any:
        """Find the supervisor of a live run, and return its handle.

        Raises:
            FaultError: if there is none.
        """

    def is_actor_dead(self, error: BaseException) -> bool:
        """Whether this is the exception of a call to an actor that will not come back."""

    def await_all(self, references: list[Any], timeout_s: float) -> None:
        """Wait until all calls have ended in some way, for at most `timeout_s`."""

    def stop_cluster(self) -> None:
        """End the cluster that raydash launched on this machine.

        Raises:
            FaultError: if it can't be ended.
        """

    def close(self) -> None:
        """End what would not end by itself with the engine."""
