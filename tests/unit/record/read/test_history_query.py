"""Any part of a recorded run, at any resolution, equals what the live run would have shown."""

import functools
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.history.history import Tier
from raydash.core.machine.requested_state import RequestedState
from raydash.core.records import EpisodeColumns
from raydash.core.states import Ending
from raydash.core.updates import HistoryDelta
from raydash.record.file.database import connect
from raydash.record.file.rows import RecordBatch
from raydash.record.file.schema import Connection, bring_up_to_date
from raydash.record.read import history_query
from raydash.record.read.history_query import bucket_width_s, buckets, history, joined, sliced
from raydash.record.write.writer import RecordWriter

RUN_S = 600.0
STEPS_PER_S = 50.0


@pytest.fixture
def connection(tmp_path: Path) -> Iterator[Connection]:
    made = connect(tmp_path / "run.duckdb")
    bring_up_to_date(made)
    yield made
    made.close()


def some_episodes(count: int = 5000, seed: int = 3) -> EpisodeColumns:
    rng = np.random.default_rng(seed)
    ending = rng.integers(0, 4, count).astype(np.uint8)
    returns = np.where(ending == Ending.ERROR, np.nan, rng.normal(10.0, 5.0, count))
    return EpisodeColumns(
        end_s=np.sort(rng.random(count) * RUN_S).round(5),
        worker_index=rng.integers(1, 4, count).astype(np.int32),
        env_index=np.zeros(count, np.int32),
        incarnation=np.zeros(count, np.int32),
        episode_return=returns,
        episode_len=rng.integers(1, 50, count).astype(np.int32),
        ending=ending,
        duration_s=np.full(count, 0.1, np.float32),
    )


def write(
    connection: Connection,
    episodes: EpisodeColumns,
    *,
    with_totals: bool = True,
    kept_s: float | None = None,
    kept_until_s: float = RUN_S,
) -> None:
    """Write episodes as the recorder does, and totals of three workers that step evenly.

    Their totals are written once a second; with `kept_s`, table `history` as a supervisor fills it.
    """
    rows = None
    if kept_s is not None:
        rows = tier_of(kept_s).rows(0, int(kept_until_s // kept_s))
    writer = RecordWriter(connection.cursor())
    writer.write(1, RecordBatch(RUN_S, RUN_S, RequestedState(3), episodes=episodes, history=rows))
    writer.connection.close()
    if with_totals:
        connection.execute(
            f"INSERT INTO worker_totals SELECT t, w, 0, {STEPS_PER_S} * t, 0, 0, 0, 0, 0, 0, 0, 0,"
            f" t FROM range(1, {int(RUN_S) + 1}) a(t), range(1, 4) b(w)"
        )


EPISODES = some_episodes()


@functools.cache
def tier_of(width_s: float) -> Tier:
    """Build the history that a supervisor would have of those episodes."""
    tier = Tier(merges=False, bucket_s=width_s, capacity=2000)
    tier.widen(3)
    for second in range(int(RUN_S)):
        for worker in (1, 2, 3):
            tier.add_steps(worker, second, second + 1.0, int(STEPS_PER_S), 1)
    tier.add_episodes(EPISODES, 1)
    return tier


def assert_same(mine: HistoryDelta, theirs: HistoryDelta) -> None:
    assert (mine.bucket_s, mine.first_bucket, len(mine)) == (
        theirs.bucket_s,
        theirs.first_bucket,
        len(theirs),
    )
    assert mine.oldest_bucket == mine.first_bucket
    for name in ("num_terminated", "num_truncated", "num_both", "num_error", "return_n"):
        assert np.array_equal(getattr(mine, name), getattr(theirs, name)), name
    for name in ("return_mean", "return_min", "return_max", "num_env_steps"):
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-9)
    for name in ("worker_steps", "worker_return_mean"):
        np.testing.assert_allclose(getattr(mine, name), getattr(theirs, name), rtol=1e-5)
    bound = 0.01 * np.nan_to_num(theirs.return_max - theirs.return_min) + 1e-9
    for name in ("return_p10", "return_p90"):
        assert not (np.abs(getattr(mine, name) - getattr(theirs, name)) > bound).any()
        assert np.array_equal(np.isnan(getattr(mine, name)), theirs.return_n == 0)


def wanted(width_s: float, first: int, end: int) -> HistoryDelta:
    return sliced(tier_of(width_s).delta(0), first, end)


@pytest.mark.parametrize("kept_s", [None, 0.5, 1.0, 8.0])
@pytest.mark.parametrize("kept_until_s", [600.0, 301.0])
@pytest.mark.parametrize(
    ("start_s", "end_s", "num_buckets", "width_s"),
    [
        (0.0, 600.0, 2000, 0.5),
        (0.0, 600.0, 200, 4.0),
        (0.0, 600.0, 1, 1024.0),
        (250.0, 350.0, 30, 4.0),
        (100.25, 101.0, 100, 0.5),
        (290.0, 310.0, 1, 32.0),
    ],
)
def test_it_equals_the_live_history(
    connection: Connection,
    kept_s: float | None,
    kept_until_s: float,
    start_s: float,
    end_s: float,
    num_buckets: int,
    width_s: float,
) -> None:
    write(connection, EPISODES, kept_s=kept_s, kept_until_s=kept_until_s)
    found = history(connection, start_s=start_s, end_s=end_s, num_buckets=num_buckets)
    first, last = int(start_s // width_s), int(min(end_s, RUN_S) // width_s)
    assert found.bucket_s == width_s
    theirs = wanted(width_s, first, last + 1)
    if len(theirs) < len(found):  # a run that ended on the edge of a bucket has begun that bucket
        found = sliced(found, first, first + len(theirs))
    assert_same(found, theirs)


@given(start_s=st.floats(0.0, 1e6), length_s=st.floats(0.0, 1e6), num_buckets=st.integers(1, 3000))
def test_widths_are_the_narrowest_powers_of_two_that_fit(
    start_s: float, length_s: float, num_buckets: int
) -> None:
    def count(width_s: float) -> int:
        return int((start_s + length_s) // width_s) - int(start_s // width_s) + 1

    width_s = bucket_width_s(start_s, start_s + length_s, num_buckets)
    assert math.log2(width_s / 0.5).is_integer()
    assert count(width_s) <= num_buckets
    assert width_s == 0.5 or count(width_s / 2) > num_buckets


def test_too_many_episodes_are_shown_as_coarsely_as_they_were_kept(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(connection, EPISODES, kept_s=8.0)
    monkeypatch.setattr(history_query, "MAX_RAW_EPISODES", 1000)
    found = history(connection, start_s=0.0, end_s=300.0, num_buckets=500)
    assert_same(found, wanted(8.0, 0, 38))
    narrow = history(connection, start_s=100.0, end_s=150.0, num_buckets=500)
    assert narrow.bucket_s == 0.5


def test_many_episodes_without_kept_rows_are_counted_in_batches(
    connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(connection, EPISODES)
    monkeypatch.setattr(history_query, "MAX_RAW_EPISODES", 700)
    found = history(connection, start_s=0.0, end_s=RUN_S, num_buckets=40)
    assert_same(found, wanted(16.0, 0, 38))


def test_nothing_after_the_instant_counts(connection: Connection) -> None:
    write(connection, EPISODES, kept_s=4.0)
    found = buckets(connection, 4.0, 0, 25, until_s=101.5)
    before = EPISODES.end_s < 101.5
    assert found.return_n.sum() == (before & (EPISODES.ending != Ending.ERROR)).sum()
    assert found.num_env_steps.sum() == pytest.approx(3 * STEPS_PER_S * 101.5)


@pytest.mark.parametrize(("start_s", "end_s"), [(700.0, 900.0), (-5.0, -1.0), (5.0, 2.0)])
def test_a_range_beside_the_run_gives_at_most_a_bucket(
    connection: Connection, start_s: float, end_s: float
) -> None:
    write(connection, EPISODES)
    assert len(history(connection, start_s=start_s, end_s=end_s, num_buckets=10)) <= 1


def test_an_empty_recording_has_one_empty_bucket(connection: Connection) -> None:
    found = history(connection, start_s=0.0, end_s=10.0, num_buckets=10)
    assert len(found) == 1
    assert found.return_n.sum() == 0
    assert np.isnan(found.return_mean).all()


def test_episodes_of_unknown_ending_count_in_returns_and_in_no_kind(
    connection: Connection,
) -> None:
    write(connection, some_episodes(100))
    connection.execute("UPDATE episodes SET ending = NULL, episode_return = 1.0")
    found = history(connection, start_s=0.0, end_s=RUN_S, num_buckets=10)
    assert found.return_n.sum() == 100
    kinds = (found.num_terminated, found.num_truncated, found.num_both, found.num_error)
    assert sum(int(kind.sum()) for kind in kinds) == 0


def test_without_totals_the_lengths_of_the_episodes_are_the_steps(connection: Connection) -> None:
    write(connection, EPISODES, with_totals=False)
    found = history(connection, start_s=0.0, end_s=RUN_S, num_buckets=10)
    assert found.num_env_steps.sum() == pytest.approx(EPISODES.episode_len.sum())
    np.testing.assert_allclose(
        found.worker_steps.sum(axis=0),
        [EPISODES.episode_len[EPISODES.worker_index == worker].sum() for worker in (1, 2, 3)],
        rtol=1e-5,
    )
    part = history(connection, start_s=200.0, end_s=300.0, num_buckets=10)
    inside = (EPISODES.end_s >= 192.0) & (EPISODES.end_s < 304.0)
    assert part.num_env_steps.sum() == pytest.approx(EPISODES.episode_len[inside].sum(), rel=0.05)


def test_ready_made_means_become_buckets_of_one(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO scalars SELECT 'episode_return_mean', t, 100 * t, t FROM range(1, 101) a(t)"
        " UNION ALL SELECT 'episode_return_max', t, 100 * t, 2 * t FROM range(1, 101) a(t)"
        " UNION ALL SELECT 'loss', t, 100 * t, -5 FROM range(1, 101) a(t)"
    )
    found = history(connection, start_s=0.0, end_s=100.0, num_buckets=26)
    assert found.bucket_s == 4.0
    assert list(found.return_n) == [1] * 26
    assert found.return_mean[1] == pytest.approx(5.5)  # of 4, 5, 6 and 7
    assert found.return_max[1] == 14.0
    assert found.return_min[1] == 5.5
    assert found.num_env_steps.sum() == pytest.approx(100 * 100)


def test_a_pause_is_not_filled_with_steps(connection: Connection) -> None:
    """Steps are spread over the worker's busy time before the row that counts them."""
    connection.execute(
        "INSERT INTO worker_totals SELECT t, 1, 0, n, 0, 0, 0, 0, 0, 0, 0, 0, busy FROM (VALUES"
        " (1.0, 100, 1.0), (2.0, 200, 2.0), (60.0, 300, 3.0)) a(t, n, busy)"
    )
    connection.execute(
        "INSERT INTO commits (number, t_s, elapsed_s, num_workers, paused, keep)"
        " VALUES (1, 60.0, 3.0, 1, false, false)"
    )
    found = history(connection, start_s=0.0, end_s=60.0, num_buckets=100)
    assert found.bucket_s == 1.0
    assert found.num_env_steps[:2].sum() == pytest.approx(200)
    assert found.num_env_steps[2:59].sum() == 0
    assert found.num_env_steps[59] == pytest.approx(100)


def test_lives_of_a_worker_add_up(connection: Connection) -> None:
    connection.execute(
        "INSERT INTO worker_totals SELECT t, 1, life, n, 0, 0, 0, 0, 0, 0, 0, 0, t0 FROM (VALUES"
        " (1.0, 0, 100, 1.0), (2.0, 0, 200, 2.0), (4.0, 1, 50, 1.0), (5.0, 1, 90, 2.0))"
        " a(t, life, n, t0)"
    )
    connection.execute(
        "INSERT INTO commits (number, t_s, elapsed_s, num_workers, paused, keep)"
        " VALUES (1, 5.0, 5.0, 1, false, false)"
    )
    found = history(connection, start_s=0.0, end_s=5.0, num_buckets=6)
    np.testing.assert_allclose(found.num_env_steps, [100, 100, 0, 50, 40, 0])
    late = history(connection, start_s=4.0, end_s=5.0, num_buckets=2)
    np.testing.assert_allclose(late.num_env_steps, [40, 0])


def test_parts_join_and_a_slice_of_them_is_a_part(connection: Connection) -> None:
    write(connection, EPISODES)
    whole = buckets(connection, 4.0, 0, 100)
    parts = [buckets(connection, 4.0, first, first + 9) for first in range(0, 100, 10)]
    both = joined([*parts, buckets(connection, 4.0, 100, 100)])
    assert_same(both, whole)
    assert_same(sliced(both, 13, 57), buckets(connection, 4.0, 13, 56))
