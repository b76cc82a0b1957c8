"""The recordings that a window looks at: open while it does, let go a while later.

An open file can't be written to by anybody else, and a deleted one keeps its disk space.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from raydash.core.clock import Clock
from raydash.core.faults import FaultError
from raydash.record.file.database import wal_of
from raydash.record.read.live_copy import is_locked, open_live_copy
from raydash.record.read.snapshot import RecordingReader

IDLE_S = 10.0
COPY_AGE_S = 5.0
"""How old a copy of a live recording may be when its newest moment is asked for."""

_Stamp = tuple[tuple[int, int, int], ...]


@dataclass(slots=True)
class _Open:
    reader: RecordingReader
    stamp: _Stamp
    is_copy: bool
    opened_s: float
    used_s: float
    users: int = 0
    is_out: bool = False


class OpenRecordings:
    """Readers by path. Every method may be called from any thread."""

    def __init__(self, clock: Clock, *, idle_s: float = IDLE_S) -> None:
        self._clock = clock
        self._idle_s = idle_s
        self._lock = threading.Lock()
        self._opening: dict[Path, threading.Lock] = {}
        self._open: dict[Path, _Open] = {}

    @contextmanager
    def reading(self, path: Path, *, newest: bool = False) -> Iterator[RecordingReader]:
        """A reader of a recording; of one that is being written, of a copy.

        Args:
            path: The file.
            newest: A copy that is a few seconds old is not good enough.

        Raises:
            FaultError: if it can't be read.
        """
        with self._lock:
            opening = self._opening.setdefault(path, threading.Lock())
        with opening:  # the second who asks finds what the first has opened
            held = self._usable(path, newest=newest) or self._open_anew(path)
        try:
            yield held.reader
        finally:
            with self._lock:
                held.users -= 1
                held.used_s = self._clock()
                is_last = held.is_out and not held.users
            if is_last:
                held.reader.close()

    def let_go(self, paths: list[Path] | None = None) -> None:
        """Close those, None: all, as soon as nobody reads them."""
        with self._lock:
            gone = [path for path in self._open if paths is None or path in paths]
            idle = self._take_out(gone)
        for held in idle:
            held.reader.close()

    def let_idle_go(self) -> None:
        """Close what nobody has looked at for a while."""
        with self._lock:
            since_s = self._clock() - self._idle_s
            gone = [
                path
                for path, held in self._open.items()
                if not held.users and held.used_s <= since_s
            ]
            idle = self._take_out(gone)
        for held in idle:
            held.reader.close()

    def _take_out(self, paths: list[Path]) -> list[_Open]:
        out = [self._open.pop(path) for path in paths]
        for held in out:
            held.is_out = True
        return [held for held in out if not held.users]

    def _usable(self, path: Path, *, newest: bool) -> _Open | None:
        with self._lock:
            held = self._open.get(path)
            if held is None:
                return None
            if held.is_copy:
                is_fresh = not newest or self._clock() - held.opened_s < COPY_AGE_S
            else:
                is_fresh = held.stamp == _stamp(path)
            if is_fresh:
                held.users += 1
                return held
        self.let_go([path])
        return None

    def _open_anew(self, path: Path) -> _Open:
        stamp, is_copy = _stamp(path), False
        try:
            reader = RecordingReader(path)
        except FaultError as error:
            if not is_locked(error.fault):
                raise
            reader, is_copy = open_live_copy(path), True
        now_s = self._clock()
        held = _Open(reader, stamp, is_copy, opened_s=now_s, used_s=now_s, users=1)
        with self._lock:
            self._open[path] = held
        return held


def _stamp(path: Path) -> _Stamp:
    """Changes when a recording does."""
    stamps = []
    for part in (path, wal_of(path)):
        with suppress(OSError):
            status = part.stat()
            stamps.append((status.st_ino, status.st_mtime_ns, status.st_size))
    return tuple(stamps)
