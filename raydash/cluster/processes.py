"""Which processes are ours, from `/proc`: exact enough to end them by. Standard library only.

A process id alone says nothing once its process is gone: it is always paired with a birth mark.
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
"""Environment variable that everything a launched cluster starts inherits: its temp folder."""


@dataclass(frozen=True, slots=True)
class _Stat:
    state: str
    session_id: int
    num_threads: int
    started_ticks: str

    @property
    def is_dead(self) -> bool:
        """Its last thread has ended, too: until then it keeps its files, and their locks."""
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
    """Names this life of a process id: boot and start time. Empty when it does not live."""
    stat = _stat(pid) if pid > 0 else None
    if stat is None or stat.is_dead:
        return ""
    boot = (_PROC / "sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return f"{boot}:{stat.started_ticks}"


def is_alive(pid: int, mark: str) -> bool:
    """The very process that had this birth mark still lives."""
    return bool(mark) and birth_mark(pid) == mark


def send(pid: int, mark: str, number: signal.Signals) -> bool:
    """Signal a process, and never another one that got its id meanwhile.

    Returns:
        False if it is gone.
    """
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        # Held open, the descriptor stays with this process; now see that it is the right one.
        if not is_alive(pid, mark):
            return False
        signal.pidfd_send_signal(descriptor, number)
        return True
    except OSError:
        return False
    finally:
        os.close(descriptor)


def members(*, session_id: int, mark: str, folder: str) -> list[tuple[int, str]]:
    """The living processes of a launched cluster, with their birth marks.

    Whatever `ray start` starts keeps its process-session. While the session's leader is the
    recorded process, all of the session is ours; after its end, those that also name the temp
    folder. What left the session (a daemon made by user code) is found by its environment.

    Args:
        session_id: Process id of `ray start`, which leads its session.
        mark: Its birth mark.
        folder: The cluster's temp folder; its name is unique.
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
    """Kill what is left of a launched cluster.

    Returns:
        True when nothing is left.
    """
    deadline = time.monotonic() + timeout_s
    while left := members(session_id=session_id, mark=mark, folder=folder):
        for pid, birth in left:
            send(pid, birth, signal.SIGKILL)
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def end_with(parent_pid: int) -> None:
    """Let the kernel kill this process when the one that started it ends; at once if it has."""
    # Not a signal that a library may have made something else of.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL))
    if os.getppid() != parent_pid:
        os._exit(1)  # it was gone before we asked


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
    """Names the folder in its command, its environment or an open file (titles overwrite both)."""
    needle = os.fsencode(folder)
    if needle in _read(pid, "cmdline") or needle in _read(pid, "environ"):
        return True
    try:
        links = [os.readlink(entry.path) for entry in os.scandir(_PROC / str(pid) / "fd")]
    except OSError:
        return False
    return any(folder in link for link in links)
