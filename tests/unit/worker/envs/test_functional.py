"""Dynamics step pickled states, and give what the environment itself would have given."""

import pickle
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.experimental.functional import FuncEnv

from raydash.core.faults import FaultError
from raydash.core.spec import EnvSpec, WrapperSpec
from raydash.trial.stateless import try_stateless
from raydash.worker.envs.environments import make_env
from raydash.worker.envs.functional import FunctionalEnv
from raydash.worker.remote.dynamics import (
    FunctionalDynamics,
    ObjectDynamics,
    dynamics_of,
    pack_state,
)
from tests.fakes.user_code.func_envs import LimitedFunc

HERE = "tests.fakes.user_code.func_envs"
NOISY = EnvSpec("raydash/NoisyDrift-v0")


def travelled(value: Any) -> Any:
    """Return a value as another process would receive it."""
    return pickle.loads(pack_state(value))


def plays_alike(spec: EnvSpec, seed: int = 3, num_steps: int = 120) -> None:
    env, twin = make_env(spec), make_env(spec)
    env.action_space.seed(1)
    dynamics = travelled(dynamics_of(twin, spec))
    expected, _ = env.reset(seed=seed)
    state, observation = dynamics.open(twin, seed)
    np.testing.assert_array_equal(observation, expected)
    for _ in range(num_steps):
        action = env.action_space.sample()
        expected, *others, _ = env.step(action)
        state, stepped = dynamics.step(travelled(state), action)
        np.testing.assert_array_equal(stepped.observation, expected)
        assert [stepped.reward, stepped.terminated, stepped.truncated] == others
        if stepped.terminated or stepped.truncated:
            expected, _ = env.reset()
            state, observation = dynamics.reset(travelled(state))
            np.testing.assert_array_equal(observation, expected)


@pytest.mark.parametrize(
    ("spec", "kind"),
    [
        (NOISY, FunctionalDynamics),
        (EnvSpec(f"{HERE}:LimitedFunc", {"options": {"size": 3}}), FunctionalDynamics),
        (EnvSpec("CartPole-v1"), ObjectDynamics),
        (EnvSpec("tests.fakes.user_code.envs:CountingEnv"), ObjectDynamics),
        (
            EnvSpec(NOISY.id, {}, (WrapperSpec("TimeLimit", {"max_episode_steps": 9}),)),
            ObjectDynamics,
        ),
    ],
)
def test_state_that_travels_gives_the_episodes_of_the_environment(
    spec: EnvSpec, kind: type
) -> None:
    assert type(dynamics_of(make_env(spec), spec)) is kind
    plays_alike(spec)


def test_time_limit_of_a_registered_id_truncates_in_both_forms() -> None:
    gymnasium.register("raydash_tests/Limited-v0", entry_point=LimitedEnv, max_episode_steps=4)
    spec = EnvSpec("raydash_tests/Limited-v0")
    env = make_env(spec)
    dynamics = dynamics_of(env, spec)
    assert dynamics == FunctionalDynamics(env.unwrapped.func_env, 4)
    state, _ = dynamics.open(env, 0)
    flags = []
    for _ in range(4):
        state, stepped = dynamics.step(travelled(state), np.zeros(2))
        flags.append(stepped.truncated)
    assert flags == [False, False, False, True]
    plays_alike(spec)


class LimitedEnv(FunctionalEnv):
    def __init__(self) -> None:
        super().__init__(LimitedFunc())


def test_law_keeps_nothing_so_that_one_state_gives_one_future() -> None:
    dynamics = dynamics_of(make_env(NOISY), NOISY)
    state, _ = dynamics.open(make_env(NOISY), 5)
    carried = pack_state(state)
    first = dynamics.step(pickle.loads(carried), np.zeros(10))[1]
    dynamics.step(pickle.loads(carried), np.ones(10))
    again = dynamics.step(pickle.loads(carried), np.zeros(10))[1]
    np.testing.assert_array_equal(first.observation, again.observation)


def test_class_of_functions_is_an_environment_like_any_other() -> None:
    env = make_env(EnvSpec(f"{HERE}:LimitedFunc"))
    assert isinstance(env, FunctionalEnv)
    assert isinstance(env.func_env, FuncEnv)
    observation, _ = env.reset(seed=1)
    assert env.observation_space.contains(observation)
    np.testing.assert_array_equal(env.state["at"], observation)


def test_cost_of_a_state_is_that_of_its_pickle() -> None:
    small, whole = try_stateless(NOISY), try_stateless(EnvSpec("CartPole-v1"))
    assert (small.is_functional, whole.is_functional) == (True, False)
    assert 300 < small.num_bytes < 2000 < whole.num_bytes < 20_000
    assert small.time_s > 0


@pytest.mark.parametrize(
    ("env_id", "words"),
    [
        (f"{HERE}:LockedEnv", "pickling it raised TypeError"),
        ("LunarLander-v3", "its state is lost"),
        (f"{HERE}:KeyedFunc", "those that want JAX's keys"),
        (f"{HERE}:ForgetfulEnv", "after its state was carried, it raised"),
    ],
)
def test_environment_whose_state_cannot_travel_is_refused_with_what_to_do(
    env_id: str, words: str
) -> None:
    with pytest.raises(FaultError) as caught:
        try_stateless(EnvSpec(env_id))
    fault = caught.value.fault
    assert words in fault.why
    assert "actors or lockstep" in fault.remedy
    assert fault.keys == ("rollout.mode", "env.id")
    assert fault.bad_input
