"""A real guardian follows its rules, with a stand-in for Ray that starts in no time."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from raydash.cluster import processes
from raydash.cluster.cluster_file import ClusterRecord, FileLock, GuardianPhase
from raydash.cluster.launch import (
    cluster_folder,
    cluster_status,
    stop_cluster,
    why_dead,
)
from raydash.cluster.leases import Lease
from raydash.core.faults import FaultError
from tests.fakes.engines.clusters import (
    heard,
    is_gone,
    launch,
    let_go,
    members_of,
    record_of,
    stand_in_settings,
    start_holder,
)

WaitUntil = Callable[..., None]


@pytest.fixture
def state_dir(private_dirs: Path) -> Path:
    return private_dirs / "s"


def test_a_launched_cluster_says_where_it_is_and_keeps_its_token_private(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    said: list[str] = []
    cluster = launch(state_dir, stand_in_settings(), on_phase=said.append)
    record = record_of(state_dir)
    assert (cluster.address, cluster.joined) == ("127.0.0.2:4321", False)
    assert said[:2] == ["looking for a running cluster", "starting Ray"]
    assert len(set(said)) == len(said)
    assert cluster.token_path.stat().st_mode & 0o777 == 0o600
    assert cluster.temp_dir.parent.stat().st_mode & 0o777 == 0o700
    assert len(str(cluster.temp_dir)) <= 43
    assert record.phase is GuardianPhase.UP
    assert cluster_status(state_dir) == record
    assert why_dead(cluster.folder) is None
    cluster.lease.release()
    wait_until(is_gone(state_dir, record))
    assert cluster_status(state_dir) is None


def test_the_cluster_ends_at_once_when_the_last_lease_is_given_back(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    first = launch(state_dir, stand_in_settings(grace_s=1000.0))
    second = launch(state_dir, stand_in_settings(grace_s=1000.0))
    record = record_of(state_dir)
    assert second.joined
    assert second.address == first.address
    first.lease.release()
    supervisor = Lease.acquire(second.leases_dir, "supervisor")
    second.lease.release()
    assert why_dead(first.folder) is None
    supervisor.release()
    wait_until(is_gone(state_dir, record))
    fault = why_dead(first.folder)
    assert fault is not None
    assert "stopped" in fault.why


def test_the_cluster_waits_its_grace_when_a_holder_died_and_then_ends(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    holder = start_holder(state_dir, stand_in_settings(grace_s=0.8))
    heard(holder)
    record = record_of(state_dir)
    holder.kill()
    holder.communicate()
    assert cluster_status(state_dir) is not None
    wait_until(is_gone(state_dir, record))


def test_a_new_engine_within_the_grace_keeps_the_cluster(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    settings = stand_in_settings(grace_s=5.0)
    holder = start_holder(state_dir, settings)
    heard(holder)
    record = record_of(state_dir)
    holder.kill()
    holder.communicate()
    cluster = launch(state_dir, settings)
    assert cluster.joined
    assert record_of(state_dir).guardian_pid == record.guardian_pid
    stop_cluster(state_dir)
    cluster.lease.release()
    wait_until(is_gone(state_dir, record))


def test_a_clean_end_soon_after_a_death_still_leaves_the_dead_ones_heir_its_grace(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    cluster = launch(state_dir, stand_in_settings(grace_s=1000.0))
    joined = start_holder(state_dir, stand_in_settings())
    heard(joined)
    joined.kill()
    joined.communicate()
    wait_until(lambda: len(list(cluster.leases_dir.iterdir())) == 1, "the dead lease is removed")
    cluster.lease.release()
    again = launch(state_dir, stand_in_settings())
    assert again.joined
    record = record_of(state_dir)
    stop_cluster(state_dir)
    again.lease.release()
    wait_until(is_gone(state_dir, record))


def test_engines_that_start_together_get_one_cluster(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    holders = [start_holder(state_dir, stand_in_settings()) for _ in range(3)]
    said = [heard(holder) for holder in holders]
    assert sorted(line["joined"] for line in said) == [False, True, True]
    record = record_of(state_dir)
    for holder in holders:
        let_go(holder)
    wait_until(is_gone(state_dir, record))


def test_an_engine_that_comes_while_the_cluster_ends_gets_a_new_one(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    settings = stand_in_settings("deaf", stop_grace_s=0.5)
    first = launch(state_dir, settings)
    old = record_of(state_dir)
    first.lease.release()
    wait_until(lambda: record_of(state_dir).phase is GuardianPhase.STOPPING)
    second = launch(state_dir, settings)
    assert not second.joined
    assert second.temp_dir != first.temp_dir
    wait_until(lambda: not processes.is_alive(old.guardian_pid, old.guardian_mark))
    assert why_dead(second.folder) is None
    new = record_of(state_dir)
    second.lease.release()
    wait_until(is_gone(state_dir, new))
    assert not members_of(old)


def test_the_guardian_does_not_end_while_an_engine_is_joining(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    cluster = launch(state_dir, stand_in_settings())
    record = record_of(state_dir)
    joining = FileLock.try_acquire(cluster.folder / "launch.lock")
    assert joining is not None
    with joining:
        cluster.lease.release()
        # The guardian sees no lease, but may not decide: as if an engine were half-way in.
        for _ in range(10):
            threading.Event().wait(0.02)
            assert record_of(state_dir).phase is GuardianPhase.UP
        lease = Lease.acquire(cluster.leases_dir, "engine")
    for _ in range(10):
        threading.Event().wait(0.02)
        assert record_of(state_dir).phase is GuardianPhase.UP
    lease.release()
    wait_until(is_gone(state_dir, record))


def test_cancelling_a_launch_leaves_nothing(state_dir: Path, wait_until: WaitUntil) -> None:
    said: list[str] = []
    with pytest.raises(FaultError) as caught:
        launch(
            state_dir,
            stand_in_settings("never"),
            on_phase=said.append,
            cancelled=lambda: "starting Ray: loading it" in said,
        )
    assert caught.value.fault.what == "Cancelled"
    wait_until(is_gone(state_dir, record_of(state_dir)))


def test_cancelling_one_of_two_who_wait_leaves_the_launch_to_the_other(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    holder = start_holder(state_dir, stand_in_settings("never", start_timeout_s=3.0))
    wait_until(lambda: (status := cluster_status(state_dir)) and status.ray_pid)
    with pytest.raises(FaultError):
        launch(state_dir, stand_in_settings(), cancelled=_after(3))
    record = record_of(state_dir)
    assert record.phase is GuardianPhase.STARTING
    (Path(record.temp_dir) / "ray_current_cluster").write_text("127.0.0.2:99")
    assert heard(holder)["address"] == "127.0.0.2:99"
    let_go(holder)
    wait_until(is_gone(state_dir, record))


def _after(count: int) -> Callable[[], bool]:
    asked = iter(range(count))
    return lambda: next(asked, None) is None


def test_a_ray_that_is_not_up_in_time_is_ended_and_said(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    with pytest.raises(FaultError) as caught:
        launch(state_dir, stand_in_settings("never", start_timeout_s=0.3))
    assert caught.value.fault.why == "Ray was not up in time"
    wait_until(is_gone(state_dir, record_of(state_dir)))


def test_a_ray_that_does_not_start_is_explained_with_the_tail_of_its_log(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    with pytest.raises(FaultError) as caught:
        launch(state_dir, stand_in_settings("say:ValueError: Failed to bind to 127.0.0.1:8265"))
    fault = caught.value.fault
    assert fault.what == "Ray did not start"
    assert "port" in fault.why
    assert "8265" in fault.detail
    wait_until(is_gone(state_dir, record_of(state_dir)))


def test_a_cluster_that_died_says_why(state_dir: Path, wait_until: WaitUntil) -> None:
    cluster = launch(state_dir, stand_in_settings("die"))
    record = record_of(state_dir)
    (cluster.temp_dir / "die").touch()
    wait_until(lambda: why_dead(cluster.folder) is not None)
    fault = why_dead(cluster.folder)
    assert fault is not None
    assert fault.what == "Ray died"
    assert fault.why == "Ray's node manager (raylet) was killed (SIGKILL)"
    assert "Relaunch" in fault.remedy
    wait_until(is_gone(state_dir, record))
    cluster.lease.release()
    again = launch(state_dir, stand_in_settings())
    assert not again.joined
    assert why_dead(again.folder) is None
    new = record_of(state_dir)
    again.lease.release()
    wait_until(is_gone(state_dir, new))


def test_a_ray_that_ignores_sigterm_is_killed_after_its_grace(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    cluster = launch(state_dir, stand_in_settings("deaf", "agent", stop_grace_s=0.2))
    record = record_of(state_dir)
    assert len(members_of(record)) == 2
    assert stop_cluster(state_dir)
    assert is_gone(state_dir, record)()
    cluster.lease.release()
    assert not stop_cluster(state_dir)


def test_what_a_killed_guardian_left_is_swept_by_the_next_launch(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    cluster = launch(state_dir, stand_in_settings("deaf", "agent"))
    record = record_of(state_dir)
    assert processes.send(record.guardian_pid, record.guardian_mark, signal.SIGKILL)
    wait_until(lambda: why_dead(cluster.folder) is not None)
    fault = why_dead(cluster.folder)
    assert fault is not None
    assert "guardian was killed" in fault.why
    cluster.lease.release()
    said: list[str] = []
    again = launch(state_dir, stand_in_settings(), on_phase=said.append)
    assert "clearing up after a cluster that was killed" in said
    assert not again.joined
    assert not members_of(record)
    assert not Path(record.temp_dir).exists()
    new = record_of(state_dir)
    again.lease.release()
    wait_until(is_gone(state_dir, new))


def test_stopping_also_sweeps_what_a_killed_guardian_left(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    cluster = launch(state_dir, stand_in_settings("deaf"))
    record = record_of(state_dir)
    processes.send(record.guardian_pid, record.guardian_mark, signal.SIGKILL)
    wait_until(lambda: cluster_status(state_dir) is None)
    assert stop_cluster(state_dir)
    assert not members_of(record)
    assert not Path(record.temp_dir).exists()
    cluster.lease.release()


def test_a_recycled_process_id_is_left_alone(tmp_path: Path) -> None:
    stranger = subprocess.Popen(["sleep", "60"], start_new_session=True)
    try:
        mark = processes.birth_mark(stranger.pid)
        assert processes.is_alive(stranger.pid, mark)
        assert not processes.is_alive(stranger.pid, "another boot:1")
        assert not processes.send(stranger.pid, "another boot:1", signal.SIGKILL)
        assert processes.end_members(
            session_id=stranger.pid, mark="another boot:1", folder=str(tmp_path)
        )
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_zombie_counts_as_dead() -> None:
    child = subprocess.Popen(["sleep", "60"])
    mark = processes.birth_mark(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not processes.is_alive(child.pid, mark)
    child.wait()


def test_a_process_lives_until_its_last_thread_has_dropped_its_files(
    tmp_path: Path, wait_until: WaitUntil
) -> None:
    path = tmp_path / "lock"
    code = (
        "import ctypes, fcntl, sys, threading\n"
        "file = open(sys.argv[1], 'w')\n"
        "fcntl.flock(file, fcntl.LOCK_EX)\n"
        "threading.Thread(target=threading.Event().wait).start()\n"
        "ctypes.CDLL(None).pthread_exit(None)"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)])
    mark = processes.birth_mark(child.pid)
    stat = Path(f"/proc/{child.pid}/stat")
    wait_until(lambda: ") Z " in stat.read_text(), "its first thread has ended")
    assert processes.is_alive(child.pid, mark)
    child.kill()
    wait_until(lambda: not processes.is_alive(child.pid, mark), "the other one, too")
    lock = FileLock.try_acquire(path)
    assert lock is not None
    lock.release()
    child.wait()


def test_a_cluster_of_another_environment_is_not_joined_but_named(
    state_dir: Path, wait_until: WaitUntil
) -> None:
    first = launch(state_dir, stand_in_settings())
    record = record_of(state_dir)
    replace(record, ray_version="2.9.3").write(first.folder)
    with pytest.raises(FaultError, match=r"there it is Ray 2\.9\.3"):
        launch(state_dir, stand_in_settings())
    assert why_dead(first.folder) is None
    first.lease.release()
    wait_until(is_gone(state_dir, record))


def test_a_state_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(FaultError) as caught:
        launch(tmp_path / "file" / "state", stand_in_settings())
    assert "state folder cannot be written" in caught.value.fault.what
    assert str(tmp_path / "file") in caught.value.fault.why


def test_a_temp_folder_that_is_a_link_is_refused(state_dir: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as root:
        (Path(root) / f"raydash-{os.getuid()}").symlink_to("/")
        with pytest.raises(FaultError, match="not safe"):
            launch(state_dir, stand_in_settings(temp_root=root))


def test_a_temp_folder_with_too_long_a_name_is_refused_before_anything_starts(
    state_dir: Path, tmp_path: Path
) -> None:
    root = tmp_path / ("x" * 40)
    root.mkdir()
    with pytest.raises(FaultError, match="too long"):
        launch(state_dir, stand_in_settings(temp_root=str(root)))
    assert cluster_status(state_dir) is None


def test_too_little_memory_is_said_before_anything_starts(state_dir: Path) -> None:
    with pytest.raises(FaultError, match="not enough memory"):
        launch(state_dir, stand_in_settings(min_free_bytes=10**15))
    assert cluster_status(state_dir) is None


def test_a_record_round_trips_and_an_unreadable_one_counts_as_none(tmp_path: Path) -> None:
    record = ClusterRecord(GuardianPhase.UP, address="127.0.0.2:1", up_after_s=2.5)
    record.write(tmp_path)
    assert ClusterRecord.read(tmp_path) == record
    replace(record, phase=GuardianPhase.ENDED).write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["cluster.json"]
    (tmp_path / "cluster.json").write_text('{"phase": "dancing"}')
    assert ClusterRecord.read(tmp_path) is None
    (tmp_path / "cluster.json").write_text("{")
    assert ClusterRecord.read(tmp_path) is None


def test_removing_the_state_folder_ends_the_cluster(state_dir: Path, wait_until: WaitUntil) -> None:
    cluster = launch(state_dir, stand_in_settings(grace_s=0.1))
    record = record_of(state_dir)
    shutil.rmtree(cluster_folder(state_dir))
    wait_until(lambda: not members_of(record) and not Path(record.temp_dir).exists())
    cluster.lease.release()
