"""Drives a real window, with a real engine and cluster, from code; the window benches use it."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from PySide6.QtCore import QEventLoop, QTimer
from PySide6.QtWidgets import QApplication

from raydash.core.messages import StartRun
from raydash.core.spec import ClusterSpec, RunSpec
from raydash.link.engine_process import EngineProcess
from raydash.link.session import Session
from raydash.link.store import RunStore
from raydash.ui.frame.main_window import MainWindow
from raydash.ui.kit.theme import Appearance, apply

TIMEOUT_S = 120.0
FOREIGN_ID = 1_000_000  # a command id that the session will not reach with its own


class WindowDriver:
    """Opens one window and clicks and waits in place of a user.

    Attributes:
        window: The window, which is offscreen if there is no display.
        session: The window's session.
    """

    def __init__(self) -> None:
        application = QApplication.instance() or QApplication(["raydash bench"])
        assert isinstance(application, QApplication)
        application.setQuitOnLastWindowClosed(False)
        self._application = application
        self.open()

    def open(self) -> None:
        """Open a window with a new engine."""
        engine = EngineProcess(time.monotonic)
        self.session = Session(engine, time.monotonic)
        self.session.start()
        self.session.connect_cluster(ClusterSpec())
        self.window = MainWindow(self.session, apply(self._application, Appearance.DARK))
        self.window.resize(1500, 900)
        self.window.show()

    def leave(self) -> None:
        """Drop the window without stopping its runs, as if it had been killed."""
        gone = [False]
        self.session.finished.connect(lambda: gone.__setitem__(0, True))
        self.window.clock.stop()
        self.window.hide()
        self.session.shut_down()
        self.wait(lambda: gone[0])
        # Otherwise every later window would be styled and served together with all earlier ones.
        self.window.deleteLater()
        self.session.deleteLater()

    def close(self) -> None:
        """Stop the runs and close the window."""
        gone = [False]
        self.window.closed.connect(lambda: gone.__setitem__(0, True))
        self.window.stop_and_close()
        self.wait(lambda: gone[0])

    def start(self, spec: RunSpec, *, simulated: bool = False) -> RunStore:
        """Start a run, and return it once all its workers step."""
        if simulated:
            self.wait(lambda: self.session.is_connected)
            self.session.engine.send(StartRun(FOREIGN_ID, spec, simulated=True))
            self.wait(lambda: self.session.store.shown is not None)
            # Closing the window stops only its own runs, and the session did not start this one.
            self.session.own_runs.ids.add(self.session.store.shown_run_id)
        else:
            self.session.own_runs.start_when_up(spec)
        wanted = spec.rollout.num_workers or 1
        self.wait(lambda: self.num_in(1, 2) == wanted)
        run = self.session.store.shown
        assert run is not None
        return run

    def num_in(self, *activities: int) -> int:
        """Count the workers on screen that are in one of these activities and have sent data."""
        run = self.session.store.shown
        if run is None or run.latest is None:
            return 0
        workers = run.latest.workers
        return sum(
            activity in activities and age_s == age_s
            for activity, age_s in zip(workers.activity, workers.data_age_s, strict=True)
        )

    def wait(self, condition: Callable[[], object], timeout_s: float = TIMEOUT_S) -> float:
        """Run the event loop until the condition holds, and return the seconds that this took.

        Raises:
            TimeoutError: if it does not hold in time.
        """
        began_s = time.monotonic()
        loop = QEventLoop()
        timer = QTimer()

        def look() -> None:
            if condition() or time.monotonic() - began_s > timeout_s:
                loop.quit()

        timer.timeout.connect(look)
        timer.start(2)
        loop.exec()
        timer.stop()
        if not condition():
            raise TimeoutError(f"nothing after {timeout_s:g} s")
        return time.monotonic() - began_s

    def idle(self, seconds: float) -> None:
        """Run the event loop for a while."""
        end_s = time.monotonic() + seconds
        self.wait(lambda: time.monotonic() >= end_s, seconds + 5)


@contextmanager
def driven_window() -> Iterator[WindowDriver]:
    """Provide a window with private folders; everything is ended and removed afterwards."""
    if not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")
    with tempfile.TemporaryDirectory(prefix="rdb-", dir="/tmp") as folder:
        os.environ["RAYDASH_STATE_DIR"] = f"{folder}/s"
        os.environ["RAYDASH_DATA_DIR"] = f"{folder}/d"
        driver = WindowDriver()
        try:
            yield driver
        finally:
            driver.close()
