"""The files of a launched cluster in `<state>/cluster/`: what was asked for, and how it stands.

::

    launch.lock     held for the moment in which an engine joins or launches, or the guardian ends
    guardian.lock   held by the guardian as long as it runs
    launch.json     what the guardian was asked to start (`Launch`)
    cluster.json    how the cluster stands (`ClusterRecord`)
    token           the cluster's own Ray token, 0600
    leases/<id>/    one locked file per process that needs the cluster
    ray.log         what `ray start` printed     guardian.log  what the guardian printed

Standard library only: the guardian imports it.
"""

import fcntl
import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self


class GuardianPhase(StrEnum):
    """Goes ``starting -> up -> stopping -> ended``; ``failed`` if Ray did not start or died."""

    STARTING = "starting"
    UP = "up"
    STOPPING = "stopping"
    ENDED = "ended"
    FAILED = "failed"

    @property
    def is_joinable(self) -> bool:
        """Whether an engine may take a lease."""
        return self in (GuardianPhase.STARTING, GuardianPhase.UP)


@dataclass(frozen=True, slots=True)
class GuardianSettings:
    """Times and sizes of a launched cluster; tests shorten them.

    Attributes:
        grace_s: How long the cluster waits for a new lease after a holder died.
        start_timeout_s: How long Ray may take until it is up.
        stop_grace_s: Time between SIGTERM and SIGKILL.
        poll_s: Time between two looks at the leases.
        object_store_bytes: Size of Ray's object store.
        min_free_bytes: With less available memory than this, nothing is started.
        temp_root: Ray's temp folder is `<temp_root>/raydash-<uid>/<8 hex>`; must be short.
        env: More environment for Ray's processes (`RAY_health_check_period_ms`, ...).
    """

    grace_s: float = 60.0
    start_timeout_s: float = 90.0
    stop_grace_s: float = 5.0
    poll_s: float = 0.25
    object_store_bytes: int = 200_000_000
    min_free_bytes: int = 400_000_000
    temp_root: str = "/tmp"
    env: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Launch:
    """What a guardian is asked to start.

    Attributes:
        python: Interpreter that runs Ray.
        num_cpus: How many CPUs Ray may hand out.
        temp_dir: Ray's temp folder, made by the launcher and removed by the guardian.
        token_path: File with the cluster's token.
        leases_dir: Folder of the cluster's leases.
        pycache_dir: Where Ray's processes keep their byte-code.
        settings: Times and sizes.
    """

    python: str
    num_cpus: int
    temp_dir: str
    token_path: str
    leases_dir: str
    pycache_dir: str
    settings: GuardianSettings

    def write(self, folder: Path) -> None:
        """Write `launch.json`."""
        _write_json(folder / "launch.json", asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read `launch.json`; None if there is none, or none that makes sense."""
        table = _read_json(folder / "launch.json")
        try:
            return cls(**{**table, "settings": GuardianSettings(**table["settings"])})
        except (KeyError, TypeError):
            return None


@dataclass(frozen=True, slots=True)
class ClusterRecord:
    """How a launched cluster stands, as its guardian wrote it down.

    Attributes:
        phase: Where the cluster is between its start and its end.
        text: One line for people.
        address: HOST:PORT once it is up.
        ray_pid: Process id of `ray start`, which is also the id of its process-session.
        ray_mark: Birth mark of that process.
        guardian_pid: Process id of the guardian.
        guardian_mark: Birth mark of the guardian.
        token_path: File with the cluster's token.
        temp_dir: Ray's temp folder.
        leases_dir: Folder of the cluster's leases.
        started_utc: When the guardian began, ISO 8601.
        up_after_s: Time from the guardian's start until the cluster was up.
        ray_version: Version of the Ray that was launched.
        python_version: Version of the Python that runs it.
        reason: Why it failed, in words.
        remedy: What to do about the failure.
        detail: Tail of Ray's logs when it failed.
    """

    phase: GuardianPhase
    text: str = ""
    address: str = ""
    ray_pid: int = 0
    ray_mark: str = ""
    guardian_pid: int = 0
    guardian_mark: str = ""
    token_path: str = ""
    temp_dir: str = ""
    leases_dir: str = ""
    started_utc: str = ""
    up_after_s: float = 0.0
    ray_version: str = ""
    python_version: str = ""
    reason: str = ""
    remedy: str = ""
    detail: str = ""

    def write(self, folder: Path) -> None:
        """Write `cluster.json` at once: a reader sees the old file or the new one."""
        _write_json(folder / "cluster.json", asdict(self))

    @classmethod
    def read(cls, folder: Path) -> Self | None:
        """Read `cluster.json`; None if there is none, or none that makes sense."""
        table = _read_json(folder / "cluster.json")
        known = {item.name for item in fields(cls)}
        try:
            phase = GuardianPhase(table.pop("phase"))
            return cls(phase, **{name: value for name, value in table.items() if name in known})
        except (KeyError, TypeError, ValueError):
            return None

    @staticmethod
    def forget(folder: Path) -> None:
        """Remove the record."""
        (folder / "cluster.json").unlink(missing_ok=True)


class FileLock:
    """An advisory lock on a file, which the kernel drops when its last holder's process ends.

    Attributes:
        descriptor: The locked file's; a child that inherits it shares the lock.
    """

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    @classmethod
    def try_acquire(cls, path: Path) -> Self | None:
        """Take the lock; None if somebody holds it.

        Raises:
            OSError: if the file can't be created.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return cls(descriptor)

    def release(self) -> None:
        """Give up this process's share of the lock."""
        os.close(self.descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


def guardian_lives(folder: Path) -> bool:
    """Return whether a guardian holds its lock, from just before its start to its very end."""
    try:
        descriptor = os.open(folder / "guardian.lock", os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)


def _write_json(path: Path, table: dict[str, Any]) -> None:
    part = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(table, file, indent=1)
    part.replace(path)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        table = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return table if isinstance(table, dict) else {}
