"""The stepping loop counts exactly, and nothing that an environment does gets out of it."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.faults import FaultError
from raydash.core.records import RolloutChunk
from raydash.core.spec import EnvSpec, PolicySpec
from raydash.core.states import Ending
from raydash.protocol.codec import encode
from raydash.worker.envs.environments import first_reset, make_env
from raydash.worker.envs.seeds import remade_seed
from raydash.worker.loops.account import MAX_EPISODES, MAX_FAILURES_IN_A_ROW, Incarnation
from raydash.worker.loops.chunk_builder import MAX_ERRORS, MAX_RESET_SAMPLES, MAX_STEP_SAMPLES
from raydash.worker.loops.rollout import RolloutLoop
from raydash.worker.node.progress import Phase, ProgressWriter, set_hurry
from raydash.worker.policies.policy import make_policy
from tests.fakes.user_code.envs import CountingEnv, FakeClock, RaisingEnv, ScriptedEnv, Step

TICK_S = 1e-5


def loop_over(
    env: gymnasium.Env[Any, Any],
    *,
    clock: Callable[[], float],
    make: Callable[[], gymnasium.Env[Any, Any]] | None = None,
    policy: Callable[[Any], Any] = lambda _observation: 0,
    progress: ProgressWriter | None = None,
) -> RolloutLoop:
    return RolloutLoop(
        Incarnation(3, 1, clock, progress or ProgressWriter()),
        env,
        policy,
        reset_seed=42,
        make_env=make or (lambda: env),
    )


def scripted(
    script: Sequence[Step], *, tick_s: float = TICK_S, failing_resets: Sequence[int] = ()
) -> tuple[ScriptedEnv, RolloutLoop]:
    """Make a loop over a script; a remade environment continues where the old one failed."""
    clock = FakeClock(tick_s)
    env = ScriptedEnv(script, clock=clock, failing_resets=failing_resets)

    def make() -> ScriptedEnv:
        return ScriptedEnv(script, clock=clock, failing_resets=failing_resets, tape=env)

    return env, loop_over(env, clock=clock, make=make)


@dataclass
class Recount:
    """The figures of the steps that were taken, counted independently of the loop."""

    returns: list[float] = field(default_factory=list)
    lens: list[int] = field(default_factory=list)
    endings: list[Ending] = field(default_factory=list)
    steps: int = 0
    partial_len: int = 0
    partial_return: float = 0.0

    def take(self, steps: Sequence[Step]) -> None:
        for step in steps:
            if step.error:
                self._end(math.nan, Ending.ERROR)
                continue
            self.steps += 1
            self.partial_len += 1
            self.partial_return += step.reward
            if step.terminated and step.truncated:
                self._end(self.partial_return, Ending.BOTH)
            elif step.terminated:
                self._end(self.partial_return, Ending.TERMINATED)
            elif step.truncated:
                self._end(self.partial_return, Ending.TRUNCATED)

    def _end(self, episode_return: float, ending: Ending) -> None:
        self.returns.append(episode_return)
        self.lens.append(self.partial_len)
        self.endings.append(ending)
        self.partial_len, self.partial_return = 0, 0.0


def column(chunks: Sequence[RolloutChunk], name: str) -> list[Any]:
    return [value for chunk in chunks for value in getattr(chunk, name).tolist()]


STEPS = st.builds(
    Step,
    reward=st.floats(-1e6, 1e6),
    terminated=st.booleans(),
    truncated=st.booleans(),
    error=st.sampled_from(["", "", "", "", "the step failed"]),
    lasts_s=st.sampled_from([0.0, 1e-6, 1e-4, 0.01, 2.0]),
)


@given(
    script=st.lists(STEPS, min_size=1, max_size=40).filter(
        lambda script: any(not step.error for step in script)
    ),
    slices=st.lists(st.tuples(st.floats(0.0, 0.05), st.booleans()), min_size=1, max_size=8),
)
def test_any_script_in_any_slices_gives_the_counts_of_an_independent_recount(
    script: list[Step], slices: list[tuple[float, bool]]
) -> None:
    env, loop = scripted(script, tick_s=1e-4)
    chunks = [loop.run(budget_s, drain=drain) for budget_s, drain in slices]

    recount = Recount()
    recount.take(env.taken)
    assert column(chunks, "episode_len") == recount.lens
    assert column(chunks, "ending") == recount.endings
    np.testing.assert_array_equal(column(chunks, "episode_return"), recount.returns)
    totals = chunks[-1].totals
    assert totals.num_env_steps == recount.steps
    assert totals.num_episodes == len(recount.endings)
    assert totals.num_error == recount.endings.count(Ending.ERROR)
    both = recount.endings.count(Ending.BOTH)
    assert totals.num_terminated == recount.endings.count(Ending.TERMINATED) + both
    assert totals.num_truncated == recount.endings.count(Ending.TRUNCATED) + both
    assert chunks[-1].partial_len.tolist() == [recount.partial_len]
    assert chunks[-1].partial_return.tolist() == [recount.partial_return]
    for chunk, (_, drain) in zip(chunks, slices, strict=True):
        assert chunk.drained <= drain
        assert not (chunk.drained and chunk.partial_len[0])
        assert (chunk.end_offset_s >= 0).all()
        assert (chunk.end_offset_s <= chunk.duration_s).all()
        assert (np.diff(chunk.end_offset_s) >= 0).all()


def test_each_ending_has_its_kind_and_both_flags_count_in_both_totals() -> None:
    script = [
        Step(terminated=True),
        Step(truncated=True),
        Step(terminated=True, truncated=True),
        Step(error="broken"),
    ]
    _, loop = scripted(script)
    chunks = [loop.run(0.0) for _ in range(3)]
    while chunks[-1].totals.num_episodes < 4:
        chunks.append(loop.run(0.0))
    assert column(chunks, "ending")[:4] == [
        Ending.TERMINATED,
        Ending.TRUNCATED,
        Ending.BOTH,
        Ending.ERROR,
    ]
    totals = chunks[-1].totals
    assert (totals.num_terminated, totals.num_truncated, totals.num_error) == (2, 2, 1)


def test_half_finished_episode_goes_on_in_the_next_slice() -> None:
    env, loop = scripted([Step(reward=2.5, lasts_s=1.0)] * 9 + [Step(terminated=True)])
    first = loop.run(3.5)
    assert (first.partial_len[0], first.partial_return[0]) == (4, 10.0)
    rest = [loop.run(budget_s) for budget_s in (3.5, 0.0, 0.0)]
    assert column(rest, "episode_len") == [10]
    assert column(rest, "episode_return") == [23.5]
    assert env.reset_seeds == [42]


def test_only_the_first_reset_is_seeded() -> None:
    env, loop = scripted([Step(terminated=True, lasts_s=1.0)])
    loop.run(5.0)
    assert env.reset_seeds[0] == 42
    assert set(env.reset_seeds[1:]) == {None}


def test_environment_made_anew_is_seeded_with_another_seed_than_its_predecessor() -> None:
    env, loop = scripted([Step(lasts_s=1.0), Step(error="broken", lasts_s=1.0)])
    loop.run(7.0)
    made_anew = len(env.reset_seeds) - 1
    assert made_anew >= 2
    assert env.reset_seeds == [42, *(remade_seed(42, n) for n in range(1, made_anew + 1))]
    assert len(set(env.reset_seeds)) == len(env.reset_seeds)


def test_failed_environment_is_closed_and_the_error_is_recorded_with_its_traceback() -> None:
    env, loop = scripted([Step(), Step(error="the arm is stuck", lasts_s=9.0)])
    chunk = loop.run(1.0)
    assert env.num_closed == 1
    (error,) = chunk.errors
    assert error.where == "step"
    assert error.message == "RuntimeError: the arm is stuck"
    assert "envs.py" in error.traceback
    assert math.isnan(chunk.episode_return[0])
    assert chunk.episode_len.tolist() == [1]
    assert chunk.totals.num_env_steps == 1


def test_exception_in_the_policy_is_an_error_episode_of_the_policy() -> None:
    clock = FakeClock(TICK_S)
    env = ScriptedEnv([Step(lasts_s=1.0)], clock=clock)

    def policy(_observation: Any) -> int:
        if len(env.taken) == 3:
            raise KeyError("weights")
        return 0

    chunk = loop_over(env, clock=clock, policy=policy).run(5.0)
    assert chunk.errors[0].where == "policy"
    assert chunk.episode_len[0] == 3


def test_failing_reset_counts_as_an_error_episode_of_no_steps() -> None:
    _, loop = scripted([Step(terminated=True, lasts_s=1.0)], failing_resets=[1])
    chunk = loop.run(3.5)
    assert chunk.ending.tolist()[:3] == [Ending.TERMINATED, Ending.ERROR, Ending.TERMINATED]
    assert chunk.episode_len.tolist()[1] == 0
    assert [error.where for error in chunk.errors] == ["reset"]


def test_failing_constructor_is_an_error_of_making_and_ends_the_slice_at_five_in_a_row() -> None:
    clock = FakeClock(TICK_S)
    env = ScriptedEnv([Step(error="broken")], clock=clock)

    def make() -> ScriptedEnv:
        raise OSError("no display")

    chunk = loop_over(env, clock=clock, make=make).run(1e6)
    assert [error.where for error in chunk.errors] == ["step"] + ["make"] * 4
    assert chunk.failures_in_a_row == MAX_FAILURES_IN_A_ROW
    assert chunk.totals.num_error == 5


def test_good_reset_alone_does_not_clear_the_failures_in_a_row() -> None:
    env = RaisingEnv("step")
    chunk = loop_over(env, clock=FakeClock(TICK_S), make=lambda: RaisingEnv("step")).run(1e6)
    assert chunk.failures_in_a_row == MAX_FAILURES_IN_A_ROW
    assert chunk.totals.num_env_steps == 0


def test_good_step_clears_the_failures_in_a_row() -> None:
    _, loop = scripted([Step(), Step(error="broken"), Step(), Step(lasts_s=1e7)])
    assert loop.run(1e6).failures_in_a_row == 0


def test_errors_beyond_the_limit_are_counted_without_their_traceback() -> None:
    _, loop = scripted([Step(lasts_s=1.0), Step(error="again", lasts_s=1.0)])
    chunk = loop.run(100.0)
    assert len(chunk.errors) == MAX_ERRORS
    assert chunk.totals.num_error > MAX_ERRORS
    assert (chunk.ending == Ending.ERROR).sum() == chunk.totals.num_error


def test_step_of_the_wrong_shape_is_an_error_and_no_step() -> None:
    class Short(CountingEnv):
        def step(self, action: Any) -> Any:
            return np.zeros(2), 1.0, False

    chunk = loop_over(Short(), clock=FakeClock(TICK_S), make=Short).run(1.0)
    assert chunk.errors[0].message.startswith("ValueError")
    assert chunk.totals.num_env_steps == 0


def test_error_while_closing_a_failed_environment_does_not_get_out() -> None:
    class Stubborn(RaisingEnv):
        def close(self) -> None:
            raise RuntimeError("cannot close")

    chunk = loop_over(Stubborn(), clock=FakeClock(TICK_S), make=Stubborn).run(1.0)
    assert chunk.failures_in_a_row == MAX_FAILURES_IN_A_ROW


@pytest.mark.parametrize("reward", [math.nan, math.inf, -math.inf])
def test_rewards_that_are_no_numbers_pass_into_the_return(reward: float) -> None:
    _, loop = scripted([Step(reward=reward), Step(terminated=True, lasts_s=9.0)])
    np.testing.assert_array_equal(loop.run(1.0).episode_return, [reward + 1.0])


def test_single_precision_rewards_are_summed_in_double_precision() -> None:
    script = [Step(reward=np.float32(0.1))] * 999 + [Step(reward=np.float32(0.1), terminated=True)]
    _, loop = scripted(script)
    loop.account.max_episodes = 1
    chunk = loop.run(1.0)
    expected = 0.0
    for _ in range(1000):
        expected += float(np.float32(0.1))
    assert chunk.episode_return[0] == expected


def test_draining_finishes_the_episode_and_begins_no_other() -> None:
    env, loop = scripted([Step(lasts_s=1.0)] * 3 + [Step(terminated=True, lasts_s=1.0)])
    assert not loop.run(1.5).drained
    drained = loop.run(100.0, drain=True)
    assert drained.drained
    assert drained.episode_len.tolist() == [4]
    assert (len(env.taken), len(env.reset_seeds)) == (4, 1)
    again = loop.run(100.0, drain=True)
    assert again.drained
    assert (len(env.taken), len(env.reset_seeds)) == (4, 1)


def test_draining_a_long_episode_comes_back_at_the_end_of_each_budget() -> None:
    _, loop = scripted([Step(lasts_s=1.0)])
    loop.run(1.5)
    chunk = loop.run(2.5, drain=True)
    assert not chunk.drained
    assert chunk.duration_s == pytest.approx(3.0, abs=0.01)


def test_drained_loop_begins_a_new_episode_when_it_is_asked_to_go_on() -> None:
    env, loop = scripted([Step(terminated=True, lasts_s=1.0)])
    loop.run(0.0, drain=False)
    assert loop.run(0.0, drain=True).drained
    assert loop.run(0.0).totals.num_episodes == 2
    assert len(env.reset_seeds) == 2


def test_prepared_loop_that_has_not_stepped_is_drained_at_once() -> None:
    env, loop = scripted([Step()])
    loop.prepare(lambda env, seed: env.reset(seed=seed)[0])
    assert loop.run(1.0, drain=True).drained
    assert env.taken == []


def test_preparing_resets_once_with_the_seed_and_reports_the_time_it_took() -> None:
    env, loop = scripted([Step(lasts_s=1.0)], tick_s=0.0)

    def slow_reset(env: gymnasium.Env[Any, Any], seed: int) -> Any:
        observation, _ = env.reset(seed=seed)
        assert isinstance(env, ScriptedEnv)
        env.clock.now_s += 3.0
        return observation

    loop.prepare(slow_reset)
    env.clock.now_s += 5.0
    chunk = loop.run(1.5)
    assert env.reset_seeds == [42]
    assert chunk.reset_time_s.tolist() == [3.0]
    assert chunk.totals.reset_time_s == 3.0
    assert chunk.totals.idle_time_s == 5.0
    assert chunk.totals.busy_time_s == 5.0


def test_preparing_passes_on_the_fault_of_a_first_reset_that_raises() -> None:
    loop = loop_over(RaisingEnv("reset"), clock=FakeClock(TICK_S))
    spec = EnvSpec("tests.fakes.user_code.envs:RaisingEnv", {"where": "reset"})
    with pytest.raises(FaultError, match="level file is missing"):
        loop.prepare(lambda env, seed: first_reset(env, spec, seed))
    assert loop.account.totals().num_episodes == 0


def test_episode_lasts_from_its_reset_to_its_end_with_the_pause_between_slices() -> None:
    env, loop = scripted([Step(lasts_s=1.0), Step(terminated=True, lasts_s=1.0)], tick_s=0.0)
    loop.run(0.5)
    env.clock.now_s += 10.0
    chunk = loop.run(0.5)
    assert chunk.episode_duration_s.tolist() == [12.0]
    assert chunk.end_offset_s.tolist() == [1.0]
    assert chunk.totals.idle_time_s == 10.0
    assert chunk.totals.busy_time_s == 2.0


def test_first_step_offset_is_when_the_first_step_returned_and_nan_without_one() -> None:
    _, loop = scripted([Step(lasts_s=2.0)], tick_s=0.0)
    assert loop.run(1.0).first_step_offset_s == 2.0
    assert math.isnan(
        loop_over(RaisingEnv(), clock=FakeClock(1.0), make=RaisingEnv).run(1.0).first_step_offset_s
    )


def test_slow_environment_is_looked_at_after_every_step() -> None:
    _, loop = scripted([Step(lasts_s=0.3)])
    for _ in range(5):
        assert loop.run(1.0).duration_s < 1.31


def test_environment_that_slows_down_at_an_episode_ends_its_slice_there() -> None:
    fast = [Step(lasts_s=1e-6)] * 3000 + [Step(terminated=True, lasts_s=1e-6)]
    _, loop = scripted([*fast, Step(terminated=True, lasts_s=5.0)], tick_s=1e-7)
    loop.run(0.003)
    assert loop.run(1.0).duration_s < 5.1


def test_times_of_step_policy_and_reset_add_up_to_the_busy_time() -> None:
    clock = FakeClock()
    env = ScriptedEnv([Step(lasts_s=0.003)] * 19 + [Step(terminated=True)], clock=clock)

    def policy(_observation: Any) -> int:
        clock.now_s += 0.001
        return 0

    totals = loop_over(env, clock=clock, policy=policy).run(10.0).totals
    assert totals.busy_time_s == pytest.approx(10.0, abs=0.1)
    assert totals.policy_time_s == pytest.approx(totals.busy_time_s / 3.85, rel=0.1)
    parts = totals.step_time_s + totals.policy_time_s + totals.reset_time_s
    assert parts == pytest.approx(totals.busy_time_s)


def test_chunk_of_one_step_episodes_ends_early_and_stays_small() -> None:
    _, loop = scripted([Step(reward=math.pi, terminated=True)], tick_s=1e-6)
    chunk = loop.run(1e6)
    assert len(chunk.ending) == MAX_EPISODES
    assert len(chunk.reset_time_s) == MAX_RESET_SAMPLES
    assert len(chunk.step_time_s) <= MAX_STEP_SAMPLES
    assert len(encode(chunk)) < 600_000


def test_progress_tells_phase_and_steps_while_a_step_is_under_way() -> None:
    progress = ProgressWriter()
    seen: list[tuple[int, int]] = []

    class Looking(CountingEnv):
        def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
            seen.append((progress.cells[0], progress.cells[1]))
            return super().reset(seed=seed, options=options)

        def step(self, action: Any) -> Any:
            seen.append((progress.cells[0], progress.cells[1]))
            return super().step(action)

    loop = loop_over(Looking(length=2), clock=FakeClock(1.0), progress=progress)
    loop.run(50.0)
    assert seen[0] == (Phase.RESETTING, 0)
    assert seen[1] == (Phase.STEPPING, 0)
    assert (Phase.RESETTING, 2) in seen
    assert progress.cells[0] == Phase.IDLE


def test_real_cartpole_counts_equal_those_recounted_from_its_own_wrapper() -> None:
    spec = EnvSpec()
    recorded: list[tuple[float, int]] = []

    class Recorded(gymnasium.Wrapper[Any, Any, Any, Any]):
        total, length = 0.0, 0

        def reset(self, **kwargs: Any) -> Any:
            self.total, self.length = 0.0, 0
            return self.env.reset(**kwargs)

        def step(self, action: Any) -> Any:
            result = self.env.step(action)
            self.total += float(result[1])
            self.length += 1
            if result[2] or result[3]:
                recorded.append((self.total, self.length))
            return result

    env = Recorded(make_env(spec))
    policy = make_policy(PolicySpec(), env.observation_space, env.action_space, 1)
    loop = loop_over(env, clock=FakeClock(TICK_S), policy=policy)
    chunks = [loop.run(0.05) for _ in range(5)]
    returns, lens = column(chunks, "episode_return"), column(chunks, "episode_len")
    assert list(zip(returns, lens, strict=True)) == recorded
    assert len(recorded) > 50


def test_closing_closes_the_environment_once() -> None:
    env, loop = scripted([Step()])
    loop.run(0.0)
    loop.close()
    loop.close()
    assert env.num_closed == 1


def test_a_hurry_cuts_the_slice_short_and_loses_nothing(tmp_path: Path) -> None:
    progress = ProgressWriter(tmp_path / "w1")
    clock = FakeClock(TICK_S)
    loop = loop_over(ScriptedEnv(clock=clock), clock=clock, progress=progress)
    first = loop.run(0.02)
    set_hurry(progress.path, True)
    hurried = loop.run(1000.0)
    set_hurry(progress.path, False)
    after = loop.run(0.02)
    assert hurried.totals.num_env_steps == first.totals.num_env_steps
    assert after.totals.num_env_steps > first.totals.num_env_steps
    progress.close()
