"""Lets other threads read a recording that is being written.

While one process has a DuckDB file open for writing, no other process can read it, but within that
process any number of connections can. Each reader gets a connection of its own. The recorder never
waits for readers: when it closes the file, their queries are interrupted.
"""

import contextlib
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import duckdb

from raydash.core.faults import Fault, FaultError
from raydash.record.file.database import reading, release_memory
from raydash.record.file.schema import Connection

CLOSE_TIMEOUT_S = 1.0
INTERRUPT_INTERVAL_S = 0.05


class ConcurrentReaders:
    """Hands out connections for reading while the recording is open."""

    def __init__(self, path: Path) -> None:
        """Refuse all readers until `open` is called."""
        self._path = path
        self._changed = threading.Condition()
        self._template: Connection = None
        self._open_readers: set[Connection] = set()

    def open(self, connection: Connection) -> None:
        """Let readers open connections beside that one, which writes."""
        with self._changed:
            self._template = connection.cursor()

    def close(self) -> None:
        """Refuse new readers and interrupt the open ones; returns soon in any case."""
        with self._changed:
            template, self._template = self._template, None
            # A reader may be just about to start a query: interrupt it again until it has closed.
            until_s = time.monotonic() + CLOSE_TIMEOUT_S
            while self._open_readers and time.monotonic() < until_s:
                for reader in self._open_readers:
                    reader.interrupt()
                self._changed.wait(INTERRUPT_INTERVAL_S)
        if template is not None:
            # This closes the remaining readers too, which fails while one is busy: the file then
            # stays locked until that reader has closed.
            with contextlib.suppress(duckdb.Error):
                template.close()

    def release_memory(self) -> None:
        """Drop what DuckDB has cached of the file, unless a reader is open, which may need it."""
        with self._changed:
            if self._template is not None and not self._open_readers:
                release_memory(self._template)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Open a connection for queries, to be used inside the `with` block.

        Raises:
            FaultError: if the recording is not open, or a query failed or was interrupted.
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
            with reading(self._path):
                yield reader
        finally:
            reader.close()
            with self._changed:
                self._open_readers.discard(reader)
                self._changed.notify_all()
