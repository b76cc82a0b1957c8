"""Leases of living holders, those given back, and those left by dead holders are told apart."""

import os
import subprocess
import sys
from pathlib import Path

from raydash.cluster import leases

_HOLD = """
import sys
from pathlib import Path
from raydash.cluster.leases import Lease
lease = Lease.acquire(Path(sys.argv[1]), "supervisor")
print(lease.path.name, flush=True)
sys.stdin.read()
"""


def _hold_elsewhere(folder: Path) -> tuple[subprocess.Popen[str], str]:
    holder = subprocess.Popen(
        [sys.executable, "-c", _HOLD, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout is not None
    return holder, holder.stdout.readline().strip()


def test_a_lease_is_living_until_it_is_given_back_and_then_leaves_no_file(tmp_path: Path) -> None:
    with leases.Lease.acquire(tmp_path / "leases", "engine") as lease:
        assert lease.path.name.startswith(f"engine-{os.getpid()}-")
        assert lease.path.stat().st_mode & 0o777 == 0o600
        assert leases.living(tmp_path / "leases") == [lease.path.name]
        assert leases.remove_dead(tmp_path / "leases") == ()
    assert list((tmp_path / "leases").iterdir()) == []
    assert not lease.is_held
    lease.release()


def test_one_process_may_hold_several_leases(tmp_path: Path) -> None:
    first = leases.Lease.acquire(tmp_path, "engine")
    second = leases.Lease.acquire(tmp_path, "engine")
    first.release()
    assert leases.living(tmp_path) == [second.path.name]
    second.release()


def test_a_killed_holder_is_found_dead_and_removed_once(tmp_path: Path) -> None:
    holder, name = _hold_elsewhere(tmp_path)
    assert leases.living(tmp_path) == [name]
    holder.kill()
    holder.communicate()
    assert leases.scan(tmp_path) == leases.LeaseScan(living=(), died=(name,))
    assert leases.remove_dead(tmp_path) == (name,)
    assert leases.remove_dead(tmp_path) == ()


def test_looking_at_a_dead_lease_does_not_make_it_look_alive_to_another(tmp_path: Path) -> None:
    holder, name = _hold_elsewhere(tmp_path)
    holder.kill()
    holder.communicate()
    import fcntl

    with (tmp_path / name).open() as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        assert leases.scan(tmp_path).died == (name,)


def test_a_missing_folder_holds_no_lease(tmp_path: Path) -> None:
    assert leases.living(tmp_path / "none") == []
    assert leases.remove_dead(tmp_path / "none") == ()
