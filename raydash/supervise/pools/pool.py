"""What the supervisor asks of workers, whoever they are: Ray actors, or simulated ones.

A pool performs and reports; it decides nothing. No call blocks, and a dead worker is a report, not
an exception. `collect` gives each fact once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from raydash.core.machine.stimuli import DeathCause, PolicyVersion
from raydash.core.records import PolicySet, RolloutChunk, Work, WorkerReady


@dataclass(frozen=True, slots=True)
class Closed:
    """A worker closed its environment and its process ends."""

    worker_index: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Died:
    """A worker is gone, or never came to be."""

    worker_index: int
    incarnation: int
    cause: DeathCause
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CostFound:
    """What the run's way of stepping costs, in words."""

    text: str


WorkerReport = WorkerReady | RolloutChunk | PolicySet | Closed | Died
Report = WorkerReport | CostFound


class WorkerPool(Protocol):
    """Performs the machine's instructions on workers."""

    def create(self, worker_index: int, incarnation: int, version: PolicyVersion) -> None:
        """Make a process and prepare its environment: reports `WorkerReady` or `Died`."""

    def set_policy(self, worker_index: int, incarnation: int, version: PolicyVersion) -> None:
        """Give a worker another policy after the slices that it has: reports `PolicySet`."""

    def request(self, worker_index: int, incarnation: int, budget_s: float, *, drain: bool) -> None:
        """Ask for one slice: reports a `RolloutChunk` or `Died`."""

    def play(
        self, worker_index: int, incarnation: int, budget_s: float, work: Work, parameters: Any
    ) -> None:
        """Ask for one slice of a learner's candidates: reports as `request` does.

        Args:
            worker_index: Of whom.
            incarnation: Of which life.
            budget_s: How long the slice may take.
            work: What to play.
            parameters: Of its generation, as the learner gave them (`Learners.parameters`).
        """

    def hurry(self, worker_index: int, incarnation: int, *, wanted: bool) -> None:
        """Cut the slices of a worker short, or no longer, where that is possible."""

    def close_worker(self, worker_index: int, incarnation: int) -> None:
        """Close the environment and end the process: reports `Closed` or `Died`."""

    def kill(self, worker_index: int, incarnation: int) -> None:
        """End the process at once: reports `Died` with cause `KILLED`."""

    def collect(self) -> Sequence[Report]:
        """Everything that has come in since the last call. Never waits."""

    def pending(self) -> Sequence[Any]:
        """References of Ray that it waits for; none, if it waits for something else."""

    def pending_reasons(self) -> dict[int, str]:
        """Per worker that is not placed yet: what it waits for, in words."""

    def shut_down(self) -> None:
        """End all that is left."""
