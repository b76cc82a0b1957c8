"""Reads a node's workers: CPU and memory from `/proc`, progress from mapped files, and log tails.

The supervisor reads its own node in its own process. On every other node there is one small actor,
`ray.remote(ProbeActor)`, which answers with bytes of the codec.
"""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import psutil

from raydash.core.clock import Clock
from raydash.core.records import ProbeReading
from raydash.protocol.codec import encode
from raydash.worker.node.progress import ProgressReader

MAX_LOG_BYTES = 1024 * 1024
_CLOCK_TICKS_HZ = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
UNKNOWN_PHASE = 255


class NodeProbe:
    """Reads vitals and logs. CPU shares are those of the time since the previous reading."""

    def __init__(self, clock: Clock = time.monotonic) -> None:
        self._clock = clock
        self._before: dict[int, tuple[int, float, float]] = {}
        psutil.cpu_percent()

    def read(self, pids: Sequence[int], progress_paths: Sequence[str]) -> ProbeReading:
        """Read the vitals of some processes; row i is `pids[i]` and `progress_paths[i]`.

        Args:
            pids: Process ids on this node; a process that is gone reads as NaN.
            progress_paths: Their progress files; a missing one reads as `UNKNOWN_PHASE` and -1.
        """
        count = len(pids)
        cpu_percent = np.full(count, np.nan, np.float32)
        rss_bytes = np.full(count, np.nan)
        phase = np.full(count, UNKNOWN_PHASE, np.uint8)
        steps, episode_len, counter = (np.full(count, -1, np.int64) for _ in range(3))
        seen: dict[int, tuple[int, float, float]] = {}
        for row, pid in enumerate(pids):
            now_s = self._clock()
            vitals = _process_vitals(pid)
            if vitals is None:
                continue
            start_ticks, cpu_s, rss_bytes[row] = vitals
            seen[pid] = (start_ticks, cpu_s, now_s)
            before = self._before.get(pid)
            # Process ids are reused; the start time tells two processes apart.
            if before and before[0] == start_ticks and now_s > before[2]:
                cpu_percent[row] = 100.0 * (cpu_s - before[1]) / (now_s - before[2])
        self._before = seen
        for row, path in enumerate(progress_paths[:count]):
            progress = ProgressReader(path).read()
            if progress is not None:
                phase[row] = progress.phase
                steps[row] = progress.num_env_steps
                episode_len[row] = progress.episode_len
                counter[row] = progress.counter
        memory = psutil.virtual_memory()
        return ProbeReading(
            cpu_percent=cpu_percent,
            rss_bytes=rss_bytes,
            phase=phase,
            num_env_steps=steps,
            episode_len=episode_len,
            counter=counter,
            node_cpu_percent=psutil.cpu_percent(),
            node_memory_used_bytes=float(memory.total - memory.available),
            node_memory_bytes=float(memory.total),
        )

    def log_tail(self, paths: Sequence[str], max_bytes: int = MAX_LOG_BYTES) -> bytes:
        """Return the ends of some files one after the other, each under its name.

        Args:
            paths: Files on this node; the error of one that can't be read takes its place.
            max_bytes: The limit for all together; it is shared evenly.
        """
        share = max_bytes // max(1, len(paths))
        return b"".join(_tail(Path(path), share) for path in paths)


class ProbeActor:
    """A probe for a node without a supervisor; it answers with bytes."""

    def __init__(self) -> None:
        self._probe = NodeProbe()

    def read(self, pids: Sequence[int], progress_paths: Sequence[str]) -> bytes:
        """Read the vitals of some processes; return an encoded `ProbeReading`."""
        return encode(self._probe.read(pids, progress_paths))

    def log_tail(self, paths: Sequence[str], max_bytes: int = MAX_LOG_BYTES) -> bytes:
        """Return the ends of some files as plain bytes."""
        return self._probe.log_tail(paths, max_bytes)


def _process_vitals(pid: int) -> tuple[int, float, float] | None:
    """Return start time in ticks, CPU seconds and resident bytes; None without such a process.

    One read of `/proc/PID/stat` gives all three; psutil needs three reads and four times as long,
    which matters with hundreds of workers on a node.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # The command's name comes second, in parentheses, and may contain anything.
            values = file.read().rpartition(b")")[2].split()
        if values[0] == b"Z":
            return None
        cpu_s = (int(values[11]) + int(values[12])) / _CLOCK_TICKS_HZ
        return int(values[19]), cpu_s, float(int(values[21]) * _PAGE_BYTES)
    except (OSError, ValueError, IndexError):
        return None


def _tail(path: Path, max_bytes: int) -> bytes:
    title = f"==> {path} <==\n".encode()
    try:
        with path.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - max_bytes))
            return title + file.read(max_bytes) + b"\n"
    except OSError as error:
        return title + f"(cannot be read: {error.strerror})\n".encode()
