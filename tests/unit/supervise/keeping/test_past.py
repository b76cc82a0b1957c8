"""A restarted supervisor restores what the one before it knew."""

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from raydash.core.events import EventKind
from raydash.core.history.history import Tier
from raydash.core.machine.machine import RunMachine
from raydash.core.machine.stimuli import CostFound, CreateWorker, PolicyVersion
from raydash.core.messages import Verb
from raydash.core.records import EpisodeColumns, EpisodeExtras
from raydash.core.spec import PolicySpec, RolloutSpec, RunSpec, StopSpec
from raydash.core.states import Activity, EndedBy
from raydash.core.updates import HistoryDelta
from raydash.record.export.document import figures_table
from raydash.record.file.database import connect
from raydash.record.file.rows import RecordBatch
from raydash.record.file.schema import bring_up_to_date
from raydash.record.read.details import details
from raydash.record.read.query import open_read_only
from raydash.record.read.restore import episodes_in_time_order
from raydash.record.read.snapshot import snapshot
from raydash.record.write.writer import RecordWriter
from raydash.supervise.keeping.recording import Past, read_past
from raydash.supervise.pools.pool import Report
from tests.fakes.recordings.recordings import incarnation_row, run_row
from tests.fakes.runs.supervised_run import TURN_S, SupervisedRun

BATCHES_PER_COMMIT = 4
KEPT = RolloutSpec(orphan_timeout_s=1e6)
_STEPS = ("num_env_steps", "worker_steps")
_EXACT = (
    "bucket_s", "first_bucket", "oldest_bucket", "num_terminated", "num_truncated", "num_both",
    "num_error", "return_n", "return_min", "return_max",
)  # fmt: skip


def committed(path: Path, batches: list[RecordBatch]) -> None:
    """Write the file of a supervisor that was killed after these batches were committed."""
    with closing(connect(path)) as connection:
        bring_up_to_date(connection)
        writer = RecordWriter(connection)
        writer.header(run_row(), incarnation_row())
        for number, first in enumerate(range(0, len(batches), BATCHES_PER_COMMIT), 1):
            writer.write(number, RecordBatch.merged(batches[first : first + BATCHES_PER_COMMIT]))


def past_of(tmp_path: Path, run: SupervisedRun) -> Past:
    path = tmp_path / "run.duckdb"
    committed(path, run.recording.batches)
    return read_past(path)


def run_for(run: SupervisedRun, seconds: float) -> None:
    """Let a run go on with few turns, which is quick: only its data matter here."""
    for _ in range(round(seconds / 0.2)):
        run.clock.advance(0.2)
        run.supervisor.turn()


def until_published(run: SupervisedRun) -> None:
    """Turn until everything that the run knows is handed to the recording."""
    seen = len(run.recording.batches)
    run.until(lambda: len(run.recording.batches) > seen)


def assert_same_history(restored: Tier, live: Tier, *, from_bucket: int = 0) -> None:
    """Compare buckets from `from_bucket` on, without steps, which a replay spreads differently."""
    one, other = restored.delta(0), live.delta(0)
    assert len(one) == len(other)
    part = slice(max(0, from_bucket - other.first_bucket), None)
    for name in HistoryDelta.__slots__:
        mine, theirs = getattr(one, name), getattr(other, name)
        if isinstance(theirs, np.ndarray):
            mine, theirs = mine[part], theirs[part]
        if name in _EXACT:
            np.testing.assert_array_equal(mine, theirs, err_msg=name)
        elif name in ("return_p10", "return_p90"):
            # The live one is approximate (1 % of the bucket's range), the query's is exact.
            span = (other.return_max - other.return_min)[part]
            off = np.nan_to_num(np.abs(mine - theirs))
            assert (off <= 0.01 * np.nan_to_num(span) + 1e-9).all(), name
            np.testing.assert_array_equal(np.isnan(mine), np.isnan(theirs), err_msg=name)
        elif name not in _STEPS:
            np.testing.assert_allclose(mine, theirs, rtol=1e-6, err_msg=name)


@pytest.mark.parametrize("seconds", [8.0, 95.0, 620.0])
def test_history_is_restored_as_it_was_and_nothing_is_counted_twice(
    tmp_path: Path, seconds: float
) -> None:
    run = SupervisedRun(3, rollout=KEPT)
    run_for(run, seconds)
    until_published(run)
    past = past_of(tmp_path, run)
    assert_same_history(past.history.whole, run.history.whole)
    assert_same_history(past.history.recent, run.history.recent)

    one, other = past.history.whole.delta(0), run.history.whole.delta(0)
    kept = int((seconds - 15.0) / other.bucket_s)
    if kept > 0:
        np.testing.assert_array_equal(one.worker_steps[:kept], other.worker_steps[:kept])
        np.testing.assert_array_equal(one.num_env_steps[:kept], other.num_env_steps[:kept])
    np.testing.assert_allclose(one.worker_steps.sum(0), other.worker_steps.sum(0), atol=2.0)
    spread = run.ledger.num_env_steps() / seconds  # what a second brings
    assert np.abs(np.cumsum(one.num_env_steps - other.num_env_steps)).max() < spread


def test_history_that_ended_is_restored_to_the_last_step(tmp_path: Path) -> None:
    run = SupervisedRun(2, stop=StopSpec(seconds=30.0))
    run.until(lambda: run.recording.last is not None, ceiling_s=60.0)
    past = past_of(tmp_path, run)
    assert_same_history(past.history.whole, run.history.whole)
    for name in _STEPS:
        np.testing.assert_array_equal(
            getattr(past.history.whole.delta(0), name), getattr(run.history.whole.delta(0), name)
        )


def test_a_recording_without_buckets_is_replayed(tmp_path: Path) -> None:
    run = SupervisedRun(2)
    run_for(run, 40.0)
    until_published(run)
    past_of(tmp_path, run)
    path = tmp_path / "run.duckdb"
    with closing(connect(path)) as connection:
        connection.execute("DELETE FROM history")
    past = read_past(path)
    assert_same_history(past.history.whole, run.history.whole)
    assert_same_history(past.history.recent, run.history.recent)
    again = past.history.to_record(30.0, 2)
    assert again is not None
    assert again.bucket.tolist() == list(range(60))


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE history SET returns = 'junk'::BLOB",
        "UPDATE history SET bucket = 7",
        "UPDATE history SET bucket_s = -1",
        "UPDATE history SET bucket = bucket + 1000000000000",
        "UPDATE history SET bucket_s = 3 WHERE bucket = 4",
        "INSERT INTO history SELECT h.* REPLACE (i AS bucket) FROM history h, range(5000) t(i)"
        " WHERE bucket = 3",
    ],
)
def test_buckets_that_make_no_sense_are_counted_anew(
    tmp_path: Path, damage: str, raydash_warnings: list[str]
) -> None:
    run = SupervisedRun(2)
    run_for(run, 40.0)
    until_published(run)
    past_of(tmp_path, run)
    path = tmp_path / "run.duckdb"
    with closing(connect(path)) as connection:
        connection.execute(damage)
    past = read_past(path)
    raydash_warnings.clear()
    assert_same_history(past.history.whole, run.history.whole)


def test_episodes_that_came_late_are_in_their_buckets(tmp_path: Path) -> None:
    """A worker was silent for so long that buckets were recorded without its episodes."""
    run = SupervisedRun(2)
    held: list[Report] = []

    def hold(report: Report) -> Report | None:
        if (
            isinstance(report, CostFound)
            or report.worker_index != 2
            or run.supervisor._now_s() < 12.0
        ):
            return report
        held.append(report)
        return None

    run.pool.change = hold
    run.turns(31.0)
    run.pool.change = lambda report: report
    run.pool._reports += held
    early = run.history.whole.delta(0)
    seen = run.supervisor._recording.batches  # type: ignore[attr-defined]
    batch = EpisodeColumns.joined([one.episodes for one in seen]).tail(7)
    late = EpisodeColumns(
        **{
            **{name: getattr(batch, name) for name in EpisodeColumns.__slots__},
            "end_s": np.linspace(5.0, 6.0, 7).round(5),
        }
    )
    run.account._merger._episodes.append(late)
    run.account._merger._extras.append(EpisodeExtras.unknown(len(late)))
    until_published(run)
    assert early.return_n[10:13].sum() < run.history.whole.delta(0).return_n[10:13].sum()
    past = past_of(tmp_path, run)
    assert_same_history(past.history.whole, run.history.whole)
    # They changed buckets that were recorded: those are recorded again, with all after them.
    again = past.history.to_record(30.0, 2)
    assert again is not None
    assert 10 <= again.bucket[0] <= 12


def test_restored_run_goes_on_where_the_machine_was(tmp_path: Path) -> None:
    run = SupervisedRun(3)
    reader = run.reader()
    run.turns(2.0, reader)
    run.command(reader, Verb.PAUSE, (2,))
    run.pool.crash(1, 0)
    run.turns(3.0, reader)
    run.command(reader, Verb.STOP)
    run.turns(TURN_S, reader)
    past = past_of(tmp_path, run)
    assert past.recorded.commanded == run.machine.commanded
    assert (past.recorded.commanded.paused_workers, past.recorded.commanded.ended_by) == (
        (2,),
        EndedBy.USER,
    )
    assert past.recorded.num_restarts == 1
    assert past.recorded.events[-1].kind is EventKind.RUN_STOPPING


def test_restarts_are_counted_alike_by_everybody_who_tells_of_them(tmp_path: Path) -> None:
    """Neither a change of scale nor another incarnation of the supervisor is a restart."""
    run = SupervisedRun(2)
    reader = run.reader()
    run.turns(2.0, reader)
    run.pool.crash(1, 0)
    run.until(lambda: run.worker(1).incarnation == 1 and run.roster_knows(1), reader)
    run.command(reader, Verb.SCALE, num_workers=1)
    run.until(lambda: run.worker(2).is_gone, reader)
    run.command(reader, Verb.SCALE, num_workers=2)
    run.until(lambda: run.worker(2).incarnation == 1 and run.roster_knows(2), reader)
    run.turns(1.0, reader)
    until_published(run)
    past = past_of(tmp_path, run)
    assert past.incarnations == {1: 2, 2: 2}
    path = tmp_path / "run.duckdb"
    with closing(open_read_only(path)) as connection:
        exported = figures_table(connection, path)["num_restarts"]
    shown = (details(path).num_restarts, exported, snapshot(path).figures.num_restarts)
    assert (past.recorded.num_restarts, *shown) == (1, 1, 1, 1)
    assert snapshot(path, 1.0).figures.num_restarts == 0


def test_stops_of_single_workers_outlive_their_supervisor(tmp_path: Path) -> None:
    run = SupervisedRun(4)
    reader = run.reader()
    run.turns(2.0, reader)
    run.command(reader, Verb.STOP, (1,))
    run.command(reader, Verb.KILL, (3,))
    run.command(reader, Verb.DRAIN, (4,))
    run.until(lambda: run.worker(4).is_gone and run.worker(1).is_gone, reader)
    until_published(run)
    past = past_of(tmp_path, run)
    assert past.recorded.commanded.stopped_workers == (1, 3, 4)
    machine = RunMachine(RunSpec(), past.recorded.commanded, incarnations=past.incarnations)
    made = [each for each in machine.start(0.0) if isinstance(each, CreateWorker)]
    assert [(each.worker_index, each.incarnation) for each in made] == [(2, 1)]
    assert {machine.activity_of(machine.workers[index]) for index in (1, 3, 4)} == {
        Activity.STOPPED
    }


def test_command_goes_on_record_before_anybody_hears_of_it() -> None:
    run = SupervisedRun(2)
    reader = run.reader()
    run.turns(2.0, reader)
    until_published(run)
    seen = len(run.recording.batches)
    assert not run.recording.urgent
    run.command(reader, Verb.PAUSE, (2,))
    run.turns(TURN_S, reader)
    assert len(run.recording.batches) == seen + 1
    assert run.recording.urgent == run.recording.batches[-1:]
    assert run.recording.urgent[0].commanded.paused_workers == (2,)
    run.command(reader, Verb.RESTART, (1,))  # nothing that another supervisor would have to know
    run.turns(2.0, reader)
    assert len(run.recording.urgent) == 1


def test_restart_does_not_read_the_episodes_of_the_whole_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = SupervisedRun(2, rollout=KEPT)
    run_for(run, 900.0)
    until_published(run)
    read: list[int] = []
    real = episodes_in_time_order

    def counted(path: Path, *, from_s: float) -> object:
        for episodes in real(path, from_s=from_s):
            read.append(len(episodes))
            yield episodes

    monkeypatch.setattr("raydash.supervise.keeping.past_history.episodes_in_time_order", counted)
    past = past_of(tmp_path, run)
    share = sum(read) / run.ledger.num_episodes()
    assert share < 0.05
    assert_same_history(past.history.whole, run.history.whole)
    assert_same_history(past.history.recent, run.history.recent)


def test_swapped_policy_is_what_a_restarted_supervisor_and_a_reader_of_the_file_have(
    tmp_path: Path,
) -> None:
    run = SupervisedRun(2)
    reader = run.reader()
    run.turns(2.0, reader)
    model = tmp_path / "model.zip"
    model.touch()
    policy = PolicySpec("sb3", str(model), trust=True)
    number = run.command(reader, Verb.SWAP, policy=policy)
    run.until(lambda: reader.answers[number], reader)
    run.turns(2.0, reader)
    until_published(run)
    assert past_of(tmp_path, run).recorded.commanded.version == PolicyVersion(policy, 1)
    path = next(tmp_path.glob("*.duckdb"))
    now, early = snapshot(path), snapshot(path, 1.0)
    assert (now.policy, now.weights_seq_no) == (policy, 1)
    assert (early.policy, early.weights_seq_no) == (None, 0)


def test_run_without_a_swap_goes_on_with_the_policy_of_its_spec(tmp_path: Path) -> None:
    run = SupervisedRun(2)
    run.turns(2.0)
    until_published(run)
    assert past_of(tmp_path, run).recorded.commanded.version == PolicyVersion()
