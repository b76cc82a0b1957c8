"""Keeps the commands that this window's engine has not answered, so that each gets one answer.

An engine that dies answers no more; `fail_all` answers in its place.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from raydash.core.faults import Fault
from raydash.core.messages import Answer, Command, CommandRun, StartRun, Verb

Callback = Callable[[Answer], None]

VERB_TEXTS = {
    Verb.PAUSE: "Pausing…",
    Verb.RESUME: "Resuming…",
    Verb.DRAIN: "Draining…",
    Verb.STOP: "Stopping…",
    Verb.RESTART: "Restarting…",
    Verb.KILL: "Killing…",
    Verb.SCALE: "Scaling…",
    Verb.KEEP: "Keeping…",
    Verb.SWAP: "Swapping the policy…",
}
"""What is going on while a run was asked for something and has not answered yet."""
STARTING_TEXT = "Starting…"


class Ask(Protocol):
    """Sends a command; a fault in its answer is shown to the user unless `quiet` is set."""

    def __call__(
        self,
        make: Callable[[int], Command],
        callback: Callback | None = None,
        *,
        text: str = "",
        quiet: bool = False,
    ) -> int:
        """Send the command that `make` makes from its id; `text` says what is going on then."""


@dataclass(frozen=True, slots=True)
class PendingCommand:
    """A command that waits for its answer.

    Attributes:
        callback: Is called with the answer, before a fault is shown.
        text: What is going on meanwhile, for the user ("Pausing…"); may be empty.
        quiet: It is left to the callback to show a fault.
    """

    command: Command
    callback: Callback | None
    text: str
    quiet: bool


class PendingCommands:
    """The commands of one window that still wait for their answers."""

    def __init__(self) -> None:
        self._last_id = 0
        self._pending: dict[int, PendingCommand] = {}

    def add(
        self, make: Callable[[int], Command], callback: Callback | None, *, text: str, quiet: bool
    ) -> Command:
        """Make a command with an id of its own, and remember it until it is answered."""
        self._last_id += 1
        command = make(self._last_id)
        self._pending[self._last_id] = PendingCommand(command, callback, text, quiet)
        return command

    def pop(self, command_id: int) -> PendingCommand | None:
        """Drop and return the command that is answered; None if it was answered before."""
        return self._pending.pop(command_id, None)

    def fail_all(self, what: str) -> list[Answer]:
        """Make an answer with a fault for each command, because nobody else will answer them."""
        return [fail(command_id, what) for command_id in self._pending]

    @property
    def texts(self) -> dict[int, str]:
        """What is going on, for the user, by the ids of the commands."""
        return {number: each.text for number, each in self._pending.items() if each.text}

    def has_start(self) -> bool:
        """Whether the start of a run is not answered yet."""
        return any(isinstance(each.command, StartRun) for each in self._pending.values())

    def has_verb(self, verb: Verb, run_id: str) -> bool:
        """Whether a command with `verb` to the whole of that run is not answered yet."""
        return any(
            isinstance(each.command, CommandRun)
            and (each.command.verb, each.command.run_id) == (verb, run_id)
            and each.command.workers is None
            for each in self._pending.values()
        )


def fail(command_id: int, what: str) -> Answer:
    """Make the answer to a command that reaches no engine."""
    return Answer(
        command_id, Fault(what, "the run itself is not affected", "Try again in a moment")
    )
