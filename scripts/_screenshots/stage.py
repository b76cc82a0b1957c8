"""A real window with hands on it: its controls by their names, and pictures of it, light and dark.

A scene is a generator: it does something to the window and yields what to wait for, in words and
as a condition, which is looked at on the window's own event loop.
"""

import time
from collections.abc import Callable, Generator
from pathlib import Path
from typing import TypeVar

from PySide6.QtCore import QObject, QTimer
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QAbstractButton, QApplication, QComboBox, QTabBar

from raydash import app
from raydash.core.events import EventKind
from raydash.core.states import ClusterPhase
from raydash.link.store import RunStore
from raydash.ui.frame.main_window import MainWindow

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "assets" / "examples"
_PATIENCE_S = 180.0
_LOOK_EVERY_MS = 50
_DRAWN_AFTER_S = 1.2

Wait = tuple[str, Callable[[], object]]
Scene = Generator[Wait, None, None]
Found = TypeVar("Found", bound=QObject)


class Stage:
    """The window of a scene."""

    def __init__(self, window: MainWindow) -> None:
        self.window = window
        self.store = window.session.store

    # --- what can be seen ---

    @property
    def run(self) -> RunStore:
        """The run on screen."""
        assert self.store.shown is not None
        return self.store.shown

    def stepped(self, seconds: float, run_id: str = "") -> Wait:
        """A run has stepped for so long; the one on screen unless another is named."""
        run = self.store.runs[run_id] if run_id else self.run

        def condition() -> bool:
            return run.latest is not None and run.latest.figures.elapsed_s >= seconds

        return f"{run.run_id} has stepped for {seconds:g} s", condition

    def over(self) -> Wait:
        """The run on screen has ended, and all is known of it."""
        return "the run is over", lambda: self.run.latest is not None and self.run.latest.last

    def happened(self, kind: EventKind, run_id: str = "") -> Wait:
        """It is among the events of a run; of the one on screen unless another is named."""
        run = self.store.runs[run_id] if run_id else self.run
        return kind.value, lambda: any(event.kind is kind for event in run.events)

    def cluster_up(self) -> Wait:
        """There is a cluster."""
        return "the cluster is up", lambda: self.store.cluster.phase is ClusterPhase.UP

    # --- what can be done ---

    def click(self, name: str) -> None:
        """Click a button."""
        self._find(QAbstractButton, name).click()

    def choose(self, name: str, text: str) -> None:
        """Choose a line of a box."""
        box = self._find(QComboBox, name)
        number = box.findText(text)
        assert number >= 0, f"{name} has no {text}"
        box.setCurrentIndex(number)
        box.activated.emit(number)

    def show_tab(self, bar: str, text: str) -> None:
        """Turn to a tab."""
        tabs = self._find(QTabBar, bar)
        titles = [tabs.tabText(number) for number in range(tabs.count())]
        tabs.setCurrentIndex(titles.index(text))

    def click_in_menu(self, run_id: str, name: str) -> None:
        """Choose from the menu of a run in the list."""
        menu = self.window.runs.list_actions.menu(run_id, self.window.runs.list)
        found = menu.findChild(QAction, name)
        assert found is not None, f"there is no {name}"
        found.trigger()
        menu.deleteLater()

    def choose_policy(self, kind: str) -> None:
        """Type a policy into the form."""
        box = self._find(QComboBox, "form_policy")
        box.setEditText(kind)
        line = box.lineEdit()
        assert line is not None
        line.home(False)

    def start(self, spec: Path | None = None) -> Scene:
        """Open a spec file, if one is given; press Start; wait until the run is on screen."""
        before = self.store.shown_run_id
        if spec is not None:
            self.window.files.read(spec)
        yield "Start can be pressed", self._find(QAbstractButton, "button_start").isEnabled
        self.click("button_start")
        yield (
            "another run is on screen",
            lambda: self.store.shown_run_id != before and self.run.latest is not None,
        )

    def overlay(self, *run_ids: str) -> None:
        """Lay these over the one on screen."""
        for run_id in run_ids:
            self.window.runs.list_actions.overlay(run_id, True)

    def save(self, name: str) -> Scene:
        """Take the picture `assets/NAME-{light,dark}.png`."""
        for appearance in ("light", "dark"):
            self._find(QAction, f"action_appearance_{appearance}").trigger()
            yield from pause(_DRAWN_AFTER_S)
            path = ROOT / "assets" / f"{name}-{appearance}.png"
            path.parent.mkdir(exist_ok=True)
            assert self.window.grab().save(str(path)), f"{path} can't be written"
            print(path, flush=True)

    def _find(self, kind: type[Found], name: str) -> Found:
        found = self.window.findChild(kind, name)
        assert found is not None, f"there is no {name}"
        return found


def pause(seconds: float) -> Scene:
    """Let the window draw what it has."""
    until_s = time.monotonic() + seconds
    yield f"{seconds:g} s", lambda: time.monotonic() >= until_s


class _Player(QObject):
    """Leads a scene through its steps, and closes the window after it."""

    def __init__(self, scene: Callable[[Stage], Scene], window: MainWindow) -> None:
        super().__init__(window)
        self.failure: BaseException | None = None
        self._window = window
        self._steps = scene(Stage(window))
        self._wait: Wait = ("the beginning", lambda: True)
        self._since_s = time.monotonic()
        self._timer = QTimer(self)
        self._timer.timeout.connect(self._look)
        self._timer.start(_LOOK_EVERY_MS)

    def _look(self) -> None:
        what, is_so = self._wait
        try:
            if is_so():
                self._wait = next(self._steps)
                self._since_s = time.monotonic()
            elif time.monotonic() - self._since_s > _PATIENCE_S:
                raise TimeoutError(f"not within {_PATIENCE_S:g} s: {what}")
        except StopIteration:
            self._end()
        except BaseException as error:
            self.failure = error
            self._end()

    def _end(self) -> None:
        self._timer.stop()
        self._window.stop_and_close()


def play(
    scene: Callable[[Stage], Scene],
    *,
    recordings: tuple[str, ...] = (),
    shows_library: bool = False,
) -> int:
    """Open a window, let a scene play in it, and close it; gives the window's exit code.

    Args:
        scene: What is to be done.
        recordings: As of `raydash gui --open`.
        shows_library: As of `raydash gui --library`.

    Raises:
        Exception: what went wrong in the scene.
    """
    players: list[_Player] = []

    def on_paint() -> None:
        window = next(w for w in QApplication.topLevelWidgets() if isinstance(w, MainWindow))
        players.append(_Player(scene, window))

    code = app.run_window(
        spec=None,
        spec_path=EXAMPLES / "actors.toml",  # modules of one's own are looked for beside it
        start=False,
        address=None,
        recordings=recordings,
        show_library=shows_library,
        on_first_paint=on_paint,
    )
    for player in players:
        if player.failure is not None:
            raise player.failure
    return code
