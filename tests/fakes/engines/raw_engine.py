"""A real engine process, read and written frame by frame."""

import os
import subprocess
import sys
from typing import Any

from raydash.child_process import child_environment
from raydash.protocol.codec import decode, encode
from raydash.protocol.frames import FrameReader, frame

CEILING_S = 30.0


class RawEngine:
    """A real engine process and our ends of its pipes."""

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
        """Wait for the next message of a kind; fail the test if the process ends first."""
        assert self.process.stdout is not None
        while True:
            for position, message in enumerate(self._seen):
                if isinstance(message, kind):
                    return self._seen.pop(position)
            data = os.read(self.process.stdout.fileno(), 1 << 16)
            assert data, f"the engine ended before a {kind.__name__}"
            self._seen += [decode(payload) for payload in self._frames.feed(data)]

    def seen_of(self, kind: type) -> list[Any]:
        """List the messages of a kind that have come and that `next_of` has not returned yet."""
        return [message for message in self._seen if isinstance(message, kind)]

    def end(self) -> int:
        """Wait until the engine has ended by itself, and return its exit code."""
        self.process.communicate(timeout=CEILING_S)
        return self.process.returncode

    def kill(self) -> None:
        """Kill the engine if it still runs."""
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()
