"""The account of what only some runs have: named scalars of episodes, and several agents.

Names are kept in the order in which they first appeared.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from raydash.core.records import AgentEpisodes, EpisodeScalars, Float64, Int64, RolloutChunk
from raydash.core.updates import RECENT_EPISODES, AgentFigures, ScalarFigures
from raydash.record.read.named_values import NamedSums


@dataclass(slots=True)
class _ScalarStats:
    count: int = 0
    total: float = 0.0
    recent_s: Float64 = field(default_factory=lambda: np.empty(0))
    recent: Float64 = field(default_factory=lambda: np.empty(0))

    def add(self, end_s: Float64, values: Float64) -> None:
        self.count += len(values)
        self.total += float(values.sum())
        self.keep_newest(end_s, values)

    def keep_newest(self, end_s: Float64, values: Float64) -> None:
        """Keep the last 100 values by finish time."""
        times, both = np.concatenate([self.recent_s, end_s]), np.concatenate([self.recent, values])
        order = np.argsort(times, kind="stable")[-RECENT_EPISODES:]
        self.recent_s, self.recent = times[order], both[order]


class ScalarLedger:
    """Sums up named scalars over the whole run, and keeps the last 100 of each."""

    def __init__(self) -> None:
        self._by_name: dict[str, _ScalarStats] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._by_name

    def add(self, end_s: Float64, scalars: EpisodeScalars) -> None:
        """Add the scalars of finished episodes."""
        for column, name in enumerate(scalars.names):
            values = scalars.values[:, column]
            known = ~np.isnan(values)
            if known.any():
                self._by_name.setdefault(name, _ScalarStats()).add(end_s[known], values[known])

    def restore(self, recorded: NamedSums) -> None:
        """Begin with what earlier incarnations of the supervisor recorded under a name."""
        kept = self._by_name[recorded.name] = _ScalarStats(recorded.count, recorded.total)
        kept.keep_newest(recorded.end_s, recorded.recent)

    def figures(self) -> ScalarFigures:
        """Return means and counts of all names."""
        stats = self._by_name.values()
        return ScalarFigures(
            names=tuple(self._by_name),
            mean=np.array([each.total / each.count for each in stats], np.float64),
            recent_mean=np.array([each.recent.mean() for each in stats], np.float64),
            count=np.array([each.count for each in stats], np.int64),
        )


class AgentLedger:
    """Counts the actions of every agent, exactly and over restarts of workers, and its returns."""

    def __init__(self) -> None:
        self._returns = ScalarLedger()
        self._num_steps: dict[str, int] = {}  # of incarnations that are over
        self._current: dict[
            int, tuple[int, dict[str, int]]
        ] = {}  # by worker: the one that runs now

    @property
    def has_any(self) -> bool:
        """Whether any agent has acted."""
        return bool(self._num_steps)

    def add_chunk(self, chunk: RolloutChunk) -> None:
        """Add the actions of a chunk, whose totals are cumulative within one incarnation."""
        agents = chunk.agents
        if not agents.names:
            return
        for name in agents.names:
            self._num_steps.setdefault(name, 0)
        incarnation, steps = self._current.get(chunk.worker_index, (chunk.incarnation, {}))
        if incarnation != chunk.incarnation:
            for name, count in steps.items():
                self._num_steps[name] += count
        now = dict(zip(agents.names, agents.num_steps_total.tolist(), strict=True))
        self._current[chunk.worker_index] = (chunk.incarnation, now)

    def add_episodes(self, end_s: Float64, agents: AgentEpisodes) -> None:
        """Add the returns of finished episodes."""
        self._returns.add(end_s, EpisodeScalars(agents.names, agents.episode_return))

    def restore(self, name: str, *, num_steps: int) -> None:
        """Begin with an agent's actions that earlier incarnations of the supervisor recorded."""
        self._num_steps[name] = num_steps

    def restore_returns(self, recorded: NamedSums) -> None:
        """Begin with an agent's recorded returns."""
        self._num_steps.setdefault(recorded.name, 0)
        self._returns.restore(recorded)

    def num_steps(self) -> dict[str, int]:
        """Return the lifetime actions of each agent."""
        steps = dict(self._num_steps)
        for _, now in self._current.values():
            for name, count in now.items():
                steps[name] += count
        return steps

    def figures(self) -> AgentFigures | None:
        """Return the agents' figures; None while none has acted."""
        if not self.has_any:
            return None
        steps, returns = self.num_steps(), self._returns.figures()
        rows = {name: row for row, name in enumerate(returns.names)}

        def column(values: Float64 | Int64, unknown: float) -> list[float]:
            return [float(values[rows[n]]) if n in rows else unknown for n in steps]

        return AgentFigures(
            names=tuple(steps),
            num_steps=np.array(list(steps.values()), np.int64),
            episode_return_mean=np.array(column(returns.mean, math.nan), np.float64),
            recent_return_mean=np.array(column(returns.recent_mean, math.nan), np.float64),
            num_episodes=np.array(column(returns.count, 0), np.int64),
        )
