"""Imports scalars from TensorBoard's event files, whichever tool wrote them.

A file is a sequence of records: length, its checksum, an `Event` as protocol buffer, its checksum.
A record that a killed writer left half-written is left out, and so is everything after a damaged
record; `say` is called about both.
"""

import math
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from raydash.core.faults import Fault, FaultError
from raydash.record.imports.draft import DraftRecording, ImportedRun
from raydash.record.imports.sources import ImportSource

BATCH = 20_000
MAX_RECORD = 2**31
_NUMBERS = {
    1: ("float_val", "<f4"),
    2: ("double_val", "<f8"),
    3: ("int_val", "<i4"),
    9: ("int64_val", "<i8"),
}
"""By TensorFlow's `DataType`: the field that holds a tensor's values, and their NumPy dtype."""

Say = Callable[[str], None]


def read(source: ImportSource, draft: DraftRecording, say: Say) -> ImportedRun:
    """Read all files of a run, in the order of their names, which begin with the time.

    Raises:
        FaultError: if a file is no event file, or none has a scalar.
        OSError, duckdb.Error: if a file can't be read or the recording not written.
    """
    rows = _PendingScalars(draft)
    for path in source.files:
        for event in _events(path, say):
            rows.add(event)
    rows.flush()
    if rows.num_others:
        left_out = (
            "1 value that is no scalar was"
            if rows.num_others == 1
            else f"{rows.num_others} values that are no scalars were"
        )
        say(f"{source.name}: {left_out} left out")
    if not draft.num_scalars:
        path = source.files[0]
        raise FaultError(_fault(path, "it holds no scalar"))
    return ImportedRun(rows.started or source.files[0].stat().st_mtime)


class _PendingScalars:
    """Scalars of some events that are not in the draft yet."""

    def __init__(self, draft: DraftRecording) -> None:
        self._draft = draft
        self._tags: list[str] = []
        self._numbers: list[tuple[float, float, float]] = []
        self._plugins: dict[str, str] = {}  # by tag: only its first value names the plugin
        self.started: float | None = None
        self.num_others = 0

    def add(self, event: Any) -> None:
        """Add the scalars of an `Event`."""
        if not math.isfinite(event.wall_time):
            return
        if self.started is None and event.wall_time > 0:
            self.started = event.wall_time
        t_s = max(0.0, event.wall_time - (self.started or 0.0))
        for value in event.summary.value:
            number = self._scalar(value)
            if number is None:
                self.num_others += 1
            elif not math.isnan(number):
                self._tags.append(value.tag)
                self._numbers.append((t_s, float(event.step), number))
        if len(self._tags) >= BATCH:
            self.flush()

    def flush(self) -> None:
        """Add what was gathered to the draft."""
        if self._tags:
            t_s, steps, value = np.array(self._numbers, np.float64).T
            self._draft.add_scalars(self._tags, t_s=t_s, num_env_steps=steps, value=value)
        self._tags, self._numbers = [], []

    def _scalar(self, value: Any) -> float | None:
        kind = value.WhichOneof("value")
        if kind == "simple_value":
            return float(value.simple_value)
        plugin = value.metadata.plugin_data.plugin_name
        if plugin:
            self._plugins[value.tag] = plugin
        if kind == "tensor" and self._plugins.get(value.tag) == "scalars":
            return _of_tensor(value.tensor)
        return None


def _of_tensor(tensor: Any) -> float | None:
    """Read a scalar from a tensor with one element, as TensorFlow 2 and PyTorch write it."""
    if tensor.dtype not in _NUMBERS:
        return None
    name, layout = _NUMBERS[tensor.dtype]
    values = getattr(tensor, name)
    if len(values) == 1:
        return float(values[0])
    if len(tensor.tensor_content) == np.dtype(layout).itemsize:
        return float(np.frombuffer(tensor.tensor_content, layout)[0])
    return None


def _events(path: Path, say: Say) -> Iterator[Any]:
    from google.protobuf.message import DecodeError
    from tensorboardX.proto.event_pb2 import Event
    from tensorboardX.record_writer import masked_crc32c

    with path.open("rb") as file:
        count, place = 0, 0
        for record, checksum in _records(file, masked_crc32c):
            problem = ""
            if record is None:
                problem = "the last record is cut off" if checksum else "a record is damaged"
            else:
                try:
                    event = Event.FromString(record)
                except DecodeError:
                    problem = "a record is damaged"
                # The checksums of pictures and sounds, which are long, are not worth the time.
                else:
                    has_scalars = len(record) <= 4096
                    if has_scalars and masked_crc32c(record) != checksum:
                        problem = "a record is damaged"
            if problem:
                if not count:
                    raise FaultError(_fault(path, "it is no event file, or damaged from the start"))
                say(f"{path}: from byte {place} on it was left out: {problem}")
                return
            count += 1
            place = file.tell()
            yield event
    if not count:
        raise FaultError(_fault(path, "it is empty"))


def _records(
    file: IO[bytes], checksum_of: Callable[[bytes], int]
) -> Iterator[tuple[bytes | None, int]]:
    """Yield each record and its checksum; (None, 1) if cut off, (None, 0) if damaged."""
    while head := file.read(12):
        if len(head) < 12:
            yield None, 1
            return
        length, checksum = struct.unpack("<QI", head)
        if checksum_of(head[:8]) != checksum or length > MAX_RECORD:
            yield None, 0
            return
        body = file.read(length + 4)
        if len(body) < length + 4:
            yield None, 1
            return
        yield body[:length], struct.unpack_from("<I", body, length)[0]


def _fault(path: Path, why: str) -> Fault:
    return Fault(
        f"{path.name} was not imported", why, "Choose another file", str(path), bad_input=True
    )
