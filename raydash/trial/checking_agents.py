"""The check of a multi-agent environment: PettingZoo's own test, then a short timing."""

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from raydash.core.clock import Clock
from raydash.core.env_check import AgentSpaces, EnvProblem
from raydash.core.faults import FaultError
from raydash.core.spec import EnvSpec, PolicySpec
from raydash.trial.check_timing import (
    NUM_SPACE_CHECKS,
    Timing,
    close_env,
    problem_of_exception,
    space_text,
)
from raydash.worker.envs.environments import first_reset
from raydash.worker.envs.multi_agent import Game, is_parallel
from raydash.worker.policies.agents import AgentPolicies, spaces_of

CYCLES = 100
"""PettingZoo's own default, 1000, takes minutes where a step takes a few milliseconds."""


def kind_of(env: Any) -> str:
    """Return which of PettingZoo's kinds an environment is: `parallel` or `aec`."""
    return "parallel" if is_parallel(env) else "aec"


def agents_of(env: Any, spec: EnvSpec) -> tuple[AgentSpaces, ...]:
    """Return the spaces of all possible agents or, if it names none, of those after a reset.

    Raises:
        FaultError: if the reset raises, or an agent has no spaces.
    """
    first_reset(AgentPolicies(PolicySpec(), 0).game_of(env), spec, 0)
    agents = getattr(env, "possible_agents", None) or env.agents
    return tuple(
        AgentSpaces(str(agent), *map(space_text, spaces_of(env, agent))) for agent in agents
    )


def check_agents(env: Any) -> list[EnvProblem]:
    """Run PettingZoo's test and return its error as a problem; warnings stay warnings."""
    with warnings.catch_warnings():
        # Warnings out of imports say nothing about this environment.
        warnings.simplefilter("ignore")
        from pettingzoo.test import api_test, parallel_api_test
    try:
        (parallel_api_test if is_parallel(env) else api_test)(env, CYCLES)
    except Exception as error:
        return [problem_of_exception("PettingZoo's test says", error)]
    return []


def time_agents(
    env: Any, spec: EnvSpec, source_dirs: Sequence[str], timing_s: float, clock: Clock
) -> tuple[Timing, list[EnvProblem]]:
    """Step with random actions until the time is over; action masks are respected.

    Raises:
        FaultError: if the first reset raises.
    """
    timing, problems = Timing(num_agent_steps=0), []
    game = AgentPolicies(PolicySpec(), 0, source_dirs).game_of(env)
    first_reset(game, spec, 0)
    started_s = clock()
    where = "reset"
    try:
        while clock() - started_s < timing_s:
            where = "reset"
            reset_at_s = clock()
            game.reset()
            now_s = clock()
            timing.resets_s.append(now_s - reset_at_s)
            where = "step"
            while not game.is_over and now_s - started_s < timing_s:
                if timing.num_env_steps < NUM_SPACE_CHECKS:
                    timing.num_outside += _num_outside(game)
                game.choose()
                acted_s = clock()
                game.step()
                now_s = clock()
                timing.add_step(now_s - acted_s, past_half=now_s - started_s > timing_s / 2)
            _add_episode(timing, game)
    except FaultError as error:
        problems.append(EnvProblem(True, error.fault.sentence(), error.fault.detail))
    except Exception as error:
        steps = timing.num_env_steps
        problems.append(problem_of_exception(f"{where} raised after {steps} random steps", error))
    timing.took_s = clock() - started_s
    return timing, problems + close_env(env.close)


def _num_outside(game: Game) -> int:
    return sum(
        not game.env.observation_space(agent).contains(observation)
        for agent, observation, _ in game.to_act()
    )


def _add_episode(timing: Timing, game: Game) -> None:
    assert timing.num_agent_steps is not None
    timing.num_agent_steps += sum(game.agent_steps.values())
    timing.num_bad_rewards += not np.isfinite(list(game.returns.values())).all()
    if game.is_over:
        timing.add_episode(terminated=game.terminated, truncated=game.truncated)
