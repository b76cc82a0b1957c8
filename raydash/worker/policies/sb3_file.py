"""Policies that Stable-Baselines3 saved: PPO, A2C, DQN, SAC, TD3, DDPG, and others like them.

Only the policy is built and not the algorithm around it, so the algorithm need not be named.
Loading unpickles, so the user has to agree first (`raydash.core.trust`).

The statistics of a `VecNormalize` are used if they are beside the model: as `NAME_vecnormalize.pkl`
or `NAME/vecnormalize.pkl` (RL Zoo) of `NAME.zip`, or as `vecnormalize.pkl` in its folder.
"""

import pickle
from pathlib import Path
from typing import Any

import gymnasium

from raydash.core.spec import PolicySpec
from raydash.worker.policies.files import Space, load_trusted, same_observations, unfit

_UNUSED = ("lr_schedule", "clip_range", "clip_range_vf", "exploration_schedule", "action_noise")
"""Entries of the algorithm that are pickled functions, which other Python versions can't read."""


class Sb3Policy:
    """The greedy policy of a `.zip`."""

    def __init__(self, spec: PolicySpec, observation_space: Space, action_space: Space) -> None:
        """Load the policy and check that it fits the spaces of one environment.

        Raises:
            FaultError: if it is not trusted, can't be loaded, or does not fit.
        """
        path, (self._policy, self._statistics) = load_trusted(
            spec,
            "the .zip that model.save() wrote",
            "stable_baselines3",
            "stable-baselines3",
            lambda path: (_load_policy(path), _load_statistics(Path(path))),
        )
        self._check(path, observation_space, action_space)

    def one(self, observation: Any) -> Any:
        """Return the action for one observation."""
        return self._answer(observation)

    def batch(self, observations: Any) -> Any:
        """Return the actions for a batch of observations."""
        return self._answer(observations)

    def _answer(self, observation: Any) -> Any:
        if self._statistics is not None:
            observation = self._statistics.normalize_obs(observation)
        action, _ = self._policy.predict(observation, deterministic=True)
        return action

    def _check(self, path: str, observation_space: Space, action_space: Space) -> None:
        mine = self._policy.observation_space
        if hasattr(self._policy, "lstm_actor"):
            raise unfit("sb3", path, "it has a memory (LSTM), which raydash does not carry")
        offered = (observation_space, _channels_first(observation_space))
        if not any(same_observations(mine, each) for each in offered):
            why = f"it takes observations of {mine}, the environment gives {observation_space}"
            raise unfit("sb3", path, why)
        if self._policy.action_space != action_space:
            why = f"it gives actions of {self._policy.action_space}, the environment takes "
            raise unfit("sb3", path, why + str(action_space))
        statistics = self._statistics
        if statistics is not None and not same_observations(
            statistics.observation_space, observation_space
        ):
            why = f"the VecNormalize beside it is for {statistics.observation_space}"
            raise unfit("sb3", path, why)


def _load_policy(path: str) -> Any:
    from stable_baselines3.common.policies import ActorCriticPolicy
    from stable_baselines3.common.save_util import load_from_zip_file

    unused = dict.fromkeys(_UNUSED)
    data, parameters, _ = load_from_zip_file(path, custom_objects=unused, device="cpu")
    if data is None or "policy" not in parameters:
        raise ValueError("it holds no policy")
    kwargs = dict(data["policy_kwargs"] or {})
    if issubclass(data["policy_class"], ActorCriticPolicy):
        kwargs["use_sde"] = data["use_sde"]
    policy = data["policy_class"](
        data["observation_space"], data["action_space"], lambda _progress: 0.0, **kwargs
    )
    policy.load_state_dict(parameters["policy"])
    policy.set_training_mode(False)
    return policy


def _load_statistics(path: Path) -> Any:
    for place in (
        path.with_name(f"{path.stem}_vecnormalize.pkl"),
        path.with_suffix("") / "vecnormalize.pkl",
        path.with_name("vecnormalize.pkl"),
    ):
        if place.exists():
            with place.open("rb") as file:
                statistics = pickle.load(file)
            return statistics if statistics.norm_obs else None
    return None


def _channels_first(space: Space) -> Space:
    """Return a space as SB3 transposes it, so that the channels of images come first."""
    from stable_baselines3.common.preprocessing import (
        is_image_space,
        is_image_space_channels_first,
    )
    from stable_baselines3.common.vec_env import VecTransposeImage

    if isinstance(space, gymnasium.spaces.Dict):
        return gymnasium.spaces.Dict({key: _channels_first(each) for key, each in space.items()})
    if is_image_space(space) and not is_image_space_channels_first(space):
        turned: Space = VecTransposeImage.transpose_space(space)
        return turned
    return space
