"""The stepping loop with nothing around it: what a rollout worker is measured against.

`python -m raydash.bench.plain_loop SECONDS SEED NICE` prints `ready`, waits for a line, steps, and
prints steps, episodes, sums of return and length, and the seconds it took.
"""

import os
import sys
import time

import gymnasium

CHECK_EVERY = 256


def main() -> None:
    """Step CartPole-v1 with random actions."""
    seconds, seed, nice = float(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    os.nice(nice)
    env = gymnasium.make("CartPole-v1")
    env.action_space.seed(seed)
    env.reset(seed=seed)
    policy, step, reset, clock = env.action_space.sample, env.step, env.reset, time.perf_counter
    print("ready", flush=True)
    sys.stdin.readline()
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
    print(steps, episodes, total_return, total_length, clock() - began_s, flush=True)


if __name__ == "__main__":
    main()
