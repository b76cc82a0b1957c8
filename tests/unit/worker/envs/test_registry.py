"""Every environment of Gymnasium's registry that can be made here runs and is counted right.

Each one runs for 0.3 s; `RAYDASH_REGISTRY_S=2` in the environment makes it 2 s.
"""

import os
import time
from typing import Any

import gymnasium
import numpy as np
import pytest

from raydash.core.faults import FaultError
from raydash.core.spec import EnvSpec, PolicySpec
from raydash.core.states import Ending
from raydash.worker.envs.environments import Env, first_reset, make_env, registry_ids
from raydash.worker.loops.account import Incarnation
from raydash.worker.loops.rollout import RolloutLoop
from raydash.worker.node.progress import ProgressWriter
from raydash.worker.policies.policy import make_policy

OWN_OF_TESTS = "raydash_tests/"
SECONDS = float(os.environ.get("RAYDASH_REGISTRY_S", "0.3"))
EXPLAINED = ("mujoco", "jax", "gymnasium-robotics", "ale_py", "pygame")
"""Packages that may be missing here; any other reason that an environment fails is a bug."""


class Recounted(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Counts episodes independently of the loop."""

    def __init__(self, env: Env) -> None:
        super().__init__(env)
        self.episodes: list[tuple[float, int, Ending]] = []
        self.num_steps = 0
        self._total, self._len = 0.0, 0

    def step(self, action: Any) -> Any:
        result = self.env.step(action)
        _, reward, terminated, truncated, _ = result
        self.num_steps += 1
        self._total += float(reward)
        self._len += 1
        if terminated or truncated:
            both = terminated and truncated
            one = Ending.TERMINATED if terminated else Ending.TRUNCATED
            self.episodes.append((self._total, self._len, Ending.BOTH if both else one))
            self._total, self._len = 0.0, 0
        return result


@pytest.mark.parametrize("env_id", [i for i in registry_ids() if not i.startswith(OWN_OF_TESTS)])
def test_environment_runs_with_the_counts_of_a_recount_or_lacks_a_package(env_id: str) -> None:
    spec = EnvSpec(env_id)
    try:
        env = Recounted(make_env(spec))
    except FaultError as error:
        fault = error.fault
        assert "needs a package that is not installed" in fault.what
        words = f"{fault.what} {fault.why}".lower()
        assert any(package.lower() in words for package in EXPLAINED), words
        assert fault.remedy
        return
    loop = RolloutLoop(
        Incarnation(1, 0, time.perf_counter, ProgressWriter()),
        env,
        make_policy(PolicySpec(), env.observation_space, env.action_space, 1),
        reset_seed=5,
        make_env=lambda: env,
    )
    loop.prepare(lambda env, seed: first_reset(env, spec, seed))
    chunks = [loop.run(SECONDS / 3) for _ in range(3)]
    loop.close()

    assert [error.message for chunk in chunks for error in chunk.errors] == []
    assert chunks[-1].totals.num_env_steps == env.num_steps > 0
    found = [
        (float(total), int(length), Ending(ending))
        for chunk in chunks
        for total, length, ending in zip(
            chunk.episode_return, chunk.episode_len, chunk.ending, strict=True
        )
    ]
    assert found == env.episodes
    assert np.isfinite([total for total, _, _ in found]).all()


def test_what_comes_with_gymnasium_raydash_and_box2d_can_be_made_here() -> None:
    always = ("CartPole-v1", "Blackjack-v1", "Taxi-v4", "raydash/NoisyDrift-v0")
    for env_id in (*always, "LunarLander-v3", "BipedalWalker-v3", "CarRacing-v3"):
        make_env(EnvSpec(env_id)).close()
