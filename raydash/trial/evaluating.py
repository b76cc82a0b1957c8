"""Evaluates a policy on one environment, with the stepping loop that workers use."""

import secrets
import time
from collections.abc import Callable, Sequence

import numpy as np

from raydash.core.analysis.policy_evaluation import PolicyEvaluation
from raydash.core.faults import Fault, FaultError, FaultKind
from raydash.core.records import RolloutChunk
from raydash.core.spec import EnvSpec, PolicySpec
from raydash.core.states import Ending
from raydash.worker.envs.environments import first_reset, make_env
from raydash.worker.envs.seeds import evaluation_seed
from raydash.worker.loops.account import MAX_FAILURES_IN_A_ROW, Incarnation
from raydash.worker.loops.rollout import RolloutLoop
from raydash.worker.node.progress import ProgressWriter
from raydash.worker.policies.policy import check_action, make_policy

SLICE_S = 1.0


def evaluate(
    env_spec: EnvSpec,
    policy_spec: PolicySpec,
    num_episodes: int,
    seed: int | None,
    source_dirs: Sequence[str] = (),
    *,
    on_phase: Callable[[str], None],
) -> PolicyEvaluation:
    """Play fresh episodes of a policy.

    Args:
        env_spec: The environment.
        policy_spec: The policy.
        num_episodes: How many episodes to play.
        seed: Seeds the episodes; None: a random one is drawn.
        source_dirs: Folders to import the user's modules from.
        on_phase: Called before each phase: `make`, `reset`, `policy`, `episodes`.

    Raises:
        FaultError: if environment or policy can't be made, do not fit, or keep raising.
    """
    seed = secrets.randbelow(2**31) if seed is None else seed
    on_phase("make")
    env = make_env(env_spec, source_dirs)
    first_seed = evaluation_seed(seed, 0, 0)
    on_phase("reset")
    observation = first_reset(env, env_spec, first_seed)
    on_phase("policy")
    policy = make_policy(policy_spec, env.observation_space, env.action_space, seed, source_dirs)
    check_action(policy, observation, env.action_space, policy_spec)
    loop = RolloutLoop(
        Incarnation(1, 0, time.perf_counter, ProgressWriter()),
        env,
        policy,
        reset_seed=first_seed,
        make_env=lambda: make_env(env_spec),
    )
    loop.prepare(lambda made, reset_seed: first_reset(made, env_spec, reset_seed))
    on_phase("episodes")
    started_s = time.perf_counter()
    chunks: list[RolloutChunk] = []
    while (left := num_episodes - sum(len(chunk.ending) for chunk in chunks)) > 0:
        loop.account.max_episodes = min(left, loop.account.max_episodes)
        chunks.append(loop.run(SLICE_S))
        if chunks[-1].failures_in_a_row >= MAX_FAILURES_IN_A_ROW:
            last_error = chunks[-1].errors[-1]
            what = f"{env_spec.id} failed {MAX_FAILURES_IN_A_ROW} times in a row"
            why = f"{last_error.where} raised {last_error.message}"
            remedy = "The traceback names the line"
            raise FaultError(
                Fault(
                    what,
                    why,
                    remedy,
                    last_error.traceback,
                    ("env.id",),
                    bad_input=True,
                    kind=FaultKind.USER_CODE,
                )
            )
    loop.close()
    return _summary(env_spec, policy_spec, seed, chunks, time.perf_counter() - started_s)


def _summary(
    env: EnvSpec, policy: PolicySpec, seed: int, chunks: list[RolloutChunk], elapsed_s: float
) -> PolicyEvaluation:
    returns = np.concatenate([chunk.episode_return for chunk in chunks])
    lens = np.concatenate([chunk.episode_len for chunk in chunks])
    endings = np.concatenate([chunk.ending for chunk in chunks])
    good = endings != Ending.ERROR
    some = bool(good.any())
    errors = [error for chunk in chunks for error in chunk.errors]
    return PolicyEvaluation(
        env_id=env.id,
        policy=policy.path or policy.kind,
        seed=seed,
        num_episodes=len(endings),
        episode_return_mean=float(returns[good].mean()) if some else None,
        episode_return_min=float(returns[good].min()) if some else None,
        episode_return_max=float(returns[good].max()) if some else None,
        episode_return_std=float(returns[good].std()) if some else None,
        episode_len_mean=float(lens[good].mean()) if some else None,
        num_episodes_terminated=int(np.isin(endings, (Ending.TERMINATED, Ending.BOTH)).sum()),
        num_episodes_truncated=int(np.isin(endings, (Ending.TRUNCATED, Ending.BOTH)).sum()),
        num_episodes_error=int((~good).sum()),
        num_env_steps=int(lens.sum()),
        elapsed_s=elapsed_s,
        first_error=errors[0].message if errors else "",
    )
