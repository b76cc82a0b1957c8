"""Environments without a state of their own: Gymnasium's `FuncEnv`, and laws made of them.

A *law* says how a state leads to the next; whoever asks brings the state and takes it away again.
It is a `FuncEnv`, or any environment whose object is the state. Nothing here knows Ray.
"""

import pickle
import time
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import cloudpickle
import gymnasium
import numpy as np
from gymnasium.experimental.functional import FuncEnv
from gymnasium.utils import EzPickle, seeding

from raydash.core.clock import Clock
from raydash.core.faults import Fault, FaultError
from raydash.core.spec import EnvSpec
from raydash.worker.environments import Env, make_env
from raydash.worker.moves import Stepped
from raydash.worker.words import one_line

AnyFuncEnv: TypeAlias = "FuncEnv[Any, Any, Any, Any, Any, Any, Any]"
Rng = np.random.Generator


class FunctionalEnv(gymnasium.Env[Any, Any]):
    """The environment around a `FuncEnv`: it keeps the state. Never truncated.

    Attributes:
        func_env: The functions. Whoever can do without the state finds them by this name.
        state: Of the functions, now.
    """

    metadata: dict[str, Any] = {"render_modes": []}  # noqa: RUF012  # Gymnasium's own convention

    def __init__(self, func_env: AnyFuncEnv) -> None:
        self.func_env = func_env
        self.observation_space = func_env.observation_space
        self.action_space = func_env.action_space
        self.state: Any = None

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """To a first state."""
        super().reset(seed=seed)
        self.state, observation = begin(self.func_env, self.np_random)
        return observation, {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """One step of the law."""
        self.state, observation, reward, terminated = step(
            self.func_env, self.state, action, self.np_random
        )
        return observation, reward, terminated, False, {}


def begin(func: AnyFuncEnv, rng: Rng) -> tuple[Any, Any]:
    """A first state and its observation."""
    params = _params(func)
    state = func.initial(rng, *params)
    return state, func.observation(state, rng, *params)


def step(func: AnyFuncEnv, state: Any, action: Any, rng: Rng) -> tuple[Any, Any, float, bool]:
    """The next state, its observation, the reward of the way there, and whether it is the end."""
    params = _params(func)
    after = func.transition(state, action, rng, *params)
    reward = float(func.reward(state, action, after, rng, *params))
    terminated = bool(func.terminal(after, rng, *params))
    return after, func.observation(after, rng, *params), reward, terminated


def _params(func: AnyFuncEnv) -> tuple[Any, ...]:
    params = getattr(func, "default_params", None)
    return () if params is None else (params,)


class Law(ABC):
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
class FunctionalLaw(Law):
    """Of a `FuncEnv`.

    Attributes:
        func: The functions.
        max_episode_steps: Where an episode is truncated; None: nowhere.
    """

    func: AnyFuncEnv
    max_episode_steps: int | None = None

    def open(self, env: Env, seed: int) -> tuple[_Moment, Any]:
        """See `Law`. The generator is the one that `gymnasium.Env.reset(seed=seed)` makes."""
        rng, _ = seeding.np_random(seed)
        state, observation = begin(self.func, rng)
        return _Moment(state, rng), observation

    def reset(self, state: _Moment) -> tuple[_Moment, Any]:
        """See `Law`."""
        first, observation = begin(self.func, state.rng)
        return _Moment(first, state.rng), observation

    def step(self, state: _Moment, action: Any) -> tuple[_Moment, Stepped]:
        """See `Law`."""
        after, observation, reward, terminated = step(self.func, state.state, action, state.rng)
        num_steps = state.num_steps + 1
        truncated = self.max_episode_steps is not None and num_steps >= self.max_episode_steps
        moment = replace(state, state=after, num_steps=num_steps)
        return moment, Stepped(observation, reward, terminated, truncated, {})


class ObjectLaw(Law):
    """Of any environment that can be pickled: the object is the state."""

    def open(self, env: Env, seed: int) -> tuple[Env, Any]:
        """See `Law`."""
        observation, _ = env.reset(seed=seed)
        return env, observation

    def reset(self, state: Env) -> tuple[Env, Any]:
        """See `Law`."""
        observation, _ = state.reset()
        return state, observation

    def step(self, state: Env, action: Any) -> tuple[Env, Stepped]:
        """See `Law`."""
        observation, reward, terminated, truncated, info = state.step(action)
        return state, Stepped(observation, float(reward), bool(terminated), bool(truncated), info)


def law_of(env: Env, spec: EnvSpec) -> Law:
    """The leanest law that does what an environment does.

    Args:
        env: Made from the spec; its `func_env`, if it has one, is all that is needed.
        spec: Its wrappers are part of what the environment does.
    """
    func = getattr(env.unwrapped, "func_env", None)
    if isinstance(func, FuncEnv) and not spec.wrappers:
        return FunctionalLaw(func, env.spec.max_episode_steps if env.spec else None)
    return ObjectLaw()


@dataclass(frozen=True, slots=True)
class StateCost:
    """What it takes to carry an environment's state to a step and back.

    Attributes:
        num_bytes: Of the pickled state.
        time_s: To pickle it and to unpickle it again; the way there is not in it.
        is_functional: The state is a `FuncEnv`'s; else it is the environment's whole object.
    """

    num_bytes: int
    time_s: float
    is_functional: bool


def try_stateless(spec: EnvSpec, clock: Clock = time.perf_counter) -> StateCost:
    """See that an environment can be stepped by stateless tasks, and what its state weighs.

    Args:
        spec: Which environment; its own modules can be imported already.
        clock: Monotonic seconds.

    Raises:
        FaultError: if it can't, with what to change.
    """
    env = make_env(spec)
    law = law_of(env, spec)
    is_functional = isinstance(law, FunctionalLaw)
    try:
        state, _ = law.open(env, 0)
    except Exception as error:
        raised = f"{type(error).__name__}: {one_line(error)}"
        why = f"its first reset raised {raised}"
        if is_functional:
            why = (
                f"its functions are given a numpy.random.Generator and raised {raised}; "
                "those that want JAX's keys can't be used so"
            )
        raise FaultError(_refusal(spec, why)) from error
    try:
        started_s = clock()
        carried = pack_state(state)
        again = pickle.loads(carried)
        time_s = clock() - started_s
        pickle.loads(pack_state(law))
    except Exception as error:
        why = f"pickling it raised {type(error).__name__}: {one_line(error)}"
        raise FaultError(_refusal(spec, why)) from error
    if isinstance(env.unwrapped, EzPickle) and not is_functional:
        raise FaultError(_refusal(spec, _EZ_PICKLE))
    action = env.action_space.sample()
    try:
        again, _ = law.step(again, action)
        law.reset(pickle.loads(pack_state(again)))
    except Exception as error:
        if _raises(law, state, action):
            return StateCost(len(carried), time_s, is_functional)  # wherever it is
        why = f"after its state was carried, it raised {type(error).__name__}: {one_line(error)}"
        raise FaultError(_refusal(spec, why)) from error
    return StateCost(len(carried), time_s, is_functional)


def _raises(law: Law, state: Any, action: Any) -> bool:
    """Whether a step from a state that never travelled raises too."""
    try:
        law.reset(law.step(state, action)[0])
    except Exception:
        return True
    return False


_EZ_PICKLE = (
    "it is an EzPickle: what is pickled are its constructor's arguments, and its state is lost"
)


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


def _refusal(spec: EnvSpec, why: str) -> Fault:
    return Fault(
        f"{spec.id} can't be stepped by stateless tasks",
        why,
        "Use --mode actors or lockstep, or let its state be plain data that pickles",
        keys=("rollout.mode", "env.id"),
        bad_input=True,
    )
