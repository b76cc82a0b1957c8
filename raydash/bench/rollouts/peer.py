"""Rolls out CartPole-v1 as one of raydash's peers does: `python peer.py KIND WORKERS SECONDS`.

It runs in a Python environment without raydash, takes random actions, and prints the steps that it
made and the seconds they took. A second of warm-up does not count.
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from typing import Any

ENV_ID = "CartPole-v1"
WARM_UP_S = 1.0


def timed(step: Callable[[], int], seconds: float) -> tuple[int, float]:
    """Call `step`, which returns the steps it made, for some seconds; returns steps and seconds."""
    began_s = time.perf_counter()
    while time.perf_counter() - began_s < WARM_UP_S:
        step()
    steps, began_s = 0, time.perf_counter()
    while time.perf_counter() - began_s < seconds:
        steps += step()
    return steps, time.perf_counter() - began_s


def async_vector_env(workers: int, seconds: float) -> tuple[int, float]:
    """Roll out with Gymnasium's AsyncVectorEnv: a process per environment, stepped together."""
    import gymnasium

    envs = gymnasium.make_vec(ENV_ID, num_envs=workers, vectorization_mode="async")
    envs.reset(seed=0)

    def step() -> int:
        envs.step(envs.action_space.sample())
        return workers

    try:
        return timed(step, seconds)
    finally:
        envs.close()


def subproc_vec_env(workers: int, seconds: float) -> tuple[int, float]:
    """Roll out with Stable-Baselines3's SubprocVecEnv: the same, but it resets by itself."""
    import gymnasium
    import numpy as np
    from stable_baselines3.common.vec_env import SubprocVecEnv

    envs = SubprocVecEnv([lambda: gymnasium.make(ENV_ID)] * workers)
    envs.reset()

    def step() -> int:
        envs.step(np.array([envs.action_space.sample() for _ in range(workers)]))
        return workers

    try:
        return timed(step, seconds)
    finally:
        envs.close()


def env_runner_group(workers: int, seconds: float) -> tuple[int, float]:
    """Roll out with RLlib's EnvRunnerGroup: workers sample fragments with random actions."""
    from ray.rllib.algorithms.ppo import PPOConfig
    from ray.rllib.env.env_runner_group import EnvRunnerGroup

    fragment = 2000
    config = (
        PPOConfig()
        .environment(ENV_ID)
        .env_runners(num_env_runners=workers, num_cpus_per_env_runner=1)
    )
    group = EnvRunnerGroup(config=config, local_env_runner=False)

    def step() -> int:
        sampled = group.foreach_env_runner(
            lambda runner: sum(
                len(episode)
                for episode in runner.sample(num_timesteps=fragment, random_actions=True)
            ),
            local_env_runner=False,
        )
        return int(sum(sampled))

    return timed(step, seconds)


def ray_actors(workers: int, seconds: float) -> tuple[int, float]:
    """Roll out with stateful Ray actors, which the driver steps one call at a time."""
    import gymnasium
    import ray

    class Environment:
        def __init__(self) -> None:
            self.env = gymnasium.make(ENV_ID)
            self.env.reset()

        def step(self, action: int) -> tuple[Any, float, bool]:
            state, reward, terminated, truncated, _ = self.env.step(action)
            if terminated or truncated:
                self.env.reset()
            return state, float(reward), bool(terminated or truncated)

    actions = gymnasium.make(ENV_ID).action_space
    remote = ray.remote(num_cpus=1)(Environment)
    environments = [remote.remote() for _ in range(workers)]

    def step() -> int:
        ray.get([each.step.remote(actions.sample()) for each in environments])
        return workers

    return timed(step, seconds)


def ray_tasks(workers: int, seconds: float) -> tuple[int, float]:
    """Roll out with stateless Ray tasks: the state goes in and out of every step."""
    import gymnasium
    import ray

    def step_env(env: Any, action: int) -> tuple[Any, float, bool]:
        _, reward, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
        return env, float(reward), bool(terminated or truncated)

    actions = gymnasium.make(ENV_ID).action_space
    remote = ray.remote(num_cpus=1)(step_env)
    states = [gymnasium.make(ENV_ID) for _ in range(workers)]
    for state in states:
        state.reset()

    def step() -> int:
        done = ray.get([remote.remote(state, actions.sample()) for state in states])
        states[:] = [state for state, _, _ in done]
        return workers

    return timed(step, seconds)


KINDS: Mapping[str, Callable[[int, float], tuple[int, float]]] = {
    "async_vector_env": async_vector_env,
    "subproc_vec_env": subproc_vec_env,
    "env_runner_group": env_runner_group,
    "ray_actors": ray_actors,
    "ray_tasks": ray_tasks,
}
_ON_RAY = ("env_runner_group", "ray_actors", "ray_tasks")


def main() -> None:
    """Measure one peer and print the result."""
    kind, workers, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    if kind not in _ON_RAY:
        print(*KINDS[kind](workers, seconds), flush=True)
        return
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    import ray

    with tempfile.TemporaryDirectory(prefix="rdp-", dir="/tmp") as folder:
        # One more CPU for the driver, so that no actor has to wait for one.
        ray.init(
            num_cpus=workers + 1, include_dashboard=False, log_to_driver=False, _temp_dir=folder
        )
        try:
            print(*KINDS[kind](workers, seconds), flush=True)
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main()
