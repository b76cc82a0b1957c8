"""Presents a pool of EnvPool's C++ environments as one of Gymnasium's vector environments.

EnvPool is an extra and is imported only when a spec asks for it. A pool resets a sub-environment in
the call after its episode's end and ignores the action of that call: Gymnasium's NEXT_STEP.
"""

import difflib
import re
import traceback
from typing import Any, NoReturn

import gymnasium
from gymnasium.vector import AutoresetMode
from gymnasium.vector.utils import batch_space
from typing_extensions import override

from raydash.core.faults import Fault, FaultError
from raydash.core.spec import EnvSpec
from raydash.core.words.texts import listed, one_line
from raydash.worker.envs.environments import ENVPOOL_PREFIX

_OURS = (
    "num_envs",
    "batch_size",
    "max_num_players",
    "seed",
    "env_seed",
    "thread_pool",
    "base_path",
    "gym_reset_return_info",
)
"""Keyword arguments that raydash sets itself, as it steps a whole pool in each call."""
_NUM_THREADS = 1
"""A worker has one core, so a second thread would gain nothing."""


class EnvPoolEnv(gymnasium.vector.VectorEnv[Any, Any, Any]):
    """One pool. A pool is seeded when it is made, so a seeded reset makes a new one."""

    metadata: dict[str, Any] = {  # noqa: RUF012  # Gymnasium's own convention
        "autoreset_mode": AutoresetMode.NEXT_STEP
    }

    def __init__(self, env: EnvSpec, num_envs: int) -> None:
        """Find out the spaces; the first reset makes the pool.

        Raises:
            FaultError: if EnvPool is not installed or has no such environment.
        """
        self._envpool = _imported()
        self._name = env.id.removeprefix(ENVPOOL_PREFIX)
        self._kwargs = {"num_threads": _NUM_THREADS, **env.kwargs, "num_envs": num_envs}
        self._pool: Any = None
        spec = _spec_of(self._envpool, self._name, env, num_envs)
        self.num_envs = num_envs
        self.single_observation_space = spec.gymnasium_observation_space
        self.single_action_space = spec.gymnasium_action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    @override
    def reset(self, *, seed: Any = None, options: Any = None) -> tuple[Any, dict[str, Any]]:
        """Begin all episodes; `options` are ignored.

        `seed` is one seed per sub-environment, or a number, to which EnvPool adds each one's index.
        """
        if seed is not None or self._pool is None:
            self._pool = None  # its threads end before others begin
            seeds = {} if seed is None else {"seed": seed}
            self._pool = self._envpool.make_gymnasium(self._name, **self._kwargs, **seeds)
        observations, info = self._pool.reset()
        return observations, info

    @override
    def step(self, actions: Any) -> tuple[Any, Any, Any, Any, dict[str, Any]]:
        """Step each sub-environment, or reset it if its episode ended in the call before."""
        observations, rewards, terminated, truncated, info = self._pool.step(actions)
        return observations, rewards, terminated, truncated, info

    @override
    def close_extras(self, **kwargs: Any) -> None:
        self._pool = None


def _imported() -> Any:
    try:
        import envpool
    except ImportError as error:
        raise FaultError(
            Fault(
                "EnvPool is not installed",
                one_line(error),
                "Run pip install 'raydash[envpool]' on every machine that runs workers, or use "
                "rollout.vectorization = sync",
                detail=traceback.format_exc(),
                keys=("rollout.vectorization",),
                bad_input=True,
            )
        ) from error
    return envpool


def _spec_of(envpool: Any, name: str, env: EnvSpec, num_envs: int) -> Any:
    """Return EnvPool's description of an environment.

    Raises:
        FaultError: if EnvPool has none, or the environment does not take the keyword arguments.
    """
    names = envpool.list_all_envs()
    if name not in names:
        bare = name.rpartition("/")[2]
        near = [bare] if bare in names else difflib.get_close_matches(bare, names, n=4, cutoff=0.7)
        _refuse(
            f"EnvPool has no environment {name}",
            f"It has {len(names)} others",
            f"Did you mean {listed(near)}?"
            if near
            else "EnvPool's own names are wanted: envpool.list_all_envs() gives them",
            "env.id",
        )
    for kwarg in _OURS:
        if kwarg in env.kwargs:
            _refuse(
                f"{kwarg} of {env.id} can't be chosen",
                "raydash chooses it",
                "Use rollout.num_envs_per_worker and rollout.seed",
                "env.kwargs",
            )
    try:
        spec = envpool.make_spec(name, **env.kwargs, num_envs=num_envs)
    except Exception as error:
        if isinstance(error, ImportError) or not env.kwargs:
            _refuse(
                f"EnvPool could not make {env.id}",
                one_line(error),
                "Install what it needs on every machine that runs workers, or choose another one",
                "env.id",
                detail=traceback.format_exc(),
            )
        defaults = envpool.make_spec(name, num_threads=_NUM_THREADS).config._asdict()
        _refuse_kwargs(env, defaults, error)
    if spec.config.max_num_players != 1:
        _refuse(
            f"{env.id} has several players",
            "A pool of such environments does not give one reward a step for each",
            "Use a multi-agent environment of PettingZoo",
            "env.id",
        )
    return spec


def _refuse_kwargs(env: EnvSpec, defaults: dict[str, Any], error: Exception) -> NoReturn:
    taken = {name: value for name, value in defaults.items() if name not in _OURS}
    found = re.search(r"unexpected keyword argument '?(\w+)", str(error))
    wrong = found.group(1) if found else ""
    near = difflib.get_close_matches(wrong, taken, n=1)
    _refuse(
        f"{env.id} takes no keyword argument {wrong}"
        if wrong
        else f"{env.id} does not take the values of these keyword arguments",
        one_line(error) if wrong else "A value is of another type than its default",
        f"Did you mean {near[0]}?"
        if near
        else "With their defaults it takes "
        + ", ".join(f"{name}={value!r}" for name, value in taken.items()),
        "env.kwargs",
        detail=traceback.format_exc(),
    )


def _refuse(what: str, why: str, remedy: str, key: str, detail: str = "") -> NoReturn:
    raise FaultError(
        Fault(what, why, remedy, detail, keys=(key, "rollout.vectorization"), bad_input=True)
    )
