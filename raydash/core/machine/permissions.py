"""Which commands a run or a worker can take now, and why not: pure functions of the state.

The state machine refuses commands by them, and the window enables its buttons by them.
"""

from raydash.core.messages import Verb
from raydash.core.states import Activity, RunState

_PAUSED = (Activity.PAUSING, Activity.PAUSED)
_GONE = (Activity.STOPPED, Activity.FAILED)


def why_run_cannot(
    verb: Verb,
    state: RunState | None,
    *,
    paused: bool,
    learns: bool = False,
    draining: bool = False,
    swapping: bool = False,
) -> str:
    """Say why `verb` can't be done to a whole run; empty if it can.

    `state` None means that there is no run; `paused`, that the run has been asked to pause;
    `learns`, that a learner improves its policy; `draining`, that it ends once its episodes are
    finished (a worker that began anew would go on); `swapping`, that a policy is being swapped in.
    """
    if state is None:
        return "there is no run"
    if state.is_over:
        return f"the run is {state.value}"
    if state is RunState.STOPPING and verb not in (Verb.STOP, Verb.KILL, Verb.KEEP):
        return "the run is stopping"
    match verb:
        case Verb.PAUSE if paused:
            return "the run is paused already"
        case Verb.RESUME if not paused:
            return "the run is not paused"
        case Verb.STOP if state is RunState.STOPPING:
            return "the run is stopping already"
        case Verb.SWAP if learns:
            return "the run learns its policy"
        case Verb.SWAP if swapping:
            return "another policy is being swapped in"
        case Verb.SCALE | Verb.RESTART if draining:
            return "the run is ending: every episode is finished first"
        case _:
            return ""


def why_worker_cannot(verb: Verb, activity: Activity, *, worker_paused: bool) -> str:
    """Say why `verb` can't be done to one worker of a run that is not over; empty if it can.

    `worker_paused` means that the worker itself, not only its run, has been asked to pause.
    """
    match verb:
        case Verb.SCALE | Verb.KEEP | Verb.SWAP:
            return "that is asked of a run, not of a worker"
        case Verb.RESTART:
            return "it is restarting already" if activity is Activity.RESTARTING else ""
        case _ if activity in _GONE:
            return f"it is {activity.word}"
        case Verb.PAUSE if worker_paused:
            return "it is paused already"
        case Verb.RESUME if not worker_paused:
            return "it is not paused by itself"
        case Verb.STOP if activity is Activity.STOPPING:
            return "it is stopping already"
        case Verb.DRAIN if activity is Activity.DRAINING:
            return "it is draining already"
        case Verb.PAUSE | Verb.DRAIN if activity is Activity.STOPPING:
            return "it is stopping"
        case _:
            return ""


def worker_is_paused(activity: Activity) -> bool:
    """Tell whether a worker that does this was asked to pause."""
    return activity in _PAUSED


def why_cannot_start(*, cluster_up: bool) -> str:
    """Say why no run can be started from the form; empty if one can.

    Other runs don't matter: several may go on at the same time.
    """
    return "" if cluster_up else "the cluster is not up yet"
