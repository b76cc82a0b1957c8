"""The window's side of the library: it sends commands about recordings and knows which are open.

QtCore only. The results are in the `store`: the library itself as `store.library`, and each opened
recording as a run among the others (`RunStore.is_recording`).
"""

from collections.abc import Callable

from PySide6.QtCore import QObject, Signal

from raydash.core.library import ExportFormat, LibrarySettings, Notes
from raydash.core.messages import (
    Answer,
    ChangeLibrary,
    DeleteRecordings,
    EditNotes,
    ExportRecording,
    ImportRecordings,
    ListRecordings,
    OpenRecording,
    QueryHistory,
    WriteReport,
)
from raydash.core.states import EngineState
from raydash.core.words import numbers
from raydash.link.pending_commands import Ask, Callback
from raydash.link.store import Store


class LibraryClient(QObject):
    """Asks the engine about recordings, for one window.

    Attributes:
        opened: Ids of the recordings that the user opened, oldest first.

    Signals:
        opened_changed: `opened` has another value.
        shown(run_id): A recording, or a live run, that the user opened is on screen.
        said(str): A line for the user about what was done.
    """

    opened_changed = Signal()
    shown = Signal(str)
    said = Signal(str)

    def __init__(
        self, store: Store, ask: Ask, attach: Callable[[str, Callback], None], parent: QObject
    ) -> None:
        """Prepare for a session; `attach` begins to read a live run, then calls back."""
        super().__init__(parent)
        self.opened: tuple[str, ...] = ()
        self._store = store
        self._ask = ask
        self._attach = attach
        self._is_subscribed = False
        self._recording_to_open = ""
        self._scrub_pending = False
        self._next_scrub: tuple[str, float | None] | None = None

    # --- the list -----------------------------------------------------------------------------

    def watch(self) -> None:
        """Ask for the library; from then on it is kept up to date, by later engines too."""
        if not self._is_subscribed:
            self._is_subscribed = True
            self._request_list()

    def on_engine_ready(self) -> None:
        """Ask a new engine for the library if it is watched, and for a recording to be opened."""
        if self._is_subscribed:
            self._request_list()
        recording, self._recording_to_open = self._recording_to_open, ""
        if recording:
            self.open(recording)

    def open_when_ready(self, recording: str) -> None:
        """Show a recording as soon as there is an engine."""
        self._recording_to_open = recording
        if self._store.engine_state is EngineState.READY:
            self.on_engine_ready()

    def _request_list(self) -> None:
        def on_answer(answer: Answer) -> None:
            # If there is no engine yet, `on_engine_ready` asks the next one.
            if answer.fault is not None and self._store.engine_state is not EngineState.READY:
                return
            if answer.fault is not None:
                self._is_subscribed = False

        quiet = self._store.engine_state is not EngineState.READY
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
            callback: Called with the answer, when `store.runs[answer.run_id]` has the run.
            at_s: The moment to show it at, on the run's clock; None shows its end.
            quiet: Leave it to the callback to show a fault.
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
                self.add_opened(answer.run_id)  # it stays in the list, now as a recording
            if callback is not None:
                callback(answer)

        self._ask(
            lambda number: OpenRecording(number, recording, at_s),
            on_answer,
            text="Opening…",
            quiet=quiet,
        )

    def open(self, recording: str, *, at_s: float | None = None) -> None:
        """Show a recording in the run view, or attach to it if it is a live run of the cluster."""

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
        """Whether a run is live on this window's cluster."""
        return any(run.run_id == run_id for run in self._store.live_runs)

    def add_opened(self, run_id: str) -> None:
        """Add a recording to those that the user has opened."""
        if run_id not in self.opened:
            self.opened = (*self.opened, run_id)
            self.opened_changed.emit()

    def scrub(self, run_id: str, at_s: float | None) -> None:
        """Show an opened recording as it was at `at_s` on its clock; None shows its end.

        At most one request is under way; of those that come meanwhile, only the newest is sent.
        """
        self._next_scrub = (run_id, at_s)
        self._send_next_scrub()

    @property
    def is_scrubbing(self) -> bool:
        """Whether a moment was asked for and is not shown yet."""
        return self._scrub_pending

    def _send_next_scrub(self) -> None:
        if self._scrub_pending or self._next_scrub is None:
            return
        (run_id, at_s), self._next_scrub = self._next_scrub, None
        self._scrub_pending = True

        def on_answer(answer: Answer) -> None:
            self._scrub_pending = False
            if answer.fault is not None:
                self._next_scrub = None
            elif run_id not in self.opened:
                self._store.forget(run_id)  # closed meanwhile
            self._send_next_scrub()

        self._ask(lambda number: OpenRecording(number, run_id, at_s), on_answer)

    def query_history(
        self, run_id: str, start_s: float, end_s: float, num_buckets: int, callback: Callback
    ) -> None:
        """Ask for a part of a run's history; it is the run's `detail` when `callback` is called.

        No fault is shown, because the plot goes on showing the coarser history.
        """
        self._ask(
            lambda number: QueryHistory(number, run_id, start_s, end_s, num_buckets),
            callback,
            quiet=True,
        )

    # --- what is done to recordings -----------------------------------------------------------

    def edit_notes(self, run_id: str, notes: Notes) -> None:
        """Replace what the user wrote about a recording."""
        self._ask(lambda number: EditNotes(number, run_id, notes), text="Saving notes…")

    def delete(self, run_ids: tuple[str, ...], callback: Callback | None = None) -> None:
        """Delete recordings for good; opened ones are closed first."""

        def on_answer(answer: Answer) -> None:
            if answer.fault is None:
                self.said.emit(f"deleted {numbers.plural(len(run_ids), 'recording')}")
            if callback is not None:
                callback(answer)

        for run_id in run_ids:
            self.close(run_id)
        self._ask(lambda number: DeleteRecordings(number, run_ids), on_answer, text="Deleting…")

    def change_settings(self, settings: LibrarySettings) -> None:
        """Change the library's limits; recordings that exceed them are deleted at once."""
        self._ask(
            lambda number: ChangeLibrary(number, settings),
            lambda answer: self._announce(answer, "the library's limits are changed"),
            text="Changing limits…",
        )

    def export(self, recording: str, kind: ExportFormat, out: str) -> None:
        """Write a recording in another format."""
        self._ask(
            lambda number: ExportRecording(number, recording, kind, out),
            lambda answer: self._announce(answer, f"exported to {out}"),
            text="Exporting…",
        )

    def write_report(self, recordings: tuple[str, ...], out: str) -> None:
        """Write an HTML file about some recordings."""
        self._ask(
            lambda number: WriteReport(number, recordings, out),
            lambda answer: self._announce(answer, f"report written to {out}"),
            text="Writing the report…",
        )

    def import_paths(self, paths: tuple[str, ...], callback: Callback | None = None) -> None:
        """Make recordings of other tools' files or folders."""

        def on_answer(answer: Answer) -> None:
            self._announce(answer, "imported: it is in the library now")
            if callback is not None:
                callback(answer)

        self._ask(lambda number: ImportRecordings(number, paths), on_answer, text="Importing…")

    def _announce(self, answer: Answer, text: str) -> None:
        if answer.fault is None:
            self.said.emit(text)
