"""What workers' chunks bring until the next version of the state is closed."""

from dataclasses import dataclass

from raydash.core.records import (
    EpisodeColumns,
    EpisodeExtras,
    EvaluationEpisodes,
    RolloutChunk,
    WorkerTotals,
)
from raydash.record.file.rows import AgentTotals

Steps = tuple[int, float, float, int]
"""A worker's index, the run's clock when its slice began and when it ended, and its steps."""


@dataclass(frozen=True, slots=True)
class Gathered:
    """What came between two versions.

    Attributes:
        steps: One entry per chunk.
        episodes: Finished ones.
        extras: Of the same episodes.
        evaluations: Episodes that were played to evaluate.
        totals: (worker_index, incarnation, newest totals of that life), of those heard of.
        agent_totals: Likewise, in multi-agent environments.
    """

    steps: list[Steps]
    episodes: EpisodeColumns
    extras: EpisodeExtras
    evaluations: EvaluationEpisodes
    totals: list[tuple[int, int, WorkerTotals]]
    agent_totals: list[AgentTotals]


class Gathering:
    """Chunks since the last version, taken apart."""

    def __init__(self) -> None:
        """Nothing has come yet."""
        self._begin()

    def _begin(self) -> None:
        self._steps: list[Steps] = []
        self._episodes: list[EpisodeColumns] = []
        self._extras: list[EpisodeExtras] = []
        self._evaluations: list[EvaluationEpisodes] = []
        self._totals: dict[tuple[int, int], WorkerTotals] = {}
        self._agents: dict[tuple[int, int], AgentTotals] = {}

    @property
    def num_chunks(self) -> int:
        """How many have come."""
        return len(self._steps)

    def take(self, chunk: RolloutChunk, *, ended_s: float, steps: int) -> None:
        """Take a chunk in.

        Args:
            chunk: What a worker gave back.
            ended_s: When its slice ended, on the run's clock.
            steps: Steps that it adds to the run.
        """
        index, life = chunk.worker_index, chunk.incarnation
        started_s = ended_s - chunk.duration_s
        self._steps.append((index, max(0.0, started_s), ended_s, steps))
        if len(chunk.ending) and chunk.evaluation:
            self._evaluations.append(EvaluationEpisodes.from_chunk(chunk, started_s=started_s))
        elif len(chunk.ending):
            self._episodes.append(EpisodeColumns.from_chunk(chunk, started_s=started_s))
            self._extras.append(EpisodeExtras.from_chunk(chunk))
        self._totals[index, life] = chunk.totals
        if chunk.agents.names:
            self._agents[index, life] = AgentTotals(
                index, life, chunk.agents.names, chunk.agents.num_steps_total
            )

    def close(self) -> Gathered:
        """All that came since the last call."""
        gathered = Gathered(
            self._steps,
            EpisodeColumns.joined(self._episodes),
            EpisodeExtras.joined(self._extras),
            EvaluationEpisodes.joined(self._evaluations),
            [(index, life, totals) for (index, life), totals in self._totals.items()],
            list(self._agents.values()),
        )
        self._begin()
        return gathered
