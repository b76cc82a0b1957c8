"""Multi-agent environments are counted exactly: env steps, each agent's actions and return."""

import json
import math
import time
from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from raydash.core.faults import FaultError
from raydash.core.messages import StartRun
from raydash.core.records import RolloutChunk, WorkerFault
from raydash.core.spec import EnvSpec, PolicySpec, RolloutSpec, RunSpec, WrapperSpec
from raydash.core.states import Ending
from raydash.protocol.codec import decode, encode
from raydash.trial.trial import try_environment
from raydash.worker.actor import RolloutWorker
from raydash.worker.envs.environments import first_reset, make_any_env, make_env
from raydash.worker.envs.multi_agent import MAX_AGENTS, OTHERS
from raydash.worker.loops.account import MAX_FAILURES_IN_A_ROW, Incarnation
from raydash.worker.loops.multi_agent_rollout import MultiAgentLoop
from raydash.worker.node.progress import ProgressWriter
from raydash.worker.policies.agents import AgentPolicies
from raydash.worker.policies.weights import Weights, write_weights
from tests.fakes.user_code.agents import Account, Crowd, Flock, Nobody, Queue
from tests.fakes.user_code.envs import FakeClock

FAKES = "tests.fakes.user_code.agents"
TICK_S = 1e-4


def loop_over(
    env: Any,
    *,
    clock: Callable[[], float] | None = None,
    make: Callable[[], Any] | None = None,
    policy: PolicySpec | None = None,
    seed: int = 5,
) -> MultiAgentLoop:
    policies = AgentPolicies(policy or PolicySpec(), seed)
    loop = MultiAgentLoop(
        Incarnation(3, 1, clock or FakeClock(TICK_S), ProgressWriter()),
        policies.game_of(env),
        reset_seed=seed,
        make_env=lambda: policies.game_of((make or (lambda: env))()),
    )
    loop.prepare(lambda game, seed: first_reset(game, EnvSpec("flock"), seed))
    return loop


def ending_of(row: dict[str, Any]) -> Ending:
    if row["terminated"]:
        return Ending.BOTH if row["truncated"] else Ending.TERMINATED
    return Ending.TRUNCATED


def assert_same(chunks: Sequence[RolloutChunk], account: Account) -> None:
    """Check that the chunks agree with what the environment itself counted."""
    rows: list[dict[str, Any]] = []
    for chunk in chunks:
        agents = chunk.agents
        for n in range(len(chunk.ending)):
            there = {
                name: (float(agents.episode_return[n, k]), int(agents.num_steps[n, k]))
                for k, name in enumerate(agents.names)
                if not math.isnan(agents.episode_return[n, k])
            }
            rows.append(
                {
                    "agents": there,
                    "len": int(chunk.episode_len[n]),
                    "return": float(chunk.episode_return[n]),
                    "ending": Ending(chunk.ending[n]),
                }
            )
    wanted = [
        {
            "agents": {a: (row["returns"][a], row["steps"][a]) for a in row["returns"]},
            "len": row["len"],
            "return": sum(row["returns"].values()),
            "ending": ending_of(row),
        }
        for row in account.episodes
    ]
    assert rows == wanted
    totals, last = chunks[-1].totals, chunks[-1].agents
    assert totals.num_env_steps == account.num_steps
    assert totals.num_episodes == len(account.episodes)
    counted = dict(zip(last.names, last.num_steps_total.tolist(), strict=True))
    assert {name: count for name, count in counted.items() if count} == account.agent_steps


@pytest.mark.parametrize("kind", [Flock, Queue])
@pytest.mark.parametrize("seed", range(5))
def test_counts_are_those_of_the_environment_itself(kind: type[Any], seed: int) -> None:
    env = kind()
    loop = loop_over(env, seed=seed)
    chunks = [decode(encode(loop.run(0.05))) for _ in range(12)]
    assert_same(chunks, env.account)
    endings = {Ending(each) for chunk in chunks for each in chunk.ending}
    assert endings == {Ending.TERMINATED, Ending.TRUNCATED, Ending.BOTH}
    assert len(chunks[-1].agents.names) == len(env.possible_agents)


def test_unfinished_episode_is_told_with_its_steps_and_return() -> None:
    env = Flock()
    loop = loop_over(env)
    for _ in range(20):
        chunk = loop.run(0.002)
        if env.account.len and env.agents:
            assert chunk.partial_len[0] == env.account.len
            assert chunk.partial_return[0] == pytest.approx(sum(env.account.returns.values()))
    assert chunk.totals.num_env_steps == env.account.num_steps > 20


def test_turns_of_dead_agents_are_no_steps() -> None:
    env = Queue()
    loop = loop_over(env)
    chunk = loop.run(0.2)
    assert env.num_dead_steps > 50
    assert chunk.totals.num_env_steps == env.account.num_steps
    assert chunk.agents.num_steps_total.sum() == env.account.num_steps


def test_drained_loop_ends_between_episodes_and_goes_on_after_it() -> None:
    env = Flock()
    loop = loop_over(env)
    chunks = [loop.run(0.01)]
    while not chunks[-1].drained:
        chunks.append(loop.run(0.01, drain=True))
    assert chunks[-1].partial_len[0] == 0
    assert_same(chunks, env.account)
    chunks.append(loop.run(0.05))
    assert_same(chunks, env.account)


def test_same_seed_plays_the_same_episodes_and_another_one_others() -> None:
    def played(seed: int) -> list[float]:
        returns: list[float] = loop_over(Flock(), seed=seed).run(0.1).episode_return.tolist()
        return returns

    assert played(1) == played(1) != played(2)


def test_agents_draw_actions_of_their_own() -> None:
    policies = AgentPolicies(PolicySpec(), 3)
    policies.game_of(Flock())
    drawn = {
        agent: [int(policies.act(agent, None)) for _ in range(20)] for agent in ("bird_0", "bird_1")
    }
    assert drawn["bird_0"] != drawn["bird_1"]


def test_environment_that_raises_ends_the_episode_with_the_steps_that_it_had() -> None:
    made: list[Flock] = []

    def make() -> Flock:
        made.append(Flock(raises_at=0 if made else 4))
        return made[-1]

    loop = loop_over(make(), make=make)
    chunk = loop.run(0.05)
    first, second = made[0], made[1]
    errors = chunk.ending == Ending.ERROR
    assert errors.sum() == 1
    place = int(errors.argmax())
    assert np.isnan(chunk.episode_return[place])
    assert np.isnan(chunk.agents.episode_return[place]).all()
    assert chunk.episode_len[place] == first.account.len
    steps = dict(zip(chunk.agents.names, chunk.agents.num_steps[place].tolist(), strict=True))
    wanted = {name: count for name, count in first.account.steps.items() if count}
    assert {name: count for name, count in steps.items() if count} == wanted
    assert chunk.totals.num_env_steps == first.account.num_steps + second.account.num_steps
    both: defaultdict[str, int] = defaultdict(int)
    for account in (first.account, second.account):
        for name, count in account.agent_steps.items():
            both[name] += count
    counted = dict(zip(chunk.agents.names, chunk.agents.num_steps_total.tolist(), strict=True))
    assert counted == dict(both)
    assert "the flock panics" in chunk.errors[0].message


def test_environment_without_agents_fails_and_is_not_tried_for_ever() -> None:
    env = Flock()
    loop = loop_over(env, make=Nobody)
    env._raises_at = env.account.num_steps + 3
    chunk = loop.run(0.5)
    assert loop.account.failures_in_a_row == MAX_FAILURES_IN_A_ROW
    assert chunk.errors[-1].where == "reset"
    assert "env.agents is empty" in chunk.errors[-1].message


def test_names_without_end_are_counted_together_beyond_a_limit() -> None:
    env = Crowd()
    loop = loop_over(env)
    chunks = [loop.run(0.05) for _ in range(40)]
    last = chunks[-1].agents
    assert len(last.names) == MAX_AGENTS + 1
    assert OTHERS in last.names
    assert last.num_steps_total.sum() == sum(env.account.agent_steps.values())
    wanted = [sum(row["returns"].values()) for row in env.account.episodes]
    assert [total for chunk in chunks for total in chunk.episode_return.tolist()] == wanted
    assert max(len(encode(chunk)) for chunk in chunks[1:]) < 700_000


def test_success_is_the_mean_over_the_agents() -> None:
    chunk = loop_over(Flock()).run(0.2)
    assert chunk.scalars.names == ("is_success",)
    values = chunk.scalars.values[:, 0]
    assert ((values >= 0) & (values <= 1)).all()
    assert {0.0, 1.0} < set(values.tolist())


def test_legal_actions_only_are_drawn_where_there_is_a_mask() -> None:
    env = Queue(masked=True)
    chunk = loop_over(env).run(0.1)
    assert chunk.errors == ()
    assert chunk.totals.num_env_steps > 100


@pytest.mark.parametrize(
    "env_id",
    [
        "pettingzoo.classic.rps_v2:parallel_env",
        "pettingzoo.classic.rps_v2:env",
        "pettingzoo.classic.tictactoe_v3:env",
        "pettingzoo.classic.connect_four_v3:env",
        "pettingzoo.sisl.multiwalker_v9:parallel_env",
    ],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_environments_of_pettingzoo_run(env_id: str) -> None:
    env = make_any_env(EnvSpec(env_id))
    loop = loop_over(env, clock=time.perf_counter)
    chunks = [loop.run(0.2)]
    while not any(len(chunk.ending) for chunk in chunks):
        chunks.append(loop.run(0.2))
    loop.close()
    assert [chunk.errors for chunk in chunks] == [()] * len(chunks)
    assert chunks[-1].totals.num_env_steps > 0
    assert not any((chunk.ending == Ending.ERROR).any() for chunk in chunks)
    steps = chunks[-1].agents.num_steps_total
    parallel = env_id.endswith("parallel_env")
    assert steps.sum() == chunks[-1].totals.num_env_steps * (len(steps) if parallel else 1)


def test_registry_of_pettingzoo_is_asked_by_its_make() -> None:
    kwargs = {"env_type": "aec", "id": "classic/tictactoe-v3"}
    chunk = loop_over(make_any_env(EnvSpec("pettingzoo:make", kwargs))).run(0.05)
    assert chunk.agents.names == ("player_1", "player_2")


# --- policies, trials, workers -------------------------------------------------------------------


def module_policy(observation_space: Any, action_space: Any) -> Callable[[Any], int]:
    return lambda observation: 1


@pytest.mark.parametrize(
    "policy",
    [
        PolicySpec("constant", action=2),
        PolicySpec("tests.unit.worker.loops.test_multi_agent_rollout:module_policy"),
    ],
)
def test_policy_is_shared_by_agents_of_equal_spaces(policy: PolicySpec) -> None:
    env = Flock()
    policies = AgentPolicies(policy, 3)
    policies.game_of(env)
    for agent in env.possible_agents:
        policies.act(agent, np.zeros(2, np.float32))
    assert len(policies._shared) == 1
    assert loop_over(Flock(), policy=policy).run(0.02).errors == ()


def test_worker_of_a_multi_agent_environment_answers_like_any_other() -> None:
    spec = RunSpec(env=EnvSpec(f"{FAKES}:Flock"))
    worker = RolloutWorker(encode(StartRun(1, spec)), 1, 0)
    ready = decode(worker.prepare())
    assert not isinstance(ready, WorkerFault), ready
    chunk = decode(worker.rollout(0.02))
    assert chunk.agents.num_steps_total.sum() > chunk.totals.num_env_steps > 0
    assert worker.close() == b""


def test_trial_lets_good_ones_pass() -> None:
    for env_id in (f"{FAKES}:Flock", f"{FAKES}:Queue"):
        assert try_environment(EnvSpec(env_id), PolicySpec()) is None


@pytest.mark.parametrize(
    ("env", "policy", "rollout", "words", "key"),
    [
        (f"{FAKES}:Over", PolicySpec(), RolloutSpec(), "all agents were over", "env.id"),
        (f"{FAKES}:Nobody", PolicySpec(), RolloutSpec(), "env.agents is empty", "env.id"),
        (
            f"{FAKES}:Flock",
            PolicySpec("constant", action=7),
            RolloutSpec(),
            "for the agent bird_0",
            "policy.action",
        ),
        (
            f"{FAKES}:Flock",
            PolicySpec(),
            RolloutSpec(num_envs_per_worker=2),
            "is a multi-agent environment",
            "rollout.num_envs_per_worker",
        ),
        (
            f"{FAKES}:Flock",
            PolicySpec(),
            RolloutSpec(mode="lockstep"),
            "is a multi-agent environment",
            "rollout.mode",
        ),
        (
            "pettingzoo.butterfly.pistonball_v6:parallel_env",
            PolicySpec(),
            RolloutSpec(),
            'pip install "pettingzoo[butterfly]"',
            "env.id",
        ),
    ],
)
def test_trial_refuses_in_words(
    env: str, policy: PolicySpec, rollout: RolloutSpec, words: str, key: str
) -> None:
    fault = try_environment(EnvSpec(env), policy, rollout=rollout)
    assert fault is not None
    assert fault.bad_input
    assert words in fault.sentence()
    assert key in fault.keys


def test_weights_that_do_not_fit_one_agent_are_refused_with_its_name(tmp_path: Any) -> None:
    path = tmp_path / "w.npz"
    weights = Weights(((np.zeros((2, 3)), np.zeros(3)),), np.zeros(2), np.ones(2))
    write_weights(path, weights)
    fault = try_environment(EnvSpec(f"{FAKES}:Mixed"), PolicySpec("linear", path=str(path)))
    assert fault is not None
    assert fault.what.endswith(", for the agent bird_1")
    assert fault.keys[0].startswith("policy.")


def test_gymnasium_wrapper_is_refused() -> None:
    spec = EnvSpec(f"{FAKES}:Flock", wrappers=(WrapperSpec("ClipReward"),))
    with pytest.raises(FaultError) as caught:
        make_any_env(spec)
    assert caught.value.fault.keys == ("env.wrappers",)
    assert "multi-agent" in caught.value.fault.why


def test_where_single_agents_are_wanted_it_is_refused_in_words() -> None:
    with pytest.raises(FaultError) as caught:
        make_env(EnvSpec(f"{FAKES}:Queue"))
    assert "rollout.mode" in caught.value.fault.keys


def test_tape_is_json(tmp_path: Any) -> None:
    env = Flock(str(tmp_path))
    loop_over(env).run(0.02)
    (tape,) = tmp_path.iterdir()
    assert [json.loads(line) for line in tape.read_text().splitlines()] == env.account.episodes
