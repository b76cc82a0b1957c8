"""`raydash bench rollout`: what monitoring costs the rollouts.

Pairs, interleaved: CartPole-v1 with a random policy under raydash (real cluster, supervisor,
engine, recording, a terminal reading ten updates a second), and the same loop in as many plain
processes of the same nice level, with nothing else on (the cluster is ended in between). Both are
timed from when all workers step; how long that takes is `bench startup`'s affair.
"""

import os
import subprocess
import sys

from raydash.bench.report import machine_cpu_s, median, say, show
from raydash.core.faults import FaultError
from raydash.core.messages import Answer, CommandRun, Connect, StartRun, Verb
from raydash.core.spec import ClusterSpec, spec_from_table
from raydash.core.updates import RunUpdate
from raydash.engine.client import EngineClient

PAIRS = 7
SECONDS = 10.0
WARM_UP_S = 1.0
RAY_WORKER_NICE = 15
GOAL = 0.95


def run(*, as_json: bool) -> int:
    """Measure and print; 0 if the goal is reached, else 1."""
    workers = len(os.sched_getaffinity(0))
    raydash_rates: list[float] = []
    plain_rates: list[float] = []
    raydash_cpu: list[float] = []
    plain_cpu: list[float] = []
    for pair in range(PAIRS):
        order = (_raydash, _plain) if pair % 2 == 0 else (_plain, _raydash)
        for measure in order:
            rate, cpu_s = measure(workers)
            rates, cpus = (
                (raydash_rates, raydash_cpu) if measure is _raydash else (plain_rates, plain_cpu)
            )
            rates.append(rate)
            cpus.append(cpu_s)
        say(
            f"pair {pair + 1}/{PAIRS}: raydash {raydash_rates[-1]:,.0f}, "
            f"plain {plain_rates[-1]:,.0f} steps/s, "
            f"ratio {raydash_rates[-1] / plain_rates[-1]:.3f}"
        )
    ratio = median(a / b for a, b in zip(raydash_rates, plain_rates, strict=True))
    show(
        "rollout",
        {
            "workers": workers,
            "pairs": PAIRS,
            "raydash_env_steps_per_s": median(raydash_rates),
            "plain_env_steps_per_s": median(plain_rates),
            "ratio_median_of_pairs": ratio,
            "goal": GOAL,
            "raydash_machine_cpu_s": median(raydash_cpu),
            "plain_machine_cpu_s": median(plain_cpu),
        },
        as_json=as_json,
    )
    return 0 if ratio >= GOAL else 1


def _raydash(workers: int) -> tuple[float, float]:
    """Steps/s over `SECONDS`, from when all workers step; and the machine's CPU seconds."""
    spec = spec_from_table({"rollout": {"num_workers": workers}})
    with EngineClient() as client:
        client.send(Connect(0, ClusterSpec()))
        client.send(StartRun(0, spec))
        first: RunUpdate | None = None
        cpu_s = rate = 0.0
        while True:
            message = client.receive(30.0)
            if isinstance(message, Answer) and message.fault is not None:
                raise FaultError(message.fault)
            if not isinstance(message, RunUpdate):
                continue
            figures = message.figures
            if first is None:
                if (message.workers.env_steps_per_s > 0).all() and figures.elapsed_s > WARM_UP_S:
                    first, cpu_s = message, machine_cpu_s()
            elif not rate and figures.elapsed_s - first.figures.elapsed_s >= SECONDS:
                cpu_s = machine_cpu_s() - cpu_s
                steps = (
                    figures.num_env_steps_sampled_lifetime
                    - first.figures.num_env_steps_sampled_lifetime
                )
                rate = steps / (figures.elapsed_s - first.figures.elapsed_s)
                client.send(CommandRun(0, message.run_id, Verb.STOP))
            if message.last:
                return rate, cpu_s


def _plain(workers: int) -> tuple[float, float]:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    # Ray gives its workers one thread of BLAS; the plain loop gets the same.
    environment["OMP_NUM_THREADS"] = "1"
    children = [
        subprocess.Popen(
            [
                sys.executable,
                "-m",
                "raydash.bench.plain_loop",
                str(SECONDS),
                str(index),
                str(RAY_WORKER_NICE),
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for index in range(workers)
    ]
    for child in children:
        assert child.stdout is not None
        child.stdout.readline()
    began_cpu_s = machine_cpu_s()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    rate = 0.0
    for child in children:
        assert child.stdout is not None
        steps, _, _, _, seconds = child.stdout.readline().split()
        rate += int(steps) / float(seconds)
    cpu_s = machine_cpu_s() - began_cpu_s
    for child in children:
        child.communicate()
    return rate, cpu_s
