"""The column `commits.policy_json`: what chooses the actions since a swap."""

import json
from dataclasses import asdict

from raydash.core.spec import PolicySpec, spec_from_table


def policy_to_json(policy: PolicySpec | None) -> str | None:
    """The text of a policy; None: none was swapped in."""
    return None if policy is None else json.dumps(asdict(policy))


def policy_from_json(text: str | None) -> PolicySpec | None:
    """The policy of a text.

    Raises:
        ValueError: if it is damaged.
    """
    return None if text is None else spec_from_table({"policy": json.loads(text)}).policy
