"""Lockstep and tasks on a real cluster: counted, paused, stopped and killed like any other run."""

import os
import signal
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from raydash.cluster.launch import LaunchedCluster
from raydash.core.events import EventKind
from raydash.core.messages import Verb
from raydash.core.states import Activity, EndedBy, Ending, RunState
from raydash.core.updates import RunUpdate
from raydash.paths import state_dir
from raydash.record.read.query import open_read_only
from raydash.worker.envs.seeds import env_seeds
from tests.fakes.engines.clusters import ask_ray
from tests.fakes.engines.terminal import STEPPING, SeenRun, Terminal
from tests.fakes.runs.recount import check_recording
from tests.fakes.user_code.notes import Episode, comparable, lines, num_noted_steps, played

NOTED = "tests.fakes.user_code.envs:NotedEnv"
MODES = ("lockstep", "tasks")
both_modes = pytest.mark.parametrize("mode", MODES)


def noted(mode: str, folder: Path, **rollout: Any) -> dict[str, Any]:
    """A run that writes down all it does."""
    return {
        "env": {"id": NOTED, "kwargs": {"folder": str(folder)}},
        "rollout": {"mode": mode, **rollout},
    }


def recorded(run: SeenRun, worker: int, incarnation: int = 0) -> list[Episode]:
    with closing(open_read_only(run.recording)) as connection:
        rows = connection.execute(
            "SELECT episode_return, episode_len, ending FROM episodes"
            " WHERE worker_index = ? AND incarnation = ? ORDER BY rowid",
            [worker, incarnation],
        ).fetchall()
    return [
        comparable(total, length, Ending(ending).name.lower()) for total, length, ending in rows
    ]


def assert_counted(run: SeenRun, folder: Path, workers: tuple[int, ...]) -> RunUpdate:
    """Figures and recording of an ended run without restarts are what environments noted."""
    last = run.latest
    every = [episode for worker in workers for episode in played(folder, worker)]
    for worker in workers:
        assert recorded(run, worker) == played(folder, worker)
    kinds = Counter(ending for _, _, ending in every)
    told = last.figures
    assert told.num_episodes_lifetime == len(every)
    assert told.num_episodes_terminated_lifetime == kinds["terminated"] + kinds["both"]
    assert told.num_episodes_truncated_lifetime == kinds["truncated"] + kinds["both"]
    assert told.num_episodes_error_lifetime == kinds["error"]
    assert told.num_env_steps_sampled_lifetime == num_noted_steps(folder)
    check_recording(run)
    return last


@both_modes
def test_every_step_and_episode_is_counted_once_through_pauses_and_to_the_end(
    terminal: Terminal, tmp_path: Path, mode: str
) -> None:
    tmp_path = _fresh(tmp_path)
    run = terminal.start_stepping(**noted(mode, tmp_path, num_workers=3))
    _forget_the_trial(tmp_path)
    for _ in range(2):
        enough = run.latest.workers.num_episodes + 6
        terminal.wait(lambda: (run.latest.workers.num_episodes > enough).all(), "a round of each")  # noqa: B023
        assert terminal.ask(run, Verb.PAUSE) is None
        terminal.wait(lambda: run.latest.state is RunState.PAUSED, "paused")
        seq = run.latest.seq
        terminal.wait(lambda: run.latest.seq > seq, "the next version")  # noqa: B023
        steps = run.latest.figures.num_env_steps_sampled_lifetime
        assert steps == num_noted_steps(tmp_path), "a paused environment is between two steps"
        assert terminal.ask(run, Verb.RESUME) is None
    last = terminal.stop(run)
    assert (last.state, last.ended_by) == (RunState.STOPPED, EndedBy.USER)
    assert_counted(run, tmp_path, (1, 2, 3))
    errors = [event for event in run.of(1) if event.kind is EventKind.ENV_ERROR]
    assert errors[0].text.startswith("worker 1: step raised RuntimeError: the tape tears")
    assert 'raise RuntimeError("the tape tears")' in errors[0].detail


def _fresh(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    folder.mkdir()
    return folder


def _forget_the_trial(folder: Path) -> None:
    """What the throwaway process noted before the run began."""
    for path in folder.glob("0.*"):
        path.unlink()


@both_modes
def test_a_drained_run_ends_with_every_episode_finished(
    terminal: Terminal, tmp_path: Path, mode: str
) -> None:
    folder = _fresh(tmp_path)
    run = terminal.start_stepping(**noted(mode, folder))
    _forget_the_trial(folder)
    terminal.wait(lambda: (run.latest.workers.num_episodes > 3).all(), "episodes of each")
    assert terminal.ask(run, Verb.DRAIN) is None
    last = terminal.end_of(run)
    assert last.ended_by is EndedBy.DRAINED
    assert last.workers.partial_len.tolist() == [0, 0]
    assert_counted(run, folder, (1, 2))


@both_modes
def test_one_worker_is_paused_restarted_killed_and_stopped_beside_the_others(
    terminal: Terminal, mode: str
) -> None:
    run = terminal.start_stepping(
        env={"id": "raydash/NoisyDrift-v0"}, rollout={"mode": mode, "num_workers": 3}
    )
    assert terminal.ask(run, Verb.PAUSE, (1,)) is None
    terminal.wait(lambda: run.activity(1) is Activity.PAUSED, "worker 1 paused")
    paused, others = (run.latest.workers.num_env_steps[i] for i in (0, 1))
    terminal.wait(lambda: run.latest.workers.num_env_steps[1] > others + 20, "worker 2 steps")
    assert run.latest.workers.num_env_steps[0] == paused
    assert terminal.ask(run, Verb.RESUME, (1,)) is None
    terminal.wait(run.is_stepping, "worker 1 steps again")

    assert terminal.ask(run, Verb.RESTART, (2,)) is None
    terminal.wait(lambda: run.is_stepping() and run.latest.workers.incarnation[1] == 1, "anew")
    assert terminal.ask(run, Verb.KILL, (3,)) is None
    terminal.wait(lambda: run.activity(3) is Activity.STOPPED, "worker 3 killed")
    assert terminal.ask(run, Verb.STOP, (2,)) is None
    terminal.wait(lambda: run.activity(2) is Activity.STOPPED, "worker 2 stopped")
    assert terminal.ask(run, Verb.SCALE, num_workers=2) is None
    terminal.wait(lambda: all(run.activity(worker) in STEPPING for worker in (1, 2)), "scaled")
    terminal.stop(run)
    check_recording(run)


@pytest.mark.parametrize("mode", ["actors", *MODES])
def test_observations_and_actions_of_any_kind_travel_in_every_mode(
    terminal: Terminal, tmp_path: Path, mode: str
) -> None:
    folder = _fresh(tmp_path)
    run = terminal.start_stepping(
        env={
            "id": "tests.fakes.user_code.spaces:NotedSpacesEnv",
            "kwargs": {
                "folder": str(folder),
                "observation": "Dict",
                "action": "Tuple of all",
                "step_s": 0.002,
            },
        },
        rollout={"mode": mode},
    )
    _forget_the_trial(folder)
    terminal.wait(lambda: (run.latest.workers.num_episodes > 6).all(), "a round of each")
    terminal.stop(run)
    assert_counted(run, folder, (1, 2))
    errors = [event.text for event in run.of(1) if event.kind is EventKind.ENV_ERROR]
    torn = "worker 1: step raised RuntimeError: the tape tears"
    assert errors
    assert all(text.startswith(torn) for text in errors)


def test_environment_actor_is_reset_and_never_made_anew_at_the_end_of_an_episode(
    terminal: Terminal, tmp_path: Path
) -> None:
    run = terminal.start_stepping(
        env={"id": "tests.fakes.user_code.envs:ShortEnv", "kwargs": {"folder": str(tmp_path)}},
        rollout={"mode": "lockstep"},
    )
    pids = [run.pid(worker) for worker in (1, 2)]
    terminal.wait(lambda: (run.latest.workers.num_episodes > 30).all(), "many episodes")
    terminal.stop(run)
    made = Counter(map(int, lines(tmp_path, "made")))
    assert [made[pid] for pid in pids] == [1, 1]
    assert np.isfinite(run.latest.workers.rss_bytes).size == 2
    assert run.latest.figures.num_restarts == 0


def test_state_outlives_the_process_that_made_it_in_stateless_tasks(
    terminal: Terminal, ray_cluster: LaunchedCluster, tmp_path: Path
) -> None:
    folder = _fresh(tmp_path)
    run = terminal.start_stepping(**noted("tasks", folder, num_workers=1))
    _forget_the_trial(folder)
    terminal.wait(lambda: run.latest.workers.num_episodes[0] > 6, "a round")
    assert terminal.ask(run, Verb.PAUSE) is None
    terminal.wait(lambda: run.latest.state is RunState.PAUSED, "paused: no task is under way")
    steps = num_noted_steps(folder)
    used = {int(pid) for path in folder.glob("*.steps") for pid in lines(folder, path.name)}
    used = {pid for pid in used if psutil.pid_exists(pid)}
    for pid in used:
        os.kill(pid, signal.SIGKILL)
    terminal.wait(
        lambda: used.isdisjoint(ask_ray(ray_cluster, "living_workers")), "Ray knows they are gone"
    )
    assert terminal.ask(run, Verb.RESUME) is None
    terminal.wait(lambda: num_noted_steps(folder) > steps + 20, "steps in another process")
    assert run.latest.workers.pid.tolist() == [0]
    assert np.isnan(run.latest.workers.cpu_percent).all()
    assert np.isnan(run.latest.workers.rss_bytes).all()
    terminal.wait(lambda: EventKind.COST_FOUND in run.kinds(), "what carrying the state costs")
    cost = next(event for event in run.of() if event.kind is EventKind.COST_FOUND)
    assert "B pickled" in cost.text
    last = terminal.stop(run)
    assert last.figures.num_restarts == 0
    assert_counted(run, folder, (1,))


def test_a_killed_environment_actor_is_the_only_one_that_is_made_anew(terminal: Terminal) -> None:
    run = terminal.start_stepping(rollout={"mode": "lockstep"})
    terminal.wait(lambda: (run.latest.workers.num_episodes > 3).all(), "episodes of both")
    before, pid = run.latest.workers, run.pid(1)
    os.kill(pid, signal.SIGKILL)
    terminal.wait(
        lambda: run.is_stepping() and run.latest.workers.incarnation[0] == 1, "stepping again"
    )
    assert run.latest.workers.incarnation[1] == 0
    assert run.pid(1) != pid
    assert (run.latest.workers.num_episodes >= before.num_episodes).all()
    died, restarted = run.of(1)
    assert (died.kind, restarted.kind) == (EventKind.WORKER_DIED, EventKind.WORKER_RESTARTED)
    assert died.text.startswith("worker 1 crashed: its process ended")
    logs = Path(run.info.log_dir)
    terminal.wait(lambda: len(list(logs.glob("worker-1-life-0-*.log"))) == 1, "its log")
    terminal.stop(run)
    check_recording(run)


@pytest.mark.parametrize("mode", ["actors", *MODES])
def test_each_line_in_the_engines_log_says_which_worker_printed_it(
    terminal: Terminal, mode: str
) -> None:
    run = terminal.start_stepping(
        env={"id": "tests.fakes.user_code.envs:TalkingEnv"},
        rollout={"mode": mode, "num_workers": 2},
    )
    (log,) = (state_dir() / "logs").glob(f"engine-*-{terminal.pid}.log")
    seeds = {worker: env_seeds(0, worker_index=worker, incarnation=0).reset for worker in (1, 2)}
    expected = {
        f"[{run.run_id} worker {worker}] {doing} {seeds[worker]}{how}"
        for worker in (1, 2)
        for doing in ("resets", "steps")
        for how in ("", ", loudly")
    }

    def printed() -> set[str]:
        """Lines of this run; without the number of times that one was repeated."""
        said = log.read_text(encoding="utf-8", errors="replace").splitlines()
        ours = [line[line.index("[") :] for line in said if f"[{run.run_id} worker" in line]
        return {line.partition("  (x ")[0] for line in ours if "folded away" not in line}

    terminal.wait(lambda: printed() >= expected, "every kind of line of both")
    terminal.stop(run)
    assert printed() == expected


@both_modes
@pytest.mark.parametrize("is_paused", [False, True])
def test_a_killed_stepping_loop_is_made_anew_with_all_workers_and_totals_go_on(
    terminal: Terminal, ray_cluster: LaunchedCluster, mode: str, is_paused: bool
) -> None:
    run = terminal.start_stepping(rollout={"mode": mode})
    terminal.wait(lambda: (run.latest.workers.num_episodes > 3).all(), "episodes of both")
    if is_paused:
        assert terminal.ask(run, Verb.PAUSE) is None
    before = run.latest.workers.num_env_steps
    (loop,) = (Path(ray_cluster.temp_dir) / "progress" / run.run_id).glob("loop-*")
    os.kill(int(loop.name.partition("-")[2]), signal.SIGKILL)
    terminal.wait(lambda: (run.latest.workers.incarnation == 1).all(), "all made anew")
    if is_paused:
        assert terminal.ask(run, Verb.RESUME) is None
    terminal.wait(run.is_stepping, "all step again")
    terminal.wait(lambda: (run.latest.workers.num_env_steps > before).all(), "and are counted")
    for worker in (1, 2):
        died = next(event for event in run.of(worker) if event.kind is EventKind.WORKER_DIED)
        assert died.text.startswith(f"worker {worker} crashed: its stepping loop is gone")
    terminal.stop(run)
    check_recording(run)


@both_modes
def test_a_hung_environment_is_ended_and_made_anew_while_the_other_one_steps(
    terminal: Terminal, tmp_path: Path, mode: str
) -> None:
    run = terminal.start_stepping(
        env={
            "id": "tests.fakes.user_code.envs:OnceHangingEnv",
            "kwargs": {"folder": str(tmp_path)},
        },
        rollout={"mode": mode, "hang_timeout_s": 1.0},
    )
    terminal.wait(lambda: EventKind.WORKER_HUNG in run.kinds(), "seen")
    (hung,) = (event for event in run.of() if event.kind is EventKind.WORKER_HUNG)
    assert hung.worker_index is not None
    terminal.wait(run.is_stepping, "both step")
    lives = run.latest.workers.incarnation.tolist()
    assert lives[hung.worker_index - 1] == 1
    assert sum(lives) == 1
    pid = int(lines(tmp_path, "hung")[0])
    terminal.wait(lambda: not psutil.pid_exists(pid), "its process is gone")
    terminal.stop(run)
    check_recording(run)


@both_modes
def test_five_errors_in_a_row_fail_the_worker_and_then_the_run(
    terminal: Terminal, mode: str
) -> None:
    run = terminal.start(
        env={"id": "tests.fakes.user_code.envs:RaisingEnv"}, rollout={"mode": mode}
    )
    last = terminal.end_of(run)
    assert (last.state, last.ended_by) == (RunState.FAILED, EndedBy.WORKERS_FAILED)
    assert last.cause == "RuntimeError: the simulator has gone"
    assert (last.workers.num_error == last.workers.num_episodes).all()
    assert (last.workers.num_error >= 5).all()
    check_recording(run)


def test_noisy_drift_plays_the_same_episodes_in_all_three_modes(terminal: Terminal) -> None:
    first: dict[str, list[Episode]] = {}
    for mode in ("actors", *MODES):
        run = terminal.start_stepping(
            env={"id": "raydash/NoisyDrift-v0"},
            rollout={"mode": mode, "num_workers": 1, "seed": 4},
        )
        terminal.wait(lambda: run.latest.workers.num_episodes[0] > 12, "a dozen episodes")  # noqa: B023
        terminal.stop(run)
        first[mode] = recorded(run, 1)[:12]
    assert first["actors"] == first["lockstep"] == first["tasks"]
    assert len(set(first["actors"])) == 12


def test_state_of_an_environment_actor_can_be_asked_for(ray_cluster: LaunchedCluster) -> None:
    states = ask_ray(ray_cluster, "env_states")
    assert states["noted"] == [0, 1], "what the environment's own get_state gives"
    np.testing.assert_allclose(states["noisy"], states["noisy_observation"])
    assert len(states["cartpole"]) == 4
    assert states["cartpole_after_reset"] != states["cartpole"]
    assert states["counting"] == [0.0, 0.0], "where nothing else is known: the last observation"


@pytest.mark.parametrize(
    ("table", "words"),
    [
        pytest.param(
            {
                "env": {"id": "tests.fakes.user_code.func_envs:LockedEnv"},
                "rollout": {"mode": "tasks"},
            },
            "Use --mode actors or lockstep",
            id="not picklable",
        ),
        pytest.param(
            {
                "env": {"id": "CartPole-v1"},
                "policy": {"kind": "constant", "action": 7},
                "rollout": {"mode": "lockstep"},
            },
            "7 is not in Discrete(2)",
            id="policy of the wrong shape",
        ),
    ],
)
def test_what_a_mode_cannot_do_is_refused_before_anything_starts(
    terminal: Terminal, table: dict[str, Any], words: str
) -> None:
    fault = terminal.refused(**table)
    assert fault.bad_input
    assert words in fault.sentence()
    assert not terminal.listed.runs
