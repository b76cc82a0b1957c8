"""ONNX models act as raydash's networks do, or are refused with what does not fit."""

import sys
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
from raydash.worker.policies.policy import check_action, make_policy
from raydash.worker.policies.weights import Weights, write_weights
from tests.fakes.user_code.onnx_models import DOUBLE, INT64, UINT8, write_affine

VECTOR = spaces.Box(-3, 3, (4,), np.float32)
NESTED = spaces.Dict({"a": spaces.Discrete(3), "b": spaces.Box(0, 1, (2, 2))})
PICTURE = spaces.Box(0, 255, (3, 2), np.uint8)
CHOICE = spaces.Discrete(3)
ACTIONS = (
    CHOICE,
    spaces.Discrete(2, start=-1),
    spaces.MultiDiscrete([2, 3]),
    spaces.MultiBinary(4),
    spaces.Box(-1, 1, (2,)),
    spaces.Box(-1, 1, (2, 2)),
)
NUM_ENVS = 5


def matrix(observations: Any, actions: Any, seed: int = 0) -> Any:
    shape = (num_inputs(observations, "x"), num_outputs(actions, "x"))
    return np.random.default_rng(seed).normal(size=shape)


def together(observations: Any, actions: Any) -> BatchSpaces:
    return BatchSpaces(
        NUM_ENVS,
        observations,
        actions,
        batch_space(observations, NUM_ENVS),
        batch_space(actions, NUM_ENVS),
    )


def why(path: str, observations: Any = VECTOR, actions: Any = CHOICE) -> str:
    with pytest.raises(FaultError) as caught:
        make_policy(PolicySpec("onnx", path), observations, actions, 0)
    assert caught.value.fault.bad_input
    return caught.value.fault.sentence()


@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize("actions", ACTIONS, ids=str)
@pytest.mark.parametrize("observations", [VECTOR, PICTURE, NESTED, spaces.Discrete(4)], ids=str)
def test_a_model_acts_as_a_linear_policy_with_the_same_numbers(
    observations: Any, actions: Any, batch: str | int, tmp_path: Path
) -> None:
    numbers = matrix(observations, actions)
    path = write_affine(tmp_path / "p.onnx", numbers, batch=batch)
    ours = Weights(
        ((numbers, np.zeros(numbers.shape[1])),), np.zeros(len(numbers)), np.ones(len(numbers))
    )
    write_weights(tmp_path / "w.npz", ours)
    linear = make_policy(PolicySpec("linear", str(tmp_path / "w.npz")), observations, actions, 0)
    model = make_policy(PolicySpec("onnx", path), observations, actions, 0)
    many = make_batch_policy(PolicySpec("onnx", path), together(observations, actions), 0)
    observations.seed(1)
    for _ in range(10):
        seen = observations.sample()
        assert actions.contains(model(seen))
        np.testing.assert_allclose(model(seen), linear(seen), rtol=1e-5, atol=1e-5)
    batches = together(observations, actions)
    batches.observation.seed(2)
    seen = batches.observation.sample()
    answers = many(seen)
    assert batches.action.contains(answers)
    for row, answer in zip(
        iterate(batches.observation, seen), iterate(batches.action, answers), strict=True
    ):
        np.testing.assert_allclose(answer, linear(row), rtol=1e-5, atol=1e-5)


def test_a_free_batch_axis_is_computed_in_one_go(tmp_path: Path) -> None:
    path = write_affine(tmp_path / "p.onnx", matrix(VECTOR, CHOICE), batch=NUM_ENVS)
    many = make_batch_policy(PolicySpec("onnx", path), together(VECTOR, CHOICE), 0)
    assert many(np.zeros((NUM_ENVS, 4), np.float32)).shape == (NUM_ENVS,)
    assert f"{NUM_ENVS} observations at once" in why(path)  # one environment can't use it


def test_pictures_may_come_as_they_are(tmp_path: Path) -> None:
    path = write_affine(
        tmp_path / "p.onnx", matrix(PICTURE, CHOICE), row_shape=PICTURE.shape, dtype=UINT8
    )
    policy = make_policy(PolicySpec("onnx", path), PICTURE, CHOICE, 0)
    assert CHOICE.contains(policy(PICTURE.sample()))


def test_a_model_without_a_batch_axis_is_asked_row_by_row(tmp_path: Path) -> None:
    numbers = matrix(VECTOR, CHOICE)
    path = write_affine(tmp_path / "p.onnx", numbers, batch=None)
    seen = np.random.default_rng(3).normal(size=(NUM_ENVS, 4)).astype(np.float32)
    many = make_batch_policy(PolicySpec("onnx", path), together(VECTOR, CHOICE), 0)
    assert many(seen).tolist() == (seen @ numbers).argmax(axis=1).tolist()


@pytest.mark.parametrize("batch", ["n", 1, None])
def test_whole_numbers_are_the_actions_themselves(batch: Any, tmp_path: Path) -> None:
    numbers = matrix(VECTOR, CHOICE)
    path = write_affine(tmp_path / "p.onnx", numbers, argmax=True, batch=batch)
    policy = make_policy(PolicySpec("onnx", path), VECTOR, CHOICE, 0)
    many = make_batch_policy(PolicySpec("onnx", path), together(VECTOR, CHOICE), 0)
    seen = np.random.default_rng(3).normal(size=(NUM_ENVS, 4)).astype(np.float32)
    right = (seen @ numbers).argmax(axis=1).tolist()
    assert [policy(row) for row in seen] == many(seen).tolist() == right


def test_double_precision_is_given_where_it_is_asked_for(tmp_path: Path) -> None:
    path = write_affine(tmp_path / "p.onnx", matrix(VECTOR, CHOICE), dtype=DOUBLE)
    env = gymnasium.make("CartPole-v1")
    path = write_affine(tmp_path / "p.onnx", [[0, 1]] * 4, dtype=DOUBLE)
    spec = PolicySpec("onnx", path)
    policy = make_policy(spec, env.observation_space, env.action_space, 0)
    check_action(policy, env.reset(seed=0)[0], env.action_space, spec)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"matrix": np.ones((3, 3))}, "shape (batch, 3); it should have shape (any, 4)"),
        ({"matrix": np.ones((4, 3)), "num_inputs": 2}, "2 inputs (observation_0, observation)"),
        ({"matrix": np.ones((4, 3)), "dtype": INT64}, "observations are float32"),
        ({"matrix": np.ones((4, 3)), "batch": 8}, "8 observations at once; it should take 1"),
        (
            {"matrix": np.ones((4, 2))},
            "float32 with shape (1, 2); for each observation Discrete(3) takes 3 numbers, or "
            "1 whole number",
        ),
        ({"matrix": np.ones((4, 3)), "row_shape": (2, 2)}, "it should have shape"),
    ],
)
def test_what_does_not_fit_is_named(options: dict[str, Any], words: str, tmp_path: Path) -> None:
    path = write_affine(tmp_path / "p.onnx", **options)
    assert words in why(path)


def test_spaces_that_no_network_serves_are_named(tmp_path: Path) -> None:
    path = write_affine(tmp_path / "p.onnx", np.ones((4, 3)))
    assert "no vector of fixed length" in why(path, spaces.Sequence(CHOICE))
    assert "no network gives actions of" in why(path, VECTOR, spaces.Text(5))


@pytest.mark.parametrize("content", [b"", b"hello"])
def test_a_corrupt_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "p.onnx").write_bytes(content)
    assert "can't be loaded" in why(str(tmp_path / "p.onnx"))


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    assert "no such file" in why(str(tmp_path / "none.onnx"))
    assert "--policy-path" in why("")


def test_without_onnxruntime_the_line_that_installs_it_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_affine(tmp_path / "p.onnx", np.ones((4, 3)))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    assert "pip install 'raydash[onnx]'" in why(path)
