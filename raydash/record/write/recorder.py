"""Writes a run to disk from a thread of its own. A failing disk never touches the run.

`append` puts a batch on a list and returns. Every 0.7 s the thread commits all batches on the list
as one transaction. A batch covers 0.2 s, so a crash loses less than a second of the run. `settle`
makes the thread commit at once, and waits for that.

If a commit fails, the thread keeps its batches, says why (`fault`), and tries again with a new
connection. A commit whose outcome is unknown is recognised by its number, so nothing is written
twice. What is kept is bounded: beyond `max_pending_episodes`, new episodes are dropped and counted,
and `fault` says so.
"""

import logging
import threading
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

from raydash.core.clock import Clock
from raydash.core.records import EpisodeColumns, EpisodeExtras
from raydash.record.file.card import remove_card, write_card
from raydash.record.file.database import connect, diagnose, size_of
from raydash.record.file.rows import IncarnationRow, RecordBatch, RunEndRow, RunRow
from raydash.record.file.schema import Connection, bring_up_to_date
from raydash.record.write.concurrent_readers import ConcurrentReaders
from raydash.record.write.writer import RecordWriter

MAX_PENDING_EPISODES = 2_000_000
"""About 75 MB."""
MAX_PENDING_EVENTS = 10_000
MAX_PENDING_BATCHES = 1000
MAX_RETRY_S = 10.0
COMMITS_BETWEEN_MEMORY_RELEASES = 100
"""About a minute, in which DuckDB's cache grows by some 2 MB."""

log = logging.getLogger(__name__)


class Recorder:
    """A recording that is being written. Every method may be called from any thread."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        commit_interval_s: float = 0.7,
        max_pending_episodes: int = MAX_PENDING_EPISODES,
    ) -> None:
        """Prepare; nothing is opened before `begin`.

        Args:
            path: The DuckDB file; it is created if missing, and continued if it is there.
            clock: Returns monotonic seconds.
            commit_interval_s: Time from the start of a commit to the start of the next.
            max_pending_episodes: How many episodes are kept at most while the disk fails.
        """
        self.path = path
        self._clock = clock
        self._interval_s = commit_interval_s
        self._max_pending = max_pending_episodes
        self._run: RunRow | None = None
        self._incarnation: IncarnationRow | None = None

        self._lock = threading.Lock()  # never held while the disk is touched
        self._arrived: list[RecordBatch] = []
        self._oldest_s: float | None = None
        self._num_pending = 0
        self._num_dropped = 0
        self._fault = ""
        self._num_bytes = 0
        self._settled = threading.Event()
        self._settled.set()

        self._readers = ConcurrentReaders(path)

        # Used by the recorder's thread only:
        self._writer: RecordWriter | None = None
        self._uncommitted: list[RecordBatch] = []
        self._uncommitted_since_s: float | None = None
        self._last_commit = 0
        self._unconfirmed: tuple[int, int] | None = None
        self._retry_s = 0.0
        self._end_row: RunEndRow | None = None
        self._close_deadline_s = 0.0

        self._closing = threading.Event()
        self._commit_now = threading.Event()
        """Set when the thread must not wait for the next commit's time."""
        self._is_closed_cleanly = False
        self._thread = threading.Thread(target=self._loop, name="recorder", daemon=True)

    # --- any thread --------------------------------------------------------------------------

    def begin(self, run: RunRow, incarnation: IncarnationRow) -> None:
        """Start writing. A recording that is continued has the run's row already."""
        self._run, self._incarnation = run, incarnation
        self._thread.start()

    def append(self, batch: RecordBatch) -> None:
        """Queue a batch for the next commit. Never waits for the disk or raises because of it."""
        with self._lock:
            count = len(batch.episodes)
            if count and self._num_pending + count > self._max_pending:
                self._num_dropped += count
                batch = replace(batch, episodes=EpisodeColumns(), extras=EpisodeExtras())
                count = 0
            self._num_pending += count
            self._arrived.append(batch)
            if self._oldest_s is None:
                self._oldest_s = self._clock()
            self._settled.clear()

    def settle(self, timeout_s: float) -> None:
        """Commit everything that was appended, and wait for that for at most `timeout_s`.

        If recording fails already, return at once instead of waiting for a bad disk.
        """
        if not self._fault:
            self._commit_now.set()
            self._settled.wait(timeout_s)

    @property
    def fault(self) -> str:
        """Why recording fails or has lost episodes, in words; empty if all is well."""
        with self._lock:
            parts = [self._fault] if self._fault else []
            if self._num_dropped:
                parts.append(f"{self._num_dropped} episodes could not be kept")
            return "; ".join(parts)

    @property
    def lag_s(self) -> float:
        """The age of the oldest batch that is not committed; 0 if there is none."""
        with self._lock:
            times = [
                since for since in (self._oldest_s, self._uncommitted_since_s) if since is not None
            ]
            return max(0.0, self._clock() - min(times)) if times else 0.0

    @property
    def num_bytes(self) -> int:
        """The size on disk after the last commit."""
        return self._num_bytes

    def reading(self) -> AbstractContextManager[Connection]:
        """Open a connection for queries over what is committed, while writing goes on.

        Use it on the calling thread only, and not after the `with` block. When the recording is
        closed, a running query is interrupted.

        Raises:
            FaultError: if the file is not open now, or a query was interrupted.
        """
        return self._readers.reading()

    def close(self, end: RunEndRow | None = None, *, timeout_s: float = 10.0) -> bool:
        """Commit what is left, write how the run ended, and close the file.

        Args:
            end: How the run ended; None leaves the run open, as a crash would.
            timeout_s: How long to try if the disk fails.

        Returns:
            Whether everything was written.
        """
        self._end_row = end
        self._close_deadline_s = self._clock() + timeout_s
        self._closing.set()
        self._commit_now.set()
        if self._thread.ident is not None:
            # Twice, because a single commit may hang in a stalled disk: the thread is a daemon.
            self._thread.join(2 * timeout_s)
        return self._is_closed_cleanly

    # --- the recorder's thread ---------------------------------------------------------------

    def _loop(self) -> None:
        wait_s = 0.0
        while True:
            self._commit_now.wait(wait_s)
            self._commit_now.clear()
            if self._closing.is_set():
                break
            began_s = self._clock()
            if self._commit():
                took_s = self._clock() - began_s
                wait_s = max(
                    self._interval_s - took_s, self._interval_s / 4
                )  # leave time for the run
            else:
                wait_s = self._next_retry_delay_s()
        pause = threading.Event()
        while not (self._commit() and self._finish_file()):
            if self._clock() >= self._close_deadline_s:
                log.warning("recording %s was not closed well: %s", self.path, self.fault)
                break
            pause.wait(min(0.2, self._interval_s))
        self._close_file()

    def _next_retry_delay_s(self) -> float:
        self._retry_s = min(max(2 * self._retry_s, self._interval_s), MAX_RETRY_S)
        return self._retry_s

    def _commit(self) -> bool:
        """Write all batches so far; return False if that failed."""
        with self._lock:
            self._uncommitted += self._arrived
            self._arrived = []
            if self._uncommitted_since_s is None:
                self._uncommitted_since_s = self._oldest_s
            self._oldest_s = None
        try:
            if self._writer is None:
                self._open()
            if self._uncommitted:
                self._write(RecordBatch.merged(self._uncommitted))
                self._drop_written(len(self._uncommitted))
            if not self.path.exists():
                raise FileNotFoundError("No such file or directory: somebody deleted it")
        except Exception as error:
            # A disk or a database may raise anything; the run goes on, and `fault` tells the user.
            self._on_failure(error)
            return False
        self._retry_s = 0.0
        self._num_bytes = size_of(self.path)
        with self._lock:
            self._fault = ""
        return True

    def _open(self) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        assert self._run is not None
        assert self._incarnation is not None
        connection = self._connected()
        try:
            bring_up_to_date(connection)
            (last,) = connection.execute("SELECT coalesce(max(number), 0) FROM commits").fetchone()
            writer = RecordWriter(connection)
            writer.header(self._run, self._incarnation)
            write_card(self.path, self._run)
        except BaseException:
            connection.close()
            raise
        self._writer = writer
        self._readers.open(connection)
        self._last_commit = last
        if self._unconfirmed is not None:
            number, count = self._unconfirmed
            self._unconfirmed = None
            if last >= number:
                self._drop_written(count)

    def _connected(self) -> Connection:
        """Connect to the file, which is created if there is none.

        What a full disk leaves of a new file is no database and would block all later attempts, so
        it is deleted.
        """
        if self.path.exists() and not (self.path.is_file() and size_of(self.path) == 0):
            return connect(self.path)
        try:
            self.path.unlink(missing_ok=True)
            return connect(self.path)
        except BaseException:
            self.path.unlink(missing_ok=True)
            raise

    def _write(self, batch: RecordBatch) -> None:
        assert self._writer is not None
        self._unconfirmed = (self._last_commit + 1, len(self._uncommitted))
        self._writer.write(self._last_commit + 1, batch)
        self._last_commit += 1
        self._unconfirmed = None
        if self._last_commit % COMMITS_BETWEEN_MEMORY_RELEASES == 0:
            self._readers.release_memory()

    def _drop_written(self, count: int) -> None:
        """Drop the `count` oldest batches, which are on disk now."""
        written, self._uncommitted = self._uncommitted[:count], self._uncommitted[count:]
        with self._lock:
            self._num_pending -= sum(len(batch.episodes) for batch in written)
            if not self._uncommitted:
                self._uncommitted_since_s = None
                if not self._arrived:
                    self._settled.set()

    def _on_failure(self, error: Exception) -> None:
        fault = diagnose(error).reason
        with self._lock:
            is_new, self._fault = fault != self._fault, fault
        if is_new:
            log.info("recording %s fails: %s", self.path, error)
        self._close_file()
        start = self._unconfirmed[1] if self._unconfirmed else 0
        if len(self._uncommitted) - start > MAX_PENDING_BATCHES:
            merged = RecordBatch.merged(self._uncommitted[start:])
            events = merged.events[-MAX_PENDING_EVENTS:]
            self._uncommitted[start:] = [replace(merged, events=events)]

    def _finish_file(self) -> bool:
        assert self._writer is not None
        try:
            if self._end_row is not None:
                self._writer.end(self._end_row)
            self._readers.close()
            self._writer.connection.execute("CHECKPOINT")
        except Exception as error:
            self._on_failure(error)
            return False
        self._close_file()
        if self._end_row is not None:
            remove_card(self.path)
        self._num_bytes = size_of(self.path)
        self._is_closed_cleanly = True
        return True

    def _close_file(self) -> None:
        writer, self._writer = self._writer, None
        if writer is None:
            return
        self._readers.close()
        try:
            writer.connection.close()
        except Exception as error:
            # Closing checkpoints: on a full disk that fails, and the rows stay in the WAL.
            log.info("closing %s: %s", self.path, error)
