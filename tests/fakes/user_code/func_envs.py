"""Functional environments, and environments whose state can't be pickled, for the mode `tasks`."""

import threading
from typing import Any

import gymnasium
import numpy as np
from gymnasium.experimental.functional import FuncEnv

from tests.fakes.user_code.envs import CountingEnv


class LimitedFunc(FuncEnv[Any, Any, Any, Any, Any, Any, Any]):
    """A walk whose state is a dictionary; it has parameters, and ends far from where it began."""

    size = 2

    @property
    def observation_space(self) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(-np.inf, np.inf, (self.size,), np.float64)

    @property
    def action_space(self) -> gymnasium.spaces.Box:
        return gymnasium.spaces.Box(-1.0, 1.0, (self.size,), np.float64)

    def get_default_params(self, **kwargs: Any) -> Any:
        return {"scale": 0.5}

    def initial(self, rng: Any, params: Any = None) -> Any:
        return {"at": rng.normal(size=self.size), "far": 2.0}

    def transition(self, state: Any, action: Any, rng: Any, params: Any = None) -> Any:
        step = action + params["scale"] * rng.normal(size=self.size)
        return {**state, "at": state["at"] + step}

    def observation(self, state: Any, rng: Any, params: Any = None) -> Any:
        return state["at"]

    def reward(self, state: Any, action: Any, next_state: Any, rng: Any, params: Any = None) -> Any:
        return np.float32(np.abs(next_state["at"]).max())

    def terminal(self, state: Any, rng: Any, params: Any = None) -> Any:
        return np.abs(state["at"]).max() > state["far"]


class KeyedFunc(LimitedFunc):
    """Needs JAX's random keys, as functions that are written for JAX do."""

    def initial(self, rng: Any, params: Any = None) -> Any:
        raise TypeError(f"JAX encountered invalid PRNG key data: got {rng}")


class LockedEnv(CountingEnv):
    """Holds a lock, which can't be pickled."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()


class ForgetfulEnv(CountingEnv):
    """Can be pickled, but loses its state."""

    def __getstate__(self) -> dict[str, Any]:
        return {}
