"""How a state leads to the next, apart from any environment object: for steps that are tasks."""

import pickle
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle
from gymnasium.experimental.functional import FuncEnv
from gymnasium.utils import seeding

from raydash.core.spec import EnvSpec
from raydash.worker.envs.environments import Env
from raydash.worker.envs.functional import AnyFuncEnv, Rng, begin, step
from raydash.worker.remote.moves import Stepped


class Dynamics(ABC):
    """How a state leads to the next. Holds no state; states are whatever `open` and others give."""

    @abstractmethod
    def open(self, env: Env, seed: int) -> tuple[Any, Any]:
        """A first state and its observation.

        Args:
            env: Made from the spec for this; a law may take it over.
            seed: Of the episodes to come.
        """

    @abstractmethod
    def reset(self, state: Any) -> tuple[Any, Any]:
        """The first state of the next episode and its observation."""

    @abstractmethod
    def step(self, state: Any, action: Any) -> tuple[Any, Stepped]:
        """The next state, and what the step gave."""


@dataclass(frozen=True, slots=True)
class _Moment:
    """A `FuncEnv`'s state with what must travel along.

    Attributes:
        state: Of the functions.
        rng: Draws the noise, of all episodes to come too.
        num_steps: Of the episode.
    """

    state: Any
    rng: Rng
    num_steps: int = 0


@dataclass(frozen=True, slots=True)
class FunctionalDynamics(Dynamics):
    """Of a `FuncEnv`.

    Attributes:
        func: The functions.
        max_episode_steps: Where an episode is truncated; None: nowhere.
    """

    func: AnyFuncEnv
    max_episode_steps: int | None = None

    def open(self, env: Env, seed: int) -> tuple[_Moment, Any]:
        """See `Dynamics`. The generator is the one that `gymnasium.Env.reset(seed=seed)` makes."""
        rng, _ = seeding.np_random(seed)
        state, observation = begin(self.func, rng)
        return _Moment(state, rng), observation

    def reset(self, state: _Moment) -> tuple[_Moment, Any]:
        """See `Dynamics`."""
        first, observation = begin(self.func, state.rng)
        return _Moment(first, state.rng), observation

    def step(self, state: _Moment, action: Any) -> tuple[_Moment, Stepped]:
        """See `Dynamics`."""
        after, observation, reward, terminated = step(self.func, state.state, action, state.rng)
        num_steps = state.num_steps + 1
        truncated = self.max_episode_steps is not None and num_steps >= self.max_episode_steps
        moment = replace(state, state=after, num_steps=num_steps)
        return moment, Stepped(observation, reward, terminated, truncated, {})


class ObjectDynamics(Dynamics):
    """Of any environment that can be pickled: the object is the state."""

    def open(self, env: Env, seed: int) -> tuple[Env, Any]:
        """See `Dynamics`."""
        observation, _ = env.reset(seed=seed)
        return env, observation

    def reset(self, state: Env) -> tuple[Env, Any]:
        """See `Dynamics`."""
        observation, _ = state.reset()
        return state, observation

    def step(self, state: Env, action: Any) -> tuple[Env, Stepped]:
        """See `Dynamics`."""
        observation, reward, terminated, truncated, info = state.step(action)
        return state, Stepped(observation, float(reward), bool(terminated), bool(truncated), info)


def dynamics_of(env: Env, spec: EnvSpec) -> Dynamics:
    """The leanest law that does what an environment does.

    Args:
        env: Made from the spec; its `func_env`, if it has one, is all that is needed.
        spec: Its wrappers are part of what the environment does.
    """
    func = getattr(env.unwrapped, "func_env", None)
    if isinstance(func, FuncEnv) and not spec.wrappers:
        return FunctionalDynamics(func, env.spec.max_episode_steps if env.spec else None)
    return ObjectDynamics()


def pack_state(state: Any) -> bytes:
    """A state as it travels; `pickle.loads` unpacks it.

    Raises:
        Exception: whatever pickling it raises.
    """
    try:
        return pickle.dumps(state, pickle.HIGHEST_PROTOCOL)
    except Exception:
        # It takes functions without a name too (wrappers like them), but five times as long.
        return bytes(cloudpickle.dumps(state))
