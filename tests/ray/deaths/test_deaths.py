"""Each process may die without taking the next one along."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import psutil
import pytest

from raydash.cluster.launch import LaunchedCluster
from raydash.core.events import EventKind
from raydash.core.messages import Verb
from raydash.core.states import Activity, EndedBy, RunState
from raydash.record.read.query import figures
from tests.fakes.engines.clusters import ask_ray
from tests.fakes.engines.terminal import STEPPING, SeenRun, Terminal
from tests.fakes.runs.recount import check_recording

OpenTerminal = Callable[[], Terminal]


def _on_record(terminal: Terminal, run: SeenRun) -> None:
    """Wait until all that is known of a run now is on disk."""
    at_s = run.latest.t_s
    terminal.wait(
        lambda: run.latest.t_s - run.latest.health.recorder_lag_s > at_s, "it is on record"
    )


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _is_in_life(run: SeenRun, life: int) -> bool:
    return run.latest.health.incarnation == life


def _steps_again(run: SeenRun, worker: int, incarnation: int) -> bool:
    workers = run.latest.workers
    return bool(
        workers.incarnation[worker - 1] == incarnation
        and run.activity(worker) in STEPPING
        and workers.data_age_s[worker - 1] < 1.0
        and workers.num_env_steps[worker - 1]
    )


def test_a_killed_worker_is_seen_made_anew_counted_and_no_episode_is_counted_twice(
    terminal: Terminal,
) -> None:
    run = terminal.start_stepping()
    terminal.wait(lambda: (run.latest.workers.num_episodes > 20).all(), "episodes of both")
    before, pid = run.latest.workers, run.pid(1)
    _kill(pid)
    terminal.wait(lambda: run.activity(1) is Activity.RESTARTING, "seen")
    terminal.wait(lambda: _steps_again(run, 1, incarnation=1), "stepping again")
    assert run.pid(1) != pid
    assert run.latest.workers.incarnation[1] == 0
    assert (run.latest.workers.num_episodes >= before.num_episodes).all()
    assert run.latest.figures.num_restarts == 1
    died, restarted = run.of(1)
    assert (died.kind, restarted.kind) == (EventKind.WORKER_DIED, EventKind.WORKER_RESTARTED)
    assert died.text.startswith("worker 1 crashed: its process ended")
    assert died.detail
    assert restarted.kind.is_mark
    log_dir = Path(run.info.log_dir)
    terminal.wait(lambda: len(list(log_dir.glob("worker-1-life-0-*.log"))) == 1, "its log")
    assert log_dir.parent == run.recording.parent

    terminal.stop(run)
    check_recording(run)


def test_a_paused_worker_that_is_killed_is_seen_and_steps_after_the_pause(
    terminal: Terminal,
) -> None:
    run = terminal.start_stepping()
    assert terminal.ask(run, Verb.PAUSE) is None
    _kill(run.pid(2))
    terminal.wait(lambda: EventKind.WORKER_RESTARTED in run.kinds(2), "made anew")
    terminal.wait(lambda: set(run.latest.workers.activity) == {Activity.PAUSED}, "paused still")
    assert terminal.ask(run, Verb.RESUME) is None
    terminal.wait(lambda: _steps_again(run, 2, incarnation=1), "stepping again")
    terminal.stop(run)
    check_recording(run)


def test_a_killed_engine_costs_the_run_nothing_and_the_next_one_gets_the_whole_history(
    terminal: Terminal, open_terminal: OpenTerminal
) -> None:
    first = open_terminal()
    run_id = first.start_stepping().run_id
    seen = first.run(run_id)
    first.wait(lambda: len(seen.recent) > 2, "some history")
    before = seen.latest
    first.kill(heir=terminal)

    run = terminal.attach(run_id)
    assert run.snapshots == 1
    assert run.recent.first_bucket == 0
    terminal.wait(
        lambda: run.latest.figures.num_episodes_lifetime > before.figures.num_episodes_lifetime,
        "more episodes",
    )
    assert run.info == seen.info
    wanted = run.latest.t_s + 1.0
    terminal.wait(lambda: run.latest.t_s > wanted, "another second")
    assert list(run.latest.workers.incarnation) == [0, 0]
    complete = run.recent.num_complete(run.latest.t_s, settle_s=0.7)
    stepped = np.flatnonzero(run.recent.num_env_steps[:complete])
    assert (np.diff(stepped) == 1).all(), "there was a time without a step"
    assert stepped[-1] == complete - 1
    terminal.stop(run)
    check_recording(run)
    assert run.kinds()[:2] == [EventKind.RUN_STARTED, EventKind.RUN_STOPPING]


def test_a_killed_supervisor_goes_on_from_what_was_committed(terminal: Terminal) -> None:
    run = terminal.start_stepping()
    terminal.wait(lambda: run.is_committed(2.0), "two seconds of steps")
    before = run.latest
    _kill(before.health.pid)
    listed: set[bool] = set()

    def is_made_anew() -> bool:
        listed.add(run.run_id in [each.run_id for each in terminal.listed.runs])
        return run.latest.health.incarnation == 1

    terminal.wait(is_made_anew, "another supervisor")
    assert listed == {True}
    after = run.latest
    assert after.info == run.info
    assert run.recent.first_bucket == 0
    assert after.t_s > before.t_s
    goes_on, told = after.figures, before.figures
    # At most what the last second brought is lost, and nothing was counted that is not recorded.
    rate = told.num_env_steps_sampled_lifetime / told.elapsed_s
    lost = told.num_env_steps_sampled_lifetime - goes_on.num_env_steps_sampled_lifetime
    assert lost < 1.5 * rate
    assert goes_on.elapsed_s > told.elapsed_s - 1.5
    assert [event.number for event in run.of()] == list(range(1, len(run.events) + 1))
    assert run.kinds()[:2] == [EventKind.RUN_STARTED, EventKind.SUPERVISOR_RESTARTED]

    terminal.wait(run.is_stepping, "all workers step")
    assert list(run.latest.workers.incarnation) == [1, 1]
    terminal.wait(
        lambda: run.latest.figures.num_episodes_lifetime > told.num_episodes_lifetime + 50,
        "more episodes than before",
    )
    assert terminal.ask(run, Verb.PAUSE) is None
    terminal.stop(run)
    check_recording(run)


def test_a_supervisor_killed_right_after_commands_goes_on_as_commanded(
    terminal: Terminal,
) -> None:
    run = terminal.start_stepping(rollout={"num_workers": 3})
    terminal.wait(lambda: (run.latest.workers.num_episodes > 3).all(), "episodes of all")
    assert terminal.ask(run, Verb.STOP, (1,)) is None
    assert terminal.ask(run, Verb.PAUSE, (2,)) is None
    _on_record(terminal, run)
    steps = run.latest.workers.num_env_steps
    _kill(run.latest.health.pid)
    terminal.wait(lambda: run.latest.health.incarnation == 1, "another supervisor")
    terminal.wait(lambda: _steps_again(run, 3, incarnation=1), "worker 3 steps")
    terminal.wait(lambda: run.activity(2) is Activity.PAUSED, "worker 2 stands, and is paused")
    assert run.activity(1) is Activity.STOPPED
    assert run.latest.workers.incarnation.tolist() == [0, 1, 1]
    now = run.latest.workers.num_env_steps
    terminal.wait(lambda: run.latest.workers.num_env_steps[2] > now[2] + 100, "and steps on")
    assert (run.latest.workers.num_env_steps[:2] <= steps[:2]).all()
    assert terminal.ask(run, Verb.RESUME, (2,)) is None
    terminal.wait(lambda: _steps_again(run, 2, incarnation=1), "worker 2 is resumed")
    assert terminal.ask(run, Verb.RESTART, (1,)) is None
    terminal.wait(lambda: _steps_again(run, 1, incarnation=1), "worker 1 is made anew")
    last = terminal.stop(run)
    assert last.figures.num_restarts == 1
    check_recording(run)


@pytest.mark.parametrize(
    ("verb", "ended_by"), [(Verb.STOP, EndedBy.USER), (Verb.DRAIN, EndedBy.DRAINED)]
)
def test_a_supervisor_killed_while_the_run_was_ending_ends_it(
    terminal: Terminal, verb: Verb, ended_by: EndedBy
) -> None:
    hanging = {"id": "tests.fakes.user_code.envs:HangingEnv", "kwargs": {"after_steps": 50}}
    run = terminal.start(env=hanging, rollout={"num_workers": 2, "stop_grace_s": 60.0})
    terminal.wait(lambda: run.pid(1) and run.pid(2), "the workers stand")
    asked = terminal.send(run, verb)
    terminal.wait(lambda: run.latest.ended_by is ended_by, "the command has arrived")
    _on_record(terminal, run)
    _kill(run.latest.health.pid)
    last = terminal.end_of(run)
    assert (last.state, last.ended_by) == (RunState.STOPPED, ended_by)
    assert last.health.incarnation == 1
    assert set(last.workers.activity) == {Activity.STOPPED}
    assert last.workers.incarnation.tolist() == [0, 0]
    said = [event.text for event in run.of() if event.kind is EventKind.SUPERVISOR_RESTARTED]
    assert said == ["supervisor restarted while the run was ending"]
    assert terminal.answers[asked] or terminal.answer_to(asked)
    check_recording(run)


def test_restarts_are_told_alike_live_by_show_and_by_export(
    terminal: Terminal, tmp_path: Path
) -> None:
    """A worker that was killed is one; neither scaling nor another supervisor is."""
    run = terminal.start_stepping()
    _kill(run.pid(1))
    terminal.wait(lambda: _steps_again(run, 1, incarnation=1), "worker 1 is made anew")
    assert terminal.ask(run, Verb.SCALE, num_workers=1) is None
    steps = run.latest.workers.num_env_steps[1]
    assert terminal.ask(run, Verb.SCALE, num_workers=2) is None
    terminal.wait(lambda: run.latest.workers.num_env_steps[1] > steps, "worker 2 is back")
    assert run.latest.workers.incarnation.tolist() == [1, 1]
    assert run.latest.figures.num_restarts == 1
    _on_record(terminal, run)
    _kill(run.latest.health.pid)
    terminal.wait(lambda: run.latest.health.incarnation == 1, "another supervisor")
    terminal.wait(lambda: _steps_again(run, 2, incarnation=2), "worker 2 steps again")
    assert run.latest.figures.num_restarts == 1
    last = terminal.stop(run)
    assert last.workers.incarnation.tolist() == [2, 2]
    check_recording(run)

    exported = tmp_path / "run.json"
    for words in (
        ("show", str(run.recording), "--json"),
        ("export", str(run.recording), "--to", "json", "--out", str(exported)),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "raydash", *words],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        if words[0] == "show":
            assert json.loads(done.stdout)["num_restarts"] == 1
    assert json.loads(exported.read_text(encoding="utf-8"))["figures"]["num_restarts"] == 1


def test_a_command_that_a_dying_supervisor_took_along_is_answered(terminal: Terminal) -> None:
    hanging = {"id": "tests.fakes.user_code.envs:HangingEnv", "kwargs": {"after_steps": 5}}
    run = terminal.start(env=hanging, rollout={"num_workers": 1, "stop_grace_s": 0.5})
    terminal.wait(lambda: run.pid(1), "the worker stands")
    paused = terminal.send(run, Verb.PAUSE)
    terminal.wait(lambda: run.latest.paused, "the pause has arrived")
    assert not terminal.answers[paused]
    _kill(run.latest.health.pid)
    fault = terminal.answer_to(paused).fault
    assert fault is not None
    assert "restarted" in fault.why
    terminal.wait(lambda: run.latest.health.incarnation == 1, "another supervisor")


def test_figures_never_fall_below_what_was_committed_however_often_the_supervisor_dies(
    terminal: Terminal,
) -> None:
    run = terminal.start_stepping(rollout={"num_workers": 1})
    for life in (1, 2):
        told = run.latest.figures
        terminal.wait(partial(run.is_committed, told.elapsed_s + 1.5), "1.5 s of steps")
        _kill(run.latest.health.pid)
        terminal.wait(partial(_is_in_life, run, life), "another one")
        assert run.latest.figures.num_episodes_lifetime > told.num_episodes_lifetime
        terminal.wait(run.is_stepping, "stepping")
    assert run.kinds().count(EventKind.SUPERVISOR_RESTARTED) == 2
    terminal.stop(run)
    check_recording(run)


def test_a_run_whose_last_engine_died_ends_itself_as_orphaned_after_its_time(
    terminal: Terminal, open_terminal: OpenTerminal
) -> None:
    first = open_terminal()
    impatient = {"num_workers": 1, "orphan_timeout_s": 1.0}
    orphan = first.start_stepping(rollout=impatient)
    kept = first.start_stepping(rollout=impatient)
    assert first.ask(kept, Verb.KEEP) is None
    first.kill(heir=terminal)

    terminal.wait(
        lambda: [run.run_id for run in terminal.listed.runs] == [kept.run_id],
        "only the run that was kept is left",
    )
    recorded = figures(orphan.recording)
    assert (recorded.state, recorded.ended_by) == (RunState.STOPPED, EndedBy.ORPHANED)
    assert recorded.num_episodes_lifetime > 0
    still = terminal.attach(kept.run_id)
    terminal.stop(still)
    check_recording(still)


def test_a_hanging_worker_is_killed_when_it_outlasts_the_grace_of_a_stop(
    terminal: Terminal, tmp_path: Path
) -> None:
    note = tmp_path / "hangs"
    hanging = {
        "id": "tests.fakes.user_code.envs:HangingEnv",
        "kwargs": {"after_steps": 50, "note": str(note)},
    }
    run = terminal.start(env=hanging, rollout={"num_workers": 1, "stop_grace_s": 0.5})
    terminal.wait(lambda: run.pid(1) and note.exists(), "the worker stands, and hangs")
    pid = run.pid(1)
    last = terminal.stop(run)
    assert (last.state, last.ended_by) == (RunState.STOPPED, EndedBy.USER)
    assert EventKind.WORKER_HUNG in run.kinds(1)
    terminal.wait(lambda: not psutil.pid_exists(pid), "its process is gone")
    check_recording(run)


def test_a_hanging_worker_is_restarted_after_its_hang_timeout(terminal: Terminal) -> None:
    hanging = {"id": "tests.fakes.user_code.envs:HangingEnv", "kwargs": {"after_steps": 50}}
    run = terminal.start(
        env=hanging, rollout={"num_workers": 1, "stop_grace_s": 0.5, "hang_timeout_s": 0.5}
    )
    terminal.wait(lambda: run.latest.workers.incarnation[0] == 2, "restarted twice")
    assert run.kinds(1)[:3] == [
        EventKind.WORKER_HUNG,
        EventKind.WORKER_RESTARTED,
        EventKind.WORKER_HUNG,
    ]
    terminal.stop(run)
    check_recording(run)


def test_a_supervisor_that_is_gone_for_good_leaves_the_run_interrupted(
    terminal: Terminal, ray_cluster: LaunchedCluster
) -> None:
    run = terminal.start_stepping()
    terminal.wait(lambda: run.is_committed(1.0), "a second of steps")
    assert ask_ray(ray_cluster, "end_supervisors") == 1
    pause = terminal.send(run, Verb.PAUSE)
    last = terminal.end_of(run)
    assert (last.state, last.ended_by) == (RunState.INTERRUPTED, EndedBy.CLUSTER_LOST)
    assert last.cause == "its supervisor is gone"
    assert set(last.workers.activity) == {Activity.STOPPED}
    assert terminal.answer_to(pause).fault is not None
    recorded = figures(run.recording)
    assert recorded.state is None
    assert recorded.num_episodes_lifetime == last.figures.num_episodes_lifetime > 0
    terminal.wait(lambda: not terminal.listed.runs, "the list forgets it")
