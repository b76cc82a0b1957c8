"""The simplest code that steps environment actors in lockstep, as the yardstick for that mode.

`python -m raydash.bench.rollouts.hand_loop ENV_ID WORKERS SECONDS` prints the steps that it made
and the seconds they took. The loop is an actor, as raydash's is, with random actions and on a Ray
of its own. A second of warm-up does not count.
"""

import sys
import tempfile
import time
from typing import Any

import ray

from raydash.core.spec import EnvSpec
from raydash.worker.envs.environments import make_env

WARM_UP_S = 1.0


class HandEnv:
    """Runs one environment in an actor."""

    def __init__(self, env_id: str) -> None:
        self._env = make_env(EnvSpec(env_id))

    def reset(self) -> Any:
        """Reset the environment."""
        return self._env.reset()

    def step(self, action: Any) -> Any:
        """Step the environment."""
        return self._env.step(action)


class HandLoop:
    """Steps several environments together, and resets those whose episode ended."""

    def run(self, env_id: str, workers: int, seconds: float) -> tuple[int, float]:
        """Step for some seconds; returns the steps made and the exact seconds they took."""
        actions = make_env(EnvSpec(env_id)).action_space
        remote = ray.remote(num_cpus=0)(HandEnv)
        envs = [remote.remote(env_id) for _ in range(workers)]
        ray.get([env.reset.remote() for env in envs])
        steps, began_s = 0, time.perf_counter()
        is_warm = False
        while True:
            steps_made = ray.get([env.step.remote(actions.sample()) for env in envs])
            over = [env for env, step in zip(envs, steps_made, strict=True) if step[2] or step[3]]
            ray.get([env.reset.remote() for env in over])
            steps += workers
            took_s = time.perf_counter() - began_s
            if not is_warm and took_s > WARM_UP_S:
                is_warm, steps, began_s = True, 0, time.perf_counter()
            elif is_warm and took_s > seconds:
                return steps, took_s


def main() -> None:
    """Measure once and print the result."""
    env_id, workers, seconds = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
    with tempfile.TemporaryDirectory(prefix="rdh-", dir="/tmp") as folder:
        ray.init(include_dashboard=False, log_to_driver=False, _temp_dir=folder)
        try:
            loop = ray.remote(num_cpus=0)(HandLoop).remote()
            print(*ray.get(loop.run.remote(env_id, workers, seconds)), flush=True)
        finally:
            ray.shutdown()


if __name__ == "__main__":
    main()
