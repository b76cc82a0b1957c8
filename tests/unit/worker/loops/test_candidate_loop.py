"""The loop of a learner's candidates plays, counts and resumes the right episodes."""

from collections import deque
from typing import Any

import gymnasium
import numpy as np
import pytest
from numpy.typing import NDArray

from raydash.core.records import ObservationSums, Parameters, RolloutChunk, Work
from raydash.core.states import Ending
from raydash.worker.envs.seeds import candidate_seed, evaluation_seed
from raydash.worker.loops.account import Incarnation
from raydash.worker.loops.candidates import OBSERVATIONS_AT_ONCE, CandidateLoop, ObservationBuffer
from raydash.worker.node.progress import HURRY, ProgressWriter
from tests.fakes.clock import FakeClock

SECOND = 1.0
SEED = 5


class ScriptedEnv(gymnasium.Env[Any, Any]):
    """Makes each episode as long as its first action says; a step takes a hundredth of a second.

    Observations are (seed of the reset, steps so far); the reward is the action.
    """

    observation_space = gymnasium.spaces.Box(-np.inf, np.inf, (2,), np.float64)
    action_space = gymnasium.spaces.Box(-1e9, 1e9, (1,), np.float64)

    def __init__(self, clock: FakeClock, *, raising: float | None = None) -> None:
        self._clock = clock
        self._raising = raising
        self.seeds: list[int | None] = []
        self.closed = False

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        self.seeds.append(seed)
        self._steps = 0
        self._shared = np.array([0.0, 0.0])
        return self._shared, {}

    def step(self, action: NDArray[np.float64]) -> Any:
        self._clock.advance(0.01)
        self._steps += 1
        value = float(action[0])
        if value == self._raising:
            raise RuntimeError("no such candidate")
        self._shared[1] = (
            self._steps
        )  # all observations share one array, so the loop must copy them
        return self._shared, value, self._steps >= abs(value), False, {}

    def close(self) -> None:
        self.closed = True


class Player:
    def __init__(self, *, raising: float | None = None) -> None:
        self.clock = FakeClock()
        self.progress = ProgressWriter()
        self.envs = [ScriptedEnv(self.clock, raising=raising)]

        def make_env() -> ScriptedEnv:
            self.envs.append(ScriptedEnv(self.clock, raising=raising))
            return self.envs[-1]

        self.loop = CandidateLoop(
            Incarnation(3, 1, self.clock, self.progress),
            self.envs[0],
            reset_seed=99,
            make_env=make_env,
            run_seed=SEED,
            gathers_observations=True,
        )
        self.loop.prepare(lambda env, seed: env.reset(seed=seed)[0])

    def play(
        self, work: Work | None, budget_s: float = SECOND, *, drain: bool = False
    ) -> RolloutChunk:
        fresh = parameters(work.weights_seq_no) if work is not None else None
        self.loop.assign(work, fresh)
        return self.loop.run(budget_s, drain=drain)


def parameters(number: int) -> Parameters:
    """Make parameters of nothing but a bias: candidate k always acts k + 2, the best guess 7."""
    candidates = np.array([[0.0, 0.0, k + 2.0] for k in range(5)])
    return Parameters(
        number, (2, 1), candidates, np.array([0.0, 0.0, 7.0]), np.zeros(2), np.ones(2)
    )


def work(*candidates: int, number: int = 1, evaluation: bool = False) -> Work:
    seen: dict[int, int] = {}
    episodes = []
    for candidate in candidates:
        episodes.append(seen.get(candidate, 0))
        seen[candidate] = episodes[-1] + 1
    return Work(number, candidates, tuple(episodes), evaluation)


def test_each_episode_is_played_by_its_own_candidate() -> None:
    player = Player()
    chunk = player.play(work(0, 0, 3, 1))
    assert chunk.candidate.tolist() == [0, 0, 3, 1]
    assert chunk.episode_len.tolist() == [2, 2, 5, 3]
    assert chunk.episode_return.tolist() == [4.0, 4.0, 25.0, 9.0]
    assert (chunk.weights_seq_no, chunk.evaluation, chunk.work_left) == (1, False, 0)
    assert chunk.totals.num_env_steps == 12
    assert chunk.totals.num_episodes == 4


def test_a_chunk_ends_with_its_work_before_its_budget() -> None:
    player = Player()
    chunk = player.play(work(0), budget_s=60.0)
    assert chunk.duration_s == pytest.approx(0.02)


def test_without_work_nothing_is_stepped() -> None:
    player = Player()
    chunk = player.play(None)
    assert (chunk.totals.num_env_steps, len(chunk.ending), chunk.work_left) == (0, 0, 0)


def test_an_episode_under_way_goes_on_in_the_next_slice_and_what_was_not_begun_is_named() -> None:
    player = Player()
    first = player.play(work(3, 0, 1), budget_s=0.025)
    assert (len(first.ending), first.work_left) == (0, 2)
    assert first.partial_len.tolist() == [3]
    second = player.play(work(2))
    assert second.candidate.tolist() == [3, 2]
    assert second.episode_len.tolist() == [5, 4]


def test_an_episode_of_an_earlier_generation_ends_a_chunk_of_its_own() -> None:
    player = Player()
    player.play(work(3), budget_s=0.015)
    old = player.play(work(0, 1, number=2))
    assert (old.weights_seq_no, old.candidate.tolist(), old.work_left) == (1, [3], 2)
    new = player.play(work(0, 1, number=2))
    assert (new.weights_seq_no, new.candidate.tolist(), new.work_left) == (2, [0, 1], 0)


def test_evaluation_episodes_are_in_no_count_but_in_the_times() -> None:
    player = Player()
    player.play(work(0))
    chunk = player.play(Work(1, (9, 9), (0, 1), evaluation=True))
    assert (chunk.evaluation, chunk.candidate.tolist()) == (True, [9, 9])
    assert chunk.episode_len.tolist() == [7, 7]
    assert chunk.totals.num_env_steps == 2
    assert chunk.totals.num_episodes == chunk.totals.num_terminated == 1
    assert chunk.totals.busy_time_s == pytest.approx(0.16)
    again = player.play(work(1, number=2))
    assert again.totals.num_env_steps == 5


def test_an_unfinished_evaluation_episode_is_in_no_count_either() -> None:
    player = Player()
    chunk = player.play(Work(1, (1,), (0,), evaluation=True), budget_s=0.035)
    assert chunk.totals.num_env_steps == 0
    assert chunk.partial_len.tolist() == [0]
    done = player.play(None)
    assert (done.evaluation, done.episode_len.tolist()) == (True, [7])
    assert done.totals.num_env_steps == 0


def test_all_candidates_of_a_generation_begin_alike_and_no_evaluation_like_another() -> None:
    player = Player()
    player.play(work(0, 0, 3, 3, number=4))
    player.play(Work(4, (2, 2), (0, 1), evaluation=True))
    player.play(work(0, number=5))
    played = player.envs[0].seeds[1:]
    first, second = candidate_seed(SEED, 4, 0), candidate_seed(SEED, 4, 1)
    assert played[:4] == [first, second, first, second]
    assert played[4:6] == [evaluation_seed(SEED, 2, 0), evaluation_seed(SEED, 2, 1)]
    assert len(set(played)) == 5


def test_an_error_is_its_candidates_episode_and_the_next_one_plays_in_a_new_environment() -> None:
    player = Player(raising=3.0)
    chunk = player.play(work(0, 1, 2))
    assert chunk.candidate.tolist() == [0, 1, 2]
    assert chunk.ending.tolist() == [Ending.TERMINATED, Ending.ERROR, Ending.TERMINATED]
    assert np.isnan(chunk.episode_return[1])
    assert len(player.envs) == 2
    assert player.envs[1].seeds == [candidate_seed(SEED, 1, 0)]


def test_an_error_in_the_last_episode_ends_the_chunk() -> None:
    player = Player(raising=3.0)
    chunk = player.play(work(0, 1))
    assert chunk.totals.num_error == 1
    assert (chunk.work_left, chunk.failures_in_a_row) == (0, 1)


def test_a_hurried_slice_gives_everything_back() -> None:
    player = Player()
    player.progress.cells[HURRY] = 1
    chunk = player.play(work(0, 1))
    assert (len(chunk.ending), chunk.work_left) == (0, 2)


def test_draining_finishes_the_episode_under_way_alone() -> None:
    player = Player()
    player.play(work(4, 0), budget_s=0.015)
    chunk = player.play(None, drain=True)
    assert (chunk.candidate.tolist(), chunk.drained) == ([4], True)
    assert player.play(None, drain=True).drained


def test_observations_of_candidates_are_summed_and_those_of_evaluations_are_not() -> None:
    player = Player()
    chunk = player.play(work(1, 2))
    seen = [0.0, 1.0, 2.0, 0.0, 1.0, 2.0, 3.0]
    sums = chunk.observations
    assert sums is not None
    assert sums.count == 7
    assert sums.mean[1] == pytest.approx(np.mean(seen))
    assert sums.m2[1] == pytest.approx(np.var(seen) * 7)
    assert player.play(Work(1, (1,), (0,), evaluation=True)).observations is None


def test_a_full_buffer_of_observations_loses_none() -> None:
    buffer = ObservationBuffer(1)
    values = np.arange(2.5 * OBSERVATIONS_AT_ONCE)
    for value in values:
        buffer(np.array([value]))
    sums = buffer.take_sums()
    assert sums is not None
    assert sums.count == len(values)
    assert sums.mean[0] == pytest.approx(values.mean())
    assert sums.m2[0] == pytest.approx(((values - values.mean()) ** 2).sum())
    assert buffer.take_sums() is None


def test_moments_merge_like_those_of_all_observations_together() -> None:
    rng = np.random.default_rng(0)
    parts = deque(rng.normal(k, k + 1, (10 * k + 1, 3)) for k in range(6))
    merged = ObservationSums.merged([ObservationSums.of(part) for part in parts])
    whole = ObservationSums.of(np.concatenate(list(parts)))
    assert merged is not None
    assert merged.count == whole.count
    np.testing.assert_allclose(merged.mean, whole.mean)
    np.testing.assert_allclose(merged.m2, whole.m2)
