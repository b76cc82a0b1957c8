"""What goes into a run's history comes out again, whichever reader pulls and however seldom."""

import math
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.history.history import History, HistoryRows, Tier
from raydash.core.history.series import HistorySeries
from raydash.core.records import EpisodeColumns
from raydash.core.states import Ending
from raydash.core.updates import HistoryDelta

WEEK_S = 7 * 86_400.0
_COLUMNS = [name for name in HistoryDelta.__slots__ if name not in ("bucket_s", "oldest_bucket")]


def episodes(*rows: tuple[float, int, float, Ending]) -> EpisodeColumns:
    """Episodes of (end_s, worker_index, return, ending)."""
    n = len(rows)
    return EpisodeColumns(
        end_s=np.array([row[0] for row in rows], np.float64),
        worker_index=np.array([row[1] for row in rows], np.int32),
        env_index=np.zeros(n, np.int32),
        incarnation=np.zeros(n, np.int32),
        episode_return=np.array([row[2] for row in rows], np.float64),
        episode_len=np.ones(n, np.int32),
        ending=np.array([row[3] for row in rows], np.uint8),
        duration_s=np.ones(n, np.float32),
    )


def tier(*, merges: bool, capacity: int = 8, workers: int = 2) -> Tier:
    made = Tier(merges=merges, bucket_s=0.5, capacity=capacity)
    made.widen(workers)
    return made


def kinds(delta: HistoryDelta) -> list[int]:
    columns = (delta.num_terminated, delta.num_truncated, delta.num_both, delta.num_error)
    return [int(column.sum()) for column in columns]


def assert_same(one: HistorySeries, other: HistorySeries) -> None:
    assert (one.bucket_s, one.first_bucket, len(one)) == (
        other.bucket_s,
        other.first_bucket,
        len(other),
    )
    for name in _COLUMNS:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def read(delta: HistoryDelta) -> HistorySeries:
    series = HistorySeries()
    series.apply(delta)
    return series


# --- what is written --------------------------------------------------------------------------


def test_steps_of_a_chunk_are_spread_over_the_time_it_took() -> None:
    made = tier(merges=False)
    made.add_steps(2, 0.25, 1.25, 100, seq=1)
    delta = made.delta(0)
    assert delta.num_env_steps.tolist() == pytest.approx([25.0, 50.0, 25.0])
    assert delta.worker_steps[:, 1].tolist() == pytest.approx([25.0, 50.0, 25.0])
    assert not delta.worker_steps[:, 0].any()


def test_a_chunk_that_took_no_time_is_counted() -> None:
    made = tier(merges=False)
    made.add_steps(1, 1.0, 1.0, 7, seq=1)
    assert made.delta(0).num_env_steps.tolist() == [0.0, 0.0, 7.0]


def test_an_episode_counts_in_the_bucket_in_which_it_ended() -> None:
    made = tier(merges=False)
    made.add_episodes(
        episodes(
            (0.1, 1, 10.0, Ending.TERMINATED),
            (0.6, 1, 20.0, Ending.TRUNCATED),
            (0.7, 2, 40.0, Ending.BOTH),
            (0.8, 2, math.nan, Ending.ERROR),
        ),
        seq=1,
    )
    delta = made.delta(0)
    assert delta.num_terminated.tolist() == [1, 0]
    assert delta.num_truncated.tolist() == [0, 1]
    assert delta.num_both.tolist() == [0, 1]
    assert delta.num_error.tolist() == [0, 1]
    assert delta.return_n.tolist() == [1, 2]
    assert delta.return_mean.tolist() == [10.0, 30.0]
    assert (delta.return_min[1], delta.return_max[1]) == (20.0, 40.0)
    np.testing.assert_array_equal(delta.worker_return_mean, [[10.0, np.nan], [20.0, 40.0]])


def test_a_bucket_with_errors_only_has_no_return() -> None:
    made = tier(merges=True)
    made.add_episodes(episodes((0.1, 1, math.nan, Ending.ERROR)), seq=1)
    delta = made.delta(0)
    assert delta.num_error.tolist() == [1]
    for name in ("return_mean", "return_min", "return_max", "return_p10", "return_p90"):
        assert np.isnan(getattr(delta, name)).all()


def test_time_that_passes_makes_empty_buckets() -> None:
    made = tier(merges=False)
    made.pass_time(1.1, seq=1)
    assert made.delta(0).num_env_steps.tolist() == [0.0, 0.0, 0.0]


def test_a_worker_that_comes_late_gets_a_column_that_was_empty_before() -> None:
    made = tier(merges=True, workers=1)
    made.add_steps(1, 0.0, 0.5, 10, seq=1)
    made.widen(5)
    made.add_steps(5, 0.5, 1.0, 20, seq=2)
    worker_steps = made.delta(0).worker_steps
    assert worker_steps.shape[1] == 5
    assert worker_steps.sum(axis=0).tolist() == [10, 0, 0, 0, 20]


def test_a_chunk_older_than_the_oldest_bucket_counts_in_that_one() -> None:
    made = tier(merges=False)
    made.pass_time(100.0, seq=1)
    made.add_steps(1, 0.0, 1.0, 9, seq=2)
    made.add_episodes(episodes((0.5, 1, 3.0, Ending.TERMINATED)), seq=2)
    retained = made._steps[: made._rows]
    assert retained[0] == 9
    assert made._return_n[: made._rows].sum() == 1


def test_episodes_that_ended_before_the_start_count_in_the_first_bucket() -> None:
    made = tier(merges=True)
    made.add_episodes(episodes((-0.3, 1, 3.0, Ending.TERMINATED)), seq=1)
    assert made.delta(0).num_terminated.tolist() == [1]


def test_sums_of_a_worker_stay_exact_over_very_many_episodes() -> None:
    made = tier(merges=True)
    batch = episodes(*((0.1, 1, 9.0, Ending.TERMINATED) for _ in range(1000)))
    made._worker_sum[0, 0], made._worker_n[0, 0] = 9e9, 10**9
    for _ in range(50):
        made.add_episodes(batch, seq=1)
    assert made._worker_sum[0, 0] == 9e9 + 9 * 50_000
    assert made.delta(0).worker_return_mean[0, 0] == 9.0


# --- what is forgotten, and what never is -----------------------------------------------------


def test_recent_forgets_what_is_older_than_its_capacity() -> None:
    made = tier(merges=False, capacity=8)
    for bucket in range(100):
        made.add_steps(1, bucket * 0.5, bucket * 0.5 + 0.49, bucket + 1, seq=bucket + 1)
        delta = made.delta(0)
        held = range(max(0, bucket - 7), bucket + 1)
        assert (delta.first_bucket, delta.oldest_bucket) == (held[0], held[0])
        assert delta.num_env_steps.tolist() == pytest.approx([b + 1.0 for b in held])


def test_whole_run_doubles_its_buckets_and_forgets_nothing() -> None:
    made = tier(merges=True, capacity=8)
    widths = set()
    for bucket in range(100):
        made.add_steps(1, bucket * 0.5, bucket * 0.5 + 0.49, 10, seq=bucket + 1)
        end_s = bucket * 0.5 + 0.25
        made.add_episodes(episodes((end_s, 2, float(bucket), Ending.TRUNCATED)), seq=bucket + 1)
        widths.add(made.bucket_s)
        delta = made.delta(0)
        assert len(delta) <= 8
        assert delta.num_env_steps.sum() == pytest.approx(10 * (bucket + 1))
        assert delta.num_truncated.sum() == bucket + 1
        assert np.nanmax(delta.return_max) == bucket
        assert np.nanmin(delta.return_min) == 0
    assert widths == {0.5, 1.0, 2.0, 4.0, 8.0}


def test_merged_buckets_keep_their_quantiles() -> None:
    made = tier(merges=True, capacity=4)
    returns = np.random.default_rng(1).normal(100, 30, 4000)
    for seq, (end_s, value) in enumerate(zip(np.linspace(0, 15.9, 4000), returns, strict=True), 1):
        made.add_episodes(episodes((end_s, 1, value, Ending.TERMINATED)), seq=seq)
    delta = made.delta(0)
    held = returns[:1000]
    assert delta.return_n[0] == pytest.approx(1000, abs=20)
    spread = 0.01 * np.ptp(held) + 1.0
    assert delta.return_p10[0] == pytest.approx(np.quantile(held, 0.1), abs=spread)
    assert delta.return_p90[0] == pytest.approx(np.quantile(held, 0.9), abs=spread)


@pytest.mark.parametrize("merges", [True, False])
@pytest.mark.parametrize("jump_s", [3.9, 4.0, 8.0, 8.1, 1e3, 1e7])
def test_a_clock_that_jumps_far_ahead_is_followed(merges: bool, jump_s: float) -> None:
    made = tier(merges=merges, capacity=8)
    made.add_steps(1, 0.0, 0.4, 10, seq=1)
    series = read(made.delta(0))
    made.add_steps(1, jump_s, jump_s + 0.4, 20, seq=2)
    series.apply(made.delta(1))
    assert_same(series, read(made.delta(0)))
    assert len(series) <= 8
    assert series.num_env_steps[-2:].sum() == pytest.approx(20, abs=10.001)
    last_s = series.times_s()[-1]
    assert abs(last_s - jump_s) <= series.bucket_s + 0.4
    if merges:
        assert series.num_env_steps.sum() == pytest.approx(30)


def test_a_week_long_run_stays_within_its_bounds() -> None:
    history = History()
    history.widen(2)
    worked = 0
    for seq, t_s in enumerate(np.arange(0.0, WEEK_S, 597.3), 1):
        history.add_steps(1, max(0.0, t_s - 597.3), t_s, 1000, seq)
        history.add_episodes(episodes((t_s, 2, 1.0, Ending.TERMINATED)), seq)
        history.pass_time(t_s, seq)
        worked = max(worked, len(history.recent._histograms), len(history.whole._histograms))
    assert worked <= 2400
    whole, recent = history.whole.delta(0), history.recent.delta(0)
    assert len(whole) <= 1200
    assert len(recent) <= 1200
    assert recent.bucket_s == 0.5
    assert (len(recent) - 1) * 0.5 == pytest.approx(600, abs=1)
    assert whole.num_env_steps.sum() == pytest.approx(1000 * seq)
    assert whole.num_terminated.sum() == seq
    assert whole.bucket_s * len(whole) == pytest.approx(WEEK_S, rel=0.01)


# --- readers ----------------------------------------------------------------------------------


def test_a_snapshot_holds_buckets_that_were_there_before_the_first_version() -> None:
    made = tier(merges=True)
    made.add_steps(1, 0.0, 1.0, 10, seq=0)
    assert made.delta(0).num_env_steps.sum() == pytest.approx(10)


def test_a_reader_who_has_everything_gets_no_row() -> None:
    made = tier(merges=False)
    made.add_steps(1, 0.0, 1.0, 10, seq=3)
    assert len(made.delta(3)) == 0


@dataclass
class Recount:
    """The same history, added up the slow way."""

    steps: float = 0.0
    kinds: list[int] = field(default_factory=lambda: [0, 0, 0, 0])
    returns: list[float] = field(default_factory=list)
    per_worker: dict[int, int] = field(default_factory=dict)


_ENDINGS = st.sampled_from(list(Ending))
_MOVES = st.one_of(
    st.tuples(
        st.just("steps"),
        st.integers(1, 4),
        st.floats(0.0, 3.0),
        st.floats(0.0, 4.0),
        st.integers(0, 500),
    ),
    st.tuples(
        st.just("episodes"),
        st.lists(
            st.tuples(st.floats(-3, 0), st.integers(1, 4), st.integers(-500, 500), _ENDINGS),
            max_size=5,
        ),
    ),
    st.tuples(st.just("time"), st.sampled_from([0.05, 0.5, 3.0, 40.0])),
    st.tuples(st.just("pull"), st.integers(0, 2)),
)


@given(st.lists(_MOVES, max_size=50), st.booleans(), st.integers(2, 9))
def test_any_schedule_of_pulls_gives_the_same_picture(
    moves: list[tuple[object, ...]], merges: bool, capacity: int
) -> None:
    written, recount = tier(merges=merges, capacity=capacity, workers=1), Recount()
    readers = [(HistorySeries(), 0) for _ in range(3)]
    now_s, seq = 0.0, 1
    for move in [*moves, ("pull", 0), ("pull", 1), ("pull", 2)]:
        match move:
            case ("steps", int(worker), float(late_s), float(took_s), int(steps)):
                written.widen(worker)
                start_s = max(0.0, now_s - late_s - took_s)
                written.add_steps(worker, start_s, max(0.0, now_s - late_s), steps, seq)
                recount.steps += steps
                recount.per_worker[worker] = recount.per_worker.get(worker, 0) + steps
            case ("episodes", list(rows)):
                written.widen(4)
                batch = [(now_s + row[0], *row[1:]) for row in rows]
                written.add_episodes(episodes(*batch), seq)
                for _, _, value, ending in batch:
                    recount.kinds[ending] += 1
                    if ending is not Ending.ERROR:
                        recount.returns.append(value)
            case ("time", float(seconds)):
                now_s += seconds
                seq += 1
                written.pass_time(now_s, seq)
            case ("pull", int(who)):
                series, seen = readers[who]
                series.apply(written.delta(seen))
                readers[who] = (series, seq)
                seq += 1
                assert_same(series, read(written.delta(0)))
    if merges:
        assert_conserved(written.delta(0), recount)
    np.testing.assert_allclose(
        written._worker_steps[: written._rows].sum(axis=1),
        written._steps[: written._rows],
        rtol=1e-5,
    )


def assert_conserved(delta: HistoryDelta, recount: Recount) -> None:
    assert delta.num_env_steps.sum() == pytest.approx(recount.steps)
    for worker, steps in recount.per_worker.items():
        assert delta.worker_steps[:, worker - 1].sum() == pytest.approx(steps, rel=1e-5)
    assert kinds(delta) == recount.kinds
    assert delta.return_n.sum() == len(recount.returns)
    assert np.nansum(delta.return_mean * delta.return_n) == pytest.approx(sum(recount.returns))
    if recount.returns:
        assert np.nanmin(delta.return_min) == min(recount.returns)
        assert np.nanmax(delta.return_max) == max(recount.returns)


# --- what is recorded -------------------------------------------------------------------------


class FakeRecording:
    """Collects the rows that would be recorded of a history."""

    def __init__(self, history: History) -> None:
        self.history = history
        self.rows: HistoryRows | None = None

    def record(self, until_s: float, seq: int) -> HistoryRows | None:
        new = self.history.to_record(until_s, seq)
        if new is not None:
            self.rows = new if self.rows is None else self.rows.followed_by(new)
        return new


def at(seq: int) -> float:
    return seq * 0.5


def play(history: History, seq: int, *, late_s: float = 0.0) -> None:
    """What one tick of 0.5 s brings to two workers."""
    t_s = at(seq)
    history.widen(2)
    history.add_steps(1 + seq % 2, max(0.0, t_s - 0.4 - late_s), t_s, 37, seq)
    end_s = max(0.0, t_s - 0.3 - late_s)
    history.add_episodes(
        episodes(
            (end_s, 1 + seq % 2, math.sin(seq) * 50, Ending(seq % 4)),
            (end_s, 1, 9.0, Ending.TERMINATED),
        ),
        seq,
    )
    history.pass_time(t_s, seq)


def assert_same_rows(one: HistoryRows, other: HistoryRows) -> None:
    assert one.bucket_s == other.bucket_s
    for name in HistoryRows.__slots__:
        if name not in ("bucket_s", "returns"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


def test_what_is_kept_piece_by_piece_is_the_whole_tier() -> None:
    history = History()
    recording = FakeRecording(history)
    for seq in range(1, 3000):
        play(history, seq, late_s=5.0 if seq % 197 == 0 else 0.0)
        if seq % 20 == 0:
            recording.record(at(seq) - 1.1, seq)
    recording.record(math.inf, seq)
    assert recording.rows is not None
    assert history.whole.bucket_s == 2.0
    assert_same_rows(recording.rows, history.whole.rows(0, history.whole.num_buckets))
    assert recording.rows.end_s >= at(seq)


def test_only_buckets_that_changed_and_have_ended_are_handed_over() -> None:
    history = History()
    play(history, 20)
    first = history.to_record(9.0, 20)
    assert first is not None
    assert first.bucket.tolist() == list(range(18))
    assert history.to_record(9.0, 20) is None
    play(history, 22)
    second = history.to_record(10.2, 22)
    assert second is not None
    assert second.bucket.tolist() == [18, 19]
    assert history.to_record(8.0, 22) is None


def test_a_bucket_that_changes_late_is_handed_over_again_with_all_after_it() -> None:
    history = History()
    play(history, 20)
    history.to_record(9.0, 20)
    history.add_episodes(episodes((6.2, 1, 4.0, Ending.TERMINATED)), 21)
    again = history.to_record(9.0, 21)
    assert again is not None
    assert again.bucket.tolist() == list(range(12, 18))
    assert again.return_n[0] == 1


def test_all_buckets_are_handed_over_again_when_their_width_has_doubled() -> None:
    history = History()
    for seq in range(1, 1198):
        play(history, seq)
    history.to_record(590.0, seq)
    play(history, 1201)
    rows = history.to_record(598.0, 1201)
    assert rows is not None
    assert (rows.bucket_s, rows.bucket[0], rows.end_s) == (1.0, 0, 598.0)


@pytest.mark.parametrize("cut", [7, 601, 1220])
def test_a_tier_that_was_restored_goes_on_as_if_it_had_never_stopped(cut: int) -> None:
    uninterrupted, first = History(), History()
    for seq in range(1, cut):
        play(uninterrupted, seq)
        play(first, seq)
    rows = first.to_record(math.inf, cut)
    assert rows is not None
    second = History()
    second.restore(rows)
    assert second.to_record(math.inf, 1) is None
    for seq in range(cut, 2420):
        play(uninterrupted, seq)
        play(second, seq)
    one, other = uninterrupted.whole.delta(0), second.whole.delta(0)
    for name in HistoryDelta.__slots__:
        rtol = 1e-6 if name in ("return_p10", "return_p90") else 1e-12
        np.testing.assert_allclose(getattr(other, name), getattr(one, name), rtol, err_msg=name)


@pytest.mark.parametrize(
    "broken",
    [
        {"bucket_s": 0.0},
        {"bucket_s": math.nan},
        {"bucket": np.array([0, 1, 1])},
        {"bucket": np.array([-1, 0, 1])},
        {"bucket": np.array([0, 1, 10**12])},
        {"returns": (b"", b"junk", b"")},
    ],
)
def test_rows_that_are_no_history_are_refused_and_nothing_is_restored(
    broken: dict[str, object],
) -> None:
    history = History()
    play(history, 3)
    rows = history.whole.rows(0, 3)
    other = History()
    with pytest.raises(ValueError, match=r"buckets|histogram"):
        other.restore(replace(rows, **broken))  # type: ignore[arg-type]
    assert len(other.whole.delta(0)) == 0


def test_rows_of_fewer_workers_are_followed_by_rows_of_more() -> None:
    history = History()
    recording = FakeRecording(history)
    play(history, 8)
    recording.record(3.0, 8)
    history.widen(5)
    history.add_steps(5, 3.0, 4.0, 10, 9)
    history.pass_time(8.0, 9)
    recording.record(7.0, 9)
    assert recording.rows is not None
    assert recording.rows.worker_steps.shape == (14, 5)
    assert recording.rows.worker_steps[:, 4].sum() == 10
