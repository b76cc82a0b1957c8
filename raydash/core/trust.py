"""Some policies' files execute what they say when they are loaded: somebody has to agree first.

Agreement is given for one start, by whoever starts (`--trust-policy`, an answer to a question), and
travels in the spec. What a spec that was read from somewhere says of it counts for nothing.
"""

from dataclasses import replace

from raydash.core.faults import Fault
from raydash.core.spec import TRUSTED_POLICY_KINDS, PolicySpec

WHAT_IT_DOES = "Loading such a file unpickles it: it can execute any code that it holds."


def needs_trust(policy: PolicySpec) -> bool:
    """Whether somebody has to agree before this policy is loaded, and has not."""
    return policy.kind in TRUSTED_POLICY_KINDS and not policy.trust


def why_untrusted(policy: PolicySpec) -> Fault | None:
    """Why a policy is not loaded just so; None if it may be."""
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
    """The same policy, agreed to."""
    return replace(policy, trust=policy.kind in TRUSTED_POLICY_KINDS)


def untrusted(policy: PolicySpec) -> PolicySpec:
    """The same policy as if nobody had agreed."""
    return replace(policy, trust=False)
