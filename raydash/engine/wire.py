"""The engine's end of the stdio frames.

Ray, its daemons and C++ print to descriptors 1 and 2 whenever they like
(assets/docs/internals/ray.md, "What Ray prints"). So the frames use private copies of the
descriptors, which no child inherits, and whatever else is printed goes to the log file.
"""

import os
import queue
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raydash.protocol.codec import CodecError, decode, encode
from raydash.protocol.frames import FrameError, FrameReader, frame

READ_BYTES = 1 << 16


class Wire:
    """Reads messages on one thread and writes them on another.

    Attributes:
        backlog: How many messages are not written yet. The engine pulls no more updates while the
            window is slow to read them.
    """

    def __init__(self, read_fd: int, write_fd: int) -> None:
        self._read_fd = read_fd
        self._write_fd = write_fd
        self._outbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._writer = threading.Thread(target=self._write_all, name="wire-out", daemon=True)
        self._reader: threading.Thread | None = None

    @property
    def backlog(self) -> int:
        """How many messages wait to be written."""
        return self._outbox.qsize()

    def start(self, on_message: Callable[[Any], None], on_end: Callable[[str], None]) -> None:
        """Start both threads; the callables are called on the reading one.

        `on_end` gets the reason why reading has ended, which is empty if the input just ended.
        """
        self._writer.start()
        self._reader = threading.Thread(
            target=self._read_all, args=(on_message, on_end), name="wire-in", daemon=True
        )
        self._reader.start()

    def send(self, message: object) -> None:
        """Queue a message."""
        self.send_encoded(encode(message))

    def send_encoded(self, payload: bytes) -> None:
        """Queue a message that a supervisor has encoded already."""
        self._outbox.put(frame(payload))

    def close(self, timeout_s: float = 2.0) -> None:
        """Write what is queued, for at most `timeout_s`."""
        self._outbox.put(None)
        self._writer.join(timeout_s)

    def await_input_end(self) -> None:
        """Wait until the other side has closed the input."""
        if self._reader is not None:
            self._reader.join()

    def _read_all(self, on_message: Callable[[Any], None], on_end: Callable[[str], None]) -> None:
        frames = FrameReader()
        try:
            while data := os.read(self._read_fd, READ_BYTES):
                for payload in frames.feed(data):
                    on_message(decode(payload))
        except (FrameError, CodecError) as error:
            on_end(f"the input is garbage: {error}")
            return
        except OSError as error:
            on_end(f"the input broke: {error}")
            return
        on_end("" if frames.is_between_frames else "the input ended inside a frame")

    def _write_all(self) -> None:
        while (data := self._outbox.get()) is not None:
            view = memoryview(data)
            try:
                while view:
                    view = view[os.write(self._write_fd, view) :]
            except OSError:
                return  # the window is gone, which the reading thread notices too


def claim_stdio(log_path: Path) -> Wire:
    """Move the frames to private descriptors and point everything else that prints at the log.

    Raises:
        OSError: if the log can't be written.
    """
    log_path.parent.mkdir(parents=True, exist_ok=True)
    log_fd = os.open(log_path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    read_fd, write_fd = os.dup(0), os.dup(1)  # not inheritable, unlike 0 and 1
    null_fd = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null_fd, 0)
    os.dup2(log_fd, 1)
    os.dup2(log_fd, 2)
    os.close(null_fd)
    os.close(log_fd)
    return Wire(read_fd, write_fd)
