"""The throwaway process of a trial: `python -m raydash.trial.child TIME_LIMIT_S PARENT_PID`.

It reads a request from stdin and answers on its original stdout. Descriptor 1 is pointed at its log
first, so that whatever the environment prints does no harm.

    request: {"env": {...}, "source_dirs": [...]} with "policy": {...},
             "num_envs", "vectorization" and "mode" to try, or "check": true, "num_envs" and
             "vectorization" to check, or "policy" and "evaluate": {"num_episodes", "seed"}; or
             {"list": true}
    answers: one JSON value per line: {"phase": "make"}, {"phase": "reset"}, then {"fault": ...},
             {"check": ...}, {"evaluation": ...} or {"env_ids": [...], "wrapper_names": [...]}

Modules that take long to import are imported inside functions, after a phase has announced them.
"""

import json
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from dataclasses import asdict
from typing import IO, Any

from raydash.cluster.processes import end_with
from raydash.core.faults import Fault, FaultError, FaultKind
from raydash.core.spec import (
    EnvSpec,
    LearnerSpec,
    PolicySpec,
    WrapperSpec,
)


def _answer(out: IO[str], **value: object) -> None:
    out.write(json.dumps(value) + "\n")
    out.flush()


def _env_of(request: dict[str, Any]) -> EnvSpec:
    table = request["env"]
    wrappers = tuple(WrapperSpec(**each) for each in table["wrappers"])
    return EnvSpec(table["id"], table["kwargs"], wrappers)


def _check(request: dict[str, Any], out: IO[str]) -> dict[str, Any]:
    """Check an environment and return the last answer."""
    from raydash.trial.checking import examine

    spec = _env_of(request)
    try:
        found = examine(
            spec,
            request["source_dirs"],
            num_envs=request["num_envs"],
            vectorization=request["vectorization"],
            on_phase=lambda phase: _answer(out, phase=phase),
        )
    except FaultError as error:
        return {"fault": asdict(error.fault)}
    except Exception as error:
        return {"fault": asdict(_unexpected(spec, error))}
    return {"check": asdict(found)}


def _evaluate(request: dict[str, Any], out: IO[str]) -> dict[str, Any]:
    """Evaluate a policy and return the last answer."""
    from raydash.trial.evaluating import evaluate

    spec = _env_of(request)
    try:
        found = evaluate(
            spec,
            PolicySpec(**request["policy"]),
            **request["evaluate"],
            source_dirs=request["source_dirs"],
            on_phase=lambda phase: _answer(out, phase=phase),
        )
    except FaultError as error:
        return {"fault": asdict(error.fault)}
    except Exception as error:
        return {"fault": asdict(_unexpected(spec, error))}
    return {"evaluation": asdict(found)}


def _try(request: dict[str, Any], out: IO[str]) -> Fault | None:
    from raydash.trial.stateless import try_stateless
    from raydash.worker.envs.environments import first_reset, make_any_env, make_env
    from raydash.worker.envs.multi_agent import is_multi_agent
    from raydash.worker.envs.vector_environments import first_seed, make_vector_env
    from raydash.worker.policies.batch import BatchSpaces, make_batch_policy
    from raydash.worker.policies.policy import check_action, make_policy

    spec = _env_of(request)
    try:
        _answer(out, phase="make")
        num_envs, vectorization, folders = (
            request["num_envs"],
            request["vectorization"],
            request["source_dirs"],
        )
        chosen = PolicySpec(**request["policy"])
        env: Any
        if vectorization == "none":
            takes_agents = request["mode"] == "actors" and request["learner"]["kind"] is None
            env = (make_any_env if takes_agents else make_env)(spec, folders)
            if is_multi_agent(env):
                _try_agents(env, spec, chosen, folders, out)
                return None
            _answer(out, phase="reset")
            observation = first_reset(env, spec, 0)
            _answer(out, phase="policy")
            learner = LearnerSpec(**request["learner"])
            if learner.kind is not None:
                from raydash.learn.starting_point import try_learner

                _answer(out, phase="learner")
                policy = try_learner(
                    chosen,
                    learner,
                    env.observation_space,
                    env.action_space,
                    seed=request["seed"],
                    source_dirs=folders,
                )
            else:
                policy = make_policy(chosen, env.observation_space, env.action_space, 0, folders)
        else:
            env = make_vector_env(spec, num_envs, vectorization, folders)
            _answer(out, phase="reset")
            observation = first_reset(env, spec, first_seed(env, range(num_envs)))
            _answer(out, phase="policy")
            policy = make_batch_policy(chosen, BatchSpaces.of(env), 0, folders)
        check_action(policy, observation, env.action_space, chosen)
        env.close()
        if request["mode"] == "tasks":
            _answer(out, phase="tasks")
            try_stateless(spec)
    except FaultError as error:
        return error.fault
    except Exception as error:
        return _unexpected(spec, error)
    return None


def _try_agents(
    env: Any, spec: EnvSpec, policy: PolicySpec, folders: Sequence[str], out: IO[str]
) -> None:
    """Reset a multi-agent environment and ask the policy of each agent for an action."""
    from raydash.worker.envs.environments import first_reset
    from raydash.worker.policies.agents import AgentPolicies

    policies = AgentPolicies(policy, 0, folders)
    game = policies.game_of(env)
    _answer(out, phase="reset")
    first_reset(game, spec, 0)
    _answer(out, phase="policy")
    for agent, observation, info in game.to_act():
        policies.check(agent, observation, info)
    game.close()


def _unexpected(spec: EnvSpec, error: Exception) -> Fault:
    return Fault(
        what=f"{spec.id} raised {type(error).__name__} when it was tried",
        why=str(error),
        remedy="The traceback names the line",
        detail=traceback.format_exc(),
        keys=("env.id",),
        bad_input=True,
        kind=FaultKind.USER_CODE,
    )


def _main() -> None:
    time_limit_s, parent_pid = float(sys.argv[1]), int(sys.argv[2])
    # If the parent is killed or too busy, nothing else would end an environment that hangs.
    end_with(parent_pid)
    signal.alarm(int(time_limit_s) + 5)
    request = json.load(sys.stdin)
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        _answer(out, phase="import")
        if request.get("list"):
            os.nice(10)  # the engine is importing Ray meanwhile, and the user waits for that
            from raydash.worker.envs.environments import registry_ids
            from raydash.worker.envs.wrappers import wrapper_names

            _answer(out, env_ids=registry_ids(), wrapper_names=wrapper_names())
        elif request.get("evaluate"):
            _answer(out, **_evaluate(request, out))
        elif request.get("check"):
            _answer(out, **_check(request, out))
        else:
            fault = _try(request, out)
            _answer(out, fault=None if fault is None else asdict(fault))
    # Simulators often hang or crash during interpreter shutdown; the answer has been given.
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    _main()
