"""Puts environments in wrappers, by name, and says in plain words why one does not fit."""

import difflib
import inspect
import traceback
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
from gymnasium import wrappers as gym_wrappers

from raydash.core.faults import Fault, FaultError, FaultKind
from raydash.core.spec import WrapperSpec
from raydash.core.words.texts import listed, one_line
from raydash.worker.envs.multi_agent import is_multi_agent
from raydash.worker.envs.own_code import own_callable

_HINT_LIMIT = 12


def wrapped(env: Any, wrappers: Sequence[WrapperSpec]) -> Any:
    """Put an environment in its wrappers, the first one innermost.

    A wrapper's name is one of Gymnasium's, or `module:callable` for one that takes an environment
    and the keyword arguments and returns an environment.

    Raises:
        FaultError: if a wrapper is unknown, does not take its arguments, or returns something else.
    """
    for wrapper in wrappers:
        env = _wrap(env, wrapper, _creator(wrapper))
    return env


def wrapper_names() -> tuple[str, ...]:
    """Return the names of Gymnasium's wrappers, even of those whose packages are missing."""
    return tuple(name for name in gym_wrappers.__all__ if name[0].isupper())


def _creator(wrapper: WrapperSpec) -> Callable[..., Any]:
    if ":" in wrapper.name:
        return own_callable("wrapper", wrapper.name, "env.wrappers")
    if wrapper.name not in wrapper_names():
        raise _unknown(wrapper.name)
    try:  # Gymnasium imports some of them only on access
        found: Callable[..., Any] = getattr(gym_wrappers, wrapper.name)
    except ImportError as error:
        raise _fault(
            f"The wrapper {wrapper.name} could not be imported",
            f"{type(error).__name__}: {one_line(error)}",
            "Install the package that the traceback names",
            detail=traceback.format_exc(),
        ) from error
    return found


def _unknown(name: str) -> FaultError:
    names = wrapper_names()
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    near += [known for known in names if known.lower() == name.lower() and known not in near]
    return _fault(
        f"There is no wrapper {name}",
        "It is none of Gymnasium's wrappers of single environments",
        f"Did you mean {listed(near)}?"
        if near
        else "Write the name of one of Gymnasium's, or module:callable for one of your own",
    )


def _wrap(env: Any, wrapper: WrapperSpec, creator: Callable[..., Any]) -> Any:
    if is_multi_agent(env) and ":" not in wrapper.name:
        raise _fault(
            f"The wrapper {wrapper.name} does not fit",
            "Gymnasium's wrappers go around single agents, and this is a multi-agent environment",
            "Write module:callable for one that takes such environments, or leave it out",
        )
    problem = _argument_problem(wrapper, creator)
    if problem is not None:
        raise problem
    try:
        made = creator(env, **wrapper.kwargs)
    except Exception as error:
        raise _fault(
            f"The wrapper {wrapper.name} raised {type(error).__name__}",
            one_line(error),
            "Check its kwargs, and whether it fits this environment; the traceback names the line",
            detail=traceback.format_exc(),
        ) from error
    if not (is_multi_agent(made) if is_multi_agent(env) else isinstance(made, gymnasium.Env)):
        raise _fault(
            f"The wrapper {wrapper.name} gave a {type(made).__name__}",
            "which is no environment of the kind that it got",
            "Give a gymnasium.Wrapper around the environment that it gets",
        )
    return made


def _argument_problem(wrapper: WrapperSpec, creator: Callable[..., Any]) -> FaultError | None:
    """Return the fault if the signature does not take the keyword arguments, else None."""
    try:
        signature = inspect.signature(creator)
    except (TypeError, ValueError):
        return None  # some callables have no signature
    try:
        signature.bind(None, **wrapper.kwargs)
    except TypeError as error:
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        accepted = [item.name for item in signature.parameters.values() if item.kind in kinds][1:]
        wrong = [name for name in wrapper.kwargs if name not in accepted]
        near = difflib.get_close_matches(wrong[0], accepted, n=1) if wrong else []
        if near:
            remedy = f"Did you mean {near[0]}?"
        elif accepted:
            shown = ", ".join(accepted[:_HINT_LIMIT])
            remedy = f"It takes {shown}" + (", …" if len(accepted) > _HINT_LIMIT else "")
        else:
            remedy = "It takes no keyword arguments"
        what = (
            f"The wrapper {wrapper.name} takes no keyword argument {wrong[0]}"
            if wrong
            else f"The wrapper {wrapper.name} does not take these keyword arguments"
        )
        return _fault(what, one_line(error), remedy)
    return None


def _fault(what: str, why: str, remedy: str, *, detail: str = "") -> FaultError:
    """Make a fault; a `detail` is the traceback of the wrapper, which its remedy mentions."""
    kind = FaultKind.USER_CODE if detail else FaultKind.OTHER
    return FaultError(Fault(what, why, remedy, detail, ("env.wrappers",), True, kind))
