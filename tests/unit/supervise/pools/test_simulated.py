"""Simulated workers follow the rules of real ones, so that benches with them measure the truth."""

import numpy as np
import pytest

from raydash.core.machine.stimuli import DeathCause, PolicyVersion, WorkerDied
from raydash.core.records import RolloutChunk, WorkerReady
from raydash.core.states import Ending
from raydash.supervise.pools.simulated import SimulatedPool
from tests.fakes.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def pool(clock: FakeClock) -> SimulatedPool:
    made = SimulatedPool(clock, start_s=0.05)
    made.create(1, 0, PolicyVersion())
    return made


def ready(pool: SimulatedPool, clock: FakeClock) -> None:
    clock.advance(0.06)
    (report,) = pool.collect()
    assert isinstance(report, WorkerReady)


def test_a_worker_takes_time_to_start(pool: SimulatedPool, clock: FakeClock) -> None:
    assert pool.collect() == []
    ready(pool, clock)


def test_two_requests_are_answered_one_after_the_other(
    pool: SimulatedPool, clock: FakeClock
) -> None:
    ready(pool, clock)
    pool.request(1, 0, 0.1, drain=False)
    pool.request(1, 0, 0.1, drain=False)
    counts = []
    for _ in range(13):
        clock.advance(0.0199)
        counts.append(len(pool.collect()))
    assert [number for number, count in enumerate(counts) if count] == [5, 10]


@pytest.mark.parametrize("budget_s", [0.001, 0.01, 0.1, 1.0])
def test_totals_are_exact_and_episodes_end_inside_of_their_chunk(
    pool: SimulatedPool, clock: FakeClock, budget_s: float
) -> None:
    ready(pool, clock)
    chunks: list[RolloutChunk] = []
    for _ in range(200):
        pool.request(1, 0, budget_s, drain=False)
        clock.advance(budget_s + 1e-9)
        chunks += [report for report in pool.collect() if isinstance(report, RolloutChunk)]
    assert len(chunks) == 200
    lengths = np.concatenate([chunk.episode_len for chunk in chunks])
    endings = np.concatenate([chunk.ending for chunk in chunks])
    totals = chunks[-1].totals
    assert lengths.sum() + chunks[-1].partial_len[0] == totals.num_env_steps
    assert len(lengths) == totals.num_episodes
    assert int((endings == Ending.TERMINATED).sum()) == totals.num_terminated
    assert int((endings == Ending.TRUNCATED).sum()) == totals.num_truncated
    for chunk in chunks:
        assert (chunk.end_offset_s > 0).all()
        assert (chunk.end_offset_s <= chunk.duration_s).all()
        assert (np.diff(chunk.end_offset_s) > 0).all()


def test_a_crash_is_reported_once_and_loses_what_is_out(
    pool: SimulatedPool, clock: FakeClock
) -> None:
    ready(pool, clock)
    pool.request(1, 0, 0.1, drain=False)
    pool.crash(1, 0)
    clock.advance(1.0)
    assert pool.collect() == [WorkerDied(1, 0, DeathCause.CRASHED, "simulated crash")]
    assert pool.collect() == []


def test_nothing_is_reported_after_shut_down(pool: SimulatedPool, clock: FakeClock) -> None:
    ready(pool, clock)
    pool.request(1, 0, 0.1, drain=False)
    pool.kill(1, 0)
    pool.shut_down()
    clock.advance(1.0)
    assert pool.collect() == []
