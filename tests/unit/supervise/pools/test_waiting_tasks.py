"""Whose task may wait for a place: who was asked for something, and has long been silent."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.records import RolloutChunk
from raydash.supervise.pools.ray_pool import SLOW_TO_PLACE_S
from raydash.supervise.pools.slots import Slots
from raydash.supervise.pools.stepping_pool import SteppingPool
from tests.fakes.clock import FakeClock
from tests.fakes.runs.supervised_run import SupervisedRun

LATE_S = SLOW_TO_PLACE_S + 0.1


class PoolInHand:
    """Two workers of the mode tasks, and the stepping loop's part played by a test.

    Attributes:
        clock: Their time.
        pool: Theirs.
    """

    def __init__(self) -> None:
        self.clock = FakeClock()
        loop = SimpleNamespace(where=SimpleNamespace(remote=object))
        self._chunk = simulated_chunk()
        self._slots = Slots(seed=0, node_id="n")
        self.pool = SteppingPool(self._slots, lambda: loop, node_id="n", clock=self.clock)
        for worker in (1, 2):
            self.pool.create(worker, 0, PolicyVersion())
        self.pool._take_host_reports(self._slots.collect())

    def opens(self, worker: int) -> None:
        """The loop has opened an environment."""
        self.pool._take_opened((worker, 0), "")

    def answers(self, worker: int) -> None:
        """A chunk comes back."""
        self.pool._take_chunk(replace(self._chunk, worker_index=worker))

    def asks(self, worker: int) -> None:
        """The machine wants a slice."""
        self.pool.request(worker, 0, 0.4, drain=False)


def simulated_chunk() -> RolloutChunk:
    """Some chunk of the first life of a worker."""
    run = SupervisedRun(1)
    run.until(lambda: run.pool.chunks)
    return run.pool.chunks[0]


@pytest.fixture
def in_hand() -> PoolInHand:
    return PoolInHand()


def test_environment_that_does_not_open_waits_after_a_while(in_hand: PoolInHand) -> None:
    assert in_hand.pool.waiting() == {}
    in_hand.opens(2)
    in_hand.clock.advance(LATE_S)
    assert in_hand.pool.waiting() == {1: None}
    in_hand.opens(1)
    assert in_hand.pool.waiting() == {}


def test_who_steps_does_not_wait_and_who_has_fallen_silent_does(in_hand: PoolInHand) -> None:
    for worker in (1, 2):
        in_hand.opens(worker)
        in_hand.asks(worker)
        in_hand.asks(worker)
    for _ in range(5):
        in_hand.clock.advance(LATE_S / 2)
        in_hand.answers(1)
        in_hand.asks(1)
    assert in_hand.pool.waiting() == {2: None}
    in_hand.answers(2)
    assert in_hand.pool.waiting() == {}


def test_who_is_asked_for_nothing_does_not_wait(in_hand: PoolInHand) -> None:
    """A paused worker, that is."""
    for worker in (1, 2):
        in_hand.opens(worker)
    in_hand.clock.advance(100.0)
    assert in_hand.pool.waiting() == {}
    in_hand.asks(1)
    assert in_hand.pool.waiting() == {}
    in_hand.clock.advance(LATE_S)
    assert in_hand.pool.waiting() == {1: None}
    in_hand.pool.close_worker(1, 0)
    assert in_hand.pool.waiting() == {}
