"""Into and out of the state machine: stimuli say what happened, instructions what to do.

Every stimulus carries `t_s`, seconds on the run's clock; they must not go back.
"""

from dataclasses import dataclass
from enum import StrEnum

from raydash.core.events import EventKind
from raydash.core.faults import Fault
from raydash.core.messages import CommandRun
from raydash.core.records import (
    GenerationResults,
    ParametersReady,
    PlayedWork,
    PolicyWritten,
    Work,
)
from raydash.core.spec import PolicySpec
from raydash.core.states import EndedBy, RunState

# --- stimuli ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """Somebody asked for something; `token` is unique and names the answer."""

    t_s: float
    token: int
    command: CommandRun


@dataclass(frozen=True, slots=True)
class WorkerBecameReady:
    """A new worker has its environment reset."""

    t_s: float
    worker_index: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class ChunkArrived:
    """One request was answered. Totals are the run's, this chunk included.

    `played` is what it says to a learner; None where nothing learns.
    """

    t_s: float
    worker_index: int
    incarnation: int
    duration_s: float
    first_step_offset_s: float
    num_env_steps: int
    num_episodes: int
    failures_in_a_row: int = 0
    error: str = ""
    drained: bool = False
    played: PlayedWork | None = None


class DeathCause(StrEnum):
    """Why a worker process is gone."""

    CRASHED = "crashed"
    OUT_OF_MEMORY = "out of memory"
    KILLED = "killed"
    COULD_NOT_START = "could not start"
    NODE_LOST = "node lost"


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A worker is gone, or never came to be; requests in flight are lost with it."""

    t_s: float
    worker_index: int
    incarnation: int
    cause: DeathCause
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class WorkerClosed:
    """A worker closed its environment and left, as asked."""

    t_s: float
    worker_index: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class PolicyAnswered:
    """A worker took the policy that it was given, or says why it could not."""

    t_s: float
    worker_index: int
    incarnation: int
    weights_seq_no: int
    refusal: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ProgressSeen:
    """A worker whose request is out was seen to move."""

    t_s: float
    worker_index: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class ParametersArrived:
    """The learner's parameters for a generation can go out."""

    t_s: float
    ready: ParametersReady


@dataclass(frozen=True, slots=True)
class LearnerFaulted:
    """The learner raised, or gave what are no parameters: it would do so again."""

    t_s: float
    fault: Fault


@dataclass(frozen=True, slots=True)
class LearnerDied:
    """The learner's process is gone."""

    t_s: float
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PolicySaved:
    """The best policy is on disk, or could not be written."""

    t_s: float
    written: PolicyWritten


@dataclass(frozen=True, slots=True)
class ReadersCounted:
    """How many engines read this run now."""

    t_s: float
    count: int


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time went by."""

    t_s: float


Stimulus = (
    CommandReceived
    | WorkerBecameReady
    | ChunkArrived
    | WorkerDied
    | WorkerClosed
    | PolicyAnswered
    | ProgressSeen
    | ParametersArrived
    | LearnerFaulted
    | LearnerDied
    | PolicySaved
    | ReadersCounted
    | Ticked
)

# --- instructions -----------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class PolicyVersion:
    """What chooses the actions.

    Attributes:
        policy: None: as the spec of the run says.
        weights_seq_no: How often it had been changed before.
    """

    policy: PolicySpec | None = None
    weights_seq_no: int = 0


@dataclass(frozen=True, slots=True)
class CreateWorker:
    """Make the process of a worker and prepare its environment."""

    worker_index: int
    incarnation: int
    version: PolicyVersion = PolicyVersion()


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """Give a worker another policy, to be used after the requests that it has."""

    worker_index: int
    incarnation: int
    version: PolicyVersion


@dataclass(frozen=True, slots=True)
class RequestRollout:
    """Send one request; at most two are out per worker.

    Where something learns it names the episodes to be played (None: only what is under way).
    """

    worker_index: int
    incarnation: int
    budget_s: float
    drain: bool = False
    work: Work | None = None


@dataclass(frozen=True, slots=True)
class HurryWorker:
    """Somebody waits for a worker's requests: cut them short (or no longer). May have no effect."""

    worker_index: int
    incarnation: int
    wanted: bool


@dataclass(frozen=True, slots=True)
class CloseWorker:
    """Ask a worker without requests to close its environment and leave."""

    worker_index: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class KillWorker:
    """End a worker's process at once."""

    worker_index: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class CreateLearner:
    """Make the learner's process; it goes on from its checkpoint if there is one."""


@dataclass(frozen=True, slots=True)
class AskLearner:
    """Tell the learner how its last generation did, and ask for the parameters of the next.

    Attributes:
        weights_seq_no: Of the next generation.
        results: Of the last one.
    """

    weights_seq_no: int
    results: GenerationResults


@dataclass(frozen=True, slots=True)
class SavePolicy:
    """Write the best guess that came with a generation's parameters beside the recording."""

    weights_seq_no: int


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """Something to record, list and mark."""

    kind: EventKind
    text: str
    worker_index: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AnswerCommand:
    """The one answer to the command behind `token`."""

    token: int
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class EndRun:
    """All workers are gone: close the recording."""

    state: RunState
    ended_by: EndedBy
    cause: str = ""


Instruction = (
    CreateWorker
    | SetPolicy
    | RequestRollout
    | HurryWorker
    | CloseWorker
    | KillWorker
    | CreateLearner
    | AskLearner
    | SavePolicy
    | RecordEvent
    | AnswerCommand
    | EndRun
)
