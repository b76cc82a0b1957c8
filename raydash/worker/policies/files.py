"""What the policies that come in files share: a path, an extra package, words about mistakes."""

import os
import traceback
from typing import Any, TypeAlias

import gymnasium

from raydash.core.faults import Fault, FaultError
from raydash.core.spec import PolicySpec
from raydash.core.trust import why_untrusted
from raydash.worker.words import one_line

Space: TypeAlias = "gymnasium.Space[Any]"


def path_of(kind: str, path: str | None, what: str) -> str:
    """The path that a policy names.

    Raises:
        FaultError: if it names none, or there is nothing.
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
    """What is said when the packages of a kind are not installed."""
    return FaultError(
        Fault(
            f"{kind} policies need {packages}",
            one_line(error),
            f"pip install 'raydash[{kind}]', on every machine that runs workers",
            keys=("policy.kind",),
            bad_input=True,
        )
    )


def check_trust(spec: PolicySpec) -> None:
    """See that somebody agreed: the last look before a file is loaded that can execute code.

    Raises:
        FaultError: if nobody did.
    """
    fault = why_untrusted(spec)
    if fault is not None:
        raise FaultError(fault)


def unloadable(kind: str, path: str, error: Exception) -> FaultError:
    """What is said when a file is not what it should be."""
    return FaultError(
        Fault(
            f"The {kind} policy in {path} can't be loaded",
            f"{type(error).__name__}: {one_line(error)}",
            "Look whether the file is whole, and was written by a version that is installed here",
            detail=traceback.format_exc(),
            keys=("policy.path",),
            bad_input=True,
        )
    )


def unfit(kind: str, path: str, why: str) -> FaultError:
    """What is said when a policy was made for something else."""
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
    """Whether observations of both spaces look the same; bounds do not matter to a network."""
    if isinstance(mine, gymnasium.spaces.Box) and isinstance(theirs, gymnasium.spaces.Box):
        same_kind: bool = mine.dtype.kind == theirs.dtype.kind
        return same_kind and mine.shape == theirs.shape
    if isinstance(mine, gymnasium.spaces.Dict) and isinstance(theirs, gymnasium.spaces.Dict):
        return mine.keys() == theirs.keys() and all(
            same_observations(mine[key], theirs[key]) for key in mine
        )
    return bool(mine == theirs)
