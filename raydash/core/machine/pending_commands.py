"""Commands of a run that were accepted and wait for their effect; each is answered exactly once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from raydash.core.faults import Fault
from raydash.core.machine.worker_record import WorkerPhase, WorkerRecord
from raydash.core.messages import Verb


@dataclass(frozen=True, slots=True)
class PendingCommand:
    """A command that was accepted and is answered once it has taken effect.

    Attributes:
        token: Identifies its answer.
        targets: Indices of the workers it is meant for; None: the whole run.
        incarnations: For `restart`: which incarnation each of them was when the command came.
    """

    token: int
    verb: Verb
    targets: tuple[int, ...] | None = None
    incarnations: Mapping[int, int] = field(default_factory=dict)


class PendingCommands:
    """The commands that still owe an answer."""

    def __init__(self) -> None:
        self._pending: list[PendingCommand] = []
        self._received: set[int] = set()
        self._answered: set[int] = set()

    @property
    def is_empty(self) -> bool:
        """No command waits for its answer."""
        return not self._pending

    def note_received(self, token: int) -> None:
        """Note that a command came in."""
        self._received.add(token)

    def note_answered(self, token: int) -> None:
        """Note that a command is being answered."""
        self._answered.add(token)

    def add(self, command: PendingCommand) -> None:
        """Keep an accepted command until it has taken effect."""
        self._pending.append(command)

    def withdraw(self, verb: Verb) -> list[int]:
        """Remove the run-wide commands of that verb, which another has overtaken; return tokens."""
        overtaken = [p for p in self._pending if p.verb is verb and p.targets is None]
        self._pending = [p for p in self._pending if p not in overtaken]
        return [command.token for command in overtaken]

    def pop_settled(
        self, workers: Mapping[int, WorkerRecord], *, is_over: bool
    ) -> Iterator[tuple[int, Fault | None]]:
        """Remove commands that took effect, or no longer can; yield each token with its fault."""
        for command in list(self._pending):
            done, fault = _outcome(command, workers, is_over=is_over)
            if done:
                self._pending.remove(command)
                yield command.token, fault

    def validate(self) -> None:
        """Raise AssertionError if a command is lost or answered twice."""
        waiting = {command.token for command in self._pending}
        assert len(waiting) == len(self._pending)
        assert waiting | self._answered == self._received, "a command is lost"
        assert not waiting & self._answered, "a command would be answered twice"


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
            return all(worker.in_flight == 0 for worker in targeted), None
        case Verb.STOP | Verb.DRAIN | Verb.KILL:
            return command.targets is not None and all(w.is_gone for w in targeted), None
        case Verb.RESTART:
            failed = [worker for worker in targeted if worker.phase is WorkerPhase.FAILED]
            if failed:
                return True, refusal(command.verb, failed[0].last_error)
            renewed = all(
                worker.phase is WorkerPhase.LIVE
                and worker.incarnation > command.incarnations[worker.index]
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
