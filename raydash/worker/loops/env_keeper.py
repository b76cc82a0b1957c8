"""Keeps the one environment of a loop, with one agent or many: resets, remakes and closes it."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any, Generic, Protocol, TypeVar

from raydash.worker.envs.seeds import remade_seed
from raydash.worker.loops.account import RESETTING, STEPPING, EpisodeAccount
from raydash.worker.loops.chunk_builder import ChunkBuilder
from raydash.worker.node.progress import COUNTER, EPISODE_LEN, NUM_ENV_STEPS, PHASE, Phase


class Resettable(Protocol):
    """The methods of an environment that begin an episode and close it."""

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        """Begin an episode; return its first observation and an info."""

    def close(self) -> None:
        """Close the environment."""


OneEnv = TypeVar("OneEnv", bound=Resettable)


class EnvKeeper(Generic[OneEnv]):
    """An environment, its seeds, and how to make it anew after it failed.

    Attributes:
        env: The environment; None: it failed, and the next reset makes a new one.
        where: What `reset` is doing, for the words of an error: `make` or `reset`.
        next_seed: Seeds the next reset; None: the environment's own generator goes on.
    """

    def __init__(
        self,
        account: EpisodeAccount,
        env: OneEnv,
        *,
        reset_seed: int,
        make_env: Callable[[], OneEnv],
    ) -> None:
        """Take over an environment that is not reset yet.

        Args:
            account: Gets the times of resets.
            env: The environment.
            reset_seed: Seeds the first reset. Later ones continue with the environment's own
                generator; a remade environment gets `seeds.remade_seed`, so that it does not
                repeat its predecessor's episodes.
            make_env: Makes a new environment after an error; may raise anything.
        """
        self.env: OneEnv | None = env
        self.where = "reset"
        self.next_seed: int | None = reset_seed
        self._account = account
        self._reset_seed = reset_seed
        self._make_env = make_env
        self._num_failures = 0

    def first_reset(self, first_reset: Callable[[OneEnv, Any], Any]) -> Any:
        """Call `first_reset` with environment and seed; return the observation that it returns."""
        assert self.env is not None
        account = self._account
        account.progress.cells[PHASE] = RESETTING
        started_s = account.episode_started_s = account.clock()
        observation = first_reset(self.env, self._reset_seed)
        self.next_seed = None
        account.note_prepared(account.clock() - started_s)
        return observation

    def reset(self, builder: ChunkBuilder, now_s: float) -> Any:
        """Begin an episode, remaking the environment first if it failed.

        Returns:
            The first observation.

        Raises:
            Exception: whatever the environment raises; `where` says in what.
        """
        account, env = self._account, self.env
        cells = account.progress.cells
        cells[PHASE] = RESETTING
        cells[NUM_ENV_STEPS] = account.num_finished_steps
        cells[EPISODE_LEN] = 0
        cells[COUNTER] += 1
        account.episode_started_s = now_s
        self.where = "make"
        if env is None:
            env = self.env = self._make_env()
            now_s = account.clock()
        self.where = "reset"
        try:
            if self.next_seed is None:
                observation, _ = env.reset()
            else:
                observation, _ = env.reset(seed=self.next_seed)
                self.next_seed = None
        finally:
            reset_s = account.clock() - now_s
            account.reset_time_s += reset_s
        account.between_episodes = False
        builder.add_reset(reset_s)
        cells[PHASE] = STEPPING
        return observation

    def discard(self) -> None:
        """Close an environment that failed; the next reset makes a new one, with another seed."""
        self._num_failures += 1
        self.next_seed = remade_seed(self._reset_seed, self._num_failures)
        env, self.env = self.env, None
        if env is not None:
            with suppress(Exception):  # it was broken before, and the cause has just been recorded
                env.close()

    def close(self) -> None:
        """Close the environment; raises whatever its `close` raises."""
        account = self._account
        account.progress.cells[PHASE] = Phase.CLOSING
        account.between_episodes = True
        env, self.env = self.env, None
        if env is not None:
            env.close()
