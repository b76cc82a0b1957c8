"""Reads and writes the small JSON files beside recordings.

They are written whole or not at all, and nothing in them is trusted when they are read.
"""

import contextlib
import json
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

MAX_BYTES = 1_000_000


def read_table(path: Path, *, max_bytes: int = MAX_BYTES) -> dict[str, Any] | None:
    """Read the object in a JSON file; None if there is no such file.

    Raises:
        OSError: if it can't be read.
        ValueError: if it holds anything but one JSON object, or is not a plain file of a sane size.
    """
    try:
        # Without these flags, opening would wait for a pipe of that name and follow a link.
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    with open(handle, "rb") as file:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise ValueError("it is not a plain file")
        content = file.read(max_bytes + 1)
    if len(content) > max_bytes:
        raise ValueError(f"it is larger than {max_bytes} bytes")
    try:
        table = json.loads(content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(table, dict):
        raise ValueError("it does not hold a JSON object")
    return table


def write_table(path: Path, table: Mapping[str, object], *, durable: bool = True) -> None:
    """Replace whatever is at `path` by a JSON file; a reader sees the old file or the new one.

    The folder must exist. With `durable`, wait until the disk has stored the file.

    Raises:
        OSError: if it can't be written; what was there is untouched.
    """
    beside = path.with_name(f".{os.getpid()}-{secrets.token_hex(4)}.tmp")
    content = json.dumps(table).encode()
    try:
        with open(beside, "xb") as file:
            file.write(content)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        beside.replace(path)
    except OSError:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise
