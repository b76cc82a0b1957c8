"""The least that steps environment actors in lockstep: what that mode is measured against.

`python -m raydash.bench.rollouts.hand_loop ENV_ID WORKERS SECONDS` prints the steps that it made
and the seconds they took. The loop is an actor on a Ray of its own, as raydash's is, with random
actions; a second of warm-up does not count.
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
    """An environment in an actor."""

    def __init__(self, env_id: str) -> None:
        self._env = make_env(EnvSpec(env_id))

    def reset(self) -> Any:
        """As the environment's own."""
        return self._env.reset()

    def step(self, action: Any) -> Any:
        """As the environment's own."""
        return self._env.step(action)


class HandLoop:
    """Steps some of them, all together, and resets those whose episode ended."""

    def run(self, env_id: str, workers: int, seconds: float) -> tuple[int, float]:
        """Steps in so many seconds, and how long it was."""
        actions = make_env(EnvSpec(env_id)).action_space
        remote = ray.remote(num_cpus=0)(HandEnv)
        envs = [remote.remote(env_id) for _ in range(workers)]
        ray.get([env.reset.remote() for env in envs])
        steps, began_s = 0, time.perf_counter()
        is_warm = False
        while True:
            answers = ray.get([env.step.remote(actions.sample()) for env in envs])
            over = [env for env, each in zip(envs, answers, strict=True) if each[2] or each[3]]
            ray.get([env.reset.remote() for env in over])
            steps += workers
            took_s = time.perf_counter() - began_s
            if not is_warm and took_s > WARM_UP_S:
                is_warm, steps, began_s = True, 0, time.perf_counter()
            elif is_warm and took_s > seconds:
                return steps, took_s


def main() -> None:
    """Measure once."""
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
