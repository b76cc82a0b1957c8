"""The account of what only some episodes have: named scalars, and agents with returns of their own.

Names are kept in the order in which they were met.
"""

import math
from dataclasses import dataclass, field

import numpy as np

from raydash.core.records import AgentEpisodes, EpisodeScalars, Float64, Int64, RolloutChunk
from raydash.core.updates import AgentFigures, ScalarFigures

RECENT_EPISODES = 100


@dataclass(slots=True)
class _Named:
    count: int = 0
    total: float = 0.0
    recent_s: Float64 = field(default_factory=lambda: np.empty(0))
    recent: Float64 = field(default_factory=lambda: np.empty(0))

    def add(self, end_s: Float64, values: Float64) -> None:
        self.count += len(values)
        self.total += float(values.sum())
        self.keep_newest(end_s, values)

    def keep_newest(self, end_s: Float64, values: Float64) -> None:
        """Of those so far and these, the last 100 by finish time."""
        times, both = np.concatenate([self.recent_s, end_s]), np.concatenate([self.recent, values])
        order = np.argsort(times, kind="stable")[-RECENT_EPISODES:]
        self.recent_s, self.recent = times[order], both[order]


class ScalarLedger:
    """Sums of named scalars over the whole run, and their last 100."""

    def __init__(self) -> None:
        self._named: dict[str, _Named] = {}

    def __contains__(self, name: str) -> bool:
        return name in self._named

    def take(self, end_s: Float64, scalars: EpisodeScalars) -> None:
        """Count in those of some finished episodes."""
        for column, name in enumerate(scalars.names):
            values = scalars.values[:, column]
            known = ~np.isnan(values)
            if known.any():
                self._named.setdefault(name, _Named()).add(end_s[known], values[known])

    def restore(
        self, name: str, *, count: int, total: float, end_s: Float64, recent: Float64
    ) -> None:
        """Begin with what earlier lives of the supervisor recorded of a name.

        Args:
            name: Its name.
            count: Episodes that had it.
            total: Their sum.
            end_s: When the newest of them ended.
            recent: Their values.
        """
        kept = self._named[name] = _Named(count, total)
        kept.keep_newest(end_s, recent)

    def figures(self) -> ScalarFigures:
        """Of now."""
        held = self._named.values()
        return ScalarFigures(
            names=tuple(self._named),
            mean=np.array([each.total / each.count for each in held], np.float64),
            recent_mean=np.array([each.recent.mean() for each in held], np.float64),
            count=np.array([each.count for each in held], np.int64),
        )


class AgentLedger:
    """Actions of every agent, exact over the lives of its workers, and returns of its episodes."""

    def __init__(self) -> None:
        self._returns = ScalarLedger()
        self._num_steps: dict[str, int] = {}  # of lives that are over
        self._lives: dict[int, tuple[int, dict[str, int]]] = {}  # of each worker the present one

    @property
    def has_any(self) -> bool:
        """An agent was met."""
        return bool(self._num_steps)

    def take(self, chunk: RolloutChunk) -> None:
        """Count in the actions of a chunk; its totals are cumulative within one life."""
        agents = chunk.agents
        if not agents.names:
            return
        for name in agents.names:
            self._num_steps.setdefault(name, 0)
        life, steps = self._lives.get(chunk.worker_index, (chunk.incarnation, {}))
        if life != chunk.incarnation:
            for name, count in steps.items():
                self._num_steps[name] += count
        now = dict(zip(agents.names, agents.num_steps_total.tolist(), strict=True))
        self._lives[chunk.worker_index] = (chunk.incarnation, now)

    def take_episodes(self, end_s: Float64, agents: AgentEpisodes) -> None:
        """Count in the returns of finished episodes."""
        self._returns.take(end_s, EpisodeScalars(agents.names, agents.episode_return))

    def restore(self, name: str, *, num_steps: int) -> None:
        """Begin with the actions that earlier lives of the supervisor recorded of an agent."""
        self._num_steps[name] = num_steps

    def restore_returns(
        self, name: str, *, count: int, total: float, end_s: Float64, recent: Float64
    ) -> None:
        """Begin with the returns that were recorded of an agent: see `ScalarLedger.restore`."""
        self._num_steps.setdefault(name, 0)
        self._returns.restore(name, count=count, total=total, end_s=end_s, recent=recent)

    def num_steps(self) -> dict[str, int]:
        """Actions of each agent, lifetime."""
        steps = dict(self._num_steps)
        for _, now in self._lives.values():
            for name, count in now.items():
                steps[name] += count
        return steps

    def figures(self) -> AgentFigures | None:
        """Of now; None while no agent was met."""
        if not self.has_any:
            return None
        steps, returns = self.num_steps(), self._returns.figures()
        places = {name: place for place, name in enumerate(returns.names)}

        def column(values: Float64 | Int64, unknown: float) -> list[float]:
            return [float(values[places[n]]) if n in places else unknown for n in steps]

        return AgentFigures(
            names=tuple(steps),
            num_steps=np.array(list(steps.values()), np.int64),
            episode_return_mean=np.array(column(returns.mean, math.nan), np.float64),
            recent_return_mean=np.array(column(returns.recent_mean, math.nan), np.float64),
            num_episodes=np.array(column(returns.count, 0), np.int64),
        )
