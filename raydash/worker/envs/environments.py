"""Makes environments from their names, and says in plain words why one can't be made.

A name is a Gymnasium id (`CartPole-v1`), `module:Id` (the module registers the id when it is
imported, as in `ale_py:ALE/Pong-v5`), or `package.module:callable` (a class or function that makes
an environment).
"""

import difflib
import importlib
import inspect
import re
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import gymnasium
from gymnasium import error as gym_error
from gymnasium.envs.registration import load_env_creator, register, registry

from raydash.core.faults import Fault, FaultError, FaultKind
from raydash.core.spec import EnvSpec
from raydash.core.words.texts import listed, one_line
from raydash.worker.envs.multi_agent import is_multi_agent
from raydash.worker.envs.wrappers import wrapped

Env: TypeAlias = gymnasium.Env[Any, Any]

_PIP_NAMES: Mapping[str, str] = {
    "Box2D": "gymnasium[box2d]",
    "ale_py": "gymnasium[atari]",
    "jax": "gymnasium[jax]",
    "jaxlib": "gymnasium[jax]",
    "mujoco": "gymnasium[mujoco]",
    "pygame": "gymnasium[classic-control]",
    "gymnasium_robotics": "gymnasium-robotics",
    "minigrid": "minigrid",
    "cv2": "opencv-python",
    "yaml": "pyyaml",
    "pymunk": "pettingzoo[butterfly]",
    "rlcard": "pettingzoo[classic]",
}
"""Names that pip knows, by module, where the two differ."""

ENVPOOL_PREFIX = "envpool:"

_NAMESPACES: Mapping[str, str] = {"ALE": "ale_py", "MiniGrid": "minigrid", "BabyAI": "minigrid"}
"""The modules that register the ids of a namespace."""

_PIP_LINE = re.compile(r"pip install [\"'`]?([\w.-]+(?:\[[\w,.-]+\])?)")
_BAD_ARGUMENT = re.compile(
    r"unexpected keyword argument '?(\w+)|missing \d+ required (?:positional|keyword-only) arg"
    r"|positional argument|multiple values for (?:keyword )?argument"
)
_KWARGS_HINT_LIMIT = 12


_OWN: Mapping[str, str] = {"raydash/NoisyDrift-v0": "raydash.worker.envs.noisy_drift:NoisyDrift"}
"""Environments that raydash provides; their modules are imported when they are made."""


def register_own() -> None:
    """Register raydash's own environments with Gymnasium. A second call does nothing."""
    for env_id, entry_point in _OWN.items():
        if env_id not in registry:
            register(env_id, entry_point=entry_point)


def registry_ids() -> tuple[str, ...]:
    """Return every registered id, sorted, without the adapters for old APIs."""
    register_own()
    return tuple(sorted(name for name in registry if not name.startswith("GymV")))


def add_source_dirs(source_dirs: Sequence[str]) -> None:
    """Put the folders of the user's own modules in front of the import path."""
    sys.path[:0] = [folder for folder in source_dirs if folder not in sys.path]


def make_env(env: EnvSpec, source_dirs: Sequence[str] = ()) -> Env:
    """Make an environment in its wrappers; it is not reset yet.

    The user's modules are imported from `source_dirs`.

    Raises:
        FaultError: in every case of failure, with the spec keys at fault; also if it is a
            multi-agent environment.
    """
    made = make_any_env(env, source_dirs)
    if isinstance(made, gymnasium.Env):
        single: Env = made
        return single
    raise FaultError(
        Fault(
            f"{env.id} is a multi-agent environment",
            "Only workers with one environment each, in the mode actors, step such ones",
            'Use rollout.mode = "actors", rollout.num_envs_per_worker = 1 and no learner',
            keys=("env.id", "rollout.mode", "rollout.num_envs_per_worker"),
            bad_input=True,
        )
    )


def make_any_env(env: EnvSpec, source_dirs: Sequence[str] = ()) -> Any:
    """Make a Gymnasium environment, or a multi-agent one of PettingZoo, in its wrappers.

    The user's modules are imported from `source_dirs`.

    Raises:
        FaultError: in every case of failure, with the spec keys at fault.
    """
    register_own()
    add_source_dirs(source_dirs)
    creator = _creator(env)
    try:
        made = creator(**env.kwargs)
    except gym_error.UnregisteredEnv as error:
        raise _unknown_id(env.id, error) from error
    except (gym_error.DependencyNotInstalled, ImportError) as error:
        raise _missing_package(env.id, error) from error
    except TypeError as error:
        if not _BAD_ARGUMENT.search(str(error)):
            raise _constructor_raised(env, error) from error
        raise _wrong_kwargs(env, error) from error
    except Exception as error:
        if isinstance(error, gym_error.Error) and str(error).startswith("Malformed"):
            raise _unknown_id(env.id, error) from error
        raise _constructor_raised(env, error) from error
    if not (isinstance(made, gymnasium.Env) or is_multi_agent(made)):
        made = _adapted(env.id, made)
    made = wrapped(made, env.wrappers)
    if isinstance(made, gymnasium.Env):
        _check_spaces(env.id, made)
    return made


def first_reset(env: Any, spec: EnvSpec, seed: int | list[int]) -> Any:
    """Reset an environment or a vector of them for the first time; return the observation.

    Raises:
        FaultError: if `reset` raises or does not return `(observation, info)`.
    """
    try:
        given = env.reset(seed=seed)
    except Exception as error:
        remedy, kind = "Try it in a terminal: the traceback names the line", FaultKind.USER_CODE
        if isinstance(error, TypeError) and "'seed'" in str(error):
            remedy = "Give it the signature reset(self, *, seed=None, options=None)"
            kind = FaultKind.OTHER
        raise FaultError(
            Fault(
                what=f"The first reset of {spec.id} raised {type(error).__name__}",
                why=one_line(error),
                remedy=remedy,
                detail=traceback.format_exc(),
                keys=_keys(spec),
                bad_input=True,
                kind=kind,
            ),
        ) from error
    if not (isinstance(given, tuple) and len(given) == 2):
        raise FaultError(
            Fault(
                what=f"The first reset of {spec.id} gave a {type(given).__name__}",
                why="It has to give two things: an observation, and a table of info",
                remedy="Let it return (observation, {})",
                keys=("env.id",),
                bad_input=True,
            )
        )
    return given[0]


def _creator(env: EnvSpec) -> Callable[..., Any]:
    """Find the callable that makes the environment from keyword arguments."""

    def from_registry(**kwargs: Any) -> Any:
        return gymnasium.make(env.id, **kwargs)

    module_name, colon, name = env.id.partition(":")
    if not colon:
        return from_registry
    if env.id.startswith(ENVPOOL_PREFIX):
        raise _only_pools(env.id)
    if not (module_name and name):
        raise _unknown_id(env.id, ValueError("A colon stands between a module and a name"))
    try:
        module = importlib.import_module(module_name)
    except ImportError as error:
        raise _missing_package(env.id, error) from error
    except Exception as error:
        raise FaultError(
            Fault(
                what=f"Importing {module_name} raised {type(error).__name__}",
                why=one_line(error),
                remedy="The traceback names the line",
                detail=traceback.format_exc(),
                keys=("env.id",),
                bad_input=True,
                kind=FaultKind.USER_CODE,
            ),
        ) from error
    target: Any = module
    for part in name.split("."):
        target = getattr(target, part, None)
    if callable(target):
        creator: Callable[..., Any] = target
        return creator
    if name in registry or "/" in name or "-v" in name:
        return from_registry
    known = [key for key, value in vars(module).items() if callable(value) and key[0] != "_"]
    near = difflib.get_close_matches(name, [*known, *registry], n=3)
    raise FaultError(
        Fault(
            what=f"{module_name} has no environment {name}",
            why="It is neither a class or function of that module nor an id that it registers",
            remedy=f"Did you mean {listed(near)}?" if near else "Check the part after the colon",
            keys=("env.id",),
            bad_input=True,
        ),
    )


def _unknown_id(env_id: str, error: Exception) -> FaultError:
    bare = env_id.rpartition(":")[2]
    namespace, slash, _ = bare.partition("/")
    ids = registry_ids()
    near = difflib.get_close_matches(bare, ids, n=4, cutoff=0.7)
    stem = bare.rpartition("-v")[0] or bare
    near += [name for name in ids if name.rpartition("-v")[0] == stem and name not in near]
    if slash and namespace in _NAMESPACES:
        module = _NAMESPACES[namespace]
        package = _PIP_NAMES.get(module, module)
        remedy = f'Run pip install "{package}" and write {module}:{bare}'
    elif near:
        remedy = f"Did you mean {listed(near)}?"
    else:
        remedy = (
            "Write a Gymnasium id, module:Id if a module registers it, or "
            "package.module:callable for a class or function of your own"
        )
    return FaultError(
        Fault(
            what=f"There is no environment {env_id}",
            why=one_line(error).partition(" Did you mean")[0],
            remedy=remedy,
            keys=("env.id",),
            bad_input=True,
        ),
    )


def _only_pools(env_id: str) -> FaultError:
    return FaultError(
        Fault(
            what=f"{env_id} is an environment of EnvPool",
            why="It has no single environments, only pools of them",
            remedy='Use rollout.vectorization = "envpool" (--vectorization envpool)',
            keys=("rollout.vectorization", "env.id"),
            bad_input=True,
        )
    )


def _missing_package(env_id: str, error: Exception) -> FaultError:
    lines = _PIP_LINE.findall(str(error))
    module = (getattr(error, "name", None) or "").partition(".")[0]
    named = re.search(r"No module named '([\w.]+)'", str(error))
    if named and not module:
        module = named.group(1).partition(".")[0]
    own = env_id.partition(":")[0].partition(".")[0] if ":" in env_id else ""
    kind = FaultKind.OTHER
    if lines:
        remedy = " and ".join(f'pip install "{line}"' for line in lines)
        remedy = f"Run {remedy} in the environment that the workers use"
    elif module:
        remedy = f'Run pip install "{_PIP_NAMES.get(module, module)}"'
        if module == own:
            remedy += ", or start raydash from the folder that holds it"
    else:
        remedy, kind = "The traceback names the import", FaultKind.USER_CODE
    return FaultError(
        Fault(
            what=f"{env_id} needs a package that is not installed" + (f", {module}" * bool(module)),
            why=one_line(error),
            remedy=remedy,
            detail=traceback.format_exc(),
            keys=("env.id",),
            bad_input=True,
            kind=kind,
        ),
    )


def _wrong_kwargs(env: EnvSpec, error: Exception) -> FaultError:
    accepted = _accepted_kwargs(env)
    found = _BAD_ARGUMENT.search(str(error))
    wrong = (found.group(1) if found else None) or ""
    near = difflib.get_close_matches(wrong, accepted, n=1)
    if near:
        remedy = f"Did you mean {near[0]}?"
    elif accepted:
        shown = ", ".join(accepted[:_KWARGS_HINT_LIMIT])
        remedy = f"It takes {shown}" + (", …" if len(accepted) > _KWARGS_HINT_LIMIT else "")
    else:
        remedy = "It takes no keyword arguments"
    return FaultError(
        Fault(
            what=f"{env.id} does not take these keyword arguments"
            if not wrong
            else f"{env.id} takes no keyword argument {wrong}",
            why=one_line(error).partition(" was raised from the environment creator")[0],
            remedy=remedy,
            detail=traceback.format_exc(),
            keys=("env.kwargs",),
            bad_input=True,
        ),
    )


def _accepted_kwargs(env: EnvSpec) -> list[str]:
    """Return the names of the constructor's keyword arguments, or none if they are unknown."""
    try:
        creator = _creator(env)
        if env.id in registry or env.id.rpartition(":")[2] in registry:
            entry = registry[env.id.rpartition(":")[2]].entry_point
            creator = load_env_creator(entry) if isinstance(entry, str) else entry or creator
        parameters = inspect.signature(creator).parameters.values()
    except Exception:
        # Only a hint is lost; the constructor's own message is shown anyway.
        return []
    kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return [item.name for item in parameters if item.kind in kinds]


def _constructor_raised(env: EnvSpec, error: Exception) -> FaultError:
    return FaultError(
        Fault(
            what=f"The constructor of {env.id} raised {type(error).__name__}",
            why=one_line(error),
            remedy="Check its keyword arguments; the traceback names the line",
            detail=traceback.format_exc(),
            keys=_keys(env),
            bad_input=True,
            kind=FaultKind.USER_CODE,
        ),
    )


def _adapted(env_id: str, made: object) -> Env:
    """Turn an object that is not an environment, such as a `FuncEnv`, into one."""
    # Imported here because hardly any environment needs it.
    from gymnasium.experimental.functional import FuncEnv

    from raydash.worker.envs.functional import FunctionalEnv

    if isinstance(made, FuncEnv):
        return FunctionalEnv(made)
    raise _not_an_environment(env_id, made)


def _check_spaces(env_id: str, made: Env) -> None:
    for name in ("observation_space", "action_space"):
        space = getattr(made, name, None)
        if not isinstance(space, gymnasium.Space):
            raise FaultError(
                Fault(
                    what=f"{env_id} has no {name}",
                    why=f"There is a {type(space).__name__}, and no space of Gymnasium",
                    remedy=f"Set self.{name} in its constructor to one of gymnasium.spaces",
                    keys=("env.id",),
                    bad_input=True,
                )
            )


def _not_an_environment(env_id: str, made: object) -> FaultError:
    remedy = "Give a subclass of gymnasium.Env"
    if isinstance(made, gymnasium.vector.VectorEnv):
        remedy = "Give a single environment; raydash makes as many as there are workers"
    elif hasattr(made, "step") and hasattr(made, "reset"):
        remedy = "Make it a subclass of gymnasium.Env, or wrap it with shimmy"
    return FaultError(
        Fault(
            what=f"{env_id} gave a {type(made).__name__}, which is not a Gymnasium environment",
            remedy=remedy,
            keys=("env.id",),
            bad_input=True,
        ),
    )


def _keys(env: EnvSpec) -> tuple[str, ...]:
    return ("env.id", "env.kwargs") if env.kwargs else ("env.id",)
