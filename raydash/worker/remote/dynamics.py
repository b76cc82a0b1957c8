"""Steps an environment whose state is passed in and returned, as stateless tasks need it."""

import pickle
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any

import cloudpickle
from gymnasium.experimental.functional import FuncEnv
from gymnasium.utils import seeding
from typing_extensions import override

from raydash.core.spec import EnvSpec
from raydash.worker.envs.environments import Env
from raydash.worker.envs.functional import AnyFuncEnv, Rng, begin, step
from raydash.worker.remote.moves import Stepped


class Dynamics(ABC):
    """Leads from a state to the next. It holds no state itself, only what every step needs."""

    @abstractmethod
    def open(self, env: Env, seed: int) -> tuple[Any, Any]:
        """Return a first state and its observation.

        `env` was made from the spec for this call and may be taken over. `seed` seeds all episodes
        to come.
        """

    @abstractmethod
    def reset(self, state: Any) -> tuple[Any, Any]:
        """Return the first state of the next episode and its observation."""

    @abstractmethod
    def step(self, state: Any, action: Any) -> tuple[Any, Stepped]:
        """Return the next state and the result of the step."""


@dataclass(frozen=True, slots=True)
class _FunctionalState:
    """A `FuncEnv`'s state and what must travel with it.

    Attributes:
        state: The state that the functions take.
        rng: Draws the noise, also that of all episodes to come.
        num_steps: Steps of the episode so far.
    """

    state: Any
    rng: Rng
    num_steps: int = 0


@dataclass(frozen=True, slots=True)
class FunctionalDynamics(Dynamics):
    """The dynamics of a `FuncEnv`.

    Attributes:
        func: The functions.
        max_episode_steps: Episodes are truncated after this many steps; None: never.
    """

    func: AnyFuncEnv
    max_episode_steps: int | None = None

    @override
    def open(self, env: Env, seed: int) -> tuple[_FunctionalState, Any]:
        # `gymnasium.Env.reset(seed=seed)` makes the same generator.
        rng, _ = seeding.np_random(seed)
        state, observation = begin(self.func, rng)
        return _FunctionalState(state, rng), observation

    @override
    def reset(self, state: _FunctionalState) -> tuple[_FunctionalState, Any]:
        first, observation = begin(self.func, state.rng)
        return _FunctionalState(first, state.rng), observation

    @override
    def step(self, state: _FunctionalState, action: Any) -> tuple[_FunctionalState, Stepped]:
        after, observation, reward, terminated = step(self.func, state.state, action, state.rng)
        num_steps = state.num_steps + 1
        truncated = self.max_episode_steps is not None and num_steps >= self.max_episode_steps
        next_state = replace(state, state=after, num_steps=num_steps)
        return next_state, Stepped(observation, reward, terminated, truncated, {})


class ObjectDynamics(Dynamics):
    """The dynamics of any environment that can be pickled: the object is the state."""

    @override
    def open(self, env: Env, seed: int) -> tuple[Env, Any]:
        observation, _ = env.reset(seed=seed)
        return env, observation

    @override
    def reset(self, state: Env) -> tuple[Env, Any]:
        observation, _ = state.reset()
        return state, observation

    @override
    def step(self, state: Env, action: Any) -> tuple[Env, Stepped]:
        observation, reward, terminated, truncated, info = state.step(action)
        return state, Stepped(observation, float(reward), bool(terminated), bool(truncated), info)


def dynamics_of(env: Env, spec: EnvSpec) -> Dynamics:
    """Return the dynamics with the smallest state that do what an environment does.

    `env` was made from `spec`; if it has a `func_env` and no wrappers, only its functions are used.
    """
    func = getattr(env.unwrapped, "func_env", None)
    if isinstance(func, FuncEnv) and not spec.wrappers:
        return FunctionalDynamics(func, env.spec.max_episode_steps if env.spec else None)
    return ObjectDynamics()


def pack_state(state: Any) -> bytes:
    """Pickle a state for travelling; `pickle.loads` unpacks it.

    Raises:
        Exception: whatever pickling it raises.
    """
    try:
        return pickle.dumps(state, pickle.HIGHEST_PROTOCOL)
    except Exception:
        # cloudpickle also takes lambdas, which many wrappers hold, but is five times as slow.
        return bytes(cloudpickle.dumps(state))
