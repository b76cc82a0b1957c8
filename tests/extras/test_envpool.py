"""Environments of EnvPool are counted exactly: the call that resets one is no step of it."""

import time
from typing import Any

import numpy as np
import pytest

from raydash.core.analysis.env_check_words import rows_of
from raydash.core.faults import Fault, FaultError
from raydash.core.messages import StartRun
from raydash.core.records import RolloutChunk, WorkerReady
from raydash.core.spec import EnvSpec, PolicySpec, RolloutSpec, RunSpec
from raydash.core.states import Ending
from raydash.protocol.codec import decode, encode
from raydash.trial.trial import check_environment, try_environment
from raydash.worker.actor import RolloutWorker
from raydash.worker.envs.environments import first_reset
from raydash.worker.envs.envpool_env import EnvPoolEnv
from raydash.worker.envs.vector_environments import make_vector_env
from raydash.worker.loops.account import Incarnation
from raydash.worker.loops.vector_rollout import VectorRolloutLoop
from raydash.worker.node.progress import ProgressWriter
from raydash.worker.policies.batch import BatchSpaces, make_batch_policy

NUM_ENVS = 5
SEEDS = [2**31 - 1 - index for index in range(NUM_ENVS)]  # as great as ours may be
POOLS = ("CartPole-v1", "Pendulum-v1", "FrozenLake-v1", "Pong-v5", "Ant-v4")
CARTPOLE = EnvSpec("CartPole-v1")

Episode = tuple[float, int, Ending]


class Noted(EnvPoolEnv):
    """Writes down what EnvPool says, with its own count of each episode's steps.

    Attributes:
        calls: Elapsed steps, rewards and flags of each call; empty: a reset of all.
    """

    def __init__(self, env: EnvSpec, num_envs: int) -> None:
        super().__init__(env, num_envs)
        self.calls: list[tuple[Any, ...]] = []

    def reset(self, **more: Any) -> Any:
        self.calls.append(())
        return super().reset(**more)

    def step(self, actions: Any) -> Any:
        result = super().step(actions)
        self.calls.append((result[4]["elapsed_step"].copy(), *map(np.copy, result[1:4])))
        return result


class Recount:
    """What one sub-environment did: a call after which no step has elapsed was a reset."""

    def __init__(self, calls: list[tuple[Any, ...]], index: int) -> None:
        self.episodes: list[Episode] = []
        self.num_steps = self.len = 0
        self.total = 0.0
        flags = (False, False)
        for call in calls:
            if not call or call[0][index] == 0:
                assert not self.len or any(flags), "an episode was cut off"
                self.len, self.total = 0, 0.0
                continue
            elapsed, rewards, *ends = call
            self.num_steps += 1
            self.len += 1
            self.total += float(rewards[index])
            assert self.len == elapsed[index]
            flags = bool(ends[0][index]), bool(ends[1][index])
            if any(flags):
                one = Ending.TERMINATED if flags[0] else Ending.TRUNCATED
                self.episodes.append((self.total, self.len, Ending.BOTH if all(flags) else one))
        self.is_over = any(flags)


def loop_over(env: EnvPoolEnv, spec: EnvSpec, policy: Any = None) -> VectorRolloutLoop:
    loop = VectorRolloutLoop(
        Incarnation(1, 0, time.perf_counter, ProgressWriter(), ("elapsed_step",)),
        env,
        policy or make_batch_policy(PolicySpec(), BatchSpaces.of(env), 7),
        reset_seeds=SEEDS,
        make_env=lambda: EnvPoolEnv(spec, NUM_ENVS),
    )
    loop.prepare(lambda made, seed: first_reset(made, spec, seed))
    return loop


def told(chunks: list[RolloutChunk], env_index: int) -> list[Episode]:
    return [
        (float(total), int(length), Ending(ending))
        for chunk in chunks
        for index, total, length, ending in zip(
            chunk.env_index, chunk.episode_return, chunk.episode_len, chunk.ending, strict=True
        )
        if index == env_index
    ]


@pytest.mark.parametrize("env_id", POOLS)
def test_counts_are_those_of_a_recount_by_envpools_own_count_of_steps(env_id: str) -> None:
    spec = EnvSpec(env_id)
    env = Noted(spec, NUM_ENVS)
    loop = loop_over(env, spec)
    chunks = [loop.run(0.1) for _ in range(4)]
    while not chunks[-1].totals.num_episodes > NUM_ENVS:
        chunks.append(loop.run(0.1))
    assert [error.message for chunk in chunks for error in chunk.errors] == []
    recounts = [Recount(env.calls, index) for index in range(NUM_ENVS)]
    for index, recount in enumerate(recounts):
        assert told(chunks, index) == recount.episodes
    last = chunks[-1]
    assert last.totals.num_env_steps == sum(recount.num_steps for recount in recounts)
    lens = [0 if recount.is_over else recount.len for recount in recounts]
    assert last.partial_len.tolist() == lens
    assert env.observation_space.contains(env.step(env.action_space.sample())[0])
    for chunk in chunks:
        if len(chunk.episode_len):
            assert chunk.scalars.names == ("elapsed_step",)
            assert chunk.scalars.values[:, 0].tolist() == chunk.episode_len.tolist()
    loop.close()


def test_drained_pool_ends_with_every_episode_finished_and_goes_on_afterwards() -> None:
    loop = loop_over(EnvPoolEnv(CARTPOLE, NUM_ENVS), CARTPOLE)
    chunks = [loop.run(0.02)]
    while not chunks[-1].drained:
        chunks.append(loop.run(0.02, drain=True))
    assert not chunks[-1].partial_len.any()
    chunks += [loop.run(0.05) for _ in range(3)]
    finished = sum(int(chunk.episode_len.sum()) for chunk in chunks)
    assert chunks[-1].totals.num_env_steps == finished + chunks[-1].partial_len.sum()


def test_seeds_give_the_same_episodes_again_and_each_sub_environment_its_own() -> None:
    first: list[list[list[Episode]]] = []
    for _ in range(2):
        loop = loop_over(EnvPoolEnv(CARTPOLE, NUM_ENVS), CARTPOLE)
        chunks = [loop.run(0.05)]
        while min(len(told(chunks, index)) for index in range(NUM_ENVS)) < 10:
            chunks.append(loop.run(0.05))
        first.append([told(chunks, index)[:10] for index in range(NUM_ENVS)])
    assert first[0] == first[1]
    observations, _ = EnvPoolEnv(CARTPOLE, NUM_ENVS).reset(seed=SEEDS)
    assert len({tuple(row) for row in observations.tolist()}) == NUM_ENVS


def test_policy_that_raises_ends_all_episodes_and_the_pool_is_made_anew() -> None:
    calls = iter(range(10**9))

    def policy(observations: Any) -> Any:
        if next(calls) == 30:
            raise KeyError("weights")
        return np.zeros(NUM_ENVS, np.int64)

    loop = loop_over(EnvPoolEnv(CARTPOLE, NUM_ENVS), CARTPOLE, policy)
    chunks = [loop.run(0.05) for _ in range(3)]
    assert [error.where for chunk in chunks for error in chunk.errors] == ["policy"]
    totals = chunks[-1].totals
    assert totals.num_error == NUM_ENVS < totals.num_episodes
    finished = sum(int(chunk.episode_len.sum()) for chunk in chunks)
    assert totals.num_env_steps == finished + chunks[-1].partial_len.sum()


def test_worker_steps_a_pool_that_its_spec_asks_for() -> None:
    rollout = RolloutSpec(num_envs_per_worker=4, vectorization="envpool")
    spec = RunSpec(env=EnvSpec("envpool:CartPole-v1", {"max_episode_steps": 9}), rollout=rollout)
    worker = RolloutWorker(encode(StartRun(1, spec)), 1, 0)
    assert isinstance(decode(worker.prepare()), WorkerReady)
    chunk = decode(worker.rollout(0.1))
    assert set(chunk.env_index.tolist()) == {0, 1, 2, 3}
    assert chunk.episode_len.max() == 9
    assert worker.close() == b""


def fault_of(env_id: str, **kwargs: Any) -> Fault:
    with pytest.raises(FaultError) as caught:
        make_vector_env(EnvSpec(env_id, kwargs), 2, "envpool")
    assert caught.value.fault.bad_input
    return caught.value.fault


def test_unknown_name_is_answered_with_envpools_names() -> None:
    assert "CartPole-v1" in fault_of("CartPol-v1").remedy
    assert fault_of("ALE/Pong-v5").remedy == "Did you mean Pong-v5?"
    assert "list_all_envs" in fault_of("tests.fakes.user_code.envs:CountingEnv").remedy


def test_keyword_arguments_that_it_does_not_take_are_named() -> None:
    assert fault_of("CartPole-v1", max_episode_step=3).remedy == "Did you mean max_episode_steps?"
    fault = fault_of("CartPole-v1", max_episode_steps="many")
    assert "another type" in fault.why
    assert "num_threads=1" in fault.remedy
    assert "max_episode_steps=500" in fault.remedy
    assert "raydash chooses it" in fault_of("CartPole-v1", batch_size=1).why


def test_library_that_is_missing_is_told_in_envpools_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def make_spec(name: str, **kwargs: Any) -> Any:
        raise ImportError(
            "EnvPool Procgen requires the system Qt 5 runtime: apt install qtbase5-dev"
        )

    monkeypatch.setattr("envpool.make_spec", make_spec)
    fault = fault_of("CoinrunEasy-v0", max_episode_steps=9)
    assert fault.what == "EnvPool could not make CoinrunEasy-v0"
    assert "apt install qtbase5-dev" in fault.why


def test_trial_makes_a_pool_in_a_process_of_its_own() -> None:
    rollout = RolloutSpec(num_envs_per_worker=64, vectorization="envpool")
    assert try_environment(CARTPOLE, PolicySpec(), rollout=rollout) is None
    fault = try_environment(EnvSpec("CartPol-v1"), PolicySpec(), rollout=rollout)
    assert fault is not None
    assert fault.what == "EnvPool has no environment CartPol-v1"


def test_check_tells_the_spaces_of_a_pool_and_how_fast_it_steps_together() -> None:
    rollout = RolloutSpec(num_envs_per_worker=NUM_ENVS, vectorization="envpool")
    found = check_environment(EnvSpec("Pong-v5"), rollout=rollout)
    assert found is not None
    assert found.ok
    assert found.action_space == "Discrete(6)"
    assert found.together_env_steps_per_s is not None
    assert found.together_env_steps_per_s > 0
    assert [name for name, _ in rows_of(found)] == [
        *("observations", "actions", "together", "memory"),
    ]
