"""The seeds and resets that the loops of a single environment share, with one agent or many."""

from abc import abstractmethod
from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from typing_extensions import override

from raydash.worker.envs.seeds import remade_seed
from raydash.worker.loops.episode_counter import EpisodeCounter
from raydash.worker.loops.sliced import (
    MAX_RESET_SAMPLES,
    RESETTING,
    STEPPING,
    ChunkBuilder,
    Incarnation,
    SlicedLoop,
)
from raydash.worker.node.progress import COUNTER, EPISODE_LEN, NUM_ENV_STEPS, PHASE


class Resettable(Protocol):
    """The methods of an environment that begin an episode and close it."""

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; return its first observation and an info."""

    def close(self) -> None:
        """Close the environment."""


OneEnv = TypeVar("OneEnv", bound=Resettable)


class EpisodeLoop(EpisodeCounter, SlicedLoop[OneEnv]):
    """Steps one environment of one worker, episode after episode."""

    def __init__(
        self,
        incarnation: Incarnation,
        env: OneEnv,
        policy: Callable[[Any], Any],
        *,
        reset_seed: int,
        make_env: Callable[[], OneEnv],
    ) -> None:
        """Take over an environment that is not reset yet.

        Args:
            incarnation: The worker's incarnation.
            env: The environment.
            policy: Chooses the actions.
            reset_seed: Seeds the first reset. Later ones continue with the environment's own
                generator; a remade environment gets `seeds.remade_seed`, so that it does not
                repeat its predecessor's episodes.
            make_env: Makes a new environment after an error; may raise anything.
        """
        super().__init__(incarnation, env, policy, make_env=make_env)
        self._reset_seed = reset_seed
        self._next_seed: int | None = reset_seed

    @abstractmethod
    def _fail(self, builder: ChunkBuilder, where: str, error: Exception) -> None:
        """Record an episode that ended in an exception and discard its environment."""

    @override
    def _first_reset(self, first_reset: Callable[[OneEnv, int], Any], started_s: float) -> Any:
        assert self._env is not None
        self._episode_started_s = started_s
        observation = first_reset(self._env, self._reset_seed)
        self._next_seed = None
        return observation

    @override
    def _close_env(self, env: OneEnv) -> None:
        env.close()

    @override
    def _begin_episode(self, builder: ChunkBuilder, now_s: float) -> bool:
        """Reset the environment; if it failed before, remake it first."""
        cells = self._progress.cells
        cells[PHASE] = RESETTING
        cells[NUM_ENV_STEPS] = self._num_finished_steps
        cells[EPISODE_LEN] = 0
        cells[COUNTER] += 1
        self._episode_started_s = now_s
        where = "make"
        env = self._env
        try:
            if env is None:
                self._num_remakes += 1
                self._next_seed = self._seed_of_remade()
                env = self._env = self._make_env()
                now_s = self._clock()
            where = "reset"
            try:
                if self._next_seed is None:
                    self._observation, _ = env.reset()
                else:
                    self._observation, _ = env.reset(seed=self._next_seed)
                    self._next_seed = None
            finally:
                reset_s = self._clock() - now_s
                self._reset_time_s += reset_s
        except Exception as error:
            self._fail(builder, where, error)
            return False
        self._between_episodes = False
        if len(builder.reset_samples_s) < MAX_RESET_SAMPLES:
            builder.reset_samples_s.append(reset_s)
        cells[PHASE] = STEPPING
        return True

    def _seed_of_remade(self) -> int | None:
        return remade_seed(self._reset_seed, self._num_remakes)
