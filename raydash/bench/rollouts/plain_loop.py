"""The bare stepping loop, without anything around it, as the yardstick for a rollout worker.

`python -m raydash.bench.rollouts.plain_loop SECONDS SEED NICE KIND [WEIGHTS]` prints `ready`, waits
for a line, steps, and prints steps, episodes, sums of return and length, and the seconds taken.
KIND: `random` (one CartPole-v1, random actions), `mlp` (one, an MLP in NumPy from WEIGHTS), or
`make_vec` (64 of them in their own vector form, random actions).
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np

ENV_ID = "CartPole-v1"
NUM_ENVS = 64
CHECK_EVERY = 256
CHECK_EVERY_CALLS = 16

Counts = tuple[int, int, float, int, float]
"""Steps, episodes, sums of return and length, seconds."""


def main() -> None:
    """Make the environment, wait for the signal, step, and print the counts."""
    seconds, seed, nice, kind = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
    os.nice(nice)
    if kind == "make_vec":
        envs = gymnasium.make_vec(ENV_ID, NUM_ENVS, vectorization_mode="vector_entry_point")
        envs.action_space.seed(seed)
        envs.reset(seed=seed)
        counts = _step_on_signal(lambda: step_many(envs, seconds))
    else:
        env = gymnasium.make(ENV_ID)
        env.action_space.seed(seed)
        observation, _ = env.reset(seed=seed)
        if kind == "mlp":
            policy = mlp(sys.argv[5])
            counts = _step_on_signal(lambda: step_by_policy(env, observation, policy, seconds))
        else:
            counts = _step_on_signal(lambda: step_one(env, seconds))
    print(*counts, flush=True)


def _step_on_signal(step: Callable[[], Counts]) -> Counts:
    print("ready", flush=True)
    sys.stdin.readline()
    return step()


def step_one(env: Any, seconds: float) -> Counts:
    """Step one environment with random actions."""
    policy, step, reset, clock = env.action_space.sample, env.step, env.reset, time.perf_counter
    steps = episodes = length = total_length = 0
    total_return = episode_return = 0.0
    began_s = clock()
    end_s = began_s + seconds
    while clock() < end_s:
        for _ in range(CHECK_EVERY):
            _, reward, terminated, truncated, _ = step(policy())
            episode_return += float(reward)
            length += 1
            if terminated or truncated:
                episodes += 1
                total_return += episode_return
                total_length += length
                episode_return, length = 0.0, 0
                reset()
        steps += CHECK_EVERY
    return steps, episodes, total_return, total_length, clock() - began_s


def mlp(path: str) -> Callable[[Any], int]:
    """Load an MLP of three layers with tanh between them, as one would write it by hand."""
    with np.load(path, allow_pickle=False) as file:
        layers = [(file[f"layer_{n}_weight"], file[f"layer_{n}_bias"]) for n in range(3)]
    (first, bias), *others = layers
    tanh = np.tanh

    def policy(observation: Any) -> int:
        numbers = observation @ first + bias
        for weight, shift in others:
            numbers = tanh(numbers) @ weight + shift
        return int(numbers.argmax())

    return policy


def step_by_policy(
    env: Any, observation: Any, policy: Callable[[Any], int], seconds: float
) -> Counts:
    """Step one environment with the actions of a policy."""
    step, reset, clock = env.step, env.reset, time.perf_counter
    steps = episodes = length = total_length = 0
    total_return = episode_return = 0.0
    began_s = clock()
    end_s = began_s + seconds
    while clock() < end_s:
        for _ in range(CHECK_EVERY):
            observation, reward, terminated, truncated, _ = step(policy(observation))
            episode_return += float(reward)
            length += 1
            if terminated or truncated:
                episodes += 1
                total_return += episode_return
                total_length += length
                episode_return, length = 0.0, 0
                observation, _ = reset()
        steps += CHECK_EVERY
    return steps, episodes, total_return, total_length, clock() - began_s


def step_many(envs: Any, seconds: float) -> Counts:
    """Step a vector environment with random actions.

    An environment resets in the call after its episode's end, which does not count as a step.
    """
    sample, step, clock = envs.action_space.sample, envs.step, time.perf_counter
    steps = episodes = total_length = 0
    total_return = 0.0
    returns, lengths = np.zeros(NUM_ENVS), np.zeros(NUM_ENVS, np.int64)
    reset = np.zeros(NUM_ENVS, np.bool_)
    began_s = clock()
    end_s = began_s + seconds
    while clock() < end_s:
        for _ in range(CHECK_EVERY_CALLS):
            _, rewards, terminated, truncated, _ = step(sample())
            returns += rewards
            lengths += 1
            returns[reset] = 0.0
            lengths[reset] = 0
            steps += NUM_ENVS - int(reset.sum())
            over = np.logical_or(terminated, truncated)
            over[reset] = False
            reset = over
            if over.any():
                episodes += int(over.sum())
                total_return += float(returns[over].sum())
                total_length += int(lengths[over].sum())
    return steps, episodes, total_return, total_length, clock() - began_s


if __name__ == "__main__":
    main()
