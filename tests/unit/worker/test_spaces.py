"""Every space of Gymnasium is observed and acted in, in every loop, and counted exactly."""

import time
from collections import Counter
from collections.abc import Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from raydash.core.faults import FaultError
from raydash.core.messages import StartRun
from raydash.core.records import Parameters, RolloutChunk, Work, WorkerReady
from raydash.core.spec import EnvSpec, LearnerSpec, PolicySpec, RunSpec
from raydash.core.spec_rules import spec_from_table
from raydash.core.states import Ending
from raydash.learn.starting_point import try_learner
from raydash.protocol.codec import decode, encode
from raydash.trial.checking import examine
from raydash.trial.stateless import try_stateless
from raydash.worker.actor import RolloutWorker
from raydash.worker.envs.environments import first_reset, make_env
from raydash.worker.envs.vector_environments import first_seed, make_vector_env
from raydash.worker.loops.account import Incarnation
from raydash.worker.loops.multi_agent_rollout import MultiAgentLoop
from raydash.worker.node.progress import ProgressWriter
from raydash.worker.policies.agents import AgentPolicies
from raydash.worker.policies.batch import BatchSpaces, make_batch_policy
from raydash.worker.policies.network import num_inputs, num_outputs
from raydash.worker.policies.parameters import Layout
from raydash.worker.policies.policy import check_action, make_policy
from raydash.worker.policies.weights import Weights, write_weights
from raydash.worker.remote.stepping_loop import Request, RequestKind, SteppingLoop
from tests.fakes.runs.moves_here import InProcessActors, InProcessTasks
from tests.fakes.user_code.agents import Choir
from tests.fakes.user_code.envs import ROUND, FakeClock
from tests.fakes.user_code.notes import (
    Episode,
    comparable,
    lines,
    num_noted_steps,
    played,
    seeds_of,
)
from tests.fakes.user_code.spaces import SPACES

MODULE = "tests.fakes.user_code.spaces"
NUM_ERRORS = 2
"""How often an environment is remade in a test; each round of episodes has one error."""
NUM_ACTIONS_TO_FAILURE = sum(len(rewards) for rewards, _ in ROUND[:4]) + 1
"""The number of actions that an environment gets until it fails, including the last one."""
VECTORS = ("Discrete", "Box", "MultiBinary", "MultiDiscrete", "Text", "Tuple", "Dict", "OneOf")
"""Spaces that always flatten to the same number of values."""
NETWORK_ACTIONS = ("Discrete", "Box", "MultiBinary", "MultiDiscrete")
NUMERIC: dict[str, Any] = {
    "Discrete": -1,
    "Box": [[0.5, -0.5], [0.0, 1.0]],
    "MultiBinary": [[0, 1], [1, 0]],
    "MultiDiscrete": [2, -1],
    "Tuple": [1, [0.25, 0.75], [1, 0]],
}
"""An action of each space whose members are numbers, by the space's name."""

each_space = pytest.mark.parametrize("name", SPACES)


@pytest.fixture(autouse=True)
def _keep_process_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep this process as it is, although workers and tasks change theirs."""
    monkeypatch.setenv("PYTHONBREAKPOINT", "0")
    monkeypatch.setattr("raydash.worker.remote.tasks.be_nice", lambda: None)


def run_of(folder: Path, name: str, **more: Any) -> RunSpec:
    kwargs = {"folder": str(folder), "observation": name, "action": name}
    return spec_from_table({"env": {"id": f"{MODULE}:NotedSpacesEnv", "kwargs": kwargs}, **more})


def in_actors(spec: RunSpec) -> list[RolloutChunk]:
    """Return a worker's chunks until its environments have failed a few times."""
    worker = RolloutWorker(encode(StartRun(1, spec)), 1, 0)
    assert isinstance(decode(worker.prepare()), WorkerReady)
    chunks: list[RolloutChunk] = []
    while not chunks or chunks[-1].totals.num_error < NUM_ERRORS:
        chunks.append(decode(worker.rollout(0.005)))
    assert worker.close() == b""
    return chunks


def stepped(spec: RunSpec, transport: Any, clock: FakeClock) -> list[RolloutChunk]:
    """Return the chunks of a stepping loop with one worker, for as long."""
    loop = SteppingLoop(
        spec, (), transport, clock=clock, progress=ProgressWriter(), progress_dir=None
    )
    said = loop.run(1, [Request((1, 0), RequestKind.OPEN)], 1.0)
    assert [fault.fault.sentence() for fault in said.faults] == []
    chunks: list[RolloutChunk] = []
    while not chunks or chunks[-1].totals.num_error < NUM_ERRORS:
        chunks += loop.run(2 + len(chunks), [Request((1, 0), RequestKind.STEP)], 0.02).chunks
    # Moves that are out have been played and must be counted.
    chunks += loop.run(2 + len(chunks), [Request((1, 0), RequestKind.LEAVE)], 1.0).chunks
    loop.close()
    return chunks


def in_lockstep(spec: RunSpec) -> list[RolloutChunk]:
    clock = FakeClock(1e-6)
    return stepped(spec, InProcessActors(spec, clock), clock)


def in_tasks(spec: RunSpec) -> list[RolloutChunk]:
    clock = FakeClock(1e-6)
    return stepped(spec, InProcessTasks(spec, clock), clock)


MODES = {"actors": in_actors, "lockstep": in_lockstep, "tasks": in_tasks}


def episodes_of(chunks: Sequence[RolloutChunk], env_index: int = 0) -> list[Episode]:
    return [
        comparable(float(total), int(length), Ending(ending).name.lower())
        for chunk in chunks
        for index, total, length, ending in zip(
            chunk.env_index, chunk.episode_return, chunk.episode_len, chunk.ending, strict=True
        )
        if index == env_index
    ]


def assert_counted(chunks: Sequence[RolloutChunk], folder: Path, num_envs: int = 1) -> None:
    """Check that chunks agree with the environments' notes, and hold only the planned errors."""
    every: list[Episode] = []
    for env_index in range(num_envs):
        noted = played(folder, 1, env_index=env_index)
        assert episodes_of(chunks, env_index) == noted
        every += noted
    kinds = Counter(ending for _, _, ending in every)
    totals = chunks[-1].totals
    assert totals.num_env_steps == num_noted_steps(folder)
    assert totals.num_episodes == len(every)
    assert totals.num_terminated == kinds["terminated"] + kinds["both"]
    assert totals.num_truncated == kinds["truncated"] + kinds["both"]
    assert totals.num_error == kinds["error"] >= NUM_ERRORS
    errors = {error.message.rpartition(": environment")[2] for c in chunks for error in c.errors}
    assert all(error.endswith("RuntimeError: the tape tears") for error in errors)


@each_space
def test_environments_stepped_together_are_counted_exactly(name: str, tmp_path: Path) -> None:
    rollout = {"num_envs_per_worker": 3, "vectorization": "sync"}
    assert_counted(in_actors(run_of(tmp_path, name, rollout=rollout)), tmp_path, num_envs=3)


@each_space
def test_every_mode_counts_exactly_and_takes_the_same_actions(name: str, tmp_path: Path) -> None:
    taken: dict[str, list[str]] = {}
    for mode, run in MODES.items():
        folder = tmp_path / mode
        folder.mkdir()
        assert_counted(run(run_of(folder, name)), folder)
        taken[mode] = lines(folder, f"{next(seeds_of(1))}.actions")
    assert len(taken["actors"]) == NUM_ACTIONS_TO_FAILURE
    assert taken["actors"] == taken["lockstep"] == taken["tasks"]


@each_space
def test_trial_takes_them_one_by_one_together_and_as_a_state(name: str) -> None:
    spec = EnvSpec(f"{MODULE}:SpacesEnv", {"observation": name, "action": name})
    env = make_env(spec)
    observation = first_reset(env, spec, 0)
    policy = make_policy(PolicySpec(), env.observation_space, env.action_space, 0)
    check_action(policy, observation, env.action_space, PolicySpec())
    together = make_vector_env(spec, 2, "sync")
    observations = first_reset(together, spec, first_seed(together, range(2)))
    policy = make_batch_policy(PolicySpec(), BatchSpaces.of(together), 0)
    check_action(policy, observations, together.action_space, PolicySpec())
    assert try_stateless(spec).num_bytes > 0


@each_space
def test_check_of_a_good_environment_finds_no_fault(name: str) -> None:
    spec = EnvSpec(f"{MODULE}:SpacesEnv", {"observation": name, "action": name})
    found = examine(spec, timing_s=0.05, clock=FakeClock(1e-3))
    assert [problem.text for problem in found.problems if problem.is_error] == []
    assert found.num_episodes > 0


@each_space
def test_agents_see_and_act_in_them(name: str) -> None:
    env = Choir(name)
    policies = AgentPolicies(PolicySpec(), 5)
    loop = MultiAgentLoop(
        Incarnation(1, 0, time.perf_counter, ProgressWriter()),
        policies.game_of(env),
        reset_seed=5,
        make_env=lambda: policies.game_of(env),
    )
    loop.prepare(lambda game, seed: first_reset(game, EnvSpec(name), seed))
    chunks: list[RolloutChunk] = []
    while not chunks or chunks[-1].totals.num_episodes < 5:
        chunks.append(loop.run(0.005))
    assert [error.message for chunk in chunks for error in chunk.errors] == []
    assert chunks[-1].totals.num_env_steps == env.account.num_steps
    assert chunks[-1].totals.num_episodes == len(env.account.episodes)


# --- policies with parameters ------------------------------------------------------------------


def seeing(observation: Any, action: Any) -> Any:
    """Make a user's own policy: it refuses anything that is not an observation, and samples."""
    observation, action = deepcopy((observation, action))
    action.seed(0)

    def choose(seen: Any) -> Any:
        assert observation.contains(seen), seen
        return action.sample()

    return choose


@each_space
@pytest.mark.parametrize("num_envs", [1, 2])
def test_policy_of_ones_own_is_given_members_and_its_answers_arrive(
    name: str, num_envs: int, tmp_path: Path
) -> None:
    spec = run_of(
        tmp_path,
        name,
        policy={"kind": f"{__name__}:seeing"},
        rollout={"num_envs_per_worker": num_envs},
    )
    assert_counted(in_actors(spec), tmp_path, num_envs)


def weights_for(observation: Any, action: Any) -> Weights:
    sizes = num_inputs(observation, "w"), num_outputs(action, "w")
    rng = np.random.default_rng(0)
    layer = rng.normal(size=sizes), rng.normal(size=sizes[1])
    return Weights((layer,), np.zeros(sizes[0]), np.ones(sizes[0]))


@pytest.mark.parametrize("action", NETWORK_ACTIONS)
@pytest.mark.parametrize("observation", VECTORS)
def test_network_sees_what_flattens_and_answers_with_numbers(
    observation: str, action: str, tmp_path: Path
) -> None:
    observations, actions = deepcopy((SPACES[observation], SPACES[action]))
    path = tmp_path / "w.npz"
    write_weights(path, weights_for(observations, actions))
    spec = PolicySpec("linear", str(path))
    env = EnvSpec(f"{MODULE}:SpacesEnv", {"observation": observation, "action": action})
    one = make_policy(spec, observations, actions, 0)
    together = make_vector_env(env, 3, "sync")
    many = make_batch_policy(spec, BatchSpaces.of(together), 0)
    observations.seed(0)
    for _ in range(10):
        assert actions.contains(one(observations.sample()))
        assert together.action_space.contains(many(together.observation_space.sample()))


@pytest.mark.parametrize("observation", VECTORS)
def test_candidates_are_played_on_what_flattens(observation: str, tmp_path: Path) -> None:
    kwargs = {"folder": str(tmp_path), "observation": observation, "action": "MultiDiscrete"}
    spec = spec_from_table(
        {
            "env": {"id": f"{MODULE}:NotedSpacesEnv", "kwargs": kwargs},
            "policy": {"kind": "linear"},
            "learner": {"kind": "cmaes"},
        }
    )
    worker = RolloutWorker(encode(StartRun(1, spec)), 1, 0)
    ready = decode(worker.prepare())
    assert isinstance(ready, WorkerReady)
    count, sizes = ready.num_inputs, (ready.num_inputs, ready.num_outputs)
    candidates = np.random.default_rng(0).normal(size=(4, Layout(sizes).num_parameters))
    parameters = encode(
        Parameters(1, sizes, candidates, candidates[0], np.zeros(count), np.ones(count))
    )
    work = Work(1, (0, 1, 2, 3) * 3, (*(0,) * 4, *(1,) * 4, *(2,) * 4))
    chunk = decode(worker.play(60.0, work, parameters))
    worker.close()
    noted = [line for path in tmp_path.glob("*.episodes") for line in path.read_text().splitlines()]
    assert chunk.candidate.tolist() == [0, 1, 2, 3] * 3
    assert Counter(
        comparable(float(total), int(length), ending)
        for total, length, ending in map(str.split, noted)
    ) == Counter(episodes_of([chunk]))
    assert chunk.totals.num_env_steps == num_noted_steps(tmp_path)
    assert chunk.observations.count == num_noted_steps(tmp_path) + chunk.totals.num_error


@each_space
def test_constant_action_is_a_member_or_refused_in_words(name: str) -> None:
    space = deepcopy(SPACES[name])
    action = NUMERIC.get(name, 1)
    try:
        policy = make_policy(PolicySpec("constant", action=action), space, space, 0)
    except FaultError as error:
        fault = error.fault
        assert name not in NUMERIC
        assert fault.what == "The constant policy can't give such actions"
        assert "module:callable" in fault.remedy
        return
    assert name in NUMERIC
    assert space.contains(policy(None))
    assert numbers(policy(None)) == numbers(action)


def numbers(value: Any) -> list[float]:
    if isinstance(value, tuple | list | np.ndarray):
        return [number for part in value for number in numbers(part)]
    return [float(value)]


@pytest.mark.parametrize("action", [1, [1], [1, [0.5, 0.5], [0, 1], 3], [1, [9.0, 9.0], [0, 1]]])
def test_constant_action_that_is_no_member_of_a_tuple_is_refused(action: Any) -> None:
    space = SPACES["Tuple"]
    with pytest.raises(FaultError, match="The constant action does not fit"):
        make_policy(PolicySpec("constant", action=action), space, space, 0)


@each_space
@pytest.mark.parametrize("kind", ["linear", "mlp"])
def test_network_says_what_it_can_not_see_and_what_it_can_not_do(
    kind: str, name: str, tmp_path: Path
) -> None:
    space, number = SPACES[name], gymnasium.spaces.Discrete(2)
    path = tmp_path / "w.npz"
    layers = ((np.zeros((1, 1)), np.zeros(1)),) * (1 if kind == "linear" else 2)
    write_weights(path, Weights(layers, np.zeros(1), np.ones(1)))
    spec = PolicySpec(kind, str(path))

    def said(observations: Any, actions: Any) -> str:
        with pytest.raises(FaultError) as caught:
            make_policy(spec, observations, actions, 0)
        assert caught.value.fault.what == f"The policy in {path} does not fit the environment"
        return caught.value.fault.sentence()

    seen, done = said(space, number), said(number, space)
    if name in VECTORS:
        assert f"the environment gives {num_inputs(space, '')} and wants 2" in seen
    else:
        assert f"observations of {space} are no vector of fixed length" in seen
        assert "Use a random policy, or module:callable" in seen
    if name in NETWORK_ACTIONS:
        assert f"the environment gives 2 and wants {num_outputs(space, '')}" in done
    else:
        assert f"no network gives actions of {space}" in done
        assert "Use a random policy, or module:callable" in done


@each_space
def test_learner_learns_what_a_network_can_do_and_refuses_the_rest(name: str) -> None:
    space, number = deepcopy(SPACES[name]), gymnasium.spaces.Discrete(2)
    policy, learner = PolicySpec("linear"), LearnerSpec("cmaes")
    for observations, actions, is_possible in (
        (space, number, name in VECTORS),
        (number, space, name in NETWORK_ACTIONS),
    ):
        if is_possible:
            first = try_learner(policy, learner, observations, actions, seed=0)
            assert actions.contains(first(observations.sample()))
            continue
        with pytest.raises(FaultError) as caught:
            try_learner(policy, learner, observations, actions, seed=0)
        assert caught.value.fault.what == "No policy can be learnt for this environment"
        assert str(space) in caught.value.fault.why
        assert "learner.kind" in caught.value.fault.keys
