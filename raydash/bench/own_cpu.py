"""Measures the CPU time of a bench's own processes, without other users, neighbours or the host."""

import contextlib
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

MARK = "RAYDASH_STATE_DIR"
"""A variable whose value is unique to a bench, and which all its processes inherit, Ray's too."""


class OwnCpu:
    """Counts CPU seconds of this process and all others with its mark, but not its own counting."""

    def __init__(self) -> None:
        self._looking_s = 0.0
        self._start_s = self._total_s()

    def spent_s(self) -> float:
        """Return the CPU seconds since this object was made."""
        return self._total_s() - self._start_s

    def _total_s(self) -> float:
        mark, began_s = os.environ[MARK], time.process_time()
        total = began_s - self._looking_s
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                if process.pid != os.getpid() and process.environ().get(MARK) == mark:
                    times = process.cpu_times()
                    total += times.user + times.system
        self._looking_s += time.process_time() - began_s
        return total


@contextmanager
def private_folders() -> Iterator[None]:
    """Give a bench its own folders for state and recordings, by way of the environment."""
    before = {name: os.environ.get(name) for name in (MARK, "RAYDASH_DATA_DIR")}
    with tempfile.TemporaryDirectory(prefix="rdb-", dir="/tmp") as folder:
        os.environ[MARK], os.environ["RAYDASH_DATA_DIR"] = f"{folder}/s", f"{folder}/d"
        try:
            yield
        finally:
            for name, value in before.items():
                if value is None:
                    os.environ.pop(name, None)
                else:
                    os.environ[name] = value
