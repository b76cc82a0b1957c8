"""A run as a table for JSON, as `raydash run`, `raydash show` and exports write it.

The names and their order are the same whether the facts come from a live run or from a recording.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from raydash.core.faults import Fault
from raydash.core.records import Float64
from raydash.core.spec import IS_SUCCESS, ways_of
from raydash.core.states import EndedBy, RunState
from raydash.core.updates import AgentFigures, LearningFigures, ScalarFigures

_FIGURES = (
    "num_env_steps_sampled_lifetime",
    "num_episodes_lifetime",
    "num_episodes_terminated_lifetime",
    "num_episodes_truncated_lifetime",
    "num_episodes_error_lifetime",
    "episode_return_mean",
    "episode_return_min",
    "episode_return_max",
    "episode_len_mean",
)


class WholeRunFigures(Protocol):
    """Figures over a whole run: `RunFigures`, or those of a recording; both have more than this."""

    @property
    def elapsed_s(self) -> float:
        """Time spent stepping, without pauses and without time in which there was no worker."""

    @property
    def num_env_steps_sampled_lifetime(self) -> int:
        """Steps of all workers."""


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known about a run; None for what is not.

    Attributes:
        num_workers: How many workers it should have.
        spec: The spec as nested tables; None: it is not known how the run was executed.
        figures: Figures over the whole run.
        scalars: Named scalars of its episodes' info.
        agents: Agents of a multi-agent environment.
        learning: How far the learner got.
        num_restarts: Restarts of workers.
        cause: Why it failed, in words.
        recording: Path of its file.
        error: Why it can't be read, or went wrong.
        keys: Spec keys at fault.
    """

    run_id: str | None = None
    env_id: str | None = None
    num_workers: int | None = None
    seed: int | None = None
    spec: Mapping[str, object] | None = None
    figures: WholeRunFigures | None = None
    scalars: ScalarFigures | None = None
    agents: AgentFigures | None = None
    learning: LearningFigures | None = None
    num_restarts: int | None = None
    state: RunState | None = None
    ended_by: EndedBy | None = None
    cause: str | None = None
    recording: str | None = None
    error: str | None = None
    keys: tuple[str, ...] = field(default=())

    @staticmethod
    def keys_of(fault: Fault | None) -> tuple[str, ...]:
        """Return the spec keys that a fault names."""
        return fault.keys if fault is not None else ()

    def table(self) -> dict[str, object]:
        """Return the facts by name; None for those that are not known or not a number."""
        figures = self.figures
        return {
            "run_id": self.run_id or None,
            "env_id": self.env_id or None,
            "num_workers": self.num_workers,
            "seed": self.seed,
            **ways_of(self.spec or {}),
            "elapsed_s": figures.elapsed_s if figures is not None else None,
            **{name: _none_if_nan(getattr(figures, name, None)) for name in _FIGURES},
            **scalar_and_agent_table(self.scalars, self.agents),
            **learning_table(self.learning),
            "env_steps_per_s": env_steps_per_s(figures),
            "num_restarts": self.num_restarts,
            "state": self.state.value if self.state else None,
            "ended_by": self.ended_by.value if self.ended_by else None,
            "cause": self.cause or None,
            "recording": self.recording or None,
            "error": self.error or None,
            "error_keys": list(self.keys),
        }


def learning_table(learning: LearningFigures | None) -> dict[str, object]:
    """Return how much was learnt; all None if nothing learns, or nothing is known yet."""
    if learning is None:
        names = ("num_generations", "best_episode_return_mean", "evaluation_episode_return_mean")
        return {**dict.fromkeys(names), "best_policy": None}
    return {
        "num_generations": learning.num_generations,
        "best_episode_return_mean": _none_if_nan(learning.best_episode_return_mean),
        "evaluation_episode_return_mean": _none_if_nan(learning.evaluation_episode_return_mean),
        "best_policy": learning.best_policy or None,
    }


def env_steps_per_s(figures: WholeRunFigures | None) -> float | None:
    """Compute the throughput over the whole run: its steps divided by its `elapsed_s`."""
    if figures is None or figures.elapsed_s <= 0:
        return None
    return figures.num_env_steps_sampled_lifetime / figures.elapsed_s


def _none_if_nan(value: float | None) -> float | None:
    """Replace NaN by None. Infinities stay: the writer has words for them."""
    return None if value is not None and math.isnan(value) else value


def scalar_and_agent_table(
    scalars: ScalarFigures | None = None, agents: AgentFigures | None = None
) -> dict[str, object]:
    """Return the means of named scalars and of agents over the whole run; None if there are none.

    `success_rate` is the mean of `is_success`; `info_means` has the other keys of info.
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
