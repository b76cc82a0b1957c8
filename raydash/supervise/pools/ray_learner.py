"""The client of a learner in a Ray actor."""

import time
from collections.abc import Callable, Sequence
from typing import Any

import ray
from typing_extensions import override

from raydash.core.clock import Clock
from raydash.core.machine.stimuli import LearnerDied, LearnerFaulted, LearnerNews
from raydash.core.records import (
    GenerationResults,
    LearnerFault,
    ParametersReady,
    PolicyWritten,
    WorkerReady,
)
from raydash.protocol.codec import decode, encode
from raydash.supervise.pools.learner_client import LearnerClient
from raydash.supervise.pools.ray_pool import died_from

PING_AFTER_S = 1.0


class RayLearner(LearnerClient):
    """Talks to a learner in a Ray actor, which is a plain child of the supervisor.

    Parameters are passed on as the Ray reference that the learner returns: they travel from its
    process to the workers, and never come into this one. `make` creates the actor.
    """

    def __init__(self, make: Callable[[], Any], *, clock: Clock) -> None:
        self._make = make
        self._clock = clock
        self._handle: Any = None
        self._sizes: tuple[int, int] | None = None
        self._has_begun = False
        self._unsent_request: tuple[int, GenerationResults] | None = None
        self._calls: dict[Any, Any] = {}
        self._newest_parameters: Any = None
        self._last_reply_s = 0.0

    @override
    def create(self) -> None:
        self._kill()
        self._handle = self._make()
        self._has_begun = False
        self._last_reply_s = self._clock()

    @override
    def on_worker_ready(self, ready: WorkerReady) -> None:
        self._sizes = (ready.num_inputs, ready.num_outputs)
        if self._unsent_request is not None:
            self.request_generation(*self._unsent_request)

    @override
    def request_generation(self, weights_seq_no: int, results: GenerationResults) -> None:
        """Ask for the next generation; the request waits until a first worker is ready."""
        if self._sizes is None:
            self._unsent_request = (weights_seq_no, results)
            return
        self._unsent_request = None
        if not self._has_begun:
            self._has_begun = True
            self._handle.begin.remote(*self._sizes)
        reply, parameters = self._handle.advance.options(num_returns=2).remote(
            weights_seq_no, encode(results)
        )
        self._calls[reply] = parameters

    @override
    def save_policy(self, weights_seq_no: int) -> None:
        self._calls[self._handle.save.remote(weights_seq_no)] = None

    @override
    def parameters(self) -> Any:
        return self._newest_parameters

    @override
    def wait(self, other_refs: Sequence[Any], timeout_s: float) -> None:
        refs = [*other_refs, *self._calls]
        if refs:
            ray.wait(refs, num_returns=1, timeout=timeout_s)
        else:
            time.sleep(timeout_s)

    @override
    def collect(self) -> list[LearnerNews]:
        if self._handle is None:
            return []
        self._ping_if_quiet()
        reports: list[LearnerNews] = []
        refs = list(self._calls)
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0) if refs else ([], [])
        for ref in ready:
            parameters = self._calls.pop(ref)
            self._last_reply_s = self._clock()
            try:
                reply = ray.get(ref, timeout=5.0)
            except Exception as error:
                self._kill()
                died = died_from(error, 0, 0)
                return [*reports, LearnerDied(died.text, died.detail)]
            if reply is not None:
                reports.append(self._report(decode(reply), parameters))
        return reports

    @override
    def shut_down(self) -> None:
        self._kill()

    def _report(
        self, message: ParametersReady | LearnerFault | PolicyWritten, parameters: Any
    ) -> LearnerNews:
        if isinstance(message, LearnerFault):
            return LearnerFaulted(message.fault)
        if isinstance(message, ParametersReady):
            self._newest_parameters = parameters
        return message

    def _ping_if_quiet(self) -> None:
        """Ping a quiet learner: while a generation is played, nothing else would show its death."""
        if not self._calls and self._clock() - self._last_reply_s > PING_AFTER_S:
            self._calls[self._handle.ping.remote()] = None

    def _kill(self) -> None:
        self._calls.clear()
        handle, self._handle = self._handle, None
        if handle is not None:
            ray.kill(handle, no_restart=True)
