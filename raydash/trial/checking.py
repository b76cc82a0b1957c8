"""The child's part of a check of an environment: Gymnasium's checker, then a short timing."""

import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from gymnasium.envs.registration import registry
from gymnasium.utils.env_checker import check_env

from raydash.core.clock import Clock
from raydash.core.env_check import CheckPhase, EnvCheck, EnvProblem
from raydash.core.faults import FaultError
from raydash.core.spec import EnvSpec
from raydash.core.words import plain
from raydash.trial.check_timing import (
    NUM_SPACE_CHECKS,
    Timing,
    close_env,
    problem_of_exception,
    space_text,
    warning_problems,
)
from raydash.trial.checking_agents import agents_of, check_agents, kind_of, time_agents
from raydash.trial.checking_together import time_vector_env
from raydash.trial.stateless import try_stateless
from raydash.worker.envs.environments import Env, first_reset, make_any_env, make_env
from raydash.worker.envs.multi_agent import is_multi_agent
from raydash.worker.envs.vector_environments import make_vector_env

TIMING_S = 2.0
LEAK_BYTES = 16 * 2**20
MAX_PROBLEMS = 30

_OnPhase = Callable[[CheckPhase], None]


def examine(
    spec: EnvSpec,
    source_dirs: Sequence[str] = (),
    *,
    num_envs: int = 1,
    vectorization: str = "none",
    on_phase: _OnPhase = lambda _phase: None,
    timing_s: float = TIMING_S,
    clock: Clock = time.perf_counter,
) -> EnvCheck:
    """Check and time one environment and, if a worker steps several together, time those too.

    EnvPool has no single environments: of them, only the spaces and the time together are found.

    Args:
        spec: The environment.
        source_dirs: Folders to import the user's modules from.
        num_envs: How many environments a worker steps together.
        vectorization: How they are stepped, a word of `raydash.core.spec.VECTORIZATIONS`.
        on_phase: Called with each phase before it begins.
        timing_s: How long to step one environment; several together are stepped half as long.
        clock: Gives monotonic seconds.

    Raises:
        FaultError: if the environment can't be made or reset. Later exceptions become problems.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        on_phase(CheckPhase.MAKE)
        if vectorization == "envpool":
            timing, problems = Timing(), list[EnvProblem]()
            found = _pool_spaces(spec, num_envs, source_dirs)
        else:
            started_s = clock()
            env = make_any_env(spec, source_dirs)
            found = EnvCheck(spec.id, make_time_s=clock() - started_s)
            look = _check_multi_agent if is_multi_agent(env) else _check_single
            found, timing, problems = look(env, found, spec, source_dirs, on_phase, timing_s, clock)
        found = timing.fill_in(found)
        if vectorization != "none":
            on_phase(CheckPhase.TOGETHER)
            rate, more = time_vector_env(
                spec, num_envs, vectorization, source_dirs, timing_s / 2, clock
            )
            problems += more
            found = replace(
                found,
                num_envs=num_envs,
                vectorization=vectorization,
                together_env_steps_per_s=rate,
            )
    problems += _further_problems(found, timing)
    problems += warning_problems(caught)
    problems.sort(key=lambda problem: not problem.is_error)
    return replace(found, problems=tuple(problems[:MAX_PROBLEMS]))


def _pool_spaces(spec: EnvSpec, num_envs: int, source_dirs: Sequence[str]) -> EnvCheck:
    """Find the spaces of a pool: a Gymnasium environment of the same name may have others."""
    pool = make_vector_env(spec, num_envs, "envpool", source_dirs)
    found = EnvCheck(
        spec.id,
        observation_space=space_text(pool.single_observation_space),
        action_space=space_text(pool.single_action_space),
    )
    pool.close()
    return found


def _check_single(
    env: Env,
    found: EnvCheck,
    spec: EnvSpec,
    source_dirs: Sequence[str],
    on_phase: _OnPhase,
    timing_s: float,
    clock: Clock,
) -> tuple[EnvCheck, Timing, list[EnvProblem]]:
    found = replace(
        found,
        observation_space=space_text(env.observation_space),
        action_space=space_text(env.action_space),
        max_episode_steps=env.spec.max_episode_steps if env.spec else None,
        has_vector_entry_point=_has_vector_entry_point(spec.id),
    )
    on_phase(CheckPhase.CHECK)
    problems = _run_checker(env)
    found = _with_state(found, spec)
    # The checker may leave the environment in any state, even closed: the timing needs a new one.
    env = make_env(spec, source_dirs)
    on_phase(CheckPhase.RESET)
    first_reset(env, spec, 0)
    on_phase(CheckPhase.TIMING)
    timing, more = _time_steps(env, timing_s, clock)
    return found, timing, problems + more


def _check_multi_agent(
    env: Any,
    found: EnvCheck,
    spec: EnvSpec,
    source_dirs: Sequence[str],
    on_phase: _OnPhase,
    timing_s: float,
    clock: Clock,
) -> tuple[EnvCheck, Timing, list[EnvProblem]]:
    on_phase(CheckPhase.RESET)
    found = replace(found, multi_agent=kind_of(env), agents=agents_of(env, spec))
    on_phase(CheckPhase.CHECK)
    problems = check_agents(env)
    on_phase(CheckPhase.TIMING)
    # PettingZoo's test changes the environment: the timing needs a new one.
    env = make_any_env(spec, source_dirs)
    timing, more = time_agents(env, spec, source_dirs, timing_s, clock)
    return found, timing, problems + more


def _has_vector_entry_point(env_id: str) -> bool:
    entry = registry.get(env_id.rpartition(":")[2])
    return entry is not None and entry.vector_entry_point is not None


def _with_state(found: EnvCheck, spec: EnvSpec) -> EnvCheck:
    try:
        cost = try_stateless(spec)
    except FaultError:
        return found  # this is no problem: only the mode tasks needs it
    return replace(
        found,
        is_functional=cost.is_functional,
        state_bytes=cost.num_bytes,
        state_time_s=cost.time_s,
    )


def _run_checker(env: Env) -> list[EnvProblem]:
    try:
        # Rendering needs a display, and rollouts do not render.
        check_env(env.unwrapped, skip_render_check=True)
    except Exception as error:
        return [problem_of_exception("Gymnasium's checker says", error)]
    return []


def _time_steps(env: Env, timing_s: float, clock: Clock) -> tuple[Timing, list[EnvProblem]]:
    """Step with random actions until the time is over or the environment raises."""
    timing, problems = Timing(), []
    env.action_space.seed(0)
    started_s = clock()
    where = "reset"
    try:
        while clock() - started_s < timing_s:
            where = "reset"
            reset_at_s = clock()
            env.reset()
            now_s = clock()
            timing.resets_s.append(now_s - reset_at_s)
            where = "step"
            over = False
            while not over and now_s - started_s < timing_s:
                action = env.action_space.sample()
                acted_s = clock()
                observation, reward, terminated, truncated, _ = env.step(action)
                now_s = clock()
                timing.add_step(now_s - acted_s, past_half=now_s - started_s > timing_s / 2)
                timing.num_bad_rewards += not np.isfinite(float(reward))
                if timing.num_env_steps <= NUM_SPACE_CHECKS:
                    timing.num_outside += not env.observation_space.contains(observation)
                over = bool(terminated or truncated)
                if over:
                    timing.add_episode(terminated=bool(terminated), truncated=bool(truncated))
    except Exception as error:
        steps = timing.num_env_steps
        problems.append(problem_of_exception(f"{where} raised after {steps} random steps", error))
    timing.took_s = clock() - started_s
    return timing, problems + close_env(env.close)


def _further_problems(found: EnvCheck, timing: Timing) -> list[EnvProblem]:
    """Name problems that the checkers do not look for."""
    odd = []
    if timing.num_bad_rewards:
        what = f"{plain.count(timing.num_bad_rewards)} rewards were NaN or infinite"
        if found.multi_agent is not None:
            what = (
                f"The return of an agent was NaN or infinite in {timing.num_bad_rewards} episodes"
            )
        odd.append(EnvProblem(True, what))
    if timing.num_outside:
        steps = min(NUM_SPACE_CHECKS, timing.num_env_steps)
        where = f"the first {steps} observations were outside the observation space"
        if found.multi_agent is not None:
            where = f"the first {steps} steps' observations were outside their agent's space"
        odd.append(EnvProblem(True, f"{timing.num_outside} of {where}"))
    if timing.num_env_steps and not timing.num_episodes and found.max_episode_steps is None:
        odd.append(
            EnvProblem(
                False,
                f"No episode ended within {timing.num_env_steps} random steps, and no limit is "
                "known: returns come only from finished episodes",
            )
        )
    if (found.memory_growth_bytes or 0) > LEAK_BYTES:
        grown = plain.size(found.memory_growth_bytes or 0)
        odd.append(EnvProblem(False, f"Memory grew by {grown} within a second: a leak?"))
    return odd
