"""Commands of a run that were accepted and wait for their effect; each is answered exactly once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from raydash.core.faults import Fault
from raydash.core.machine.stimuli import CommandReceived
from raydash.core.machine.worker_record import WorkerPhase, WorkerRecord
from raydash.core.messages import Verb


@dataclass(frozen=True, slots=True)
class PendingCommand:
    """A command that was accepted and is answered once it has taken effect.

    Attributes:
        received: The command as it came in, which its answer goes back with.
        targets: Indices of the workers it is meant for; None: the whole run.
        incarnations: Which incarnation each of them was when the command came.
    """

    received: CommandReceived
    targets: tuple[int, ...] | None = None
    incarnations: Mapping[int, int] = field(default_factory=dict)

    @property
    def verb(self) -> Verb:
        """What was asked."""
        return self.received.command.verb

    def is_about(self, worker: WorkerRecord) -> bool:
        """Whether a worker is still the incarnation that the command was meant for."""
        return worker.incarnation == self.incarnations[worker.index]


class PendingCommands:
    """The commands that still owe an answer."""

    def __init__(self) -> None:
        self._pending: list[PendingCommand] = []
        self._num_unanswered = 0

    @property
    def is_empty(self) -> bool:
        """No command waits for its answer."""
        return not self._pending

    def note_received(self) -> None:
        """Count a command that came in."""
        self._num_unanswered += 1

    def note_answered(self) -> None:
        """Count a command that is being answered."""
        self._num_unanswered -= 1

    def add(self, command: PendingCommand) -> None:
        """Keep an accepted command until it has taken effect."""
        self._pending.append(command)

    def withdraw(self, verb: Verb) -> list[CommandReceived]:
        """Remove the run-wide commands of that verb, which another has overtaken."""
        overtaken = [p for p in self._pending if p.verb is verb and p.targets is None]
        self._pending = [p for p in self._pending if p not in overtaken]
        return [command.received for command in overtaken]

    def pop_settled(
        self, workers: Mapping[int, WorkerRecord], *, is_over: bool
    ) -> Iterator[tuple[CommandReceived, Fault | None]]:
        """Remove commands that took effect, or no longer can; yield each with its fault."""
        for command in list(self._pending):
            done, fault = _outcome(command, workers, is_over=is_over)
            if done:
                self._pending.remove(command)
                yield command.received, fault

    def validate(self) -> None:
        """Raise AssertionError if a command was lost or answered twice."""
        assert len(self._pending) == self._num_unanswered, "a command is lost, or answered twice"


def _outcome(
    command: PendingCommand, workers: Mapping[int, WorkerRecord], *, is_over: bool
) -> tuple[bool, Fault | None]:
    if is_over:
        lost = command.verb in (Verb.RESUME, Verb.RESTART, Verb.SCALE, Verb.SWAP)
        return True, refusal(command.verb, "the run ended first") if lost else None
    targets = command.targets if command.targets is not None else tuple(workers)
    targeted = [workers[index] for index in targets]
    match command.verb:
        case Verb.RESUME | Verb.KEEP:
            return True, None
        case Verb.PAUSE:
            resumed = [w for w in targeted if command.targets is not None and not w.paused]
            if resumed:
                reason = f"worker {resumed[0].index} was resumed before it was paused"
                return True, refusal(command.verb, reason)
            return all(worker.in_flight == 0 for worker in targeted), None
        case Verb.STOP | Verb.DRAIN | Verb.KILL if command.targets is None:
            return False, None  # the end of the run answers it
        case Verb.KILL:
            return all(w.is_gone or not command.is_about(w) for w in targeted), None
        case Verb.STOP | Verb.DRAIN:
            restarted = [w for w in targeted if not command.is_about(w) and not w.is_gone]
            if restarted:
                reason = f"worker {restarted[0].index} was restarted first"
                return True, refusal(command.verb, reason)
            return all(worker.is_gone for worker in targeted), None
        case Verb.RESTART:
            failed = [worker for worker in targeted if worker.phase is WorkerPhase.FAILED]
            if failed:
                return True, refusal(command.verb, failed[0].last_error)
            stopped = [worker for worker in targeted if worker.is_gone]
            if stopped:
                return True, refusal(command.verb, f"worker {stopped[0].index} was stopped first")
            renewed = all(
                worker.phase is WorkerPhase.LIVE and not command.is_about(worker)
                for worker in targeted
            )
            return renewed, None
        case Verb.SWAP:
            return False, None  # `RunMachine` answers it once its `PolicySwap` is over
        case Verb.SCALE:
            in_transition = (WorkerPhase.STARTING, WorkerPhase.CLOSING, WorkerPhase.KILLING)
            return not any(w.phase in in_transition or w.stopping for w in targeted), None


def refusal(verb: Verb, reason: str) -> Fault:
    """Build the fault that answers a command which could not be done."""
    return Fault(f"{verb.value.capitalize()} was not done", reason)
