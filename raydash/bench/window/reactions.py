"""`raydash bench reactions`: how soon the window shows an event, and how soon a command is done.

Window, engine, supervisor and workers (CartPole-v1) are real, on a launched cluster.
"""

import os
import random
import signal
import time

from raydash.bench.report import median, percentile, print_progress, print_result
from raydash.bench.window.window_driver import WindowDriver, driven_window
from raydash.core.messages import Verb
from raydash.core.spec_rules import spec_from_table
from raydash.core.states import Activity, RunState

WORKERS = 8
ROUNDS = 9
GOAL_PAUSE_S = 0.3


def run(*, as_json: bool) -> int:
    """Measure and print; 0 if the goal for pausing is reached, else 1."""
    spec = spec_from_table({"rollout": {"num_workers": WORKERS}})
    times: dict[str, list[float]] = {}
    with driven_window() as driver:
        driver.start(spec)
        for number in range(ROUNDS):
            for measure in (_pause, _kill_worker, _kill_engine, _new_window):
                for name, seconds in measure(driver).items():
                    times.setdefault(name, []).append(seconds)
            print_progress(f"round {number + 1}/{ROUNDS}: " + _describe(times))
    figures: dict[str, object] = {"workers": WORKERS, "rounds": ROUNDS}
    for name, seconds_seen in times.items():
        figures[f"{name}_median_s"] = median(seconds_seen)
        figures[f"{name}_p95_s"] = percentile(seconds_seen, 0.95)
    figures["goal_pause_s"] = GOAL_PAUSE_S
    print_result("reactions", figures, as_json=as_json)
    return 0 if median(times["pause_to_all_paused"]) < GOAL_PAUSE_S else 1


def _describe(times: dict[str, list[float]]) -> str:
    return ", ".join(f"{name} {seconds[-1]:.2f} s" for name, seconds in times.items())


def _all_step(driver: WindowDriver) -> bool:
    return driver.num_in(Activity.RESETTING, Activity.STEPPING) == WORKERS


def _pause(driver: WindowDriver) -> dict[str, float]:
    driver.wait(lambda: _all_step(driver))
    driver.idle(random.uniform(0.5, 1.0))
    driver.window.actions_.verbs[Verb.PAUSE].trigger()
    paused_s = driver.wait(
        lambda: (
            driver.session.store.shown is not None
            and driver.session.store.shown.state is RunState.PAUSED
            and driver.num_in(Activity.PAUSED) == WORKERS
        )
    )
    driver.window.actions_.verbs[Verb.RESUME].trigger()
    resumed_s = driver.wait(lambda: _all_step(driver))
    return {"pause_to_all_paused": paused_s, "resume_to_all_stepping": resumed_s}


def _kill_worker(driver: WindowDriver) -> dict[str, float]:
    run = driver.session.store.shown
    assert run is not None
    assert run.latest is not None
    row = random.randrange(WORKERS)
    incarnation = int(run.latest.workers.incarnation[row])
    os.kill(int(run.latest.workers.pid[row]), signal.SIGKILL)

    def activity() -> Activity:
        assert run.latest is not None
        return Activity(int(run.latest.workers.activity[row]))

    shown_s = driver.wait(lambda: activity() is Activity.RESTARTING)

    def steps_again() -> bool:
        assert run.latest is not None
        workers = run.latest.workers
        alive = activity() in (Activity.RESETTING, Activity.STEPPING)
        return alive and workers.incarnation[row] > incarnation and workers.data_age_s[row] < 0.5

    stepping_s = shown_s + driver.wait(steps_again)
    return {"worker_killed_to_shown": shown_s, "worker_killed_to_stepping": stepping_s}


def _kill_engine(driver: WindowDriver) -> dict[str, float]:
    run = driver.session.store.shown
    assert run is not None
    pid = driver.session.engine.pid
    os.kill(pid, signal.SIGKILL)
    killed_s = time.monotonic()
    version = [-1]

    def is_back() -> bool:
        if driver.session.engine.pid in (0, pid):
            return False
        if version[0] < 0:
            version[0] = run.version
        return run.version > version[0] + 1

    driver.wait(is_back)
    return {"engine_killed_to_updates": time.monotonic() - killed_s}


def _new_window(driver: WindowDriver) -> dict[str, float]:
    before = driver.session.store.shown
    assert before is not None
    wanted = len(before.recent)
    own = set(driver.session.own_runs.ids)
    driver.leave()
    began_s = time.monotonic()
    driver.open()
    driver.session.own_runs.ids |= own

    def is_whole() -> bool:
        run = driver.session.store.shown
        drawn = driver.window.clock.figures().frames_per_s > 1
        return run is not None and len(run.recent) >= wanted and drawn

    driver.wait(is_whole)
    return {"new_window_to_full_picture": time.monotonic() - began_s}
