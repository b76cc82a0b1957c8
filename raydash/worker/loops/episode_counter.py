"""Counts the episodes of a worker with one environment: those that finished and the current one."""

import numpy as np
from typing_extensions import override

from raydash.core.records import Float64, Int32
from raydash.worker.loops.sliced import ChunkBuilder, FinishedColumns, SliceCounter


class EpisodeCounter(SliceCounter):
    """Counts one environment's episodes; subclasses update the current one's return and length."""

    _episode_return = 0.0
    _episode_len = 0
    _episode_started_s = 0.0
    _num_finished_steps = 0

    @override
    def _is_drained(self) -> bool:
        return self._between_episodes or self._episode_len == 0

    @override
    def _num_env_steps(self) -> int:
        return self._num_finished_steps + self._episode_len

    @override
    def _unfinished(self) -> tuple[Int32, Float64]:
        return np.array([self._episode_len], np.int32), np.array([self._episode_return])

    def _record(
        self,
        builder: ChunkBuilder,
        now_s: float,
        episode_return: float,
        episode_len: int,
        ending: int,
    ) -> None:
        """Record a finished episode."""
        duration_s = now_s - self._episode_started_s
        builder.num_episodes += 1
        builder.finished.append((episode_return, episode_len, ending, now_s, duration_s))
        self._num_by_ending[ending] += 1
        self._num_finished_steps += episode_len
        self._episode_return, self._episode_len = 0.0, 0
        self._between_episodes = True

    @override
    def _columns(self, builder: ChunkBuilder) -> FinishedColumns:
        count = builder.num_episodes
        returns, lens, endings, ends_s, durations_s = (
            zip(*builder.finished, strict=True) if count else ((),) * 5
        )
        return (
            np.zeros(count, np.int32),
            np.array(returns, np.float64),
            np.array(lens, np.int32),
            np.array(endings, np.uint8),
            np.array(ends_s, np.float64),
            np.array(durations_s, np.float64),
        )
