"""Gives a run's figures the names that other tools know, which are RLlib's."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict

from raydash.core.spec import RunSpec
from raydash.core.updates import LearningFigures, RunFigures
from raydash.sinks.lines import Param, Row

_KEPT_HERE = {"cluster.token_path"}
"""Values that other tools must not see."""


def row_of(
    figures: RunFigures,
    *,
    num_workers: int,
    t_s: float,
    learning: LearningFigures | None = None,
) -> Row:
    """Make a row of a run's figures; its step is the one RLlib uses, steps sampled, lifetime."""
    steps = figures.num_env_steps_sampled_lifetime
    over_run = steps / figures.elapsed_s if figures.elapsed_s > 0 else math.nan
    metrics = {
        # As in RLlib: the last 100 episodes by finish time.
        "episode_return_mean": figures.recent_return_mean,
        "episode_return_min": figures.recent_return_min,
        "episode_return_max": figures.recent_return_max,
        "episode_len_mean": figures.recent_len_mean,
        # All episodes of the run.
        "episode_return_mean_lifetime": figures.episode_return_mean,
        "episode_return_min_lifetime": figures.episode_return_min,
        "episode_return_max_lifetime": figures.episode_return_max,
        "episode_len_mean_lifetime": figures.episode_len_mean,
        "num_env_steps_sampled_lifetime": steps,
        "num_episodes_lifetime": figures.num_episodes_lifetime,
        "num_episodes_terminated_lifetime": figures.num_episodes_terminated_lifetime,
        "num_episodes_truncated_lifetime": figures.num_episodes_truncated_lifetime,
        "num_episodes_error_lifetime": figures.num_episodes_error_lifetime,
        "env_steps_per_s": figures.env_steps_per_s_10s,
        "env_steps_per_s_lifetime": over_run,
        "elapsed_s": figures.elapsed_s,
        "num_workers": num_workers,
        "num_restarts": figures.num_restarts,
    }
    if learning is not None:
        metrics |= {
            "num_generations": learning.num_generations,
            "generation_return_mean": learning.generation_return_mean,
            "best_episode_return_mean": learning.best_episode_return_mean,
            "evaluation_episode_return_mean": learning.evaluation_episode_return_mean,
        }
    known = {name: float(value) for name, value in metrics.items() if not math.isnan(value)}
    return Row(t_s, steps, known)


def params_of(spec: RunSpec) -> dict[str, Param]:
    """Flatten a spec into keys and plain values; tables become JSON, and None is left out."""
    params: dict[str, Param] = {}
    for part, values in asdict(spec).items():
        if part == "sinks":
            continue
        entries = values.items() if isinstance(values, Mapping) else [("", values)]
        for name, value in entries:
            key = f"{part}.{name}" if name else part
            if value is None or value == "" or key in _KEPT_HERE:
                continue
            params[key] = json.dumps(value) if isinstance(value, Mapping) else value
    return params
