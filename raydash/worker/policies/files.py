"""The part that all policies in files share: a path, an extra package, and faults."""

import importlib
import os
import traceback
from collections.abc import Callable
from typing import Any, TypeAlias, TypeVar

import gymnasium

from raydash.core.faults import Fault, FaultError
from raydash.core.spec import PolicySpec
from raydash.core.trust import why_untrusted
from raydash.core.words.texts import one_line

Space: TypeAlias = "gymnasium.Space[Any]"
Loaded = TypeVar("Loaded")


def path_of(kind: str, path: str | None, what: str) -> str:
    """Return the path that a policy names.

    Raises:
        FaultError: if it names none, or if no such file exists.
    """
    if not path:
        raise FaultError(
            Fault(
                f"The {kind} policy has no file",
                "policy.path is not given",
                f"Give {what} (--policy-path)",
                keys=("policy.path",),
                bad_input=True,
            )
        )
    if not os.path.exists(path):
        raise FaultError(
            Fault(
                f"The policy in {path} can't be loaded",
                "there is no such file on this machine",
                f"Give {what}",
                keys=("policy.path",),
                bad_input=True,
            )
        )
    return path


def missing_extra(kind: str, packages: str, error: ImportError) -> FaultError:
    """Make the fault for a kind of policy whose packages are not installed."""
    return FaultError(
        Fault(
            f"{kind} policies need {packages}",
            one_line(error),
            f"pip install 'raydash[{kind}]', on every machine that runs workers",
            keys=("policy.kind",),
            bad_input=True,
        )
    )


def load_trusted(
    spec: PolicySpec, what: str, module: str, packages: str, load: Callable[[str], Loaded]
) -> tuple[str, Loaded]:
    """Load a file that can execute code, by a package that needs PyTorch.

    Args:
        spec: Holds the path and whether it is trusted; this is checked a last time here.
        what: What the file should be, as faults say it.
        module: This module is imported first, to tell a missing package from a bad file.
        packages: The packages of the extra, as faults say them.
        load: Takes the path and returns the content.

    Returns:
        The path and the content.

    Raises:
        FaultError: if there is no such file, it is not trusted, a package is missing, or loading
            fails.
    """
    path = path_of(spec.kind, spec.path, what)
    fault = why_untrusted(spec)
    if fault is not None:
        raise FaultError(fault)
    try:
        importlib.import_module(module)
        importlib.import_module("torch").set_num_threads(1)
    except ImportError as error:
        raise missing_extra(spec.kind, packages, error) from error
    try:
        return path, load(path)
    except Exception as error:
        raise FaultError(
            Fault(
                f"The {spec.kind} policy in {path} can't be loaded",
                f"{type(error).__name__}: {one_line(error)}",
                "Look whether the file is whole, and was written by a version that is installed "
                "here",
                detail=traceback.format_exc(),
                keys=("policy.path",),
                bad_input=True,
            )
        ) from error


def unfit(kind: str, path: str, why: str) -> FaultError:
    """Make the fault for a policy that was made for other spaces."""
    return FaultError(
        Fault(
            f"The {kind} policy in {path} does not fit the environment",
            why,
            "Choose the one that belongs to this environment (wrappers included)",
            keys=("policy.path", "env.id"),
            bad_input=True,
        )
    )


def same_observations(mine: Space, theirs: Space) -> bool:
    """Whether a network can't tell observations of both spaces apart; bounds do not matter."""
    if isinstance(mine, gymnasium.spaces.Box) and isinstance(theirs, gymnasium.spaces.Box):
        same_kind: bool = mine.dtype.kind == theirs.dtype.kind
        return same_kind and mine.shape == theirs.shape
    if isinstance(mine, gymnasium.spaces.Dict) and isinstance(theirs, gymnasium.spaces.Dict):
        return mine.keys() == theirs.keys() and all(
            same_observations(mine[key], theirs[key]) for key in mine
        )
    return bool(mine == theirs)
