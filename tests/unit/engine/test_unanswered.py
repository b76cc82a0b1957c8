"""Who still waits for an answer when a supervisor dies or ends."""

from raydash.core.faults import Fault
from raydash.core.messages import Answer, CommandRun, Pong, Verb
from raydash.engine.runs.unanswered import Unanswered
from raydash.protocol.codec import encode


def _passed(*command_ids: int) -> Unanswered:
    unanswered = Unanswered()
    for command_id in command_ids:
        unanswered.add(CommandRun(command_id, "run", Verb.PAUSE))
    return unanswered


def _ids(commands: list[CommandRun]) -> list[int]:
    return [command.command_id for command in commands]


def test_a_command_that_was_answered_waits_no_longer() -> None:
    unanswered = _passed(1, 2)
    unanswered.look_for_answers([encode(Pong(2)), encode(Answer(1, Fault("no"), "run"))])
    assert _ids(unanswered.give_up()) == [2]
    assert not unanswered.give_up()


def test_commands_taken_by_an_earlier_life_are_lost_and_those_of_this_one_are_not() -> None:
    unanswered = _passed(1, 2, 3)
    unanswered.taken(1, incarnation=0)
    unanswered.taken(2, incarnation=1)
    assert not unanswered.lost_before(0)
    assert _ids(unanswered.lost_before(1)) == [1]
    assert not unanswered.lost_before(1)
    assert _ids(unanswered.give_up()) == [2, 3]


def test_an_answer_that_comes_before_the_word_that_it_was_taken_counts() -> None:
    unanswered = _passed(1)
    unanswered.look_for_answers([encode(Answer(1))])
    unanswered.taken(1, incarnation=0)
    assert not unanswered.lost_before(1)


def test_a_command_is_answered_elsewhere_only_once() -> None:
    unanswered = _passed(1)
    assert unanswered.forget(1)
    assert not unanswered.forget(1)
