"""Asks whether a policy may be loaded whose file can execute code, unless an option says so."""

import sys

from raydash.core.faults import FaultError
from raydash.core.spec import PolicySpec
from raydash.core.trust import WHAT_IT_DOES, needs_trust, trusted, untrusted, why_untrusted


def agree(policy: PolicySpec, *, agreed: bool) -> PolicySpec:
    """Mark a policy as trusted if that is needed and the user agrees.

    The user agrees by `--trust-policy` (`agreed`) or when asked; what a spec file says of trust
    does not count.

    Raises:
        FaultError: if the user does not agree.
    """
    policy = trusted(policy) if agreed else untrusted(policy)
    if not needs_trust(policy):
        return policy
    if sys.stdin.isatty() and _user_agrees(policy):
        return trusted(policy)
    fault = why_untrusted(policy)
    assert fault is not None
    raise FaultError(fault)


def _user_agrees(policy: PolicySpec) -> bool:
    # On stderr, because a program may read stdout.
    print(f"{policy.path}: {WHAT_IT_DOES}", file=sys.stderr)
    print(f"Load this {policy.kind} policy? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().casefold() in ("y", "yes")
