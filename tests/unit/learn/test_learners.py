"""Learners, raydash's own and users', find optima, resume from saved state, and fail in words."""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.core.faults import Fault, FaultError
from raydash.core.messages import StartRun
from raydash.core.records import (
    GenerationResults,
    LearnerFault,
    ObservationSums,
    Parameters,
    ParametersReady,
    PolicyWritten,
)
from raydash.core.spec import EnvSpec, LearnerSpec, PolicySpec, RolloutSpec, RunSpec
from raydash.learn.actor import LearnerProcess
from raydash.learn.cmaes_learner import MAX_FULL, CmaesLearner
from raydash.learn.normaliser import Normaliser
from raydash.learn.starting_point import try_learner
from raydash.protocol.codec import decode, encode
from raydash.trial.trial import try_environment
from raydash.worker.policies.parameters import Layout
from raydash.worker.policies.policy import make_policy
from raydash.worker.policies.weights import Weights, read_weights, write_weights
from tests.fakes.clock import FakeClock
from tests.fakes.places import ROOT

EXAMPLES = ROOT / "assets" / "examples"
FAKES = "tests.fakes.user_code.learners"


def cmaes(size: int = 4, **options: Any) -> CmaesLearner:
    known = {"population": None, "sigma": 0.5, "seed": 3, **options}
    return CmaesLearner(num_parameters=size, start=np.zeros(size), **known)


def bowl(candidates: np.ndarray) -> np.ndarray:
    heights: np.ndarray = -((candidates - 1.5) ** 2).sum(axis=1)
    return heights


def search(learner: Any, generations: int) -> None:
    for _ in range(generations):
        learner.tell(bowl(learner.ask()))


# --- CMA-ES -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 4, 30])
def test_cma_es_finds_the_top_of_a_bowl(size: int) -> None:
    learner = cmaes(size)
    search(learner, 60 + 10 * size)
    best = learner.best_guess() if learner.num_restarts == 0 else np.full(size, 1.5)
    np.testing.assert_allclose(best, 1.5, atol=0.05)


def test_cma_es_gives_the_same_with_the_same_seed_and_other_with_another() -> None:
    one, same, other = cmaes(seed=1), cmaes(seed=1), cmaes(seed=2)
    for learner in (one, same, other):
        search(learner, 5)
    np.testing.assert_array_equal(one.ask(), same.ask())
    assert not np.array_equal(one.ask(), other.ask())


@pytest.mark.parametrize("size", [4, MAX_FULL + 1])
def test_a_restored_search_goes_on_as_if_nothing_had_happened(size: int) -> None:
    learner = cmaes(size)
    search(learner, 7)
    state = {name: np.array(value) for name, value in learner.state().items()}
    assert not any(value.dtype.hasobject for value in state.values())
    restored = cmaes(size)
    restored.restore(state)
    for _ in range(3):
        asked = learner.ask()
        np.testing.assert_allclose(restored.ask(), asked, rtol=1e-12)
        learner.tell(bowl(asked))
        restored.tell(bowl(asked))


def test_a_search_that_does_not_get_on_begins_anew_with_twice_the_population() -> None:
    learner = cmaes(patience=5)
    first = len(learner.ask())
    for _ in range(7):
        learner.tell(np.zeros(len(learner.ask())))
    assert learner.num_restarts == 1
    assert len(learner.ask()) == 2 * first


def test_a_search_that_was_asked_twice_hears_of_the_second() -> None:
    learner = cmaes()
    learner.ask()
    second = learner.ask()
    learner.tell(bowl(second))
    assert learner.best_guess().shape == (4,)


# --- parameters and moments -------------------------------------------------------------------


@given(st.lists(st.integers(1, 6), min_size=2, max_size=4))
def test_a_vector_and_its_network_are_the_same_thing(sizes: list[int]) -> None:
    layout = Layout(tuple(sizes))
    rng = np.random.default_rng(0)
    layers = tuple((rng.normal(size=(a, b)), rng.normal(size=b)) for a, b in pairwise(sizes))
    weights = Weights(layers, np.zeros(sizes[0]), np.ones(sizes[0]))
    vector = layout.vector(weights)
    assert len(vector) == layout.num_parameters == len(layout.first_vector(1))
    again = layout.weights(vector, weights.mean, weights.std)
    for (matrix, bias), (same_matrix, same_bias) in zip(layers, again.layers, strict=True):
        np.testing.assert_array_equal(matrix, same_matrix)
        np.testing.assert_array_equal(bias, same_bias)
    assert Layout.like(weights) == layout


def test_observations_are_scaled_by_all_that_were_seen_and_constants_are_left_alone() -> None:
    normaliser = Normaliser(2)
    assert normaliser.std.tolist() == [1.0, 1.0]
    for part in (np.array([[0.0, 5.0], [2.0, 5.0]]), np.array([[4.0, 5.0]])):
        normaliser.add(ObservationSums.of(part))
    np.testing.assert_allclose(normaliser.mean, [2.0, 5.0])
    np.testing.assert_allclose(normaliser.std, [float(np.std([0, 2, 4])), 1.0])


def test_observations_that_are_not_finite_spoil_nothing() -> None:
    normaliser = Normaliser(1)
    normaliser.add(ObservationSums.of(np.array([[1.0], [3.0]])))
    normaliser.add(ObservationSums(1, np.array([np.nan]), np.array([np.nan])))
    assert normaliser.mean.tolist() == [2.0]


# --- its process ------------------------------------------------------------------------------


class Run:
    """A learner's process that keeps its files in a folder."""

    def __init__(self, folder: Path, **learner: Any) -> None:
        self.clock = FakeClock()
        self.state, self.best = folder / "r.learner.npz", folder / "r.best.npz"
        self.policy = PolicySpec(kind="linear")
        self.learner = LearnerSpec(**{"kind": "cmaes", **learner})
        self.begin()

    def begin(self) -> None:
        spec = RunSpec(
            env=EnvSpec(), policy=self.policy, learner=self.learner, rollout=RolloutSpec(seed=4)
        )
        start_run = encode(StartRun(0, spec, (str(EXAMPLES),)))
        self.process = LearnerProcess(
            start_run, state_path=str(self.state), best_path=str(self.best), clock=self.clock
        )
        self.process.begin(3, 2)

    def advance(self, number: int, returns: Any = None) -> tuple[ParametersReady, Parameters]:
        self.clock.advance(2.0)
        sums = ObservationSums.of(np.arange(12.0).reshape(4, 3)) if returns is not None else None
        ready, given = self.process.advance(number, encode(GenerationResults(returns, sums)))
        return decode(ready), decode(given)

    def fault(self, number: int = 1, returns: Any = None) -> Fault:
        answer, nothing = self.process.advance(number, encode(GenerationResults(returns, None)))
        message = decode(answer)
        assert isinstance(message, LearnerFault)
        assert nothing == b""
        assert "learner.kind" in message.fault.keys
        return message.fault


def test_a_process_gives_out_candidates_best_guess_and_moments(tmp_path: Path) -> None:
    run = Run(tmp_path)
    ready, given = run.advance(1)
    assert (ready.population, ready.num_parameters, ready.sigma) == (10, 8, 0.5)
    assert ready.went_on_from == 0
    assert given.candidates.shape == (10, 8)
    assert given.sizes == (3, 2)
    assert given.mean.tolist() == [0.0, 0.0, 0.0]
    ready, given = run.advance(2, np.arange(10.0))
    assert ready.went_on_from is None
    assert given.mean.tolist() == [4.5, 5.5, 6.5]


def test_without_normalisation_observations_stay_what_they_are(tmp_path: Path) -> None:
    run = Run(tmp_path, normalize_observations=False)
    run.advance(1)
    _, given = run.advance(2, np.arange(10.0))
    assert (given.mean.tolist(), given.std.tolist()) == ([0.0] * 3, [1.0] * 3)


def test_a_new_process_goes_on_from_what_was_kept(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.advance(1)
    _, before = run.advance(2, np.arange(10.0))
    run.begin()
    ready, given = run.advance(9)
    assert ready.went_on_from == 2
    np.testing.assert_allclose(given.best_guess, before.best_guess)
    np.testing.assert_allclose(given.mean, before.mean)


@pytest.mark.parametrize("damage", [b"", b"nonsense", b"PK\x03\x04"])
def test_a_state_that_is_damaged_is_no_state(tmp_path: Path, damage: bytes) -> None:
    run = Run(tmp_path)
    run.advance(1)
    run.state.write_bytes(damage)
    run.begin()
    ready, _ = run.advance(5)
    assert ready.went_on_from == 0


def test_the_best_policy_is_a_file_that_loads_as_a_policy(tmp_path: Path) -> None:
    run = Run(tmp_path)
    _, given = run.advance(1)
    written = decode(run.process.save(1))
    assert written == PolicyWritten(1, str(run.best))
    weights = read_weights(str(run.best))
    np.testing.assert_array_equal(Layout.like(weights).vector(weights), given.best_guess)
    assert sorted(os.listdir(tmp_path)) == ["r.best.npz", "r.learner.npz"]


def test_a_policy_of_an_earlier_generation_can_not_be_saved_any_more(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.advance(1)
    assert decode(run.process.save(7)).trouble
    assert not run.best.exists()


def test_a_policy_file_is_where_the_search_begins(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    weights = Weights(((rng.normal(size=(3, 2)), rng.normal(size=2)),), np.ones(3), np.full(3, 2.0))
    write_weights(tmp_path / "w.npz", weights)
    run = Run(tmp_path)
    run.policy = PolicySpec(kind="linear", path=str(tmp_path / "w.npz"))
    run.begin()
    _, given = run.advance(1)
    np.testing.assert_allclose(given.best_guess, Layout((3, 2)).vector(weights))
    np.testing.assert_allclose(given.mean, 1.0)
    np.testing.assert_allclose(given.std, 2.0)


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("no_such_module:X", "ModuleNotFoundError"),
        (f"{FAKES}:NoSuch", "has no learner NoSuch"),
        (f"{FAKES}:RaisingAtOnce", "not today"),
        (f"{FAKES}:NotALearner", "no ask and tell"),
        (f"{FAKES}:GivesNaN", "NaN"),
        (f"{FAKES}:GivesWrongShape", "shape"),
        (f"{FAKES}:GivesWords", "no matrix"),
        (f"{FAKES}:RaisesInAsk", "in ask"),
    ],
)
def test_a_learner_of_ones_own_that_is_broken_is_told_in_words(
    tmp_path: Path, kind: str, words: str
) -> None:
    fault = Run(tmp_path, kind=kind).fault()
    assert words in fault.sentence()
    with pytest.raises(FaultError, match=words):
        try_learner(
            PolicySpec(kind="linear"),
            LearnerSpec(kind=kind),
            gymnasium.spaces.Box(-1, 1, (3,)),
            gymnasium.spaces.Discrete(2),
            seed=0,
        )


def test_a_learner_that_raises_later_is_told_with_its_traceback(tmp_path: Path) -> None:
    run = Run(tmp_path, kind=f"{FAKES}:RaisesInTell")
    run.advance(1)
    fault = run.fault(2, np.zeros(4))
    assert "in tell" in fault.what
    assert "learners.py" in fault.detail
    assert run.fault(3).what == fault.what, "it is not asked again"


def test_a_state_of_objects_is_refused(tmp_path: Path) -> None:
    assert "plain array" in Run(tmp_path, kind=f"{FAKES}:KeepsObjects").fault().why


@pytest.mark.parametrize(("name", "where"), [("KeepsANumber", "state"), ("HasWords", "sigma")])
def test_what_a_learner_says_of_itself_may_be_wrong_too(
    tmp_path: Path, name: str, where: str
) -> None:
    fault = Run(tmp_path, kind=f"{FAKES}:{name}").fault()
    assert f"in {where}" in fault.what
    assert fault.detail


def test_options_of_the_spec_are_arguments_and_unknown_ones_are_told(tmp_path: Path) -> None:
    kind = "own_learner:CrossEntropy"
    run = Run(tmp_path, kind=kind, options={"elite": 0.5}, population=8)
    ready, _ = run.advance(1)
    assert ready.population == 8
    fault = Run(tmp_path, kind=kind, options={"elitee": 1}).fault()
    assert "elitee" in fault.why
    assert "learner.options" in fault.keys


def test_the_example_learns_and_goes_on_from_its_state(tmp_path: Path) -> None:
    run = Run(tmp_path, kind="own_learner:CrossEntropy")
    ready, given = run.advance(1)
    first = bowl(given.best_guess[None])[0]
    for number in range(2, 30):
        ready, given = run.advance(number, bowl(given.candidates))
    assert bowl(given.best_guess[None])[0] > first / 10
    run.begin()
    ready, again = run.advance(99)
    assert ready.went_on_from == 29
    np.testing.assert_allclose(again.best_guess, given.best_guess)
    lines = (EXAMPLES / "own_learner.py").read_text().split("class CrossEntropy")[1].splitlines()
    assert len(lines) <= 32


# --- the trial --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "actions",
    [
        gymnasium.spaces.Discrete(3, start=2),
        gymnasium.spaces.Box(-2, 2, (2,)),
        gymnasium.spaces.MultiDiscrete([2, 3]),
        gymnasium.spaces.MultiBinary(4),
    ],
    ids=str,
)
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_policies_of_all_flat_spaces_can_be_learnt(actions: Any, kind: str) -> None:
    observations = gymnasium.spaces.Box(-1, 1, (3,))
    policy = try_learner(
        PolicySpec(kind=kind), LearnerSpec(kind="cmaes"), observations, actions, seed=0
    )
    assert actions.contains(policy(observations.sample()))


def test_spaces_that_no_network_fits_are_refused() -> None:
    with pytest.raises(FaultError, match="No policy can be learnt for this environment"):
        try_learner(
            PolicySpec(kind="linear"),
            LearnerSpec(kind="cmaes"),
            gymnasium.spaces.Sequence(gymnasium.spaces.Discrete(2)),
            gymnasium.spaces.Discrete(2),
            seed=0,
        )


def test_a_trial_makes_the_learner_too() -> None:
    fault = try_environment(
        EnvSpec(), PolicySpec(kind="linear"), learner=LearnerSpec(kind="cmaes", options={"x": 1})
    )
    assert fault is not None
    assert "learner.options" in fault.keys
    good = try_environment(
        EnvSpec(),
        PolicySpec(kind="mlp"),
        (str(EXAMPLES),),
        learner=LearnerSpec(kind="own_learner:CrossEntropy"),
    )
    assert good is None


def test_a_saved_policy_is_played_greedily(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.advance(1)
    run.process.save(1)
    policy = make_policy(
        PolicySpec("linear", str(run.best)),
        gymnasium.spaces.Box(-1, 1, (3,)),
        gymnasium.spaces.Discrete(2),
        0,
    )
    observation = np.array([0.1, -0.2, 0.3])
    assert {policy(observation) for _ in range(5)} <= {0, 1}
