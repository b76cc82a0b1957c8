"""A run's id is a file's name too."""

import re
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.engine.runs.start_run import new_run_id

NOW = datetime(2026, 11, 22, 10, 15, tzinfo=UTC)


@pytest.mark.parametrize(
    ("env_id", "word"),
    [
        ("CartPole-v1", "cartpole-v1"),
        ("ALE/Pong-v5", "pong-v5"),
        ("my_pkg.envs:make", "make"),
        ("../../etc/passwd", "passwd"),
        ("Straße-v0", "stra-e-v0"),
        ("🙂", "env"),
        ("x" * 300, "x" * 24),
    ],
)
def test_an_id_says_when_and_which_environment(env_id: str, word: str) -> None:
    assert re.fullmatch(f"20261122-101500-{word}-[0-9a-f]{{4}}", new_run_id(env_id, NOW))


@given(st.text())
def test_an_id_is_a_plain_file_name_whatever_the_environment_is_called(env_id: str) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]*)*", new_run_id(env_id, NOW))
