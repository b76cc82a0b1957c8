import pytest

from raydash.core.machine.permissions import (
    why_cannot_start,
    why_run_cannot,
    why_worker_cannot,
    worker_is_paused,
)
from raydash.core.messages import Verb
from raydash.core.states import Activity, RunState

OVER = [state for state in RunState if state.is_over]
GOING_ON = [RunState.STARTING, RunState.RUNNING, RunState.PAUSED]


@pytest.mark.parametrize("verb", Verb)
@pytest.mark.parametrize("paused", [True, False])
def test_nothing_can_be_asked_without_a_run_or_of_one_that_is_over(
    verb: Verb, paused: bool
) -> None:
    assert why_run_cannot(verb, None, paused=paused) == "there is no run"
    for state in OVER:
        assert why_run_cannot(verb, state, paused=paused) == f"the run is {state.value}"


@pytest.mark.parametrize("state", GOING_ON)
def test_pause_and_resume_take_turns(state: RunState) -> None:
    assert why_run_cannot(Verb.PAUSE, state, paused=False) == ""
    assert why_run_cannot(Verb.PAUSE, state, paused=True) == "the run is paused already"
    assert why_run_cannot(Verb.RESUME, state, paused=True) == ""
    assert why_run_cannot(Verb.RESUME, state, paused=False) == "the run is not paused"


@pytest.mark.parametrize("state", GOING_ON)
@pytest.mark.parametrize(
    "verb", [Verb.DRAIN, Verb.STOP, Verb.RESTART, Verb.KILL, Verb.SCALE, Verb.KEEP, Verb.SWAP]
)
def test_run_that_goes_on_takes_every_other_verb(state: RunState, verb: Verb) -> None:
    assert why_run_cannot(verb, state, paused=False) == ""
    assert why_run_cannot(verb, state, paused=True) == ""


def test_run_that_learns_keeps_its_policy() -> None:
    reason = why_run_cannot(Verb.SWAP, RunState.RUNNING, paused=False, learns=True)
    assert reason == "the run learns its policy"


def test_stopping_run_can_only_be_killed_or_kept() -> None:
    allowed = {v for v in Verb if not why_run_cannot(v, RunState.STOPPING, paused=False)}
    assert allowed == {Verb.KILL, Verb.KEEP}
    assert why_run_cannot(Verb.STOP, RunState.STOPPING, paused=False) == (
        "the run is stopping already"
    )


@pytest.mark.parametrize("activity", Activity)
def test_what_is_asked_of_runs_is_not_asked_of_workers(activity: Activity) -> None:
    for verb in (Verb.SCALE, Verb.KEEP, Verb.SWAP):
        assert "not of a worker" in why_worker_cannot(verb, activity, worker_paused=False)


@pytest.mark.parametrize("activity", [Activity.STOPPED, Activity.FAILED])
def test_worker_that_is_gone_can_only_be_restarted(activity: Activity) -> None:
    allowed = {v for v in Verb if not why_worker_cannot(v, activity, worker_paused=False)}
    assert allowed == {Verb.RESTART}


def test_worker_that_is_restarting_is_not_restarted_again() -> None:
    assert why_worker_cannot(Verb.RESTART, Activity.RESTARTING, worker_paused=False)


def test_stepping_worker_takes_everything_but_resume() -> None:
    allowed = {v for v in Verb if not why_worker_cannot(v, Activity.STEPPING, worker_paused=False)}
    assert allowed == {Verb.PAUSE, Verb.DRAIN, Verb.STOP, Verb.RESTART, Verb.KILL}


def test_worker_paused_by_its_run_can_still_be_paused_by_itself() -> None:
    assert why_worker_cannot(Verb.PAUSE, Activity.PAUSED, worker_paused=False) == ""
    assert why_worker_cannot(Verb.RESUME, Activity.PAUSED, worker_paused=False)
    assert why_worker_cannot(Verb.RESUME, Activity.PAUSED, worker_paused=True) == ""
    assert why_worker_cannot(Verb.PAUSE, Activity.PAUSED, worker_paused=True)


def test_stopping_worker_can_be_killed_but_not_stopped_drained_or_paused() -> None:
    for verb in (Verb.STOP, Verb.DRAIN, Verb.PAUSE):
        assert why_worker_cannot(verb, Activity.STOPPING, worker_paused=False)
    assert why_worker_cannot(Verb.KILL, Activity.STOPPING, worker_paused=False) == ""


@pytest.mark.parametrize("activity", [Activity.STALLED, Activity.UNREACHABLE])
def test_silent_worker_can_be_killed_and_restarted(activity: Activity) -> None:
    for verb in (Verb.KILL, Verb.RESTART):
        assert why_worker_cannot(verb, activity, worker_paused=False) == ""


def test_pausing_counts_as_paused() -> None:
    assert [a for a in Activity if worker_is_paused(a)] == [Activity.PAUSING, Activity.PAUSED]


def test_run_starts_on_a_live_cluster_whatever_else_goes_on() -> None:
    assert why_cannot_start(cluster_up=False) == "the cluster is not up yet"
    assert why_cannot_start(cluster_up=True) == ""
