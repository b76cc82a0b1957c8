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
from typing import TYPE_CHECKING

from PySide6.QtCore import QByteArray, QSettings, QSize, Qt, QTimer, Signal
from PySide6.QtGui import (
    QAction,
    QCloseEvent,
    QDragEnterEvent,
    QDropEvent,
    QPaintEvent,
    QResizeEvent,
)
from PySide6.QtWidgets import (
    QMainWindow,
    QMenu,
    QMessageBox,
    QSizePolicy,
    QSplitter,
    QStackedWidget,
    QToolBar,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from raydash.core.records import agent_return_name
from raydash.core.spec import ClusterSpec, RunSpec
from raydash.core.states import EndedBy
from raydash.core.trust import untrusted
from raydash.link.pending_commands import STARTING_TEXT, VERB_TEXTS
from raydash.link.session import Session
from raydash.ui.dialogs.close_dialog import CloseDialog
from raydash.ui.dialogs.connect_dialog import ConnectDialog
from raydash.ui.dialogs.env_check_dialog import EnvCheckDialog
from raydash.ui.dialogs.fault_banner import FaultBanner
from raydash.ui.dialogs.trust_dialog import when_trusted
from raydash.ui.form.examples import ExamplesButton
from raydash.ui.form.run_form import RunForm
from raydash.ui.form.spec_files import SpecFiles
from raydash.ui.frame.actions import Actions
from raydash.ui.frame.best_policy import BestPolicyButton
from raydash.ui.frame.bottom_panel import BottomPanel
from raydash.ui.frame.cluster_badge import ClusterBadge
from raydash.ui.frame.drawn import DrawnRuns
from raydash.ui.frame.overview import Overview
from raydash.ui.frame.recording_strip import RecordingStrip
from raydash.ui.frame.status_bar import StatusBar
from raydash.ui.frame.view_controls import ViewControls
from raydash.ui.kit.card import Card
from raydash.ui.kit.draw_clock import DrawClock
from raydash.ui.kit.icons import app_icon
from raydash.ui.kit.settings import settings
from raydash.ui.kit.tall_scroll import TallScroll
from raydash.ui.kit.theme import Appearance, ThemeManager
from raydash.ui.library.page import LibraryPage, can_be_imported
from raydash.ui.plots.shown.detail import DetailFetcher
from raydash.ui.runs.panel import RunsPanel

if TYPE_CHECKING:
    from raydash.ui.compare.page import ComparePage

_GAP = 10
_NARROW = 1500


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
        self._is_closing = False
        self._is_closed = False
        self.clock = DrawClock(self)

        self.form = RunForm(session)
        self.actions_ = Actions(session, self.form, themes, self)
        self.files = SpecFiles(self.form, self)
        self.banner = FaultBanner(session)
        self.overview = Overview()
        self.overview.set_theme(themes.theme)
        self.overview.register_with(self.clock)
        self.examples = ExamplesButton()
        self.best_policy = BestPolicyButton(session.store)
        self.overview.plots.learning.add_corner(self.best_policy)
        self.controls = ViewControls(self.overview, themes)
        self.runs = RunsPanel(session, themes)
        DrawnRuns(session, self.overview, self.runs.numbers, self)
        self.pages = QStackedWidget()
        self._page_buttons: list[QToolButton] = []
        self.library = LibraryPage(session, themes)
        self._compare: ComparePage | None = None
        self.strip = RecordingStrip(session, themes)
        self.clock.register(self.strip)
        plots = self.overview.plots
        DetailFetcher(session, plots.scope, lambda: plots.width_px, self)
        self.bottom = BottomPanel(session, themes, self.clock)
        self.env_check = EnvCheckDialog(session, self)
        self.badge = ClusterBadge(session, themes)
        self.status = StatusBar(session, self.clock)
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
        form_card = Card("Run")
        form_card.add_corner(self.examples)
        # Texts about mistakes can make the form taller than the window may become.
        scroll = TallScroll(self.form, min_height=120)
        form_card.body.addWidget(scroll)
        left = QWidget()
        column = QVBoxLayout(left)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(_GAP)
        column.addWidget(form_card)
        column.addWidget(self.runs, 1)
        form_card.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        left.setMinimumWidth(250)

        self._top = self._splitter(Qt.Orientation.Horizontal, left, self.overview, sizes=[284, 980])
        self._whole = self._splitter(
            Qt.Orientation.Vertical, self._top, self.bottom, sizes=[420, 220]
        )
        run_view = QWidget()
        run_rows = QVBoxLayout(run_view)
        run_rows.setContentsMargins(0, 0, 0, 0)
        run_rows.setSpacing(_GAP)
        run_rows.addWidget(self.strip)
        run_rows.addWidget(self.overview.tiles)
        run_rows.addWidget(self._whole, 1)
        centre = QWidget()
        rows = QVBoxLayout(centre)
        rows.setContentsMargins(12, 2, 12, 4)
        rows.setSpacing(_GAP)
        rows.addWidget(self.banner)
        rows.addWidget(self.pages, 1)
        self.run_view = run_view
        self.pages.addWidget(run_view)
        self.pages.addWidget(self.library)
        outer = QWidget()
        frame = QVBoxLayout(outer)
        frame.setContentsMargins(0, 0, 0, 0)
        frame.setSpacing(0)
        frame.addWidget(centre, 1)
        frame.addWidget(self.status)
        self.setCentralWidget(outer)
        self.addToolBar(self._tool_bar())

    def _splitter(
        self, orientation: Qt.Orientation, first: QWidget, second: QWidget, *, sizes: list[int]
    ) -> QSplitter:
        splitter = QSplitter(orientation)
        splitter.setHandleWidth(_GAP)
        splitter.setChildrenCollapsible(False)
        splitter.addWidget(first)
        splitter.addWidget(second)
        is_row = orientation == Qt.Orientation.Horizontal
        splitter.setStretchFactor(0, 0 if is_row else 3)
        splitter.setStretchFactor(1, 1)
        splitter.setSizes(sizes)
        return splitter

    def _tool_bar(self) -> QToolBar:
        bar = QToolBar("Run")
        bar.setObjectName("tool_bar")
        bar.setMovable(False)
        bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
        bar.setIconSize(QSize(16, 16))
        bar.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        for action, longest in (
            (self.actions_.start, STARTING_TEXT),
            *((action, VERB_TEXTS[verb]) for verb, action in self.actions_.verbs.items()),
        ):
            bar.addAction(action)
            button = bar.widgetForAction(action)
            assert button is not None
            button.setObjectName(action.objectName().replace("action_", "button_"))
            button.setAccessibleName(action.text())
            # As wide as its longest text, so that nothing moves under the mouse.
            button.setMinimumWidth(button.fontMetrics().horizontalAdvance(longest) + 36)
            if action is self.actions_.start:
                button.setProperty("primary", True)
        bar.addSeparator()
        bar.addWidget(self.controls)
        bar.addSeparator()
        for action in (self.actions_.library, self.actions_.compare):
            bar.addAction(action)
            button = bar.widgetForAction(action)
            assert button is not None
            button.setObjectName(action.objectName().replace("action_", "button_"))
            button.setAccessibleName(action.text())
            assert isinstance(button, QToolButton)
            self._page_buttons.append(button)
        bar.addWidget(self.badge)
        bar.addWidget(self._menu_button())
        return bar

    def _menu_button(self) -> QToolButton:
        acts = self.actions_
        menu = QMenu(self)
        menu.setToolTipsVisible(True)
        menu.addAction(acts.open_spec)
        recent = menu.addMenu("Recent specs")
        recent.setToolTipsVisible(True)
        recent.aboutToShow.connect(lambda: self.files.fill_recent(recent))
        menu.addAction(acts.save_spec)
        menu.addAction(acts.copy_command)
        menu.addAction(acts.check_env)
        menu.addSeparator()
        menu.addActions([acts.attach, acts.local, acts.relaunch])
        menu.addSeparator()
        menu.addMenu("Appearance").addActions(acts.appearance.actions())
        menu.addSeparator()
        menu.addAction(acts.quit)
        self.addActions(menu.actions())
        button = QToolButton()
        button.setObjectName("menu_button")
        button.setText("☰")
        button.setAccessibleName("Menu")
        button.setToolTip("Specs, cluster, appearance")
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextOnly)
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        button.setMenu(menu)
        return button

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
        acts.library.triggered.connect(self._on_library)
        acts.compare.triggered.connect(self._on_compare)
        self.pages.currentChanged.connect(self._on_page)
        self.library.compare_requested.connect(self.compare)
        self.library.run_again_requested.connect(self.fill_form)
        self.runs.list_actions.run_again_requested.connect(self.fill_form)
        self.runs.list_actions.compare_requested.connect(self.compare)
        self.runs.list_actions.report_requested.connect(self.library.ask_report_of)
        self.library.said.connect(self.status.say)
        session.library.shown.connect(self.show_run_view)
        session.own_runs.started.connect(self.show_run_view)
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
        session.own_runs.settled.connect(self._on_runs_settled)
        session.finished.connect(self._on_session_finished)
        session.store.shown_run_changed.connect(self._refresh_title)
        session.store.run_state_changed.connect(self._refresh_title)

    def _refresh_title(self) -> None:
        run = self._session.store.shown
        name = run.name if run and run.spec else ""
        self.setWindowTitle(f"{name} – raydash" if name else "raydash")

    def fill_form(self, spec: RunSpec) -> None:
        """Put a run's spec into the form, to be changed and started; start nothing."""
        self.show_run_view()
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

    # --- pages --------------------------------------------------------------------------------

    def show_run_view(self) -> None:
        """Go to the page of the shown run, live or recorded."""
        self.pages.setCurrentWidget(self.run_view)

    def show_library(self) -> None:
        """Go to the page of all recordings."""
        self.pages.setCurrentWidget(self.library)

    def compare(self, run_ids: tuple[str, ...]) -> None:
        """Go to the compare page with these runs."""
        page = self._compare_page()
        recorded = {run_id: self._session.store.recorded(run_id) for run_id in run_ids}
        titles = {run_id: run.title for run_id, run in recorded.items() if run is not None}
        for run_id in run_ids:
            self._session.library.load(run_id)
        page.set_runs(run_ids, titles)
        self.pages.setCurrentWidget(page)

    def _compare_page(self) -> "ComparePage":
        if self._compare is None:
            # Imported only when it is needed, for it needs pyqtgraph.
            from raydash.ui.compare.page import ComparePage

            page = ComparePage(self._session, self._themes, self.runs.numbers)
            page.register_with(self.clock)
            page.run_again_requested.connect(self.fill_form)
            page.report_requested.connect(self.library.ask_report_of)
            page.closed.connect(self.show_library)
            layout = page.layout()
            if layout is not None:
                layout.setContentsMargins(0, 4, 0, 6)  # the window has margins of its own
            self.pages.addWidget(page)
            self._compare = page
        return self._compare

    def _on_library(self) -> None:
        if self.pages.currentWidget() is self.library:
            self.show_run_view()
        else:
            self.show_library()
        self._on_page()

    def _on_compare(self) -> None:
        if self._compare is None:
            self.show_library()
            self.status.say("select two runs or more, then press Compare")
        elif self.pages.currentWidget() is self._compare:
            self.show_run_view()
        else:
            self.pages.setCurrentWidget(self._compare)
        self._on_page()

    def _on_page(self) -> None:
        page = self.pages.currentWidget()
        self.actions_.library.setChecked(page is self.library)
        self.actions_.compare.setChecked(page is self._compare)
        self.controls.setEnabled(page is self.run_view)

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
        box = QMessageBox(self)
        box.setObjectName("switch_cluster_dialog")
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.setWindowTitle("Another cluster")
        box.setText(f"{path.name} is meant for the cluster at {wanted.address}.")
        box.setInformativeText("Attach to it? Runs on the cluster that is up now go on there.")
        box.addButton("Stay here", QMessageBox.ButtonRole.RejectRole)
        attach = box.addButton("Attach", QMessageBox.ButtonRole.AcceptRole)
        attach.setObjectName("switch_cluster_attach")
        attach.clicked.connect(lambda: self._session.connect_cluster(wanted))
        box.open()

    def _on_appearance(self, action: QAction) -> None:
        self._themes.set_appearance(action.data())
        settings().setValue("appearance", Appearance(action.data()).value)

    # --- closing ------------------------------------------------------------------------------

    @override
    def closeEvent(self, event: QCloseEvent) -> None:
        """Ask if something would be lost; otherwise shut down in order, without blocking."""
        if self._is_closed:
            event.accept()
            return
        event.ignore()
        if self._is_closing:
            return
        at_stake = self._session.own_runs.at_stake()
        if not at_stake:
            self._leave()
            return
        names = tuple(self._name_of(run_id) for run_id in at_stake)
        dialog = CloseDialog(names, self)
        dialog.stop_chosen.connect(self.stop_and_close)
        dialog.keep_chosen.connect(self._keep_and_close)
        dialog.open()

    def stop_and_close(self, ended_by: EndedBy = EndedBy.USER) -> None:
        """Stop the runs that this window started, then close."""
        if self._is_closing:
            return
        self._begin_to_close()
        self.status.say("stopping the runs of this window…")
        self._session.own_runs.stop(ended_by)

    def _keep_and_close(self) -> None:
        self._begin_to_close()
        self._session.own_runs.keep()

    def _name_of(self, run_id: str) -> str:
        run = self._session.store.runs.get(run_id)
        return (run.spec.name or run.spec.env.id) if run and run.spec else run_id

    def _on_runs_settled(self) -> None:
        if self._is_closing:
            self._leave()

    def _begin_to_close(self) -> None:
        self._is_closing = True
        self._save()
        self.leaving.emit()

    def _leave(self) -> None:
        if not self._is_closing:
            self._begin_to_close()
        self.clock.stop()
        self._session.shut_down()

    def _on_session_finished(self) -> None:
        # Later, because Qt ignores another close while it handles a close event.
        QTimer.singleShot(0, self._close_for_good)

    def _close_for_good(self) -> None:
        self._is_closed = True
        self.close()
        self.closed.emit()

    # --- remembered ---------------------------------------------------------------------------

    def _save(self) -> None:
        store = settings()
        store.setValue("window/geometry", self.saveGeometry())
        store.setValue("window/top", self._top.saveState())
        store.setValue("window/whole", self._whole.saveState())
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
            self._top.restoreState(top)
        if whole := _bytes(store, "window/whole"):
            self._whole.restoreState(whole)

    # --- events -------------------------------------------------------------------------------

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Drop the page buttons' names in a narrow window: the cluster's text needs the room."""
        super().resizeEvent(event)
        narrow = self.width() < _NARROW
        styles = Qt.ToolButtonStyle
        style = styles.ToolButtonIconOnly if narrow else styles.ToolButtonTextBesideIcon
        for button in self._page_buttons:
            button.setToolButtonStyle(style)

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
            self.show_run_view()
            self.files.read(path)
        elif runs:
            event.acceptProposedAction()
            self.show_library()
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
