"""Swap the policy of workers that go on stepping. Part of `raydash.core.machine`; pure.

A policy is *offered* to every live worker, queued behind the requests that it has; each answers
whether it could take it. The run's version changes with the first worker that could: from then on
new workers get the new policy. If none can, nothing changes.
"""

from collections.abc import Iterable

from raydash.core.events import EventKind
from raydash.core.faults import Fault
from raydash.core.machine.stimuli import (
    Instruction,
    PolicyVersion,
    RecordEvent,
    SetPolicy,
)
from raydash.core.machine.worker_record import WorkerPhase, WorkerRecord
from raydash.core.records import PolicySet
from raydash.core.spec import PolicySpec

_MAX_REFUSALS_SHOWN = 3


class PolicySwap:
    """The policy of a run, and the one that is offered to replace it.

    Attributes:
        version: The policy that new workers get.
        is_open: A swap is under way.
    """

    def __init__(self, version: PolicyVersion, instructions: list[Instruction]) -> None:
        """Begin with a policy and no offer; instructions are appended to the machine's list."""
        self.version = version
        self.is_open = False
        self._offered = version
        self._num_unanswered = 0
        self._refusals: dict[int, str] = {}
        self._instructions = instructions

    def begin(self, policy: PolicySpec, workers: Iterable[WorkerRecord]) -> None:
        """Offer a policy to all live workers."""
        self._offered = PolicyVersion(policy, self.version.weights_seq_no + 1)
        self._refusals.clear()
        self.is_open = True
        for worker in workers:
            self.offer(worker)

    def offer(self, worker: WorkerRecord) -> None:
        """Offer a live worker the newest policy, unless it has that one already.

        A worker has one offer at a time: whoever still owes an answer gets the newest after it.
        """
        number = self._offered.weights_seq_no
        is_free = worker.phase is WorkerPhase.LIVE and worker.offered_seq_no is None
        if is_free and worker.weights_seq_no != number:
            worker.offered_seq_no = number
            self._num_unanswered += 1
            self._instructions.append(SetPolicy(worker.index, worker.incarnation, self._offered))

    def on_answer(self, worker: WorkerRecord, answer: PolicySet) -> None:
        """Take in whether a worker could take the policy that it was offered."""
        if worker.offered_seq_no != answer.weights_seq_no:
            return
        self.withdraw(worker)
        is_newest = answer.weights_seq_no == self._offered.weights_seq_no
        fault = answer.fault
        if fault is None:
            worker.weights_seq_no = answer.weights_seq_no
        else:
            self._note_refusal(worker, fault, counts=is_newest)
        if not is_newest:
            self.offer(worker)
        elif fault is None:
            self._commit()

    def _note_refusal(self, worker: WorkerRecord, fault: Fault, *, counts: bool) -> None:
        """Record that a worker refused; one of an earlier offer `counts` not for this swap."""
        refusal = ": ".join(words for words in (fault.what, fault.why) if words)
        if counts:
            self._refusals[worker.index] = refusal
        text = f"worker {worker.index} keeps the policy that it has: {refusal}"
        self._instructions.append(
            RecordEvent(EventKind.POLICY_REFUSED, text, worker.index, fault.detail)
        )

    def withdraw(self, worker: WorkerRecord) -> None:
        """Stop waiting for a worker's answer: it came, or the worker is gone."""
        if worker.offered_seq_no is not None:
            worker.offered_seq_no = None
            self._num_unanswered -= 1

    @property
    def is_answered(self) -> bool:
        """A swap is under way and no answer is missing."""
        return self.is_open and not self._num_unanswered

    def close(self, *, others_are_coming: bool) -> Fault | None:
        """End the swap and return what went wrong with it, if anything did.

        While `others_are_coming`, that is workers that could not be asked yet, a swap that nobody
        refused has succeeded: they will get the new policy.
        """
        self.is_open = False
        if others_are_coming and not self._refusals:
            self._commit()
        is_taken = self._offered is self.version
        self._offered = self.version
        if self._refusals:
            return self._refusal_fault(is_taken=is_taken)
        if not is_taken:
            return Fault("Swap was not done", "no worker was left to take the policy")
        return None

    def _refusal_fault(self, *, is_taken: bool) -> Fault:
        refusals = [f"worker {index}: {why}" for index, why in sorted(self._refusals.items())]
        more = (
            [f"and {len(refusals) - _MAX_REFUSALS_SHOWN} more"]
            if len(refusals) > _MAX_REFUSALS_SHOWN
            else []
        )
        keep = "They keep" if len(refusals) > 1 else "It keeps"
        return Fault(
            "Some workers could not take the policy" if is_taken else "Swap was not done",
            "; ".join(refusals[:_MAX_REFUSALS_SHOWN] + more),
            f"{keep} the one before. Put the file where every machine finds it, and swap again",
            keys=("policy.path",),
        )

    def _commit(self) -> None:
        """Make the offered policy the run's own."""
        if self._offered is self.version:
            return
        self.version = self._offered
        policy = self.version.policy
        assert policy is not None
        what = f"{policy.kind} {policy.path}" if policy.path else policy.kind
        text = f"policy {self.version.weights_seq_no}: {what}"
        self._instructions.append(RecordEvent(EventKind.POLICY_SWAPPED, text))

    def validate(self, workers: Iterable[WorkerRecord]) -> None:
        """Raise AssertionError if a rule is broken."""
        asked = [worker for worker in workers if worker.offered_seq_no is not None]
        assert len(asked) == self._num_unanswered
        assert all(worker.phase is WorkerPhase.LIVE for worker in asked)
