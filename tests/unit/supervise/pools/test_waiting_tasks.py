"""A worker's task may wait for a place if the worker has been silent for long after a request."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.records import RolloutChunk
from raydash.supervise.pools.ray_pool import SLOW_TO_PLACE_S
from raydash.supervise.pools.stepping_pool import SteppingPool
from raydash.supervise.pools.task_hosts import TaskHosts
from tests.fakes.clock import FakeClock
from tests.fakes.runs.supervised_run import SupervisedRun

LATE_S = SLOW_TO_PLACE_S + 0.1


class HandDrivenPool:
    """A pool with two workers of the mode `tasks`, where a test plays the stepping loop."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        loop = SimpleNamespace(where=SimpleNamespace(remote=object))
        self._chunk = simulated_chunk()
        self._hosts = TaskHosts(seed=0, node_id="n")
        self.pool = SteppingPool(self._hosts, lambda: loop, node_id="n", clock=self.clock)
        for worker in (1, 2):
            self.pool.create(worker, 0, PolicyVersion())
        self.pool._on_host_reports(self._hosts.collect())

    def open_env(self, worker: int) -> None:
        """Report that the loop has opened an environment."""
        self.pool._on_opened((worker, 0), "")

    def return_chunk(self, worker: int) -> None:
        """Report a chunk of a worker."""
        self.pool._on_chunk(replace(self._chunk, worker_index=worker))

    def request_chunk(self, worker: int) -> None:
        """Request a chunk, as the machine does."""
        self.pool.request(worker, 0, 0.4, drain=False)


def simulated_chunk() -> RolloutChunk:
    """Return some chunk of a worker's first incarnation."""
    run = SupervisedRun(1)
    run.until(lambda: run.pool.chunks)
    return run.pool.chunks[0]


@pytest.fixture
def driven() -> HandDrivenPool:
    return HandDrivenPool()


def test_environment_that_does_not_open_waits_after_a_while(driven: HandDrivenPool) -> None:
    assert driven.pool.waiting() == {}
    driven.open_env(2)
    driven.clock.advance(LATE_S)
    assert driven.pool.waiting() == {1: None}
    driven.open_env(1)
    assert driven.pool.waiting() == {}


def test_who_steps_does_not_wait_and_who_has_fallen_silent_does(driven: HandDrivenPool) -> None:
    for worker in (1, 2):
        driven.open_env(worker)
        driven.request_chunk(worker)
        driven.request_chunk(worker)
    for _ in range(5):
        driven.clock.advance(LATE_S / 2)
        driven.return_chunk(1)
        driven.request_chunk(1)
    assert driven.pool.waiting() == {2: None}
    driven.return_chunk(2)
    assert driven.pool.waiting() == {}


def test_who_is_asked_for_nothing_does_not_wait(driven: HandDrivenPool) -> None:
    """This is what a paused worker looks like."""
    for worker in (1, 2):
        driven.open_env(worker)
    driven.clock.advance(100.0)
    assert driven.pool.waiting() == {}
    driven.request_chunk(1)
    assert driven.pool.waiting() == {}
    driven.clock.advance(LATE_S)
    assert driven.pool.waiting() == {1: None}
    driven.pool.close_worker(1, 0)
    assert driven.pool.waiting() == {}
