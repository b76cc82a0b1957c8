"""What a user asks of a run reaches real workers and comes back, answered once."""

import psutil

from raydash.core.events import EventKind
from raydash.core.messages import Verb
from raydash.core.states import Activity, EndedBy, RunState
from tests.fakes.engines.terminal import Terminal
from tests.fakes.runs.recount import check_recording


def test_a_paused_run_stands_still_and_a_resumed_one_goes_on(terminal: Terminal) -> None:
    run = terminal.start_stepping()
    assert terminal.ask(run, Verb.PAUSE) is None
    terminal.wait(lambda: run.latest.state is RunState.PAUSED, "paused")
    assert set(run.latest.workers.activity) == {Activity.PAUSED}
    steps, seq = run.latest.figures.num_env_steps_sampled_lifetime, run.latest.seq
    half_finished = run.latest.workers.partial_len
    terminal.wait(lambda: run.latest.seq > seq + 5, "half a second")
    assert run.latest.figures.num_env_steps_sampled_lifetime == steps
    assert (run.latest.workers.partial_len == half_finished).all()

    refusal = terminal.ask(run, Verb.PAUSE)
    assert refusal is not None
    assert "paused already" in refusal.sentence()

    assert terminal.ask(run, Verb.RESUME) is None
    terminal.wait(lambda: run.latest.figures.num_env_steps_sampled_lifetime > steps, "more steps")
    last = terminal.stop(run)
    assert (last.state, last.ended_by) == (RunState.STOPPED, EndedBy.USER)
    assert run.kinds()[:3] == [
        EventKind.RUN_STARTED,
        EventKind.RUN_PAUSED,
        EventKind.RUN_RESUMED,
    ]
    check_recording(run)


def test_one_worker_is_paused_resumed_restarted_drained_killed_and_stopped_beside_the_others(
    terminal: Terminal,
) -> None:
    run = terminal.start_stepping(rollout={"num_workers": 4})
    pids = [run.pid(worker) for worker in (1, 2, 3, 4)]

    assert terminal.ask(run, Verb.PAUSE, (1,)) is None
    terminal.wait(lambda: run.activity(1) is Activity.PAUSED, "worker 1 paused")
    assert run.latest.state is RunState.RUNNING
    assert terminal.ask(run, Verb.RESUME, (1,)) is None
    terminal.wait(run.is_stepping, "worker 1 steps again")

    assert terminal.ask(run, Verb.RESTART, (2,)) is None
    terminal.wait(lambda: run.is_stepping() and run.pid(2) not in (0, pids[1]), "worker 2 anew")
    assert run.latest.workers.incarnation[1] == 1

    assert terminal.ask(run, Verb.DRAIN, (2,)) is None
    terminal.wait(lambda: run.activity(2) is Activity.STOPPED, "worker 2 stopped")
    assert run.latest.workers.partial_len[1] == 0
    assert terminal.ask(run, Verb.KILL, (3,)) is None
    terminal.wait(lambda: run.activity(3) is Activity.STOPPED, "worker 3 killed")
    assert terminal.ask(run, Verb.STOP, (4,)) is None
    terminal.wait(lambda: run.activity(4) is Activity.STOPPED, "worker 4 stopped")
    assert run.activity(1) in (Activity.STEPPING, Activity.RESETTING)
    terminal.wait(lambda: not any(map(psutil.pid_exists, pids[1:])), "their processes are gone")

    refusal = terminal.ask(run, Verb.PAUSE, (3, 9))
    assert refusal is not None
    assert "worker 3: it is stopped" in refusal.why
    assert "there is no worker 9" in refusal.why

    terminal.stop(run)
    assert run.kinds(1) == [
        EventKind.WORKER_PAUSED,
        EventKind.WORKER_RESUMED,
        EventKind.WORKER_STOPPED,
    ]
    check_recording(run)


def test_the_number_of_workers_changes_while_the_run_goes_on(terminal: Terminal) -> None:
    run = terminal.start_stepping(rollout={"num_workers": 1})
    assert terminal.ask(run, Verb.SCALE, num_workers=3) is None
    terminal.wait(lambda: len(run.latest.workers) == 3 and run.is_stepping(), "three step")
    assert terminal.ask(run, Verb.SCALE, num_workers=2) is None
    terminal.wait(lambda: run.activity(3) is Activity.STOPPED, "the third left")
    refusal = terminal.ask(run, Verb.SCALE, num_workers=0)
    assert refusal is not None
    assert refusal.keys == ("rollout.num_workers",)
    assert run.latest.num_workers == 2
    terminal.stop(run)
    check_recording(run)


def test_a_drained_run_ends_with_every_episode_finished(terminal: Terminal) -> None:
    run = terminal.start_stepping()
    assert terminal.ask(run, Verb.DRAIN) is None
    last = terminal.end_of(run)
    assert (last.state, last.ended_by) == (RunState.STOPPED, EndedBy.DRAINED)
    assert not last.workers.partial_len.any()
    check_recording(run)


def test_a_run_ends_by_itself_at_its_number_of_episodes_and_counts_the_overshoot(
    terminal: Terminal,
) -> None:
    run = terminal.start(stop={"episodes": 300})
    last = terminal.end_of(run)
    assert (last.state, last.ended_by) == (RunState.FINISHED, EndedBy.EPISODES)
    assert last.figures.num_episodes_lifetime >= 300
    check_recording(run)


def test_restarting_all_workers_counts_every_step_of_both_lives_once(terminal: Terminal) -> None:
    run = terminal.start_stepping()
    for life in (1, 2):
        assert terminal.ask(run, Verb.RESTART) is None
        terminal.wait(run.is_stepping, f"life {life}")
        assert set(run.latest.workers.incarnation) == {life}
    assert run.latest.figures.num_restarts == 4
    terminal.stop(run)
    check_recording(run)
