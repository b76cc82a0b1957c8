"""`raydash bench startup`: how long it takes to paint the window and to finish a first episode.

Each round starts the real window in a process of its own (offscreen unless there is a display),
and then a bare Ray: `ray start`, `ray.init`, one actor that imports gymnasium and finishes one
CartPole episode. The two take turns, so each has the machine to itself.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from raydash import paths
from raydash.bench.report import median, print_progress, print_result
from raydash.cluster.ray_env import driver_environment

ROUNDS = 5
GOAL_PAINT_S = 1.0
GOAL_OVER_BARE_S = 2.0
ROUND_TIMEOUT_S = 120.0


def run(*, as_json: bool) -> int:
    """Measure and print; 0 if both goals are reached, else 1."""
    rounds: list[dict[str, float]] = []
    for number in range(ROUNDS + 1):
        figures = {**_run_probe("window_probe"), **_run_probe("bare_ray")}
        if number == 0:
            continue  # the first fills the byte-code cache
        rounds.append(figures)
        print_progress(
            f"round {number}/{ROUNDS}: " + ", ".join(f"{k} {v:.2f}" for k, v in figures.items())
        )
    medians = {name: median(row[name] for row in rounds) for name in rounds[0]}
    over_s = median(row["window_to_episode_s"] - row["bare_to_episode_s"] for row in rounds)
    print_result(
        "startup",
        {
            "rounds": ROUNDS,
            **medians,
            "over_bare_s": over_s,
            "goal_painted_s": GOAL_PAINT_S,
            "goal_over_bare_s": GOAL_OVER_BARE_S,
        },
        as_json=as_json,
    )
    return 0 if medians["painted_s"] < GOAL_PAINT_S and over_s < GOAL_OVER_BARE_S else 1


def _run_probe(name: str) -> dict[str, float]:
    """Run one probe in a new process and private folders; its argument is when it was started."""
    # Ray's sockets need a short path.
    with tempfile.TemporaryDirectory(prefix="rdb-", dir="/tmp") as folder:
        environment = driver_environment(os.environ, cache_dir=paths.cache_dir())
        environment |= {
            "RAYDASH_STATE_DIR": str(Path(folder) / "s"),
            "RAYDASH_DATA_DIR": str(Path(folder) / "d"),
            "RAYDASH_CACHE_DIR": str(paths.cache_dir()),
        }
        if not (environment.get("DISPLAY") or environment.get("WAYLAND_DISPLAY")):
            environment["QT_QPA_PLATFORM"] = "offscreen"
        command = [sys.executable, "-m", f"raydash.bench.window.{name}", repr(time.time()), folder]
        done = subprocess.run(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=ROUND_TIMEOUT_S,
        )
        figures: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
        return figures
