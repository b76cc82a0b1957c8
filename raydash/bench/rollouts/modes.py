"""`raydash bench modes`: the three modes side by side with a hand-written Ray loop.

The modes `actors`, `lockstep` and `tasks` run under raydash, with cluster, supervisor, engine,
recording and a terminal that reads along. The reference is the simplest code that a person would
write to step environment actors in lockstep (`hand_loop`). They take turns, on raydash's own
environment NoisyDrift and on CartPole.
"""

import os
import subprocess
import sys

from raydash.bench.own_cpu import private_folders
from raydash.bench.report import median, print_progress, print_result
from raydash.bench.rollouts.rollout import measure_raydash
from raydash.core.spec import MODES

ENV_IDS = ("raydash/NoisyDrift-v0", "CartPole-v1")
ROUNDS = 3
SECONDS = 5.0
GOAL = 0.9


def run(*, as_json: bool) -> int:
    """Measure and print; 0 if lockstep reaches its goal on each environment, else 1."""
    workers = len(os.sched_getaffinity(0))
    figures: dict[str, object] = {"workers": workers, "rounds": ROUNDS, "goal": GOAL}
    is_good = True
    for env_id in ENV_IDS:
        rounds = [_round(env_id, workers, number) for number in range(1, ROUNDS + 1)]
        name = env_id.rpartition("/")[2]
        rates = {kind: median(each[kind] for each in rounds) for kind in rounds[0]}
        ratio = median(each["lockstep"] / each["hand"] for each in rounds)
        figures |= {f"{name} {kind}, steps/s": rate for kind, rate in rates.items()}
        figures |= {
            f"{name} lockstep / hand-written": ratio,
            f"{name} actors / lockstep": rates["actors"] / rates["lockstep"],
            f"{name} actors / tasks": rates["actors"] / rates["tasks"],
        }
        is_good &= ratio >= GOAL
    print_result("modes", figures, as_json=as_json)
    return 0 if is_good else 1


def _round(env_id: str, workers: int, number: int) -> dict[str, float]:
    """Return env steps per second of all workers, by kind; every other round goes backwards."""
    kinds = (*MODES, "hand")
    rates: dict[str, float] = {}
    for kind in kinds if number % 2 else kinds[::-1]:
        with private_folders():
            rates[kind] = (
                _hand_written_rate(env_id, workers)
                if kind == "hand"
                else _raydash_rate(env_id, workers, kind)
            )
    shown = ", ".join(f"{kind} {rates[kind]:,.0f}" for kind in kinds)
    print_progress(f"{env_id} {number}/{ROUNDS}: {shown} steps/s")
    return rates


def _raydash_rate(env_id: str, workers: int, mode: str) -> float:
    table = {"env": {"id": env_id}, "rollout": {"mode": mode}}
    return measure_raydash(workers, SECONDS, table).steps_per_s


def _hand_written_rate(env_id: str, workers: int) -> float:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "raydash.bench.rollouts.hand_loop",
            env_id,
            str(workers),
            str(SECONDS),
        ],
        env={**environment, "RAY_AUTH_MODE": "disabled", "RAY_USAGE_STATS_ENABLED": "0"},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    steps, took_s = done.stdout.split()[-2:]
    return int(steps) / float(took_s)
