"""What workers print, tagged and folded, for the engine's log.

Ray writes each process's stdout and stderr to files of its session; those on this machine are read
here once a second. A process says whose words follow (`worker/node/tag.py`): a worker's own one in
its first line, one of tasks, which works for all workers, whenever they print something. Like
lines in a row become one with a count, and a worker that prints without end is cut off for the
rest of the second: the log stays readable, the count of folded lines says what is missing.
"""

import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from raydash.worker.node.tag import TAG

LOOK_S = 1.0
MAX_LINES_PER_LOOK = 20
MAX_READ_BYTES = 256 * 1024
MAX_HEAD_BYTES = 4096
MAX_SAID_BYTES = 20 * 1024 * 1024
"""Of worker output in one engine's log; Ray's own files have the rest."""


@dataclass(slots=True)
class _File:
    offset: int = 0
    tag: str = ""
    rest: bytes = b""
    has_turns: bool = False
    """Several print into it, one after the other."""


def folded(tag: str, lines: list[str]) -> tuple[list[str], int]:
    """Lines to log, tagged; and how many of the given ones they leave out.

    Args:
        tag: Who printed them.
        lines: In the order they were printed.
    """
    groups = [(line, len(list(group))) for line, group in groupby(lines)]
    shown = groups[:MAX_LINES_PER_LOOK]
    out = [f"[{tag}] {line}" + (f"  (x {count})" if count > 1 else "") for line, count in shown]
    surplus = len(lines) - sum(count for _, count in shown)
    if surplus:
        out.append(f"[{tag}] ({surplus} more lines folded away)")
    return out, len(lines) - len(shown)


class WorkerOutput:
    """Reads the workers' files on a thread.

    Attributes:
        num_folded: Lines folded away so far.
    """

    def __init__(self, logs_dir: Path, say: Callable[[str], None]) -> None:
        """Begin with what is printed from now on.

        Args:
            logs_dir: Ray's log folder of this node.
            say: Takes each line.
        """
        self._logs_dir = logs_dir
        self._say = say
        self.num_folded = 0
        self._said_bytes = 0
        self._files: dict[Path, _File] = {}
        self._stopped = threading.Event()

    def start(self) -> None:
        """Read until the engine ends."""
        threading.Thread(target=self._read_on, name="worker-output", daemon=True).start()

    def look(self) -> None:
        """Read what is new, once."""
        printed: dict[tuple[str, str], list[str]] = {}
        for path in sorted(self._logs_dir.glob("worker-*.*")):
            file = self._files.setdefault(path, _File())
            try:
                with path.open("rb") as stream:
                    size = stream.seek(0, 2)
                    if size < file.offset:
                        file.offset = 0  # rotated
                    stream.seek(file.offset)
                    if size - file.offset > MAX_READ_BYTES:
                        if not file.tag:  # whose it is stands at its beginning
                            deque(_lines(file, stream.read(MAX_HEAD_BYTES)), maxlen=0)
                        stream.seek(size - MAX_READ_BYTES)
                        stream.readline()
                        file.rest = b""
                        if file.has_turns:
                            file.tag = ""  # whose turn it is by now is said with the next one
                    data = stream.read(MAX_READ_BYTES)
                    file.offset = stream.tell()
            except OSError:
                continue
            if data:
                for tag, line in _lines(file, data):
                    printed.setdefault((tag, path.suffix), []).append(line)
        for (tag, _), lines in printed.items():
            self._tell(tag, lines)

    def _tell(self, tag: str, lines: list[str]) -> None:
        if self._said_bytes > MAX_SAID_BYTES:
            self.num_folded += len(lines)
            return
        said, left_out = folded(tag, lines)
        self.num_folded += left_out
        for line in said:
            self._said_bytes += len(line)
            self._say(line)

    def _read_on(self) -> None:
        while not self._stopped.wait(LOOK_S):
            self.look()


def _lines(file: _File, data: bytes) -> Iterator[tuple[str, str]]:
    """The lines that a file has gained, each with who printed it."""
    *whole, rest = (file.rest + data).split(b"\n")
    file.rest = rest[:MAX_READ_BYTES]
    for raw in whole:
        line = raw.decode("utf-8", "replace")
        if line.startswith(TAG):
            file.has_turns |= bool(file.tag)
            file.tag = line.removeprefix(TAG)
        elif file.tag and not line.startswith(":") and line.strip():
            yield file.tag, line
