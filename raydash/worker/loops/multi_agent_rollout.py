"""The stepping loop of a worker with one multi-agent environment.

An env step is one `env.step` in which an agent acted; each action is a step of its agent. The
episode's return is the sum over its agents.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from typing_extensions import override

from raydash.core.records import AgentEpisodes, Float64, Int64
from raydash.worker.envs.multi_agent import Game
from raydash.worker.loops.episode_loop import EpisodeLoop
from raydash.worker.loops.sliced import (
    BOTH,
    ERROR,
    TERMINATED,
    TRUNCATED,
    ChunkBuilder,
    Incarnation,
)
from raydash.worker.node.progress import HURRY


class MultiAgentLoop(EpisodeLoop[Game]):
    """Steps one multi-agent environment of one worker, slice by slice.

    An episode's scalar is the mean over the last infos of those agents that have it.
    """

    def __init__(
        self, incarnation: Incarnation, game: Game, *, reset_seed: int, make_env: Callable[[], Game]
    ) -> None:
        """Take over an environment that is not reset yet.

        Args:
            incarnation: The worker's incarnation.
            game: The environment, with the policies of its agents.
            reset_seed: Seeds the first reset, as in `EpisodeLoop`.
            make_env: Makes a new environment after an error; may raise anything.
        """
        super().__init__(incarnation, game, _no_policy, reset_seed=reset_seed, make_env=make_env)
        self._played: list[tuple[dict[str, float], dict[str, int]]] = []
        self._agent_steps: dict[str, int] = {}  # total over finished episodes

    def _step_batch(self, builder: ChunkBuilder) -> bool:
        """Step once with timing and then several more times without."""
        game, clock = self._env, self._clock
        assert game is not None
        choose, step, cells = game.choose, game.step, self._progress.cells
        resets_before_s = self._reset_time_s
        num_steps, go_on = 0, True
        where = "policy"
        started_s = clock()
        try:
            while go_on and num_steps < self._batch_size:
                where = "policy"
                choose()
                if not num_steps:
                    acted_s = clock()
                where = "step"
                step()
                if not num_steps:
                    self.failures_in_a_row = 0
                    self._note_timed_step(builder, started_s, acted_s, clock())
                num_steps += 1
                if game.is_over:
                    go_on = self._end_episode(builder, game)
        except Exception as error:
            self._fail(builder, where, error)
            go_on = False
        ended_s = clock()
        if self._env is not None and not self._between_episodes:
            self._episode_len = game.num_steps
            self._episode_return = math.fsum(game.returns.values())
        self._tell_progress(self._num_env_steps(), self._episode_len)
        stepping_s = ended_s - started_s - (self._reset_time_s - resets_before_s)
        self._policy_time_s += stepping_s * self._policy_share
        self._step_time_s += stepping_s * (1.0 - self._policy_share)
        self._adapt_batch(num_steps, stepping_s)
        return go_on and ended_s < builder.deadline_s and (builder.drain or not cells[HURRY])

    def _end_episode(self, builder: ChunkBuilder, game: Game) -> bool:
        """Record a finished episode and begin the next one unless the slice is over."""
        now_s = self._clock()
        ending = TRUNCATED if not game.terminated else BOTH if game.truncated else TERMINATED
        self._infos.add_agents(builder.num_episodes, game.last_infos.values())
        self._note_agents(game, dict(game.returns))
        total = math.fsum(game.returns.values())
        self._record(builder, now_s, total, game.num_steps, ending)
        is_over = now_s >= builder.deadline_s or builder.num_episodes >= self.max_episodes
        if builder.drain or is_over:
            return False
        return self._begin_episode(builder, now_s)

    def _note_agents(self, game: Game, returns: dict[str, float]) -> None:
        self._played.append((returns, game.agent_steps))
        for name, count in game.agent_steps.items():
            self._agent_steps[name] = self._agent_steps.get(name, 0) + count

    @override
    def _fail(self, builder: ChunkBuilder, where: str, error: Exception) -> None:
        now_s = self._clock()
        self.failures_in_a_row += 1
        num_steps = 0
        game = self._env
        if game is None or where in ("make", "reset"):
            self._played.append(({}, {}))
        else:
            num_steps = game.num_steps
            self._note_agents(game, dict.fromkeys(game.returns, math.nan))
        self._record(builder, now_s, math.nan, num_steps, ERROR)
        self._note_error(builder, now_s, where, error)
        self._discard_env()

    @override
    def _agents(self) -> AgentEpisodes:
        played, self._played = self._played, []
        steps = dict(self._agent_steps)
        if self._env is not None and not self._between_episodes:
            for name, count in self._env.agent_steps.items():
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


def _no_policy(_observation: Any) -> Any:
    raise RuntimeError("a game's agents choose by themselves")
