"""The actions of tool bar, menu and keyboard; pure functions say when each is enabled."""

from dataclasses import replace
from functools import partial

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QActionGroup, QKeySequence

from raydash.core.messages import Answer, Verb
from raydash.core.spec_rules import SpecError
from raydash.core.states import EngineState
from raydash.link.pending_commands import STARTING_TEXT
from raydash.link.session import Session
from raydash.ui.dialogs.trust_dialog import when_trusted
from raydash.ui.form.run_form import RunForm, keys_of
from raydash.ui.kit.icons import IconName, icon
from raydash.ui.kit.theme import Appearance, ThemeManager
from raydash.ui.runs.run_verbs import (
    DRAIN,
    PAUSE,
    RESUME,
    STOP,
    RunContext,
    run_context,
    why_start_cannot,
    why_verb_cannot,
)


def action_context(session: Session, form: RunForm) -> RunContext:
    """What the enabled actions depend on: the shown run and the form."""
    context = run_context(session, session.store.shown_run_id)
    return replace(context, form_mistakes=keys_of(form.violations))


_CHECK_HELP = "Try it, look for mistakes and time it, in a process of its own"
_SHOWN_RUN_VERBS = (PAUSE, RESUME, STOP, DRAIN)


class Actions(QObject):
    """The actions of one window.

    Those of the run and the check are triggered here; the window connects the others.

    Attributes:
        start: Starts the form's run.
        verbs: Pause, resume, stop and drain of the shown run.
    """

    def __init__(self, session: Session, form: RunForm, themes: ThemeManager, parent: QObject):
        super().__init__(parent)
        self._session = session
        self._form = form
        self._themes = themes
        self._pictures: list[tuple[QAction, IconName, bool]] = []

        self.start = self._make("start", "Start", "Ctrl+R", IconName.START, primary=True)
        self.start.triggered.connect(self._on_start)
        self.verbs: dict[Verb, QAction] = {}
        for each in _SHOWN_RUN_VERBS:
            action = self._make(each.verb.value, each.text, each.keys, each.icon)
            action.triggered.connect(partial(self._on_verb, each.verb))
            self.verbs[each.verb] = action

        self.check_env = self._make("check_env", "Check environment…", "Ctrl+E")
        self.check_env.setIconText("Check")  # on the button beside the word "Environment"
        form.offer_check(self.check_env)
        self.open_spec = self._make("open_spec", "Open spec…", "Ctrl+O", IconName.OPEN)
        self.save_spec = self._make("save_spec", "Save spec as…", "Ctrl+Shift+S", IconName.SAVE)
        self.copy_command = self._make(
            "copy_command", "Copy as command", "Ctrl+Shift+C", IconName.COPY
        )
        self.library = self._make("library", "Library", "Ctrl+L", IconName.LIBRARY)
        self.compare = self._make("compare", "Compare", "Ctrl+K", IconName.COMPARE)
        for action, tip in (
            (self.library, "All recordings: search, open again, hand on"),
            (self.compare, "Runs over each other; choose them in the library"),
        ):
            action.setCheckable(True)
            self._allow(action, "", tip)
        self.attach = self._make("attach", "Attach to a cluster…", "Ctrl+Shift+L")
        self.local = self._make("local_cluster", "Launch the local cluster", "")
        self.relaunch = self._make("relaunch", "Relaunch", "", IconName.RELAUNCH)
        self.quit = self._make("quit", "Quit", "Ctrl+Q")
        self.appearance = QActionGroup(self)
        for appearance, text in (
            (Appearance.SYSTEM, "Follow the system"),
            (Appearance.LIGHT, "Light"),
            (Appearance.DARK, "Dark"),
        ):
            action = self._make(f"appearance_{appearance.value}", text, "")
            action.setCheckable(True)
            action.setData(appearance)
            self.appearance.addAction(action)

        store = session.store
        for signal in (
            store.cluster_changed,
            store.engine_changed,
            store.shown_run_changed,
            store.run_state_changed,
            store.runs_changed,
            session.pending_changed,
            form.changed,
        ):
            signal.connect(self.refresh)
        themes.changed.connect(self._paint_icons)
        self._paint_icons()
        self.refresh()

    def refresh(self) -> None:
        """Enable what can be done now; the tool tips of the others say why not."""
        context = action_context(self._session, self._form)
        self.start.setText(STARTING_TEXT if context.starting else "Start")
        self._allow(self.start, why_start_cannot(context), self._start_help())
        self._allow(self.check_env, self._why_cannot_check(), _CHECK_HELP)
        name = self._name_among_several()
        for each in _SHOWN_RUN_VERBS:
            action = self.verbs[each.verb]
            action.setText(each.doing if each.verb in context.pending else each.text)
            help_text = f"{name}: {each.help[:1].lower()}{each.help[1:]}" if name else each.help
            self._allow(action, why_verb_cannot(each.verb, context), help_text)

    def _why_cannot_check(self) -> str:
        if self._session.store.engine_state is not EngineState.READY:
            return "the engine is not there yet"
        try:
            self._form.checkable_spec()
        except SpecError as error:
            return f"the form has a mistake in {keys_of(error.violations)}"
        return ""

    def _start_help(self) -> str:
        if self._session.can_connect:
            address = self._session.cluster_spec.address
            comes = f"attach to {address}" if address else "launch the local cluster"
            return f"Start the run in the form; {comes} first"
        beside = len(self._session.store.live_runs)
        others = "the run that goes on" if beside == 1 else f"the {beside} runs that go on"
        return f"Start the run in the form{f', beside {others}' if beside else ''}"

    def _name_among_several(self) -> str:
        """The name of the run that the buttons act on, if there are several runs."""
        store = self._session.store
        return store.shown.name if store.shown is not None and len(store.runs) > 1 else ""

    def _allow(self, action: QAction, reason: str, help_text: str) -> None:
        keys = action.shortcut().toString(QKeySequence.SequenceFormat.NativeText)
        tip = f"Not now: {reason}" if reason else help_text
        action.setEnabled(not reason)
        action.setToolTip(f"{tip} ({keys})")
        action.setStatusTip(tip)

    def _make(
        self,
        name: str,
        text: str,
        keys: str,
        picture: IconName | None = None,
        *,
        primary: bool = False,
    ) -> QAction:
        action = QAction(text, self)
        action.setObjectName(f"action_{name}")
        if keys:
            action.setShortcut(QKeySequence(keys))
        if picture is not None:
            self._pictures.append((action, picture, primary))
        return action

    def _paint_icons(self) -> None:
        theme = self._themes.theme
        for action, picture, primary in self._pictures:
            action.setIcon(icon(picture, theme, theme.on_accent if primary else ""))

    def _on_start(self) -> None:
        form = self._form

        def on_answer(answer: Answer) -> None:
            if answer.fault is not None:
                form.mark_fault(answer.fault)

        spec = form.spec()
        when_trusted(
            spec.policy,
            lambda policy: self._session.start_run(replace(spec, policy=policy), on_answer),
            form,
        )

    def _on_verb(self, verb: Verb, _checked: bool = False) -> None:
        self._session.command(verb)
