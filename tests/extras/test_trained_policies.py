"""Policies that Stable-Baselines3 and RLlib saved act here as they act there."""

import json
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space

from raydash.core.faults import FaultError
from raydash.core.spec import EnvSpec, PolicySpec
from raydash.trial.trial import try_environment
from raydash.worker.policies.batch import BatchSpaces, make_batch_policy
from raydash.worker.policies.policy import check_action, make_policy

NUM_ENVS = 4
ENVS = ("CartPole-v1", "Pendulum-v1")


def together(env: Any) -> BatchSpaces:
    return BatchSpaces(
        NUM_ENVS,
        env.observation_space,
        env.action_space,
        batch_space(env.observation_space, NUM_ENVS),
        batch_space(env.action_space, NUM_ENVS),
    )


def why(spec: PolicySpec, env: Any) -> str:
    with pytest.raises(FaultError) as caught:
        make_policy(spec, env.observation_space, env.action_space, 0)
    assert caught.value.fault.bad_input
    return caught.value.fault.sentence()


def saved_sb3(folder: Path, algorithm: str, env: Any, **options: Any) -> tuple[Any, PolicySpec]:
    import stable_baselines3

    policy = options.pop("policy", "MlpPolicy")
    model = getattr(stable_baselines3, algorithm)(policy, env, device="cpu", seed=1, **options)
    model.save(folder / "model.zip")
    return model, PolicySpec("sb3", str(folder / "model.zip"), trust=True)


@pytest.mark.parametrize(
    ("algorithm", "env_id"),
    [
        ("PPO", "CartPole-v1"),
        ("A2C", "CartPole-v1"),
        ("DQN", "CartPole-v1"),
        ("PPO", "Pendulum-v1"),
        ("SAC", "Pendulum-v1"),
        ("TD3", "Pendulum-v1"),
        ("DDPG", "Pendulum-v1"),
    ],
)
def test_an_sb3_policy_acts_as_its_model_does(algorithm: str, env_id: str, tmp_path: Path) -> None:
    env = gymnasium.make(env_id)
    model, spec = saved_sb3(tmp_path, algorithm, env)
    policy = make_policy(spec, env.observation_space, env.action_space, 0)
    many = make_batch_policy(spec, together(env), 0)
    check_action(policy, env.reset(seed=0)[0], env.action_space, spec)
    seen = np.random.default_rng(0).normal(size=(NUM_ENVS, *env.observation_space.shape))
    seen = seen.astype(np.float32)
    right = np.array([model.predict(row, deterministic=True)[0] for row in seen])
    np.testing.assert_allclose([policy(row) for row in seen], right, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(many(seen), right, rtol=1e-5, atol=1e-6)


def test_an_sb3_policy_of_a_dict_and_of_pictures_act_too(tmp_path: Path) -> None:
    from stable_baselines3.common.envs import FakeImageEnv, SimpleMultiObsEnv

    for env, policy_class in (
        (SimpleMultiObsEnv(discrete_actions=True), "MultiInputPolicy"),
        (FakeImageEnv(screen_height=36, screen_width=36), "CnnPolicy"),
    ):
        model, spec = saved_sb3(tmp_path, "PPO", env, policy=policy_class)
        policy = make_policy(spec, env.observation_space, env.action_space, 0)
        env.observation_space.seed(0)
        seen = env.observation_space.sample()
        assert policy(seen) == model.predict(seen, deterministic=True)[0]


def test_statistics_of_vecnormalize_beside_a_model_are_applied(tmp_path: Path) -> None:
    from stable_baselines3.common.vec_env import DummyVecEnv, VecNormalize

    env = gymnasium.make("Pendulum-v1")
    model, spec = saved_sb3(tmp_path, "SAC", env)
    plain = make_policy(spec, env.observation_space, env.action_space, 0)
    statistics = VecNormalize(DummyVecEnv([lambda: gymnasium.make("Pendulum-v1")]))
    statistics.obs_rms.mean, statistics.obs_rms.var = np.array([1.0, 2, 3]), np.array([4.0, 4, 4])
    statistics.save(str(tmp_path / "vecnormalize.pkl"))
    policy = make_policy(spec, env.observation_space, env.action_space, 0)
    seen = np.array([0.5, -0.5, 1.0], np.float32)
    right, _ = model.predict(statistics.normalize_obs(seen), deterministic=True)
    np.testing.assert_allclose(policy(seen), right, rtol=1e-5)
    assert not np.allclose(policy(seen), plain(seen))
    other = gymnasium.make("CartPole-v1")
    _, spec = saved_sb3(tmp_path, "PPO", other)
    assert "VecNormalize beside it is for" in why(spec, other)


def test_an_sb3_policy_of_another_environment_is_refused(tmp_path: Path) -> None:
    _, spec = saved_sb3(tmp_path, "PPO", gymnasium.make("CartPole-v1"))
    said = why(spec, gymnasium.make("MountainCar-v0"))
    assert "it takes observations of Box" in said
    assert "the environment gives Box" in said
    fewer = gymnasium.wrappers.TransformAction(
        gymnasium.make("CartPole-v1"), lambda action: 0, spaces.Discrete(1)
    )
    assert "gives actions of Discrete(2)" in why(spec, fewer)


def saved_rllib(folder: Path, observations: Any, actions: Any, **config: Any) -> Any:
    from ray.rllib.algorithms.ppo.torch.default_ppo_torch_rl_module import DefaultPPOTorchRLModule
    from ray.rllib.core.rl_module.default_model_config import DefaultModelConfig
    from ray.rllib.core.rl_module.rl_module import RLModuleSpec

    module = RLModuleSpec(
        module_class=DefaultPPOTorchRLModule,
        observation_space=observations,
        action_space=actions,
        model_config=DefaultModelConfig(fcnet_hiddens=[8], **config),
    ).build()
    module.save_to_path(folder)
    return module


@pytest.mark.parametrize("below", ["", "learner_group/learner/rl_module/default_policy"])
@pytest.mark.parametrize("env_id", ENVS)
def test_an_rllib_module_acts_greedily(env_id: str, below: str, tmp_path: Path) -> None:
    import torch

    env = gymnasium.make(env_id)
    module = saved_rllib(tmp_path / below, env.observation_space, env.action_space)
    spec = PolicySpec("rllib", str(tmp_path), trust=True)
    policy = make_policy(spec, env.observation_space, env.action_space, 0)
    many = make_batch_policy(spec, together(env), 0)
    check_action(policy, env.reset(seed=0)[0], env.action_space, spec)
    seen = np.random.default_rng(0).normal(size=(NUM_ENVS, *env.observation_space.shape))
    seen = seen.astype(np.float32)
    with torch.no_grad():
        numbers = module.forward_inference({"obs": torch.from_numpy(seen)})
    numbers = numbers["action_dist_inputs"].numpy()
    if env_id == "CartPole-v1":
        right = numbers.argmax(axis=1)
    else:
        right = np.clip(2.0 * numbers[:, :1], -2.0, 2.0)  # [-1, 1] stretched to the bounds
    np.testing.assert_allclose([policy(row) for row in seen], right, rtol=1e-5)
    np.testing.assert_allclose(many(seen), right, rtol=1e-5)


def test_discrete_observations_are_given_one_hot_where_the_module_takes_that(
    tmp_path: Path,
) -> None:
    env = gymnasium.make("CliffWalking-v1")
    saved_rllib(tmp_path, spaces.Box(0, 1, (48,)), env.action_space)
    spec = PolicySpec("rllib", str(tmp_path), trust=True)
    policy = make_policy(spec, env.observation_space, env.action_space, 0)
    assert env.action_space.contains(policy(36))


def test_an_rllib_module_that_does_not_fit_is_refused(tmp_path: Path) -> None:
    env = gymnasium.make("CartPole-v1")
    saved_rllib(tmp_path / "a", env.observation_space, env.action_space)
    spec = PolicySpec("rllib", str(tmp_path / "a"), trust=True)
    assert "takes observations" in why(spec, gymnasium.make("Pendulum-v1"))
    saved_rllib(tmp_path / "b", env.observation_space, spaces.Discrete(3))
    spec = PolicySpec("rllib", str(tmp_path / "b"), trust=True)
    assert "gives actions of Discrete(3)" in why(spec, env)
    saved_rllib(tmp_path / "c", env.observation_space, env.action_space, use_lstm=True)
    spec = PolicySpec("rllib", str(tmp_path / "c"), trust=True)
    assert "memory" in why(spec, env)
    (tmp_path / "d").mkdir()
    assert "holds no RLModule" in why(PolicySpec("rllib", str(tmp_path / "d"), trust=True), env)


@pytest.mark.parametrize("kind", ["sb3", "rllib"])
def test_a_corrupt_file_is_told(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "module_state.pkl"
    path.write_bytes(b"PK\x03\x04 broken")
    spec = PolicySpec(kind, str(tmp_path if kind == "rllib" else path), trust=True)
    assert "can't be loaded" in why(spec, gymnasium.make("CartPole-v1"))


class Evil:
    """Says so where it is unpickled."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def __reduce__(self) -> Any:
        return Path.touch, (self._place,)


def test_nothing_is_unpickled_without_trust(tmp_path: Path) -> None:
    env = gymnasium.make("CartPole-v1")
    folder, mark = tmp_path / "checkpoint", tmp_path / "mark"
    saved_rllib(folder, env.observation_space, env.action_space)
    (folder / "class_and_ctor_args.pkl").write_bytes(pickle.dumps(Evil(mark)))
    spec = PolicySpec("rllib", str(folder))
    assert "was not loaded" in why(spec, env)
    assert try_environment(EnvSpec(), spec) is not None
    assert not mark.exists()
    why(PolicySpec("rllib", str(folder), trust=True), env)
    assert mark.exists()  # so the mark would have told


@pytest.mark.parametrize("kind", ["sb3", "rllib"])
def test_run_rolls_such_a_policy_out_on_real_workers(
    kind: str, tmp_path: Path, private_dirs: Path
) -> None:
    env = gymnasium.make("CartPole-v1")
    if kind == "sb3":
        _, spec = saved_sb3(tmp_path, "PPO", env)
    else:
        saved_rllib(tmp_path, env.observation_space, env.action_space)
        spec = PolicySpec("rllib", str(tmp_path), trust=True)
    words = f"run --policy {kind} --policy-path {spec.path} --workers 1 --steps 300 --json"
    command = [sys.executable, "-m", "raydash", *words.split()]
    refused = subprocess.run(command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert refused.returncode == 2
    assert "--trust-policy" in refused.stderr
    done = subprocess.run(
        [*command, "--trust-policy"], capture_output=True, text=True, env=dict(os.environ)
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["num_env_steps_sampled_lifetime"] >= 300
    assert told["num_episodes_error_lifetime"] == 0
    assert told["policy"] == kind
