"""Bad input leaves nothing: a fault with the keys at fault, no run, no recording."""

from typing import Any

import pytest

from raydash.paths import data_dir
from tests.fakes.engines.terminal import Terminal

FAKES = "tests.fakes.user_code.envs"


@pytest.mark.parametrize(
    ("table", "keys", "words"),
    [
        pytest.param(
            {"env": {"id": "CartPool-v1"}}, ("env.id",), "CartPole-v1", id="unknown id, near one"
        ),
        pytest.param(
            {"env": {"id": "no_such_package:Env-v0"}}, ("env.id",), "no_such_package", id="package"
        ),
        pytest.param(
            {"env": {"id": "CartPole-v1", "kwargs": {"colour": "red"}}},
            ("env.kwargs",),
            "colour",
            id="wrong kwargs",
        ),
        pytest.param(
            {"env": {"id": f"{FAKES}:RaisingEnv", "kwargs": {"where": "constructor"}}},
            ("env.id", "env.kwargs"),
            "the licence server is away",
            id="constructor raises",
        ),
        pytest.param(
            {"env": {"id": f"{FAKES}:RaisingEnv", "kwargs": {"where": "reset"}}},
            ("env.id", "env.kwargs"),
            "the level file is missing",
            id="first reset raises",
        ),
        pytest.param(
            {"env": {"id": f"{FAKES}:CrashingEnv", "kwargs": {"where": "reset"}}},
            ("env.id", "env.kwargs"),
            "SIGSEGV",
            id="first reset crashes",
        ),
        pytest.param(
            {"rollout": {"num_workers": 10_000}},
            ("rollout.num_workers",),
            "GB are free",
            id="more workers than memory",
        ),
    ],
)
def test_a_run_that_cannot_be_is_refused_with_the_key_at_fault_and_leaves_nothing(
    terminal: Terminal, table: dict[str, Any], keys: tuple[str, ...], words: str
) -> None:
    before = _recordings()
    fault = terminal.refused(**table)
    assert fault.bad_input
    assert set(fault.keys) & set(keys) == set(fault.keys) != set()
    assert words in fault.sentence() + fault.detail
    assert fault.remedy
    assert _recordings() == before
    terminal.wait(lambda: not terminal.listed.runs, "no run is listed")


def _recordings() -> set[str]:
    folder = data_dir() / "runs"
    return {path.name for path in folder.iterdir()} if folder.exists() else set()
