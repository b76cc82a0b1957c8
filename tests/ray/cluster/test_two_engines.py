"""Two windows on one cluster see and control the same run."""

from collections.abc import Callable

from raydash.core.messages import DetachRun, Verb
from raydash.core.states import Activity, RunState
from tests.fakes.engines.terminal import Terminal
from tests.fakes.runs.recount import check_recording


def test_what_one_engine_asks_is_seen_by_the_other_and_each_hears_only_its_own_answers(
    terminal: Terminal, open_terminal: Callable[[], Terminal]
) -> None:
    run = terminal.start_stepping()
    other = open_terminal()
    same = other.attach(run.run_id)
    assert same.info == run.info
    terminal.wait(lambda: run.latest.health.num_readers == 2, "both are counted")
    answered = len(terminal.answers)

    pause = other.send(same, Verb.PAUSE)
    terminal.wait(lambda: run.latest.state is RunState.PAUSED, "the other's pause")
    assert other.answer_to(pause).fault is None
    assert len(terminal.answers) == answered

    resume = terminal.send(run, Verb.RESUME)
    restart = terminal.send(run, Verb.RESTART, (2,))
    others = len(other.answers)
    other.wait(
        lambda: same.latest.workers.incarnation[1] == 1 and same.is_stepping(), "its restart"
    )
    assert terminal.answer_to(resume).fault is None
    assert terminal.answer_to(restart).fault is None
    assert len(other.answers) == others

    both = (terminal.send(run, Verb.STOP, (1,)), other.send(same, Verb.STOP, (1,)))
    faults = [terminal.answer_to(both[0]).fault, other.answer_to(both[1]).fault]
    assert faults.count(None) >= 1
    terminal.wait(lambda: run.activity(1) is Activity.STOPPED, "worker 1 stopped")

    terminal.stop(run)
    last = other.end_of(same)
    assert last.figures == run.latest.figures
    assert same.events == run.events
    assert (last.whole.num_env_steps == run.latest.whole.num_env_steps).all()
    check_recording(run)


def test_a_window_that_was_suspended_while_its_run_ended_is_told_how(
    terminal: Terminal, open_terminal: Callable[[], Terminal]
) -> None:
    run = terminal.start_stepping()
    other = open_terminal()
    same = other.attach(run.run_id)
    other.wait(lambda: len(same.recent) > 1, "some history")
    # From here on nobody reads what the other engine says.
    wanted = run.latest.t_s + 6.0
    terminal.wait(lambda: run.latest.t_s > wanted, "longer than an engine may be silent")
    assert run.latest.health.num_readers == 2
    terminal.stop(run)
    terminal.wait(
        lambda: run.run_id not in [listed.run_id for listed in terminal.listed.runs],
        "the supervisor has given up waiting",
    )
    last = other.end_of(same)
    assert (last.state, last.ended_by) == (run.latest.state, run.latest.ended_by)
    assert (
        last.figures.num_episodes_lifetime,
        last.figures.num_env_steps_sampled_lifetime,
        last.figures.elapsed_s,
    ) == (
        run.latest.figures.num_episodes_lifetime,
        run.latest.figures.num_env_steps_sampled_lifetime,
        run.latest.figures.elapsed_s,
    )
    check_recording(same)


def test_an_engine_that_leaves_a_run_hears_no_more_of_it_and_may_come_back(
    terminal: Terminal,
) -> None:
    run = terminal.start_stepping(rollout={"num_workers": 1})
    terminal.done(DetachRun(0, run.run_id))
    terminal.wait(
        lambda: any(
            listed.run_id == run.run_id
            and listed.num_episodes_lifetime > run.latest.figures.num_episodes_lifetime
            for listed in terminal.listed.runs
        ),
        "the list of runs goes on",
    )
    snapshots = run.snapshots
    terminal.attach(run.run_id)
    terminal.wait(lambda: run.snapshots == snapshots + 1, "a snapshot")
    assert run.recent.first_bucket == 0
    terminal.stop(run)
    check_recording(run)
