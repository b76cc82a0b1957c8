"""The keeper of an environment seeds its resets and makes it anew after failures."""

from typing import Any

import pytest

from raydash.worker.envs.seeds import remade_seed
from raydash.worker.loops.account import EpisodeAccount, Incarnation
from raydash.worker.loops.env_keeper import EnvKeeper
from raydash.worker.node.progress import COUNTER, PHASE, Phase, ProgressWriter
from tests.fakes.clock import FakeClock

SEED = 42


class Env:
    """Notes the seeds of its resets, which take a second; they fail if they are told to."""

    def __init__(self, clock: FakeClock, seeds: list[int | None]) -> None:
        self.clock = clock
        self.seeds = seeds
        self.is_failing = False
        self.num_closed = 0

    def reset(self, *, seed: int | None = None) -> tuple[Any, dict[str, Any]]:
        self.seeds.append(seed)
        self.clock.advance(1.0)
        if self.is_failing:
            raise RuntimeError("the level file is missing")
        return "start", {}

    def close(self) -> None:
        self.num_closed += 1
        raise RuntimeError("cannot close")


class Kept:
    """A keeper with its account, and all environments that it had."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.account = EpisodeAccount(Incarnation(3, 1, self.clock, ProgressWriter()))
        self.seeds: list[int | None] = []
        self.envs = [Env(self.clock, self.seeds)]
        self.keeper = EnvKeeper(self.account, self.envs[0], reset_seed=SEED, make_env=self.make_env)
        self.builder = self.account.begin_slice(1e6)
        self.display = True

    def make_env(self) -> Env:
        self.clock.advance(5.0)
        if not self.display:
            raise OSError("no display")
        self.envs.append(Env(self.clock, self.seeds))
        return self.envs[-1]

    def reset(self) -> Any:
        return self.keeper.reset(self.builder, self.clock())


def test_only_the_first_reset_is_seeded_until_the_environment_fails() -> None:
    kept = Kept()
    for _ in range(2):
        assert kept.reset() == "start"
    kept.keeper.discard()
    for _ in range(2):
        kept.reset()
    kept.keeper.discard()
    kept.reset()
    assert kept.seeds == [SEED, None, remade_seed(SEED, 1), None, remade_seed(SEED, 2)]
    assert len(kept.envs) == 3


def test_a_seed_that_is_set_counts_for_a_remade_environment_too() -> None:
    kept = Kept()
    kept.keeper.discard()
    kept.keeper.next_seed = 7
    kept.reset()
    kept.reset()
    assert kept.seeds == [7, None]


def test_an_episode_begins_with_its_reset_and_only_that_is_reset_time() -> None:
    kept = Kept()
    kept.keeper.discard()
    before_s = kept.clock()
    counter = kept.account.progress.cells[COUNTER]
    kept.reset()
    assert kept.account.episode_started_s == before_s
    assert kept.account.reset_time_s == 1.0
    assert kept.builder.reset_samples_s == [1.0]
    assert not kept.account.between_episodes
    assert kept.account.progress.cells[PHASE] == Phase.STEPPING
    assert kept.account.progress.cells[COUNTER] == counter + 1


def test_a_failure_says_whether_it_came_from_making_or_resetting() -> None:
    kept = Kept()
    kept.envs[0].is_failing = True
    with pytest.raises(RuntimeError, match="level file"):
        kept.reset()
    assert kept.keeper.where == "reset"
    assert kept.account.reset_time_s == 1.0
    assert kept.builder.reset_samples_s == []
    assert kept.account.between_episodes
    kept.keeper.discard()
    kept.display = False
    with pytest.raises(OSError, match="no display"):
        kept.reset()
    assert kept.keeper.where == "make"


def test_discarding_closes_and_hides_what_closing_raises_but_closing_tells() -> None:
    kept = Kept()
    kept.keeper.discard()
    assert (kept.keeper.env, kept.envs[0].num_closed) == (None, 1)
    kept.reset()
    with pytest.raises(RuntimeError, match="cannot close"):
        kept.keeper.close()
    assert kept.envs[1].num_closed == 1
    kept.keeper.close()
    assert kept.account.progress.cells[PHASE] == Phase.CLOSING
    assert kept.account.between_episodes


def test_the_first_reset_is_reported_by_the_first_slice_after_it() -> None:
    kept = Kept()
    observation = kept.keeper.first_reset(lambda env, seed: env.reset(seed=seed)[0])
    assert (observation, kept.seeds) == ("start", [SEED])
    kept.clock.advance(3.0)
    chunk = kept.account.chunk(kept.account.begin_slice(1.0))
    assert chunk.reset_time_s.tolist() == [1.0]
    assert (chunk.totals.reset_time_s, chunk.totals.idle_time_s) == (1.0, 3.0)
    assert kept.account.is_drained
