"""What goes into and out of the state machine: stimuli and instructions.

A stimulus says what happened, an instruction says what to do. What a pool or a learner reports is
a stimulus as it is; the supervisor says when, in seconds on the run's clock.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

import numpy as np

from raydash.core.events import EventKind
from raydash.core.faults import Fault
from raydash.core.messages import CommandRun
from raydash.core.records import (
    Float64,
    GenerationResults,
    Int32,
    Int64,
    ParametersReady,
    PlayedWork,
    PolicySet,
    PolicyWritten,
    UInt8,
    Work,
    WorkerReady,
)
from raydash.core.spec import PolicySpec
from raydash.core.states import EndedBy, RunState

# --- stimuli ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class CommandReceived:
    """A reader asked for something; the answer comes back with this stimulus.

    Attributes:
        reader_id: Who asked, unique per engine; empty if nobody waits for the answer.
        command: What was asked. Its id is unique among the commands of one reader.
    """

    reader_id: str
    command: CommandRun


class ChunkArrived(NamedTuple):
    """What the machine needs to know of one chunk: a row of a `ChunkBatch`.

    Attributes:
        num_env_steps: Steps of the whole run, this chunk included.
        num_episodes: Episodes of the whole run, this chunk included.
        error: The last exception of its episodes, in words; empty if there was none.
        played: What the chunk tells the learner; None: nothing learns.
    """

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


@dataclass(frozen=True, slots=True)
class ChunkBatch:
    """Chunks that were collected together, in columns; the attributes are those of `ChunkArrived`.

    All columns have one entry per chunk, in the order in which the chunks arrived.
    """

    worker_index: Int32
    incarnation: Int32
    duration_s: Float64
    first_step_offset_s: Float64
    num_env_steps: Int64
    num_episodes: Int64
    failures_in_a_row: Int32
    error: tuple[str, ...]
    drained: UInt8
    played: tuple[PlayedWork | None, ...]

    def __len__(self) -> int:
        return len(self.worker_index)

    @staticmethod
    def of(chunks: Sequence[ChunkArrived]) -> "ChunkBatch":
        """Put chunks into columns."""
        return ChunkBatch(
            worker_index=np.array([chunk.worker_index for chunk in chunks], np.int32),
            incarnation=np.array([chunk.incarnation for chunk in chunks], np.int32),
            duration_s=np.array([chunk.duration_s for chunk in chunks], np.float64),
            first_step_offset_s=np.array(
                [chunk.first_step_offset_s for chunk in chunks], np.float64
            ),
            num_env_steps=np.array([chunk.num_env_steps for chunk in chunks], np.int64),
            num_episodes=np.array([chunk.num_episodes for chunk in chunks], np.int64),
            failures_in_a_row=np.array([chunk.failures_in_a_row for chunk in chunks], np.int32),
            error=tuple(chunk.error for chunk in chunks),
            drained=np.array([chunk.drained for chunk in chunks], np.uint8),
            played=tuple(chunk.played for chunk in chunks),
        )

    def rows(self) -> Iterator[ChunkArrived]:
        """Return the chunks one after the other."""
        columns = zip(
            self.worker_index.tolist(),
            self.incarnation.tolist(),
            self.duration_s.tolist(),
            self.first_step_offset_s.tolist(),
            self.num_env_steps.tolist(),
            self.num_episodes.tolist(),
            self.failures_in_a_row.tolist(),
            self.error,
            map(bool, self.drained.tolist()),
            self.played,
            strict=True,
        )
        return map(ChunkArrived._make, columns)


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

    worker_index: int
    incarnation: int
    cause: DeathCause
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class WorkerClosed:
    """A worker closed its environment and is ending, as it was asked to."""

    worker_index: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class ProgressSeen:
    """A worker with a request in flight made progress."""

    worker_index: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class CostFound:
    """The run's mode costs something that users should know, in words."""

    text: str


@dataclass(frozen=True, slots=True)
class LearnerFaulted:
    """The learner raised, or gave unusable parameters. It would do so again, so the run fails."""

    fault: Fault


@dataclass(frozen=True, slots=True)
class LearnerDied:
    """The learner's process ended."""

    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ReadersCounted:
    """How many engines read this run now."""

    count: int


@dataclass(frozen=True, slots=True)
class Ticked:
    """Nothing happened but time."""


WorkerNews = WorkerReady | PolicySet | WorkerClosed | WorkerDied | ProgressSeen
LearnerNews = ParametersReady | LearnerFaulted | LearnerDied | PolicyWritten
Stimulus = (
    CommandReceived | ChunkBatch | WorkerNews | CostFound | LearnerNews | ReadersCounted | Ticked
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
    """Answer a command; this happens exactly once per command. Without a fault it was done."""

    received: CommandReceived
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
