"""What the state machine knows about one worker."""

from dataclasses import dataclass
from enum import Enum, auto

from raydash.core.states import Activity

MAX_IN_FLIGHT = 2


@dataclass(frozen=True, slots=True)
class MachineSettings:
    """Times and limits that tests may shorten.

    Attributes:
        backoff_first_s: How long to wait before a dead worker is created again; doubles each time.
        backoff_max_s: The longest such wait.
        max_failures_in_a_row: After this many failures in a row a worker is not tried again.
        healthy_after_s: A worker that has run for this long starts again with no failures.
        save_grace_s: How long the end of a run waits for its best policy to be saved.
        budget_per_worker_s: A request's time budget grows by this much per worker ...
        budget_min_s: ... but is never below this ...
        budget_max_s: ... nor above this.
    """

    backoff_first_s: float = 0.2
    backoff_max_s: float = 30.0
    max_failures_in_a_row: int = 5
    healthy_after_s: float = 10.0
    save_grace_s: float = 10.0
    budget_per_worker_s: float = 0.006
    budget_min_s: float = 0.4
    budget_max_s: float = 1.0

    def budget_s(self, num_workers: int) -> float:
        """How long one request may take."""
        wanted_s = num_workers * self.budget_per_worker_s
        return min(max(wanted_s, self.budget_min_s), self.budget_max_s)

    def settle_s(self, num_workers: int) -> float:
        """How late a chunk may arrive for its bucket: two requests in flight, plus the transfer."""
        return MAX_IN_FLIGHT * self.budget_s(num_workers) + 0.3


class WorkerPhase(Enum):
    """Where a worker is between its creation and its end; `WorkerRecord.activity` names it."""

    STARTING = auto()
    LIVE = auto()
    CLOSING = auto()
    KILLING = auto()
    BACKOFF = auto()
    STOPPED = auto()
    FAILED = auto()


GONE = frozenset({WorkerPhase.STOPPED, WorkerPhase.FAILED})


class AfterExit(Enum):
    """What to do with a worker once its process has ended."""

    RETRY = auto()
    """Nobody asked for its end: create it again after a back-off, or let it fail."""
    RESTART = auto()
    """It was asked to restart: create it again at once."""
    STOP = auto()
    FAIL = auto()


@dataclass(slots=True)
class WorkerRecord:
    """What the machine knows about one worker. All times are on the run's clock.

    Attributes:
        fate: What to do once its process has ended.
        paused: It was asked to pause on its own, whatever the run does.
        stopping: It was asked to stop: it gets no more requests and is closed.
        hurried: It was told to cut its requests short.
        in_flight: Requests sent to it that have not been answered.
        failures: Failures in a row.
        since_s: When its phase last changed.
        ready_s: When its environment was last ready.
        heard_s: When it last gave a sign of life, or was sent a request while it had none.
        retry_s: When its back-off ends.
        stopping_since_s: When it was asked to stop.
        weights_seq_no: Version of the policy it plays with.
        offered_seq_no: Version of the policy it was offered; None: it owes no answer.
    """

    index: int
    incarnation: int
    phase: WorkerPhase = WorkerPhase.STARTING
    after_exit: AfterExit = AfterExit.RETRY
    paused: bool = False
    draining: bool = False
    stopping: bool = False
    hurried: bool = False
    in_flight: int = 0
    failures: int = 0
    since_s: float = 0.0
    ready_s: float = 0.0
    heard_s: float = 0.0
    retry_s: float = 0.0
    stopping_since_s: float = 0.0
    last_error: str = ""
    weights_seq_no: int = 0
    offered_seq_no: int | None = None

    @property
    def is_gone(self) -> bool:
        """It has no process and will not get one without a command."""
        return self.phase in GONE

    @property
    def final_phase(self) -> WorkerPhase | None:
        """The phase that it is in for good, or will end in as things stand; None: it goes on."""
        if self.is_gone:
            return self.phase
        if self.stopping or self.phase is WorkerPhase.KILLING:
            final = {AfterExit.STOP: WorkerPhase.STOPPED, AfterExit.FAIL: WorkerPhase.FAILED}
            return final.get(self.after_exit)
        return WorkerPhase.STOPPED if self.draining else None

    def activity(self, *, run_paused: bool) -> Activity:
        """Say what it is doing, as far as its requests and replies tell."""
        match self.phase:
            case WorkerPhase.STARTING:
                return Activity.RESTARTING if self.incarnation else Activity.STARTING
            case WorkerPhase.BACKOFF:
                return Activity.RESTARTING
            case WorkerPhase.STOPPED:
                return Activity.STOPPED
            case WorkerPhase.FAILED:
                return Activity.FAILED
            case WorkerPhase.CLOSING:
                return Activity.STOPPING
            case WorkerPhase.KILLING:
                comes_back = self.after_exit in (AfterExit.RETRY, AfterExit.RESTART)
                return Activity.RESTARTING if comes_back else Activity.STOPPING
            case WorkerPhase.LIVE if self.stopping:
                return Activity.STOPPING
            case WorkerPhase.LIVE if self.draining:
                return Activity.DRAINING
            case WorkerPhase.LIVE if self.paused or run_paused:
                return Activity.PAUSING if self.in_flight else Activity.PAUSED
            case WorkerPhase.LIVE if not self.in_flight:
                return Activity.IDLE
        return Activity.STEPPING
