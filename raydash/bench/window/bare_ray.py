"""The simplest code that gets an episode out of Ray, as the yardstick for raydash's start.

`python -m raydash.bench.window.bare_ray STARTED FOLDER` calls `ray start --head` and `ray.init`,
and has one actor import gymnasium and finish one CartPole episode. Flags and environment are those
of a cluster that raydash launches.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

POLL_S = 0.01


def main() -> None:
    """Start Ray, finish an episode, and print the seconds since STARTED."""
    started_s, folder = float(sys.argv[1]), Path(sys.argv[2])
    os.environ["RAY_AUTH_MODE"] = "disabled"
    command = [
        str(Path(sys.executable).with_name("ray")), "start", "--head", "--block", "--port=0",
        "--node-ip-address=127.0.0.2", f"--temp-dir={folder / 'r'}", "--include-dashboard=false",
        "--disable-usage-stats", "--no-monitor", "--include-log-monitor=false",
        "--object-store-memory=200000000",
    ]  # fmt: skip
    environment = {**os.environ, "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "0"}
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        address_file = folder / "r" / "ray_current_cluster"
        while not address_file.exists() or not address_file.read_text().strip():
            if process.poll() is not None:
                raise SystemExit("ray start ended")
            time.sleep(POLL_S)
        figures = {"bare_ray_start_s": time.time() - started_s}
        import ray

        ray.init(address=address_file.read_text().strip(), log_to_driver=False)

        class Bare:
            def episode(self) -> float:
                import gymnasium

                env = gymnasium.make("CartPole-v1")
                env.reset()
                total, over = 0.0, False
                while not over:
                    _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
                    total += float(reward)
                    over = terminated or truncated
                return total

        ray.get(ray.remote(num_cpus=0)(Bare).remote().episode.remote())
        figures["bare_to_episode_s"] = time.time() - started_s
        print(json.dumps(figures), flush=True)
        ray.shutdown()
    finally:
        process.terminate()
        process.wait(20)


if __name__ == "__main__":
    main()
