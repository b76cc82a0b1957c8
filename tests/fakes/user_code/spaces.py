"""Every space of Gymnasium, and environments that observe and act in any of them."""

from copy import deepcopy
from typing import Any

import numpy as np
from gymnasium import spaces

from tests.fakes.user_code.envs import CountingEnv, NotedEnv

_EACH: dict[str, Any] = {
    "Discrete": spaces.Discrete(3, start=-1),
    "Box": spaces.Box(-1.0, 1.0, (2, 2), np.float32),
    "MultiBinary": spaces.MultiBinary([2, 2]),
    "MultiDiscrete": spaces.MultiDiscrete([2, 3], start=[1, -1]),
    "Text": spaces.Text(6),
    "Tuple": spaces.Tuple((spaces.Discrete(2), spaces.Box(0.0, 1.0, (2,)), spaces.MultiBinary(2))),
    "Dict": spaces.Dict(
        {
            "at": spaces.Box(-1.0, 1.0, (2,)),
            "kind": spaces.Discrete(3),
            "inner": spaces.Dict({"tag": spaces.Text(3), "set": spaces.MultiBinary(2)}),
        }
    ),
    "Graph": spaces.Graph(spaces.Box(-1.0, 1.0, (2,)), spaces.Discrete(3)),
    "Graph without edges": spaces.Graph(spaces.Discrete(3), None),
    "Sequence": spaces.Sequence(spaces.Box(0.0, 1.0, (2,))),
    "Stacked sequence": spaces.Sequence(spaces.Discrete(4), stack=True),
    "OneOf": spaces.OneOf((spaces.Discrete(2), spaces.Box(-1.0, 1.0, (2,)), spaces.Text(3))),
}
SPACES: dict[str, Any] = {
    **_EACH,
    "Tuple of all": spaces.Tuple(tuple(map(deepcopy, _EACH.values()))),
    "Dict of all": spaces.Dict(deepcopy(_EACH)),
}
"""Spaces by name. Copy one before use, because spaces hold random generators."""


class _InSpaces:
    """Observes samples of one space and refuses actions that are not in the other."""

    observation_space: Any
    action_space: Any

    def _choose(self, observation: str, action: str) -> None:
        self.observation_space = deepcopy(SPACES[observation])
        self.action_space = deepcopy(SPACES[action])

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed, options=options)  # type: ignore[misc]
        if seed is not None:
            self.observation_space.seed(seed)
        return self.observation_space.sample(), {}

    def step(self, action: Any) -> Any:
        if not self.action_space.contains(action):
            raise TypeError(f"{action!r} is no action of {self.action_space}")
        _, *rest = super().step(action)  # type: ignore[misc]
        return self.observation_space.sample(), *rest


class SpacesEnv(_InSpaces, CountingEnv):
    """Ends each episode after three steps."""

    def __init__(self, observation: str, action: str) -> None:
        super().__init__(length=3)
        self._choose(observation, action)


class NotedSpacesEnv(_InSpaces, NotedEnv):
    """Plays `ROUND` and writes down all it does, its actions (`SEED.actions`) too."""

    def __init__(self, folder: str, observation: str, action: str, step_s: float = 0.0) -> None:
        super().__init__(folder, step_s)
        self._choose(observation, action)

    def step(self, action: Any) -> Any:
        self._note(f"{self._seed}.actions", " ".join(repr(action).split()))
        return super().step(action)
