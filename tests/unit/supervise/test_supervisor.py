"""The supervisor with simulated workers: what it does, records, and sends to readers."""

import copy
import threading
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from raydash.core.events import Event, EventKind
from raydash.core.faults import Fault, FaultError
from raydash.core.history.series import HistorySeries
from raydash.core.machine.stimuli import CostFound, DeathCause
from raydash.core.messages import HistoryRange, Verb
from raydash.core.records import EnvError, EpisodeColumns, RolloutChunk
from raydash.core.spec import RolloutSpec, StopSpec
from raydash.core.states import Activity, EndedBy, Ending, RunState
from raydash.core.updates import HistoryDelta
from raydash.protocol.codec import decode
from raydash.supervise.account import backlog
from raydash.supervise.account.roster import NoProbes, WorkerVitals
from raydash.supervise.pools.pool import Report
from raydash.supervise.readers import GONE_AFTER_S
from raydash.supervise.supervisor import LAST_PULL_GRACE_S
from tests.fakes.runs.supervised_run import Reader, SupervisedRun


def stepping(num_workers: int = 2, **options: object) -> tuple[SupervisedRun, Reader]:
    """Start a run and return it once its workers step, with a reader who has seen that."""
    run = SupervisedRun(num_workers, **options)  # type: ignore[arg-type]
    reader = run.reader()
    run.until(lambda: run.activities() == {Activity.STEPPING}, reader)
    run.turns(0.5, reader)
    return run, reader


def is_in_incarnation(run: SupervisedRun, incarnation: int) -> bool:
    """Return whether the first worker is in this incarnation."""
    return run.worker(1).incarnation == incarnation


def stop(run: SupervisedRun, reader: Reader) -> None:
    """Stop the run and read to its end."""
    run.command(reader, Verb.STOP)
    run.until(lambda: reader.told_last, reader)


def assert_same_series(one: HistorySeries, other: HistorySeries) -> None:
    for name in HistoryDelta.__slots__:
        if name != "oldest_bucket":
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def assert_same_episodes(one: EpisodeColumns, other: EpisodeColumns) -> None:
    for name in EpisodeColumns.__slots__:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


# --- commands ---------------------------------------------------------------------------------


def test_pause_reaches_the_workers_and_is_answered_once() -> None:
    run, reader = stepping()
    number = run.command(reader, Verb.PAUSE)
    run.until(lambda: reader.answers[number], reader)
    assert [answer.fault for answer in reader.answers[number]] == [None]
    assert reader.latest is not None
    assert reader.latest.state is RunState.PAUSED
    assert set(reader.latest.workers.activity) == {Activity.PAUSED}
    steps = run.ledger.num_env_steps()
    run.turns(5.0, reader)
    assert run.ledger.num_env_steps() == steps
    assert len(reader.answers[number]) == 1


def test_resume_lets_the_workers_step_again() -> None:
    run, reader = stepping()
    run.command(reader, Verb.PAUSE)
    run.until(lambda: run.machine.state is RunState.PAUSED, reader)
    steps = run.ledger.num_env_steps()
    number = run.command(reader, Verb.RESUME)
    run.until(lambda: reader.answers[number] and run.ledger.num_env_steps() > steps, reader)
    assert reader.latest is not None
    assert reader.latest.state is RunState.RUNNING


def test_stop_is_answered_when_the_run_has_ended() -> None:
    run, reader = stepping()
    number = run.command(reader, Verb.STOP)
    run.until(lambda: reader.told_last, reader)
    assert [answer.fault for answer in reader.answers[number]] == [None]
    assert reader.latest is not None
    assert (reader.latest.state, reader.latest.ended_by) == (RunState.STOPPED, EndedBy.USER)
    assert reader.latest.last
    assert run.supervisor.is_done


def test_an_answer_does_not_wait_for_the_next_regular_version() -> None:
    run, reader = stepping()
    run.until(lambda: run.supervisor._last_publish_s == run.supervisor._now_s(), reader)
    number = run.command(reader, Verb.KEEP)
    run.turns(0.02, reader)
    assert reader.answers[number]


def test_an_answer_that_nobody_fetches_does_not_quicken_the_versions() -> None:
    run, reader = stepping()
    run.command(run.reader("sleeper"), Verb.KEEP)
    run.turns(0.1, reader)
    seen = reader.seq
    run.turns(2.0, reader)
    assert 4 <= reader.seq - seen <= 21


def test_a_command_of_nobody_is_carried_out_and_nobody_waits_for_the_end() -> None:
    run, reader = stepping()
    nobody = Reader(run.supervisor, "")
    run.command(nobody, Verb.STOP)
    run.until(lambda: reader.told_last, reader)
    assert run.supervisor.is_done


def test_each_reader_gets_the_answers_to_its_own_commands_only() -> None:
    run, one = stepping()
    other = run.reader("other")
    mine = run.command(one, Verb.PAUSE, (1,))
    theirs = run.command(other, Verb.PAUSE, (9,))
    run.until(lambda: one.answers[mine] and other.answers[theirs], one, other)
    assert [answer.fault for answer in one.answers[mine]] == [None]
    assert other.answers[theirs][0].fault is not None
    assert (set(one.answers), set(other.answers)) == ({mine}, {theirs})


def test_a_reader_that_was_suspended_finds_its_answer() -> None:
    run, reader = stepping()
    number = run.command(reader, Verb.PAUSE)
    run.turns(GONE_AFTER_S + 2.0)
    reader.pull()
    assert [answer.fault for answer in reader.answers[number]] == [None]


def test_the_number_of_workers_changes_while_the_run_goes_on() -> None:
    run, reader = stepping(2)
    run.command(reader, Verb.SCALE, num_workers=5)
    run.until(lambda: len(run.machine.workers) == 5, reader)
    run.turns(1.0, reader)
    assert reader.latest is not None
    assert (reader.latest.workers.num_env_steps > 0).all()
    assert len(reader.latest.workers) == 5
    assert reader.whole.worker_steps.shape[1] == 5


def test_a_recording_that_fails_and_one_that_goes_on_again_are_events() -> None:
    run, reader = stepping()
    run.recording.fault = "the disk is full"
    run.turns(1.0, reader)
    run.recording.fault = "the disk is full; 3 episodes could not be kept"
    run.turns(1.0, reader)
    run.recording.fault = ""
    run.turns(1.0, reader)
    failed = [each for each in reader.events if each.kind is EventKind.RECORDING_FAILED]
    resumed = [each for each in reader.events if each.kind is EventKind.RECORDING_RESUMED]
    assert [event.text for event in failed] == [
        "the recording fails, the run goes on: the disk is full"
    ]
    assert len(resumed) == 1
    assert resumed[0].t_s > failed[0].t_s + 1.0
    assert [event.kind for event in run.recording.events()].count(EventKind.RECORDING_FAILED) == 1


# --- deaths -----------------------------------------------------------------------------------


def test_a_crashed_worker_is_seen_made_anew_and_counted_once() -> None:
    run, reader = stepping()
    run.pool.crash(1, 0, DeathCause.CRASHED, "its process ended")
    run.turns(0.12, reader)
    assert reader.latest is not None
    assert reader.latest.workers.activity[0] == Activity.RESTARTING
    run.until(lambda: run.worker(1).incarnation == 1 and run.activities() == {Activity.STEPPING})
    run.turns(1.0, reader)
    kinds = reader.kinds()
    assert kinds.count(EventKind.WORKER_DIED) == 1
    assert kinds.count(EventKind.WORKER_RESTARTED) == 1
    assert reader.latest.figures.num_restarts == 1
    assert reader.latest.workers.incarnation.tolist() == [1, 0]


def test_no_step_of_a_dead_incarnation_is_lost_or_counted_twice() -> None:
    run, reader = stepping()
    for incarnation in range(3):
        run.pool.crash(1, incarnation)
        run.until(partial(is_in_incarnation, run, incarnation + 1), reader)
        run.turns(0.7, reader)
    stop(run, reader)
    assert_account_equals_chunks(run, reader)


def test_a_restart_within_one_version_leaves_each_incarnation_its_own_totals() -> None:
    run, reader = stepping(1)

    def chunk_waits_for_its_version() -> object:
        run.supervisor._last_publish_s = run.supervisor._now_s()  # the last one was a moment ago
        return run.account._merger._totals

    run.until(chunk_waits_for_its_version, reader)
    run.command(reader, Verb.RESTART, (1,))
    run.turns(1.0, reader)
    newest = {(chunk.worker_index, chunk.incarnation): chunk.totals for chunk in run.pool.chunks}
    assert set(newest) == {(1, 0), (1, 1)}
    assert run.recording.totals() == newest


def test_a_late_report_of_an_earlier_incarnation_does_not_touch_its_successor() -> None:
    run, reader = stepping()
    late = run.pool.chunks[0]
    run.pool.crash(1, 0)
    run.until(lambda: run.worker(1).incarnation == 1 and run.roster_knows(1), reader)
    run.turns(0.3, reader)
    steps = int(run.ledger.totals()[0, 0])
    run.pool.crash(1, 0)
    run.supervisor._on_reports([late], run.supervisor._now_s())
    run.turns(0.04)
    assert run.roster_knows(1)
    assert run.worker(1).incarnation == 1
    assert int(run.ledger.totals()[0, 0]) >= steps
    stop(run, reader)
    assert reader.kinds().count(EventKind.WORKER_DIED) == 1
    assert_account_equals_chunks(run, reader)


def test_a_run_whose_workers_all_fail_says_why() -> None:
    run = SupervisedRun(1)
    reader = run.reader()
    for incarnation in range(5):
        run.until(partial(is_in_incarnation, run, incarnation), reader)
        run.pool.crash(1, incarnation, DeathCause.COULD_NOT_START, "no module named x")
        run.turns(0.1, reader)
    run.until(lambda: reader.told_last, reader)
    assert reader.latest is not None
    assert reader.latest.state is RunState.FAILED
    assert "no module" in reader.latest.cause


def test_chunks_that_are_collected_together_lie_one_after_the_other() -> None:
    run, reader = stepping(1)
    held: list[Report] = []

    def hold(report: Report) -> Report | None:
        held.append(report)
        return None

    run.pool.change = hold
    run.until(lambda: len(held) == 2, reader)
    run.pool.change = lambda report: report
    run.pool._reports += held
    run.supervisor._last_publish_s = run.supervisor._now_s()  # the last one was a moment ago
    run.turns(0.02)
    (_, start_s, middle_s, _), (_, later_s, end_s, _) = run.account._merger._steps
    assert middle_s == pytest.approx(later_s)
    first, second = [report for report in held if isinstance(report, RolloutChunk)]
    assert middle_s - start_s == pytest.approx(first.duration_s)
    assert end_s - later_s == pytest.approx(second.duration_s)
    assert end_s == run.supervisor._now_s()
    one, other = run.account._merger._episodes
    assert one.end_s.max() <= middle_s + 1e-5 <= other.end_s.min() + 2e-5
    stop(run, reader)
    assert_account_equals_chunks(run, reader)


def test_workers_that_scaling_brings_back_are_no_restarts() -> None:
    run, reader = stepping(2)
    run.command(reader, Verb.SCALE, num_workers=1)
    run.until(lambda: run.worker(2).is_gone, reader)
    run.command(reader, Verb.SCALE, num_workers=2)
    run.until(lambda: run.activities() == {Activity.STEPPING}, reader)
    run.turns(0.5, reader)
    assert reader.latest is not None
    assert reader.latest.workers.incarnation.tolist() == [0, 1]
    assert reader.latest.figures.num_restarts == 0


# --- history ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("start_s", "end_s", "at_most"), [(0, 60, 1000), (10, 40, 7), (50, 99, 1)])
def test_a_part_of_the_history_is_answered_from_memory_if_nothing_is_recorded(
    start_s: float, end_s: float, at_most: int
) -> None:
    run, _ = stepping()
    run.turns(60.0)
    found: HistoryRange = decode(run.supervisor.history(start_s, end_s, at_most))
    part, whole = found.history, run.history.whole.delta(0)
    assert 0 < len(part) <= at_most
    assert part.oldest_bucket == part.first_bucket
    first_s, last_s = (
        part.first_bucket * part.bucket_s,
        part.bucket_s * (part.first_bucket + len(part)),
    )
    assert first_s <= start_s
    assert last_s >= min(end_s, run.supervisor._now_s())
    inside = slice(round(first_s / whole.bucket_s), round(last_s / whole.bucket_s))
    assert part.num_env_steps.sum() == pytest.approx(whole.num_env_steps[inside].sum())
    assert part.return_n.sum() == whole.return_n[inside].sum()
    assert part.worker_steps.shape[1] == 2


@pytest.mark.parametrize(("start_s", "end_s"), [(5.0, 1.0), (np.nan, 1.0), (0.0, np.inf)])
def test_a_part_that_can_not_be_is_refused(start_s: float, end_s: float) -> None:
    run, _ = stepping()
    with pytest.raises(FaultError, match="no such part"):
        run.supervisor.history(start_s, end_s, 100)


def test_a_part_before_the_beginning_or_after_the_end_is_empty() -> None:
    run, _ = stepping()
    for start_s, end_s in ((1000.0, 2000.0), (-9.0, -5.0)):
        found: HistoryRange = decode(run.supervisor.history(start_s, end_s, 10))
        assert found.history.num_env_steps.sum() == 0


def test_a_fault_keeps_its_words_between_processes() -> None:
    fault = Fault("It broke", "the disk is full", "Free some space")
    # As Ray carries an exception: bytes that one of our own processes wrote.
    copied = copy.copy(FaultError(fault))
    assert copied.fault == fault
    assert str(copied) == fault.sentence()


# --- readers ----------------------------------------------------------------------------------


def test_a_reader_gets_a_snapshot_and_then_numbered_updates() -> None:
    run, reader = stepping()
    run.turns(2.0, reader)
    first, *others = reader.updates
    assert first.since_seq == 0
    assert first.spec is not None
    assert first.info is not None
    assert [update.since_seq for update in others] == [update.seq for update in reader.updates[:-1]]
    assert all(update.info is None and update.spec is None for update in others)
    assert reader.num_merged == 0


def test_nothing_is_sent_to_a_reader_who_has_everything() -> None:
    _, reader = stepping()
    reader.pull()
    assert reader.pull() == []


def test_a_waiting_reader_is_woken_by_the_next_version(
    wait_until: Callable[..., None],
) -> None:
    run, reader = stepping()
    answers: list[int] = []
    waiting = threading.Thread(
        target=lambda: answers.append(
            run.supervisor.pull(reader.name, reader.incarnation, reader.seq, 60.0)[1]
        )
    )
    waiting.start()

    def is_answered() -> bool:
        run.turns(0.02)
        return bool(answers)

    wait_until(is_answered, "the reader is woken")
    waiting.join()
    assert answers[0] > reader.seq


def test_two_readers_see_the_same() -> None:
    run, one = stepping()
    other = run.reader("other")
    run.turns(3.0, one, other)
    assert one.updates[-8:] != []
    assert [u.seq for u in one.updates[-8:]] == [u.seq for u in other.updates[-8:]]
    assert one.latest is not None
    assert other.latest is not None
    assert one.latest.figures == other.latest.figures
    assert_same_series(one.recent, other.recent)
    assert_same_series(one.whole, other.whole)
    assert one.num_episodes() == other.num_episodes()


@settings(max_examples=20)
@given(st.lists(st.tuples(st.floats(0.02, 3.0), st.booleans()), min_size=1, max_size=5))
def test_a_slow_reader_knows_in_the_end_what_a_fast_one_knows(
    pauses: list[tuple[float, bool]],
) -> None:
    run = SupervisedRun(3)
    fast, slow = run.reader("fast"), run.reader("slow")
    fast.pull()
    slow.pull()
    for seconds, crash in pauses:
        if crash and 1 in run.machine.workers:
            run.pool.crash(1, run.worker(1).incarnation)
        run.turns(seconds, fast)
        slow.pull()
    assert fast.seq == slow.seq
    assert fast.num_episodes() == slow.num_episodes()
    assert [event.number for event in fast.events] == [event.number for event in slow.events]
    assert_same_series(fast.recent, slow.recent)
    assert_same_series(fast.whole, slow.whole)
    assert_same_episodes(EpisodeColumns.joined(fast.episodes), EpisodeColumns.joined(slow.episodes))
    assert slow.num_merged == fast.seq - len(slow.updates)
    assert fast.latest is not None
    assert slow.latest is not None
    np.testing.assert_equal(asdict(fast.latest.figures), asdict(slow.latest.figures))


def test_no_event_is_told_before_its_version_is_closed_or_twice() -> None:
    run, reader = stepping()
    run.until(lambda: run.supervisor._last_publish_s == run.supervisor._now_s(), reader)
    run.command(reader, Verb.PAUSE, (1,))
    run.turns(0.02)
    late = run.reader("late")
    late.pull()
    run.turns(1.0, reader, late)
    for one in (reader, late):
        numbers = [event.number for event in one.events]
        assert numbers == list(range(1, len(numbers) + 1))


def test_of_very_many_episodes_the_newest_come_and_the_others_are_counted() -> None:
    run, slow = stepping(64)
    fast = run.reader("fast")
    slow.pull()
    fast.pull()
    base = slow.num_episodes() - fast.num_episodes()
    seen = len(slow.episodes)
    run.turns(3.0, fast)
    slow.pull()
    (newest,) = slow.episodes[seen:]
    assert len(newest) == 2000
    assert slow.num_episodes() - fast.num_episodes() == base
    assert slow.latest is not None
    assert slow.num_episodes() == slow.latest.figures.num_episodes_lifetime
    assert_same_episodes(newest, EpisodeColumns.joined(fast.episodes).tail(2000))


def test_a_snapshot_counts_every_episode_once() -> None:
    run, reader = stepping(8)
    run.turns(1.02, reader)
    late = run.reader("late")
    late.pull()
    run.turns(1.0, reader, late)
    assert late.latest is not None
    shown = late.latest.figures.num_episodes_lifetime
    assert late.num_episodes() == reader.num_episodes() == shown


def test_a_reader_far_behind_gets_a_snapshot(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backlog, "MAX_VERSIONS", 10)
    run, reader = stepping()
    reader.pull()
    run.turns(8.0)
    (update,) = reader.pull()
    assert update.since_seq == 0
    assert reader.num_episodes() == update.figures.num_episodes_lifetime


@pytest.mark.parametrize("since_seq", [7, 10**9])
def test_a_reader_of_an_earlier_supervisor_gets_a_snapshot(since_seq: int) -> None:
    run = SupervisedRun(1, incarnation=1)
    run.turns(1.0)
    reader = run.reader()
    reader.incarnation, reader.seq = 0, since_seq
    (update,) = reader.pull()
    assert update.since_seq == 0
    assert reader.incarnation == 1
    assert EventKind.SUPERVISOR_RESTARTED in reader.kinds()


def test_events_go_on_where_the_recording_ended() -> None:
    past = [Event(1, 0.0, EventKind.RUN_STARTED, "run started")]
    run = SupervisedRun(1, incarnation=1, events=past)
    reader = run.reader()
    run.turns(0.2, reader)
    assert [event.number for event in reader.events[:2]] == [1, 2]
    assert reader.events[1].kind is EventKind.SUPERVISOR_RESTARTED
    assert past[0] not in run.recording.events()


def test_a_run_ends_itself_some_time_after_its_last_reader_is_gone() -> None:
    run, reader = stepping(rollout=RolloutSpec(orphan_timeout_s=20.0))
    run.turns(30.0, reader)
    assert run.machine.state is RunState.RUNNING
    run.turns(GONE_AFTER_S + 19.0)
    assert run.machine.state is RunState.RUNNING
    run.turns(3.0)
    assert run.machine.ended_by is EndedBy.ORPHANED


def test_a_reader_that_leaves_is_gone_at_once() -> None:
    run, reader = stepping(rollout=RolloutSpec(orphan_timeout_s=2.0))
    run.supervisor.leave(reader.name)
    run.turns(2.5)
    assert run.machine.ended_by is EndedBy.ORPHANED


def test_the_last_update_stays_until_every_reader_has_it() -> None:
    run, one = stepping()
    other = run.reader("other")
    other.pull()
    run.command(one, Verb.STOP)
    run.until(lambda: one.told_last, one)
    assert not run.supervisor.is_done
    other.pull()
    assert other.told_last
    assert other.latest is not None
    assert other.latest.last
    assert run.supervisor.is_done


def test_a_reader_that_died_does_not_keep_a_run_that_is_over() -> None:
    run, reader = stepping()
    run.command(reader, Verb.STOP)
    run.until(lambda: run.machine.is_over)
    assert not run.supervisor.is_done
    run.turns(LAST_PULL_GRACE_S + 0.1)
    assert run.supervisor.is_done


def test_a_command_after_the_end_is_answered() -> None:
    run, reader = stepping()
    run.command(reader, Verb.STOP)
    run.until(lambda: run.machine.is_over)
    number = run.command(reader, Verb.PAUSE)
    run.turns(0.02, reader)
    assert reader.answers[number][0].fault is not None


# --- what is recorded -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stop", "ended_by"),
    [
        (StopSpec(env_steps=5000), EndedBy.ENV_STEPS),
        (StopSpec(episodes=100), EndedBy.EPISODES),
        (StopSpec(seconds=2.0), EndedBy.SECONDS),
    ],
)
def test_a_stop_condition_ends_the_run_with_everything_recorded(
    stop: StopSpec, ended_by: EndedBy
) -> None:
    run = SupervisedRun(2, stop=stop)
    reader = run.reader()
    run.until(lambda: reader.told_last, reader)
    assert reader.latest is not None
    assert (reader.latest.state, reader.latest.ended_by) == (RunState.FINISHED, ended_by)
    assert reader.latest.last
    assert_account_equals_chunks(run, reader)
    assert_recording_equals_last_update(run, reader)


def test_crashes_scaling_and_errors_leave_recording_and_figures_equal() -> None:
    run, reader = stepping(3)
    errors = FailingNow()
    run.pool.change = errors
    run.turns(0.5, reader)
    run.pool.crash(2, 0)
    run.command(reader, Verb.SCALE, num_workers=4)
    errors.each = 3
    run.turns(2.0, reader)
    run.command(reader, Verb.RESTART, (1,))
    run.turns(1.5, reader)
    stop(run, reader)
    assert_account_equals_chunks(run, reader)
    assert_recording_equals_last_update(run, reader)


_MOVES = st.one_of(
    st.tuples(st.just("crash"), st.integers(1, 4)),
    st.tuples(st.just("pass"), st.floats(0.02, 1.0)),
    st.tuples(st.just("scale"), st.integers(1, 4)),
    st.tuples(
        st.sampled_from([Verb.PAUSE, Verb.RESUME, Verb.RESTART, Verb.KILL, Verb.STOP, Verb.DRAIN]),
        st.one_of(st.none(), st.integers(1, 4)),
    ),
)


@settings(max_examples=30)
@given(st.lists(_MOVES, max_size=12))
def test_whatever_happens_the_recording_equals_the_last_figures(
    moves: list[tuple[object, ...]],
) -> None:
    run, reader = stepping(3)
    commands: list[int] = []
    for move in moves:
        match move:
            case ("crash", int(index)) if index in run.machine.workers:
                run.pool.crash(index, run.worker(index).incarnation)
            case ("pass", float(seconds)):
                run.turns(seconds, reader)
            case ("scale", int(number)):
                commands.append(run.command(reader, Verb.SCALE, num_workers=number))
            case (Verb() as verb, int(index)):
                commands.append(run.command(reader, verb, (index,)))
            case (Verb() as verb, None):
                commands.append(run.command(reader, verb))
        run.turns(0.04, reader)
    commands.append(run.command(reader, Verb.STOP))
    run.until(lambda: reader.told_last and reader.answers[commands[-1]], reader)
    assert [len(reader.answers[number]) for number in commands] == [1] * len(commands)
    assert_account_equals_chunks(run, reader)
    assert_recording_equals_last_update(run, reader)


def test_nothing_is_counted_once_the_recording_is_closed() -> None:
    run, reader = stepping(1)
    run.command(reader, Verb.STOP)
    run.until(lambda: run.machine.is_over)
    steps = run.ledger.num_env_steps()
    run.pool.change = lambda report: report
    run.pool._reports.append(run.pool.chunks[-1])
    run.turns(1.0, reader)
    assert run.ledger.num_env_steps() == steps


def assert_account_equals_chunks(run: SupervisedRun, reader: Reader) -> None:
    """Compare the last figures with a recount over every chunk."""
    chunks = run.pool.chunks
    newest = {(chunk.worker_index, chunk.incarnation): chunk.totals for chunk in chunks}
    assert reader.latest is not None
    shown, workers = reader.latest.figures, reader.latest.workers
    assert shown.num_env_steps_sampled_lifetime == sum(t.num_env_steps for t in newest.values())
    assert shown.num_episodes_lifetime == sum(len(chunk.ending) for chunk in chunks)
    endings = np.concatenate([chunk.ending for chunk in chunks])
    assert shown.num_episodes_terminated_lifetime == int((endings == Ending.TERMINATED).sum())
    assert shown.num_episodes_truncated_lifetime == int((endings == Ending.TRUNCATED).sum())
    assert shown.num_episodes_error_lifetime == int((endings == Ending.ERROR).sum())
    assert workers.num_env_steps.sum() == shown.num_env_steps_sampled_lifetime
    assert workers.num_episodes.sum() == shown.num_episodes_lifetime
    assert reader.num_episodes() == shown.num_episodes_lifetime
    returns = np.concatenate([chunk.episode_return for chunk in chunks])
    assert shown.episode_return_mean == pytest.approx(np.nanmean(returns))
    assert shown.episode_return_max == np.nanmax(returns)
    assert reader.whole.num_env_steps.sum() == pytest.approx(shown.num_env_steps_sampled_lifetime)
    assert reader.whole.return_n.sum() == np.isfinite(returns).sum()


def assert_recording_equals_last_update(run: SupervisedRun, reader: Reader) -> None:
    recorded, totals = run.recording.episodes(), run.recording.totals()
    assert reader.latest is not None
    assert run.recording.last is not None
    assert run.recording.last.figures == reader.latest.figures
    shown = reader.latest.figures
    assert len(recorded) == shown.num_episodes_lifetime
    assert sum(t.num_env_steps for t in totals.values()) == shown.num_env_steps_sampled_lifetime
    assert sum(t.num_episodes for t in totals.values()) == shown.num_episodes_lifetime
    good = recorded.episode_return[recorded.ending != Ending.ERROR]
    assert shown.episode_return_mean == pytest.approx(good.mean())
    assert run.recording.events() == reader.events
    assert [event.number for event in reader.events] == list(range(1, len(reader.events) + 1))
    assert reader.events[-1].kind is EventKind.RUN_ENDED


# --- errors -----------------------------------------------------------------------------------


class FailingNow:
    """Lets the first `each` episodes of every chunk of some workers end in an error."""

    def __init__(self, each: int = 0, workers: tuple[int, ...] = (1, 2, 3, 4)) -> None:
        self.each = each
        self.workers = workers
        self.total = 0
        self._so_far: dict[tuple[int, int], list[int]] = {}

    def __call__(self, report: Report) -> Report:
        if not isinstance(report, RolloutChunk):
            return report
        so_far = self._so_far.setdefault((report.worker_index, report.incarnation), [0, 0, 0])
        count = min(self.each, len(report.ending)) if report.worker_index in self.workers else 0
        hit = report.ending[:count]
        so_far[0] += count
        so_far[1] += int((hit == Ending.TERMINATED).sum())
        so_far[2] += int((hit == Ending.TRUNCATED).sum())
        self.total += count
        ending, returns = report.ending.copy(), report.episode_return.copy()
        ending[:count], returns[:count] = Ending.ERROR, np.nan
        return replace(
            report,
            ending=ending,
            episode_return=returns,
            totals=replace(
                report.totals,
                num_error=so_far[0],
                num_terminated=report.totals.num_terminated - so_far[1],
                num_truncated=report.totals.num_truncated - so_far[2],
            ),
            errors=(EnvError(0.0, "step", "ValueError: no", "Traceback ..."),) if count else (),
        )


def test_errors_become_one_event_per_worker_and_second_and_all_are_counted() -> None:
    errors = FailingNow(each=5, workers=(1, 3))
    run, reader = stepping(3)
    run.pool.change = errors
    run.turns(10.0, reader)
    errors.each = 0
    run.turns(2.0, reader)
    events = [event for event in reader.events if event.kind is EventKind.ENV_ERROR]
    assert sum(event.count for event in events) == errors.total > 200
    for index in (1, 3):
        times = [event.t_s for event in events if event.worker_index == index]
        assert 8 <= len(times) <= 12
        assert np.diff(times).min() >= 0.99
    assert {event.worker_index for event in events} == {1, 3}
    assert "step raised ValueError: no" in events[0].text
    assert events[0].detail.startswith("Traceback")


def test_the_first_error_is_told_at_once_and_the_last_before_the_end() -> None:
    errors = FailingNow(each=1)
    run, reader = stepping(1)
    run.pool.change = errors
    run.until(lambda: errors.total, reader)
    run.turns(0.12, reader)
    assert reader.kinds().count(EventKind.ENV_ERROR) == 1
    run.turns(0.3, reader)
    run.command(reader, Verb.STOP)
    run.until(lambda: reader.told_last, reader)
    counted = sum(e.count for e in reader.events if e.kind is EventKind.ENV_ERROR)
    assert counted == errors.total
    assert reader.latest is not None
    assert reader.latest.figures.num_episodes_error_lifetime == errors.total


# --- what workers are doing -------------------------------------------------------------------


def test_activity_ages_are_true_for_a_reader_who_comes_late() -> None:
    run = SupervisedRun(1)
    run.turns(50.0)
    late = run.reader()
    late.pull()
    assert late.latest is not None
    assert late.latest.workers.activity.tolist() == [Activity.STEPPING]
    assert late.latest.workers.activity_age_s[0] == pytest.approx(50.0, abs=0.3)


def test_a_silent_worker_is_shown_as_stalled_with_its_age() -> None:
    run, reader = stepping(2)
    held: list[Report] = []

    def hold(report: Report) -> Report | None:
        if isinstance(report, CostFound) or report.worker_index != 2:
            return report
        held.append(report)
        return None

    run.pool.change = hold
    run.turns(8.0, reader)
    assert reader.latest is not None
    workers = reader.latest.workers
    assert workers.activity.tolist() == [Activity.STEPPING, Activity.STALLED]
    assert workers.activity_age_s[1] == pytest.approx(8.0, abs=0.4)
    assert workers.data_age_s[1] == pytest.approx(8.0, abs=0.4)
    run.pool.change = lambda report: report
    run.pool._reports += held
    run.turns(0.3, reader)
    assert reader.latest.workers.activity.tolist() == [Activity.STEPPING, Activity.STEPPING]


class Watched(NoProbes):
    """Probes whose vitals a test sets."""

    def __init__(self) -> None:
        self.seen: dict[int, WorkerVitals] = {}

    @override
    def vitals(self) -> dict[int, WorkerVitals]:
        return self.seen


def test_a_worker_inside_reset_is_shown_as_resetting_and_not_as_stalled() -> None:
    probes = Watched()
    run, reader = stepping(1, probes=probes)
    run.pool.change = lambda report: None
    for _ in range(10):
        t_s = run.supervisor._now_s()
        probes.seen = {1: WorkerVitals(t_s, 50.0, 1e8, is_resetting=True, moved_s=t_s)}
        run.turns(1.0, reader)
    assert reader.latest is not None
    assert reader.latest.workers.activity.tolist() == [Activity.RESETTING]
    assert reader.latest.workers.cpu_percent.tolist() == [50.0]


def test_memory_of_results_is_bounded_without_readers() -> None:
    run = SupervisedRun(4)
    run.turns(60.0)
    assert len(run.account._chunk_times_s) <= 4 * 10 * 11
