"""What the supervisor asks of workers, no matter whether they are Ray actors or simulated.

A pool performs and reports; it decides nothing. No call blocks, and a dead worker is a report, not
an exception. `collect` gives each report once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from raydash.core.machine.stimuli import DeathCause, PolicyVersion
from raydash.core.records import PolicySet, RolloutChunk, Work, WorkerReady


@dataclass(frozen=True, slots=True)
class Closed:
    """A worker has closed its environment, and its process is ending."""

    worker_index: int
    incarnation: int


@dataclass(frozen=True, slots=True)
class Died:
    """A worker is gone, or could not be created."""

    worker_index: int
    incarnation: int
    cause: DeathCause
    text: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class CostFound:
    """The run's mode costs something that users should know, in words."""

    text: str


WorkerReport = WorkerReady | RolloutChunk | PolicySet | Closed | Died
Report = WorkerReport | CostFound


class WorkerPool(Protocol):
    """Performs the machine's instructions on workers."""

    def create(self, worker_index: int, incarnation: int, version: PolicyVersion) -> None:
        """Create a worker and prepare its environment: reports `WorkerReady` or `Died`."""

    def set_policy(self, worker_index: int, incarnation: int, version: PolicyVersion) -> None:
        """Give a worker another policy after the requests that it has: reports `PolicySet`."""

    def request(self, worker_index: int, incarnation: int, budget_s: float, *, drain: bool) -> None:
        """Ask for one chunk: reports a `RolloutChunk` or `Died`."""

    def play(
        self, worker_index: int, incarnation: int, budget_s: float, work: Work, parameters: Any
    ) -> None:
        """Ask for one chunk of a learner's candidates: reports as `request` does.

        The chunk may take `budget_s`. `parameters` are those of the work's generation, as
        `LearnerClient.parameters` returns them.
        """

    def hurry(self, worker_index: int, incarnation: int, *, wanted: bool) -> None:
        """Cut a worker's chunks short where that is possible, or stop doing so."""

    def close_worker(self, worker_index: int, incarnation: int) -> None:
        """Close the environment and end the process: reports `Closed` or `Died`."""

    def kill(self, worker_index: int, incarnation: int) -> None:
        """End the process at once: reports `Died` with cause `KILLED`."""

    def collect(self) -> Sequence[Report]:
        """Return everything that has come in since the last call. Never waits."""

    def pending_refs(self) -> Sequence[Any]:
        """Return the Ray references that are waited for; empty if the pool uses none."""

    def pending_reasons(self) -> dict[int, str]:
        """Return what workers that are not placed yet wait for, in words, by worker index."""

    def shut_down(self) -> None:
        """End all workers that are left."""
