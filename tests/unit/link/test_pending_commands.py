"""Which commands of a window wait for their answers, and what is said of them meanwhile."""

from functools import partial

from raydash.core.messages import Answer, Command, CommandRun, StartRun, Verb
from raydash.core.spec import RunSpec
from raydash.link.pending_commands import PendingCommands

PAUSE = partial(CommandRun, run_id="run", verb=Verb.PAUSE)
PAUSE_ONE_WORKER = partial(CommandRun, run_id="run", verb=Verb.PAUSE, workers=(1,))
START = partial(StartRun, spec=RunSpec())


def add(
    pending: PendingCommands, make: "partial[CommandRun] | partial[StartRun]", text: str = ""
) -> Command:
    return pending.add(make, None, text=text, quiet=False)


def test_each_command_has_an_id_of_its_own() -> None:
    pending = PendingCommands()
    first, second = add(pending, PAUSE), add(pending, START)
    assert (first.command_id, second.command_id) == (1, 2)
    pending.pop(1)
    pending.pop(2)
    assert add(pending, PAUSE).command_id == 3


def test_a_command_is_answered_once() -> None:
    pending = PendingCommands()
    command = add(pending, PAUSE)
    popped = pending.pop(1)
    assert popped is not None
    assert popped.command == command
    assert pending.pop(1) is None


def test_only_commands_with_a_text_are_told_to_the_user() -> None:
    pending = PendingCommands()
    add(pending, PAUSE, "Pausing…")
    add(pending, START)
    assert pending.texts == {1: "Pausing…"}


def test_verb_waits_only_if_it_was_sent_to_the_whole_of_that_run() -> None:
    pending = PendingCommands()
    add(pending, PAUSE_ONE_WORKER)
    assert not pending.has_verb(Verb.PAUSE, "run")
    add(pending, PAUSE)
    assert pending.has_verb(Verb.PAUSE, "run")
    assert not pending.has_verb(Verb.PAUSE, "other")
    assert not pending.has_verb(Verb.STOP, "run")
    pending.pop(2)
    assert not pending.has_verb(Verb.PAUSE, "run")


def test_a_start_waits_until_it_is_answered() -> None:
    pending = PendingCommands()
    add(pending, PAUSE)
    assert not pending.has_start()
    add(pending, START)
    assert pending.has_start()
    pending.pop(2)
    assert not pending.has_start()


def test_all_that_wait_fail_when_the_engine_is_gone_and_those_answered_do_not() -> None:
    pending = PendingCommands()
    for make in (PAUSE, START, PAUSE):
        add(pending, make)
    pending.pop(2)
    answers: list[Answer] = pending.fail_all("The engine died")
    assert [answer.command_id for answer in answers] == [1, 3]
    assert all(answer.fault and answer.fault.what == "The engine died" for answer in answers)
