"""Several runs at once: which of them are read, how closely, and what is drawn of them."""

import pytest

from raydash.core.messages import AttachRun, Command, Connect, FollowRuns, RunList, StartRun
from raydash.core.spec import RunSpec
from raydash.core.states import EngineState, RunState
from raydash.link.session import Session
from tests.fakes.engines.engine import FakeEngine, summary

FIRST, SECOND, THIRD = "20261122-120000-a", "20261122-120100-b", "20261122-120200-c"


def follows(engine: FakeEngine) -> list[tuple[str, ...] | None]:
    return [command.run_ids for command in engine.sent if isinstance(command, FollowRuns)]


def of(engine: FakeEngine, kind: type[Command]) -> list[Command]:
    return [command for command in engine.sent if isinstance(command, kind)]


def start(session: Session, engine: FakeEngine, run_id: str) -> None:
    session.start_run(RunSpec())
    number = next(c.command_id for c in reversed(engine.sent) if isinstance(c, StartRun))
    engine.answer(run_id=run_id, to=number)
    engine.update(run_id)


@pytest.fixture
def two(session: Session, engine: FakeEngine) -> Session:
    """Two runs of this window go on; the second is on screen."""
    engine.come_up()
    start(session, engine, FIRST)
    start(session, engine, SECOND)
    return session


def test_a_single_run_needs_no_follow_command(session: Session, engine: FakeEngine) -> None:
    engine.come_up()
    start(session, engine, FIRST)
    assert follows(engine) == []


def test_a_run_off_the_screen_is_read_seldom_and_closely_again_when_it_is_overlaid(
    two: Session, engine: FakeEngine
) -> None:
    assert follows(engine) == [(SECOND,)]
    assert two.store.runs[FIRST].rests
    two.overlay(FIRST, drawn=True)
    assert follows(engine)[-1] is None
    assert not two.store.runs[FIRST].rests
    two.overlay(FIRST, drawn=False)
    assert follows(engine)[-1] == (SECOND,)


def test_updates_of_a_run_that_is_read_seldom_are_applied_and_their_merging_is_not_counted(
    two: Session, engine: FakeEngine
) -> None:
    first = two.store.runs[FIRST]
    engine.update(FIRST, snapshot=False)  # was under way
    for _ in range(4):
        engine.update(SECOND, snapshot=False)
    before = first.num_merged
    engine.update(FIRST, state=RunState.PAUSED, snapshot=False, merged=9)
    assert first.num_merged == before
    assert first.state is RunState.PAUSED
    two.overlay(FIRST, drawn=True)
    engine.update(FIRST, snapshot=False, merged=9)
    assert first.num_merged == before
    engine.update(FIRST, snapshot=False, merged=2)
    assert first.num_merged == before + 2


def test_a_run_that_is_over_needs_no_follow_command(two: Session, engine: FakeEngine) -> None:
    engine.update(FIRST, state=RunState.STOPPED, snapshot=False, last=True)
    assert follows(engine) == [(SECOND,), None]


def test_a_live_run_of_others_is_attached_when_it_is_overlaid(
    two: Session, engine: FakeEngine
) -> None:
    engine.say(RunList((summary(FIRST), summary(SECOND), summary(THIRD, owner="eve@there"))))
    two.overlay(THIRD, drawn=True)
    assert of(engine, AttachRun)[-1].run_id == THIRD  # type: ignore[union-attr]
    assert two.store.overlaid == (THIRD,)
    assert two.store.shown_run_id == SECOND


def test_a_new_engine_reads_all_live_runs_again_as_closely_as_before(
    two: Session, engine: FakeEngine
) -> None:
    engine.become(EngineState.RECONNECTING)
    engine.sent.clear()
    engine.come_up(summary(FIRST), summary(SECOND))
    kinds = [type(command) for command in engine.sent]
    assert kinds == [Connect, AttachRun, AttachRun, FollowRuns]
    assert {c.run_id for c in of(engine, AttachRun)} == {FIRST, SECOND}  # type: ignore[union-attr]
    assert follows(engine) == [(SECOND,)]


def test_what_is_drawn_stays_drawn_when_an_overlaid_run_comes_on_screen(
    two: Session, engine: FakeEngine
) -> None:
    two.overlay(FIRST, drawn=True)
    two.show_run(FIRST)
    assert two.store.shown_run_id == FIRST
    assert two.store.overlaid == (SECOND,)
    start(two, engine, THIRD)
    assert two.store.overlaid == (SECOND,)
    two.overlay(THIRD, drawn=True)
    assert two.store.overlaid == (SECOND,), "what is on screen is drawn anyway"


def test_a_run_that_is_over_can_be_closed_and_a_live_one_cannot(
    two: Session, engine: FakeEngine
) -> None:
    engine.say(RunList((summary(FIRST), summary(SECOND))))
    two.close_run(FIRST)
    assert FIRST in two.store.runs
    engine.update(FIRST, state=RunState.STOPPED, snapshot=False, last=True)
    engine.say(RunList((summary(SECOND),)))
    two.overlay(FIRST, drawn=True)
    two.close_run(FIRST)
    assert FIRST not in two.store.runs
    assert two.store.overlaid == ()
    assert two.own_runs.live() == (SECOND,)


def test_a_run_is_placed_in_time_by_the_update_that_came_fastest(
    two: Session, engine: FakeEngine
) -> None:
    run = two.store.runs[FIRST]
    assert run.began_s == 400.0  # 600 s old when the clock was at 1000
    engine.update(FIRST, snapshot=False, t_s=599.7)
    assert run.began_s == 400.0
    engine.update(FIRST, snapshot=False, t_s=600.2)
    assert run.began_s == pytest.approx(399.8)
    engine.update(FIRST, snapshot=False, t_s=590.0)
    assert run.began_s == 410.0, "its supervisor was restarted"
