"""Finds a cluster's processes in `/proc`, exactly enough to kill them. Standard library only.

A process id may be given to another process once its own is gone, so it is always paired with a
birth mark, which tells them apart.
"""

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_PROC = Path("/proc")
_PR_SET_PDEATHSIG = 1
MARKER = "RAYDASH_CLUSTER_DIR"
"""Environment variable with the temp folder of a launched cluster, which all it starts inherits."""


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    session_id: int
    num_threads: int
    started_ticks: str

    @property
    def is_dead(self) -> bool:
        """Whether its last thread has ended as well: until then it keeps its files and locks."""
        return self.state in "ZX" and self.num_threads <= 1


def _stat(pid: int) -> _Stat | None:
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    # The name in parentheses may hold anything; the fields after it are numbered from 3.
    rest = text.rpartition(")")[2].split()
    return _Stat(rest[0], int(rest[3]), int(rest[17]), rest[19])


def birth_mark(pid: int) -> str:
    """Return boot and start time of a process, which no later one has; empty if it is gone."""
    stat = _stat(pid) if pid > 0 else None
    if stat is None or stat.is_dead:
        return ""
    boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}:{stat.started_ticks}"


def is_alive(pid: int, mark: str) -> bool:
    """Return whether the very process that had this birth mark is still alive."""
    return bool(mark) and birth_mark(pid) == mark


def send(pid: int, mark: str, number: signal.Signals) -> bool:
    """Signal a process, and never another one that got its id meanwhile; False if it is gone."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # The open descriptor sticks to one process; only now check that it is the right one.
        if not is_alive(pid, mark):
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def members(*, session_id: int, mark: str, folder: str) -> list[tuple[int, str]]:
    """Return the living processes of a launched cluster, with their birth marks.

    All that `ray start` starts stays in its process-session. While the session's leader is the
    recorded process, the whole session belongs to the cluster; after its end, only processes that
    also name the temp folder. A process that left the session (a daemon made by user code) is found
    by its environment.

    Args:
        session_id: Process id of `ray start`, which leads its session.
        mark: Birth mark of that process.
        folder: The cluster's temp folder, whose name is unique.
    """
    leader_lives = is_alive(session_id, mark)
    found: list[tuple[int, str]] = []
    for pid, stat in _own_processes():
        in_session = session_id > 0 and stat.session_id == session_id
        ours = in_session and (leader_lives or _mentions(pid, folder))
        if ours or _has_marker(pid, folder):
            found.append((pid, birth_mark(pid)))
    return [(pid, birth) for pid, birth in found if birth]


def end_members(*, session_id: int, mark: str, folder: str, timeout_s: float = 5.0) -> bool:
    """Kill what is left of a launched cluster; True if nothing is left in the end."""
    deadline = time.monotonic() + timeout_s
    while left := members(session_id=session_id, mark=mark, folder=folder):
        for pid, birth in left:
            send(pid, birth, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def end_with(parent_pid: int) -> None:
    """Have the kernel kill this process when its parent ends; exit at once if it has ended."""
    # SIGKILL, because a library may have installed a handler for any other signal.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent_pid:
        os._exit(1)  # the parent was gone before the kernel was asked


def _own_processes() -> Iterator[tuple[int, _Stat]]:
    for entry in os.scandir(_PROC):
        if not entry.name.isdecimal() or int(entry.name) == os.getpid():
            continue
        try:
            if entry.stat().st_uid != os.getuid():
                continue
        except OSError:
            continue
        stat = _stat(int(entry.name))
        if stat is not None and not stat.is_dead:
            yield int(entry.name), stat


def _read(pid: int, name: str) -> bytes:
    try:
        return (_PROC / str(pid) / name).read_bytes()
    except OSError:
        return b""


def _has_marker(pid: int, folder: str) -> bool:
    return f"{MARKER}={folder}".encode() in _read(pid, "environ").split(b"\0")


def _mentions(pid: int, folder: str) -> bool:
    """Return whether a process names the folder in its command, environment or open files.

    Open files are looked at because a process that sets its title overwrites the other two.
    """
    needle = os.fsencode(folder)
    if needle in _read(pid, "cmdline") or needle in _read(pid, "environ"):
        return True
    try:
        links = [os.readlink(entry.path) for entry in os.scandir(_PROC / str(pid) / "fd")]
    except OSError:
        return False
    return any(folder in link for link in links)
