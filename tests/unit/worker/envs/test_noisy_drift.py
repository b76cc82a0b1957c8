"""raydash/NoisyDrift-v0 follows its dynamics, with state and without."""

import gymnasium
import numpy as np
import pytest
from gymnasium.experimental.functional import FuncEnv
from gymnasium.utils.env_checker import check_env

from raydash.core.spec import EnvSpec
from raydash.worker.envs.environments import make_env, register_own, registry_ids
from raydash.worker.envs.noisy_drift import NoisyDriftFunc

ID = "raydash/NoisyDrift-v0"


def made() -> gymnasium.Env[np.ndarray, np.ndarray]:
    return make_env(EnvSpec(ID))


def test_it_is_listed_and_registering_again_changes_nothing() -> None:
    assert ID in registry_ids()
    before = gymnasium.spec(ID)
    register_own()
    assert gymnasium.spec(ID) is before


@pytest.mark.filterwarnings("ignore:.*Box .* space .* infinity")
def test_it_passes_the_checker_of_gymnasium() -> None:
    check_env(made().unwrapped, skip_render_check=True)


def test_state_starts_at_zero_and_drifts_by_the_action_and_up_to_a_tenth_of_noise() -> None:
    env = made()
    state, _ = env.reset(seed=7)
    np.testing.assert_array_equal(state, np.zeros(10))
    noises = []
    for action in np.linspace(0.0, 1.0, 2000)[:, None] * np.ones(10):
        following, reward, _, truncated, _ = env.step(action)
        noises.append((following - state - action) / 0.1)
        assert reward == following.sum()
        assert not truncated
        state = following
    noise = np.concatenate(noises)
    # Differences of sums up to 1000 carry rounding errors.
    assert -1e-9 <= noise.min() < 0.001 < 0.999 < noise.max() <= 1.0 + 1e-9
    assert noise.mean() == pytest.approx(0.5, abs=0.01)
    assert noise.var() == pytest.approx(1 / 12, abs=0.002)


def test_one_step_in_twenty_terminates_at_any_length() -> None:
    env = made()
    env.reset(seed=3)
    flags = np.array([env.step(np.zeros(10))[2] for _ in range(20_000)])
    assert flags.mean() == pytest.approx(0.05, abs=0.005)
    lengths = np.diff(np.flatnonzero(flags))
    assert lengths.std() == pytest.approx(np.sqrt(0.95) / 0.05, rel=0.1)  # geometric


def test_same_seed_gives_the_same_episodes_and_another_seed_others() -> None:
    def states(seed: int) -> list[list[float]]:
        env = made()
        env.reset(seed=seed)
        return [env.step(np.full(10, 0.5))[0].tolist() for _ in range(5)]

    assert states(1) == states(1)
    assert states(1) != states(2)


def test_stateless_steps_are_those_of_the_environment() -> None:
    func = NoisyDriftFunc()
    assert isinstance(func, FuncEnv)
    env = made()
    env.reset(seed=5)
    rng = np.random.default_rng(5)
    state = func.initial(rng)
    for _ in range(50):
        action = np.full(10, 0.25)
        before, state = state, func.transition(state, action, rng)
        reward = func.reward(before, action, state, rng)
        terminated = func.terminal(state, rng)
        expected = env.step(action)
        np.testing.assert_array_equal(func.observation(state, rng), expected[0])
        assert (reward, terminated) == expected[1:3]


def test_actions_are_numbers_from_zero_to_one() -> None:
    space = made().action_space
    assert isinstance(space, gymnasium.spaces.Box)
    assert (space.low.min(), space.high.max(), space.shape) == (0.0, 1.0, (10,))
