"""Environments without a state of their own: Gymnasium's `FuncEnv`, and an environment around one.

Whoever steps a `FuncEnv` passes the state in and gets the next one back. Nothing here knows Ray.
"""

from typing import Any, TypeAlias

import gymnasium
import numpy as np
from gymnasium.experimental.functional import FuncEnv
from typing_extensions import override

AnyFuncEnv: TypeAlias = "FuncEnv[Any, Any, Any, Any, Any, Any, Any]"
Rng = np.random.Generator


class FunctionalEnv(gymnasium.Env[Any, Any]):
    """The environment around a `FuncEnv`: it holds the state. Its episodes are never truncated.

    Attributes:
        func_env: The functions. Code that keeps the state elsewhere finds them by this name.
        state: The current state.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # Gymnasium's own convention

    def __init__(self, func_env: AnyFuncEnv) -> None:
        self.func_env = func_env
        self.observation_space = func_env.observation_space
        self.action_space = func_env.action_space
        self.state: Any = None

    @override
    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        self.state, observation = begin(self.func_env, self.np_random)
        return observation, {}

    @override
    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        self.state, observation, reward, terminated = step(
            self.func_env, self.state, action, self.np_random
        )
        return observation, reward, terminated, False, {}


def begin(func: AnyFuncEnv, rng: Rng) -> tuple[Any, Any]:
    """Return a first state and its observation."""
    params = _params(func)
    state = func.initial(rng, *params)
    return state, func.observation(state, rng, *params)


def step(func: AnyFuncEnv, state: Any, action: Any, rng: Rng) -> tuple[Any, Any, float, bool]:
    """Return the next state, its observation, the step's reward, and whether it terminates."""
    params = _params(func)
    after = func.transition(state, action, rng, *params)
    reward = float(func.reward(state, action, after, rng, *params))
    terminated = bool(func.terminal(after, rng, *params))
    return after, func.observation(after, rng, *params), reward, terminated


def _params(func: AnyFuncEnv) -> tuple[Any, ...]:
    params = getattr(func, "default_params", None)
    return () if params is None else (params,)
