"""Who agrees, in a terminal, that a policy's file may be loaded: an option, or an answer."""

import sys

from raydash.core.faults import FaultError
from raydash.core.spec import PolicySpec
from raydash.core.trust import WHAT_IT_DOES, needs_trust, trusted, untrusted, why_untrusted


def agree(policy: PolicySpec, *, agreed: bool) -> PolicySpec:
    """A policy as it may be loaded. What a spec file says of trust counts for nothing.

    Args:
        policy: Which.
        agreed: By `--trust-policy`.

    Raises:
        FaultError: if nobody agrees.
    """
    policy = trusted(policy) if agreed else untrusted(policy)
    if not needs_trust(policy):
        return policy
    if sys.stdin.isatty() and _says_yes(policy):
        return trusted(policy)
    fault = why_untrusted(policy)
    assert fault is not None
    raise FaultError(fault)


def _says_yes(policy: PolicySpec) -> bool:
    # On stderr: what is on stdout may be read by a program.
    print(f"{policy.path}: {WHAT_IT_DOES}", file=sys.stderr)
    print(f"Load this {policy.kind} policy? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().casefold() in ("y", "yes")
