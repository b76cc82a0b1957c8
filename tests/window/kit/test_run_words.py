import pytest

from raydash.core.events import Event, EventKind
from raydash.core.states import Activity, EndedBy, Ending, RunState
from raydash.core.words.plain import plainly
from raydash.ui.kit import run_words


def test_stalled_worker_tells_for_how_long() -> None:
    assert plainly(run_words.activity(Activity.STALLED, 14.2)) == "stalled 14 s"
    assert plainly(run_words.activity(Activity.STALLED, 3.4)) == "stalled 3 s"
    assert run_words.activity(Activity.STEPPING, 14.2) == "stepping"


def test_everything_that_can_be_said_has_words() -> None:
    assert all(run_words.activity(activity) for activity in Activity)
    assert all(run_words.run_state(state) for state in RunState)
    assert all(run_words.ended_by(reason) for reason in EndedBy)
    assert all(run_words.ending(kind) for kind in Ending)
    assert run_words.run_state(None) == "no run"
    assert run_words.run_state(RunState.RUNNING, paused=True) == "pausing"


@pytest.mark.parametrize(
    ("mode", "policy", "learner", "said"),
    [
        ("actors", "random", None, "random"),
        ("actors", "linear", "cmaes", "linear · cmaes"),
        ("lockstep", "mlp", None, "mlp · lockstep"),
        ("tasks", "my.package:lean", "my.package:Search", "lean · Search · tasks"),
        ("", "", "", ""),
    ],
)
def test_ways_name_policy_learner_and_an_unusual_mode(
    mode: str, policy: str, learner: str | None, said: str
) -> None:
    assert run_words.execution(mode, policy, learner) == said


def test_mark_labels_are_short() -> None:
    for kind in EventKind:
        event = Event(1, 0.0, kind, "a long story about it", worker_index=23)
        assert 0 < len(run_words.mark_label(event)) <= 22
    restarted = Event(1, 0.0, EventKind.WORKER_RESTARTED, "", 23)
    assert run_words.mark_label(restarted) == "worker 23 restarted"
