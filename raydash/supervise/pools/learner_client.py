"""What the supervisor asks of a run's learner, whoever it is: a Ray actor, or one in a test.

It performs and reports; it decides nothing. No call blocks, and a dead learner is a report.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import ray
from typing_extensions import override

from raydash.core.clock import Clock
from raydash.core.machine.stimuli import (
    LearnerDied,
    LearnerFaulted,
    ParametersArrived,
    PolicySaved,
)
from raydash.core.records import (
    GenerationResults,
    LearnerFault,
    ParametersReady,
    PolicyWritten,
    WorkerReady,
)
from raydash.protocol.codec import decode, encode
from raydash.supervise.pools.ray_pool import died_from

PING_AFTER_S = 1.0

LearnerReport = ParametersArrived | LearnerFaulted | LearnerDied | PolicySaved


class LearnerClient(Protocol):
    """Performs the machine's instructions on a learner."""

    def create(self) -> None:
        """Make its process; an earlier one is gone."""

    def fit(self, ready: WorkerReady) -> None:
        """A worker stands, and says how long observations and actions are."""

    def ask(self, weights_seq_no: int, results: GenerationResults) -> None:
        """Ask for the next generation: `ParametersArrived`, `LearnerFaulted` or a death."""

    def save(self, weights_seq_no: int) -> None:
        """Write the best policy: reports `PolicySaved`, or a death."""

    def parameters(self) -> Any:
        """Those of the newest generation that arrived, as a pool's `play` wants them."""

    def wait(self, others: Sequence[Any], timeout_s: float) -> None:
        """Wait for its next answer or the first of others, at most so long.

        Args:
            others: A pool's `pending`.
            timeout_s: So long.
        """

    def collect(self, t_s: float) -> list[LearnerReport]:
        """Everything that has come in since the last call. Never waits."""

    def shut_down(self) -> None:
        """End it."""


class RayLearner(LearnerClient):
    """A `LearnerClient` around a Ray actor, a plain child of this one.

    Parameters are passed on as the reference that the learner's answer is: they travel from its
    process to the workers, and are never here.

    Args of the constructor:
        make: Creates the actor.
        clock: Monotonic.
    """

    def __init__(self, make: Callable[[], Any], *, clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._handle: Any = None
        self._sizes: tuple[int, int] | None = None
        self._has_begun = False
        self._waiting: tuple[int, GenerationResults] | None = None
        self._calls: dict[Any, Any] = {}
        self._newest: Any = None
        self._heard_s = 0.0

    @override
    def create(self) -> None:
        self._drop()
        self._handle = self._make()
        self._has_begun = False
        self._heard_s = self._clock()

    @override
    def fit(self, ready: WorkerReady) -> None:
        self._sizes = (ready.num_inputs, ready.num_outputs)
        if self._waiting is not None:
            self.ask(*self._waiting)

    @override
    def ask(self, weights_seq_no: int, results: GenerationResults) -> None:
        """Before a worker stands, the question waits for it."""
        if self._sizes is None:
            self._waiting = (weights_seq_no, results)
            return
        self._waiting = None
        if not self._has_begun:
            self._has_begun = True
            self._handle.begin.remote(*self._sizes)
        answer, parameters = self._handle.advance.options(num_returns=2).remote(
            weights_seq_no, encode(results)
        )
        self._calls[answer] = parameters

    @override
    def save(self, weights_seq_no: int) -> None:
        self._calls[self._handle.save.remote(weights_seq_no)] = None

    @override
    def parameters(self) -> Any:
        return self._newest

    @override
    def wait(self, others: Sequence[Any], timeout_s: float) -> None:
        refs = [*others, *self._calls]
        if refs:
            ray.wait(refs, num_returns=1, timeout=timeout_s)
        else:
            time.sleep(timeout_s)

    @override
    def collect(self, t_s: float) -> list[LearnerReport]:
        if self._handle is None:
            return []
        self._ping_if_quiet()
        reports: list[LearnerReport] = []
        refs = list(self._calls)
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0) if refs else ([], [])
        for ref in ready:
            parameters = self._calls.pop(ref)
            self._heard_s = self._clock()
            try:
                answer = ray.get(ref, timeout=5.0)
            except Exception as error:
                self._drop()
                died = died_from(error, 0, 0)
                return [*reports, LearnerDied(t_s, died.text, died.detail)]
            if answer is not None:
                reports.append(self._report(decode(answer), parameters, t_s))
        return reports

    @override
    def shut_down(self) -> None:
        self._drop()

    def _report(
        self, message: ParametersReady | LearnerFault | PolicyWritten, parameters: Any, t_s: float
    ) -> LearnerReport:
        match message:
            case ParametersReady():
                self._newest = parameters
                return ParametersArrived(t_s, message)
            case LearnerFault(fault=fault):
                return LearnerFaulted(t_s, fault)
            case PolicyWritten():
                return PolicySaved(t_s, message)

    def _ping_if_quiet(self) -> None:
        """While a generation is played nothing else would tell of its death."""
        if not self._calls and self._clock() - self._heard_s > PING_AFTER_S:
            self._calls[self._handle.ping.remote()] = None

    def _drop(self) -> None:
        self._calls.clear()
        handle, self._handle = self._handle, None
        if handle is not None:
            ray.kill(handle, no_restart=True)
