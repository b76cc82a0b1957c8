"""Policies fit their spaces or are refused in words; networks compute what their weights imply."""

import tempfile
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.faults import FaultError
from raydash.core.spec import PolicySpec
from raydash.core.spec_rules import SpecError, spec_from_table
from raydash.worker.policies.network import num_inputs, num_outputs
from raydash.worker.policies.policy import check_action, make_policy
from raydash.worker.policies.weights import Weights, read_weights, write_weights

VECTOR = spaces.Box(-np.inf, np.inf, (4,), np.float32)
NESTED = spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(0, 1, (2, 2))})
ACTIONS = (
    spaces.Discrete(3),
    spaces.Discrete(2, start=-1),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(4),
    spaces.Box(-1, 1, (2,)),
    spaces.Box(np.array([-2.0, 0.0]), np.array([2.0, np.inf]), dtype=np.float64),
)


def random_weights(rng: np.random.Generator, *sizes: int) -> Weights:
    layers = tuple(
        (rng.normal(size=(before, after)), rng.normal(size=after))
        for before, after in pairwise(sizes)
    )
    return Weights(layers, rng.normal(size=sizes[0]), rng.uniform(0.5, 2.0, sizes[0]))


def saved(path: Path, weights: Weights) -> PolicySpec:
    write_weights(path, weights)
    return PolicySpec("mlp" if len(weights.layers) > 1 else "linear", str(path))


def why(spec: PolicySpec, observations: Any = VECTOR, actions: Any = ACTIONS[0]) -> str:
    with pytest.raises(FaultError) as caught:
        make_policy(spec, observations, actions, 0)
    assert caught.value.fault.bad_input
    return caught.value.fault.sentence()


@pytest.mark.parametrize("hidden", [(), (8,), (8, 5)])
@pytest.mark.parametrize("actions", ACTIONS, ids=str)
@pytest.mark.parametrize("observations", [VECTOR, NESTED, spaces.Discrete(5)], ids=str)
def test_a_network_answers_with_an_action_of_any_flat_space(
    observations: Any, actions: Any, hidden: tuple[int, ...], tmp_path: Path
) -> None:
    sizes = (num_inputs(observations, "x"), *hidden, num_outputs(actions, "x"))
    spec = saved(tmp_path / "w.npz", random_weights(np.random.default_rng(0), *sizes))
    policy = make_policy(spec, observations, actions, 0)
    observations.seed(1)
    for _ in range(20):
        assert actions.contains(policy(observations.sample()))


def test_a_network_normalises_then_applies_its_layers_with_tanh_between(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    weights = random_weights(rng, 4, 6, 2)
    (w0, b0), (w1, b1) = weights.layers
    policy = make_policy(
        saved(tmp_path / "w.npz", weights), VECTOR, spaces.Box(-100, 100, (2,), np.float64), 0
    )
    for _ in range(10):
        x = rng.normal(size=4)
        hidden = ((x - weights.mean) / weights.std) @ w0 + b0
        np.testing.assert_allclose(policy(x), np.tanh(hidden) @ w1 + b1, rtol=1e-12)


@given(st.integers(1, 6), st.lists(st.integers(1, 5), max_size=3), st.integers(1, 4))
def test_weights_come_back_bit_by_bit(inputs: int, hidden: list[int], outputs: int) -> None:
    weights = random_weights(np.random.default_rng(3), inputs, *hidden, outputs)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "w.npz"
        write_weights(path, weights)
        back = read_weights(str(path))
        assert [entry.name for entry in Path(folder).iterdir()] == ["w.npz"]
    for mine, theirs in zip(weights.layers, back.layers, strict=True):
        assert all(np.array_equal(a, b) for a, b in zip(mine, theirs, strict=True))
    assert np.array_equal(weights.mean, back.mean)
    assert np.array_equal(weights.std, back.std)


def test_weights_that_do_not_fit_say_what_both_sides_want(tmp_path: Path) -> None:
    spec = saved(tmp_path / "w.npz", random_weights(np.random.default_rng(0), 3, 2))
    assert "takes 3 numbers and gives 2; the environment gives 4 and wants 3" in why(spec)


def test_a_deep_network_is_no_linear_policy(tmp_path: Path) -> None:
    spec = saved(tmp_path / "w.npz", random_weights(np.random.default_rng(0), 4, 5, 3))
    assert 'policy.kind = "mlp"' in why(PolicySpec("linear", spec.path))


ONE = np.ones((4, 3))


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"x": ONE}, "no layer_0_weight"),
        ({"layer_0_weight": ONE}, "layer_0_bias"),
        ({"layer_0_weight": np.ones(3), "layer_0_bias": np.ones(3)}, "shape (3,)"),
        ({"layer_0_weight": ONE, "layer_0_bias": np.ones(4)}, "3 numbers"),
        (
            {
                "layer_0_weight": ONE,
                "layer_0_bias": np.ones(3),
                "layer_1_weight": ONE,
                "layer_1_bias": np.ones(3),
            },
            "takes 4 numbers, the layer before gives 3",
        ),
        ({"layer_0_weight": ONE * np.nan, "layer_0_bias": np.ones(3)}, "not finite"),
        (
            {"layer_0_weight": ONE, "layer_0_bias": np.ones(3), "observation_std": np.zeros(4)},
            "above 0",
        ),
        (
            {"layer_0_weight": ONE, "layer_0_bias": np.ones(3), "observation_mean": np.zeros(5)},
            "4 numbers each",
        ),
    ],
)
def test_wrong_arrays_are_named(arrays: dict[str, Any], words: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "w.npz", **arrays)
    assert words in why(PolicySpec("mlp", str(tmp_path / "w.npz")))


def test_a_file_that_would_unpickle_something_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "w.npz"
    np.savez(path, layer_0_weight=np.array([{"a": 1}], object), layer_0_bias=np.ones(3))
    assert "no .npz file of plain arrays" in why(PolicySpec("mlp", str(path)))


@pytest.mark.parametrize("content", [b"", b"hello", b"PK\x03\x04 broken"])
def test_a_corrupt_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(content)
    assert "plain arrays" in why(PolicySpec("mlp", str(tmp_path / "w.npz")))


def test_missing_weights_are_told(tmp_path: Path) -> None:
    assert "no such file" in why(PolicySpec("mlp", str(tmp_path / "none.npz")))
    assert "--policy-path" in why(PolicySpec("linear"))


@pytest.mark.parametrize(
    ("actions", "action"),
    [
        (spaces.Discrete(3), 2),
        (spaces.Box(-1, 1, (2,)), [0.5, -0.5]),
        (spaces.Box(-1, 1, (1,)), 0.5),
        (spaces.MultiDiscrete([2, 3]), [1, 2]),
        (spaces.MultiBinary(2), [0, 1]),
    ],
)
def test_a_constant_policy_always_does_the_same(actions: Any, action: Any) -> None:
    policy = make_policy(PolicySpec("constant", action=action), VECTOR, actions, 0)
    assert actions.contains(policy(None))
    assert np.array_equal(np.ravel(policy(None)), np.ravel(action))


@pytest.mark.parametrize(
    ("actions", "action"),
    [
        (spaces.Discrete(3), 3),
        (spaces.Discrete(3), 0.5),
        (spaces.Box(-1, 1, (2,)), [0.5]),
        (spaces.Box(-1, 1, (1,)), 7),
        (spaces.Text(5), 1),
        (spaces.Discrete(3), None),
    ],
)
def test_a_constant_action_outside_the_space_is_refused(actions: Any, action: Any) -> None:
    assert "constant" in why(PolicySpec("constant", action=action), VECTOR, actions)


def leaning(observation_space: Any, action_space: Any) -> Any:
    return lambda observation: int(observation[2] > 0)


def stubborn(observation_space: Any, action_space: Any) -> Any:
    return lambda observation: "left"


def hopeless(observation_space: Any, action_space: Any) -> Any:
    raise RuntimeError("no idea")


HERE = __name__


def test_a_users_policy_sees_observations_and_gives_actions() -> None:
    env = gymnasium.make("CartPole-v1")
    spec = PolicySpec(f"{HERE}:leaning")
    policy = make_policy(spec, env.observation_space, env.action_space, 0)
    observation, _ = env.reset(seed=0)
    check_action(policy, observation, env.action_space, spec)
    assert policy([0, 0, 1, 0]) == 1


@pytest.mark.parametrize(
    ("name", "words"),
    [("hopeless", "no idea"), ("leanin", "Did you mean leaning?"), ("HERE", "Check the part")],
)
def test_a_users_policy_that_can_not_be_had_is_refused(name: str, words: str) -> None:
    assert words in why(PolicySpec(f"{HERE}:{name}"))


def test_a_policy_whose_module_is_not_here_says_where_to_start_raydash() -> None:
    assert "from the folder that holds it" in why(PolicySpec("no_such_module_here:policy"))


def test_an_answer_that_is_no_action_is_refused() -> None:
    spec = PolicySpec(f"{HERE}:stubborn")
    policy = make_policy(spec, VECTOR, ACTIONS[0], 0)
    with pytest.raises(FaultError, match="'left', which is not in"):
        check_action(policy, np.zeros(4), ACTIONS[0], spec)


@pytest.mark.parametrize("answer", [1.0, 0.5, np.bool_(True), np.array([1]), 99, None])
def test_an_answer_that_environments_of_whole_numbers_refuse_is_refused(answer: Any) -> None:
    with pytest.raises(FaultError, match="which is not in"):
        check_action(lambda _: answer, np.zeros(4), ACTIONS[0], PolicySpec(f"{HERE}:stubborn"))


@pytest.mark.parametrize("answer", [np.full(2, np.nan), np.full(2, 9.0), np.zeros(3), 0.5, "x"])
def test_an_answer_outside_a_box_is_refused(answer: Any) -> None:
    box = gymnasium.spaces.Box(-1.0, 1.0, (2,))
    with pytest.raises(FaultError, match="which is not in"):
        check_action(lambda _: answer, np.zeros(4), box, PolicySpec(f"{HERE}:stubborn"))
    check_action(lambda _: [0.5, -1], np.zeros(4), box, PolicySpec(f"{HERE}:stubborn"))


@pytest.mark.parametrize(
    "policy",
    [
        {"kind": "random"},
        {"kind": "constant", "action": 1},
        {"kind": "constant", "action": [0.5, [1, 2]]},
        {"kind": "mlp", "path": "/w.npz"},
        {"kind": "my_module:make"},
    ],
)
def test_a_spec_may_say(policy: dict[str, Any]) -> None:
    assert spec_from_table({"policy": policy}).policy == PolicySpec(**policy)


@pytest.mark.parametrize(
    ("policy", "key"),
    [
        ({"kind": "dqn"}, "policy.kind"),
        ({"kind": ":make"}, "policy.kind"),
        ({"kind": "module:"}, "policy.kind"),
        ({"action": "left"}, "policy.action"),
        ({"action": float("nan")}, "policy.action"),
        ({"path": 3}, "policy.path"),
    ],
)
def test_a_spec_may_not_say(policy: dict[str, Any], key: str) -> None:
    with pytest.raises(SpecError) as caught:
        spec_from_table({"policy": policy})
    assert [violation.key for violation in caught.value.violations] == [key]


@pytest.mark.parametrize(
    "space",
    [spaces.Discrete(5), spaces.Discrete(3, start=-1), spaces.Discrete(4, dtype=np.int32)],
)
def test_random_policy_gives_the_numbers_that_the_space_would_sample(
    space: spaces.Discrete,
) -> None:
    policy = make_policy(PolicySpec(), spaces.Box(-1, 1, (2,)), space, 7)
    actions = [policy(np.zeros(2)) for _ in range(200)]
    space.seed(7)
    assert actions == [space.sample() for _ in range(200)]
    assert all(space.contains(action) for action in actions)
