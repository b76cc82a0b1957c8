"""What goes into and out of the state machine: stimuli and instructions.

A stimulus says what happened, an instruction says what to do. Every stimulus carries `t_s`, in
seconds on the run's clock, which must never go back.
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
    """A command came in; `token` is unique and identifies its answer."""

    t_s: float
    token: int
    command: CommandRun


@dataclass(frozen=True, slots=True)
class WorkerBecameReady:
    """A new worker has made and reset its environment."""

    t_s: float
    worker_index: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class ChunkArrived:
    """A worker answered one request.

    Attributes:
        num_env_steps: Steps of the whole run, this chunk included.
        num_episodes: Episodes of the whole run, this chunk included.
        played: What the chunk tells the learner; None: nothing learns.
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
    """Why a worker's process ended."""

    CRASHED = "crashed"
    OUT_OF_MEMORY = "out of memory"
    KILLED = "killed"
    COULD_NOT_START = "could not start"
    NODE_LOST = "node lost"


@dataclass(frozen=True, slots=True)
class WorkerDied:
    """A worker's process ended, or never started; its requests in flight are lost."""

    t_s: float
    worker_index: int
    incarnation: int
    cause: DeathCause
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class WorkerClosed:
    """A worker closed its environment and ended, as it was asked to."""

    t_s: float
    worker_index: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class PolicyAnswered:
    """A worker took the policy that it was offered, or says why it could not."""

    t_s: float
    worker_index: int
    incarnation: int
    weights_seq_no: int
    refusal: str = ""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ProgressSeen:
    """A worker with a request in flight made progress."""

    t_s: float
    worker_index: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class ParametersArrived:
    """The learner has the parameters of a generation ready."""

    t_s: float
    ready: ParametersReady


@dataclass(frozen=True, slots=True)
class LearnerFaulted:
    """The learner raised, or gave unusable parameters. It would do so again, so the run fails."""

    t_s: float
    fault: Fault


@dataclass(frozen=True, slots=True)
class LearnerDied:
    """The learner's process ended."""

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
    """Time passed."""

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
    """The policy that chooses the actions, numbered.

    Attributes:
        policy: None: the one in the run's spec.
        weights_seq_no: How many swaps led to it.
    """

    policy: PolicySpec | None = None
    weights_seq_no: int = 0


@dataclass(frozen=True, slots=True)
class CreateWorker:
    """Start a worker's process and prepare its environment."""

    worker_index: int
    incarnation: int
    version: PolicyVersion = PolicyVersion()


@dataclass(frozen=True, slots=True)
class SetPolicy:
    """Offer a worker another policy, to be used after the requests that it already has."""

    worker_index: int
    incarnation: int
    version: PolicyVersion


@dataclass(frozen=True, slots=True)
class RequestRollout:
    """Send a worker one request; it never has more than two.

    Attributes:
        budget_s: How long the worker may take.
        drain: Finish the episodes under way and begin no other.
        work: In a run that learns, the episodes to play; None: only finish the one under way.
    """

    worker_index: int
    incarnation: int
    budget_s: float
    drain: bool = False
    work: Work | None = None


@dataclass(frozen=True, slots=True)
class HurryWorker:
    """Tell a worker to cut its requests short because somebody waits for them; best effort.

    Attributes:
        wanted: False takes it back.
    """

    worker_index: int
    incarnation: int
    wanted: bool


@dataclass(frozen=True, slots=True)
class CloseWorker:
    """Ask a worker without requests to close its environment and end."""

    worker_index: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class KillWorker:
    """End a worker's process at once."""

    worker_index: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class CreateLearner:
    """Start the learner's process, which goes on from its checkpoint if there is one."""


@dataclass(frozen=True, slots=True)
class AskLearner:
    """Tell the learner how its last generation did, and ask for the parameters of the next.

    Attributes:
        weights_seq_no: The number of the next generation.
        results: How the last generation did.
    """

    weights_seq_no: int
    results: GenerationResults


@dataclass(frozen=True, slots=True)
class SavePolicy:
    """Save the best guess that came with a generation's parameters, next to the recording."""

    weights_seq_no: int


@dataclass(frozen=True, slots=True)
class RecordEvent:
    """Record an event, which is listed and, if its kind says so, marked on the plots."""

    kind: EventKind
    text: str
    worker_index: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class AnswerCommand:
    """Answer the command that came with `token`; this happens exactly once per command."""

    token: int
    fault: Fault | None = None


@dataclass(frozen=True, slots=True)
class EndRun:
    """Close the recording: the run is over and all its workers are gone."""

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
