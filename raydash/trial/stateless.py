"""Whether an environment can be stepped by stateless tasks, and what its state weighs."""

import pickle
import time
from dataclasses import dataclass
from typing import Any

from gymnasium.utils import EzPickle

from raydash.core.clock import Clock
from raydash.core.faults import Fault, FaultError
from raydash.core.spec import EnvSpec
from raydash.worker.envs.environments import make_env
from raydash.worker.remote.dynamics import Dynamics, FunctionalDynamics, dynamics_of, pack_state
from raydash.worker.words import one_line


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
    law = dynamics_of(env, spec)
    is_functional = isinstance(law, FunctionalDynamics)
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


def _raises(law: Dynamics, state: Any, action: Any) -> bool:
    """Whether a step from a state that never travelled raises too."""
    try:
        law.reset(law.step(state, action)[0])
    except Exception:
        return True
    return False


_EZ_PICKLE = (
    "it is an EzPickle: what is pickled are its constructor's arguments, and its state is lost"
)


def _refusal(spec: EnvSpec, why: str) -> Fault:
    return Fault(
        f"{spec.id} can't be stepped by stateless tasks",
        why,
        "Use --mode actors or lockstep, or let its state be plain data that pickles",
        keys=("rollout.mode", "env.id"),
        bad_input=True,
    )
