"""Putting another policy into workers that go on stepping. Part of `raydash.core.machine`; pure.

A policy is *offered* to every live worker, behind the requests that it has; each answers whether it
could take it. The run's version changes with the first that could: from then on new workers get the
new one. If none can, nothing has changed.
"""

from collections.abc import Iterable

from raydash.core.events import EventKind
from raydash.core.faults import Fault
from raydash.core.machine.stimuli import (
    Instruction,
    PolicyAnswered,
    PolicyVersion,
    RecordEvent,
    SetPolicy,
)
from raydash.core.machine.worker_record import Phase, WorkerRecord
from raydash.core.spec import PolicySpec

_MAX_WORDS = 3


class PolicySwap:
    """The policy of a run, and the one that is offered in its place.

    Attributes:
        version: What new workers get.
        is_open: Workers are still to answer an offer.
    """

    def __init__(self, version: PolicyVersion, out: list[Instruction]) -> None:
        """Nothing is offered yet.

        Args:
            version: To begin with.
            out: Where instructions go.
        """
        self.version = version
        self.is_open = False
        self._offered = version
        self._num_out = 0
        self._refusals: dict[int, str] = {}
        self._out = out

    def begin(self, policy: PolicySpec, workers: Iterable[WorkerRecord]) -> None:
        """Offer a policy to all live workers."""
        self._offered = PolicyVersion(policy, self.version.weights_seq_no + 1)
        self._refusals.clear()
        self.is_open = True
        for worker in workers:
            self.offer(worker)

    def offer(self, worker: WorkerRecord) -> None:
        """Give a live worker the newest policy, if it has another one."""
        number = self._offered.weights_seq_no
        if worker.phase is Phase.LIVE and worker.weights_seq_no != number:
            worker.offered_seq_no = number
            self._num_out += 1
            self._out.append(SetPolicy(worker.index, worker.incarnation, self._offered))

    def hear(self, worker: WorkerRecord, answer: PolicyAnswered) -> None:
        """A worker has taken a policy, or could not."""
        if worker.offered_seq_no != answer.weights_seq_no:
            return
        self.forget(worker)
        if not answer.refusal:
            worker.weights_seq_no = answer.weights_seq_no
            self._commit()
            return
        self._refusals[worker.index] = answer.refusal
        text = f"worker {worker.index} keeps the policy that it has: {answer.refusal}"
        self._out.append(RecordEvent(EventKind.POLICY_REFUSED, text, worker.index, answer.detail))

    def forget(self, worker: WorkerRecord) -> None:
        """Nothing is awaited of a worker any more: it answered, or it is gone."""
        if worker.offered_seq_no is not None:
            worker.offered_seq_no = None
            self._num_out -= 1

    @property
    def is_answered(self) -> bool:
        """An offer is open that nobody is to answer any more."""
        return self.is_open and not self._num_out

    def close(self, *, others_come: bool) -> Fault | None:
        """End an offer; gives what went wrong with it.

        Args:
            others_come: Workers are on their way that could not be asked.
        """
        self.is_open = False
        if others_come and not self._refusals:
            self._commit()
        is_taken = self._offered is self.version
        self._offered = self.version
        if self._refusals:
            return self._refused(is_taken=is_taken)
        if not is_taken:
            return Fault("Swap was not done", "no worker was left to take the policy")
        return None

    def _refused(self, *, is_taken: bool) -> Fault:
        words = [f"worker {index}: {why}" for index, why in sorted(self._refusals.items())]
        more = [f"and {len(words) - _MAX_WORDS} more"] if len(words) > _MAX_WORDS else []
        keep = "They keep" if len(words) > 1 else "It keeps"
        return Fault(
            "Some workers could not take the policy" if is_taken else "Swap was not done",
            "; ".join(words[:_MAX_WORDS] + more),
            f"{keep} the one before. Put the file where every machine finds it, and swap again",
            keys=("policy.path",),
        )

    def _commit(self) -> None:
        """What is offered is what the run has."""
        if self._offered is self.version:
            return
        self.version = self._offered
        policy = self.version.policy
        assert policy is not None
        what = f"{policy.kind} {policy.path}" if policy.path else policy.kind
        text = f"policy {self.version.weights_seq_no}: {what}"
        self._out.append(RecordEvent(EventKind.POLICY_SWAPPED, text))

    def validate(self, workers: Iterable[WorkerRecord]) -> None:
        """Raise AssertionError if a rule is broken."""
        asked = [worker for worker in workers if worker.offered_seq_no is not None]
        assert len(asked) == self._num_out
        assert all(worker.phase is Phase.LIVE for worker in asked)
