"""The figures by which runs are compared, and the values of their specs, in words. Pure."""

import json
import math
from collections.abc import Mapping

from raydash.core.words.numbers import UNKNOWN, count, decimal
from raydash.core.words.spans import duration

LABELS: Mapping[str, str] = {
    "episode_return_mean": "Episode return, mean",
    "recent_return_mean": "of the last 100 episodes",
    "episode_return_max": "highest",
    "episode_return_min": "lowest",
    "episode_len_mean": "Episode length, mean",
    "num_episodes_lifetime": "Episodes",
    "num_episodes_terminated_lifetime": "terminated",
    "num_episodes_truncated_lifetime": "truncated",
    "num_episodes_error_lifetime": "ended in an error",
    "num_env_steps_sampled_lifetime": "Env steps",
    "env_steps_per_s": "Env steps/s, whole run",
    "elapsed_s": "Stepping time",
    "num_restarts": "Worker restarts",
}
"""Labels of `raydash.core.analysis.compare.FIGURES`; one in small letters belongs to the one above
it."""


def figure(key: str, value: float) -> str:
    """A figure of a run, by its key in `LABELS`."""
    if not math.isfinite(value):
        return UNKNOWN
    if key == "elapsed_s":
        return duration(value)
    return count(value) if key.startswith("num_") else decimal(value)


def spec_value(value: object) -> str:
    """A value of a spec; an en dash stands for nothing."""
    if value is None or value == "":
        return UNKNOWN
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
