"""Trust in policy files that can execute code when they are loaded: somebody has to agree first.

Whoever starts a run agrees for that one start (`--trust-policy`, or by answering a question), and
the agreement travels in the spec. What a spec file says about trust is ignored.
"""

from dataclasses import replace

from raydash.core.faults import Fault
from raydash.core.spec import TRUSTED_POLICY_KINDS, PolicySpec

WHAT_IT_DOES = "Loading such a file unpickles it: it can execute any code that it holds."


def needs_trust(policy: PolicySpec) -> bool:
    """Tell whether somebody has to agree before this policy is loaded, and has not."""
    return policy.kind in TRUSTED_POLICY_KINDS and not policy.trust


def why_untrusted(policy: PolicySpec) -> Fault | None:
    """Say why a policy may not be loaded yet; None if it may."""
    if not needs_trust(policy):
        return None
    return Fault(
        f"The {policy.kind} policy in {policy.path} was not loaded",
        f"{WHAT_IT_DOES} Nobody has said that this one is trusted (a spec file can not)",
        "If you know where it comes from: --trust-policy, or agree when the window asks",
        keys=("policy.path",),
        bad_input=True,
    )


def trusted(policy: PolicySpec) -> PolicySpec:
    """Return the same policy with the agreement to load it."""
    return replace(policy, trust=policy.kind in TRUSTED_POLICY_KINDS)


def untrusted(policy: PolicySpec) -> PolicySpec:
    """Return the same policy without any agreement to load it."""
    return replace(policy, trust=False)
