"""Policies that RLlib saved: an RLModule (new API stack), alone or in an algorithm's checkpoint.

Loading unpickles, so the user has to agree first (`raydash.core.trust`). Of the connectors around
the module only RLlib's defaults are applied: numbers in [-1, 1] are scaled to the bounds of the
action space (`normalize_actions`), and Discrete observations become one-hot vectors where the
module takes those.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from raydash.core.spec import PolicySpec
from raydash.worker.policies.files import Space, load_trusted, same_observations, unfit

_MODULE = Path("learner_group", "learner", "rl_module", "default_policy")
_HELP = "the folder that algorithm.save_to_path() wrote, or that of one RLModule"


class RllibPolicy:
    """The greedy policy of a checkpoint."""

    def __init__(self, spec: PolicySpec, observation_space: Space, action_space: Space) -> None:
        """Load the policy and check that it fits the spaces of one environment.

        Raises:
            FaultError: if it is not trusted, can't be loaded, or does not fit.
        """
        path, (self._module, is_stateful) = load_trusted(
            spec,
            _HELP,
            "ray.rllib.core.rl_module.rl_module",
            "ray[rllib] and torch",
            _load_module,
        )
        if is_stateful:
            raise unfit("rllib", path, "it has a memory, which raydash does not carry")
        self._prepare = self._make_prepare(path, observation_space)
        self._finish = self._make_finish(path, action_space)

    def one(self, observation: Any) -> Any:
        """Return the action for one observation."""
        return self.batch(np.asarray(observation)[None])[0]

    def batch(self, observations: Any) -> Any:
        """Return the actions for a batch of observations."""
        import torch

        with torch.no_grad():
            given = torch.from_numpy(self._prepare(np.asarray(observations)))
            answer = self._module.forward_inference({"obs": given})
            actions = answer.get("actions")
            if actions is None:
                distribution = self._module.get_inference_action_dist_cls()
                chosen = distribution.from_logits(answer["action_dist_inputs"])
                actions = chosen.to_deterministic().sample()
            return self._finish(actions.numpy())

    def _make_prepare(self, path: str, space: Space) -> Callable[[Any], Any]:
        takes = self._module.observation_space
        if isinstance(space, gymnasium.spaces.Discrete) and takes.shape == (space.n,):
            rows = np.eye(int(space.n), dtype=np.float32)
            return lambda observations: rows[observations - space.start]
        is_array = isinstance(space, gymnasium.spaces.Box)
        if not (is_array and same_observations(takes, space)):
            why = f"it takes observations of {takes}, the environment gives {space}"
            raise unfit("rllib", path, why)
        dtype = np.float32 if space.dtype is not None and space.dtype.kind == "f" else space.dtype
        return lambda observations: np.ascontiguousarray(observations, dtype)

    def _make_finish(self, path: str, space: Space) -> Callable[[Any], Any]:
        from ray.rllib.utils.spaces.space_utils import unsquash_action

        gives = self._module.action_space
        is_simple = isinstance(
            space, gymnasium.spaces.Box | gymnasium.spaces.Discrete | gymnasium.spaces.MultiDiscrete
        )
        if not is_simple or gives != space:
            why = f"it gives actions of {gives}, the environment takes {space}"
            raise unfit("rllib", path, why)
        dtype = space.dtype
        if isinstance(space, gymnasium.spaces.Box):
            low, high = space.low, space.high
            return lambda actions: np.clip(unsquash_action(actions, space), low, high).astype(dtype)
        return lambda actions: actions.astype(dtype)


def _load_module(path: str) -> tuple[Any, bool]:
    """Load a checkpoint's module; also return whether it has a memory."""
    from ray.rllib.core.rl_module.rl_module import RLModule

    module = RLModule.from_checkpoint(str(_module_in(Path(path))))
    module.eval()
    return module, bool(module.is_stateful())


def _module_in(path: Path) -> Path:
    """Find the folder that holds the module's state.

    Raises:
        ValueError: if there is none.
    """
    for place in (path / _MODULE, path / "default_policy", path):
        if any(place.glob("module_state.*")):
            return place
    raise ValueError(f"it holds no RLModule: give {_HELP}")
