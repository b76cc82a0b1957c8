"""The window's side of the library: what is asked, when, and what the store then has."""

import numpy as np
import pytest

from raydash.core.faults import Fault
from raydash.core.messages import (
    AttachRun,
    Command,
    HistoryRange,
    ListRecordings,
    OpenRecording,
    QueryHistory,
)
from raydash.core.states import EngineState, RunState
from raydash.link.session import Session
from tests.fakes.engines.engine import FakeEngine, summary
from tests.fakes.recordings.library import history_range, make_library, opened, recorded
from tests.fakes.updates.updates import RUN_ID

RUN = recorded().run_id


def sent(engine: FakeEngine, kind: type[Command]) -> list[Command]:
    return [command for command in engine.sent if isinstance(command, kind)]


def open_recording(session: Session, engine: FakeEngine) -> None:
    session.library.open(RUN)
    engine.say(opened(RUN))
    engine.answer(run_id=RUN)


def test_the_library_is_asked_for_once_and_again_of_the_next_engine(
    session: Session, engine: FakeEngine
) -> None:
    engine.come_up()
    session.library.watch()
    session.library.watch()
    assert len(sent(engine, ListRecordings)) == 1
    engine.say(make_library(3))
    assert session.store.library == make_library(3)
    engine.become(EngineState.RECONNECTING)
    engine.become(EngineState.READY)
    assert len(sent(engine, ListRecordings)) == 2


def test_a_library_asked_for_before_the_engine_is_there_comes_later_without_a_fault(
    session: Session, engine: FakeEngine, faults: list[Fault]
) -> None:
    session.library.watch()
    assert sent(engine, ListRecordings) == []
    engine.become(EngineState.READY)
    assert len(sent(engine, ListRecordings)) == 1
    assert not faults


def test_an_opened_recording_is_shown_and_takes_no_command(
    session: Session, engine: FakeEngine
) -> None:
    engine.come_up()
    open_recording(session, engine)
    run = session.store.shown
    assert run is not None
    assert run.run_id == RUN
    assert run.is_recording
    assert session.library.opened == (RUN,)
    assert not session.own_runs.live()


def test_a_loaded_recording_is_neither_shown_nor_listed(
    session: Session, engine: FakeEngine
) -> None:
    engine.come_up()
    answers: list[str] = []
    session.library.load(RUN, lambda answer: answers.append(answer.run_id))
    engine.say(opened(RUN))
    engine.answer(run_id=RUN)
    assert answers == [RUN]
    assert session.store.runs[RUN].is_recording
    assert session.store.shown_run_id == ""
    assert session.library.opened == ()


def test_opening_a_live_run_attaches_to_it(session: Session, engine: FakeEngine) -> None:
    engine.come_up(summary("first"), summary("second"))
    session.library.open("first")
    assert sent(engine, AttachRun)[-1].run_id == "first"  # type: ignore[union-attr]
    assert not sent(engine, OpenRecording)
    engine.answer(run_id="first")
    assert session.store.shown_run_id == "first"
    assert session.library.opened == ()


def test_a_run_that_ended_before_it_was_attached_is_an_opened_recording(
    session: Session, engine: FakeEngine
) -> None:
    engine.come_up(summary("on screen"), summary(RUN))
    session.library.open(RUN)
    asked = sent(engine, AttachRun)[-1]
    assert asked.run_id == RUN  # type: ignore[union-attr]
    engine.say(opened(RUN))
    engine.answer(run_id=RUN, to=asked.command_id)
    assert session.store.shown_run_id == RUN
    assert session.library.opened == (RUN,)
    session.library.scrub(RUN, 100.0)
    engine.say(opened(RUN, 100.0))
    engine.answer(run_id=RUN)
    assert session.store.shown is not None, "it stays on screen while its slider is moved"


def test_a_run_that_can_not_be_attached_any_more_is_opened_from_its_file(
    session: Session, engine: FakeEngine, faults: list[Fault]
) -> None:
    engine.come_up(summary("on screen"), summary(RUN))
    session.library.open(RUN)
    asked = sent(engine, AttachRun)[-1]
    assert asked.run_id == RUN  # type: ignore[union-attr]
    engine.answer(Fault("Run is not live"), to=asked.command_id)
    assert sent(engine, OpenRecording)
    engine.say(opened(RUN))
    engine.answer(run_id=RUN)
    run = session.store.shown
    assert run is not None
    assert run.is_recording
    assert not faults


def test_only_the_newest_moment_waits_while_one_is_under_way(
    session: Session, engine: FakeEngine
) -> None:
    engine.come_up()
    open_recording(session, engine)
    engine.sent.clear()
    for at_s in (100.0, 200.0, 300.0, 400.0):
        session.library.scrub(RUN, at_s)
    assert [command.at_s for command in engine.sent] == [100.0]  # type: ignore[union-attr]
    engine.say(opened(RUN, 100.0))
    engine.answer(run_id=RUN)
    assert [command.at_s for command in engine.sent] == [100.0, 400.0]  # type: ignore[union-attr]
    engine.say(opened(RUN, 400.0))
    engine.answer(run_id=RUN)
    assert not session.library.is_scrubbing
    run = session.store.shown
    assert run is not None
    assert run.latest is not None
    assert run.latest.t_s == 400.0
    assert run.latest.state is RunState.RUNNING


def test_scrubbing_back_takes_events_and_buckets_back_too(
    session: Session, engine: FakeEngine
) -> None:
    engine.come_up()
    open_recording(session, engine)
    run = session.store.runs[RUN]
    num_events, num_buckets = len(run.events), len(run.recent)
    engine.say(opened(RUN, 100.0))
    assert 0 < len(run.events) < num_events
    assert 0 < len(run.recent) < num_buckets
    engine.say(opened(RUN))
    assert len(run.events) == num_events
    assert len(run.recent) == num_buckets


def test_scrubbing_stops_at_a_fault_and_says_so(
    session: Session, engine: FakeEngine, faults: list[Fault]
) -> None:
    engine.come_up()
    open_recording(session, engine)
    session.library.scrub(RUN, 100.0)
    session.library.scrub(RUN, 200.0)
    number = len(engine.sent)
    engine.answer(Fault("The recording is gone"))
    assert [fault.what for fault in faults] == ["The recording is gone"]
    assert not session.library.is_scrubbing
    assert len(engine.sent) == number


def test_a_closed_recording_leaves_the_screen_and_does_not_come_back(
    session: Session, engine: FakeEngine
) -> None:
    engine.come_up()
    open_recording(session, engine)
    session.library.scrub(RUN, 100.0)
    session.library.close(RUN)
    assert session.store.shown_run_id == ""
    engine.say(opened(RUN, 100.0))
    engine.answer(run_id=RUN)
    assert RUN not in session.store.runs


def test_the_loss_of_the_cluster_leaves_recordings_as_they_are(
    running: Session, engine: FakeEngine
) -> None:
    open_recording(running, engine)
    engine.say(opened(RUN, 100.0))
    running.store.interrupt(RUN, "the cluster was lost")
    running.store.interrupt(RUN_ID, "the cluster was lost")
    assert running.store.runs[RUN].state is RunState.RUNNING
    assert running.store.runs[RUN_ID].state is RunState.INTERRUPTED


@pytest.mark.parametrize("is_live", [False, True])
def test_the_answer_to_a_history_query_becomes_the_runs_detail(
    running: Session, engine: FakeEngine, is_live: bool
) -> None:
    if not is_live:
        open_recording(running, engine)
    run_id = RUN_ID if is_live else RUN
    answers: list[object] = []
    running.library.query_history(run_id, 100.0, 200.0, 50, answers.append)
    query = engine.sent[-1]
    assert isinstance(query, QueryHistory)
    answer: HistoryRange = history_range(query)
    engine.say(answer)
    engine.answer()
    detail = running.store.runs[run_id].detail
    assert detail is not None
    assert len(answers) == 1
    assert (detail.start_s, detail.end_s) == (100.0, 200.0)
    assert detail.series.bucket_s == 2.0
    assert np.array_equal(detail.series.num_env_steps, answer.history.num_env_steps)
