"""`raydash evaluate`: fresh episodes of a policy in a file; bad input ends in words."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from raydash.core.faults import FaultError
from raydash.core.spec import EnvSpec, PolicySpec
from raydash.core.states import Ending
from raydash.trial.trial import evaluate_policy
from raydash.worker.policies.weights import Weights, write_weights
from tests.fakes.clock import clock_of_a_hang
from tests.fakes.places import ROOT


def policy(folder: Path, *, inputs: int = 4) -> Path:
    """Write a policy that pushes the cart to the side that the pole leans and falls to."""
    matrix = np.zeros((inputs, 2))
    matrix[2:, 1] = 1.0
    path = folder / "p.npz"
    write_weights(path, Weights(((matrix, np.zeros(2)),), np.zeros(inputs), np.ones(inputs)))
    return path


def evaluate(*words: object) -> tuple[int, dict[str, Any], str]:
    done = subprocess.run(
        [sys.executable, "-m", "raydash", "evaluate", *map(str, words), "--json"],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    return done.returncode, json.loads(done.stdout) if done.stdout else {}, done.stderr


def test_a_policy_plays_fresh_episodes_and_its_figures_are_printed(tmp_path: Path) -> None:
    code, table, _ = evaluate(
        policy(tmp_path), "--env", "CartPole-v1", "--episodes", 30, "--seed", 7
    )
    assert code == 0
    assert table["num_episodes"] == 30
    assert table["num_episodes_terminated"] + table["num_episodes_truncated"] == 30
    assert (
        table["episode_return_min"] <= table["episode_return_mean"] <= table["episode_return_max"]
    )
    assert table["episode_return_mean"] == table["episode_len_mean"] > 100
    assert table["num_env_steps"] == pytest.approx(30 * table["episode_len_mean"])
    assert (table["seed"], table["error"]) == (7, None)


def test_the_same_seed_gives_the_same_episodes_and_none_gives_others(tmp_path: Path) -> None:
    spec = PolicySpec("linear", str(policy(tmp_path)))
    one, same, other = (
        evaluate_policy(EnvSpec(), spec, num_episodes=20, seed=seed) for seed in (7, 7, None)
    )
    assert one.episode_return_mean == same.episode_return_mean
    assert other.seed != 7


def test_errors_of_an_environment_are_counted_and_the_first_is_kept(tmp_path: Path) -> None:
    found = evaluate_policy(
        EnvSpec("tests.fakes.user_code.envs:TapedEnv", {"folder": str(tmp_path)}),
        PolicySpec("constant", action=0),
        (str(ROOT),),
        num_episodes=40,
        seed=1,
    )
    (tape,) = tmp_path.glob("*.tape")
    lines = [line.split() for line in tape.read_text().splitlines()]
    kinds = [Ending[kind.upper()] for _, _, kind in lines]
    assert found.num_episodes == len(lines) == 40
    assert found.num_episodes_error == kinds.count(Ending.ERROR) > 0
    assert found.num_episodes_terminated == kinds.count(Ending.TERMINATED) + kinds.count(
        Ending.BOTH
    )
    assert found.num_env_steps == sum(int(length) for _, length, _ in lines)
    assert "the tape tears" in found.first_error


def test_an_environment_that_keeps_raising_is_a_fault_with_its_traceback() -> None:
    with pytest.raises(FaultError) as caught:
        evaluate_policy(
            EnvSpec("tests.fakes.user_code.envs:RaisingEnv"),
            PolicySpec("random"),
            (str(ROOT),),
            num_episodes=10,
        )
    assert "5 times in a row" in caught.value.fault.what
    assert "Traceback" in caught.value.fault.detail


def test_an_environment_that_hangs_before_its_first_episode_is_given_up_as_before_a_run(
    tmp_path: Path,
) -> None:
    note = tmp_path / "hangs"
    with pytest.raises(FaultError, match="no answer within 20 s") as caught:
        evaluate_policy(
            EnvSpec("tests.fakes.user_code.envs:HangingEnv", {"where": "reset", "note": str(note)}),
            PolicySpec("random"),
            (str(ROOT),),
            num_episodes=10,
            clock=clock_of_a_hang(note),
        )
    assert "the first reset" in caught.value.fault.why


@pytest.mark.parametrize(
    ("words", "keys", "said"),
    [
        (["/nowhere/p.npz"], ["policy.path"], "no such file"),
        (["README.md"], ["policy.path"], "no policy"),
        (["{policy}", "--env", "CartPool-v1"], ["env.id"], "CartPole-v1"),
        (["{policy}", "--env", "Acrobot-v1"], ["policy.path", "env.id"], "does not fit"),
        (["{policy}", "--env-kwargs", "{"], ["env.kwargs"], "JSON"),
        (["{damaged}"], ["policy.path"], "no .npz file"),
    ],
)
def test_bad_input_exits_2_in_words(
    tmp_path: Path, words: list[str], keys: list[str], said: str
) -> None:
    damaged = tmp_path / "damaged.npz"
    damaged.write_bytes(b"PK\x03\x04 no archive")
    places = {"{policy}": policy(tmp_path), "{damaged}": damaged}
    code, table, errors = evaluate(*(places.get(word, word) for word in words))
    assert code == 2
    assert table["error_keys"] == keys
    assert said in table["error"]
    assert said in errors
