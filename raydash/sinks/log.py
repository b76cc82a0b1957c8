"""Logs what the process of a sink prints, up to a limit."""

import contextlib
from pathlib import Path
from typing import IO

MAX_LOG_BYTES = 1_000_000
_TAIL_BYTES = 2000


class SinkLog:
    """A log file with a limit on its size; a disk that refuses it is no reason to stop.

    Attributes:
        path: The file, which is created when something is written.
    """

    def __init__(self, path: Path, max_bytes: int = MAX_LOG_BYTES) -> None:
        self.path = path
        self._max_bytes = max_bytes
        self._file: IO[bytes] | None = None
        self._tail = b""

    def write(self, data: bytes) -> None:
        """Append data, as far as the limit allows."""
        if not data:
            return
        self._tail = (self._tail + data)[-_TAIL_BYTES:]
        with contextlib.suppress(OSError):
            if self._file is None:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                self._file = self.path.open("ab", buffering=0)
            room = self._max_bytes - self._file.tell()
            self._file.write(data[: max(0, room)])

    def tail(self) -> str:
        """Return the end of what was printed."""
        return self._tail.decode(errors="replace")

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None
