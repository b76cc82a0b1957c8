"""Runs and workers in words: states, endings and events in plain English. Pure."""

import math

from raydash.core.events import Event, EventKind
from raydash.core.states import Activity, EndedBy, Ending, RunState
from raydash.core.words import spans
from raydash.core.words.numbers import NBSP

_USUAL_MODE = "actors"


def activity(what: Activity, age_s: float = math.nan) -> str:
    """What a worker is doing, and for how long where that matters: `stalled 14 s`."""
    if what not in (Activity.STALLED, Activity.UNREACHABLE) or not math.isfinite(age_s):
        return what.word
    age = f"{max(1, math.floor(age_s))}{NBSP}s" if age_s < 10 else spans.rough(age_s)
    return f"{what.word} {age}"


def run_state(state: RunState | None, *, paused: bool = False) -> str:
    """What a run is doing."""
    if state is None:
        return "no run"
    if state is RunState.RUNNING and paused:
        return "pausing"
    return state.value


def execution(mode: str, policy: str, learner: str | None) -> str:
    """How a run is executed: `random`, `linear · cmaes`, `mlp · lockstep`.

    The usual mode is left out; of a class or function of the user's own only the name is given.
    """
    parts = [policy.rpartition(":")[2], (learner or "").rpartition(":")[2]]
    if mode not in ("", _USUAL_MODE):
        parts.append(mode)
    return " · ".join(part for part in parts if part)


def ended_by(reason: EndedBy | None) -> str:
    """Why a run ended."""
    return _ENDED_BY[reason] if reason is not None else ""


def outcome(state: RunState | None, reason: EndedBy | None) -> str:
    """How a run ended: `finished by episodes`, `interrupted: the cluster was lost`."""
    word = run_state(state) if state is not None else "cannot be read"
    short = _SHORT_ENDED_BY.get(reason) if reason is not None else None
    if short is not None:
        return f"{word} {short}"
    return f"{word}: {_ENDED_BY[reason]}" if reason is not None else word


_SHORT_ENDED_BY = {
    EndedBy.SECONDS: "by time",
    EndedBy.ENV_STEPS: "by env steps",
    EndedBy.EPISODES: "by episodes",
    EndedBy.TARGET: "at its target",
    EndedBy.USER: "by hand",
    EndedBy.SIGNAL: "by a signal",
    EndedBy.DRAINED: "after draining",
}
_ENDED_BY = {
    EndedBy.SECONDS: "its time was up",
    EndedBy.ENV_STEPS: "it had its env steps",
    EndedBy.EPISODES: "it had its episodes",
    EndedBy.TARGET: "it reached its target return",
    EndedBy.USER: "somebody stopped it",
    EndedBy.SIGNAL: "a signal stopped it",
    EndedBy.ORPHANED: "its last window was gone too long",
    EndedBy.DRAINED: "its workers were drained",
    EndedBy.WORKERS_FAILED: "no worker could go on",
    EndedBy.LEARNER_FAILED: "its learner failed",
    EndedBy.CLUSTER_LOST: "the cluster was lost",
}


def ending(kind: Ending) -> str:
    """How an episode ended."""
    return kind.name.lower()


def mark_label(event: Event) -> str:
    """The short label of a mark on a plot; the event's text says more."""
    worker = f"worker {event.worker_index}" if event.worker_index is not None else "a worker"
    match event.kind:
        case EventKind.RUN_PAUSED:
            return "paused"
        case EventKind.RUN_RESUMED:
            return "resumed"
        case EventKind.WORKERS_SCALED:
            return "scaled"
        case EventKind.WORKER_RESTARTED:
            return f"{worker} restarted"
        case EventKind.WORKER_FAILED:
            return f"{worker} failed"
        case EventKind.SUPERVISOR_RESTARTED:
            return "supervisor restarted"
        case _:
            return event.kind.value.replace("_", " ")
