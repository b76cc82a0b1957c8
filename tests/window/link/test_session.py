"""What a session says to the engine, and what it makes of the answers."""

from pathlib import Path

from pytestqt.qtbot import QtBot

from raydash.app import join_if_live
from raydash.core.clock import Clock
from raydash.core.faults import Fault
from raydash.core.messages import (
    Answer,
    AttachRun,
    CancelConnect,
    ClusterStatus,
    Command,
    CommandRun,
    Connect,
    RunList,
    StartRun,
    Verb,
)
from raydash.core.spec import ClusterSpec, EnvSpec, RunSpec
from raydash.core.states import Activity, ClusterPhase, EndedBy, EngineState, RunState
from raydash.link.session import Session
from tests.fakes.engines.engine import UP, FakeEngine, summary
from tests.fakes.recordings.library import opened
from tests.fakes.updates.updates import RUN_ID

SPEC = RunSpec(env=EnvSpec("Acrobot-v1"))
OWN = "20261122-120000-own"


def can_connect(session: Session) -> bool:
    # mypy takes what was asserted of an attribute for lasting, but not what a function gave.
    return session.can_connect


def shows_recording(session: Session) -> bool:
    assert session.store.shown is not None
    return session.store.shown.is_recording


def last_of(engine: FakeEngine) -> Command:
    return engine.sent[-1]


def started(session: Session, engine: FakeEngine) -> None:
    """A run of this window, accepted and stepping."""
    engine.come_up()
    session.start_run(SPEC)
    engine.answer(run_id=OWN)
    engine.update(OWN)


def test_connect_is_sent_once_the_engine_is_ready(session: Session, engine: FakeEngine) -> None:
    assert engine.sent == []
    engine.become(EngineState.READY)
    assert engine.sent == [Connect(1, ClusterSpec())]


def test_newest_live_run_is_attached_and_shown_once_connected(
    session: Session, engine: FakeEngine
) -> None:
    old = summary("old", started_utc="2026-11-22T09:00:00+00:00")
    new = summary("new", started_utc="2026-11-22T10:00:00+00:00")
    engine.come_up(new, old)
    assert engine.sent[-1] == AttachRun(2, "new")
    assert session.store.shown_run_id == "new"


def test_run_list_that_comes_after_the_connect_is_attached_to_as_well(
    session: Session, engine: FakeEngine
) -> None:
    engine.come_up()
    engine.say(RunList((summary(),)))
    assert engine.sent[-1] == AttachRun(2, RUN_ID)


def test_accepted_run_is_own_shown_and_not_attached_twice(
    session: Session, engine: FakeEngine
) -> None:
    engine.come_up()
    session.start_run(SPEC)
    assert engine.sent[-1] == StartRun(2, SPEC)
    assert session.is_starting_run
    engine.answer(run_id=OWN)
    engine.say(RunList((summary(OWN),)))
    assert session.own_runs.ids == {OWN}
    assert session.store.shown_run_id == OWN
    assert not any(isinstance(command, AttachRun) for command in engine.sent)


def test_run_asked_for_at_the_start_is_tried_while_the_cluster_comes_up(
    session: Session, engine: FakeEngine
) -> None:
    session.own_runs.start_when_up(SPEC)
    engine.become(EngineState.READY)
    assert engine.sent[-1] == StartRun(2, SPEC)
    engine.say(UP)
    engine.answer(to=1)
    engine.answer(run_id=OWN, to=2)
    assert session.own_runs.ids == {OWN}
    assert sum(isinstance(command, StartRun) for command in engine.sent) == 1


def test_run_asked_for_at_the_start_waits_for_the_next_cluster_if_none_came_up(
    session: Session, engine: FakeEngine, faults: list[Fault]
) -> None:
    session.own_runs.start_when_up(SPEC)
    engine.become(EngineState.READY)
    failed = Fault("Ray did not start")
    engine.answer(failed, to=1)
    engine.answer(failed, to=2)
    assert faults == [failed]
    session.relaunch()
    engine.become(EngineState.STARTING)
    engine.become(EngineState.READY)
    assert isinstance(engine.sent[-1], StartRun)


def test_a_planned_cluster_comes_when_a_run_is_started_and_not_before(
    engine: FakeEngine, hands: Clock, private_dirs: Path
) -> None:
    session = Session(engine, hands)  # type: ignore[arg-type]
    session.start()
    planned = ClusterSpec(num_gpus=1.0)
    session.plan_cluster(planned)
    engine.become(EngineState.READY)
    assert engine.sent == []
    assert can_connect(session)
    session.start_run(SPEC)
    assert engine.sent == [Connect(1, planned), StartRun(2, SPEC)]
    assert not can_connect(session)
    engine.say(UP)
    engine.answer(to=1)
    engine.answer(run_id=OWN, to=2)
    assert session.own_runs.ids == {OWN}
    session.deleteLater()


def test_a_recording_that_is_still_written_is_followed_on_its_cluster(
    engine: FakeEngine, hands: Clock, private_dirs: Path
) -> None:
    session = Session(engine, hands)  # type: ignore[arg-type]
    session.start()
    join_if_live(session)
    engine.become(EngineState.READY)
    session.library.open(RUN_ID)
    engine.say(opened(RUN_ID, 100.0))  # as its file was then, it was running
    engine.answer(run_id=RUN_ID)
    assert shows_recording(session)
    assert isinstance(last_of(engine), Connect)
    engine.come_up(summary())
    engine.say(RunList((summary(elapsed_s=601.0),)))
    assert isinstance(last_of(engine), AttachRun)
    engine.update()
    assert not shows_recording(session)
    assert session.library.opened == ()
    session.deleteLater()


def test_bad_input_is_reported_while_the_cluster_still_comes_up(
    session: Session, engine: FakeEngine, faults: list[Fault]
) -> None:
    session.own_runs.start_when_up(SPEC)
    engine.become(EngineState.READY)
    fault = Fault("There is no such environment", keys=("env.id",), bad_input=True)
    engine.answer(fault, to=2)
    assert faults == [fault]


def test_refused_run_raises_its_fault_and_calls_back(
    session: Session, engine: FakeEngine, faults: list[Fault]
) -> None:
    answers: list[Answer] = []
    engine.come_up()
    session.start_run(SPEC, answers.append)
    fault = Fault("There is no such environment", keys=("env.id",), bad_input=True)
    engine.answer(fault)
    assert faults == [fault]
    assert answers[0].fault == fault
    assert session.own_runs.ids == set()


def test_command_is_pending_until_it_is_answered(running: Session, engine: FakeEngine) -> None:
    number = running.command(Verb.PAUSE)
    assert engine.sent == [CommandRun(number, RUN_ID, Verb.PAUSE)]
    assert running.pending == {number: "Pausing…"}
    assert running.pending_verb(Verb.PAUSE)
    engine.answer()
    assert running.pending == {}
    assert not running.pending_verb(Verb.PAUSE)


def test_command_without_an_engine_fails_at_once_and_is_not_sent(
    session: Session, engine: FakeEngine, faults: list[Fault]
) -> None:
    answers: list[Answer] = []
    session.command(Verb.PAUSE, run_id=RUN_ID, callback=answers.append)
    assert engine.sent == []
    assert session.pending == {}
    (answer,) = answers
    assert answer.fault is not None
    assert "run itself is not affected" in answer.fault.sentence()
    assert faults == [answer.fault]


def test_command_that_the_engine_left_unanswered_fails_once_when_it_is_gone(
    running: Session, engine: FakeEngine, faults: list[Fault]
) -> None:
    answers: list[Answer] = []
    number = running.command(Verb.PAUSE, callback=answers.append)
    engine.become(EngineState.RECONNECTING)
    engine.exited.emit()
    (answer,) = answers
    assert answer.fault is not None
    assert answer.fault.what == "The engine died before it answered"
    assert running.pending == {}
    engine.answer(to=number)
    engine.exited.emit()
    assert (answers, faults) == ([answer], [answer.fault])


def test_new_engine_connects_to_the_same_cluster_and_attaches_live_runs_again(
    running: Session, engine: FakeEngine, faults: list[Fault]
) -> None:
    lost = Fault("The engine died", "it was killed (SIGKILL)")
    engine.become(EngineState.RECONNECTING)
    engine.lost.emit(lost)
    assert faults == [lost]
    assert not running.is_connected
    assert running.store.shown is not None
    assert running.store.shown.latest is not None
    engine.come_up(summary())
    assert [type(command) for command in engine.sent] == [Connect, AttachRun]
    assert engine.sent[0].cluster == ClusterSpec()  # type: ignore[union-attr]
    assert running.is_connected


def test_run_that_the_new_engine_cannot_find_is_interrupted(
    running: Session, engine: FakeEngine
) -> None:
    engine.become(EngineState.RECONNECTING)
    engine.come_up()
    engine.answer(Fault("There is no such run"))
    assert running.store.shown is not None
    assert running.store.shown.state is RunState.INTERRUPTED


def test_lost_cluster_interrupts_runs_but_keeps_their_data_and_waits_for_relaunch(
    running: Session, engine: FakeEngine, faults: list[Fault]
) -> None:
    fault = Fault("The Ray cluster died", "its head node is gone")
    engine.say(ClusterStatus(ClusterPhase.LOST, fault=fault))
    assert faults == [fault]
    run = running.store.shown
    assert run is not None
    assert run.state is RunState.INTERRUPTED
    assert len(run.recent) > 0
    assert run.latest is not None
    assert set(run.latest.workers.activity) == {Activity.STOPPED}
    engine.become(EngineState.RECONNECTING)
    engine.become(EngineState.READY)
    assert engine.sent == []
    assert running.store.cluster.phase is ClusterPhase.LOST
    running.relaunch()
    assert engine.calls[-1] == "replace"
    engine.become(EngineState.READY)
    assert isinstance(engine.sent[-1], Connect)


def test_end_of_the_engine_that_lost_its_cluster_is_expected_and_no_fault_of_its_own(
    running: Session, engine: FakeEngine
) -> None:
    engine.say(ClusterStatus(ClusterPhase.LOST))
    assert engine.calls[-1] == "expect_exit"


def test_failed_connect_raises_its_fault_once(
    session: Session, engine: FakeEngine, faults: list[Fault]
) -> None:
    fault = Fault("Nobody listens there")
    engine.become(EngineState.READY)
    engine.say(ClusterStatus(ClusterPhase.FAILED, fault=fault))
    engine.answer(fault)
    assert faults == [fault]
    assert session.store.cluster.phase is ClusterPhase.FAILED


def test_cancelled_connect_leaves_the_cluster_absent_and_a_fresh_engine_idle(
    session: Session, engine: FakeEngine, faults: list[Fault]
) -> None:
    engine.become(EngineState.READY)
    engine.say(ClusterStatus(ClusterPhase.LAUNCHING))
    session.cancel_connect()
    assert isinstance(engine.sent[-1], CancelConnect)
    assert engine.calls[-1] == "expect_exit"
    engine.answer(Fault("Cancelled"), to=1)
    engine.become(EngineState.RECONNECTING)
    engine.become(EngineState.READY)
    assert len(engine.sent) == 2
    assert session.store.cluster.phase is ClusterPhase.ABSENT
    assert faults == []


def test_connecting_again_after_cancel_waits_for_the_next_engine(
    session: Session, engine: FakeEngine, faults: list[Fault]
) -> None:
    other = ClusterSpec(address="10.0.0.5:6379")
    engine.become(EngineState.READY)
    session.cancel_connect()
    session.connect_cluster(other)
    assert isinstance(last_of(engine), CancelConnect), "this engine connects no more"
    engine.answer(Fault("Cancelled"), to=1)
    engine.become(EngineState.RECONNECTING)
    engine.become(EngineState.READY)
    assert engine.sent[-1].cluster == other  # type: ignore[union-attr]
    assert faults == []


def test_what_a_replaced_engine_still_says_of_its_cluster_does_not_count(
    session: Session, engine: FakeEngine, faults: list[Fault]
) -> None:
    engine.become(EngineState.READY)
    session.connect_cluster(ClusterSpec(address="10.0.0.5:6379"))
    engine.say(UP)
    engine.answer(Fault("Nobody listens there"), to=1)
    assert session.store.cluster.phase is ClusterPhase.ABSENT
    assert faults == []
    engine.come_up()
    assert session.is_connected


def test_other_cluster_gets_a_new_engine(running: Session, engine: FakeEngine) -> None:
    other = ClusterSpec(address="10.0.0.5:6379")
    running.connect_cluster(other)
    assert engine.calls[-1] == "replace"
    engine.become(EngineState.READY)
    assert engine.sent[-1].cluster == other  # type: ignore[union-attr]


def test_stopping_own_runs_waits_for_the_last_word_of_each(
    session: Session, engine: FakeEngine, qtbot: QtBot
) -> None:
    started(session, engine)
    with qtbot.waitSignal(session.own_runs.settled, timeout=30_000):
        session.own_runs.stop(EndedBy.SIGNAL)
        assert engine.sent[-1] == CommandRun(3, OWN, Verb.STOP, ended_by=EndedBy.SIGNAL)
        engine.answer()
        engine.update(OWN, state=RunState.STOPPED, snapshot=False, last=True)


def test_runs_of_others_are_left_alone(running: Session, engine: FakeEngine, qtbot: QtBot) -> None:
    with qtbot.waitSignal(running.own_runs.settled, timeout=30_000):
        running.own_runs.stop()
    assert engine.sent == []


def test_kept_runs_are_told_before_the_window_goes(
    session: Session, engine: FakeEngine, qtbot: QtBot
) -> None:
    started(session, engine)
    with qtbot.waitSignal(session.own_runs.settled, timeout=30_000):
        session.own_runs.keep()
        assert engine.sent[-1] == CommandRun(3, OWN, Verb.KEEP)
        engine.answer()
