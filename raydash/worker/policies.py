"""What chooses the actions."""

from collections.abc import Callable
from typing import Any

import gymnasium

from raydash.core.spec import PolicySpec

Policy = Callable[[Any], Any]
"""An observation in, an action out."""


def make_policy(spec: PolicySpec, action_space: "gymnasium.Space[Any]", seed: int) -> Policy:
    """The policy that a spec asks for.

    Args:
        spec: Which kind.
        action_space: Where actions come from.
        seed: Of the action space.

    Raises:
        ValueError: on a kind that is unknown (a spec that was not validated).
    """
    if spec.kind != "random":
        raise ValueError(f"unknown policy kind {spec.kind!r}")
    action_space.seed(seed)
    sample = action_space.sample
    return lambda _observation: sample()
