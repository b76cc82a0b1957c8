"""`raydash/NoisyDrift-v0`: a state that drifts along the actions, with a little noise.

The law stands once, in `NoisyDriftFunc`, whose functions take the state and the generator and keep
nothing; `NoisyDrift` is the same as an environment that has a state.
"""

from typing import Any

import gymnasium
import numpy as np
from gymnasium.experimental.functional import FuncEnv

from raydash.core.records import Float64
from raydash.worker.envs.functional import FunctionalEnv

SIZE = 10
NOISE = 0.1
TERMINATION_PROBABILITY = 0.05


class NoisyDriftFunc(FuncEnv[Float64, Float64, Any, float, bool, Any, Any]):
    """Stateless steps: `rng` is a `numpy.random.Generator`, states have shape (10,).

    One step draws first in `transition`, then in `terminal`.
    """

    observation_space = gymnasium.spaces.Box(0.0, np.inf, (SIZE,), np.float64)
    action_space = gymnasium.spaces.Box(0.0, 1.0, (SIZE,), np.float64)

    def initial(self, rng: np.random.Generator, params: Any = None) -> Float64:
        """Zeros."""
        return np.zeros(SIZE)

    def transition(
        self, state: Float64, action: Any, rng: np.random.Generator, params: Any = None
    ) -> Float64:
        """State + action + 0.1 x noise that is uniform in [0, 1)."""
        moved: Float64 = state + action + NOISE * rng.random(SIZE)
        return moved

    def observation(self, state: Float64, rng: np.random.Generator, params: Any = None) -> Float64:
        """The state itself."""
        return state

    def reward(
        self,
        state: Float64,
        action: Any,
        next_state: Float64,
        rng: np.random.Generator,
        params: Any = None,
    ) -> float:
        """Sum of the next state."""
        return float(next_state.sum())

    def terminal(self, state: Float64, rng: np.random.Generator, params: Any = None) -> bool:
        """True once in 20 steps, whatever the state."""
        return bool(rng.random() < TERMINATION_PROBABILITY)


class NoisyDrift(FunctionalEnv):
    """The environment around `NoisyDriftFunc`; never truncated."""

    def __init__(self, render_mode: None = None) -> None:
        super().__init__(NoisyDriftFunc())
        self.render_mode = render_mode
