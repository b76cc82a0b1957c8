"""Only the chosen numbers of each episode's last info are kept."""

import math
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AutoresetMode

from raydash.core.records import RolloutChunk
from raydash.core.spec import EnvSpec, RolloutSpec, RunSpec
from raydash.core.spec_rules import violations_of
from raydash.protocol.codec import decode, encode
from raydash.worker.envs.environments import first_reset
from raydash.worker.envs.info_scalars import InfoScalars, number_of
from raydash.worker.envs.vector_environments import GuardedVectorEnv
from raydash.worker.loops.account import MAX_EPISODES, Incarnation, episodes_that_fit
from raydash.worker.loops.rollout import RolloutLoop
from raydash.worker.loops.vector_rollout import VectorRolloutLoop
from raydash.worker.node.progress import ProgressWriter
from tests.fakes.user_code.goals import GoalEnv

KEYS = ("score", "picture", "absent")
INCARNATION = Incarnation(1, 0, time.perf_counter, ProgressWriter(), KEYS)
SPEC = EnvSpec("tests.fakes.user_code.goals:GoalEnv")
Row = tuple[int, float, float]


@pytest.mark.parametrize(
    ("value", "number"),
    [
        (True, 1.0),
        (np.bool_(False), 0.0),
        (3, 3.0),
        (np.float32(0.5), 0.5),
        (np.array([2.0]), 2.0),
        (np.array(7), 7.0),
        ("3", None),
        (None, None),
        (np.zeros(2), None),
        ([1], None),
        (math.inf, None),
        (10**400, None),
        (np.complex128(1), None),
    ],
)
def test_numbers_and_flags_are_taken_and_nothing_else(value: Any, number: float | None) -> None:
    assert number_of(value) == number


def test_info_that_is_no_table_is_let_go() -> None:
    scalars = InfoScalars(["a"])
    scalars.add(0, "all is well")
    assert scalars.take_columns(1).names == ()


def test_success_is_kept_without_being_asked_for() -> None:
    scalars = InfoScalars()
    scalars.add(1, {"is_success": 1, "other": 2})
    found = scalars.take_columns(3)
    assert found.names == ("is_success",)
    np.testing.assert_array_equal(found.values[:, 0], [math.nan, 1.0, math.nan])
    assert scalars.take_columns(2).names == ()


def test_columns_of_a_call_are_read_where_they_are_known() -> None:
    info = {
        "score": np.array([1.0, 2.0, 0.0]),
        "_score": np.array([True, True, False]),
        "is_success": np.array([True, False, True]),  # own vector forms may leave masks out
    }
    scalars = InfoScalars(["score"])
    scalars.add_batch(4, [1, 2], info)
    found = scalars.take_columns(6)
    assert found.names == ("is_success", "score")
    np.testing.assert_array_equal(found.values[4:], [[0.0, 2.0], [1.0, math.nan]])


def rows_of(chunks: list[RolloutChunk]) -> list[tuple[int, int, float, float]]:
    """Return (sub-environment, length, is_success, score) of every episode."""
    rows: list[tuple[int, int, float, float]] = []
    for chunk in chunks:
        if not len(chunk.ending):
            continue  # a slice without an episode names nothing
        named = dict(zip(chunk.scalars.names, chunk.scalars.values.T, strict=True))
        score = named.get("score", np.full(len(chunk.ending), math.nan))
        rows += zip(
            chunk.env_index.tolist(), chunk.episode_len.tolist(), named["is_success"], score,
            strict=True,
        )  # fmt: skip
    return rows


def written(path: Path) -> list[Row]:
    rows = [line.split() for line in path.read_text().splitlines()]
    return [(int(length), float(success), float(score)) for length, success, score in rows]


def assert_same(found: list[Row], wanted: list[Row]) -> None:
    assert len(found) == len(wanted) > 20
    np.testing.assert_array_equal(np.array(found, float), np.array(wanted, float))


def test_single_environment_tells_of_every_episode(tmp_path: Path) -> None:
    env = GoalEnv(str(tmp_path))
    loop = RolloutLoop(INCARNATION, env, lambda _: 0, reset_seed=3, make_env=lambda: env)
    loop.prepare(lambda env, seed: first_reset(env, SPEC, seed))
    chunks = [decode(encode(loop.run(0.01))) for _ in range(4)]
    (tape,) = tmp_path.iterdir()
    assert_same([row[1:] for row in rows_of(chunks)], written(tape))
    assert {key for chunk in chunks for key in chunk.ignored_info} == {"picture"}


@pytest.mark.parametrize(
    "mode", [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]
)
def test_environments_stepped_together_tell_of_every_episode_in_every_autoreset_mode(
    tmp_path: Path, mode: AutoresetMode
) -> None:
    envs = [GoalEnv(str(tmp_path)) for _ in range(3)]
    tapes = {
        n: tmp_path / f"{next(iter(tmp_path.glob(f'*-{id(e)}.tape'))).name}"
        for n, e in enumerate(envs)
    }
    waiting = list(envs)
    vector = GuardedVectorEnv(lambda: waiting.pop(0), 3, autoreset_mode=mode)
    loop = VectorRolloutLoop(
        INCARNATION,
        vector,
        lambda _: np.zeros(3, np.int64),
        reset_seeds=[1, 2, 3],
        make_env=lambda: vector,
    )
    loop.prepare(lambda env, seed: first_reset(env, SPEC, seed))
    chunks = [loop.run(0.01) for _ in range(4)]
    for n, tape in tapes.items():
        found = [row[1:] for row in rows_of(chunks) if row[0] == n]
        assert_same(found, written(tape))
    assert {key for chunk in chunks for key in chunk.ignored_info} == {"picture"}


def test_chunk_with_many_scalars_ends_after_fewer_episodes() -> None:
    assert episodes_that_fit(0) == MAX_EPISODES
    assert 500 < episodes_that_fit(17) < MAX_EPISODES / 5
    assert episodes_that_fit(17, 10_000) == 1


def test_too_many_keys_are_refused() -> None:
    spec = RunSpec(rollout=RolloutSpec(info_keys=tuple(f"k{n}" for n in range(17))))
    (violation,) = violations_of(spec)
    assert violation.sentence() == (
        "rollout.info_keys: 17 are too many; allowed: a list of texts, at most 16"
    )
