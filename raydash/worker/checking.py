"""The child's part of `raydash check-env`: Gymnasium's checker, then a short timing."""

import re
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import psutil
from gymnasium.envs.registration import registry
from gymnasium.utils.env_checker import check_env

from raydash.core.clock import Clock
from raydash.core.env_check import EnvCheck, EnvProblem
from raydash.core.faults import Fault, FaultError
from raydash.core.spec import EnvSpec
from raydash.worker.environments import Env, first_reset, make_any_env, make_env
from raydash.worker.functional import try_stateless
from raydash.worker.multi_agent import is_multi_agent
from raydash.worker.words import one_line

TIMING_S = 2.0
MAX_SAMPLES = 100_000
LEAK_BYTES = 16 * 2**20
MAX_PROBLEMS = 30

_ANSI = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_PREFIX = re.compile(r"^(WARN|ERROR|INFO|UserWarning):\s*")


@dataclass(slots=True)
class _Timing:
    """What the timing gathered. Times in seconds."""

    steps_s: list[float] = field(default_factory=list)
    resets_s: list[float] = field(default_factory=list)
    took_s: float = 0.0
    num_env_steps: int = 0
    num_terminated: int = 0
    num_truncated: int = 0
    num_episodes: int = 0
    memory_at_half: int | None = None
    odd_rewards: int = 0
    outside: int = 0


def examine(
    spec: EnvSpec,
    source_dirs: Sequence[str] = (),
    *,
    tell: Callable[[str], None] = lambda _phase: None,
    timing_s: float = TIMING_S,
    clock: Clock = time.perf_counter,
) -> EnvCheck:
    """Check and time one environment.

    Args:
        spec: Which.
        source_dirs: Folders to import the user's modules from.
        tell: Called with `make`, `check`, `reset` and `timing` before each.
        timing_s: How long to step.
        clock: Monotonic seconds.

    Raises:
        FaultError: if it can't be made or reset; what it raises later is a problem.
    """
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        tell("make")
        started_s = clock()
        env = make_any_env(spec, source_dirs)
        if is_multi_agent(env):
            raise FaultError(
                Fault(
                    f"{spec.id} is a multi-agent environment",
                    "only environments of a single agent are checked so far",
                    "Start a run of it: its first reset and its policies are tried before",
                    keys=("env.id",),
                    bad_input=True,
                )
            )
        make_time_s = clock() - started_s
        found = EnvCheck(
            spec.id,
            str(env.observation_space),
            str(env.action_space),
            max_episode_steps=env.spec.max_episode_steps if env.spec else None,
            has_vector_entry_point=_has_vector_entry_point(spec.id),
            make_time_s=make_time_s,
        )
        tell("check")
        problems = _check(env)
        found = _with_state(found, spec)
        # The checker leaves an environment in any state, closed too: the timing gets a new one.
        env = make_env(spec, source_dirs)
        tell("reset")
        first_reset(env, spec, 0)
        tell("timing")
        timing, more = _time(env, timing_s, clock)
        found = _with_timing(found, timing)
    problems += more + _oddities(found, timing)
    problems += [EnvProblem(False, words) for words in _words(caught)]
    problems.sort(key=lambda problem: not problem.is_error)
    return replace(found, problems=tuple(problems[:MAX_PROBLEMS]))


def _has_vector_entry_point(env_id: str) -> bool:
    entry = registry.get(env_id.rpartition(":")[2])
    return entry is not None and entry.vector_entry_point is not None


def _with_state(found: EnvCheck, spec: EnvSpec) -> EnvCheck:
    try:
        cost = try_stateless(spec)
    except FaultError:
        return found  # no problem: only the mode tasks asks for it
    return replace(
        found,
        is_functional=cost.is_functional,
        state_bytes=cost.num_bytes,
        state_time_s=cost.time_s,
    )


def _check(env: Env) -> list[EnvProblem]:
    try:
        # Rendering needs a display and is no part of a rollout.
        check_env(env.unwrapped, skip_render_check=True)
    except Exception as error:
        return [_raised("Gymnasium's checker says", error)]
    return []


def _time(env: Env, timing_s: float, clock: Clock) -> tuple[_Timing, list[EnvProblem]]:
    """Step with random actions until the time is over or something is raised."""
    timing, problems = _Timing(), []
    memory = psutil.Process().memory_info
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
                if len(timing.steps_s) < MAX_SAMPLES:
                    timing.steps_s.append(now_s - acted_s)
                timing.num_env_steps += 1
                timing.odd_rewards += not np.isfinite(float(reward))
                if timing.num_env_steps <= 1000:
                    timing.outside += not env.observation_space.contains(observation)
                if timing.memory_at_half is None and now_s - started_s > timing_s / 2:
                    timing.memory_at_half = memory().rss
                over = bool(terminated or truncated)
                if over:
                    timing.num_episodes += 1
                    timing.num_terminated += bool(terminated)
                    timing.num_truncated += bool(truncated)
    except Exception as error:
        steps = timing.num_env_steps
        problems.append(_raised(f"{where} raised after {steps} random steps", error))
    timing.took_s = clock() - started_s
    try:
        env.close()
    except Exception as error:
        problems.append(_raised("close raised", error))
    return timing, problems


def _with_timing(found: EnvCheck, timing: _Timing) -> EnvCheck:
    rss = int(psutil.Process().memory_info().rss)
    steps = timing.steps_s
    return replace(
        found,
        reset_time_median_s=float(np.median(timing.resets_s)) if timing.resets_s else None,
        step_time_median_s=float(np.median(steps)) if steps else None,
        step_time_p95_s=float(np.percentile(steps, 95)) if steps else None,
        env_steps_per_s=timing.num_env_steps / timing.took_s if steps else None,
        num_env_steps=timing.num_env_steps,
        num_terminated=timing.num_terminated,
        num_truncated=timing.num_truncated,
        num_episodes=timing.num_episodes,
        memory_bytes=rss,
        memory_growth_bytes=None if timing.memory_at_half is None else rss - timing.memory_at_half,
    )


def _oddities(found: EnvCheck, timing: _Timing) -> list[EnvProblem]:
    """What the checker does not look for."""
    odd = []
    if timing.odd_rewards:
        odd.append(EnvProblem(True, f"{timing.odd_rewards} rewards were NaN or infinite"))
    if timing.outside:
        odd.append(
            EnvProblem(
                True,
                f"{timing.outside} of the first {min(1000, timing.num_env_steps)} observations "
                "were outside the observation space",
            )
        )
    if timing.num_env_steps and not timing.num_episodes and found.max_episode_steps is None:
        odd.append(
            EnvProblem(
                False,
                f"No episode ended within {timing.num_env_steps} random steps, and no limit is "
                "known: returns come only from finished episodes",
            )
        )
    if (found.memory_growth_bytes or 0) > LEAK_BYTES:
        grown = (found.memory_growth_bytes or 0) / 2**20
        odd.append(EnvProblem(False, f"Memory grew by {grown:.0f} MiB within a second: a leak?"))
    return odd


def _raised(what: str, error: Exception) -> EnvProblem:
    words = _clean(one_line(error))
    named = words if isinstance(error, AssertionError) else f"{type(error).__name__}: {words}"
    return EnvProblem(True, f"{what}: {named}", traceback.format_exc())


def _words(caught: Sequence[Any]) -> list[str]:
    """Warnings in plain words, each once."""
    return list(dict.fromkeys(_clean(str(warning.message)) for warning in caught))


def _clean(text: str) -> str:
    return _PREFIX.sub("", " ".join(_ANSI.sub("", text).split())).rstrip(".")
