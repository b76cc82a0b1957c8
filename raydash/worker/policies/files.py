"""What the policies that come in files share: a path, and an extra package."""

import os

from raydash.core.faults import Fault, FaultError
from raydash.worker.environments import one_line


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
