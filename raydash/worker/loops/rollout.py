"""The loop of a worker with one environment: from here a CartPole is stepped, slice by slice.

`run` fills a slice: it begins an episode wherever none is under way, steps in batches until the
slice is over, and returns what happened, in columns. Unfinished episodes go on in the next slice.
An exception out of user code ends an episode, never the loop.

The inner loop (`_step_batch`) is as bare as possible: the clock is read once per batch, about 2 ms,
the first step of each batch is timed, and all other bookkeeping is done per episode.

Plain Python: no Ray, threads or locks.
"""

import math
from collections.abc import Callable
from itertools import repeat
from typing import Any

from raydash.core.records import RolloutChunk
from raydash.worker.envs.environments import Env
from raydash.worker.loops.account import (
    BOTH,
    ERROR,
    TERMINATED,
    TRUNCATED,
    EpisodeAccount,
    Incarnation,
)
from raydash.worker.loops.chunk_builder import ChunkBuilder
from raydash.worker.loops.env_keeper import EnvKeeper
from raydash.worker.policies.policy import Policy


class RolloutLoop:
    """Steps one environment of one worker.

    Attributes:
        account: Counts the steps and episodes, and makes the chunks.
    """

    def __init__(
        self,
        incarnation: Incarnation,
        env: Env,
        policy: Policy,
        *,
        reset_seed: int,
        make_env: Callable[[], Env],
    ) -> None:
        """Take over an environment that is not reset yet.

        Args:
            incarnation: The worker's incarnation.
            env: The environment.
            policy: Chooses the actions.
            reset_seed: Seeds the first reset (`EnvKeeper`).
            make_env: Makes a new environment after an error; may raise anything.
        """
        self.account = EpisodeAccount(incarnation)
        self._keeper = EnvKeeper(self.account, env, reset_seed=reset_seed, make_env=make_env)
        self._policy = policy
        self._observation: Any = None

    def prepare(self, first_reset: Callable[[Env, Any], Any]) -> None:
        """Do the first reset before the first slice, which will report its duration.

        `first_reset` resets the environment with the seed and returns the observation. What it
        raises passes on to the caller and does not count as a failed episode.
        """
        self._observation = self._keeper.first_reset(first_reset)

    def set_policy(self, policy: Policy) -> None:
        """Use another policy from the next slice on, even within unfinished episodes."""
        self._policy = policy

    def run(self, budget_s: float, *, drain: bool = False) -> RolloutChunk:
        """Step for about `budget_s` of wall time and return what happened.

        At least one batch is stepped, unless the supervisor is in a hurry (`progress.set_hurry`).
        A slice exceeds its budget at most by the duration of the last step or reset or, if an
        environment suddenly slows down, of the last batch. With `drain`, the episode that is under
        way is finished and no other one begins.
        """
        account = self.account
        builder = account.begin_slice(budget_s, drain=drain)
        while not builder.is_over:
            if account.between_episodes:
                self._begin_episode(builder, account.clock())
            else:
                self._step_batch(builder)
        return account.chunk(builder)

    def close(self) -> None:
        """Close the environment; raises whatever its `close` raises."""
        self._keeper.close()

    def _begin_episode(self, builder: ChunkBuilder, now_s: float) -> bool:
        """Reset the environment, which is made anew if it failed; return False if that raises."""
        try:
            self._observation = self._keeper.reset(builder, now_s)
        except Exception as error:
            self._fail(builder, self._keeper.where, error)
            return False
        return True

    def _step_batch(self, builder: ChunkBuilder) -> None:
        """Step once with timing and then several more times without."""
        account, env = self.account, self._keeper.env
        assert env is not None
        clock, policy, step = account.clock, self._policy, env.step
        size, observation = account.batch_size, self._observation
        episode_return, episode_len = account.episode_return, account.episode_len
        steps_before = account.num_finished_steps + episode_len
        resets_before_s = account.reset_time_s
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
            account.failures_in_a_row = 0
            account.note_timed_step(builder, started_s, acted_s, stepped_s)
            go_on = True
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
                            episode_return, episode_len = 0.0, 0
                            break
                        observation, episode_return, episode_len = self._observation, 0.0, 0
                        policy = self._policy  # each episode may have its own policy
        except Exception as error:
            self._fail(builder, where, error, episode_len)
            episode_return, episode_len = 0.0, 0
        ended_s = clock()

        self._observation = observation
        account.episode_return, account.episode_len = episode_return, episode_len
        steps = account.num_finished_steps + episode_len
        account.tell_progress(steps, episode_len)
        stepping_s = ended_s - started_s - (account.reset_time_s - resets_before_s)
        account.add_stepping_time(stepping_s)
        account.adapt_batch(steps - steps_before, stepping_s)
        account.end_slice_if_due(builder, ended_s)

    def _end_episode(
        self,
        builder: ChunkBuilder,
        episode_return: float,
        episode_len: int,
        terminated: bool,
        truncated: bool,
        info: Any,
    ) -> bool:
        """Record a finished episode and begin the next one unless the slice is over.

        Returns:
            False if the batch ends here.
        """
        account = self.account
        now_s = account.clock()
        ending = TRUNCATED if not terminated else BOTH if truncated else TERMINATED
        if info:
            account.infos.add(builder.num_episodes, info)
        account.record(builder, now_s, episode_return, episode_len, ending)
        if (
            builder.drain
            or now_s >= builder.deadline_s
            or builder.num_episodes >= account.max_episodes
        ):
            builder.is_over = True
            return False
        return self._begin_episode(builder, now_s)

    def _fail(
        self, builder: ChunkBuilder, where: str, error: Exception, episode_len: int = 0
    ) -> None:
        """Record an episode that ended in an exception; the next one gets a new environment."""
        account = self.account
        now_s = account.clock()
        account.failures_in_a_row += 1
        account.record(builder, now_s, math.nan, episode_len, ERROR)
        builder.add_exception(now_s, where, error)
        self._keeper.discard()
        account.end_slice_unless_retried(builder)
