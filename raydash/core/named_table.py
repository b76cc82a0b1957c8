"""Named scalars and agents of a run under the names of its JSON."""

import math

from raydash.core.records import Float64
from raydash.core.spec import IS_SUCCESS
from raydash.core.updates import AgentFigures, ScalarFigures


def named_table(
    scalars: ScalarFigures | None = None, agents: AgentFigures | None = None
) -> dict[str, object]:
    """Over the whole run; None where there is none.

    Args:
        scalars: Of the episodes' info: `success_rate` is the mean of `is_success`, `info_means`
            has the other keys.
        agents: Of a multi-agent environment.
    """
    means = _by_name(scalars.names, scalars.mean) if scalars else {}
    success_rate = means.pop(IS_SUCCESS, None)
    return {
        "success_rate": success_rate,
        "info_means": means or None,
        "num_agent_steps_sampled_lifetime": int(agents.num_steps.sum()) if agents else None,
        "agent_episode_return_mean": _by_name(agents.names, agents.episode_return_mean)
        if agents
        else None,
    }


def _by_name(names: tuple[str, ...], values: Float64) -> dict[str, float | None]:
    return {
        name: value if math.isfinite(value) else None
        for name, value in zip(names, values.tolist(), strict=True)
    }
