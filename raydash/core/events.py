"""Events: things that happened in a run and are recorded, listed and marked on plots."""

from dataclasses import dataclass
from enum import StrEnum


class EventKind(StrEnum):
    """What kind of thing happened."""

    RUN_STARTED = "run_started"
    RUN_PAUSED = "run_paused"
    RUN_RESUMED = "run_resumed"
    RUN_STOPPING = "run_stopping"
    RUN_ENDED = "run_ended"
    WORKERS_SCALED = "workers_scaled"
    WORKER_PAUSED = "worker_paused"
    WORKER_RESUMED = "worker_resumed"
    WORKER_STOPPED = "worker_stopped"
    WORKER_DIED = "worker_died"
    WORKER_RESTARTED = "worker_restarted"
    WORKER_FAILED = "worker_failed"
    WORKER_HUNG = "worker_hung"
    ENV_ERROR = "env_error"
    SUPERVISOR_RESTARTED = "supervisor_restarted"
    RECORDING_FAILED = "recording_failed"
    RECORDING_RESUMED = "recording_resumed"
    SINK_FAILED = "sink_failed"
    POLICY_SWAPPED = "policy_swapped"
    POLICY_REFUSED = "policy_refused"
    POLICY_IMPROVED = "policy_improved"
    POLICY_NOT_SAVED = "policy_not_saved"
    LEARNER_RESTARTED = "learner_restarted"
    LEARNER_FAILED = "learner_failed"
    COST_FOUND = "cost_found"
    INFO_IGNORED = "info_ignored"

    @property
    def is_mark(self) -> bool:
        """It is drawn as a vertical line on the plots."""
        return self in _MARKS

    @property
    def is_bad(self) -> bool:
        """It should not have happened."""
        return self in _BAD


_BAD = frozenset(
    {
        EventKind.WORKER_DIED,
        EventKind.WORKER_FAILED,
        EventKind.WORKER_HUNG,
        EventKind.ENV_ERROR,
        EventKind.SUPERVISOR_RESTARTED,
        EventKind.RECORDING_FAILED,
        EventKind.SINK_FAILED,
        EventKind.LEARNER_FAILED,
        EventKind.POLICY_REFUSED,
        EventKind.POLICY_NOT_SAVED,
    },
)
_MARKS = frozenset(
    {
        EventKind.RUN_PAUSED,
        EventKind.RUN_RESUMED,
        EventKind.WORKERS_SCALED,
        EventKind.WORKER_RESTARTED,
        EventKind.WORKER_FAILED,
        EventKind.SUPERVISOR_RESTARTED,
        EventKind.POLICY_SWAPPED,
        EventKind.LEARNER_RESTARTED,
        EventKind.LEARNER_FAILED,
    },
)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened.

    Attributes:
        number: 1, 2, 3, ... within the run, without gaps.
        t_s: Seconds since the run's start.
        text: One line for people.
        worker_index: The worker concerned, or None for the whole run.
        detail: A traceback or the cause in Ray's words; may be long.
        count: How many similar events this one stands for (errors are folded per worker and
            second).
    """

    number: int
    t_s: float
    kind: EventKind
    text: str
    worker_index: int | None = None
    detail: str = ""
    count: int = 1
