"""The stepping loop of a worker with one environment. Plain Python: no Ray, threads or locks.

The inner loop (`_step_batch`) is as bare as possible: the clock is read once per batch, about 2 ms,
the first step of each batch is timed, and all other bookkeeping is done per episode.
"""

import math
from itertools import repeat
from typing import Any

from typing_extensions import override

from raydash.worker.envs.environments import Env
from raydash.worker.loops.episode_loop import EpisodeLoop
from raydash.worker.loops.sliced import BOTH, ERROR, TERMINATED, TRUNCATED, ChunkBuilder
from raydash.worker.node.progress import COUNTER, EPISODE_LEN, HURRY, NUM_ENV_STEPS


class RolloutLoop(EpisodeLoop[Env]):
    """Steps one environment of one worker, slice by slice."""

    def _step_batch(self, builder: ChunkBuilder) -> bool:
        """Step once with timing and then several more times without.

        Returns:
            False if the slice is over or the environment failed.
        """
        assert self._env is not None
        clock, policy, step = self._clock, self._policy, self._env.step
        cells, size = self._progress.cells, self._batch_size
        observation = self._observation
        episode_return, episode_len = self._episode_return, self._episode_len
        steps_before = self._num_finished_steps + episode_len
        resets_before_s = self._reset_time_s
        go_on = True
        where = "policy"
        started_s = clock()
        try:
            action = policy(observation)
            acted_s = clock()
            where = "step"
            observation, reward, terminated, truncated, info = step(action)
            stepped_s = clock()
            episode_return += float(reward)
            episode_len += 1
            self.failures_in_a_row = 0
            self._note_timed_step(builder, started_s, acted_s, stepped_s)
            if terminated or truncated:
                go_on = self._end_episode(
                    builder, episode_return, episode_len, terminated, truncated, info
                )
                observation, episode_return, episode_len = self._observation, 0.0, 0
                policy = self._policy
            if go_on:
                for _ in repeat(None, size - 1):
                    where = "policy"
                    action = policy(observation)
                    where = "step"
                    observation, reward, terminated, truncated, info = step(action)
                    episode_return += float(reward)
                    episode_len += 1
                    if terminated or truncated:
                        if not self._end_episode(
                            builder, episode_return, episode_len, terminated, truncated, info
                        ):
                            go_on, episode_return, episode_len = False, 0.0, 0
                            break
                        observation, episode_return, episode_len = self._observation, 0.0, 0
                        policy = self._policy  # each episode may have its own policy
        except Exception as error:
            self._fail(builder, where, error, episode_len)
            go_on, episode_return, episode_len = False, 0.0, 0
        ended_s = clock()

        self._observation = observation
        self._episode_return, self._episode_len = episode_return, episode_len
        steps = self._num_finished_steps + episode_len
        cells[NUM_ENV_STEPS] = steps
        cells[EPISODE_LEN] = episode_len
        cells[COUNTER] += 1
        # Splitting the wall time outside resets like the timed step makes the shares add up to 1.
        stepping_s = ended_s - started_s - (self._reset_time_s - resets_before_s)
        self._policy_time_s += stepping_s * self._policy_share
        self._step_time_s += stepping_s * (1.0 - self._policy_share)
        self._adapt_batch(steps - steps_before, stepping_s)
        return go_on and ended_s < builder.deadline_s and (builder.drain or not cells[HURRY])

    def _end_episode(
        self,
        builder: ChunkBuilder,
        episode_return: float,
        episode_len: int,
        terminated: bool,
        truncated: bool,
        info: Any,
    ) -> bool:
        """Record a finished episode and begin the next one unless the slice is over."""
        now_s = self._clock()
        ending = TRUNCATED if not terminated else BOTH if truncated else TERMINATED
        if info:
            self._infos.add(builder.num_episodes, info)
        self._record(builder, now_s, episode_return, episode_len, ending)
        if (
            builder.drain
            or now_s >= builder.deadline_s
            or builder.num_episodes >= self.max_episodes
        ):
            return False
        return self._begin_episode(builder, now_s)

    @override
    def _fail(
        self, builder: ChunkBuilder, where: str, error: Exception, episode_len: int = 0
    ) -> None:
        now_s = self._clock()
        self.failures_in_a_row += 1
        self._record(builder, now_s, math.nan, episode_len, ERROR)
        self._note_error(builder, now_s, where, error)
        self._discard_env()
