"""The engine's desk for recordings: lists, shows, scrubs, changes, hands on. Needs no cluster.

Every command is answered exactly once, from threads of the desk, so that nothing here can hold up
the engine's main thread. What is quick never waits behind what takes long.
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
from raydash.engine.runs.start_run import unexpected
from raydash.protocol.codec import encode

LOOK_S = 3.0
RETENTION_S = 3600.0
IDLE_LOOK_S = 1.0
QUICK_THREADS = 3
SLOW_THREADS = 1


class LibraryFiles(Protocol):
    """The library on disk: `raydash.record.library.library.LibraryFolder`."""

    def runs(self) -> tuple[RecordedRun, ...]:
        """All recordings, newest first."""

    def disk(self) -> DiskUse:
        """What they take."""

    def settings(self) -> LibrarySettings:
        """Its limits."""

    def edit_notes(self, run_id: str, notes: Notes) -> None:
        """Replace what the user wrote."""

    def delete(self, run_ids: tuple[str, ...]) -> None:
        """Delete recordings; a fault names those that were refused."""

    def change_settings(self, settings: LibrarySettings) -> None:
        """Other limits."""

    def find(self, recording: str) -> Path:
        """The file that is meant."""

    def apply_retention(self) -> tuple[str, ...]:
        """Delete what the limits say."""


def _open_library(data_dir: Path) -> LibraryFiles:
    from raydash.record.library.library import open_library

    return open_library(data_dir)


class LibraryCommands:
    """Serves one window's commands about recordings. `take` never blocks."""

    def __init__(
        self,
        data_dir: Path,
        *,
        send: Callable[[object], None],
        attach: Callable[[int, str], bool],
        clock: Clock = time.monotonic,
        open_library: Callable[[Path], LibraryFiles] = _open_library,
        look_s: float = LOOK_S,
    ) -> None:
        """A desk; nothing is read before the first command.

        Args:
            data_dir: Of the library.
            send: Takes messages for the window, from any thread.
            attach: Attach a run that is live on this engine's cluster, and answer the command of
                that number; False if there is no such run (then the file is shown).
            clock: Monotonic seconds.
            open_library: How the library is found.
            look_s: Between looks whether it has changed.
        """
        self._data_dir = data_dir
        self._send = send
        self._attach = attach
        self._clock = clock
        self._open_library = open_library
        self._look_s = look_s
        self._recordings = OpenRecordings(clock)
        self._quick = ThreadPoolExecutor(QUICK_THREADS, "library")
        self._slow = ThreadPoolExecutor(SLOW_THREADS, "library-slow")
        self._lock = threading.Lock()
        self._library: LibraryFiles | None = None
        self._paths: dict[str, Path] = {}
        self._run_ids: dict[str, str] = {}
        self._newest_open: dict[str, int] = {}
        self._closed = threading.Event()
        self._keeper: threading.Thread | None = None
        self._is_listing = False
        self._telling = threading.Lock()
        self._showing = threading.Lock()
        self._said = b""
        self._has_live = False
        self._folder_was: object = None

    def take(self, command: LibraryCommand | QueryHistory) -> None:
        """Begin to carry out a command; its answer comes by `send`. Called by one thread."""
        if isinstance(command, OpenRecording):
            self._newest_open[command.recording] = command.command_id
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="library-keeper", daemon=True)
            self._keeper.start()
        pool = self._slow if isinstance(command, _SLOW) else self._quick
        pool.submit(self._answer, command)

    def close(self) -> None:
        """End what is under way, and let go of all files."""
        self._closed.set()
        for pool in (self._quick, self._slow):
            pool.shutdown(cancel_futures=True)
        if self._keeper is not None:
            self._keeper.join()
        self._recordings.let_go()

    # --- commands, on threads of the desk -----------------------------------------------------

    def _answer(self, command: LibraryCommand | QueryHistory) -> None:
        fault: Fault | None = None
        run_id: str | None = ""
        try:
            run_id = self._carry_out(command)
        except FaultError as error:
            fault = error.fault
        except Exception as error:
            fault = unexpected(error)
        if run_id is not None:
            self._send(Answer(command.command_id, fault, run_id))

    def _carry_out(self, command: LibraryCommand | QueryHistory) -> str | None:
        """Do it; gives the run's id for the answer, or None if somebody else answers.

        Raises:
            FaultError: why it was not done.
        """
        match command:
            case QueryHistory():
                return self._query(command)
            case OpenRecording():
                return self._show(command)
            case ListRecordings():
                self._begin_listing()
            case EditNotes(run_id=run_id, notes=notes):
                self._files().edit_notes(run_id, notes)
                self._tell_changes()
            case DeleteRecordings(run_ids=run_ids):
                self._delete(run_ids)
            case ChangeLibrary(settings=settings):
                self._recordings.let_go()
                try:
                    self._files().change_settings(settings)
                finally:
                    self._tell_changes()
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
        if self._newest_open[recording] != command.command_id:
            # Whoever drags a slider asks faster than anyone can answer: only the newest counts.
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
        with self._showing:
            # An older moment that took longer must not come after a newer one.
            if self._newest_open[recording] == command.command_id:
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
        self._recordings.let_go(paths)
        try:
            files.delete(run_ids)
        finally:
            self._tell_changes()

    def _import(self, names: tuple[str, ...]) -> str:
        from raydash.record.imports.imports import import_runs

        try:
            made = import_runs([Path(name).expanduser() for name in names], self._data_dir)
        finally:
            self._tell_changes()
        return made[0] if made else ""

    def _find(self, recording: str) -> Path:
        """The file; one that was shown is known, wherever it lies.

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

    def _begin_listing(self) -> None:
        if not self._is_listing:
            self._files().apply_retention()
        self._tell(even_if_same=True)
        self._is_listing = True

    def _tell_changes(self) -> None:
        if self._is_listing:
            self._tell()

    def _tell(self, *, even_if_same: bool = False) -> None:
        """Send the library if it is another than the one that was sent last."""
        with self._telling:
            files = self._files()
            self._folder_was = self._look()
            library = Library(files.runs(), files.disk(), files.settings())
            self._has_live = any(run.is_live for run in library.runs)
            said = encode(library)  # compares NaN as equal
            if even_if_same or said != self._said:
                self._said = said
                self._send(library)

    def _look(self) -> object:
        """Changes when the library may have: names, times and sizes; cheap."""
        seen: list[tuple[str, int, int]] = []
        for folder in (self._data_dir / "runs", self._data_dir):
            with contextlib.suppress(OSError), os.scandir(folder) as entries:
                for entry in entries:
                    with contextlib.suppress(OSError):
                        status = entry.stat()
                        seen.append((entry.path, status.st_mtime_ns, status.st_size))
        return sorted(seen)

    def _keep(self) -> None:
        """Look after the library and the open files until the engine ends."""
        looked_s = retained_s = self._clock()
        while not self._closed.wait(min(IDLE_LOOK_S, self._look_s)):
            self._recordings.let_idle_go()
            now_s = self._clock()
            if not self._is_listing or now_s - looked_s < self._look_s:
                continue
            looked_s = now_s
            try:
                if now_s - retained_s >= RETENTION_S:
                    retained_s = now_s
                    self._files().apply_retention()
                # The end of a killed writer changes nothing that a look at names and times sees.
                if self._has_live or self._look() != self._folder_was:
                    self._tell()
            except Exception as error:
                # A folder that is gone for a while: the next look may find it again.
                print(f"library: {error}", flush=True)


_SLOW = (DeleteRecordings, ChangeLibrary, ExportRecording, WriteReport, ImportRecordings)
