"""The account of a run equals an independent recount, whatever happens to workers."""

import math
from collections import defaultdict
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.history.time_shares import time_shares
from raydash.core.records import EpisodeColumns, RolloutChunk, WorkerTotals
from raydash.core.states import Ending
from raydash.supervise.account.ledger import Ledger

Episode = tuple[float, Ending]
NAN = math.nan


@dataclass
class CountingWorker:
    """One incarnation of a worker, which counts its own totals."""

    worker_index: int
    incarnation: int
    totals: WorkerTotals = field(default_factory=WorkerTotals)
    episodes: list[Episode] = field(default_factory=list)

    def chunk(
        self,
        episodes: list[Episode],
        *,
        steps: int | None = None,
        duration_s: float = 0.1,
        step_time_s: list[float] | None = None,
    ) -> RolloutChunk:
        """Make its next chunk from (return, ending) of episodes, with one step each by default."""
        n = len(episodes)
        endings = np.array([ending for _, ending in episodes], np.uint8)
        was = self.totals
        steps = n if steps is None else steps
        self.episodes += episodes
        self.totals = WorkerTotals(
            num_env_steps=was.num_env_steps + steps,
            num_episodes=was.num_episodes + n,
            num_terminated=was.num_terminated
            + int(np.isin(endings, (Ending.TERMINATED, Ending.BOTH)).sum()),
            num_truncated=was.num_truncated
            + int(np.isin(endings, (Ending.TRUNCATED, Ending.BOTH)).sum()),
            num_error=was.num_error + int((endings == Ending.ERROR).sum()),
            step_time_s=was.step_time_s + 0.6 * duration_s,
            reset_time_s=was.reset_time_s + 0.1 * duration_s,
            policy_time_s=was.policy_time_s + 0.2 * duration_s,
            idle_time_s=was.idle_time_s + 0.5 * duration_s,
            busy_time_s=was.busy_time_s + duration_s,
        )
        returns = [NAN if ending is Ending.ERROR else value for value, ending in episodes]
        return RolloutChunk(
            worker_index=self.worker_index,
            incarnation=self.incarnation,
            duration_s=duration_s,
            first_step_offset_s=0.0,
            totals=self.totals,
            env_index=np.zeros(n, np.int32),
            episode_return=np.array(returns, np.float64),
            episode_len=np.full(n, 3, np.int32),
            ending=endings,
            end_offset_s=np.linspace(0, duration_s, n),
            episode_duration_s=np.ones(n, np.float32),
            step_time_s=np.array(step_time_s or [], np.float32),
            reset_time_s=np.empty(0, np.float32),
            partial_len=np.array([7], np.int32),
            partial_return=np.array([3.5]),
        )


def take(ledger: Ledger, chunk: RolloutChunk, t_s: float) -> int:
    steps = ledger.add_chunk(chunk, t_s)
    ledger.add_episodes(EpisodeColumns.from_chunk(chunk, started_s=t_s - chunk.duration_s))
    return steps


def good(*returns: float) -> list[Episode]:
    return [(value, Ending.TERMINATED) for value in returns]


def test_a_new_ledger_has_no_figures() -> None:
    figures = Ledger().figures(0.0, elapsed_s=0.0, num_restarts=0)
    assert figures.num_env_steps_sampled_lifetime == 0
    assert math.isnan(figures.episode_return_mean)
    assert math.isnan(figures.recent_return_mean)
    assert figures.env_steps_per_s_1s == 0.0
    assert figures.share_step == 0.0


def test_a_flag_counts_in_each_of_its_counters_and_kinds_are_exclusive() -> None:
    ledger, worker = Ledger(), CountingWorker(1, 0)
    every = [(1.0, Ending.TERMINATED), (2.0, Ending.TRUNCATED), (3.0, Ending.BOTH)]
    take(ledger, worker.chunk([*every, (0.0, Ending.ERROR)]), 1.0)
    figures = ledger.figures(1.0, elapsed_s=1.0, num_restarts=0)
    assert figures.num_episodes_lifetime == 4
    assert figures.num_episodes_terminated_lifetime == 2
    assert figures.num_episodes_truncated_lifetime == 2
    assert figures.num_episodes_both_lifetime == 1
    assert figures.num_episodes_error_lifetime == 1


def test_error_episodes_are_left_out_of_return_and_length_figures() -> None:
    ledger, worker = Ledger(), CountingWorker(1, 0)
    take(ledger, worker.chunk([*good(10.0, 20.0), (0.0, Ending.ERROR)]), 1.0)
    take(ledger, worker.chunk([(0.0, Ending.ERROR)]), 2.0)
    figures = ledger.figures(2.0, elapsed_s=1.0, num_restarts=0)
    assert (figures.episode_return_min, figures.episode_return_max) == (10.0, 20.0)
    assert (figures.episode_return_mean, figures.recent_return_mean) == (15.0, 15.0)
    assert (figures.episode_len_mean, figures.recent_n) == (3.0, 2)
    means, counts = ledger.recent_means()
    assert (means.tolist(), counts.tolist()) == ([15.0], [2])
    assert ledger.last_return.tolist() == [20.0]


def test_a_restart_goes_on_from_what_was_counted() -> None:
    ledger, first, second = Ledger(), CountingWorker(1, 0), CountingWorker(1, 1)
    assert take(ledger, first.chunk(good(1.0), steps=100), 1.0) == 100
    assert take(ledger, second.chunk(good(2.0), steps=30), 2.0) == 30
    assert take(ledger, second.chunk([], steps=30), 3.0) == 30
    assert ledger.num_env_steps() == 160
    assert ledger.num_episodes() == 2


def test_a_lost_chunk_costs_nothing_but_its_episodes() -> None:
    ledger, worker = Ledger(), CountingWorker(1, 0)
    take(ledger, worker.chunk([], steps=100), 1.0)
    worker.chunk([], steps=100)
    assert take(ledger, worker.chunk([], steps=100), 3.0) == 200
    assert ledger.num_env_steps() == 300


def test_recent_figures_are_over_the_last_100_by_finish_time_of_all_workers() -> None:
    ledger, one, two = Ledger(), CountingWorker(1, 0), CountingWorker(2, 0)
    early, late = one.chunk(good(*[1.0] * 90)), two.chunk(good(*[5.0] * 60))
    take(ledger, late, 100.0)
    take(ledger, early, 50.0)
    figures = ledger.figures(100.0, elapsed_s=1.0, num_restarts=0)
    assert figures.recent_n == 100
    assert figures.recent_return_mean == pytest.approx((60 * 5 + 40 * 1) / 100)
    means, counts = ledger.recent_means()
    assert (means.tolist(), counts.tolist()) == ([1.0, 5.0], [90, 60])


def test_a_worker_remembers_its_own_last_100() -> None:
    ledger, worker = Ledger(), CountingWorker(1, 0)
    for first in range(0, 250, 50):
        take(ledger, worker.chunk(good(*map(float, range(first, first + 50)))), first + 1.0)
    means, counts = ledger.recent_means()
    assert counts.tolist() == [100]
    assert means.tolist() == [np.arange(150, 250).mean()]


def test_one_chunk_with_very_many_episodes_leaves_its_newest() -> None:
    ledger, worker = Ledger(), CountingWorker(1, 0)
    take(ledger, worker.chunk(good(5.0)), 1.0)
    take(ledger, worker.chunk(good(*map(float, range(1000)))), 2.0)
    means, counts = ledger.recent_means()
    assert (means.tolist(), counts.tolist()) == ([np.arange(900, 1000).mean()], [100])


def test_step_time_is_the_95th_percentile_of_the_newest_samples() -> None:
    ledger, worker = Ledger(), CountingWorker(1, 0)
    assert len(ledger.step_time_p95_s) == 0
    take(ledger, worker.chunk([], step_time_s=[9.0] * 100), 1.0)
    for _ in range(4):
        take(ledger, worker.chunk([], step_time_s=[i / 1000 for i in range(1, 65)]), 2.0)
    assert ledger.step_time_p95_s[0] == pytest.approx(0.061, abs=0.002)


def test_a_worker_that_was_never_heard_of_has_no_figures() -> None:
    ledger = Ledger()
    take(ledger, CountingWorker(3, 0).chunk(good(1.0)), 5.0)
    assert np.isnan(ledger.last_chunk_s[:2]).all()
    assert np.isnan(ledger.last_return[:2]).all()
    assert ledger.recent_means()[1].tolist() == [0, 0, 1]


def test_rates_are_of_the_named_spans() -> None:
    ledger, worker = Ledger(), CountingWorker(1, 0)
    ledger.widen(1)
    ledger.note_totals(0.0)
    for tick in range(1, 201):
        take(ledger, worker.chunk(good(1.0), steps=10 if tick <= 190 else 30), tick * 0.1)
        ledger.note_totals(tick * 0.1)
    figures = ledger.figures(20.0, elapsed_s=20.0, num_restarts=0)
    assert figures.env_steps_per_s_1s == pytest.approx(300.0, rel=0.12)
    assert figures.env_steps_per_s_10s == pytest.approx(120.0, rel=0.03)
    assert figures.env_steps_per_s_60s == pytest.approx(110.0, rel=0.02)
    assert figures.episodes_per_s_10s == pytest.approx(10.0, rel=0.02)


def test_time_shares_sum_to_at_most_one() -> None:
    ledger, worker = Ledger(), CountingWorker(1, 0)
    ledger.widen(1)
    ledger.note_totals(0.0)
    take(ledger, worker.chunk([], steps=10), 1.0)
    figures = ledger.figures(1.0, elapsed_s=1.0, num_restarts=0)
    shares = (figures.share_step, figures.share_reset, figures.share_policy, figures.share_idle)
    assert shares == pytest.approx((0.4, 1 / 15, 2 / 15, 1 / 3))


@given(st.lists(st.lists(st.floats(0, 1e9), min_size=10, max_size=10), max_size=20))
def test_any_growth_gives_shares_between_nothing_and_all(rows: list[list[float]]) -> None:
    shares = time_shares(np.array(rows, np.float64).reshape(-1, 10))
    assert shares.shape == (len(rows), 4)
    assert (shares >= 0).all()
    assert (shares.sum(axis=1) <= 1 + 1e-9).all()


def test_a_ledger_that_goes_on_counts_on() -> None:
    ledger = Ledger()
    ledger.restore(2, WorkerTotals(1000, 50, 45, 5, 1), np.array([1.0, 3.0]), next_incarnation=4)
    worker = CountingWorker(2, 4)
    assert take(ledger, worker.chunk(good(5.0), steps=10), 1.0) == 10
    assert ledger.num_env_steps() == 1010
    assert ledger.num_episodes() == 51
    assert ledger.recent_means()[0][1] == 3.0


def test_restored_recent_episodes_leave_errors_out() -> None:
    ledger = Ledger()
    chunk = CountingWorker(1, 0).chunk([*good(2.0), (0.0, Ending.ERROR), *good(4.0)])
    ledger.restore_recent(EpisodeColumns.from_chunk(chunk, started_s=0.0))
    figures = ledger.figures(1.0, elapsed_s=0.0, num_restarts=0)
    assert (figures.recent_return_mean, figures.recent_n) == (3.0, 2)


_EPISODES = st.lists(
    st.tuples(st.integers(-100, 100).map(float), st.sampled_from(list(Ending))), max_size=40
)
_MOVES = st.one_of(
    st.tuples(st.just("chunk"), st.integers(1, 4), _EPISODES, st.integers(0, 500)),
    st.tuples(st.just("lost"), st.integers(1, 4)),
    st.tuples(st.just("restart"), st.integers(1, 4), st.integers(1, 3)),
)


@given(st.lists(_MOVES, max_size=40))
def test_any_incarnations_of_workers_are_counted_exactly(moves: list[tuple[object, ...]]) -> None:
    ledger = Ledger()
    workers = {index: CountingWorker(index, 0) for index in range(1, 5)}
    newest_totals: dict[tuple[int, int], WorkerTotals] = {}
    finished: list[tuple[float, int, float, Ending]] = []
    per_worker: dict[int, list[float]] = defaultdict(list)
    before, added = 0, 0
    for number, move in enumerate(moves):
        t_s = float(number + 1)
        match move:
            case ("chunk", int(index), list(episodes), int(steps)):
                worker = workers[index]
                chunk = worker.chunk(episodes, steps=steps)
                added += take(ledger, chunk, t_s)
                newest_totals[index, worker.incarnation] = worker.totals
                ends = t_s - chunk.duration_s + chunk.end_offset_s
                finished += [(e, index, *row) for e, row in zip(ends, episodes, strict=True)]
                per_worker[index] += [v for v, ending in episodes if ending is not Ending.ERROR]
            case ("lost", int(index)):
                workers[index].chunk([], steps=5)
            case ("restart", int(index), int(by)):
                workers[index] = CountingWorker(index, workers[index].incarnation + by)
        ledger.note_totals(t_s)
        assert ledger.num_env_steps() >= before
        before = ledger.num_env_steps()
        figures = ledger.figures(t_s, elapsed_s=t_s, num_restarts=0)
        assert min(figures.env_steps_per_s_1s, figures.env_steps_per_s_60s) >= 0
    figures = ledger.figures(1e6, elapsed_s=1.0, num_restarts=0)
    steps = sum(totals.num_env_steps for totals in newest_totals.values())
    assert figures.num_env_steps_sampled_lifetime == ledger.num_env_steps() == steps == added
    endings = [ending for *_, ending in finished]
    assert figures.num_episodes_lifetime == len(finished)
    assert figures.num_episodes_error_lifetime == endings.count(Ending.ERROR)
    assert figures.num_episodes_both_lifetime == endings.count(Ending.BOTH)
    both = endings.count(Ending.BOTH)
    assert figures.num_episodes_terminated_lifetime == endings.count(Ending.TERMINATED) + both
    assert figures.num_episodes_truncated_lifetime == endings.count(Ending.TRUNCATED) + both
    returns = [value for _, _, value, ending in finished if ending is not Ending.ERROR]
    if returns:
        assert figures.episode_return_mean == pytest.approx(np.mean(returns))
        assert figures.episode_return_min == min(returns)
        assert figures.episode_return_max == max(returns)
        newest = [row for row in finished if row[3] is not Ending.ERROR]
        newest = sorted(newest, key=lambda row: row[0])[-100:]
        assert figures.recent_n == len(newest)
        assert figures.recent_return_mean == pytest.approx(np.mean([row[2] for row in newest]))
    means, counts = ledger.recent_means()
    for index, values in per_worker.items():
        assert counts[index - 1] == min(100, len(values))
        if values:
            assert means[index - 1] == pytest.approx(np.mean(values[-100:]))
