"""A cluster that dies is said in words, and the next engine launches another."""

import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raydash.cluster import processes
from raydash.cluster.cluster_file import ClusterRecord
from raydash.core.messages import StartRun
from raydash.core.states import ClusterPhase, EndedBy, RunState
from raydash.record.read.query import figures
from raydash.terminal.engine_client import EngineGoneError
from tests.fakes.engines.clusters import is_gone, members_of, record_of
from tests.fakes.engines.terminal import SOURCE_DIRS, Terminal

WaitUntil = Callable[..., None]


@pytest.fixture
def ray_state_dir(private_dirs: Path, wait_until: WaitUntil) -> Iterator[Path]:
    """A state folder of this test's own; of its last cluster nothing is left."""
    folder = private_dirs / "s"
    yield folder
    wait_until(is_gone(folder, record_of(folder)), "the cluster is gone")


def _kill_guardian(record: ClusterRecord) -> None:
    assert processes.send(record.guardian_pid, record.guardian_mark, signal.SIGKILL)


def _kill_control_store(record: ClusterRecord) -> None:
    named = [
        (pid, mark)
        for pid, mark in members_of(record)
        if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == "gcs_server"
    ]
    ((pid, mark),) = named
    assert processes.send(pid, mark, signal.SIGKILL)


@pytest.mark.parametrize(
    ("kill", "words"),
    [
        pytest.param(_kill_guardian, "its guardian was killed, and Ray with it", id="guardian"),
        pytest.param(_kill_control_store, "gcs_server", id="control store"),
    ],
)
def test_a_dead_cluster_is_named_the_recording_is_intact_and_the_run_starts_again_on_the_next_one(
    ray_state_dir: Path, kill: Callable[[ClusterRecord], None], words: str
) -> None:
    first = Terminal()
    try:
        first.connect()
        run = first.start_stepping(rollout={"num_workers": 1})
        first.wait(lambda: run.is_committed(1.5), "1.5 s of steps")
        record = record_of(ray_state_dir)
        told = run.latest.figures
        kill(record)
        first.wait(lambda: first.cluster.phase is ClusterPhase.LOST, "the cluster is lost")
        assert first.cluster.fault is not None
        assert words in first.cluster.fault.sentence()
        with pytest.raises(EngineGoneError):  # and the engine ends
            first.wait(lambda: False)
    finally:
        first.client.close()

    second = Terminal()
    try:
        second.connect()
        assert record_of(ray_state_dir).guardian_pid != record.guardian_pid
        recorded = figures(run.recording)
        assert (recorded.state, recorded.ended_by) == (None, None)
        assert recorded.num_episodes_lifetime > 0
        assert recorded.elapsed_s > told.elapsed_s - 1.5
        assert not second.listed.runs
        again = second.run(second.done(StartRun(0, run.spec, SOURCE_DIRS)).run_id)
        second.started.append(again.run_id)
        second.wait(lambda: again.is_known and again.is_stepping(), "it steps")
        last = second.stop(again)
        assert (last.state, last.ended_by) == (RunState.STOPPED, EndedBy.USER)
        assert again.run_id != run.run_id
    finally:
        second.close()
    assert not Path(record.temp_dir).exists()
