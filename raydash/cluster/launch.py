"""Raydash's own local cluster: join it if it is running, or launch it under a guardian.

Never imports ray. There is one cluster per state folder; `cluster_file` describes its files and
locks.
"""

import errno
import os
import platform
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from raydash.child_process import ProcessEnd
from raydash.cluster import leases, processes, ray_words
from raydash.cluster.cluster_file import (
    ClusterRecord,
    FileLock,
    GuardianPhase,
    GuardianSettings,
    Launch,
    guardian_lives,
)
from raydash.cluster.temp_dir import make_temp_dir, remove_temp_dir
from raydash.core.faults import Fault, FaultError
from raydash.core.words import plain

_POLL_S = 0.03
_LOCK_TRIES = 5


@dataclass(frozen=True, slots=True)
class LaunchedCluster:
    """A launched cluster that is up, with this process's lease on it.

    Attributes:
        address: HOST:PORT of its control store.
        token_path: File with its token.
        temp_dir: Ray's temp folder.
        leases_dir: Where supervisors take their leases.
        lease: The engine's lease; release it to leave the cluster.
        ray_version: Version of the Ray that runs.
        folder: The cluster's folder, for `why_dead`.
        joined: Whether the cluster was already running.
    """

    address: str
    token_path: Path
    temp_dir: Path
    leases_dir: Path
    lease: leases.Lease
    ray_version: str
    folder: Path
    joined: bool


def cluster_folder(state_dir: Path) -> Path:
    """Return the folder in which a state folder's cluster has its files."""
    return state_dir / "cluster"


def ensure_cluster(
    *,
    state_dir: Path,
    cache_dir: Path,
    num_cpus: int | None = None,
    on_phase: Callable[[str], None] = lambda text: None,
    cancelled: Callable[[], bool] = lambda: False,
    settings: GuardianSettings | None = None,
    role: str = "engine",
) -> LaunchedCluster:
    """Join the live cluster of a state folder, or launch one, and wait until it is up.

    Args:
        state_dir: The state folder whose cluster is wanted.
        cache_dir: Where Ray keeps its byte-code.
        num_cpus: How many CPUs a new cluster has; None: those that this process may use.
        on_phase: Called with a line for people whenever something changes.
        cancelled: Called often; if it returns True, nothing that was only started for this call
            is left running.
        settings: Times and sizes of a new cluster.
        role: First part of the lease's name.

    Raises:
        FaultError: if there is no cluster in the end, with the reason.
    """
    settings = settings or GuardianSettings()
    folder = cluster_folder(state_dir)
    report = _StatusReporter(on_phase)
    report("looking for a running cluster")
    deadline_s = time.monotonic() + settings.start_timeout_s + 30.0
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        while time.monotonic() < deadline_s:
            _check_cancelled(cancelled)
            lock = FileLock.try_acquire(folder / "launch.lock")
            if lock is None:
                report("waiting for another raydash that is launching")
            else:
                with lock:
                    found = _join_or_launch(folder, cache_dir, num_cpus, settings, role, report)
                if found is not None:
                    lease, joined = found
                    return _wait_until_up(folder, lease, joined, report, cancelled)
                report("waiting for the previous cluster to end")
            time.sleep(_POLL_S)
    except OSError as error:
        raise FaultError(_system_fault(error, folder)) from error
    raise FaultError(
        Fault(
            "The launched cluster cannot be joined",
            f"another process holds {folder} and does not get on",
            "Run `raydash cluster status`, then `raydash cluster stop`",
        ),
    )


def cluster_status(state_dir: Path) -> ClusterRecord | None:
    """Return the record of the cluster that runs, starts or ends; None if there is none."""
    folder = cluster_folder(state_dir)
    return ClusterRecord.read(folder) if guardian_lives(folder) else None


def stop_cluster(state_dir: Path, timeout_s: float = 20.0) -> bool:
    """End the launched cluster, and what is left of one that died.

    Returns:
        Whether there was something to end.

    Raises:
        FaultError: if it is not over in time.
    """
    folder = cluster_folder(state_dir)
    deadline_s = time.monotonic() + timeout_s
    found = False
    while guardian_lives(folder):
        record = ClusterRecord.read(folder)
        if record is not None and record.phase.is_joinable:
            found = True
            processes.send(record.guardian_pid, record.guardian_mark, signal.SIGTERM)
        if time.monotonic() > deadline_s:
            raise FaultError(
                Fault(
                    "The cluster did not end in time",
                    f"its guardian (process {record.guardian_pid if record else '?'}) still lives",
                    "Try again",
                ),
            )
        time.sleep(_POLL_S)
    return _remove_leftovers(folder) or found


def why_dead(folder: Path) -> Fault | None:
    """Explain why the launched cluster in `LaunchedCluster.folder` is gone; None while it runs.

    This reads two small files and never asks Ray, so it may be called several times a second.
    """
    lives = guardian_lives(folder)
    record = ClusterRecord.read(folder)
    what = "The cluster is gone"
    if record is None:
        return None if lives else Fault(what, f"its record in {folder} was removed", "Relaunch")
    match record.phase:
        case GuardianPhase.FAILED:
            return Fault(record.text, record.reason, record.remedy, record.detail)
        case GuardianPhase.STOPPING | GuardianPhase.ENDED:
            return Fault(what, "it was stopped", "Relaunch")
        case _ if not lives:
            return Fault(what, "its guardian was killed, and Ray with it", "Relaunch")
        case _:
            return None


class _StatusReporter:
    """Passes lines for people on, leaving out those that repeat the one before."""

    def __init__(self, on_phase: Callable[[str], None]) -> None:
        self._on_phase = on_phase
        self._said = ""

    def __call__(self, text: str) -> None:
        if text != self._said:
            self._said = text
            self._on_phase(text)


def _join_or_launch(
    folder: Path,
    cache_dir: Path,
    num_cpus: int | None,
    settings: GuardianSettings,
    role: str,
    report: _StatusReporter,
) -> tuple[leases.Lease, bool] | None:
    """Take a lease on the live cluster or on a new one; the flag says whether it was joined.

    The caller holds `launch.lock`. None means that the previous cluster is still ending.
    """
    guardian_lock = _lock_guardian(folder)
    if guardian_lock is None:
        record = ClusterRecord.read(folder)
        launch = Launch.read(folder)
        if launch is None or (record is not None and not record.phase.is_joinable):
            return None
        return leases.Lease.acquire(Path(launch.leases_dir), role), True
    with guardian_lock:
        if Launch.read(folder) is not None:
            report("clearing up after a cluster that was killed")
        _remove_leftovers(folder)
        _check_memory(settings)
        launch = _prepare(folder, cache_dir, num_cpus, settings)
        lease = leases.Lease.acquire(Path(launch.leases_dir), role)
        try:
            report("starting Ray")
            _spawn_guardian(folder, guardian_lock)
        except BaseException:
            lease.release()
            raise
    return lease, False


def _lock_guardian(folder: Path) -> FileLock | None:
    """Take the guardian's lock; None if a guardian holds it, and not just a process that checks."""
    for _ in range(_LOCK_TRIES):
        lock = FileLock.try_acquire(folder / "guardian.lock")
        if lock is not None:
            return lock
        time.sleep(0.002)
    return None


def _prepare(
    folder: Path, cache_dir: Path, num_cpus: int | None, settings: GuardianSettings
) -> Launch:
    """Make everything that a guardian needs when it starts."""
    temp_dir = make_temp_dir(Path(settings.temp_root))
    token_path = folder / "token"
    token_path.unlink(missing_ok=True)
    descriptor = os.open(token_path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(32))
    launch = Launch(
        python=sys.executable,
        num_cpus=num_cpus or len(os.sched_getaffinity(0)),
        temp_dir=str(temp_dir),
        token_path=str(token_path),
        leases_dir=str(folder / "leases" / temp_dir.name),
        pycache_dir=str(cache_dir / "pycache"),
        settings=settings,
    )
    ClusterRecord.forget(folder)
    launch.write(folder)
    return launch


def _spawn_guardian(folder: Path, guardian_lock: FileLock) -> None:
    """Start the guardian, which inherits its lock, so that it is held at every moment."""
    with (folder / "guardian.log").open("wb") as log:
        code = subprocess.run(
            [
                sys.executable,
                "-m",
                "raydash.cluster.guardian",
                str(folder),
                str(guardian_lock.descriptor),
            ],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            pass_fds=(guardian_lock.descriptor,),
            env={name: v for name, v in os.environ.items() if name != processes.MARKER},
            check=False,
        ).returncode
    if code:
        detail = ray_words.tail(folder / "guardian.log")
        _remove_leftovers(folder)
        raise FaultError(
            Fault(
                "The cluster's guardian did not start",
                f"it {ProcessEnd(code).words}",
                "Look at the log below",
                detail,
            ),
        )


def _wait_until_up(
    folder: Path,
    lease: leases.Lease,
    joined: bool,
    report: _StatusReporter,
    cancelled: Callable[[], bool],
) -> LaunchedCluster:
    """Wait until the guardian says that Ray is up; the guardian's own time limit ends this."""
    try:
        while True:
            _check_cancelled(cancelled)
            lives = guardian_lives(folder)
            record = ClusterRecord.read(folder)
            if record is not None and record.phase is GuardianPhase.UP and lives:
                break
            if record is not None and record.phase is GuardianPhase.FAILED:
                raise FaultError(
                    Fault(record.text, record.reason, record.remedy, record.detail),
                )
            if not lives or (record is not None and not record.phase.is_joinable):
                raise FaultError(
                    Fault(
                        "The cluster ended while it was starting",
                        "it was stopped, or its guardian was killed",
                        "Try again",
                        ray_words.tail(folder / "guardian.log"),
                    ),
                )
            if record is not None:
                report(record.text)
            time.sleep(_POLL_S)
        _check_versions(record)
    except BaseException:
        # A lease that is given back cleanly lets a guardian without other leases end at once.
        lease.release()
        raise
    return LaunchedCluster(
        address=record.address,
        token_path=Path(record.token_path),
        temp_dir=Path(record.temp_dir),
        leases_dir=Path(record.leases_dir),
        lease=lease,
        ray_version=record.ray_version,
        folder=folder,
        joined=joined,
    )


def _remove_leftovers(folder: Path) -> bool:
    """End and remove what a killed guardian left behind; True if there was anything."""
    launch = Launch.read(folder)
    if launch is None:
        return False
    record = ClusterRecord.read(folder)
    session_id, mark = (record.ray_pid, record.ray_mark) if record else (0, "")
    left = processes.members(session_id=session_id, mark=mark, folder=launch.temp_dir)
    found = bool(left) or Path(launch.temp_dir).exists()
    # Ray got SIGTERM when the guardian died; processes that are still there ignore it.
    processes.end_members(session_id=session_id, mark=mark, folder=launch.temp_dir)
    remove_temp_dir(Path(launch.temp_dir))
    shutil.rmtree(launch.leases_dir, ignore_errors=True)
    (folder / "launch.json").unlink(missing_ok=True)
    return found


def _system_fault(error: OSError, folder: Path) -> Fault:
    """Explain what the operating system refused."""
    why = f"{error.filename or folder}: {error.strerror or error}"
    match error.errno:
        case errno.ENOMEM | errno.EAGAIN | errno.ENFILE | errno.EMFILE:
            return Fault("The cluster's guardian cannot be started", why, "End other processes")
        case errno.ENOSPC | errno.EDQUOT:
            return Fault("The disk is full", why, "Free some space and try again")
        case _:
            return Fault(
                "The state folder cannot be written",
                why,
                "Make it writable, or set RAYDASH_STATE_DIR to a folder on a local disk",
            )


def _check_versions(record: ClusterRecord) -> None:
    """Check that a driver of this environment can join.

    Two Python environments may share a state folder.
    """
    theirs = (record.ray_version, record.python_version)
    ours = (metadata.version("ray"), platform.python_version())
    if theirs != ours:
        raise FaultError(
            Fault(
                "Another raydash environment runs the cluster",
                f"there it is Ray {theirs[0]} on Python {theirs[1]}, here Ray {ours[0]} on Python"
                f" {ours[1]}, and Ray connects only like with like",
                "Run `raydash cluster stop`, or set RAYDASH_STATE_DIR to another folder",
            ),
        )


def _check_cancelled(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise FaultError(Fault("Cancelled", "the cluster is not needed any more"))


def _check_memory(settings: GuardianSettings) -> None:
    free = available_bytes()
    if free < settings.min_free_bytes:
        raise FaultError(
            Fault(
                "There is not enough memory to start Ray",
                f"{plain.size(free)} are available, "
                f"{plain.size(settings.min_free_bytes)} are needed",
                "Close something large and try again",
            ),
        )


def available_bytes() -> int:
    """Return the memory that is free without swapping; `sys.maxsize` if the kernel doesn't say."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return sys.maxsize
    for line in lines:
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) * 1024
    return sys.maxsize
