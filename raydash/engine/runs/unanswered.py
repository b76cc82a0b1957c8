"""Commands of one run on their way: so that each is answered once, whoever dies meanwhile.

A supervisor forgets what it was asked when it dies, and answers nobody once its run has ended and
everybody has heard so. The engine, which is still there, answers then.
"""

from collections.abc import Iterable
from dataclasses import dataclass

from raydash.core.messages import Answer, CommandRun
from raydash.protocol.codec import decode, name_of


@dataclass(slots=True)
class _Passed:
    command: CommandRun
    taken_by: int | None = None


class Unanswered:
    """Commands that were passed to a supervisor and that it has not answered yet."""

    def __init__(self) -> None:
        self._passed: dict[int, _Passed] = {}

    def add(self, command: CommandRun) -> None:
        """A command is passed on."""
        self._passed[command.command_id] = _Passed(command)

    def taken(self, command_id: int, incarnation: int) -> None:
        """A life of the supervisor took it."""
        if command_id in self._passed:
            self._passed[command_id].taken_by = incarnation

    def forget(self, command_id: int) -> bool:
        """It is answered elsewhere; False if it was answered before."""
        return self._passed.pop(command_id, None) is not None

    def look_for_answers(self, payloads: Iterable[bytes]) -> None:
        """Take note of the answers among encoded messages."""
        if not self._passed:
            return
        for payload in payloads:
            if name_of(payload) == Answer.__name__:
                self._passed.pop(decode(payload).command_id, None)

    def lost_before(self, incarnation: int) -> list[CommandRun]:
        """Those that earlier lives of the supervisor took along; they are out."""
        lost = [
            passed.command
            for passed in self._passed.values()
            if passed.taken_by is not None and passed.taken_by < incarnation
        ]
        for command in lost:
            del self._passed[command.command_id]
        return lost

    def give_up(self) -> list[CommandRun]:
        """All of them: nobody is left who could answer; they are out."""
        commands = [passed.command for passed in self._passed.values()]
        self._passed.clear()
        return commands
