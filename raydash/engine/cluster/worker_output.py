"""Copies what workers print into the engine's log, tagged and folded.

Ray writes the stdout and stderr of each process to files; those on this machine are read here once
a second. A process prints a tag that says which worker the following lines are of
(`worker/node/tag.py`): a process with one worker in its first line, a process of tasks, which
serves all workers, before each of their outputs. To keep the log readable, equal lines in a row
become one with a count, and a worker that prints without end is cut off for the rest of the
second. The count of folded lines says how much is missing.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from raydash.worker.node.tag import TAG

POLL_INTERVAL_S = 1.0
MAX_LINES_PER_POLL = 20
MAX_READ_BYTES = 256 * 1024
MAX_HEAD_BYTES = 4096
MAX_LOGGED_BYTES = 20 * 1024 * 1024
"""How much worker output one engine's log may hold; Ray's own files have the rest."""


@dataclass(slots=True)
class _TailedFile:
    offset: int = 0
    tag: str = ""
    partial: bytes = b""
    is_shared: bool = False
    """Whether several workers print into it, one after the other."""


def fold_lines(tag: str, lines: list[str]) -> tuple[list[str], int]:
    """Tag and shorten the lines that one worker printed, in their order.

    Returns:
        The lines to log, and by how many they are fewer than the given ones.
    """
    groups = [(line, len(list(group))) for line, group in groupby(lines)]
    shown = groups[:MAX_LINES_PER_POLL]
    out = [f"[{tag}] {line}" + (f"  (x {count})" if count > 1 else "") for line, count in shown]
    surplus = len(lines) - sum(count for _, count in shown)
    if surplus:
        out.append(f"[{tag}] ({surplus} more lines folded away)")
    return out, len(lines) - len(shown)


class WorkerOutput:
    """Reads the files with the workers' output, on a thread.

    Attributes:
        num_folded: Lines folded away so far.
    """

    def __init__(self, logs_dir: Path, log: Callable[[str], None]) -> None:
        """Prepare to read Ray's log folder of this node; `log` is called with each line."""
        self._logs_dir = logs_dir
        self._log = log
        self.num_folded = 0
        self._logged_bytes = 0
        self._files: dict[Path, _TailedFile] = {}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Start the thread, which reads until the engine ends."""
        threading.Thread(target=self._poll_until_stopped, name="worker-output", daemon=True).start()

    def poll(self) -> None:
        """Read what was printed since the last poll, and log it."""
        printed: dict[tuple[str, str], list[str]] = {}
        for path in sorted(self._logs_dir.glob("worker-*.*")):
            file = self._files.setdefault(path, _TailedFile())
            try:
                with path.open("rb") as stream:
                    size = stream.seek(0, 2)
                    if size < file.offset:
                        file.offset = 0  # rotated
                    stream.seek(file.offset)
                    if size - file.offset > MAX_READ_BYTES:
                        if not file.tag:  # it stands in the first line
                            deque(_lines(file, stream.read(MAX_HEAD_BYTES)), maxlen=0)
                        stream.seek(size - MAX_READ_BYTES)
                        stream.readline()
                        file.partial = b""
                        if file.is_shared:
                            file.tag = ""  # unknown until the next tag is printed
                    data = stream.read(MAX_READ_BYTES)
                    file.offset = stream.tell()
            except OSError:
                continue
            if data:
                for tag, line in _lines(file, data):
                    printed.setdefault((tag, path.suffix), []).append(line)
        for (tag, _), lines in printed.items():
            self._log_lines(tag, lines)

    def _log_lines(self, tag: str, lines: list[str]) -> None:
        if self._logged_bytes > MAX_LOGGED_BYTES:
            self.num_folded += len(lines)
            return
        lines, left_out = fold_lines(tag, lines)
        self.num_folded += left_out
        for line in lines:
            self._logged_bytes += len(line)
            self._log(line)

    def _poll_until_stopped(self) -> None:
        while not self._stopped.wait(POLL_INTERVAL_S):
            self.poll()


def _lines(file: _TailedFile, data: bytes) -> Iterator[tuple[str, str]]:
    """Split new data into whole lines, each with the tag of the worker that printed it."""
    *whole, partial = (file.partial + data).split(b"\n")
    file.partial = partial[:MAX_READ_BYTES]
    for raw in whole:
        line = raw.decode("utf-8", "replace")
        if line.startswith(TAG):
            file.is_shared |= bool(file.tag)
            file.tag = line.removeprefix(TAG)
        elif file.tag and not line.startswith(":") and line.strip():
            yield file.tag, line
