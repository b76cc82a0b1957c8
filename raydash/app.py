"""Puts the window together and runs it. Never imports ray, gymnasium or duckdb, to open fast."""

import contextlib
import signal
import socket
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QObject, QSocketNotifier, QTimer
from PySide6.QtWidgets import QApplication

from raydash.child_process import ENGINE_COMMAND
from raydash.core.messages import ClusterStatus
from raydash.core.spec import ClusterSpec, RunSpec
from raydash.core.states import ClusterPhase, EndedBy, EngineState
from raydash.link.engine_process import EngineProcess
from raydash.link.session import Session
from raydash.terminal.commands.display import why_no_window
from raydash.terminal.commands.options import source_dirs
from raydash.ui.frame.main_window import MainWindow
from raydash.ui.kit.garbage import GarbageCollector
from raydash.ui.kit.settings import remember_spec, settings
from raydash.ui.kit.theme import Appearance, ThemeManager, apply
from raydash.version import __version__

EXIT_FAILED, EXIT_INTERRUPTED = 3, 130


def run_window(
    *,
    spec: RunSpec | None,
    spec_path: Path | None,
    start: bool,
    address: str | None,
    recordings: Sequence[str] = (),
    show_library: bool = False,
    quit_after_s: float | None = None,
    screenshot: Path | None = None,
    engine_command: Sequence[str] = ENGINE_COMMAND,
    on_first_paint: Callable[[], None] | None = None,
) -> int:
    """Open the window and run it to its end.

    Args:
        spec: The spec to put into the form; None puts in the default.
        spec_path: The file that the spec was read from, if it was.
        start: Start the spec as a run as soon as the cluster is up.
        address: HOST:PORT to attach to instead of launching; wins over the spec.
        recordings: Recordings to show at once, each by its run's id, a unique beginning of one, or
            a file. Several are compared.
        show_library: Show the page of the library first.
        quit_after_s: Stop this window's runs and quit this long after it was shown.
        screenshot: Where to save a picture of the window just before it quits.
        engine_command: The command that starts the engine; tests and benches give another.
        on_first_paint: Called when the window has been painted for the first time.

    Returns:
        0; 3 if there is no display, or engine or cluster had failed when it quit by itself;
        130 after SIGINT or SIGTERM.
    """
    fault = why_no_window()
    if fault is not None:
        print(f"raydash: {fault.sentence()}", file=sys.stderr)
        return EXIT_FAILED
    app = _application()
    garbage = GarbageCollector(app)

    engine = EngineProcess(time.monotonic, command=engine_command)
    session = Session(engine, time.monotonic, source_dirs=source_dirs(spec_path))
    # Before anything else, so that the engine starts while the window is being built.
    session.start()
    cluster = spec.cluster if spec else ClusterSpec()
    cluster = replace(cluster, address=address) if address else cluster
    _connect(session, cluster, is_needed=start or not recordings)

    window = MainWindow(session, _themes(app))
    _fill_form(window, spec, spec_path)
    if start:
        window.start_when_up(window.form.spec())
    if show_library:
        window.pages.show_library()
    _show_recordings(recordings, window, session)
    if on_first_paint is not None:
        window.painted.connect(on_first_paint)
    exit_code = _run_to_end(app, window, _Ender(app, window, session, screenshot), quit_after_s)
    garbage.stop()
    engine.kill_child()
    return exit_code


def _application() -> QApplication:
    app = QApplication.instance() or QApplication(["raydash"])
    assert isinstance(app, QApplication)
    app.setApplicationName("raydash")
    app.setApplicationVersion(__version__)
    app.setDesktopFileName("raydash")
    app.setQuitOnLastWindowClosed(False)
    return app


def _connect(session: Session, cluster: ClusterSpec, *, is_needed: bool) -> None:
    """Connect, unless a local cluster would be launched that nothing needs, such as a recording."""
    if is_needed or cluster.address is not None:
        session.connect_cluster(cluster)
    else:
        session.plan_cluster(cluster)
        join_if_live(session)


def join_if_live(session: Session) -> None:
    """Once a recording is shown that is still written, join the cluster and follow its run."""

    def on_shown(run_id: str) -> None:
        run = session.store.runs.get(run_id)
        if run is None or not run.is_recording or run.ended[0] is not None:
            return
        if session.can_connect:
            session.connect_cluster(session.cluster_spec)
            session.store.runs_changed.connect(on_listed)

    def on_listed() -> None:
        run_id = session.store.shown_run_id
        if session.is_connected and session.library.is_live(run_id):
            session.store.runs_changed.disconnect(on_listed)
            session.library.close(run_id)  # the run itself takes the place of its file
            session.show_run(run_id)

    session.library.shown.connect(on_shown)


def _fill_form(window: MainWindow, spec: RunSpec | None, spec_path: Path | None) -> None:
    if spec is not None:
        window.form.set_spec(spec)
    if spec_path is not None:
        remember_spec(spec_path)


def _show_recordings(recordings: Sequence[str], window: MainWindow, session: Session) -> None:
    """Open the only one; go to the library with several, and compare them."""
    if len(recordings) == 1:
        session.library.open_when_ready(recordings[0])
    elif recordings:
        window.pages.show_library()
        _compare_when_listed(window, session, recordings)


def _compare_when_listed(window: MainWindow, session: Session, recordings: Sequence[str]) -> None:
    """Compare recordings as soon as the library is listed, in which their names are looked up."""
    store = session.store

    def compare() -> None:
        store.library_changed.disconnect(compare)
        runs = store.library.runs if store.library else ()
        found = [
            run.run_id
            for name in recordings
            for run in runs
            if run.run_id.startswith(name) or run.path == str(Path(name).absolute())
        ]
        window.pages.compare(tuple(dict.fromkeys(found)))

    store.library_changed.connect(compare)


def _themes(app: QApplication) -> ThemeManager:
    stored = str(settings().value("appearance") or "")
    known = stored in {appearance.value for appearance in Appearance}
    return apply(app, Appearance(stored) if known else Appearance.SYSTEM)


class _Ender(QObject):
    """Closes the window in good order, for every reason to close it, and keeps the exit code."""

    def __init__(
        self, app: QApplication, window: MainWindow, session: Session, screenshot: Path | None
    ) -> None:
        super().__init__(app)
        self.exit_code = 0
        self._app = app
        self._window = window
        self._session = session
        self._screenshot = screenshot
        self._was_signalled = False
        window.leaving.connect(self._take_screenshot)
        window.closed.connect(app.quit)

    def on_time_up(self) -> None:
        """Stop the runs and close the window, because `quit_after_s` is over."""
        cluster = self._session.store.cluster
        if self._failure(cluster):
            self.exit_code = EXIT_FAILED
            if cluster.fault is not None:
                print(f"raydash: {cluster.fault.sentence()}", file=sys.stderr)
        self._window.stop_and_close()

    def on_signal(self) -> None:
        """Close the window for a signal: in good order the first time, at once the second."""
        self.exit_code = EXIT_INTERRUPTED
        if self._was_signalled:
            self._app.quit()
        self._was_signalled = True
        self._window.stop_and_close(EndedBy.SIGNAL)

    def _failure(self, cluster: ClusterStatus) -> bool:
        gone = (ClusterPhase.FAILED, ClusterPhase.LOST)
        return self._session.engine.state is EngineState.FAILED or cluster.phase in gone

    def _take_screenshot(self) -> None:
        if self._screenshot is None:
            return
        path, self._screenshot = self._screenshot, None
        with contextlib.suppress(OSError):  # saving fails below then, which is reported
            path.parent.mkdir(parents=True, exist_ok=True)
        if not self._window.grab().save(str(path)):
            print(f"raydash: no picture could be saved as {path}", file=sys.stderr)
            self.exit_code = self.exit_code or EXIT_FAILED


def _run_to_end(
    app: QApplication, window: MainWindow, ender: _Ender, quit_after_s: float | None
) -> int:
    """Show the window until it has closed; gives the exit code."""
    window.show()
    if quit_after_s is not None:
        QTimer.singleShot(round(quit_after_s * 1000), ender.on_time_up)
    with _Signals(ender.on_signal):
        app.exec()
    return ender.exit_code


class _Signals:
    """Turns SIGINT and SIGTERM into a call on Qt's event loop, which a handler cannot interrupt."""

    def __init__(self, slot: Callable[[], None]) -> None:
        self._slot = slot
        self._reader, self._writer = socket.socketpair()
        self._reader.setblocking(False)
        self._writer.setblocking(False)

    def __enter__(self) -> None:
        self._old_fd = signal.set_wakeup_fd(self._writer.fileno())
        self._old = {
            number: signal.signal(number, lambda *_: None)
            for number in (signal.SIGINT, signal.SIGTERM)
        }
        self._notifier = QSocketNotifier(self._reader.fileno(), QSocketNotifier.Type.Read)
        self._notifier.activated.connect(self._on_wakeup)

    def __exit__(self, *_: object) -> None:
        self._notifier.setEnabled(False)
        signal.set_wakeup_fd(self._old_fd)
        for number, handler in self._old.items():
            signal.signal(number, handler)
        self._reader.close()
        self._writer.close()

    def _on_wakeup(self) -> None:
        numbers = self._reader.recv(64)
        if signal.SIGINT in numbers or signal.SIGTERM in numbers:
            self._slot()
