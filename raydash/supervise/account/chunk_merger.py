"""Merges the chunks that arrive between two versions of the state."""

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
"""A worker's index, the start and end of its chunk on the run's clock, and the chunk's steps."""


@dataclass(frozen=True, slots=True)
class MergedChunks:
    """Everything that the chunks between two versions brought.

    Attributes:
        steps: One entry per chunk.
        episodes: The episodes that ended.
        extras: Further columns of the same episodes, row by row.
        evaluations: Episodes that were played to evaluate a policy.
        totals: (worker_index, incarnation, newest totals) of each incarnation that sent a chunk.
        agent_totals: The newest totals of agents, by incarnation; empty with single agents.
    """

    steps: list[Steps]
    episodes: EpisodeColumns
    extras: EpisodeExtras
    evaluations: EvaluationEpisodes
    totals: list[tuple[int, int, WorkerTotals]]
    agent_totals: list[AgentTotals]


class ChunkMerger:
    """Takes chunks apart and collects their columns until the next version is closed."""

    def __init__(self) -> None:
        self._reset()

    def _reset(self) -> None:
        self._steps: list[Steps] = []
        self._episodes: list[EpisodeColumns] = []
        self._extras: list[EpisodeExtras] = []
        self._evaluations: list[EvaluationEpisodes] = []
        self._totals: dict[tuple[int, int], WorkerTotals] = {}
        self._agent_totals: dict[tuple[int, int], AgentTotals] = {}

    @property
    def num_chunks(self) -> int:
        """How many chunks were added since the last `flush`."""
        return len(self._steps)

    def add(self, chunk: RolloutChunk, *, ended_s: float, steps: int) -> None:
        """Add a chunk that ended at `ended_s` on the run's clock and adds `steps` to the run."""
        index, incarnation = chunk.worker_index, chunk.incarnation
        started_s = ended_s - chunk.duration_s
        self._steps.append((index, max(0.0, started_s), ended_s, steps))
        if len(chunk.ending) and chunk.evaluation:
            self._evaluations.append(EvaluationEpisodes.from_chunk(chunk, started_s=started_s))
        elif len(chunk.ending):
            self._episodes.append(EpisodeColumns.from_chunk(chunk, started_s=started_s))
            self._extras.append(EpisodeExtras.from_chunk(chunk))
        self._totals[index, incarnation] = chunk.totals
        if chunk.agents.names:
            self._agent_totals[index, incarnation] = AgentTotals(
                index, incarnation, chunk.agents.names, chunk.agents.num_steps_total
            )

    def flush(self) -> MergedChunks:
        """Return everything since the last call, and begin with nothing again."""
        merged = MergedChunks(
            self._steps,
            EpisodeColumns.joined(self._episodes),
            EpisodeExtras.joined(self._extras),
            EvaluationEpisodes.joined(self._evaluations),
            [(index, incarnation, totals) for (index, incarnation), totals in self._totals.items()],
            list(self._agent_totals.values()),
        )
        self._reset()
        return merged
