"""Policies on real workers, and another one in the middle of a run, in every mode."""

import json
import os
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from raydash.core.events import EventKind
from raydash.core.messages import Verb
from raydash.core.spec import PolicySpec
from raydash.record.read.query import open_read_only
from raydash.worker.policies.weights import Weights, write_weights
from tests.fakes.engines.terminal import SeenRun, Terminal
from tests.fakes.places import ROOT
from tests.fakes.runs.recount import check_recording
from tests.fakes.user_code.onnx_models import write_affine

LEANING = np.array([[0.0, 0.0], [0.0, 0.5], [-5.0, 5.0], [-1.0, 1.0]])
"""Scores of left and right: pushes the cart under the pole, which then stands for long."""


def balanced(folder: Path) -> PolicySpec:
    return PolicySpec("onnx", write_affine(folder / "balanced.onnx", LEANING))


def numbers(run: SeenRun) -> list[int]:
    return [int(number) for number in run.latest.workers.weights_seq_no]


def saved(kind: str, folder: Path) -> PolicySpec:
    match kind:
        case "linear" | "mlp":
            first = (LEANING, np.zeros(2))
            layers = (first,) if kind == "linear" else (first, (np.eye(2), np.zeros(2)))
            write_weights(folder / "w.npz", Weights(layers, np.zeros(4), np.ones(4)))
            return PolicySpec(kind, str(folder / "w.npz"))
        case "onnx":
            return balanced(folder)
    return PolicySpec("tests.ray.rollouts.test_policies:leaning")


def leaning(observations: object, actions: object) -> object:
    return lambda observation: int(observation[2] + 0.2 * observation[3] > 0)


@pytest.mark.parametrize("kind", ["linear", "mlp", "onnx", "module:callable"])
def test_each_kind_balances_the_pole(kind: str, terminal: Terminal, tmp_path: Path) -> None:
    policy = saved(kind, tmp_path)
    table = {"kind": policy.kind} | ({"path": policy.path} if policy.path else {})
    run = terminal.start_stepping(policy=table, rollout={"num_workers": 1})
    terminal.wait(lambda: run.latest.figures.num_episodes_lifetime >= 3, "episodes")
    assert run.latest.figures.recent_return_mean > 100  # at random: 22
    terminal.stop(run)
    check_recording(run)


@pytest.mark.parametrize("mode", ["actors", "lockstep", "tasks"])
def test_a_swap_restarts_nobody_and_counts_on(
    mode: str, terminal: Terminal, tmp_path: Path
) -> None:
    env = "raydash/NoisyDrift-v0" if mode == "tasks" else "CartPole-v1"
    policy = PolicySpec("constant", action=1 if mode != "tasks" else [0.5] * 10)
    run = terminal.start_stepping(env={"id": env}, rollout={"num_workers": 2, "mode": mode})
    terminal.wait(lambda: (run.latest.workers.num_episodes > 3).all(), "episodes")
    pids = run.latest.workers.pid.tolist()
    assert numbers(run) == [0, 0]
    assert terminal.ask(run, Verb.SWAP, policy=policy) is None
    terminal.wait(lambda: numbers(run) == [1, 1], "the new policy")
    assert run.latest.policy == policy
    assert run.latest.weights_seq_no == 1
    assert run.latest.workers.pid.tolist() == pids
    assert run.latest.workers.incarnation.tolist() == [0, 0]
    assert EventKind.POLICY_SWAPPED in run.kinds()
    assert terminal.ask(run, Verb.SCALE, num_workers=3) is None
    terminal.wait(lambda: numbers(run) == [1, 1, 1], "a worker that was made later")
    before = run.latest.workers.num_episodes
    terminal.wait(lambda: bool((run.latest.workers.num_episodes[:2] > before[:2]).all()), "more")
    terminal.stop(run)
    check_recording(run)
    with closing(open_read_only(run.recording)) as connection:
        rows = connection.execute(
            "SELECT worker_index, weights_seq_no FROM episodes ORDER BY worker_index, rowid"
        ).fetchall()
    assert {number for _, number in rows} == {0, 1}
    for worker in (1, 2):
        played = [number for index, number in rows if index == worker]
        assert played == sorted(played)
    assert {number for index, number in rows if index == 3} <= {1}


@pytest.mark.parametrize("kind", ["Flock", "Queue"])
def test_agents_of_a_run_take_another_policy_and_newcomers_too(
    kind: str, terminal: Terminal, tmp_path: Path
) -> None:
    """By the engine's command first, then by the user's: `raydash swap`."""
    env = {"id": f"tests.fakes.user_code.agents:{kind}", "kwargs": {"folder": str(tmp_path)}}
    run = terminal.start_stepping(env=env, rollout={"num_workers": 2})
    terminal.wait(lambda: (run.latest.workers.num_episodes > 3).all(), "episodes")
    always = PolicySpec("constant", action=1)
    assert terminal.ask(run, Verb.SWAP, policy=always) is None
    terminal.wait(lambda: numbers(run) == [1, 1], "the new policy")
    assert run.latest.policy == always
    before = run.latest.workers.num_episodes
    terminal.wait(lambda: (run.latest.workers.num_episodes > before + 20).all(), "more")

    policy = "tests.ray.rollouts.test_policies:meek"
    done = subprocess.run(
        [sys.executable, "-m", "raydash", "swap", run.run_id, "--policy", policy],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=ROOT,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{run.run_id} has another policy: {policy}\n"
    terminal.wait(lambda: numbers(run) == [2, 2], "that policy")
    before, pids = run.latest.workers.num_episodes, run.latest.workers.pid.tolist()
    terminal.wait(lambda: (run.latest.workers.num_episodes > before + 20).all(), "more")
    last = terminal.stop(run)
    assert last.workers.incarnation.tolist() == [0, 0]
    assert last.figures.num_episodes_error_lifetime == 0
    check_recording(run)

    with closing(open_read_only(run.recording)) as connection:
        numbered = connection.execute(
            "SELECT worker_index, weights_seq_no FROM episodes ORDER BY worker_index, rowid"
        ).fetchall()
    for worker, pid in zip((1, 2), pids, strict=True):
        played = [number for index, number in numbered if index == worker]
        assert played == sorted(played)
        (tape,) = tmp_path.glob(f"{pid}-*.tape")
        acted = [set(json.loads(line)["actions"]) for line in tape.read_text().splitlines()]
        assert len(acted) == len(played)
        for number, action in ((1, 1), (2, 0)):
            # In the episode in which a policy comes the one before has acted too.
            later = slice(played.index(number) + 1, played.index(number) + played.count(number))
            assert later.stop - later.start > 10
            assert all(actions == {action} for actions in acted[later])


def meek(observations: object, actions: object) -> object:
    return lambda observation: 0


def test_a_policy_that_does_not_fit_an_agent_is_refused_with_its_name(
    terminal: Terminal, tmp_path: Path
) -> None:
    run = terminal.start_stepping(
        env={"id": "tests.fakes.user_code.agents:Flock"}, rollout={"num_workers": 1}
    )
    fault = terminal.ask(run, Verb.SWAP, policy=PolicySpec("constant", action=7))
    assert fault is not None
    assert "7 is not in Discrete(3)" in fault.sentence()
    assert "for the agent bird_0" in fault.sentence()
    lopsided = PolicySpec("onnx", write_affine(tmp_path / "bad.onnx", np.ones((5, 3))))
    fault = terminal.ask(run, Verb.SWAP, policy=lopsided)
    assert fault is not None
    assert "for the agent bird_0" in fault.sentence()
    before = run.latest.workers.num_episodes[0]
    terminal.wait(lambda: run.latest.workers.num_episodes[0] > before + 3, "it goes on")
    assert (numbers(run), run.latest.policy) == ([0], None)
    terminal.stop(run)
    check_recording(run)


def test_a_policy_that_does_not_fit_changes_nothing(terminal: Terminal, tmp_path: Path) -> None:
    run = terminal.start_stepping(rollout={"num_workers": 1})
    bad = PolicySpec("onnx", write_affine(tmp_path / "bad.onnx", np.ones((3, 2))))
    fault = terminal.ask(run, Verb.SWAP, policy=bad)
    assert fault is not None
    assert "should have shape (any, 4)" in fault.why
    untrusted = terminal.ask(run, Verb.SWAP, policy=PolicySpec("sb3", str(tmp_path / "m.zip")))
    assert untrusted is not None
    assert "unpickles" in untrusted.why
    assert numbers(run) == [0]
    assert run.latest.policy is None
    terminal.stop(run)
    check_recording(run)


def test_a_supervisor_that_is_killed_after_a_swap_goes_on_with_it(
    terminal: Terminal, tmp_path: Path
) -> None:
    run = terminal.start_stepping(rollout={"num_workers": 2})
    policy = balanced(tmp_path)
    assert terminal.ask(run, Verb.SWAP, policy=policy) is None
    terminal.wait(lambda: numbers(run) == [1, 1], "the new policy")
    committed = run.latest.figures.elapsed_s + 1.5
    terminal.wait(lambda: run.is_committed(committed), "a commit")
    os.kill(run.latest.health.pid, signal.SIGKILL)
    terminal.wait(lambda: run.latest.health.incarnation == 1, "another supervisor")
    terminal.wait(lambda: run.is_stepping() and numbers(run) == [1, 1], "stepping again")
    assert run.latest.policy == policy
    before = run.latest.figures.num_episodes_lifetime
    terminal.wait(lambda: run.latest.figures.num_episodes_lifetime > before + 3, "episodes")
    terminal.stop(run)
    check_recording(run)
