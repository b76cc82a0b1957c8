"""Leases: how the processes that need a launched cluster say so, for as long as they live.

A lease is a file that its holder keeps locked (`flock`). The kernel drops the lock of a process
that dies, however it dies, so a lease can't go stale. A file that vanished was given back by its
holder; a file that is there but unlocked belongs to a dead one. Standard library only.
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
    """One process's claim on a launched cluster. Ends with `release`, or with the process.

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
        """Take a lease.

        Args:
            folder: Where the cluster's leases are; made if it is missing.
            role: Who takes it (`engine`, `supervisor`): the file's name begins with it.

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
        """Not released yet."""
        return self._descriptor is not None

    def release(self) -> None:
        """Give the lease back: a clean end. Harmless when repeated."""
        if self._descriptor is None:
            return
        # Unlink first: whoever finds the lock free must find the file gone.
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
    """What a look at the leases found.

    Attributes:
        living: Names of leases whose holders live.
        died: Names of leases whose holders died without giving them back.
    """

    living: tuple[str, ...]
    died: tuple[str, ...]


def scan(folder: Path) -> LeaseScan:
    """Look at every lease without changing anything; a missing folder holds none."""
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
    """Names of the leases whose holders live."""
    return list(scan(folder).living)


def remove_dead(folder: Path) -> tuple[str, ...]:
    """Remove the leases of dead holders and give their names.

    For the guardian: what vanished without being named here was given back cleanly.
    """
    died = scan(folder).died
    for name in died:
        (folder / name).unlink(missing_ok=True)
    return died


def _is_locked(path: Path) -> bool | None:
    """True: locked by a living process; False: its holder died; None: the file is gone."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        # Shared, so that two who look at the same time don't take each other for a holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
        return False if os.fstat(descriptor).st_nlink else None
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
