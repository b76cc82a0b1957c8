"""The guardian of a real Ray leaves nothing behind, whichever process is killed."""

import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from raydash.cluster import processes
from raydash.cluster.cluster_file import GuardianSettings
from raydash.cluster.launch import cluster_status, why_dead
from raydash.core.faults import FaultError
from tests.fakes.engines.clusters import (
    ask_ray,
    heard,
    is_gone,
    launch,
    members_of,
    record_of,
    start_holder,
)

WaitUntil = Callable[..., None]


@pytest.fixture
def ray_state_dir(private_dirs: Path) -> Path:
    return private_dirs / "s"


def _pid_of(name: str, pids: list[int]) -> int:
    """Return the process of a cluster that runs a program."""
    return next(
        pid for pid in pids if Path(f"/proc/{pid}/comm").read_text(encoding="utf-8").strip() == name
    )


def test_a_cluster_takes_drivers_and_leaves_nothing_when_its_lease_is_given_back(
    ray_state_dir: Path, wait_until: WaitUntil
) -> None:
    said: list[str] = []
    cluster = launch(ray_state_dir, GuardianSettings(), on_phase=said.append)
    record = record_of(ray_state_dir)
    assert re.fullmatch(r"127\.0\.0\.2:\d+", cluster.address)
    assert "starting Ray: waiting for the node to register" in said
    # A driver that connects as early as possible finds the node, too.
    assert ask_ray(cluster, "nodes")["patient"] == []
    wait_until((cluster.temp_dir / "ray_current_cluster").exists)
    told = (cluster.temp_dir / "ray_current_cluster").read_text(encoding="utf-8")
    assert told == cluster.address
    cluster.lease.release()
    wait_until(is_gone(ray_state_dir, record))


def test_a_killed_engine_costs_the_cluster_its_grace_and_then_everything_is_gone(
    ray_state_dir: Path, wait_until: WaitUntil
) -> None:
    holder = start_holder(ray_state_dir, GuardianSettings(grace_s=0.5))
    heard(holder)
    record = record_of(ray_state_dir)
    assert len(members_of(record)) >= 5
    holder.kill()
    holder.communicate()
    wait_until(is_gone(ray_state_dir, record))


def test_a_killed_guardian_takes_ray_along_and_the_next_launch_sweeps_up(
    ray_state_dir: Path, wait_until: WaitUntil
) -> None:
    first = launch(ray_state_dir, GuardianSettings())
    old = record_of(ray_state_dir)
    assert processes.send(old.guardian_pid, old.guardian_mark, signal.SIGKILL)
    wait_until(lambda: not processes.is_alive(old.ray_pid, old.ray_mark), "Ray is gone")
    fault = why_dead(first.folder)
    assert fault is not None
    assert fault.why == "its guardian was killed, and Ray with it"
    first.lease.release()
    second = launch(ray_state_dir, GuardianSettings())
    assert not second.joined
    assert not members_of(old)
    assert not first.temp_dir.exists()
    record = record_of(ray_state_dir)
    second.lease.release()
    wait_until(is_gone(ray_state_dir, record))


def test_a_killed_control_store_is_named_as_the_reason(
    ray_state_dir: Path, wait_until: WaitUntil
) -> None:
    cluster = launch(ray_state_dir, GuardianSettings())
    record = record_of(ray_state_dir)
    # `ray start` looks after its processes from the moment in which it writes this file.
    wait_until((cluster.temp_dir / "session_latest/logs/ray_process_exit.log").exists)
    pids = dict(members_of(record))
    gcs = _pid_of("gcs_server", list(pids))
    assert processes.send(gcs, pids[gcs], signal.SIGKILL)
    wait_until(lambda: why_dead(cluster.folder) is not None)
    fault = why_dead(cluster.folder)
    assert fault is not None
    assert fault.what == "Ray died"
    assert "Ray's control store (gcs_server) was killed (SIGKILL)" in fault.why
    assert "gcs_server" in fault.detail
    wait_until(is_gone(ray_state_dir, record))
    cluster.lease.release()


def test_cancelling_a_real_launch_leaves_nothing(
    ray_state_dir: Path, wait_until: WaitUntil
) -> None:
    def cancelled() -> bool:
        status = cluster_status(ray_state_dir)
        return status is not None and "control store is up" in status.text

    with pytest.raises(FaultError, match="Cancelled"):
        launch(ray_state_dir, GuardianSettings(), cancelled=cancelled)
    wait_until(is_gone(ray_state_dir, record_of(ray_state_dir)))
