"""What the supervisor asks of workers, no matter whether they are Ray actors or simulated.

A pool performs and reports; it decides nothing. No call blocks, and a dead worker is a report, not
an exception. `collect` gives each report once.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from raydash.core.machine.stimuli import CostFound, PolicyVersion, WorkerClosed, WorkerDied
from raydash.core.records import PolicySet, RolloutChunk, Work, WorkerReady

WorkerReport = WorkerReady | RolloutChunk | PolicySet | WorkerClosed | WorkerDied
"""But for the chunks, which are counted first, each is a stimulus of the machine as it is."""
Report = WorkerReport | CostFound


class WorkerPool(Protocol):
    """Performs the machine's instructions on workers."""

    def create(self, worker_index: int, incarnation: int, version: PolicyVersion) -> None:
        """Create a worker and prepare its environment: reports `WorkerReady` or `WorkerDied`."""

    def set_policy(self, worker_index: int, incarnation: int, version: PolicyVersion) -> None:
        """Give a worker another policy after the requests that it has: reports `PolicySet`."""

    def request(
        self,
        worker_index: int,
        incarnation: int,
        budget_s: float,
        *,
        drain: bool,
        work: Work | None = None,
        parameters: Any = None,
    ) -> None:
        """Ask for one chunk, which may take `budget_s`: reports a `RolloutChunk` or `WorkerDied`.

        In a run that learns, `work` names the candidates to play, and `parameters` are those of
        its generation, as `LearnerClient.parameters` returns them. Such runs have the mode actors.
        """

    def hurry(self, worker_index: int, incarnation: int, *, wanted: bool) -> None:
        """Cut a worker's chunks short where that is possible, or stop doing so."""

    def close_worker(self, worker_index: int, incarnation: int) -> None:
        """Close the environment and end the process: reports `WorkerClosed` or `WorkerDied`."""

    def kill(self, worker_index: int, incarnation: int) -> None:
        """End the process at once: reports `WorkerDied` with cause `KILLED`."""

    def collect(self) -> Sequence[Report]:
        """Return everything that has come in since the last call. Never waits."""

    def pending_refs(self) -> Sequence[Any]:
        """Return the Ray references that are waited for; empty if the pool uses none."""

    def pending_reasons(self) -> dict[int, str]:
        """Return what workers that are not placed yet wait for, in words, by worker index."""

    def shut_down(self) -> None:
        """End all workers that are left."""
