"""The account of a worker that steps several environments together."""

from array import array
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from typing_extensions import override

from raydash.core.records import Float64, Int32
from raydash.worker.loops.account import ERROR, FinishedColumns, Incarnation, WorkerAccount
from raydash.worker.loops.chunk_builder import ChunkBuilder

Indices: TypeAlias = npt.NDArray[np.intp]

FAILED = 2
"""Takes the place of the flag `terminated` for an episode that ended in an exception."""


class _FinishedEpisodes:
    """Columns of the episodes that finished in a slice; each call appends its episodes.

    They are arrays of the standard library, because there may be 10 000 such calls a second.
    """

    def __init__(self) -> None:
        self.env_index, self.returns, self.lens = array("q"), array("d"), array("i")
        self.terminated, self.truncated = array("B"), array("B")
        self.started_s, self.ended_s = array("d"), array("d")

    def columns(self) -> FinishedColumns:
        terminated = np.frombuffer(self.terminated, np.uint8)
        truncated = np.frombuffer(self.truncated, np.uint8)
        # `Ending`: terminated 0, truncated 1, both 2, error 3.
        endings = truncated + (truncated & terminated)
        endings[terminated == FAILED] = ERROR
        ended_s = np.frombuffer(self.ended_s, np.float64)
        return (
            np.frombuffer(self.env_index, np.int64).astype(np.int32),
            np.array(self.returns, np.float64),
            np.array(self.lens, np.int32),
            endings,
            ended_s,
            ended_s - np.frombuffer(self.started_s, np.float64),
        )


class VectorAccount(WorkerAccount):
    """Counts the episodes of several environments, which its loop steps in one call.

    Attributes:
        returns: Return so far of each environment's unfinished episode.
        lens: Its steps so far.
        started_s: When it began.
        num_steps: Steps of all environments that count.
    """

    def __init__(self, incarnation: Incarnation, num_envs: int) -> None:
        """Start all counters at 0."""
        super().__init__(incarnation, num_envs)
        self.returns: Float64 = np.zeros(num_envs)
        self.lens: Int32 = np.zeros(num_envs, np.int32)
        self.started_s: Float64 = np.zeros(num_envs)
        self.num_steps = 0
        self._finished = _FinishedEpisodes()

    @property
    @override
    def num_env_steps(self) -> int:
        return self.num_steps

    @property
    @override
    def is_drained(self) -> bool:
        return self.between_episodes or not self.lens.any()

    @override
    def _unfinished(self) -> tuple[Int32, Float64]:
        return self.lens.copy(), self.returns.copy()

    def record(
        self, builder: ChunkBuilder, now_s: float, indices: Indices, terminated: Any, truncated: Any
    ) -> None:
        """Record the episodes that ended in one call, with the flags of their last steps."""
        columns = self._finished
        count = len(indices)
        columns.env_index.frombytes(indices.tobytes())
        columns.returns.frombytes(self.returns[indices].tobytes())
        columns.lens.frombytes(self.lens[indices].tobytes())
        columns.terminated.frombytes(terminated.tobytes())
        columns.truncated.frombytes(truncated.tobytes())
        columns.started_s.frombytes(self.started_s[indices].tobytes())
        columns.ended_s.extend([now_s] * count)
        builder.num_episodes += count
        self.returns[indices] = 0.0
        self.lens[indices] = 0

    @override
    def _take_finished(self) -> FinishedColumns:
        finished, self._finished = self._finished, _FinishedEpisodes()
        columns = finished.columns()
        for ending, count in enumerate(np.bincount(columns[3], minlength=len(self._num_by_ending))):
            self._num_by_ending[ending] += int(count)
        return columns
