"""A run that learns, on a real cluster: it reaches its target, and whatever dies costs little."""

import math
import os
import signal
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from raydash.core.events import Event, EventKind
from raydash.core.messages import Verb
from raydash.core.spec import PolicySpec
from raydash.core.states import EndedBy, RunState
from raydash.core.updates import Generations
from raydash.record.read.query import open_read_only
from raydash.record.read.snapshot import snapshot
from raydash.trial.trial import evaluate_policy
from tests.fakes.engines.terminal import SeenRun, Terminal
from tests.fakes.runs.recount import check_recording

FOREVER: dict[str, Any] = {"learner": {"kind": "cmaes"}, "policy": {"kind": "linear"}}
LEARNS: dict[str, Any] = {**FOREVER, "stop": {"target_return": 150.0}}


def _kill(pid: int) -> None:
    assert pid > 1, "0 would be everybody here"
    os.kill(pid, signal.SIGKILL)


def _learning(run: SeenRun):  # type: ignore[no-untyped-def]
    learning = run.latest.learning
    assert learning is not None
    return learning


def _rows(path: Path, sql: str) -> list[tuple]:  # type: ignore[type-arg]
    with closing(open_read_only(path)) as connection:
        return connection.execute(sql).fetchall()  # type: ignore[no-any-return]


def _made_anew(run: SeenRun) -> list[Event]:
    """The learner's process was; a search that began anew by itself is another matter."""
    restarts = [event for event in run.of() if event.kind is EventKind.LEARNER_RESTARTED]
    return [event for event in restarts if "made anew" in event.text]


def _learner_pid(run: SeenRun) -> int:
    """The process of the run's learner: of the same Ray as its supervisor, and its newest one."""
    session = os.getsid(run.latest.health.pid)
    found = [
        process
        for process in psutil.process_iter(["name", "cmdline", "create_time"])
        if "LearnerProcess" in " ".join(process.info["cmdline"] or ())
        and os.getsid(process.pid) == session
    ]
    return int(max(found, key=lambda process: process.info["create_time"]).pid)


def _check_generations(run: SeenRun, *, exact: bool = True) -> None:
    """Recount what each generation says of its candidates, and what evaluations say."""
    rows = _rows(
        run.recording,
        "SELECT number, return_mean, return_best, return_worst, evaluation_mean, evaluation_n,"
        " num_env_steps FROM generations ORDER BY number",
    )
    assert rows
    played = _rows(
        run.recording,
        "SELECT weights_seq_no, candidate, list(episode_return ORDER BY rowid) FROM episodes"
        " GROUP BY ALL ORDER BY ALL",
    )
    for number, mean, best, worst, *_ in rows:
        returns = [returns for seq, _, returns in played if seq == number]
        if exact:
            assert all(len(each) == 1 for each in returns)
        firsts = [each[0] for each in returns]
        assert mean == pytest.approx(np.mean(firsts))
        assert (best, worst) == (max(firsts), min(firsts))
    numbers = [row[0] for row in rows]
    assert numbers == sorted(set(numbers))
    for number, _, _, _, mean, count, _ in rows:
        if count:
            evaluations = _rows(
                run.recording,
                "SELECT evaluation, list(episode_return) FROM evaluation_episodes"
                f" WHERE weights_seq_no > {number} GROUP BY evaluation ORDER BY evaluation",
            )
            newest = next(returns for _, returns in evaluations if len(returns) == count)
            assert mean == pytest.approx(np.mean(newest))
    (steps,) = _rows(run.recording, "SELECT sum(episode_len) FROM episodes")[0]
    partial = int(run.latest.workers.partial_len.sum())
    if exact:
        assert steps + partial == run.latest.figures.num_env_steps_sampled_lifetime
    assert all(row[6] <= run.latest.figures.num_env_steps_sampled_lifetime for row in rows)
    (evaluated,) = _rows(run.recording, "SELECT count(*) FROM evaluation_episodes")[0]
    assert evaluated == _learning(run).num_evaluation_episodes_lifetime


def test_a_run_learns_to_its_target_and_its_best_policy_is_as_good_as_it_says(
    terminal: Terminal,
) -> None:
    run = terminal.start(**LEARNS, rollout={"seed": 1})
    last = terminal.end_of(run)
    assert (last.state, last.ended_by) == (RunState.FINISHED, EndedBy.TARGET)
    learning = _learning(run)
    assert learning.evaluation_episode_return_mean >= 150.0
    assert learning.evaluation_n == 100
    assert learning.num_generations > 0
    assert EventKind.POLICY_IMPROVED in run.kinds()
    check_recording(run)
    _check_generations(run)

    best = Path(learning.best_policy)
    assert best == run.recording.with_name(f"{run.run_id}.best.npz")
    found = evaluate_policy(
        run.spec.env, PolicySpec("linear", str(best)), num_episodes=20, seed=123
    )
    assert found.episode_return_mean is not None
    assert found.episode_return_mean > 75.0
    assert not run.recording.with_name(f"{run.run_id}.learner.npz").exists()

    again = snapshot(run.recording).learning
    assert again is not None
    for name in ("num_generations", "num_parameters", "evaluation_n", "best_policy", "population"):
        assert getattr(again, name) == getattr(learning, name)
    assert again.evaluation_episode_return_mean == learning.evaluation_episode_return_mean
    assert again.generations.number.tolist() == list(range(1, learning.num_generations + 1))


def test_readers_are_told_of_each_generation_once(terminal: Terminal) -> None:
    run = terminal.start(**FOREVER)
    told: list[Generations] = []
    seen: set[int] = set()

    def heard() -> bool:
        latest = run.latest
        if latest.learning is not None and latest.seq not in seen:
            seen.add(latest.seq)
            told.append(latest.learning.generations)
        return sum(map(len, told)) >= 12

    terminal.wait(heard, "12 generations")
    numbers = Generations.joined(told).number.tolist()
    assert numbers == list(range(1, len(numbers) + 1))
    assert run.latest.workers.weights_seq_no.max() > 10
    terminal.stop(run)


def test_a_worker_that_dies_takes_no_candidate_along(terminal: Terminal) -> None:
    run = terminal.start(**FOREVER, rollout={"num_workers": 3})
    terminal.wait(lambda: _learning(run).num_generations >= 3, "some generations")
    terminal.wait(lambda: run.latest.workers.num_episodes[1] > 0, "the second one plays")
    _kill(run.pid(2))
    terminal.wait(lambda: EventKind.WORKER_RESTARTED in run.kinds(2), "made anew")
    before = _learning(run).num_generations
    terminal.wait(lambda: _learning(run).num_generations > before + 3, "it goes on")
    terminal.stop(run)
    check_recording(run)
    _check_generations(run, exact=False)
    assert not _made_anew(run)


def test_a_supervisor_that_dies_goes_on_learning_where_it_was(terminal: Terminal) -> None:
    run = terminal.start(**FOREVER)
    terminal.wait(lambda: _learning(run).num_generations >= 8, "some generations")
    terminal.wait(lambda: run.is_committed(2.0), "committed")
    before = _learning(run)
    _kill(run.latest.health.pid)
    terminal.wait(lambda: EventKind.SUPERVISOR_RESTARTED in run.kinds(), "restarted")
    terminal.wait(lambda: _learning(run).num_generations > before.num_generations + 2, "it goes on")
    after = _learning(run)
    assert after.weights_seq_no > before.weights_seq_no
    (event,) = _made_anew(run)
    assert "from generation" in event.text
    assert after.best_episode_return_mean >= before.best_episode_return_mean
    terminal.stop(run)
    check_recording(run)
    _check_generations(run, exact=False)


def test_a_learner_that_dies_is_made_anew_from_its_last_state(terminal: Terminal) -> None:
    run = terminal.start(**FOREVER)
    terminal.wait(lambda: _learning(run).num_generations >= 8, "some generations")
    terminal.wait(lambda: run.latest.figures.elapsed_s > 2.0, "a state was kept")
    number = _learning(run).weights_seq_no
    _kill(_learner_pid(run))
    terminal.wait(lambda: _made_anew(run), "made anew")
    terminal.wait(lambda: _learning(run).weights_seq_no > number + 3, "it goes on")
    (event,) = _made_anew(run)
    assert "its process ended" in event.text
    assert "from generation" in event.text
    assert run.latest.figures.num_restarts == 0
    terminal.stop(run)
    check_recording(run)


def test_a_paused_run_learns_nothing_and_goes_on_afterwards(terminal: Terminal) -> None:
    run = terminal.start(**FOREVER)
    terminal.wait(lambda: _learning(run).num_generations >= 3, "some generations")
    assert terminal.ask(run, Verb.PAUSE) is None
    terminal.wait(lambda: run.latest.state is RunState.PAUSED, "paused")
    paused = run.latest
    terminal.wait(lambda: run.latest.t_s > paused.t_s + 1.0, "a second")
    assert run.latest.figures.num_env_steps_sampled_lifetime == (
        paused.figures.num_env_steps_sampled_lifetime
    )
    assert run.latest.figures.elapsed_s == paused.figures.elapsed_s
    assert terminal.ask(run, Verb.RESUME) is None
    terminal.wait(
        lambda: _learning(run).num_generations > paused.learning.num_generations + 2,  # type: ignore[union-attr]
        "it goes on",
    )
    terminal.stop(run)
    check_recording(run)
    _check_generations(run)


def test_workers_come_and_go_while_a_run_learns(terminal: Terminal) -> None:
    run = terminal.start(**FOREVER, rollout={"num_workers": 1})
    terminal.wait(lambda: _learning(run).num_generations >= 2, "some generations")
    assert terminal.ask(run, Verb.SCALE, num_workers=3) is None
    terminal.wait(lambda: (run.latest.workers.num_episodes > 0).sum() == 3, "all three play")
    assert terminal.ask(run, Verb.PAUSE, (1,)) is None
    assert terminal.ask(run, Verb.SCALE, num_workers=2) is None
    before = _learning(run).num_generations
    terminal.wait(lambda: _learning(run).num_generations > before + 2, "it goes on")
    assert terminal.ask(run, Verb.DRAIN) is None
    last = terminal.end_of(run)
    assert last.ended_by is EndedBy.DRAINED
    check_recording(run)
    _check_generations(run, exact=False)


def test_a_learner_that_raises_fails_its_run_with_the_traceback_and_others_go_on(
    terminal: Terminal,
) -> None:
    other = terminal.start_stepping(rollout={"num_workers": 1})
    run = terminal.start(
        policy={"kind": "linear"}, learner={"kind": "tests.fakes.user_code.learners:RaisesInTell"}
    )
    last = terminal.end_of(run)
    assert (last.state, last.ended_by) == (RunState.FAILED, EndedBy.LEARNER_FAILED)
    assert "that can't be" in last.cause
    (event,) = [e for e in run.of() if e.kind is EventKind.LEARNER_FAILED]
    assert "in tell" in event.detail or "learners.py" in event.detail
    before = other.latest.figures.num_env_steps_sampled_lifetime
    terminal.wait(
        lambda: other.latest.figures.num_env_steps_sampled_lifetime > before, "the other steps"
    )
    check_recording(run)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("tests.fakes.user_code.learners:GivesNaN", "NaN"),
        ("no_such_module:Learner", "ModuleNotFoundError"),
    ],
)
def test_a_learner_that_can_not_work_is_refused_before_anything_starts(
    terminal: Terminal, kind: str, words: str
) -> None:
    fault = terminal.refused(policy={"kind": "linear"}, learner={"kind": kind})
    assert "learner.kind" in fault.keys
    assert words in fault.sentence()


def test_a_learner_of_ones_own_improves_the_policy(terminal: Terminal) -> None:
    run = terminal.start(
        policy={"kind": "mlp", "hidden": [4]},
        learner={
            "kind": "assets.examples.own_learner:CrossEntropy",
            "episodes_per_candidate": 2,
            "evaluation_interval": 2,
        },
        stop={"target_return": 60.0},
    )
    last = terminal.end_of(run)
    assert last.ended_by is EndedBy.TARGET
    learning = _learning(run)
    assert learning.num_parameters == 4 * 4 + 4 + 4 * 2 + 2
    assert math.isnan(learning.generations.sigma[-1]) if len(learning.generations) else True
    check_recording(run)
