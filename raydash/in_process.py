"""Composition root of a simulated run in one process: terminal, engine and supervisor are threads.

A breakpoint anywhere can follow a command from the terminal to a worker, and its answer back. Only
the process is missing: what they say to each other passes through pipes, as between processes.
"""

import math
import os
import subprocess
import threading
from collections.abc import Sequence
from typing import IO

from typing_extensions import override

from raydash.engine.simulated.engine import simulated_engine
from raydash.engine.wire import Wire
from raydash.terminal.engine_client import EngineChild, EngineClient


def open_engine() -> EngineClient:
    """Start an engine on a thread and return its client, which waits as long as a debugger does."""
    return EngineClient(start=_start, hello_timeout_s=math.inf, silence_limit_s=math.inf)


class EngineThread(EngineChild):
    """An engine on a thread of this process, which ends when its input is closed."""

    def __init__(self) -> None:
        """Start the thread."""
        self.pid = os.getpid()
        self._read_fd, write_fd = os.pipe()
        read_fd, self._write_fd = os.pipe()
        self.stdin: IO[bytes] = os.fdopen(write_fd, "wb", buffering=0)
        self.stdout: IO[bytes] = os.fdopen(read_fd, "rb", buffering=0)
        self._is_given_up = False
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
        self._thread.start()

    @override
    def poll(self) -> int | None:
        return None if self._thread.is_alive() and not self._is_given_up else 0

    @override
    def wait(self, timeout: float | None = None) -> int:
        if not self._is_given_up:
            self._thread.join(timeout)
        if self.poll() is None:
            raise subprocess.TimeoutExpired("the engine's thread", timeout or 0.0)
        return 0

    @override
    def kill(self) -> None:
        """Give the thread up, because nobody can end it: it ends with the process."""
        self._is_given_up = True

    def _serve(self) -> None:
        wire = Wire(self._read_fd, self._write_fd)
        engine = simulated_engine(wire, log_path="")
        try:
            engine.run()
        finally:
            os.close(self._write_fd)
        engine.join()
        wire.await_input_end()
        os.close(self._read_fd)


def _start(_command: Sequence[str], _stderr: IO[bytes]) -> EngineChild:
    return EngineThread()
