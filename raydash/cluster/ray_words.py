"""Explains Ray's failures in plain words, with pure functions of an exit code and a log's tail.

Standard library only: the guardian imports it.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from raydash.child_process import ProcessEnd

_PARTS = {
    "gcs_server": "Ray's control store (gcs_server)",
    "raylet": "Ray's node manager (raylet)",
    "log_monitor": "Ray's log monitor",
    "monitor": "Ray's autoscaler monitor",
    "dashboard": "Ray's dashboard",
    "ray_client_server": "Ray's client server",
}
_EXIT = re.compile(r"(\w+) \[exit code=(-?\d+)")


@dataclass(frozen=True, slots=True)
class Explanation:
    """Says why something failed and what to do about it."""

    reason: str
    remedy: str


# What a log says -> what a user should read. The first match wins.
_START_FAILURES: tuple[tuple[str, Explanation], ...] = (
    (
        r"No module named '?ray\b",
        Explanation("this Python has no Ray", "Install raydash's dependencies: scripts/setup"),
    ),
    (
        r"Address already in use|Failed to bind|already in use",
        Explanation(
            "a port that Ray wants is taken",
            "Try again: Ray picks other ports; unset RAY_* variables that fix one",
        ),
    ),
    (
        r"AF_UNIX path length|validate_socket_filename",
        Explanation("Ray's temp folder has too long a name", "Use a shorter temp folder"),
    ),
    (
        r"No space left on device|Errno 28",
        Explanation("the disk is full", "Free some space in /tmp and try again"),
    ),
    (
        r"Cannot allocate memory|MemoryError|std::bad_alloc|Errno 12",
        Explanation("there is not enough memory", "Close something large and try again"),
    ),
    (
        r"Resource temporarily unavailable|can't start new thread|Errno 11\b",
        Explanation(
            "the limit of processes or threads is reached",
            "Raise it (ulimit -u) or end other processes",
        ),
    ),
    (
        r"Too many open files|Errno 24",
        Explanation("the limit of open files is reached", "Raise it: ulimit -n 65536"),
    ),
    (
        r"Permission denied|Errno 13|Read-only file system",
        Explanation("Ray may not write where it has to", "Look at the rights of /tmp and /dev/shm"),
    ),
)


def explain_start_failure(code: int | None, log: str) -> Explanation:
    """Explain why `ray start` failed, from the tail of its log and its exit code.

    The code is None if it was still running when the time was up.
    """
    for pattern, words in _START_FAILURES:
        if re.search(pattern, log):
            return words
    if code is None:
        return Explanation(
            "Ray was not up in time", "Look at the log below; the machine may be busy"
        )
    return Explanation(f"`ray start` {ProcessEnd(code).words}", "Look at the log below")


def explain_death(code: int, exit_log: str) -> Explanation:
    """Explain why a cluster that was up is gone.

    Args:
        code: Exit code of `ray start --block`.
        exit_log: Text of Ray's own `ray_process_exit.log`.
    """
    ends = [
        (_PARTS.get(part, part), ProcessEnd(int(code_of_part)))
        for part, code_of_part in dict.fromkeys(_EXIT.findall(exit_log))
    ] or [("the Ray process itself", ProcessEnd(code))]
    reason = " and ".join(f"{part} {end.words}" for part, end in ends)
    killed = any(end.signal_name == "SIGKILL" for _, end in ends)
    remedy = "Relaunch" + ("; if it happens again, memory may have run out" if killed else "")
    return Explanation(reason, remedy)


def tail(path: Path, max_bytes: int = 4000) -> str:
    """Return the end of a log, beginning with a whole line; empty if there is no log."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - max_bytes))
            data = file.read()
    except OSError:
        return ""
    if size > max_bytes:
        data = data.partition(b"\n")[2]
    return data.decode("utf-8", "replace").strip()
