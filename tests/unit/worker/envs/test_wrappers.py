"""Environments are wrapped by name, and faults say what is wrong with a wrapper."""

from typing import Any

import gymnasium
import numpy as np
import pytest

from raydash.core.faults import Fault, FaultError
from raydash.core.messages import StartRun
from raydash.core.spec import EnvSpec, PolicySpec, RolloutSpec, RunSpec, WrapperSpec
from raydash.protocol.codec import decode, encode
from raydash.protocol.spec_file import spec_from_toml, toml_from_spec
from raydash.trial.trial import try_environment
from raydash.worker.envs.environments import make_env
from raydash.worker.envs.vector_environments import make_vector_env

MODULE = "tests.unit.worker.envs.test_wrappers"


class Doubled(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Multiplies rewards by `times`."""

    def __init__(self, env: gymnasium.Env[Any, Any], times: float = 2.0) -> None:
        super().__init__(env)
        self.times = times

    def step(self, action: Any) -> Any:
        observation, reward, terminated, truncated, info = self.env.step(action)
        return observation, self.times * float(reward), terminated, truncated, info


def plus_one(env: gymnasium.Env[Any, Any]) -> gymnasium.Env[Any, Any]:
    return gymnasium.wrappers.TransformReward(env, lambda reward: float(reward) + 1)


def no_env(env: object) -> int:
    return 3


def spec_with(*wrappers: WrapperSpec, env_id: str = "CartPole-v1") -> EnvSpec:
    return EnvSpec(env_id, wrappers=wrappers)


def fault_of(name: str, **kwargs: object) -> Fault:
    with pytest.raises(FaultError) as caught:
        make_env(spec_with(WrapperSpec(name, kwargs)))
    fault = caught.value.fault
    assert fault.bad_input
    assert fault.keys == ("env.wrappers",)
    return fault


@pytest.mark.parametrize(
    ("wrappers", "reward"), [(("Doubled", "plus_one"), 3.0), (("plus_one", "Doubled"), 4.0)]
)
def test_wrappers_go_around_the_environment_in_their_order(
    wrappers: tuple[str, ...], reward: float
) -> None:
    env = make_env(spec_with(*(WrapperSpec(f"{MODULE}:{name}") for name in wrappers)))
    env.reset(seed=0)
    assert env.step(0)[1] == reward


def test_one_of_gymnasium_is_found_by_its_name_and_gets_its_arguments() -> None:
    env = make_env(spec_with(WrapperSpec("TimeLimit", {"max_episode_steps": 2})))
    env.reset(seed=0)
    assert [env.step(0)[3] for _ in range(2)] == [False, True]


def test_environments_that_are_stepped_together_are_wrapped_each() -> None:
    env = make_vector_env(spec_with(WrapperSpec(f"{MODULE}:Doubled", {"times": 5})), 2, "sync")
    env.reset(seed=[0, 1])
    _, rewards, *_ = env.step(np.array([0, 1]))
    assert rewards.tolist() == [5.0, 5.0]
    env.close()


def test_vector_form_of_its_own_is_refused_with_wrappers() -> None:
    spec = spec_with(WrapperSpec("TimeLimit", {"max_episode_steps": 2}))
    rollout = RolloutSpec(num_envs_per_worker=4, vectorization="vector_entry_point")
    fault = try_environment(spec, PolicySpec(), rollout=rollout)
    assert fault is not None
    assert fault.keys == ("env.wrappers", "rollout.vectorization")
    assert "sync" in fault.remedy


@pytest.mark.parametrize("name", ["TimeLimt", "timelimit"])
def test_unknown_name_is_answered_with_near_matches(name: str) -> None:
    fault = fault_of(name)
    assert fault.what == f"There is no wrapper {name}"
    assert "TimeLimit" in fault.remedy


@pytest.mark.parametrize(
    ("name", "kwargs", "what", "remedy"),
    [
        ("TimeLimit", {"max_episode_step": 2}, "max_episode_step", "mean max_episode_steps?"),
        ("TimeLimit", {}, "TimeLimit", "It takes max_episode_steps"),
        (f"{MODULE}:plus_one", {"more": 1}, "more", "It takes no keyword arguments"),
        ("TimeLimit", {"max_episode_steps": -1}, "raised", "kwargs"),
        (f"{MODULE}:Double", {}, "no wrapper Double", "Doubled"),
        (f"{MODULE}:no_env", {}, "gave a int", "gymnasium.Wrapper"),
        ("no_such_module_here:Wrapper", {}, "could not be imported", "folder"),
        ("RescaleAction", {"min_action": 0, "max_action": 1}, "raised", "fits this environment"),
    ],
)
def test_wrong_wrappers_are_refused_in_words(
    name: str, kwargs: dict[str, object], what: str, remedy: str
) -> None:
    fault = fault_of(name, **kwargs)
    assert what in fault.what
    assert remedy in fault.remedy


def test_trial_tries_the_environment_in_its_wrappers() -> None:
    fault = try_environment(spec_with(WrapperSpec("TimeLimt")), PolicySpec())
    assert fault is not None
    assert fault.keys == ("env.wrappers",)
    good = spec_with(WrapperSpec("TimeLimit", {"max_episode_steps": 3}))
    assert try_environment(good, PolicySpec()) is None


def test_wrappers_travel_in_spec_files_and_in_orders() -> None:
    spec = RunSpec(env=spec_with(WrapperSpec("TimeLimit", {"max_episode_steps": 3})))
    assert spec_from_toml(toml_from_spec(spec)) == spec
    assert decode(encode(StartRun(1, spec))).spec == spec
