"""A real engine process and the bare ends of its pipes."""

import os
import subprocess
import sys
from typing import Any

from raydash.protocol.codec import decode, encode
from raydash.protocol.frames import FrameReader, frame
from raydash.terminal.engine_client import child_environment

CEILING_S = 30.0


class RawEngine:
    """An engine and the bare ends of its pipes."""

    def __init__(self, *arguments: str, **environment: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, *(arguments or ("-m", "raydash.engine"))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=child_environment() | environment,
            bufsize=0,
        )
        self._frames = FrameReader()
        self._seen: list[Any] = []

    def write(self, data: bytes) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(data)

    def send(self, message: object) -> None:
        self.write(frame(encode(message)))

    def next_of(self, kind: type) -> Any:
        """The next message of a kind; the process's end fails the test."""
        assert self.process.stdout is not None
        while True:
            for position, message in enumerate(self._seen):
                if isinstance(message, kind):
                    return self._seen.pop(position)
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            assert data, f"the engine ended before a {kind.__name__}"
            self._seen += [decode(payload) for payload in self._frames.feed(data)]

    def seen_of(self, kind: type) -> list[Any]:
        """Messages of a kind that have come and were not taken yet."""
        return [message for message in self._seen if isinstance(message, kind)]

    def end(self) -> int:
        """Wait until it has ended by itself; gives the exit code."""
        self.process.communicate(timeout=CEILING_S)
        return self.process.returncode

    def kill(self) -> None:
        """End it, whatever it does."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
