"""The stepping loop of a worker with one multi-agent environment.

An env step is one `env.step` in which an agent acted; each action is a step of its agent. The
episode's return is the sum over its agents.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from raydash.core.records import AgentEpisodes, Float64, Int64, RolloutChunk
from raydash.worker.envs.multi_agent import Game
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


class MultiAgentLoop:
    """Steps one multi-agent environment of one worker, slice by slice.

    It goes as in `RolloutLoop`, but the agents of a `Game` choose by themselves. An episode's
    scalar is the mean over the last infos of those agents that have it.

    Attributes:
        account: Counts the steps and episodes, and makes the chunks.
    """

    def __init__(
        self, incarnation: Incarnation, game: Game, *, reset_seed: int, make_env: Callable[[], Game]
    ) -> None:
        """Take over an environment that is not reset yet.

        Args:
            incarnation: The worker's incarnation.
            game: The environment, with the policies of its agents.
            reset_seed: Seeds the first reset (`EnvKeeper`).
            make_env: Makes a new environment after an error; may raise anything.
        """
        self.account = EpisodeAccount(incarnation)
        self._keeper = EnvKeeper(self.account, game, reset_seed=reset_seed, make_env=make_env)
        self._played: list[tuple[dict[str, float], dict[str, int]]] = []
        self._agent_steps: dict[str, int] = {}  # total over finished episodes

    def prepare(self, first_reset: Callable[[Game, Any], Any]) -> None:
        """Do the first reset before the first slice, as `RolloutLoop.prepare` does."""
        self._keeper.first_reset(first_reset)

    def run(self, budget_s: float, *, drain: bool = False) -> RolloutChunk:
        """Step for about `budget_s` of wall time, as `RolloutLoop.run` does."""
        account = self.account
        builder = account.begin_slice(budget_s, drain=drain)
        while not builder.is_over:
            if account.between_episodes:
                self._begin_episode(builder, account.clock())
            else:
                self._step_batch(builder)
        return account.chunk(builder, self._take_agents())

    def close(self) -> None:
        """Close the environment; raises whatever its `close` raises."""
        self._keeper.close()

    def _begin_episode(self, builder: ChunkBuilder, now_s: float) -> bool:
        try:
            self._keeper.reset(builder, now_s)
        except Exception as error:
            self._fail(builder, self._keeper.where, error)
            return False
        return True

    def _step_batch(self, builder: ChunkBuilder) -> None:
        """Step once with timing and then several more times without."""
        account, game = self.account, self._keeper.env
        assert game is not None
        clock, choose, step, size = account.clock, game.choose, game.step, account.batch_size
        resets_before_s = account.reset_time_s
        num_steps, go_on = 0, True
        where = "policy"
        started_s = clock()
        try:
            while go_on and num_steps < size:
                where = "policy"
                choose()
                if not num_steps:
                    acted_s = clock()
                where = "step"
                step()
                if not num_steps:
                    account.failures_in_a_row = 0
                    account.note_timed_step(builder, started_s, acted_s, clock())
                num_steps += 1
                if game.is_over:
                    go_on = self._end_episode(builder, game)
        except Exception as error:
            self._fail(builder, where, error)
        ended_s = clock()
        if not account.between_episodes:
            account.episode_len = game.num_steps
            account.episode_return = math.fsum(game.returns.values())
        account.tell_progress(account.num_env_steps, account.episode_len)
        stepping_s = ended_s - started_s - (account.reset_time_s - resets_before_s)
        account.add_stepping_time(stepping_s)
        account.adapt_batch(num_steps, stepping_s)
        account.end_slice_if_due(builder, ended_s)

    def _end_episode(self, builder: ChunkBuilder, game: Game) -> bool:
        """Record a finished episode and begin the next one unless the slice is over."""
        account = self.account
        now_s = account.clock()
        ending = TRUNCATED if not game.terminated else BOTH if game.truncated else TERMINATED
        account.infos.add_agents(builder.num_episodes, game.last_infos.values())
        self._note_agents(game, dict(game.returns))
        total = math.fsum(game.returns.values())
        account.record(builder, now_s, total, game.num_steps, ending)
        is_late = now_s >= builder.deadline_s or builder.num_episodes >= account.max_episodes
        if builder.drain or is_late:
            builder.is_over = True
            return False
        return self._begin_episode(builder, now_s)

    def _note_agents(self, game: Game, returns: dict[str, float]) -> None:
        self._played.append((returns, game.agent_steps))
        for name, count in game.agent_steps.items():
            self._agent_steps[name] = self._agent_steps.get(name, 0) + count

    def _fail(self, builder: ChunkBuilder, where: str, error: Exception) -> None:
        """Record an episode that ended in an exception; the next one gets a new environment."""
        account = self.account
        now_s = account.clock()
        account.failures_in_a_row += 1
        num_steps = 0
        game = self._keeper.env
        if game is None or where in ("make", "reset"):
            self._played.append(({}, {}))
        else:
            num_steps = game.num_steps
            self._note_agents(game, dict.fromkeys(game.returns, math.nan))
        account.record(builder, now_s, math.nan, num_steps, ERROR)
        builder.add_exception(now_s, where, error)
        self._keeper.discard()
        account.end_slice_unless_retried(builder)

    def _take_agents(self) -> AgentEpisodes:
        """Return what each agent did in the slice's finished episodes."""
        played, self._played = self._played, []
        steps = dict(self._agent_steps)
        game = self._keeper.env
        if game is not None and not self.account.between_episodes:
            for name, count in game.agent_steps.items():
                steps[name] = steps.get(name, 0) + count
        names = tuple(steps)
        places = {name: place for place, name in enumerate(names)}
        returns: Float64 = np.full((len(played), len(names)), np.nan)
        counts: Int64 = np.zeros((len(played), len(names)), np.int64)
        for row, (episode_returns, episode_steps) in enumerate(played):
            for name, total in episode_returns.items():
                returns[row, places[name]] = total
                counts[row, places[name]] = episode_steps[name]
        return AgentEpisodes(names, returns, counts, np.array(list(steps.values()), np.int64))
