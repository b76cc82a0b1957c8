"""A policy gives each row of a batch the action that it would give it alone."""

import itertools
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, iterate

from raydash.core.faults import FaultError
from raydash.core.spec import PolicySpec
from raydash.worker.policies.batch import BatchSpaces, make_batch_policy
from raydash.worker.policies.network import num_inputs, num_outputs
from raydash.worker.policies.policy import make_policy
from raydash.worker.policies.weights import Weights, write_weights

NUM_ENVS = 5
OBSERVATIONS = (
    spaces.Box(-3, 3, (4,), np.float32),
    spaces.Box(0, 255, (2, 3), np.uint8),
    spaces.Discrete(4),
    spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(0, 1, (2, 2))}),
)
ACTIONS = (
    spaces.Discrete(3),
    spaces.Discrete(2, start=-1),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(4),
    spaces.Box(-1, 1, (2,)),
    spaces.Box(-1, 1, (2, 2)),
)


def both(observation: Any, action: Any) -> BatchSpaces:
    return BatchSpaces(
        NUM_ENVS, observation, action, batch_space(observation, NUM_ENVS), batch_space(action, 5)
    )


def echoing(observation_space: Any, action_space: Any) -> Any:
    """Make a user's own policy."""
    return lambda observation: int(float(observation[0]) > 0)


@pytest.mark.parametrize("action", ACTIONS, ids=str)
@pytest.mark.parametrize("observation", OBSERVATIONS, ids=str)
@pytest.mark.parametrize("hidden", [(), (6,)])
def test_network_answers_a_batch_as_it_answers_its_rows(
    observation: Any, action: Any, hidden: tuple[int, ...], tmp_path: Path
) -> None:
    rng = np.random.default_rng(1)
    sizes = (num_inputs(observation, "w"), *hidden, num_outputs(action, "w"))
    layers = tuple(
        (rng.normal(size=(before, after)), rng.normal(size=after))
        for before, after in itertools.pairwise(sizes)
    )
    path = tmp_path / "w.npz"
    write_weights(path, Weights(layers, rng.normal(size=sizes[0]), np.full(sizes[0], 1.5)))
    spec = PolicySpec("mlp", path=str(path))
    together = both(observation, action)
    together.observation.seed(2)
    alone, batch = make_policy(spec, observation, action, 0), make_batch_policy(spec, together, 0)
    for _ in range(20):
        observations = together.observation.sample()
        answers = batch(observations)
        assert together.action.contains(answers)
        for row, answer in zip(
            iterate(together.observation, observations),
            iterate(together.action, answers),
            strict=True,
        ):
            np.testing.assert_allclose(answer, alone(row), rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("action", ACTIONS, ids=str)
def test_random_actions_are_those_of_the_seeded_batch(action: Any) -> None:
    together = both(OBSERVATIONS[0], action)
    again = batch_space(action, NUM_ENVS)
    again.seed(3)
    policy = make_batch_policy(PolicySpec(), together, 3)
    for _ in range(50):
        drawn, wanted = policy(None), again.sample()
        np.testing.assert_array_equal(drawn, wanted)
        assert drawn.dtype == wanted.dtype


def test_constant_action_and_users_policy_answer_every_row() -> None:
    together = both(OBSERVATIONS[0], gymnasium.spaces.Discrete(2))
    constant = make_batch_policy(PolicySpec("constant", action=1), together, 0)
    assert constant(None).tolist() == [1] * NUM_ENVS
    users = make_batch_policy(PolicySpec(f"{__name__}:echoing"), together, 0)
    observations = np.zeros((NUM_ENVS, 4), np.float32)
    observations[[1, 3], 0] = 1.0
    assert users(observations).tolist() == [0, 1, 0, 1, 0]


def test_network_that_does_not_fit_is_refused_as_for_one_environment(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    write_weights(path, Weights(((np.zeros((3, 2)), np.zeros(2)),), np.zeros(3), np.ones(3)))
    with pytest.raises(FaultError, match="does not fit the environment"):
        make_batch_policy(
            PolicySpec("linear", path=str(path)), both(OBSERVATIONS[0], ACTIONS[0]), 0
        )
