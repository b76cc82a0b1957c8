"""A restarted supervisor finds in the recording what it needs to go on."""

import time
from collections import defaultdict
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from raydash.core.faults import FaultError
from raydash.core.machine.requested_state import RequestedState
from raydash.core.records import EpisodeColumns, WorkerTotals
from raydash.core.states import Ending, RunState
from raydash.record.file.database import connect, wal_of
from raydash.record.file.rows import IncarnationRow, RecordBatch, RunEndRow
from raydash.record.read import query
from raydash.record.read.restore import (
    RecordedPast,
    episodes_in_time_order,
    late_episodes,
    restore,
    worker_steps_over_time,
)
from raydash.record.write.recorder import Recorder
from tests.fakes.recordings.recordings import SPEC, episodes, event, incarnation_row, run_row


def write(
    path: Path,
    batches: list[RecordBatch],
    *,
    life: IncarnationRow | None = None,
    end: RunEndRow | None = None,
) -> None:
    """Record batches and commit each on its own, as if half a second lay between them."""
    batches = batches or [RecordBatch(0.0, 0.0)]
    for batch in batches:
        one = Recorder(path, clock=time.monotonic, commit_interval_s=0.01)
        one.append(batch)
        one.begin(run_row(), life or incarnation_row())
        assert one.close(end if batch is batches[-1] else None)


def restored(path: Path) -> RecordedPast:
    past = restore(path)
    assert past is not None
    return past


def test_no_file_restores_as_nothing(tmp_path: Path) -> None:
    assert restore(tmp_path / "none.duckdb") is None


def test_file_without_a_run_restores_as_nothing(tmp_path: Path) -> None:
    connect(tmp_path / "new.duckdb").close()
    assert restore(tmp_path / "new.duckdb") is None


def test_totals_span_all_lives_of_a_worker(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    write(
        path,
        [
            RecordBatch(
                1.0,
                1.0,
                totals=[(1, 0, WorkerTotals(100, 3, 2, 1, 0, 1.5)), (2, 0, WorkerTotals(7))],
            ),
            RecordBatch(2.0, 2.0, totals=[(1, 0, WorkerTotals(150, 5, 4, 1, 0, 2.5))]),
            RecordBatch(3.0, 2.5, totals=[(1, 2, WorkerTotals(30, 1, 0, 1, 1, 0.25))]),
        ],
    )
    first, second = restored(path).workers
    assert (first.worker_index, first.incarnation) == (1, 2)
    assert first.totals == WorkerTotals(180, 6, 4, 2, 1, 2.75)
    assert (second.worker_index, second.incarnation, second.totals.num_env_steps) == (2, 0, 7)


def test_clocks_spec_and_lives_come_back(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    write(path, [RecordBatch(10.0, 8.0, RequestedState(3, keep=True, paused=True))])
    write(path, [RecordBatch(12.0, 9.0, RequestedState(5))], life=incarnation_row(1, 10.5))
    past = restored(path)
    assert past.spec == SPEC
    assert (past.last_t_s, past.elapsed_s) == (12.0, 9.0)
    assert past.commanded == RequestedState(num_workers=5)
    assert (past.num_incarnations, past.is_closed) == (2, False)


def test_run_without_episodes_restores_with_nan_figures(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    write(path, [])
    past = restored(path)
    assert (past.sums.return_n, past.sums.return_sum, past.sums.len_sum) == (0, 0.0, 0)
    assert np.isnan([past.sums.return_min, past.sums.return_max]).all()
    assert (len(past.recent), past.workers, past.events) == (0, (), ())


@settings(
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    lives=st.lists(
        st.lists(
            st.tuples(
                st.integers(1, 4),
                st.floats(allow_nan=False, allow_infinity=False, min_value=-1e9, max_value=1e9),
                st.integers(0, 1000),
                st.sampled_from(list(Ending)),
            ),
            max_size=150,
        ),
        min_size=1,
        max_size=3,
    )
)
def test_episode_figures_equal_an_independent_recount(
    tmp_path_factory: pytest.TempPathFactory,
    lives: list[list[tuple[int, float, int, Ending]]],
) -> None:
    path = tmp_path_factory.mktemp("r") / "run.duckdb"
    rows = [row for life in lives for row in life]
    first = 0
    batches = []
    for life in lives:
        columns = EpisodeColumns(
            end_s=np.arange(first, first + len(life), dtype=np.float64),
            worker_index=np.array([row[0] for row in life], np.int32),
            env_index=np.zeros(len(life), np.int32),
            incarnation=np.zeros(len(life), np.int32),
            episode_return=np.array(
                [np.nan if row[3] is Ending.ERROR else row[1] for row in life], np.float64
            ),
            episode_len=np.array([row[2] for row in life], np.int32),
            ending=np.array([row[3] for row in life], np.uint8),
            duration_s=np.ones(len(life), np.float32),
        )
        batches.append(
            RecordBatch(
                float(first),
                0.0,
                episodes=columns,
                totals=[(index, 0, WorkerTotals()) for index in range(1, 5)],
            )
        )
        first += len(life)
    write(path, batches)

    past = restored(path)
    good = [row for row in rows if row[3] is not Ending.ERROR]
    returns = [row[1] for row in good]
    sums = past.sums
    assert sums.num_both == sum(row[3] is Ending.BOTH for row in rows)
    assert sums.return_n == len(good)
    assert sums.return_sum == pytest.approx(sum(returns), abs=1e-3)
    assert sums.len_sum == sum(row[2] for row in good)
    if good:
        assert (sums.return_min, sums.return_max) == (min(returns), max(returns))
    assert past.recent.episode_return.tolist() == returns[-100:]
    of_worker = defaultdict(list)
    for row in good:
        of_worker[row[0]].append(row[1])
    assert {index: found.tolist() for index, found in past.recent_returns.items()} == {
        index: of_worker[index][-100:] for index in range(1, 5)
    }


def test_worker_that_was_silent_for_long_keeps_its_recent_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("raydash.record.read.restore.NEWEST_ROWS", 60)
    path = tmp_path / "run.duckdb"
    first = episodes(150, num_workers=1)
    second = episodes(300, seed=1, first_s=5.0, num_workers=1)
    second.worker_index[:] = 2
    totals = [(1, 0, WorkerTotals(9, 150)), (2, 0, WorkerTotals(9, 300))]
    write(
        path,
        [
            RecordBatch(1.0, 1.0, episodes=first),
            RecordBatch(6.0, 6.0, episodes=second, totals=totals),
        ],
    )
    found = restored(path).recent_returns
    # Sorted, because episodes that ended within 10 microseconds have no order.
    assert sorted(found[1]) == sorted(first.episode_return[-100:])
    assert sorted(found[2]) == sorted(second.episode_return[-100:])


def test_return_that_is_no_number_does_not_hide_smallest_and_largest(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    columns = episodes(10)
    columns.episode_return[:3] = [np.nan, 5.0, -5.0]
    columns.episode_return[3:] = 0.0
    write(path, [RecordBatch(1.0, 1.0, episodes=columns)])
    sums = restored(path).sums
    assert (sums.return_min, sums.return_max) == (-5.0, 5.0)
    assert np.isnan(sums.return_sum)


def test_events_come_back_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    events = [event(1), event(2, 1.5, 3), event(3, 2.5)]
    write(
        path, [RecordBatch(1.0, 1.0, events=events[:1]), RecordBatch(3.0, 3.0, events=events[1:])]
    )
    assert list(restored(path).events) == events
    with closing(query.open_read_only(path)) as connection:
        assert query.events_of(connection) == tuple(events)
        assert query.events_of(connection, 2) == tuple(events[1:])
        assert query.events_of(connection, 0) == ()


def test_history_comes_in_bounded_batches_sorted_by_time(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    columns = [episodes(250, seed=n, first_s=n * 0.5) for n in range(4)]
    write(path, [RecordBatch(float(n), 0.0, episodes=columns[n]) for n in range(4)])
    batches = list(episodes_in_time_order(path, batch_rows=300))
    assert [len(batch) for batch in batches] == [300, 300, 300, 100]
    for batch in batches:
        assert (np.diff(batch.end_s) >= 0).all()
    read = np.concatenate([batch.episode_return for batch in batches])
    np.testing.assert_array_equal(
        np.sort(read), np.sort(np.concatenate([c.episode_return for c in columns]))
    )


def test_steps_over_time_are_what_each_life_of_a_worker_gained(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    write(
        path,
        [
            RecordBatch(0.5, 0.5, totals=[(1, 0, WorkerTotals(10)), (2, 0, WorkerTotals(11))]),
            RecordBatch(1.0, 1.0, totals=[(1, 1, WorkerTotals(4))]),
            RecordBatch(2.0, 2.0, totals=[(1, 1, WorkerTotals(9)), (2, 0, WorkerTotals(41))]),
        ],
    )
    (steps,) = worker_steps_over_time(path)
    assert steps.t_s.tolist() == [0.5, 0.5, 1.0, 2.0, 2.0]
    assert steps.since_s.tolist() == [0.0, 0.0, 0.5, 1.0, 0.5]
    assert steps.worker_index.tolist() == [1, 2, 1, 1, 2]
    assert steps.num_env_steps.tolist() == [10, 11, 4, 5, 30]
    (late,) = worker_steps_over_time(path, from_s=1.5)
    assert late.since_s.tolist() == [1.0, 0.5]
    assert late.num_env_steps.tolist() == [5, 30]
    assert list(worker_steps_over_time(path, from_s=2.5)) == []


def test_episodes_from_some_time_on_are_all_there_and_late_ones_are_known(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    columns = [episodes(50, seed=n, first_s=n * 0.5) for n in range(4)]
    write(path, [RecordBatch(float(n), 0.0, episodes=columns[n]) for n in (0, 1, 3, 2)])
    ends = np.concatenate(
        [batch.end_s for batch in episodes_in_time_order(path, from_s=1.2, batch_rows=30)]
    )
    written = np.concatenate([one.end_s for one in columns])
    np.testing.assert_allclose(np.sort(ends), np.sort(written[written >= 1.2]), atol=6e-6)
    late = late_episodes(path, until_s=1.5, num_known=100)
    np.testing.assert_allclose(late.end_s, columns[2].end_s, atol=6e-6)
    assert len(late_episodes(path, until_s=1.5, num_known=150)) == 0
    assert len(late_episodes(path, until_s=1.5, num_known=10**9)) == 0


@pytest.mark.parametrize("damage", ["empty", "garbage", "cut", "zeroed head", "flipped bytes"])
def test_damaged_file_is_told_in_words_and_set_aside_untouched(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "run.duckdb"
    write(path, [RecordBatch(1.0, 1.0, episodes=episodes(50_000))])
    data = path.read_bytes()
    broken = {
        "empty": b"",
        "garbage": b"this is no database " * 5000,
        "cut": data[: len(data) // 2],
        "zeroed head": bytes(4096) + data[4096:],
        "flipped bytes": data[:4096] + bytes(b ^ 0xFF for b in data[4096:13_000]) + data[13_000:],
    }[damage]
    path.write_bytes(broken)
    wal_of(path).write_bytes(b"left over")
    with pytest.raises(FaultError, match="damaged"):
        restore(path)
    assert not path.exists()
    assert not wal_of(path).exists()
    aside = tmp_path / "run.duckdb.damaged-1"
    assert aside.read_bytes() == broken
    assert wal_of(aside).read_bytes() == b"left over"


def test_second_damaged_file_does_not_replace_the_first(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    for text in ("one", "two"):
        path.write_text(text)
        with pytest.raises(FaultError):
            restore(path)
    assert [(tmp_path / f"run.duckdb.damaged-{count}").read_text() for count in (1, 2)] == [
        "one",
        "two",
    ]


def test_wal_torn_by_a_crash_gives_back_what_was_committed_before(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    write(path, [RecordBatch(1.0, 1.0, episodes=episodes(10))])
    connection = connect(path)
    connection.execute("PRAGMA disable_checkpoint_on_shutdown")
    connection.execute(
        "INSERT INTO commits (number, t_s, elapsed_s, num_workers, paused, keep)"
        " VALUES (2, 2.0, 2.0, 1, false, false)"
    )
    connection.close()
    wal = wal_of(path)
    wal.write_bytes(wal.read_bytes() + b"\x17torn")
    past = restored(path)
    assert past.last_t_s == 2.0
    assert query.figures(path).num_episodes_lifetime == 10


def test_thing_that_is_no_file_is_told_without_renaming_it(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    path.mkdir()
    with pytest.raises(FaultError, match="can't be read"):
        restore(path)
    assert path.is_dir()


def test_figures_of_a_closed_run_are_those_that_were_recorded(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    columns = episodes(100)
    columns.ending[:5] = [0, 1, 2, 3, 3]
    columns.episode_return[3:5] = np.nan
    end = RunEndRow(RunState.FAILED, None, "no worker could go on", "2026-11-22", 9.0, 8.5)
    totals = [(1, 0, WorkerTotals(500)), (1, 1, WorkerTotals(20)), (2, 0, WorkerTotals(3))]
    write(path, [RecordBatch(9.0, 8.0, episodes=columns, totals=totals)], end=end)
    figures = query.figures(path)
    assert (figures.state, figures.ended_by, figures.cause) == (
        RunState.FAILED,
        None,
        "no worker could go on",
    )
    assert figures.elapsed_s == 8.5
    assert figures.num_env_steps_sampled_lifetime == 523
    assert figures.num_episodes_lifetime == 100
    assert figures.num_episodes_terminated_lifetime == 97
    assert figures.num_episodes_truncated_lifetime == 2
    assert figures.num_episodes_error_lifetime == 2
    good = columns.ending != Ending.ERROR
    assert figures.episode_return_mean == pytest.approx(columns.episode_return[good].mean())
    assert figures.episode_len_mean == pytest.approx(columns.episode_len[good].mean())


def test_run_that_was_never_closed_has_no_state_and_the_last_clock(tmp_path: Path) -> None:
    path = tmp_path / "run.duckdb"
    write(path, [RecordBatch(9.0, 8.0)])
    figures = query.figures(path)
    assert (figures.state, figures.elapsed_s) == (None, 8.0)
    assert np.isnan(figures.episode_return_mean)


def test_reading_a_file_that_is_missing_is_a_fault(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="gone"):
        query.figures(tmp_path / "none.duckdb")
    with pytest.raises(FaultError, match="gone"):
        list(episodes_in_time_order(tmp_path / "none.duckdb"))
