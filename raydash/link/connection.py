"""The connection of a window to a cluster as a state machine. Pure: no Qt, no messages.

States::

    idle --> waiting --> connecting --> connected
     ^          |            |              |
     +----------+------------+              |     connecting is cancelled
                ^            |              |
                +------------+--------------+     its engine is gone, or another one is needed
                ^            |              |
                |            +--> on hold <-+     no cluster came up, or it was lost
                +--------------------+            the user asks for one again

An engine connects once. So a request that comes when the engine has been used waits for the next.
"""

from enum import Enum, auto

from raydash.core.spec import ClusterSpec


class ConnectionState(Enum):
    """How far the connection is."""

    IDLE = auto()
    """Nobody asked for a cluster."""
    WAITING = auto()
    """The next engine that is ready will connect."""
    CONNECTING = auto()
    """The engine was asked to connect, and has not answered."""
    CONNECTED = auto()
    """Commands reach the cluster."""
    ON_HOLD = auto()
    """There is no cluster, and no engine connects until the user says so."""


class Step(Enum):
    """What the session has to do after something has happened."""

    CONNECT = auto()
    """Ask the engine to connect to `ClusterConnection.spec`."""
    REPLACE_ENGINE = auto()
    """Start another engine, which will connect."""
    END_ENGINE = auto()
    """Tell the engine to give up, and expect its end."""
    USE_CLUSTER = auto()
    """Do what waited for the cluster."""
    REPORT = auto()
    """Tell the user that there is no cluster, and wait for what they say."""


class ClusterConnection:
    """Decides when which engine connects, and whether commands reach a cluster.

    ::

        connection = ClusterConnection()
        connection.request(ClusterSpec())  # None: there is no engine yet
        connection.on_engine_ready()  # Step.CONNECT
        connection.on_connect_answered(accepted=True)  # Step.USE_CLUSTER

    Attributes:
        state: How far the connection is.
    """

    def __init__(self) -> None:
        self.state = ConnectionState.IDLE
        self._planned = self._requested = ClusterSpec()
        self._engine_is_unused = False

    @property
    def spec(self) -> ClusterSpec:
        """The cluster that was asked for, else the planned one; the local one by default."""
        return self._planned if self.state is ConnectionState.IDLE else self._requested

    @property
    def is_connected(self) -> bool:
        """Whether commands reach the cluster."""
        return self.state is ConnectionState.CONNECTED

    @property
    def expects_status(self) -> bool:
        """Whether the engine was asked for this cluster, so that what it says of one counts."""
        return self.state in (ConnectionState.CONNECTING, ConnectionState.CONNECTED)

    # --- what the user does -------------------------------------------------------------------

    def plan(self, spec: ClusterSpec) -> None:
        """Make this the cluster to ask for later."""
        self._planned = spec

    def request(self, spec: ClusterSpec) -> Step | None:
        """Ask for a cluster, instead of the one that was asked for before."""
        was, self.state = self.state, ConnectionState.WAITING
        self._requested = spec
        if was in (ConnectionState.IDLE, ConnectionState.WAITING):
            return self._connect_if_possible()
        self._engine_is_unused = False
        return Step.REPLACE_ENGINE

    def cancel(self) -> Step | None:
        """Give up connecting; a cluster that is up or was lost stays as it is."""
        was = self.state
        if was in (ConnectionState.WAITING, ConnectionState.CONNECTING):
            self.state = ConnectionState.IDLE
        return Step.END_ENGINE if was is ConnectionState.CONNECTING else None

    # --- what happens to the engine -----------------------------------------------------------

    def on_engine_ready(self) -> Step | None:
        """A new engine takes commands."""
        self._engine_is_unused = True
        return self._connect_if_possible()

    def on_engine_gone(self) -> None:
        """The engine died, hangs or has ended; it may be reported more than once."""
        self._engine_is_unused = False
        if self.expects_status:
            self.state = ConnectionState.WAITING

    def on_connect_answered(self, *, accepted: bool) -> Step | None:
        """The engine has connected, or could not; late answers of a former engine count nothing."""
        if self.state is not ConnectionState.CONNECTING:
            return None
        self.state = ConnectionState.CONNECTED if accepted else ConnectionState.ON_HOLD
        return Step.USE_CLUSTER if accepted else Step.REPORT

    def on_cluster_lost(self) -> Step | None:
        """The engine says that the cluster is gone."""
        if not self.expects_status:
            return None
        self.state = ConnectionState.ON_HOLD
        return Step.REPORT

    def _connect_if_possible(self) -> Step | None:
        if not (self._engine_is_unused and self.state is ConnectionState.WAITING):
            return None
        self._engine_is_unused = False
        self.state = ConnectionState.CONNECTING
        return Step.CONNECT
