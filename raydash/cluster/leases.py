"""Leases: with them, processes that need a launched cluster keep it running.

A lease is a file that its holder keeps locked (`flock`). The kernel drops the lock of a process
that dies, however it dies, so a lease can't go stale. A file that vanished was given back by its
holder; a file that exists but is unlocked belongs to a dead holder. Standard library only.
"""

import fcntl
import os
import secrets
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

_SUFFIX = ".lease"


class Lease:
    """One process's claim on a launched cluster, which ends with `release` or with the process.

    The lock belongs to the open file, so a forked child (not an executed one) would share it:
    raydash starts its processes by spawn only.

    Attributes:
        path: The locked file.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor: int | None = descriptor

    @classmethod
    def acquire(cls, folder: Path, role: str) -> Self:
        """Take a lease in the cluster's folder of leases, which is made if it is missing.

        The file's name begins with the role of its holder: `engine` or `supervisor`.

        Raises:
            OSError: if the folder can't be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{role}-{os.getpid()}-{secrets.token_hex(4)}{_SUFFIX}"
        # Locked under a name that nobody scans, then renamed: a lease is never seen unlocked.
        hidden = path.with_suffix(".new")
        descriptor = os.open(hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            hidden.rename(path)
        except OSError:
            os.close(descriptor)
            hidden.unlink(missing_ok=True)
            raise
        return cls(path, descriptor)

    @property
    def is_held(self) -> bool:
        """Whether it was not released yet."""
        return self._descriptor is not None

    def release(self) -> None:
        """Give the lease back, which counts as a clean end. It is harmless to repeat this."""
        if self._descriptor is None:
            return
        # Unlink first: a process that finds the lock free must find the file gone.
        self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        self._descriptor = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.release()


@dataclass(frozen=True, slots=True)
class LeaseScan:
    """The leases of a cluster, by what became of their holders.

    Attributes:
        living: Names of leases whose holders are alive.
        died: Names of leases whose holders died without giving them back.
    """

    living: tuple[str, ...]
    died: tuple[str, ...]


def scan(folder: Path) -> LeaseScan:
    """Look at every lease without changing anything; a missing folder has none."""
    living: list[str] = []
    died: list[str] = []
    try:
        paths = sorted(folder.glob(f"*{_SUFFIX}"))
    except OSError:
        paths = []
    for path in paths:
        held = _is_locked(path)
        if held is not None:
            (living if held else died).append(path.name)
    return LeaseScan(tuple(living), tuple(died))


def living(folder: Path) -> list[str]:
    """Return the names of the leases whose holders are alive."""
    return list(scan(folder).living)


def remove_dead(folder: Path) -> tuple[str, ...]:
    """Remove the leases of dead holders and return their names.

    Only the guardian calls this, so a lease that vanishes otherwise was given back cleanly.
    """
    died = scan(folder).died
    for name in died:
        (folder / name).unlink(missing_ok=True)
    return died


def _is_locked(path: Path) -> bool | None:
    """Return True if a living process locks it, False if its holder died, None if it is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Shared, so that two processes that check at once don't take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False if os.fstat(descriptor).st_nlink else None
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
