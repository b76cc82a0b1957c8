"""Commands of a run that wait for their effect; each is answered exactly once."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from raydash.core.faults import Fault
from raydash.core.machine.worker_record import Phase, WorkerRecord
from raydash.core.messages import Verb


@dataclass(frozen=True, slots=True)
class PendingCommand:
    """A command that was accepted.

    Attributes:
        token: Names its answer.
        verb: What was asked.
        targets: Workers that it was asked of; None: the whole run.
        incarnations: Their incarnations when it was asked (for `restart`).
    """

    token: int
    verb: Verb
    targets: tuple[int, ...] | None = None
    incarnations: Mapping[int, int] = field(default_factory=dict)


class CommandBook:
    """Keeps count of who was promised an answer."""

    def __init__(self) -> None:
        self._pending: list[PendingCommand] = []
        self._received: set[int] = set()
        self._answered: set[int] = set()

    @property
    def is_empty(self) -> bool:
        """Nobody waits."""
        return not self._pending

    def receive(self, token: int) -> None:
        """A command came in."""
        self._received.add(token)

    def answer(self, token: int) -> None:
        """Its answer goes out."""
        self._answered.add(token)

    def wait(self, command: PendingCommand) -> None:
        """A command was accepted; its answer comes with its effect."""
        self._pending.append(command)

    def withdraw(self, verb: Verb) -> list[int]:
        """Tokens of run-wide commands of that verb that are overtaken by another; they are out."""
        overtaken = [p for p in self._pending if p.verb is verb and p.targets is None]
        self._pending = [p for p in self._pending if p not in overtaken]
        return [command.token for command in overtaken]

    def settled(
        self, workers: Mapping[int, WorkerRecord], *, is_over: bool
    ) -> Iterator[tuple[int, Fault | None]]:
        """Commands that are done (or can't be any more): token and fault; they are out."""
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
    meant = [workers[index] for index in targets]
    match command.verb:
        case Verb.RESUME | Verb.KEEP:
            return True, None
        case Verb.PAUSE:
            return all(worker.in_flight == 0 for worker in meant), None
        case Verb.STOP | Verb.DRAIN | Verb.KILL:
            return command.targets is not None and all(w.is_gone for w in meant), None
        case Verb.RESTART:
            failed = [worker for worker in meant if worker.phase is Phase.FAILED]
            if failed:
                return True, refusal(command.verb, failed[0].last_error)
            renewed = all(
                worker.phase is Phase.LIVE
                and worker.incarnation > command.incarnations[worker.index]
                for worker in meant
            )
            return renewed, None
        case Verb.SWAP:
            return False, None  # the machine says when: see `PolicySwap`
        case Verb.SCALE:
            moving = (Phase.STARTING, Phase.CLOSING, Phase.KILLING)
            return not any(w.phase in moving or w.leaving for w in meant), None


def refusal(verb: Verb, reason: str) -> Fault:
    """What is answered when a command can't be done."""
    return Fault(f"{verb.value.capitalize()} was not done", reason)
