"""What can be done to a run of the list, whether it is on screen or not."""

from functools import partial

from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QMenu, QWidget

from raydash.core.spec import RunSpec
from raydash.core.words import numbers
from raydash.link.session import Session
from raydash.ui.kit.icons import IconName, icon
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.runs.run_verbs import (
    DRAIN,
    KEEP,
    PAUSE,
    RESUME,
    STOP,
    RunVerb,
    run_context,
    why_verb_cannot,
)


class RunListActions(QObject):
    """Acts on any run of the list.

    Signals:
        run_again_requested(RunSpec): Put this run's spec into the form.
        compare_requested(tuple): Show these runs on the compare page.
        report_requested(tuple): Write a report about these runs.
    """

    run_again_requested = Signal(object)
    compare_requested = Signal(tuple)
    report_requested = Signal(tuple)

    def __init__(self, session: Session, themes: ThemeManager, parent: QObject) -> None:
        super().__init__(parent)
        self._session = session
        self._store = session.store
        self._themes = themes

    def show(self, run_id: str) -> None:
        """Show a run on screen."""
        self._session.show_run(run_id)

    def overlay(self, run_id: str, drawn: bool) -> None:
        """Draw a run beside the one on screen, or stop drawing it."""
        self._session.overlay(run_id, drawn=drawn)

    def close(self, run_id: str) -> None:
        """Take a run off the list, if it can be closed."""
        if not self.why_close_cannot(run_id):
            self._session.close_run(run_id)

    def chosen(self, run_id: str) -> tuple[str, ...]:
        """The ids of the runs that are drawn, and this one."""
        drawn = (self._store.shown_run_id, *self._store.overlaid, run_id)
        return tuple(dict.fromkeys(each for each in drawn if each))

    def why_close_cannot(self, run_id: str) -> str:
        """Why a run stays on the list; empty if it can be closed."""
        if run_id in self._session.library.opened:
            return ""
        state = run_context(self._session, run_id).state
        if run_id not in self._store.runs:
            return "it goes on, somewhere on the cluster"
        is_over = state is not None and state.is_over
        return "" if is_over else "it goes on; stop it first"

    def menu(self, run_id: str, parent: QWidget) -> QMenu:
        """The menu of a run; the tool tips of what is disabled say why."""
        menu = QMenu(parent)
        menu.setToolTipsVisible(True)
        store = self._store
        run = store.runs.get(run_id)
        is_shown = run_id == store.shown_run_id
        self._add(
            menu,
            "show",
            "Show",
            partial(self.show, run_id),
            why_not="it is on screen" if is_shown else "",
            tip="Figures, workers, events and the tool bar are of this run then (Enter)",
        )
        overlay = self._add(
            menu,
            "overlay",
            "Overlay",
            why_not="the run on screen is drawn anyway" if is_shown else "",
            tip="Draw its curves beside those of the run on screen (Space)",
        )
        overlay.setCheckable(True)
        overlay.setChecked(is_shown or run_id in store.overlaid)
        overlay.toggled.connect(partial(self.overlay, run_id))
        menu.addSeparator()
        for each in (PAUSE, RESUME, STOP, DRAIN, KEEP):
            self._add_verb(menu, each, run_id)
        menu.addSeparator()
        self._add_further(menu, run_id, run.spec if run is not None else None)
        menu.addSeparator()
        is_recording = run_id in self._session.library.opened
        self._add(
            menu,
            "close",
            "Close recording" if is_recording else "Close",
            partial(self.close, run_id),
            why_not=self.why_close_cannot(run_id),
            tip="Take it off the list; its recording stays in the library (Delete)",
            picture=IconName.CLOSE,
        )
        return menu

    def _add_verb(self, menu: QMenu, each: RunVerb, run_id: str) -> None:
        context = run_context(self._session, run_id)
        self._add(
            menu,
            each.verb.value,
            each.doing if each.verb in context.pending else each.text,
            lambda: self._session.command(each.verb, run_id=run_id),
            why_not=why_verb_cannot(each.verb, context),
            tip=each.help,
            picture=each.icon,
        )

    def _add_further(self, menu: QMenu, run_id: str, spec: RunSpec | None) -> None:
        chosen = self.chosen(run_id)
        self._add(
            menu,
            "run_again",
            "Run again with changes…",
            lambda: self.run_again_requested.emit(spec),
            why_not="" if spec is not None else "its spec is not known yet: show it first",
            tip="Put its spec into the form; nothing is started",
            picture=IconName.RESTART,
        )
        self._add(
            menu,
            "compare",
            f"Compare {numbers.plural(len(chosen), 'run')}" if len(chosen) > 1 else "Compare",
            lambda: self.compare_requested.emit(chosen),
            why_not="" if len(chosen) > 1 else "there is one run only; tick others",
            tip="Those that are drawn, and this one, over any axis and side by side",
            picture=IconName.COMPARE,
        )
        self._add(
            menu,
            "report",
            "Report…",
            lambda: self.report_requested.emit((run_id,)),
            tip="Write an HTML file about it",
            picture=IconName.REPORT,
        )

    def _add(
        self,
        menu: QMenu,
        name: str,
        text: str,
        slot: object = None,
        *,
        why_not: str = "",
        tip: str = "",
        picture: IconName | None = None,
    ) -> QAction:
        action = menu.addAction(text)
        action.setObjectName(f"run_list_{name}")
        action.setEnabled(not why_not)
        action.setToolTip(f"Not now: {why_not}" if why_not else tip)
        if picture is not None:
            action.setIcon(icon(picture, self._themes.theme))
        if callable(slot):
            action.triggered.connect(lambda _checked=False: slot())
        return action
