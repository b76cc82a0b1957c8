"""Shows what a worker is doing during a slice: 40 bytes in a mapped file that the probe reads.

A chunk says nothing until it comes back, so a hang could not be explained. The loop therefore
writes its phase and step count into shared memory with plain stores (about 40 ns each). Nothing
blocks, and the last values can be read even if the worker holds the GIL or is stopped.

Five native 64-bit integers: phase, steps of this incarnation, steps of the unfinished episode, a
counter that grows with every batch and reset, and one cell that the worker only reads: whether the
supervisor wants the slice cut short, because it waits for a pause or a stop. The cells are not
written as one: each is right by itself, but two may be some microseconds apart.
"""

import contextlib
import mmap
import os
import struct
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_LAYOUT = struct.Struct("=5q")
_CELL = struct.Struct("=q")
PHASE, NUM_ENV_STEPS, EPISODE_LEN, COUNTER, HURRY = range(5)
"""Indices of the cells."""


class Phase(IntEnum):
    """What a worker's process is doing. The first three have the numbers of `states.Activity`."""

    STARTING = 0
    RESETTING = 1
    STEPPING = 2
    IDLE = 3
    CLOSING = 4


@dataclass(frozen=True, slots=True)
class ProgressReading:
    """One reading of a progress file.

    Attributes:
        phase: What the worker was doing.
        num_env_steps: Steps of this incarnation.
        episode_len: Steps of the unfinished episode.
        counter: Grows with every batch and reset; while it stands still, so does the worker.
    """

    phase: Phase
    num_env_steps: int
    episode_len: int
    counter: int


class ProgressWriter:
    """The worker's side of a progress file.

    Attributes:
        cells: The memory that the loop writes; indices are `PHASE`, `NUM_ENV_STEPS`,
            `EPISODE_LEN`, `COUNTER`, `HURRY`.
        path: The file; empty: there is none, and nothing reads the cells.
    """

    def __init__(self, path: Path | None = None) -> None:
        self.path = ""
        self._file: mmap.mmap | None = None
        memory: bytearray | mmap.mmap = bytearray(_LAYOUT.size)
        if path is not None:
            try:
                memory = self._file = _mapped(path)
                self.path = str(path)
            except OSError:
                # Stepping matters more than showing it: without a file the cells are plain memory.
                self._file = None
        self.cells = memoryview(memory).cast("q")

    def close(self) -> None:
        """Unmap and remove the file. The cells stay writable, as plain memory."""
        cells = self.cells
        self.cells = memoryview(bytearray(bytes(cells))).cast("q")
        cells.release()
        if self._file is not None:
            self._file.close()
            self._file = None
            Path(self.path).unlink(missing_ok=True)
            self.path = ""


def _mapped(path: Path) -> mmap.mmap:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        # Writing real bytes avoids a hole: a store into one on a full disk raises SIGBUS.
        os.pwrite(descriptor, bytes(_LAYOUT.size), 0)
        return mmap.mmap(descriptor, _LAYOUT.size)
    finally:
        os.close(descriptor)


def set_hurry(path: str, wanted: bool) -> None:
    """Ask the worker behind a progress file on this node to cut its slices short, or no longer.

    Without the file nothing happens, and the slice ends with its budget.
    """
    _set_hurry_cell(path, int(wanted))


def set_call_wanted(path: str, number: int) -> None:
    """Ask the stepping loop behind a progress file to return its calls up to `number` at once."""
    _set_hurry_cell(path, number)


def _set_hurry_cell(path: str, value: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, _CELL.pack(value), HURRY * _CELL.size)
        finally:
            os.close(descriptor)


class ProgressReader:
    """The probe's side. It reopens the file each time (6 us), so that no descriptor stays open."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> ProgressReading | None:
        """Read the file; return None if it is missing, too short, or no progress file."""
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, ValueError):
            return None
        try:
            data = os.pread(descriptor, _LAYOUT.size, 0)
        except OSError:
            return None
        finally:
            os.close(descriptor)
        if len(data) < _LAYOUT.size:
            return None
        phase, num_env_steps, episode_len, counter, _ = _LAYOUT.unpack(data)
        try:
            return ProgressReading(Phase(phase), num_env_steps, episode_len, counter)
        except ValueError:
            return None
