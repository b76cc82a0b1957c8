"""What the supervisor asks of a run's learner, which is a Ray actor or, in tests, a stand-in.

A client performs and reports; it decides nothing. No call blocks, and a dead learner is a report.
"""

from collections.abc import Sequence
from typing import Any, Protocol

from typing_extensions import override

from raydash.core.machine.stimuli import LearnerNews
from raydash.core.records import (
    GenerationResults,
    WorkerReady,
)


class LearnerClient(Protocol):
    """Carries out the machine's instructions on a learner."""

    def create(self) -> None:
        """Create the learner's process, in place of an earlier one that is gone."""

    def on_worker_ready(self, ready: WorkerReady) -> None:
        """Tell the learner how long observations and actions are, which a ready worker knows."""

    def request_generation(self, weights_seq_no: int, results: GenerationResults) -> None:
        """Ask for the next generation: reports `ParametersReady`, `LearnerFaulted` or a death."""

    def save_policy(self, weights_seq_no: int) -> None:
        """Write the best policy to disk: reports `PolicyWritten` or a death."""

    def parameters(self) -> Any:
        """Return the newest generation's parameters, in the form that a pool's `play` takes."""

    def wait(self, other_refs: Sequence[Any], timeout_s: float) -> None:
        """Wait until the learner replies or one of a pool's refs is ready, or the time is up."""

    def collect(self) -> list[LearnerNews]:
        """Return everything that has come in since the last call. Never waits."""

    def shut_down(self) -> None:
        """End the learner."""


class NoLearner(LearnerClient):
    """The learner of a run that does not learn: it is asked for nothing and reports nothing."""

    @override
    def create(self) -> None:
        pass

    @override
    def on_worker_ready(self, ready: WorkerReady) -> None:
        pass

    @override
    def request_generation(self, weights_seq_no: int, results: GenerationResults) -> None:
        pass

    @override
    def save_policy(self, weights_seq_no: int) -> None:
        pass

    @override
    def parameters(self) -> Any:
        return None

    @override
    def wait(self, other_refs: Sequence[Any], timeout_s: float) -> None:
        pass

    @override
    def collect(self) -> list[LearnerNews]:
        return []

    @override
    def shut_down(self) -> None:
        pass
