"""The states of a run and of its workers, and of the engine and cluster that a window uses.

Run::

    starting --> running <--> paused
        |           |            |
        +-----------+------------+--> stopping --> finished   a stop condition was met
                                                   stopped    somebody stopped it
                                                   failed     no worker could go on
                                                   interrupted  the cluster died under it

Worker::

    starting --> resetting <--> stepping --> pausing --> paused --> stepping ...
        |              |                        |           |
        +--------------+------------------------+-----------+--> draining --> stopping --> stopped
        |                                                   |
        +--> restarting (back-off, new incarnation) --> starting ...
        +--> failed (five failures in a row)

An `idle` worker has nothing to do for the moment: in a run that learns, it waits for the learner,
or for other workers to finish their part of a generation. `stalled` (a silent worker) and
`unreachable` (a node that does not answer) are derived for display.

Engine, as the window that started it sees it::

    starting --> ready --> reconnecting --> ready ...     it died, another was started
                   |            |
                   +--> hung ---+                         it was silent for too long: killed
                                +--> failed               it keeps dying, or speaks another protocol
    any --> stopped                                       the window ended it
"""

from enum import IntEnum, StrEnum


class RunState(StrEnum):
    """Where a run is between its start and its end."""

    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    FINISHED = "finished"
    STOPPED = "stopped"
    FAILED = "failed"
    INTERRUPTED = "interrupted"

    @property
    def is_over(self) -> bool:
        """No worker will step again."""
        return self in _OVER


_OVER = frozenset(
    {RunState.FINISHED, RunState.STOPPED, RunState.FAILED, RunState.INTERRUPTED},
)


class EndedBy(StrEnum):
    """Why a run ended."""

    SECONDS = "seconds"
    ENV_STEPS = "env_steps"
    EPISODES = "episodes"
    TARGET = "target"
    USER = "user"
    SIGNAL = "signal"
    ORPHANED = "orphaned"
    DRAINED = "drained"
    WORKERS_FAILED = "workers_failed"
    LEARNER_FAILED = "learner_failed"
    CLUSTER_LOST = "cluster_lost"


class Activity(IntEnum):
    """What a worker is doing. The numbers travel in update columns; only append."""

    STARTING = 0
    RESETTING = 1
    STEPPING = 2
    PAUSING = 3
    PAUSED = 4
    DRAINING = 5
    STOPPING = 6
    STOPPED = 7
    RESTARTING = 8
    FAILED = 9
    STALLED = 10
    UNREACHABLE = 11
    IDLE = 12

    @property
    def word(self) -> str:
        """The word that people read."""
        return self.name.lower()

    @property
    def is_alive(self) -> bool:
        """It has a process or is about to get one."""
        return self not in (Activity.STOPPED, Activity.FAILED)


class Ending(IntEnum):
    """How an episode ended, in four exclusive kinds. The numbers are recorded; only append."""

    TERMINATED = 0
    TRUNCATED = 1
    BOTH = 2
    ERROR = 3


class EngineState(StrEnum):
    """How a window's engine is doing."""

    STARTING = "starting"
    READY = "ready"
    RECONNECTING = "reconnecting"
    HUNG = "hung"
    FAILED = "failed"
    STOPPED = "stopped"

    @property
    def is_recovering(self) -> bool:
        """It was lost, and another one is on its way."""
        return self in (EngineState.RECONNECTING, EngineState.HUNG)


class ClusterPhase(StrEnum):
    """What the window may say about the cluster.

    ``absent -> checking -> launching | attaching -> connecting -> up -> lost``; ``failed`` when it
    never came up.
    """

    ABSENT = "absent"
    CHECKING = "checking"
    LAUNCHING = "launching"
    ATTACHING = "attaching"
    CONNECTING = "connecting"
    UP = "up"
    FAILED = "failed"
    LOST = "lost"

    @property
    def is_busy(self) -> bool:
        """A connect is under way, which can be cancelled."""
        return self in (
            ClusterPhase.CHECKING,
            ClusterPhase.LAUNCHING,
            ClusterPhase.ATTACHING,
            ClusterPhase.CONNECTING,
        )
