"""Keeps the commands that a supervisor has not answered, so that each gets exactly one answer.

A supervisor forgets its commands when it dies, and answers no more once its run has ended and all
readers know that. The engine, which is still there, answers in its place.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from raydash.core.messages import Answer, CommandRun
from raydash.protocol.codec import decode, name_of


@dataclass(slots=True)
class _Pending:
    command: CommandRun
    incarnation: int | None = None


class PendingCommands:
    """The commands that were passed to one run's supervisor and are not answered yet."""

    def __init__(self) -> None:
        self._pending: dict[int, _Pending] = {}

    def add(self, command: CommandRun) -> None:
        """Add a command that is being passed to the supervisor."""
        self._pending[command.command_id] = _Pending(command)

    def mark_accepted(self, command_id: int, incarnation: int) -> None:
        """Record which incarnation of the supervisor has accepted a command."""
        if command_id in self._pending:
            self._pending[command_id].incarnation = incarnation

    def forget(self, command_id: int) -> bool:
        """Drop a command that is answered elsewhere; return False if it was answered before."""
        return self._pending.pop(command_id, None) is not None

    def note_answers(self, payloads: Iterable[bytes]) -> None:
        """Drop the commands whose answers are among these encoded messages."""
        if not self._pending:
            return
        for payload in payloads:
            if name_of(payload) == Answer.__name__:
                self._pending.pop(decode(payload).command_id, None)

    def pop_lost_before(self, incarnation: int) -> list[CommandRun]:
        """Drop and return the commands that an earlier incarnation accepted and never answered."""
        lost = [
            passed.command
            for passed in self._pending.values()
            if passed.incarnation is not None and passed.incarnation < incarnation
        ]
        for command in lost:
            del self._pending[command.command_id]
        return lost

    def pop_all(self) -> list[CommandRun]:
        """Drop and return all commands, because nobody is left to answer them."""
        commands = [passed.command for passed in self._pending.values()]
        self._pending.clear()
        return commands
