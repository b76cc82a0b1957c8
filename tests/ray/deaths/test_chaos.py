"""Supervisors killed at random moments, and everything at once: what was recorded is there."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raydash.cluster import processes
from raydash.cluster.launch import LaunchedCluster
from raydash.core.messages import StartRun
from raydash.core.states import EndedBy, RunState
from raydash.record.read.query import figures
from raydash.record.read.restore import restore
from raydash.terminal.engine_client import EngineGoneError
from tests.fakes.engines.chaos import MAX_LOST_S, chaos
from tests.fakes.engines.clusters import is_gone, members_of, record_of
from tests.fakes.engines.terminal import SOURCE_DIRS, Terminal


def test_supervisors_killed_at_random_lose_at_most_a_second_and_nothing_is_double(
    terminal: Terminal, ray_cluster: LaunchedCluster
) -> None:
    rows = chaos(terminal, num_kills=2, seed=7)
    assert len(rows) == 2
    assert {row.run for row in rows} == {"cartpole", "numbered"}
    assert max(row.lost_s for row in rows) <= MAX_LOST_S, rows


@pytest.mark.timeout(600)
def test_ten_kills_in_a_row_lose_at_most_a_second_each(
    terminal: Terminal, long_round: None
) -> None:
    rows = chaos(terminal, num_kills=10, seed=8)
    assert len(rows) == 10
    assert max(row.lost_s for row in rows) <= MAX_LOST_S, rows


@pytest.fixture
def ray_state_dir(private_dirs: Path, wait_until: Callable[..., None]) -> Iterator[Path]:
    """A state folder of this test's own; of its last cluster nothing is left."""
    folder = private_dirs / "s"
    yield folder
    wait_until(is_gone(folder, record_of(folder)), "the cluster is gone")


def test_a_cluster_killed_as_a_whole_leaves_an_interrupted_run_that_starts_again_from_its_spec(
    ray_state_dir: Path, wait_until: Callable[..., None]
) -> None:
    first = Terminal()
    try:
        first.connect()
        run = first.start_stepping(rollout={"num_workers": 1})
        first.wait(lambda: run.is_committed(2.0), "two seconds of steps")
        told, record = run.latest.figures, record_of(ray_state_dir)
        everybody = members_of(record)
        assert processes.send(record.guardian_pid, record.guardian_mark, signal.SIGKILL)
        for pid, mark in everybody:
            processes.send(pid, mark, signal.SIGKILL)
        os.kill(first.pid, signal.SIGKILL)
        with pytest.raises(EngineGoneError):
            first.wait(lambda: False)
    finally:
        first.client.close()

    wait_until(
        lambda: not any(processes.is_alive(pid, mark) for pid, mark in everybody), "all are dead"
    )
    recorded = figures(run.recording)
    assert (recorded.state, recorded.ended_by) == (None, None)
    assert recorded.elapsed_s > told.elapsed_s - 1.5
    past = restore(run.recording)
    assert past is not None
    assert not past.is_closed

    second = Terminal()
    try:
        second.connect()
        again = second.run(second.done(StartRun(0, past.spec, SOURCE_DIRS)).run_id)
        second.started.append(again.run_id)
        second.wait(lambda: again.is_known and again.is_stepping(), "it steps")
        last = second.stop(again)
        assert (last.state, last.ended_by) == (RunState.STOPPED, EndedBy.USER)
    finally:
        second.close()
