"""Environments that are stepped together are counted one by one, in every autoreset mode."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.faults import FaultError
from raydash.core.records import RolloutChunk
from raydash.core.spec import EnvSpec, PolicySpec
from raydash.core.states import Ending
from raydash.protocol.codec import encode
from raydash.worker.envs.environments import first_reset
from raydash.worker.envs.seeds import remade_seed
from raydash.worker.envs.vector_environments import GuardedVectorEnv, VectorEnv, make_vector_env
from raydash.worker.loops.account import MAX_EPISODES, MAX_FAILURES_IN_A_ROW, Incarnation
from raydash.worker.loops.vector_rollout import VectorRolloutLoop
from raydash.worker.node.progress import ProgressWriter
from raydash.worker.policies.batch import BatchSpaces, make_batch_policy
from tests.fakes.user_code.envs import (
    CountingEnv,
    FakeClock,
    RaisingEnv,
    ScriptedEnv,
    ScriptedVectorEnv,
    Step,
)

MODES = [AutoresetMode.NEXT_STEP, AutoresetMode.SAME_STEP, AutoresetMode.DISABLED]
FAKES = "tests.fakes.user_code.envs"


def loop_over(
    env: VectorEnv,
    clock: Callable[[], float],
    make: Callable[[], VectorEnv] | None = None,
    policy: Callable[[Any], Any] | None = None,
) -> VectorRolloutLoop:
    return VectorRolloutLoop(
        Incarnation(3, 1, clock, ProgressWriter()),
        env,
        policy or (lambda observations: np.zeros(len(observations), np.int64)),
        reset_seeds=[40 + index for index in range(env.num_envs)],
        make_env=make or (lambda: env),
    )


def scripted(
    scripts: Sequence[Sequence[Step]], mode: AutoresetMode, tick_s: float = 1e-5
) -> tuple[ScriptedVectorEnv, VectorRolloutLoop]:
    clock = FakeClock(tick_s)
    env = ScriptedVectorEnv(scripts, mode, clock=clock)
    again = lambda: ScriptedVectorEnv(scripts, mode, clock=clock, tape=env.tape)  # noqa: E731
    return env, loop_over(env, clock, again)


Episode = tuple[float, int, Ending]


class Recount:
    """The figures of one sub-environment's steps, counted independently of the loop."""

    def __init__(self) -> None:
        self.episodes: list[Episode] = []
        self.num_steps = 0
        self.len = 0
        self.total = 0.0
        self.is_parked = False
        self._seen = 0

    def take(self, taken: Sequence[Step | None], *, drain: bool = False) -> None:
        """Count the steps that were taken since the last call."""
        for step in taken[self._seen :]:
            if step is None or step.error:
                if not self.is_parked:
                    self._end(math.nan, Ending.ERROR)
                self.is_parked = drain
                continue
            if not self.is_parked:
                self.num_steps += 1
                self.len += 1
                self.total += step.reward
            if step.terminated or step.truncated:
                if not self.is_parked:
                    both = step.terminated and step.truncated
                    one = Ending.TERMINATED if step.terminated else Ending.TRUNCATED
                    self._end(self.total, Ending.BOTH if both else one)
                self.is_parked = drain
        self._seen = len(taken)

    def _end(self, total: float, ending: Ending) -> None:
        self.episodes.append((total, self.len, ending))
        self.len, self.total = 0, 0.0


def episodes_of(chunks: Sequence[RolloutChunk], env_index: int) -> list[Episode]:
    return [
        (float(total), int(length), Ending(ending))
        for chunk in chunks
        for index, total, length, ending in zip(
            chunk.env_index, chunk.episode_return, chunk.episode_len, chunk.ending, strict=True
        )
        if index == env_index
    ]


def assert_counts_equal(chunks: Sequence[RolloutChunk], recounts: Sequence[Recount]) -> None:
    for index, recount in enumerate(recounts):
        found = episodes_of(chunks, index)
        assert [each[1:] for each in found] == [each[1:] for each in recount.episodes]
        np.testing.assert_array_equal(
            [each[0] for each in found], [each[0] for each in recount.episodes]
        )
    last = chunks[-1]
    assert last.partial_len.tolist() == [recount.len for recount in recounts]
    assert last.partial_return.tolist() == [recount.total for recount in recounts]
    endings = [ending for recount in recounts for _, _, ending in recount.episodes]
    both = endings.count(Ending.BOTH)
    totals = last.totals
    assert totals.num_env_steps == sum(recount.num_steps for recount in recounts)
    assert totals.num_episodes == len(endings)
    assert totals.num_terminated == endings.count(Ending.TERMINATED) + both
    assert totals.num_truncated == endings.count(Ending.TRUNCATED) + both
    assert totals.num_error == endings.count(Ending.ERROR)


def steps_with(errors: Sequence[str]) -> st.SearchStrategy[Step]:
    return st.builds(
        Step,
        reward=st.floats(-1e6, 1e6),
        terminated=st.sampled_from([False, False, True]),
        truncated=st.sampled_from([False, False, True]),
        error=st.sampled_from(errors),
        # Steps must take some time: else batches grow to thousands of steps, a slice to minutes.
        lasts_s=st.sampled_from([5e-5, 1e-4, 0.01, 2.0]),
    )


def scripts_of(steps: st.SearchStrategy[Step]) -> st.SearchStrategy[list[list[Step]]]:
    script = st.lists(steps, min_size=1, max_size=12).filter(
        lambda script: any(not step.error for step in script)
    )
    return st.lists(script, min_size=1, max_size=4)


SMOOTH = scripts_of(steps_with([""]))
ROUGH = scripts_of(steps_with(["", "", "", "", "the step failed"]))
BUDGETS = st.lists(st.floats(0.0, 0.01), min_size=1, max_size=6)


@pytest.mark.parametrize("mode", MODES)
@given(scripts=ROUGH, budgets=BUDGETS)
def test_any_scripts_in_any_slices_give_the_counts_of_an_independent_recount(
    mode: AutoresetMode, scripts: list[list[Step]], budgets: list[float]
) -> None:
    env, loop = scripted(scripts, mode, tick_s=1e-4)
    chunks = [loop.run(budget_s) for budget_s in budgets]
    recounts = [Recount() for _ in scripts]
    for recount, taken in zip(recounts, env.tape.taken, strict=True):
        recount.take(taken)
    assert_counts_equal(chunks, recounts)


@pytest.mark.parametrize("mode", MODES)
@given(
    scripts=SMOOTH,
    slices=st.lists(st.tuples(st.floats(0.0, 0.02), st.booleans()), min_size=1, max_size=8),
)
def test_draining_counts_only_the_episodes_that_had_begun(
    mode: AutoresetMode, scripts: list[list[Step]], slices: list[tuple[float, bool]]
) -> None:
    env, loop = scripted(scripts, mode, tick_s=1e-4)
    recounts = [Recount() for _ in scripts]
    chunks: list[RolloutChunk] = []
    for budget_s, drain in slices:
        under_way = any(recount.len for recount in recounts)
        was_drained = bool(chunks) and chunks[-1].drained
        for recount in recounts:
            if drain and under_way and recount.len == 0:
                recount.is_parked = True
            if not drain and was_drained and env.tape.seeds:
                # If all are parked, going on resets all.
                recount.is_parked = recount.is_parked and not all(r.is_parked for r in recounts)
        num_resets = len(env.tape.seeds)
        chunks.append(loop.run(budget_s, drain=drain))
        for recount, taken in zip(recounts, env.tape.taken, strict=True):
            if len(env.tape.seeds) > num_resets:
                recount.is_parked = False
            recount.take(taken, drain=drain)
        if drain:
            assert chunks[-1].drained == (not any(recount.len for recount in recounts))
        assert_counts_equal(chunks, recounts)


@pytest.mark.parametrize("mode", MODES)
@given(scripts=ROUGH, budgets=BUDGETS)
def test_guarded_environment_that_raises_ends_only_its_own_episode(
    mode: AutoresetMode, scripts: list[list[Step]], budgets: list[float]
) -> None:
    clock = FakeClock(1e-4)
    tapes = [ScriptedEnv(script, clock=clock) for script in scripts]
    broken: list[ScriptedEnv] = []
    waiting = list(tapes)

    class Noted(ScriptedEnv):
        def close(self) -> None:
            broken.append(self)

    def make() -> ScriptedEnv:
        tape = waiting.pop(0) if waiting else broken.pop(0)
        return Noted(tape.script, clock=clock, tape=tape)

    env = GuardedVectorEnv(make, len(scripts), clock=clock, autoreset_mode=mode)
    loop = loop_over(env, clock)
    chunks = [loop.run(budget_s) for budget_s in budgets]
    recounts = [Recount() for _ in scripts]
    for recount, tape in zip(recounts, tapes, strict=True):
        recount.take(tape.taken)
    assert_counts_equal(chunks, recounts)
    for tape, seed in zip(tapes, range(40, 40 + len(tapes)), strict=True):
        seeds = [each for each in tape.reset_seeds if each is not None]
        assert seeds == [seed, *(remade_seed(seed, n) for n in range(1, len(seeds)))]


@pytest.mark.parametrize("mode", MODES)
def test_reset_of_one_does_not_touch_the_others_and_its_step_is_none(mode: AutoresetMode) -> None:
    short = [Step(reward=2.0, terminated=True, lasts_s=0.5)]
    long = [Step(reward=1.0, lasts_s=0.5)] * 5 + [Step(reward=1.0, truncated=True, lasts_s=0.5)]
    env, loop = scripted([short, long], mode)
    chunk = loop.run(4.2)
    assert set(episodes_of([chunk], 0)) == {(2.0, 1, Ending.TERMINATED)}
    assert set(episodes_of([chunk], 1)) <= {(6.0, 6, Ending.TRUNCATED)}
    assert len(env.tape.seeds) == 1
    assert chunk.totals.num_env_steps == sum(len(taken) for taken in env.tape.taken)


def test_duration_is_from_reset_to_end_and_offsets_are_of_the_call() -> None:
    script = [Step(lasts_s=1.0), Step(terminated=True, lasts_s=1.0)]
    _, loop = scripted([script, script], AutoresetMode.SAME_STEP, tick_s=0.0)
    chunk = loop.run(7.5)
    assert chunk.episode_duration_s.tolist() == [4.0] * 4
    assert chunk.end_offset_s.tolist() == [4.0, 4.0, 8.0, 8.0]
    assert chunk.env_index.tolist() == [0, 1, 0, 1]


def test_exception_of_all_ends_all_episodes_and_is_one_failure_with_one_traceback() -> None:
    script = [Step(), Step(terminated=True), Step(), Step(error="x", lasts_s=9.0)]
    env, loop = scripted([script, [Step()] * 4], AutoresetMode.SAME_STEP, tick_s=0.2)
    chunk = loop.run(0.5)
    while not chunk.totals.num_error:
        chunk = loop.run(0.5)
    assert chunk.ending.tolist()[-2:] == [Ending.ERROR, Ending.ERROR]
    assert chunk.episode_len.tolist()[-2:] == [1, 3]
    assert len(chunk.errors) == 1
    assert chunk.errors[0].where == "step"
    assert chunk.failures_in_a_row == 1
    assert env.num_closed == 1


def test_environment_that_cannot_be_made_again_fails_five_times_and_ends_the_slice() -> None:
    clock = FakeClock(1e-5)
    env = ScriptedVectorEnv([[Step(error="x")]] * 2, AutoresetMode.NEXT_STEP, clock=clock)

    def make() -> VectorEnv:
        raise OSError("no display")

    chunk = loop_over(env, clock, make).run(1e6)
    assert [error.where for error in chunk.errors] == ["step"] + ["make"] * 4
    assert chunk.failures_in_a_row == MAX_FAILURES_IN_A_ROW
    assert chunk.totals.num_error == 10
    assert chunk.totals.num_env_steps == 0


def test_exception_of_the_policy_is_one_of_all() -> None:
    def policy(observations: Any) -> Any:
        raise KeyError("weights")

    clock = FakeClock(1e-5)
    env = ScriptedVectorEnv([[Step()]] * 3, AutoresetMode.NEXT_STEP, clock=clock)
    chunk = loop_over(env, clock, policy=policy).run(0.0)
    assert chunk.errors[0].where == "policy"
    assert chunk.env_index.tolist()[:3] == [0, 1, 2]


def test_sub_environment_that_fails_for_ever_is_seen_though_the_others_are_well() -> None:
    made: list[CountingEnv] = []

    def make() -> CountingEnv:
        made.append(CountingEnv() if len(made) == 0 else RaisingEnv("step"))
        return made[-1]

    env = GuardedVectorEnv(make, 2)
    clock = FakeClock(1e-5)
    chunk = loop_over(env, clock).run(1e6)
    assert chunk.failures_in_a_row >= MAX_FAILURES_IN_A_ROW
    assert set(chunk.env_index[chunk.ending == Ending.ERROR].tolist()) == {1}
    assert "environment 1: RuntimeError: the simulator has gone" in chunk.errors[0].message


def test_rewards_of_the_wrong_shape_are_an_error_and_never_added_to_all() -> None:
    class Wrong(ScriptedVectorEnv):
        def step(self, actions: Any) -> Any:
            observations, _, terminated, truncated, info = super().step(actions)
            return observations, np.ones(1), terminated, truncated, info

    env = Wrong([[Step()]] * 3, AutoresetMode.NEXT_STEP)
    chunk = loop_over(env, FakeClock(1e-5)).run(0.0)
    assert "rewards have shape (1,), not (3,)" in chunk.errors[0].message
    assert chunk.totals.num_env_steps == 0


def test_prepared_loop_has_seeded_each_sub_environment_with_its_own_seed() -> None:
    made: list[ScriptedEnv] = []

    def make() -> ScriptedEnv:
        made.append(ScriptedEnv())
        return made[-1]

    loop = loop_over(GuardedVectorEnv(make, 3), FakeClock(1e-5))
    loop.prepare(lambda env, seed: first_reset(env, EnvSpec(), seed))
    loop.run(0.01)
    assert [env.reset_seeds[0] for env in made] == [40, 41, 42]
    assert all(set(env.reset_seeds[1:]) == {None} for env in made)


def test_vector_form_with_one_generator_is_seeded_with_the_first_seed() -> None:
    env, loop = scripted([[Step()]] * 2, AutoresetMode.NEXT_STEP)
    loop.run(0.0)
    assert env.tape.seeds == [40]


def test_first_reset_that_raises_is_a_fault() -> None:
    loop = loop_over(GuardedVectorEnv(lambda: RaisingEnv("reset"), 2), FakeClock(1e-5))
    with pytest.raises(FaultError, match="level file is missing"):
        loop.prepare(lambda env, seed: first_reset(env, EnvSpec(), seed))


def test_closing_closes_the_environment_once() -> None:
    env, loop = scripted([[Step()]], AutoresetMode.NEXT_STEP)
    loop.close()
    loop.close()
    assert env.num_closed == 1


def test_chunk_of_many_environments_ends_early_and_stays_small() -> None:
    script = [Step(reward=math.pi, terminated=True)]
    _, loop = scripted([script] * 1024, AutoresetMode.SAME_STEP, tick_s=1e-6)
    chunk = loop.run(1e6)
    assert MAX_EPISODES - 3 * 1024 < len(chunk.ending) <= MAX_EPISODES
    assert len(encode(chunk)) < 600_000


@pytest.mark.parametrize("how", ["sync", "vector_entry_point"])
@pytest.mark.parametrize("num_envs", [1, 5])
def test_real_cartpole_gives_the_counts_of_a_plain_loop_with_the_same_seeds(
    how: str, num_envs: int
) -> None:
    env = make_vector_env(EnvSpec(), num_envs, how)
    policy = make_batch_policy(PolicySpec(), BatchSpaces.of(env), 7)
    loop = loop_over(env, FakeClock(1e-4), policy=policy)
    chunks = [loop.run(0.02) for _ in range(6)]
    loop.close()

    plain = gymnasium.make_vec("CartPole-v1", num_envs, vectorization_mode=how)
    plain.action_space.seed(7)
    plain.reset(seed=[40 + index for index in range(num_envs)] if how == "sync" else 40)
    recounts = [Recount() for _ in range(num_envs)]
    over = np.zeros(num_envs, np.bool_)
    taken: list[list[Step | None]] = [[] for _ in range(num_envs)]
    num_left = chunks[-1].totals.num_env_steps
    while num_left > 0:
        num_left -= int((~over).sum())
        _, rewards, terminated, truncated, _ = plain.step(plain.action_space.sample())
        for index in np.flatnonzero(~over):
            taken[index].append(
                Step(float(rewards[index]), bool(terminated[index]), bool(truncated[index]))
            )
        over = (terminated | truncated) & ~over
    for recount, steps in zip(recounts, taken, strict=True):
        recount.take(steps)
    assert chunks[-1].totals.num_episodes > 20
    assert_counts_equal(chunks, recounts)


@pytest.mark.parametrize(
    ("env_id", "how", "words"),
    [
        ("MountainCar-v0", "vector_entry_point", "no vector form of its own"),
        (f"{FAKES}:CountingEnv", "vector_entry_point", "no vector form of its own"),
        ("CartPol-v1", "vector_entry_point", "There is no environment CartPol-v1"),
        ("CartPol-v1", "sync", "There is no environment CartPol-v1"),
    ],
)
def test_environment_that_has_no_such_form_is_a_fault_with_a_remedy(
    env_id: str, how: str, words: str
) -> None:
    with pytest.raises(FaultError) as caught:
        make_vector_env(EnvSpec(env_id), 2, how)
    assert words in caught.value.fault.what
    assert caught.value.fault.bad_input
    assert caught.value.fault.remedy
