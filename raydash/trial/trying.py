"""The child's part of a trial: makes what a run would need, and asks each part of it once."""

from collections.abc import Callable, Sequence
from typing import Any

from raydash.core.spec import EnvSpec, LearnerSpec, PolicySpec, RolloutSpec
from raydash.trial.stateless import try_stateless
from raydash.worker.envs.environments import first_reset, make_any_env, make_env
from raydash.worker.envs.multi_agent import is_multi_agent
from raydash.worker.envs.vector_environments import first_seed, make_vector_env
from raydash.worker.policies.agents import AgentPolicies
from raydash.worker.policies.batch import BatchSpaces, make_batch_policy
from raydash.worker.policies.policy import Policy, check_action, make_policy

MAX_TRIED_TOGETHER = 2

_OnPhase = Callable[[str], None]


def try_run(
    env_spec: EnvSpec,
    policy_spec: PolicySpec,
    learner: LearnerSpec,
    rollout: RolloutSpec,
    source_dirs: Sequence[str] = (),
    *,
    on_phase: _OnPhase,
) -> None:
    """Make and reset an environment, and ask policy and learner once.

    Args:
        env_spec: The environment.
        policy_spec: The policy that would choose the actions.
        learner: The learner that would improve the policy.
        rollout: Says whether environments are stepped together; if so, two are tried together.
        source_dirs: Folders to import the user's modules from.
        on_phase: Called before each phase: `make`, `reset`, `policy`, `learner`, `tasks`.

    Raises:
        Exception: whatever the environment, the policy or the learner raises; FaultError if they
            can't be made or do not fit.
    """
    on_phase("make")
    env: Any
    if rollout.chosen_vectorization == "none":
        takes_agents = rollout.mode == "actors" and learner.kind is None
        env = (make_any_env if takes_agents else make_env)(env_spec, source_dirs)
        if is_multi_agent(env):
            _try_agents(env, env_spec, policy_spec, source_dirs, on_phase)
            return
        on_phase("reset")
        observation = first_reset(env, env_spec, 0)
        on_phase("policy")
        if learner.kind is None:
            policy = make_policy(
                policy_spec, env.observation_space, env.action_space, 0, source_dirs
            )
        else:
            on_phase("learner")
            policy = _learner_policy(env, policy_spec, learner, rollout.seed, source_dirs)
    else:
        count = min(rollout.num_envs_per_worker, MAX_TRIED_TOGETHER)
        env = make_vector_env(env_spec, count, rollout.chosen_vectorization, source_dirs)
        on_phase("reset")
        observation = first_reset(env, env_spec, first_seed(env, range(count)))
        on_phase("policy")
        policy = make_batch_policy(policy_spec, BatchSpaces.of(env), 0, source_dirs)
    check_action(policy, observation, env.action_space, policy_spec)
    env.close()
    if rollout.mode == "tasks":
        on_phase("tasks")
        try_stateless(env_spec)


def _learner_policy(
    env: Any, policy: PolicySpec, learner: LearnerSpec, seed: int, source_dirs: Sequence[str]
) -> Policy:
    """Make a learner, ask it once, and return the policy that it starts with."""
    from raydash.learn.starting_point import try_learner  # only a run that learns needs it

    return try_learner(
        policy,
        learner,
        env.observation_space,
        env.action_space,
        seed=seed,
        source_dirs=source_dirs,
    )


def _try_agents(
    env: Any, spec: EnvSpec, policy: PolicySpec, source_dirs: Sequence[str], on_phase: _OnPhase
) -> None:
    """Reset a multi-agent environment and ask the policy of each agent for an action."""
    policies = AgentPolicies(policy, 0, source_dirs)
    game = policies.game_of(env)
    on_phase("reset")
    first_reset(game, spec, 0)
    on_phase("policy")
    for agent, observation, info in game.to_act():
        policies.check(agent, observation, info)
    game.close()
