"""What the state machine knows of one worker, and the words for it."""

from dataclasses import dataclass
from enum import Enum, auto

from raydash.core.states import Activity

MAX_IN_FLIGHT = 2


@dataclass(frozen=True, slots=True)
class MachineSettings:
    """Times and limits that tests may shorten.

    Attributes:
        backoff_first_s: Wait before the first re-creation of a worker; doubles each time.
        backoff_max_s: Longest such wait.
        max_failures_in_a_row: A worker that failed so often without living well is given up.
        healthy_after_s: A worker that lived so long has its failures forgotten.
        save_grace_s: The end of a run waits so long for its best policy to be saved.
        budget_per_worker_s: The slice grows with the number of workers by this much ...
        budget_min_s: ... from this ...
        budget_max_s: ... to this.
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
        """How late a chunk may arrive for a bucket: two chunks in flight, and the way here."""
        return MAX_IN_FLIGHT * self.budget_s(num_workers) + 0.3


class Phase(Enum):
    """Where a worker is between creation and its end; `activity_of` makes words of it."""

    STARTING = auto()
    LIVE = auto()
    CLOSING = auto()
    KILLING = auto()
    BACKOFF = auto()
    STOPPED = auto()
    FAILED = auto()


GONE = frozenset({Phase.STOPPED, Phase.FAILED})


class AfterExit(Enum):
    """What becomes of a worker once its process is gone."""

    RECREATE = auto()
    RESTART = auto()
    STOP = auto()
    FAIL = auto()


@dataclass(slots=True)
class WorkerRecord:
    """What the machine knows of one worker."""

    index: int
    incarnation: int
    phase: Phase = Phase.STARTING
    fate: AfterExit = AfterExit.RECREATE
    paused: bool = False
    draining: bool = False
    leaving: bool = False
    hurried: bool = False
    in_flight: int = 0
    failures: int = 0
    since_s: float = 0.0
    ready_s: float = 0.0
    heard_s: float = 0.0
    retry_s: float = 0.0
    leaving_s: float = 0.0
    last_error: str = ""
    weights_seq_no: int = 0
    offered_seq_no: int | None = None

    @property
    def is_gone(self) -> bool:
        """No process, and none will come by itself."""
        return self.phase in GONE

    @property
    def end(self) -> Phase | None:
        """How it is gone for good, or will be once what is under way is done; None: it goes on."""
        if self.is_gone:
            return self.phase
        if self.leaving or self.phase is Phase.KILLING:
            return {AfterExit.STOP: Phase.STOPPED, AfterExit.FAIL: Phase.FAILED}.get(self.fate)
        return Phase.STOPPED if self.draining else None

    def activity(self, *, run_paused: bool) -> Activity:
        """What it is doing, as far as requests and answers tell.

        Args:
            run_paused: The whole run is asked to pause.
        """
        match self.phase:
            case Phase.STARTING:
                return Activity.RESTARTING if self.incarnation else Activity.STARTING
            case Phase.BACKOFF:
                return Activity.RESTARTING
            case Phase.STOPPED:
                return Activity.STOPPED
            case Phase.FAILED:
                return Activity.FAILED
            case Phase.CLOSING:
                return Activity.STOPPING
            case Phase.KILLING:
                comes_back = self.fate in (AfterExit.RECREATE, AfterExit.RESTART)
                return Activity.RESTARTING if comes_back else Activity.STOPPING
            case Phase.LIVE if self.leaving:
                return Activity.STOPPING
            case Phase.LIVE if self.draining:
                return Activity.DRAINING
            case Phase.LIVE if self.paused or run_paused:
                return Activity.PAUSING if self.in_flight else Activity.PAUSED
            case Phase.LIVE if not self.in_flight:
                return Activity.IDLE
        return Activity.STEPPING
