"""Which commands still wait for an answer when a supervisor dies or ends."""

from raydash.core.faults import Fault
from raydash.core.messages import Answer, CommandRun, Pong, Verb
from raydash.engine.runs.pending_commands import PendingCommands
from raydash.protocol.codec import encode


def _pending(*command_ids: int) -> PendingCommands:
    pending = PendingCommands()
    for command_id in command_ids:
        pending.add(CommandRun(command_id, "run", Verb.PAUSE))
    return pending


def _ids(commands: list[CommandRun]) -> list[int]:
    return [command.command_id for command in commands]


def test_a_command_that_was_answered_waits_no_longer() -> None:
    pending = _pending(1, 2)
    pending.note_answers([encode(Pong(2)), encode(Answer(1, Fault("no"), "run"))])
    assert _ids(pending.pop_all()) == [2]
    assert not pending.pop_all()


def test_commands_accepted_by_an_earlier_incarnation_are_lost_and_those_of_this_one_are_not() -> (
    None
):
    pending = _pending(1, 2, 3)
    pending.mark_accepted(1, incarnation=0)
    pending.mark_accepted(2, incarnation=1)
    assert not pending.pop_lost_before(0)
    assert _ids(pending.pop_lost_before(1)) == [1]
    assert not pending.pop_lost_before(1)
    assert _ids(pending.pop_all()) == [2, 3]


def test_an_answer_that_comes_before_the_command_is_known_to_be_accepted_counts() -> None:
    pending = _pending(1)
    pending.note_answers([encode(Answer(1))])
    pending.mark_accepted(1, incarnation=0)
    assert not pending.pop_lost_before(1)


def test_a_command_is_answered_elsewhere_only_once() -> None:
    pending = _pending(1)
    assert pending.forget(1)
    assert not pending.forget(1)
