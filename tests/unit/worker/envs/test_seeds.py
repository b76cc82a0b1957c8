"""Every environment of every incarnation of every worker has seeds of its own."""

import gymnasium
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.spec import PolicySpec
from raydash.worker.envs.seeds import env_seeds, remade_seed
from raydash.worker.policies.policy import make_policy


@given(
    seed=st.integers(0, 2**63 - 1),
    worker_index=st.integers(1, 10_000),
    incarnation=st.integers(0, 1000),
    env_index=st.integers(0, 64),
)
def test_seeds_fit_a_c_int_and_are_the_same_each_time(
    seed: int, worker_index: int, incarnation: int, env_index: int
) -> None:
    first, again = (
        env_seeds(seed, worker_index=worker_index, incarnation=incarnation, env_index=env_index)
        for _ in range(2)
    )
    assert first == again
    assert 0 <= first.reset < 2**31
    assert 0 <= first.action_space < 2**31
    assert 0 <= remade_seed(first.reset, incarnation + 1) < 2**31


def test_seeds_follow_the_documented_seed_sequence() -> None:
    words = np.random.SeedSequence(7, spawn_key=(3, 2, 1)).generate_state(2)
    seeds = env_seeds(7, worker_index=3, incarnation=2, env_index=1)
    assert (seeds.reset, seeds.action_space) == (int(words[0]) >> 1, int(words[1]) >> 1)


def test_workers_incarnations_environments_and_remakes_differ() -> None:
    seeds = [
        env_seeds(0, worker_index=worker, incarnation=incarnation, env_index=env).reset
        for worker in range(1, 30)
        for incarnation in range(4)
        for env in range(3)
    ]
    seeds += [remade_seed(seeds[0], count) for count in range(1, 50)]
    assert len(set(seeds)) == len(seeds)


def test_random_policy_draws_what_the_seeded_action_space_draws() -> None:
    space = gymnasium.spaces.Dict(
        {"move": gymnasium.spaces.Discrete(5), "aim": gymnasium.spaces.Box(-1, 1, (3,))}
    )
    twin = gymnasium.spaces.Dict(
        {"move": gymnasium.spaces.Discrete(5), "aim": gymnasium.spaces.Box(-1, 1, (3,))}
    )
    policy = make_policy(PolicySpec(), space, space, 11)
    twin.seed(11)
    for _ in range(20):
        drawn, expected = policy(None), twin.sample()
        assert drawn["move"] == expected["move"]
        np.testing.assert_array_equal(drawn["aim"], expected["aim"])
