"""The main window: composition only. Run view, library and comparison share its middle.

::

    tool bar: Start Pause Resume Stop Drain | Freeze Range Axis           cluster badge, menu
    fault banner (when there is a fault)
    recording strip (when a recording is shown)
    key figures
    run form  | four plots
    run list  |
    ----------+-------------------------------------------------
    workers, events (tabs)
    status bar
"""

from dataclasses import replace
from pathlib import Path

from PySide6.QtCore import QByteArray, QSettings, Signal
from PySide6.QtGui import (
    QAction,
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import QMainWindow, QVBoxLayout, QWidget
from typing_extensions import override

from raydash.core.records import agent_return_name
from raydash.core.spec import ClusterSpec, RunSpec
from raydash.core.states import EndedBy
from raydash.core.trust import untrusted
from raydash.link.session import Session
from raydash.ui.dialogs.connect_dialog import ConnectDialog, ask_to_switch
from raydash.ui.dialogs.env_check_dialog import EnvCheckDialog
from raydash.ui.dialogs.fault_banner import FaultBanner
from raydash.ui.dialogs.trust_dialog import when_trusted
from raydash.ui.form.examples import ExamplesButton
from raydash.ui.form.run_form import RunForm
from raydash.ui.form.spec_files import SpecFiles
from raydash.ui.frame.actions import Actions
from raydash.ui.frame.bars.cluster_badge import ClusterBadge
from raydash.ui.frame.bars.recording_strip import RecordingStrip
from raydash.ui.frame.bars.status_bar import StatusBar
from raydash.ui.frame.bars.tool_bar import ToolBar
from raydash.ui.frame.bars.view_controls import ViewControls
from raydash.ui.frame.best_policy import BestPolicyButton
from raydash.ui.frame.bottom_panel import BottomPanel
from raydash.ui.frame.closing import Closing
from raydash.ui.frame.drawn import DrawnRuns
from raydash.ui.frame.overview import Overview
from raydash.ui.frame.pages import Pages
from raydash.ui.frame.run_view import RunView
from raydash.ui.kit.draw_clock import DrawClock
from raydash.ui.kit.glyphs import app_icon
from raydash.ui.kit.settings import settings
from raydash.ui.kit.theme import Appearance, ThemeManager
from raydash.ui.library.page import can_be_imported
from raydash.ui.plots.shown.detail import DetailFetcher
from raydash.ui.runs.panel import RunsPanel

_GAP = 10
_NARROW_PX = 1500


class MainWindow(QMainWindow):
    """The window of one session.

    Signals:
        painted: The window was painted for the first time.
        leaving: It is about to stop its runs and close, and still looks as the user left it.
        closed: It has closed in order; nothing of it is left running.
    """

    painted = Signal()
    leaving = Signal()
    closed = Signal()

    def __init__(self, session: Session, themes: ThemeManager) -> None:
        super().__init__()
        self.setObjectName("main_window")
        self.setWindowTitle("raydash")
        self.setWindowIcon(app_icon())
        self.setAcceptDrops(True)
        self.setMinimumSize(1080, 680)
        self._session = session
        self._themes = themes
        self._was_painted = False
        self.clock = DrawClock(self)

        self.form = RunForm(session)
        self.actions_ = Actions(session, self.form, themes, self)
        self.files = SpecFiles(self.form, self)
        self.banner = FaultBanner(session)
        self.overview = Overview()
        self.overview.set_theme(themes.theme)
        self.overview.register_with(self.clock)
        plots = self.overview.plots
        self.best_policy = BestPolicyButton(session.store)
        plots.learning.add_corner(self.best_policy)
        self.examples = ExamplesButton()
        self.controls = ViewControls(self.overview, themes)
        self.runs = RunsPanel(session, themes)
        DrawnRuns(session, self.overview, self.runs.numbers, self)
        DetailFetcher(session, plots.scope, lambda: plots.width_px, self)
        self.strip = RecordingStrip(session, themes)
        self.clock.register(self.strip)
        self.bottom = BottomPanel(session, themes, self.clock)
        self.run_view = RunView(
            *(self.form, self.examples, self.runs),
            *(self.strip, self.overview, self.bottom),
        )
        self.pages = Pages(
            session, themes, self.clock, self.runs.numbers, self.actions_, self.run_view
        )
        self.library = self.pages.library
        self.env_check = EnvCheckDialog(session, self)
        self.badge = ClusterBadge(session, themes)
        self.bar = ToolBar(self.actions_, self.controls, self.badge, self.files, self)
        self.status = StatusBar(session, self.clock)
        self._closing = Closing(session, self)
        self._compose()
        self._connect()
        self._restore()
        self.clock.start()

    # --- composition --------------------------------------------------------------------------

    @property
    def session(self) -> Session:
        """The session whose runs the window shows and commands."""
        return self._session

    def _compose(self) -> None:
        centre = QWidget()
        rows = QVBoxLayout(centre)
        rows.setContentsMargins(12, 2, 12, 4)
        rows.setSpacing(_GAP)
        rows.addWidget(self.banner)
        rows.addWidget(self.pages, 1)
        outer = QWidget()
        frame = QVBoxLayout(outer)
        frame.setContentsMargins(0, 0, 0, 0)
        frame.setSpacing(0)
        frame.addWidget(centre, 1)
        frame.addWidget(self.status)
        self.setCentralWidget(outer)
        self.addToolBar(self.bar)
        self.addActions(self.bar.menu.actions())

    def _connect(self) -> None:
        acts, session = self.actions_, self._session
        acts.open_spec.triggered.connect(self.files.ask_open)
        acts.save_spec.triggered.connect(self.files.ask_save)
        acts.copy_command.triggered.connect(self.files.copy_command)
        acts.check_env.triggered.connect(self._check_env)
        self.env_check.again_requested.connect(self._check_env)
        self.env_check.failed.connect(self.form.mark_fault)
        self.env_check.said.connect(self.status.say)
        acts.attach.triggered.connect(self.ask_address)
        acts.local.triggered.connect(lambda: session.connect_cluster(ClusterSpec()))
        acts.relaunch.triggered.connect(session.relaunch)
        acts.quit.triggered.connect(self.close)
        acts.appearance.triggered.connect(self._on_appearance)
        self.files.failed.connect(self.banner.show_fault)
        self.files.said.connect(self.status.say)
        self.files.opened.connect(self._offer_cluster)
        self.pages.currentChanged.connect(self._on_page)
        self.pages.run_again_requested.connect(self.fill_form)
        self.pages.said.connect(self.status.say)
        self.runs.list_actions.run_again_requested.connect(self.fill_form)
        self.runs.list_actions.compare_requested.connect(self.pages.compare)
        self.runs.list_actions.report_requested.connect(self.library.ask_report_of)
        self.strip.run_again_requested.connect(self.fill_form)
        self.examples.chosen.connect(self.fill_form)
        self.best_policy.run_requested.connect(self.fill_form)
        self.best_policy.said.connect(self.status.say)
        session.library.said.connect(self.status.say)
        self.banner.relaunch_requested.connect(session.relaunch)
        self.banner.start_again_requested.connect(self._start_again)
        self.bottom.agents.chosen.connect(
            lambda agent: self.overview.plots.episode_return.show_metric(agent_return_name(agent))
        )
        self.bottom.workers.selection_changed.connect(
            lambda workers: self.overview.set_selected_workers(list(workers))
        )
        self._themes.changed.connect(self.overview.set_theme)
        self._closing.leaving.connect(self._on_leaving)
        self._closing.shutting_down.connect(self.clock.stop)
        self._closing.closed.connect(self.closed)
        self._closing.said.connect(self.status.say)
        session.store.shown_run_changed.connect(self._refresh_title)
        session.store.run_state_changed.connect(self._refresh_title)

    def _refresh_title(self) -> None:
        run = self._session.store.shown
        name = run.name if run and run.spec else ""
        self.setWindowTitle(f"{name} – raydash" if name else "raydash")

    def fill_form(self, spec: RunSpec) -> None:
        """Put a run's spec into the form, to be changed and started; start nothing."""
        self.pages.show_run_view()
        self.form.set_spec(spec)
        self.form.setFocus()
        self.status.say(f"the form has the spec of {spec.name or spec.env.id}: press Start")

    def _start_again(self, spec: RunSpec) -> None:
        """Launch a new cluster, and start a run on it like the interrupted one."""
        self.fill_form(spec)
        self._session.relaunch()
        self.start_when_up(spec)

    def start_when_up(self, spec: RunSpec) -> None:
        """Start a run as soon as the cluster is up, if its policy may be loaded."""
        when_trusted(
            untrusted(spec.policy),
            lambda policy: self._session.own_runs.start_when_up(replace(spec, policy=policy)),
            self,
        )

    def _on_page(self) -> None:
        self.controls.setEnabled(self.pages.currentWidget() is self.run_view)

    def _check_env(self) -> None:
        """Check the environment that the form has now."""
        action = self.actions_.check_env
        if action.isEnabled():
            self.env_check.check(self.form.checkable_spec())
        else:
            self.status.say(action.statusTip())

    def ask_address(self) -> None:
        """Ask for the address of a cluster to attach to."""
        dialog = ConnectDialog(self._session.cluster_spec, self)
        dialog.chosen.connect(self._session.connect_cluster)
        dialog.open()

    def _offer_cluster(self, path: Path) -> None:
        """Ask before switching to the cluster that an opened spec names."""
        wanted = self.form.spec().cluster
        if wanted.address is None or wanted.address == self._session.cluster_spec.address:
            return
        ask_to_switch(
            path, wanted.address, lambda: self._session.connect_cluster(wanted), parent=self
        )

    def _on_appearance(self, action: QAction) -> None:
        self._themes.set_appearance(action.data())
        settings().setValue("appearance", Appearance(action.data()).value)

    # --- closing ------------------------------------------------------------------------------

    @override
    def closeEvent(self, event: QCloseEvent) -> None:
        """Ask if something would be lost; otherwise shut down in order, without blocking."""
        self._closing.on_close_event(event)

    def stop_and_close(self, ended_by: EndedBy = EndedBy.USER) -> None:
        """Stop the runs that this window started, then close."""
        self._closing.stop_runs(ended_by)

    def _on_leaving(self) -> None:
        self._save()
        self.leaving.emit()

    # --- remembered ---------------------------------------------------------------------------

    def _save(self) -> None:
        store = settings()
        store.setValue("window/geometry", self.saveGeometry())
        store.setValue("window/top", self.run_view.upper.saveState())
        store.setValue("window/whole", self.run_view.whole.saveState())
        self.bottom.workers.save_header()
        store.sync()

    def _restore(self) -> None:
        store = settings()
        for action in self.actions_.appearance.actions():
            action.setChecked(action.data() == self._themes.appearance)
        self.resize(1440, 900)
        if geometry := _bytes(store, "window/geometry"):
            self.restoreGeometry(geometry)
        if top := _bytes(store, "window/top"):
            self.run_view.upper.restoreState(top)
        if whole := _bytes(store, "window/whole"):
            self.run_view.whole.restoreState(whole)

    # --- events -------------------------------------------------------------------------------

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Let the tool bar fit into the width."""
        super().resizeEvent(event)
        self.bar.set_narrow(self.width() < _NARROW_PX)

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Tell when the window is first seen."""
        super().paintEvent(event)
        if not self._was_painted:
            self._was_painted = True
            self.painted.emit()

    @override
    def dragEnterEvent(self, event: QDragEnterEvent) -> None:
        """Accept TOML files, and runs of other tools."""
        if _dropped_toml(event) is not None or _dropped_runs(event):
            event.acceptProposedAction()

    @override
    def dropEvent(self, event: QDropEvent) -> None:
        """Open the dropped spec, or import the dropped runs into the library."""
        path, runs = _dropped_toml(event), _dropped_runs(event)
        if path is not None:
            event.acceptProposedAction()
            self.pages.show_run_view()
            self.files.read(path)
        elif runs:
            event.acceptProposedAction()
            self.pages.show_library()
            self.library.import_paths(runs)


def _bytes(store: QSettings, key: str) -> QByteArray | None:
    value = store.value(key)
    return value if isinstance(value, QByteArray) else None


def _dropped(event: QDropEvent) -> list[Path]:
    return [Path(url.toLocalFile()) for url in event.mimeData().urls() if url.isLocalFile()]


def _dropped_toml(event: QDropEvent) -> Path | None:
    return next((path for path in _dropped(event) if path.suffix == ".toml"), None)


def _dropped_runs(event: QDropEvent) -> tuple[str, ...]:
    return tuple(str(path) for path in _dropped(event) if can_be_imported(path))
