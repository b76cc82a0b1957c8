"""The window's side of the library: what can be asked about recordings, and which are open.

QtCore only. What the engine answers is in the `store`: the library itself (`store.library`), and
each opened recording as a run among the others (`RunStore.is_recording`).
"""

from collections.abc import Callable
from typing import Protocol

from PySide6.QtCore import QObject, Signal

from raydash.core.library import ExportFormat, LibrarySettings, Notes
from raydash.core.messages import (
    Answer,
    ChangeLibrary,
    Command,
    DeleteRecordings,
    EditNotes,
    ExportRecording,
    ImportRecordings,
    ListRecordings,
    OpenRecording,
    QueryHistory,
    WriteReport,
)
from raydash.link.store import Store

Callback = Callable[[Answer], None]


class Ask(Protocol):
    """Sends a command; its fault reaches the user unless it is asked quietly."""

    def __call__(
        self,
        make: Callable[[int], Command],
        callback: Callback | None = None,
        *,
        text: str = "",
        quiet: bool = False,
    ) -> int:
        """Send what `make` makes of the command's number; `text` says what is going on."""


class LibraryClient(QObject):
    """Asks the engine about recordings, for one window.

    Attributes:
        opened: Ids of the recordings that the user opened, oldest first.

    Signals:
        opened_changed: `opened` has another value.
        shown(str): A recording, or a live run, that the user opened is on screen.
        said(str): One line about what was done.
    """

    opened_changed = Signal()
    shown = Signal(str)
    said = Signal(str)

    def __init__(
        self, store: Store, ask: Ask, attach: Callable[[str, Callback], None], parent: QObject
    ) -> None:
        """Made by the session.

        Args:
            store: What the widgets read.
            ask: Sends a command.
            attach: Attaches to a live run.
            parent: The session.
        """
        super().__init__(parent)
        self.opened: tuple[str, ...] = ()
        self._store = store
        self._ask = ask
        self._attach = attach
        self._is_watched = False
        self._open_when_ready = ""
        self._scrub_is_out = False
        self._scrub_next: tuple[str, float | None] | None = None

    # --- the list -----------------------------------------------------------------------------

    def watch(self) -> None:
        """Ask for the library; from then on it is kept up to date, by later engines too."""
        if not self._is_watched:
            self._is_watched = True
            self._list()

    def resume(self) -> None:
        """A new engine is ready: it does not know yet that the library is watched."""
        if self._is_watched:
            self._list()
        recording, self._open_when_ready = self._open_when_ready, ""
        if recording:
            self.open(recording)

    def open_when_ready(self, recording: str) -> None:
        """Show a recording as soon as there is an engine."""
        self._open_when_ready = recording
        if self._store.engine_state == "ready":
            self.resume()

    def _list(self) -> None:
        def on_answer(answer: Answer) -> None:
            # An engine that is not there yet: its successor is asked by `resume`.
            if answer.fault is not None and self._store.engine_state != "ready":
                return
            if answer.fault is not None:
                self._is_watched = False

        quiet = self._store.engine_state != "ready"
        self._ask(lambda number: ListRecordings(number), on_answer, quiet=quiet)

    # --- recordings on the screen -------------------------------------------------------------

    def load(
        self,
        recording: str,
        callback: Callback | None = None,
        *,
        at_s: float | None = None,
        quiet: bool = False,
    ) -> None:
        """Bring a recording, or a live run of the cluster, into the store without showing it.

        Args:
            recording: A run's id, a unique beginning of one, or a path.
            callback: Called with the answer; `store.runs[answer.run_id]` has the run by then.
            at_s: The moment to show it at; None: its end.
            quiet: A fault is the caller's to show.
        """
        if self.is_live(recording):

            def on_attached(answer: Answer) -> None:
                if answer.fault is not None:
                    self._load_file(recording, callback, at_s=at_s, quiet=quiet)
                elif callback is not None:
                    callback(answer)

            self._attach(recording, on_attached)
            return
        self._load_file(recording, callback, at_s=at_s, quiet=quiet)

    def _load_file(
        self, recording: str, callback: Callback | None, *, at_s: float | None, quiet: bool
    ) -> None:
        known = recording in self._store.runs

        def on_answer(answer: Answer) -> None:
            if known and answer.fault is None:
                self.add_opened(answer.run_id)  # a run that was in the list stays in it
            if callback is not None:
                callback(answer)

        self._ask(
            lambda number: OpenRecording(number, recording, at_s),
            on_answer,
            text="Opening…",
            quiet=quiet,
        )

    def open(self, recording: str, *, at_s: float | None = None) -> None:
        """Show a recording in the run view; a live run of the cluster is attached to instead."""

        def on_answer(answer: Answer) -> None:
            if answer.fault is None:
                if not self.is_live(answer.run_id):
                    self.add_opened(answer.run_id)
                self._store.show_run(answer.run_id)
                self.shown.emit(answer.run_id)

        self.load(recording, on_answer, at_s=at_s)

    def close(self, run_id: str) -> None:
        """Take an opened recording off the list of runs; its file stays."""
        if run_id in self.opened:
            self.opened = tuple(each for each in self.opened if each != run_id)
            self._store.forget(run_id)
            self.opened_changed.emit()

    def is_live(self, run_id: str) -> bool:
        """Whether that run goes on, on this window's cluster."""
        return any(run.run_id == run_id for run in self._store.live_runs)

    def add_opened(self, run_id: str) -> None:
        """A recording is among the runs of the window from now on."""
        if run_id not in self.opened:
            self.opened = (*self.opened, run_id)
            self.opened_changed.emit()

    def scrub(self, run_id: str, at_s: float | None) -> None:
        """Show an opened recording as it was at `at_s`; None: at its end.

        One request is under way at most; of those that came meanwhile, the newest is next.
        """
        self._scrub_next = (run_id, at_s)
        self._scrub_on()

    @property
    def is_scrubbing(self) -> bool:
        """A moment has been asked for and is not there yet."""
        return self._scrub_is_out

    def _scrub_on(self) -> None:
        if self._scrub_is_out or self._scrub_next is None:
            return
        (run_id, at_s), self._scrub_next = self._scrub_next, None
        self._scrub_is_out = True

        def on_answer(answer: Answer) -> None:
            self._scrub_is_out = False
            if answer.fault is not None:
                self._scrub_next = None
            elif run_id not in self.opened:
                self._store.forget(run_id)  # closed meanwhile
            self._scrub_on()

        self._ask(lambda number: OpenRecording(number, run_id, at_s), on_answer)

    def query_history(
        self, run_id: str, start_s: float, end_s: float, num_buckets: int, callback: Callback
    ) -> None:
        """Ask for a part of a run's history; it is the run's `detail` when `callback` is called.

        Quiet: without it, the coarser history is shown as before.
        """
        self._ask(
            lambda number: QueryHistory(number, run_id, start_s, end_s, num_buckets),
            callback,
            quiet=True,
        )

    # --- what is done to recordings -----------------------------------------------------------

    def edit_notes(self, run_id: str, notes: Notes) -> None:
        """Replace what the user wrote to a recording."""
        self._ask(lambda number: EditNotes(number, run_id, notes), text="Saving notes…")

    def delete(self, run_ids: tuple[str, ...], callback: Callback | None = None) -> None:
        """Delete recordings for good; opened ones are closed first."""

        def on_answer(answer: Answer) -> None:
            count = len(run_ids)
            if answer.fault is None:
                self.said.emit(f"deleted {count} recording{'' if count == 1 else 's'}")
            if callback is not None:
                callback(answer)

        for run_id in run_ids:
            self.close(run_id)
        self._ask(lambda number: DeleteRecordings(number, run_ids), on_answer, text="Deleting…")

    def change_settings(self, settings: LibrarySettings) -> None:
        """Change the library's limits; what they no longer allow is deleted at once."""
        self._ask(
            lambda number: ChangeLibrary(number, settings),
            lambda answer: self._tell(answer, "the library's limits are changed"),
            text="Changing limits…",
        )

    def export(self, recording: str, kind: ExportFormat, out: str) -> None:
        """Write a recording in another format."""
        self._ask(
            lambda number: ExportRecording(number, recording, kind, out),
            lambda answer: self._tell(answer, f"exported to {out}"),
            text="Exporting…",
        )

    def write_report(self, recordings: tuple[str, ...], out: str) -> None:
        """Write an HTML file about some recordings."""
        self._ask(
            lambda number: WriteReport(number, recordings, out),
            lambda answer: self._tell(answer, f"report written to {out}"),
            text="Writing the report…",
        )

    def import_paths(self, paths: tuple[str, ...], callback: Callback | None = None) -> None:
        """Make recordings of other tools' files or folders."""

        def on_answer(answer: Answer) -> None:
            self._tell(answer, "imported: it is in the library now")
            if callback is not None:
                callback(answer)

        self._ask(lambda number: ImportRecordings(number, paths), on_answer, text="Importing…")

    def _tell(self, answer: Answer, text: str) -> None:
        if answer.fault is None:
            self.said.emit(text)
