"""Lets other threads read a recording that is being written.

DuckDB lets one process open a file for writing, and nobody else read it; within that process any
number of connections may ask. Each reader gets one of its own. The recorder never waits for them:
when it closes the file, what they ask is broken off.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from raydash.core.faults import Fault, FaultError
from raydash.record.file.database import reading_fault, release_memory
from raydash.record.file.schema import Connection

CLOSE_TIMEOUT_S = 1.0
INTERRUPT_INTERVAL_S = 0.05


class ConcurrentReaders:
    """Open while the recording is."""

    def __init__(self, path: Path) -> None:
        """A closed door to the recording at `path`."""
        self._path = path
        self._changed = threading.Condition()
        self._template: Connection = None
        self._open_readers: set[Connection] = set()

    def open(self, connection: Connection) -> None:
        """Let readers in, beside that connection."""
        with self._changed:
            self._template = connection.cursor()

    def close(self) -> None:
        """Let nobody in any more, and those who are inside out; returns soon in any case."""
        with self._changed:
            template, self._template = self._template, None
            # A question may begin just now: it is told again until its reader has left.
            until_s = time.monotonic() + CLOSE_TIMEOUT_S
            while self._open_readers and time.monotonic() < until_s:
                for reader in self._open_readers:
                    reader.interrupt()
                self._changed.wait(INTERRUPT_INTERVAL_S)
        if template is not None:
            # It would close those who are still inside too, and a busy one refuses: then the file
            # stays locked until that one has left.
            with contextlib.suppress(duckdb.Error):
                template.close()

    def release_memory(self) -> None:
        """Make the database smaller, unless somebody is inside, who may need it."""
        with self._changed:
            if self._template is not None and not self._open_readers:
                release_memory(self._template)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for questions.

        Raises:
            FaultError: if the recording is not open, or a question failed or was broken off.
        """
        with self._changed:
            if self._template is None:
                raise FaultError(
                    Fault(
                        f"The recording {self._path.name} can't be read now",
                        "it is not open: it begins, ends, or its disk fails",
                        "Try again in a moment",
                    )
                )
            reader = self._template.cursor()
            self._open_readers.add(reader)
        try:
            yield reader
        except duckdb.Error as error:
            raise FaultError(reading_fault(self._path, error)) from error
        finally:
            reader.close()
            with self._changed:
                self._open_readers.discard(reader)
                self._changed.notify_all()
