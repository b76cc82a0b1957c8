"""Launch clusters in tests, of a real Ray or of its stand-in, and see what is left of them."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raydash.cluster import processes
from raydash.cluster.cluster_file import ClusterRecord, GuardianSettings, guardian_lives
from raydash.cluster.launch import LaunchedCluster, cluster_folder, ensure_cluster
from raydash.paths import cache_dir

STAND_IN = Path(__file__).parent / "stand_in_ray"


def stand_in_settings(*moods: str, **changes: Any) -> GuardianSettings:
    """Settings with which the guardian starts the stand-in in place of Ray."""
    env = {"PYTHONPATH": str(STAND_IN), "STAND_IN_RAY": ",".join(moods)}
    return GuardianSettings(**{"grace_s": 0.6, "poll_s": 0.02, "env": env, **changes})


def launch(state_dir: Path, settings: GuardianSettings, **more: Any) -> LaunchedCluster:
    """Launch or join a cluster, with the byte-code cache of the test suite."""
    return ensure_cluster(state_dir=state_dir, cache_dir=cache_dir(), settings=settings, **more)


def start_holder(state_dir: Path, settings: GuardianSettings) -> subprocess.Popen[str]:
    """Start another process that launches or joins a cluster and keeps its lease."""
    arguments = [str(state_dir), str(cache_dir()), json.dumps(asdict(settings))]
    return subprocess.Popen(
        [sys.executable, "-m", "tests.fakes.engines.cluster_holder", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def heard(holder: subprocess.Popen[str]) -> dict[str, Any]:
    """Wait until a holder's cluster is up, and return what it prints then."""
    assert holder.stdout is not None
    return dict(json.loads(holder.stdout.readline()))


def let_go(holder: subprocess.Popen[str]) -> None:
    """End a holder cleanly."""
    holder.communicate(timeout=30)


def record_of(state_dir: Path) -> ClusterRecord:
    """Read the record of the launched cluster, which must exist."""
    record = ClusterRecord.read(cluster_folder(state_dir))
    assert record is not None
    return record


def members_of(record: ClusterRecord) -> list[tuple[int, str]]:
    """List the living processes of a cluster."""
    return processes.members(
        session_id=record.ray_pid, mark=record.ray_mark, folder=record.temp_dir
    )


def is_gone(state_dir: Path, record: ClusterRecord) -> Callable[[], bool]:
    """Return a condition: no guardian, process, temp folder, token or lease of it is left."""
    folder = cluster_folder(state_dir)

    def gone() -> bool:
        return (
            not guardian_lives(folder)
            and not processes.is_alive(record.guardian_pid, record.guardian_mark)
            and not members_of(record)
            and not Path(record.temp_dir).exists()
            and not Path(record.leases_dir).exists()
            and not (folder / "token").exists()
        )

    return gone


def ask_ray(cluster: LaunchedCluster, question: str) -> Any:
    """Ask a real cluster something through a throw-away driver (`ray_driver`)."""
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.fakes.engines.ray_driver"),
            *(cluster.address, str(cluster.token_path), question),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
