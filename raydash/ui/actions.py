"""What can be done from tool bar, menu and keyboard, and when: enabled by pure functions."""

from dataclasses import dataclass
from functools import partial

from PySide6.QtCore import QObject
from PySide6.QtGui import QAction, QActionGroup, QKeySequence

from raydash.core.messages import PROTOCOL_VERSION, Answer, Verb
from raydash.core.permissions import why_cannot_start, why_run_cannot
from raydash.core.states import RunState
from raydash.link.session import Session
from raydash.ui.icons import IconName, icon
from raydash.ui.run_form import RunForm, keys_of
from raydash.ui.theme import Appearance, ThemeManager


@dataclass(frozen=True, slots=True)
class Moment:
    """What decides which run buttons can be pressed.

    Attributes:
        engine_ready: The engine answers.
        connected: Commands reach the cluster.
        state: Of the run on screen; None when there is none.
        paused: That run is asked to pause.
        starting: A run was asked for and is not accepted yet.
        pending: Verbs asked of the run and not answered yet.
        form_mistakes: Keys of the form's fields that are wrong.
        foreign_version: The run's raydash, if it speaks another protocol.
        recording: What is on screen is a recording.
    """

    engine_ready: bool = True
    connected: bool = True
    state: RunState | None = None
    paused: bool = False
    starting: bool = False
    pending: frozenset[Verb] = frozenset()
    form_mistakes: str = ""
    foreign_version: str = ""
    recording: bool = False


def why_start_cannot(moment: Moment) -> str:
    """Why the form's run cannot be started now; empty if it can."""
    if not moment.engine_ready:
        return "the engine is not there yet"
    if reason := why_cannot_start(cluster_up=moment.connected):
        return reason
    if moment.starting:
        return "a run is being started"
    return f"the form has a mistake in {moment.form_mistakes}" if moment.form_mistakes else ""


def why_verb_cannot(verb: Verb, moment: Moment) -> str:
    """Why the run on screen cannot be asked that now; empty if it can."""
    if moment.recording:
        return "this is a recording"
    if moment.state is None or moment.state.is_over:
        return why_run_cannot(verb, moment.state, paused=moment.paused)
    if not moment.engine_ready:
        return "the engine is being started again; the run itself is not affected"
    if not moment.connected:
        return "the cluster is not connected"
    if moment.foreign_version and verb is not Verb.STOP:
        return f"it runs raydash {moment.foreign_version}, which takes only stop from this one"
    if verb in moment.pending:
        return "it has been asked already"
    return why_run_cannot(verb, moment.state, paused=moment.paused)


def moment_of(session: Session, form: RunForm) -> Moment:
    """The moment as session and form have it."""
    store = session.store
    run = store.shown
    latest = run.latest if run else None
    info = run.info if run else None
    foreign = info is not None and info.protocol_version != PROTOCOL_VERSION
    return Moment(
        engine_ready=store.engine_state == "ready",
        connected=session.is_connected,
        state=latest.state if latest else None,
        paused=latest.paused if latest else False,
        starting=session.is_starting_run,
        pending=frozenset(verb for verb in Verb if session.pending_verb(verb)),
        form_mistakes=keys_of(form.violations),
        foreign_version=info.raydash_version if info and foreign else "",
        recording=run is not None and run.is_recording,
    )


_RUN_VERBS = (
    (Verb.PAUSE, "Pause", IconName.PAUSE, "Ctrl+P", "Pausing…", "Keep half-finished episodes"),
    (Verb.RESUME, "Resume", IconName.RESUME, "Ctrl+Shift+P", "Resuming…", "Go on after a pause"),
    (
        Verb.STOP,
        "Stop",
        IconName.STOP,
        "Ctrl+.",
        "Stopping…",
        "End the run and close its recording",
    ),
    (
        Verb.DRAIN,
        "Drain",
        IconName.DRAIN,
        "Ctrl+D",
        "Draining…",
        "Finish the episodes under way, then end the run",
    ),
)


class Actions(QObject):
    """The actions of one window. Those of the run enable themselves; the others are wired outside.

    Attributes:
        start: Starts the form's run.
        verbs: Pause, resume, stop and drain of the run on screen.
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
        for verb, text, picture, keys, _doing, _help in _RUN_VERBS:
            action = self._make(verb.value, text, keys, picture)
            action.triggered.connect(partial(self._on_verb, verb))
            self.verbs[verb] = action

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
            session.pending_changed,
            form.changed,
        ):
            signal.connect(self.refresh)
        themes.changed.connect(self._paint_icons)
        self._paint_icons()
        self.refresh()

    def refresh(self) -> None:
        """Enable what can be done now; say of the rest why not."""
        moment = moment_of(self._session, self._form)
        self.start.setText("Starting…" if moment.starting else "Start")
        self._allow(self.start, why_start_cannot(moment), "Start the run in the form")
        for verb, text, _picture, _keys, doing, help_text in _RUN_VERBS:
            action = self.verbs[verb]
            action.setText(doing if verb in moment.pending else text)
            self._allow(action, why_verb_cannot(verb, moment), help_text)

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

        self._session.start_run(form.spec(), on_answer)

    def _on_verb(self, verb: Verb, _checked: bool = False) -> None:
        self._session.command(verb)
