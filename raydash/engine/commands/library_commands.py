"""The engine's commands about recordings: list, show, scrub, change, export. They need no cluster.

Every command is answered exactly once, from a thread of its own pool, so that nothing here can
hold up the engine's main thread. Quick commands never wait behind slow ones.
"""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

from raydash.core.clock import Clock
from raydash.core.faults import Fault, FaultError
from raydash.core.library import DiskUse, LibrarySettings, Notes, RecordedRun
from raydash.core.messages import (
    Answer,
    ChangeLibrary,
    DeleteRecordings,
    EditNotes,
    ExportRecording,
    HistoryRange,
    ImportRecordings,
    Library,
    LibraryCommand,
    ListRecordings,
    OpenRecording,
    QueryHistory,
    WriteReport,
)
from raydash.engine.commands.open_recordings import OpenRecordings
from raydash.engine.runs.start_run import unexpected_fault
from raydash.protocol.codec import encode

POLL_INTERVAL_S = 3.0
RETENTION_S = 3600.0
IDLE_POLL_S = 1.0
QUICK_THREADS = 3
SLOW_THREADS = 1


class LibraryFiles(Protocol):
    """What is needed of the library on disk, `raydash.record.library.library.LibraryFolder`."""

    def runs(self) -> tuple[RecordedRun, ...]:
        """List all recordings, newest first."""

    def disk(self) -> DiskUse:
        """Measure the disk space that the recordings take."""

    def settings(self) -> LibrarySettings:
        """Read the limits of the library."""

    def edit_notes(self, run_id: str, notes: Notes) -> None:
        """Replace what the user wrote about a recording."""

    def delete(self, run_ids: tuple[str, ...]) -> None:
        """Delete recordings; a fault names those that were refused."""

    def change_settings(self, settings: LibrarySettings) -> None:
        """Set the limits of the library."""

    def find(self, recording: str) -> Path:
        """Find the file of a recording by its run id (or the beginning), its title or its path."""

    def apply_retention(self) -> tuple[str, ...]:
        """Delete the recordings that exceed the limits, and return their run ids."""


def open_library(data_dir: Path) -> LibraryFiles:
    """Open the library in a data folder; imported late, because it needs DuckDB."""
    from raydash.record.library.library import open_library

    return open_library(data_dir)


class LibraryCommands:
    """Serves one window's commands about recordings. `submit` never blocks."""

    def __init__(
        self,
        data_dir: Path,
        *,
        send: Callable[[object], None],
        attach: Callable[[int, str], bool],
        clock: Clock = time.monotonic,
        open_library: Callable[[Path], LibraryFiles] = open_library,
        poll_interval_s: float = POLL_INTERVAL_S,
    ) -> None:
        """Prepare without reading anything before the first command.

        `send` sends the window a message and works in any thread. `attach(command_id, run_id)`
        attaches to a run that is live on this engine's cluster and answers the command; it returns
        False if there is no such run, in which case its file is shown. Whether the library has
        changed is looked at every `poll_interval_s`.
        """
        self._data_dir = data_dir
        self._send = send
        self._attach = attach
        self._clock = clock
        self._open_library = open_library
        self._look_s = poll_interval_s
        self._recordings = OpenRecordings(clock)
        self._quick = ThreadPoolExecutor(QUICK_THREADS, "library")
        self._slow = ThreadPoolExecutor(SLOW_THREADS, "library-slow")
        self._lock = threading.Lock()
        self._library: LibraryFiles | None = None
        self._paths: dict[str, Path] = {}
        self._run_ids: dict[str, str] = {}
        self._newest_open_ids: dict[str, int] = {}
        self._closed = threading.Event()
        self._maintainer: threading.Thread | None = None
        self._is_subscribed = False
        self._send_lock = threading.Lock()
        self._show_lock = threading.Lock()
        self._last_sent = b""
        self._has_live = False
        self._last_folder_state: object = None

    def submit(self, command: LibraryCommand | QueryHistory) -> None:
        """Start to carry out a command, which is answered later. Call this from one thread only."""
        if isinstance(command, OpenRecording):
            self._newest_open_ids[command.recording] = command.command_id
        if self._maintainer is None:
            self._maintainer = threading.Thread(
                target=self._maintain, name="library-maintenance", daemon=True
            )
            self._maintainer.start()
        pool = self._slow if isinstance(command, _SLOW) else self._quick
        pool.submit(self._answer, command)

    def close(self) -> None:
        """Wait for the commands under way, drop those that are queued, and close all files."""
        self._closed.set()
        for pool in (self._quick, self._slow):
            pool.shutdown(cancel_futures=True)
        if self._maintainer is not None:
            self._maintainer.join()
        self._recordings.close()

    # --- commands, on the threads of the pools ------------------------------------------------

    def _answer(self, command: LibraryCommand | QueryHistory) -> None:
        fault: Fault | None = None
        run_id: str | None = ""
        try:
            run_id = self._carry_out(command)
        except FaultError as error:
            fault = error.fault
        except Exception as error:
            fault = unexpected_fault(error)
        if run_id is not None:
            self._send(Answer(command.command_id, fault, run_id))

    def _carry_out(self, command: LibraryCommand | QueryHistory) -> str | None:
        """Carry out a command; return the answer's run id, or None if it is answered elsewhere.

        Raises:
            FaultError: if it could not be done.
        """
        match command:
            case QueryHistory():
                return self._query(command)
            case OpenRecording():
                return self._show(command)
            case ListRecordings():
                self._subscribe()
            case EditNotes(run_id=run_id, notes=notes):
                self._files().edit_notes(run_id, notes)
                self._send_if_changed()
            case DeleteRecordings(run_ids=run_ids):
                self._delete(run_ids)
            case ChangeLibrary(settings=settings):
                self._recordings.close()
                try:
                    self._files().change_settings(settings)
                finally:
                    self._send_if_changed()
            case ExportRecording(recording=recording, out=out):
                from raydash.record.export.export import export

                export(self._find(recording), command.format, Path(out).expanduser())
            case WriteReport(recordings=recordings, out=out):
                found = [self._find(each) for each in recordings]
                from raydash.record.report.report import write_report

                # The window's dialog has asked whether to replace what is there.
                write_report(found, Path(out).expanduser(), force=True)
            case ImportRecordings(paths=names):
                return self._import(names)
        return ""

    def _show(self, command: OpenRecording) -> str | None:
        recording = command.recording
        if self._newest_open_ids[recording] != command.command_id:
            # A dragged slider asks faster than anyone can answer: only the newest request counts.
            return self._run_ids.get(recording, "")
        if self._attach(command.command_id, recording):
            return None
        path = self._find(recording)
        if self._attach(command.command_id, path.stem):
            return None
        with self._recordings.reading(path, newest=command.at_s is None) as reader:
            update = reader.snapshot(command.at_s)
        self._paths[update.run_id] = path
        self._run_ids[recording] = update.run_id
        with self._show_lock:
            # An older moment that took longer must not be sent after a newer one.
            if self._newest_open_ids[recording] == command.command_id:
                self._send(update)
        return update.run_id

    def _query(self, command: QueryHistory) -> str:
        run_id, start_s, end_s = command.run_id, command.start_s, command.end_s
        path = self._find(run_id)
        with self._recordings.reading(path) as reader:
            found = reader.history(start_s, end_s, command.num_buckets)
        self._send(HistoryRange(run_id, start_s, end_s, found))
        return run_id

    def _delete(self, run_ids: tuple[str, ...]) -> None:
        files = self._files()
        paths = [self._paths[run_id] for run_id in run_ids if run_id in self._paths]
        self._recordings.close(paths)
        try:
            files.delete(run_ids)
        finally:
            self._send_if_changed()

    def _import(self, names: tuple[str, ...]) -> str:
        from raydash.record.imports.imports import import_runs

        try:
            made = import_runs([Path(name).expanduser() for name in names], self._data_dir)
        finally:
            self._send_if_changed()
        return made[0] if made else ""

    def _find(self, recording: str) -> Path:
        """Find the file of a recording; one that was shown is remembered, wherever it lies.

        Raises:
            FaultError: if there is none, or more than one.
        """
        known = self._paths.get(recording)
        return known if known is not None and known.exists() else self._files().find(recording)

    def _files(self) -> LibraryFiles:
        with self._lock:
            if self._library is None:
                self._library = self._open_library(self._data_dir)
            return self._library

    # --- the list -----------------------------------------------------------------------------

    def _subscribe(self) -> None:
        if not self._is_subscribed:
            self._files().apply_retention()
        self._send_library(even_if_same=True)
        self._is_subscribed = True

    def _send_if_changed(self) -> None:
        if self._is_subscribed:
            self._send_library()

    def _send_library(self, *, even_if_same: bool = False) -> None:
        """Send the library if it differs from the one that was sent last."""
        with self._send_lock:
            files = self._files()
            self._last_folder_state = self._folder_state()
            library = Library(files.runs(), files.disk(), files.settings())
            self._has_live = any(run.is_live for run in library.runs)
            encoded = encode(library)  # so that NaN compares equal
            if even_if_same or encoded != self._last_sent:
                self._last_sent = encoded
                self._send(library)

    def _folder_state(self) -> object:
        """List names, times and sizes of the library's files: a cheap way to see a change."""
        seen: list[tuple[str, int, int]] = []
        for folder in (self._data_dir / "runs", self._data_dir):
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        status = entry.stat()
                        seen.append((entry.path, status.st_mtime_ns, status.st_size))
        return sorted(seen)

    def _maintain(self) -> None:
        """Close idle files, apply the limits and report changes until the engine ends."""
        polled_s = pruned_s = self._clock()
        while not self._closed.wait(min(IDLE_POLL_S, self._look_s)):
            self._recordings.close_idle()
            now_s = self._clock()
            if not self._is_subscribed or now_s - polled_s < self._look_s:
                continue
            polled_s = now_s
            try:
                if now_s - pruned_s >= RETENTION_S:
                    pruned_s = now_s
                    self._files().apply_retention()
                # When a writer is killed, neither names nor times of files change.
                if self._has_live or self._folder_state() != self._last_folder_state:
                    self._send_library()
            except Exception as error:
                # The folder may be away for a while; the next round tries again.
                print(f"library: {error}", flush=True)


_SLOW = (DeleteRecordings, ChangeLibrary, ExportRecording, WriteReport, ImportRecordings)
