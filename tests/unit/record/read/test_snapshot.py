"""A recorded run comes back as it was: at its end, and at any instant before."""

import math
from pathlib import Path

import numpy as np
import pytest

from raydash.core.events import EventKind
from raydash.core.faults import FaultError
from raydash.core.records import EpisodeColumns
from raydash.core.states import Activity, EndedBy, Ending, RunState
from raydash.core.updates import HistoryDelta, RunFigures, WorkerColumns
from raydash.record.file.database import connect
from raydash.record.read.snapshot import RecordingReader, snapshot
from tests.fakes.recordings.recorded_run import COMMIT_S, RecordedRun, lived, record
from tests.fakes.runs.supervised_run import RUN_ID

RATES = {
    "env_steps_per_s_1s",
    "env_steps_per_s_10s",
    "env_steps_per_s_60s",
    "episodes_per_s_10s",
    "share_step",
    "share_reset",
    "share_policy",
    "share_idle",
}


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> RecordedRun:
    return lived(tmp_path_factory.mktemp("lived"))


def assert_same_buckets(mine: HistoryDelta, theirs: HistoryDelta) -> None:
    """Compare every episode, but only the total of steps, because 0.8 s are written at a time."""
    assert mine.bucket_s == theirs.bucket_s
    assert (mine.first_bucket, len(mine)) == (theirs.first_bucket, len(theirs))
    for name in ("num_terminated", "num_truncated", "num_both", "num_error", "return_n"):
        assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name
    for name in ("return_mean", "return_min", "return_max", "worker_return_mean"):
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-6)
    bound = 0.01 * np.nan_to_num(theirs.return_max - theirs.return_min) + 1e-9
    for name in ("return_p10", "return_p90"):
        off = np.abs(getattr(mine, name) - getattr(theirs, name))
        assert not (off > bound).any()
        assert np.array_equal(np.isnan(getattr(mine, name)), np.isnan(getattr(theirs, name)))
    assert mine.num_env_steps.sum() == pytest.approx(theirs.num_env_steps.sum())
    np.testing.assert_allclose(
        mine.worker_steps.sum(axis=0), theirs.worker_steps.sum(axis=0), rtol=1e-5
    )


def test_the_end_has_the_figures_that_the_live_run_had(
    recorded: RecordedRun,
) -> None:
    live, found = recorded.last, snapshot(recorded.path)
    for name in RunFigures.__slots__:
        mine, theirs = getattr(found.figures, name), getattr(live.figures, name)
        if name not in RATES:
            assert mine == pytest.approx(theirs, rel=1e-12, nan_ok=True), name
    assert found.figures.env_steps_per_s_10s == pytest.approx(
        live.figures.env_steps_per_s_10s, rel=0.1
    )
    assert found.figures.env_steps_per_s_60s == pytest.approx(
        live.figures.env_steps_per_s_60s, rel=0.05
    )
    assert found.figures.share_step == pytest.approx(live.figures.share_step, abs=0.02)
    assert (found.state, found.ended_by, found.cause, found.t_s) == (
        live.state,
        live.ended_by,
        live.cause,
        live.t_s,
    )
    assert found.num_workers == live.num_workers
    assert found.last
    assert found.since_seq == 0


def test_the_end_has_the_workers_that_the_live_run_had(
    recorded: RecordedRun,
) -> None:
    mine, theirs = snapshot(recorded.path).workers, recorded.last.workers
    for name in (
        "worker_index", "incarnation", "activity", "node", "num_env_steps", "num_episodes",
        "num_terminated", "num_truncated", "num_error", "return_n",
    ):  # fmt: skip
        assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name
    np.testing.assert_allclose(mine.return_mean, theirs.return_mean)
    for name in WorkerColumns.__slots__:
        assert getattr(mine, name).dtype == getattr(theirs, name).dtype, name


def test_the_end_has_the_history_and_events_that_the_live_run_had(
    recorded: RecordedRun,
) -> None:
    found, run = snapshot(recorded.path), recorded.run
    assert_same_buckets(found.recent, run.history.recent.delta(0))
    assert_same_buckets(found.whole, run.history.whole.delta(0))
    assert list(found.events) == recorded.reader.events
    live = EpisodeColumns.joined(recorded.reader.episodes)
    np.testing.assert_allclose(
        np.sort(found.episodes.end_s), np.sort(live.end_s)[-2000:], atol=1e-5
    )


@pytest.mark.parametrize("at_s", [0.0, 4.0, 9.3, 12.0, 15.7, 22.2, 29.9])
def test_an_instant_has_what_had_happened_by_then(recorded: RecordedRun, at_s: float) -> None:
    run, reader = recorded.run, recorded.reader
    with RecordingReader(recorded.path) as recording:
        then = recording.snapshot(at_s)
        end = recording.snapshot()
    episodes = run.recording.episodes()
    past = np.round(episodes.end_s, 5) <= at_s
    good = past & (episodes.ending != Ending.ERROR)
    assert then.t_s == at_s
    assert then.info == end.info
    assert then.info is not None
    assert then.info.recorded_until_s == end.t_s
    assert then.recent.return_n.sum() == then.whole.return_n.sum() == good.sum()
    if good.any():
        returns = episodes.episode_return[good]
        assert then.figures.episode_return_mean == pytest.approx(returns.mean())
        assert then.figures.episode_return_max == returns.max()
        newest = returns[np.argsort(episodes.end_s[good], kind="stable")][-100:]
        assert then.figures.recent_return_mean == pytest.approx(newest.mean())
        assert then.figures.recent_n == len(newest)
    assert all(event.t_s <= at_s for event in then.events)
    assert len(then.events) == sum(event.t_s <= at_s for event in reader.events)
    nearest = min(reader.updates, key=lambda update: abs(update.t_s - at_s))
    assert then.figures.elapsed_s == pytest.approx(nearest.figures.elapsed_s, abs=COMMIT_S)
    # A chunk is reported when it is complete, but its steps happened before.
    around = [
        u.figures.num_env_steps_sampled_lifetime
        for u in reader.updates
        if abs(u.t_s - at_s) <= COMMIT_S + 0.5
    ]
    assert min(around) <= then.figures.num_env_steps_sampled_lifetime <= max(around)
    assert then.figures.num_env_steps_sampled_lifetime == then.workers.num_env_steps.sum()


@pytest.mark.parametrize(
    ("at_s", "state", "activity"),
    [
        (5.0, RunState.RUNNING, Activity.STEPPING),
        (13.0, RunState.PAUSED, Activity.PAUSED),
        (18.0, RunState.RUNNING, Activity.STEPPING),
        (None, RunState.FINISHED, Activity.STOPPED),
        (1e9, RunState.FINISHED, Activity.STOPPED),
    ],
)
def test_an_instant_has_the_state_of_then(
    recorded: RecordedRun,
    at_s: float | None,
    state: RunState,
    activity: Activity,
) -> None:
    then = snapshot(recorded.path, at_s)
    assert then.state is state
    assert set(then.workers.activity) == {activity}
    assert (then.ended_by is EndedBy.SECONDS) == state.is_over


def test_workers_that_came_later_are_not_there_yet(
    recorded: RecordedRun,
) -> None:
    assert len(snapshot(recorded.path, 20.0).workers) == 2
    assert len(snapshot(recorded.path).workers) == 3


def test_moving_to_and_fro_gives_the_same_as_opening_anew(
    recorded: RecordedRun,
) -> None:
    with RecordingReader(recorded.path) as recording:
        for at_s in (30.0, 3.0, None, 17.5, 30.0):
            moved, fresh = recording.snapshot(at_s), snapshot(recorded.path, at_s)
            assert_same_buckets(moved.recent, fresh.recent)
            assert_same_buckets(moved.whole, fresh.whole)
            assert moved.figures == fresh.figures


def test_a_rate_is_zero_long_after_the_last_step(
    recorded: RecordedRun,
) -> None:
    paused = snapshot(recorded.path, 14.5).figures
    assert paused.env_steps_per_s_1s == 0
    assert paused.env_steps_per_s_60s > 0


def test_a_recording_that_was_never_closed_is_interrupted_and_has_all_that_was_committed(
    tmp_path: Path, recorded: RecordedRun
) -> None:
    batches = recorded.run.recording.batches
    path = record(tmp_path / f"{RUN_ID}.duckdb", batches[: len(batches) // 2], None)
    found = snapshot(path)
    assert (found.state, found.ended_by) == (RunState.INTERRUPTED, EndedBy.CLUSTER_LOST)
    episodes = EpisodeColumns.joined([batch.episodes for batch in batches[: len(batches) // 2]])
    assert found.figures.num_episodes_lifetime == len(episodes)
    assert found.t_s == pytest.approx(batches[len(batches) // 2 - 1].t_s)


def test_a_live_run_of_another_cluster_is_still_running(
    recorded: RecordedRun, tmp_path: Path
) -> None:
    batches = recorded.run.recording.batches
    path = record(tmp_path / f"{RUN_ID}.duckdb", batches[: len(batches) // 4], None)
    with RecordingReader(path, shown_as=Path("/elsewhere/run.duckdb"), is_live=True) as recording:
        found = recording.snapshot()
    assert found.state is RunState.RUNNING
    assert found.info is not None
    assert found.info.recording == "/elsewhere/run.duckdb"
    assert set(found.workers.activity) == {Activity.STEPPING}


def test_a_file_without_a_run_is_refused_in_words(tmp_path: Path) -> None:
    path = tmp_path / "new.duckdb"
    connect(path).close()
    with pytest.raises(FaultError, match="holds no run"):
        snapshot(path)


@pytest.mark.parametrize("content", [b"", b"not a database", b"\0" * 20_000])
def test_what_is_no_recording_is_refused_in_words(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.duckdb"
    path.write_bytes(content)
    with pytest.raises(FaultError):
        snapshot(path)
    with pytest.raises(FaultError):
        snapshot(tmp_path / "none.duckdb")


def test_a_recording_of_the_first_schema_opens_without_being_changed(
    tmp_path: Path, recorded: RecordedRun
) -> None:
    path = record(tmp_path / f"{RUN_ID}.duckdb", recorded.run.recording.batches[:50], None)
    connection = connect(path)
    connection.execute("DROP TABLE history")
    connection.execute("DROP TABLE scalars")
    connection.execute("ALTER TABLE run DROP COLUMN source")
    for column in ("ended_by", "draining", "paused_workers"):
        connection.execute(f"ALTER TABLE commits DROP COLUMN {column}")
    connection.execute("UPDATE run SET schema_version = 1")
    connection.close()
    before = path.read_bytes()
    assert snapshot(path).figures.num_episodes_lifetime > 0
    assert snapshot(path, 2.0).state is RunState.RUNNING
    assert path.read_bytes() == before


def test_worker_that_failed_stays_failed_at_the_end(recorded: RecordedRun, tmp_path: Path) -> None:
    path = tmp_path / f"{RUN_ID}.duckdb"
    path.write_bytes(recorded.path.read_bytes())
    connection = connect(path)
    connection.execute(
        "INSERT INTO events SELECT 1 + max(number), 20.0, ?, 'gave up', 2, '', 1 FROM events",
        [EventKind.WORKER_FAILED.value],
    )
    connection.close()
    assert list(snapshot(path).workers.activity) == [
        Activity.STOPPED,
        Activity.FAILED,
        Activity.STOPPED,
    ]


def test_a_return_that_is_no_number_has_no_place_among_the_extremes(
    recorded: RecordedRun, tmp_path: Path
) -> None:
    path = tmp_path / f"{RUN_ID}.duckdb"
    path.write_bytes(recorded.path.read_bytes())
    connection = connect(path)
    connection.execute("UPDATE episodes SET episode_return = 'nan' WHERE rowid % 10 = 1")
    low, high = connection.execute(
        "SELECT min(episode_return), max(episode_return) FROM episodes"
        " WHERE ending <> 3 AND NOT isnan(episode_return)"
    ).fetchone()
    connection.close()
    for at_s in (None, 39.9):
        figures = snapshot(path, at_s).figures
        assert math.isnan(figures.episode_return_mean)
        assert figures.episode_return_min == low
        assert figures.episode_return_max <= high
    assert snapshot(path).figures.episode_return_max == high


@pytest.mark.parametrize(("start_s", "end_s"), [(5.0, 2.0), (math.nan, 3.0), (0.0, math.nan)])
def test_moments_and_ranges_that_cannot_be_are_refused(
    recorded: RecordedRun, start_s: float, end_s: float
) -> None:
    with RecordingReader(recorded.path) as reader:
        with pytest.raises(FaultError, match="no such part"):
            reader.history(start_s, end_s, 10)
        with pytest.raises(FaultError, match="no such moment"):
            reader.snapshot(math.nan)
