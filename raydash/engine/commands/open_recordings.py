"""Keeps recordings open while a window looks at them, and closes them a while later.

They are not kept open for longer because nobody else can write to an open file, and a deleted file
takes up disk space until it is closed.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from raydash.core.clock import Clock
from raydash.core.faults import FaultError, FaultKind
from raydash.record.file.database import wal_of
from raydash.record.read.live_copy import open_live_copy
from raydash.record.read.snapshot import RecordingReader

IDLE_S = 10.0
COPY_AGE_S = 5.0
"""How old a copy of a live recording may be when the newest moment is asked for."""

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(slots=True)
class _OpenFile:
    reader: RecordingReader
    stamp: _Stamp
    is_copy: bool
    opened_s: float
    last_used_s: float
    num_readers: int = 0
    is_retired: bool = False


class OpenRecordings:
    """Open readers of recordings, by path. Every method may be called from any thread."""

    def __init__(self, clock: Clock, *, idle_s: float = IDLE_S) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._opening: dict[Path, threading.Lock] = {}
        self._open: dict[Path, _OpenFile] = {}

    @contextmanager
    def reading(self, path: Path, *, newest: bool = False) -> Iterator[RecordingReader]:
        """Give a reader of a recording, or of a copy of it if it is being written.

        With `newest`, a copy must be no older than a few seconds.

        Raises:
            FaultError: if it can't be read.
        """
        with self._lock:
            opening = self._opening.setdefault(path, threading.Lock())
        with opening:  # a second caller gets the reader that the first has opened
            file = self._usable(path, newest=newest) or self._open_file(path)
        try:
            yield file.reader
        finally:
            with self._lock:
                file.num_readers -= 1
                file.last_used_s = self._clock()
                is_unused = file.is_retired and not file.num_readers
            if is_unused:
                file.reader.close()

    def close(self, paths: list[Path] | None = None) -> None:
        """Close these recordings, or all, each as soon as nobody reads it."""
        with self._lock:
            gone = [path for path in self._open if paths is None or path in paths]
            idle = self._retire(gone)
        for file in idle:
            file.reader.close()

    def close_idle(self) -> None:
        """Close the recordings that nobody has read for a while."""
        with self._lock:
            since_s = self._clock() - self._idle_s
            gone = [
                path
                for path, file in self._open.items()
                if not file.num_readers and file.last_used_s <= since_s
            ]
            idle = self._retire(gone)
        for file in idle:
            file.reader.close()

    def _retire(self, paths: list[Path]) -> list[_OpenFile]:
        """Take files out of the cache, and return those that nobody reads now."""
        out = [self._open.pop(path) for path in paths]
        for file in out:
            file.is_retired = True
        return [file for file in out if not file.num_readers]

    def _usable(self, path: Path, *, newest: bool) -> _OpenFile | None:
        with self._lock:
            file = self._open.get(path)
            if file is None:
                return None
            if file.is_copy:
                is_fresh = not newest or self._clock() - file.opened_s < COPY_AGE_S
            else:
                is_fresh = file.stamp == _stamp(path)
            if is_fresh:
                file.num_readers += 1
                return file
        self.close([path])
        return None

    def _open_file(self, path: Path) -> _OpenFile:
        stamp, is_copy = _stamp(path), False
        try:
            reader = RecordingReader(path)
        except FaultError as error:
            if error.fault.kind is not FaultKind.WRITTEN_ELSEWHERE:
                raise
            reader, is_copy = open_live_copy(path), True
        now_s = self._clock()
        file = _OpenFile(reader, stamp, is_copy, opened_s=now_s, last_used_s=now_s, num_readers=1)
        with self._lock:
            self._open[path] = file
        return file


def _stamp(path: Path) -> _Stamp:
    """Identify the content of a recording by the times and sizes of its files."""
    stamps = []
    for part in (path, wal_of(path)):
        with suppress(OSError):
            status = part.stat()
            stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(stamps)
