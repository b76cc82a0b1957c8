"""`raydash/NoisyDrift-v0`: a state that drifts along the actions, with a little noise.

The dynamics are in `NoisyDriftFunc`, whose functions take the state and the generator and keep
nothing; `NoisyDrift` is the environment around them that holds a state.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.experimental.functional import FuncEnv
from typing_extensions import override

from raydash.core.records import Float64
from raydash.worker.envs.functional import FunctionalEnv

SIZE = 10
NOISE = 0.1
TERMINATION_PROBABILITY = 0.05


class NoisyDriftFunc(FuncEnv[Float64, Float64, Any, float, bool, Any, Any]):
    """Stateless functions: `rng` is a `numpy.random.Generator`, states have shape (10,).

    A step draws random numbers first in `transition`, then in `terminal`.
    """

    observation_space = gymnasium.spaces.Box(0.0, np.inf, (SIZE,), np.float64)
    action_space = gymnasium.spaces.Box(0.0, 1.0, (SIZE,), np.float64)

    @override
    def initial(self, rng: np.random.Generator, params: Any = None) -> Float64:
        return np.zeros(SIZE)

    @override
    def transition(
        self, state: Float64, action: Any, rng: np.random.Generator, params: Any = None
    ) -> Float64:
        """Return state + action + 0.1 x noise that is uniform in [0, 1)."""
        moved: Float64 = state + action + NOISE * rng.random(SIZE)
        return moved

    @override
    def observation(self, state: Float64, rng: np.random.Generator, params: Any = None) -> Float64:
        return state

    @override
    def reward(
        self,
        state: Float64,
        action: Any,
        next_state: Float64,
        rng: np.random.Generator,
        params: Any = None,
    ) -> float:
        """Return the sum over the next state."""
        return float(next_state.sum())

    @override
    def terminal(self, state: Float64, rng: np.random.Generator, params: Any = None) -> bool:
        """Terminate once in 20 steps on average, whatever the state."""
        return bool(rng.random() < TERMINATION_PROBABILITY)


class NoisyDrift(FunctionalEnv):
    """The environment around `NoisyDriftFunc`; its episodes are never truncated."""

    def __init__(self, render_mode: None = None) -> None:
        super().__init__(NoisyDriftFunc())
        self.render_mode = render_mode
