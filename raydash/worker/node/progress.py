"""What a worker is doing while its chunk is out: 40 bytes in a mapped file that the probe reads.

A chunk says nothing until it is back, so a hang would be a riddle. The loop therefore writes its
phase and step count with plain stores into shared memory (about 40 ns each); nothing blocks, and a
worker that holds the GIL or is stopped still leaves its last word behind.

Five native 64-bit integers: phase, steps of this incarnation, steps of the unfinished episode, a
counter that grows with every batch and reset, and the one cell that the worker only reads: whether
the supervisor wants the slice cut short, because it waits for a pause or a stop. They are not
written as one: each is right, two of them may be some microseconds apart.
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
"""Positions of the cells."""


class Phase(IntEnum):
    """What the process is doing. The first three have the numbers of `states.Activity`."""

    STARTING = 0
    RESETTING = 1
    STEPPING = 2
    IDLE = 3
    CLOSING = 4


@dataclass(frozen=True, slots=True)
class Progress:
    """What the file said.

    Attributes:
        phase: What the worker is doing.
        num_env_steps: Steps of this incarnation.
        episode_len: Steps of the unfinished episode.
        counter: Grows with every batch and reset; if it stands still, so does the worker.
    """

    phase: Phase
    num_env_steps: int
    episode_len: int
    counter: int


class ProgressWriter:
    """The worker's side.

    Attributes:
        cells: Where the loop stores; indices are `PHASE`, `NUM_ENV_STEPS`, `EPISODE_LEN`,
            `COUNTER`, `HURRY`.
        path: The file; empty when progress goes nowhere.
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
                # Steps matter more than being seen: without a file the loop writes to nowhere.
                self._file = None
        self.cells = memoryview(memory).cast("q")

    def close(self) -> None:
        """Unmap and remove the file. The cells stay writable, to nowhere."""
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
        # Bytes are really written: a store into a hole of a full disk would end us by SIGBUS.
        os.pwrite(descriptor, bytes(_LAYOUT.size), 0)
        return mmap.mmap(descriptor, _LAYOUT.size)
    finally:
        os.close(descriptor)


def set_hurry(path: str, wanted: bool) -> None:
    """Ask the worker behind a progress file on this node to cut its slices short, or no longer.

    Without the file nothing happens: the slice then ends with its budget.
    """
    _set_hurry_cell(path, int(wanted))


def set_call_wanted(path: str, number: int) -> None:
    """Ask the stepping loop behind a progress file for its calls up to a number, at once."""
    _set_hurry_cell(path, number)


def _set_hurry_cell(path: str, value: int) -> None:
    with contextlib.suppress(OSError, ValueError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            os.pwrite(descriptor, _CELL.pack(value), HURRY * _CELL.size)
        finally:
            os.close(descriptor)


class ProgressReader:
    """The probe's side. Opens the file anew each time: 6 us, and no descriptor per worker."""

    def __init__(self, path: str) -> None:
        self.path = path

    def read(self) -> Progress | None:
        """What the file says now; None if it is missing, short, or holds no progress."""
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
            return Progress(Phase(phase), num_env_steps, episode_len, counter)
        except ValueError:
            return None
