"""Tries whether stateless tasks can step an environment, and how large its state is."""

import pickle
import time
from dataclasses import dataclass
from typing import Any

from gymnasium.utils import EzPickle

from raydash.core.clock import Clock
from raydash.core.faults import Fault, FaultError
from raydash.core.spec import EnvSpec
from raydash.core.words.texts import one_line
from raydash.worker.envs.environments import make_env
from raydash.worker.remote.dynamics import Dynamics, FunctionalDynamics, dynamics_of, pack_state


@dataclass(frozen=True, slots=True)
class StateCost:
    """The cost of carrying an environment's state to a step and back.

    Attributes:
        num_bytes: Size of the pickled state.
        time_s: Time to pickle and unpickle it, without the time to send it.
        is_functional: The state is a `FuncEnv`'s; otherwise it is the whole environment object.
    """

    num_bytes: int
    time_s: float
    is_functional: bool


def try_stateless(spec: EnvSpec, clock: Clock = time.perf_counter) -> StateCost:
    """Check that stateless tasks can step an environment, and measure its state.

    The user's own modules must be importable already.

    Raises:
        FaultError: if they can't, with what to change.
    """
    env = make_env(spec)
    dynamics = dynamics_of(env, spec)
    is_functional = isinstance(dynamics, FunctionalDynamics)
    try:
        state, _ = dynamics.open(env, 0)
    except Exception as error:
        raised = f"{type(error).__name__}: {one_line(error)}"
        why = f"its first reset raised {raised}"
        if is_functional:
            why = (
                f"its functions are given a numpy.random.Generator and raised {raised}; "
                "those that want JAX's keys can't be used so"
            )
        raise FaultError(_not_stateless(spec, why)) from error
    try:
        started_s = clock()
        packed = pack_state(state)
        unpickled = pickle.loads(packed)
        time_s = clock() - started_s
        pickle.loads(pack_state(dynamics))
    except Exception as error:
        why = f"pickling it raised {type(error).__name__}: {one_line(error)}"
        raise FaultError(_not_stateless(spec, why)) from error
    if isinstance(env.unwrapped, EzPickle) and not is_functional:
        raise FaultError(_not_stateless(spec, _EZ_PICKLE))
    action = env.action_space.sample()
    try:
        unpickled, _ = dynamics.step(unpickled, action)
        dynamics.reset(pickle.loads(pack_state(unpickled)))
    except Exception as error:
        if _raises(dynamics, state, action):
            # It raises even where nothing was carried: its state is not to blame.
            return StateCost(len(packed), time_s, is_functional)
        why = f"after its state was carried, it raised {type(error).__name__}: {one_line(error)}"
        raise FaultError(_not_stateless(spec, why)) from error
    return StateCost(len(packed), time_s, is_functional)


def _raises(dynamics: Dynamics, state: Any, action: Any) -> bool:
    """Whether a step raises even from a state that was never pickled."""
    try:
        dynamics.reset(dynamics.step(state, action)[0])
    except Exception:
        return True
    return False


_EZ_PICKLE = (
    "it is an EzPickle: what is pickled are its constructor's arguments, and its state is lost"
)


def _not_stateless(spec: EnvSpec, why: str) -> Fault:
    return Fault(
        f"{spec.id} can't be stepped by stateless tasks",
        why,
        "Use --mode actors or lockstep, or let its state be plain data that pickles",
        keys=("rollout.mode", "env.id"),
        bad_input=True,
    )
