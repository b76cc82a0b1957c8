"""The verbs that tool bar and menu send to a whole run: texts, icon, and when each is enabled."""

from dataclasses import dataclass

from raydash.core.machine.permissions import why_cannot_start, why_run_cannot
from raydash.core.messages import PROTOCOL_VERSION, Verb
from raydash.core.states import EngineState, RunState
from raydash.link.pending_commands import VERB_TEXTS
from raydash.link.session import Session
from raydash.ui.kit.icons import IconName


@dataclass(frozen=True, slots=True)
class RunVerb:
    """A verb as people see it.

    Attributes:
        verb: The verb of the command.
        text: On buttons and in menus.
        help: What it does.
        icon: Its icon, if it has one.
        keys: Its shortcut for the run on screen.
    """

    verb: Verb
    text: str
    help: str
    icon: IconName | None = None
    keys: str = ""

    @property
    def doing(self) -> str:
        """The text while it has not been answered yet."""
        return VERB_TEXTS[self.verb]


PAUSE = RunVerb(Verb.PAUSE, "Pause", "Keep half-finished episodes", IconName.PAUSE, "Ctrl+P")
RESUME = RunVerb(Verb.RESUME, "Resume", "Go on after a pause", IconName.RESUME, "Ctrl+Shift+P")
STOP = RunVerb(Verb.STOP, "Stop", "End the run and close its recording", IconName.STOP, "Ctrl+.")
DRAIN = RunVerb(
    Verb.DRAIN, "Drain", "Finish the episodes under way, then end the run", IconName.DRAIN, "Ctrl+D"
)
KEEP = RunVerb(Verb.KEEP, "Keep running", "Let it go on when its last window has been closed")


@dataclass(frozen=True, slots=True)
class RunContext:
    """What decides which run buttons are enabled.

    Attributes:
        engine_ready: The engine answers.
        connected: Commands reach the cluster.
        state: State of the run; None when there is none.
        paused: The run has been asked to pause.
        starting: A run has been requested and is not accepted yet.
        pending: Verbs that were sent to the run and are not answered yet.
        form_mistakes: Keys of the form's fields that are wrong.
        foreign_version: The run's raydash version, if it speaks another protocol.
        recording: The run is shown from its file.
        kept: Somebody chose to keep the run.
        can_connect: There is no cluster, and starting a run brings one.
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
    kept: bool = False
    can_connect: bool = False


def why_start_cannot(context: RunContext) -> str:
    """Why the form's run cannot be started now; empty if it can."""
    if not context.engine_ready:
        return "the engine is not there yet"
    if reason := why_cannot_start(cluster_up=context.connected or context.can_connect):
        return reason
    if context.starting:
        return "a run is being started"
    return f"the form has a mistake in {context.form_mistakes}" if context.form_mistakes else ""


def why_verb_cannot(verb: Verb, context: RunContext) -> str:
    """Why this verb cannot be sent to a run now; empty if it can."""
    if context.recording:
        return "this is a recording"
    if context.state is None or context.state.is_over:
        return why_run_cannot(verb, context.state, paused=context.paused)
    if not context.engine_ready:
        return "the engine is being started again; the run itself is not affected"
    if not context.connected:
        return "the cluster is not connected"
    if context.foreign_version and verb is not Verb.STOP:
        return f"it runs raydash {context.foreign_version}, which takes only stop from this one"
    if verb in context.pending:
        return "it has been asked already"
    if verb is Verb.KEEP and context.kept:
        return "it is kept already"
    return why_run_cannot(verb, context.state, paused=context.paused)


def run_context(session: Session, run_id: str) -> RunContext:
    """What the session knows of a run, on screen or not; an empty id stands for no run."""
    store = session.store
    run = store.runs.get(run_id)
    latest, info = (run.latest, run.info) if run is not None else (None, None)
    live = next((each for each in store.live_runs if each.run_id == run_id), None)
    spoken = info or live
    foreign = spoken is not None and spoken.protocol_version != PROTOCOL_VERSION
    state = latest.state if latest else live.state if live else None
    return RunContext(
        engine_ready=store.engine_state is EngineState.READY,
        connected=session.is_connected,
        can_connect=session.can_connect,
        state=state,
        paused=latest.paused if latest else state is RunState.PAUSED,
        starting=session.is_starting_run,
        pending=frozenset(verb for verb in Verb if session.pending_verb(verb, run_id)),
        foreign_version=spoken.raydash_version if spoken and foreign else "",
        recording=run is not None and run.is_recording,
        kept=(latest is not None and latest.health.keep) or (live is not None and live.keep),
    )
