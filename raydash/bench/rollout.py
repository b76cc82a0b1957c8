"""`raydash bench rollout`: what monitoring costs the rollouts.

Pairs, interleaved: CartPole-v1 with a random policy under raydash (real cluster, supervisor,
engine, recording, a terminal reading ten updates a second), and the same loop in as many plain
processes of the same nice level, with nothing else on (the cluster is ended in between). Both are
timed from when all workers step; how long that takes is `bench startup`'s affair.

On a virtual machine the host takes CPU time away, now from the one, now from the other: hence the
pairs, and a second ratio of steps per CPU second that was there to be had.
"""

import os
import subprocess
import sys
from dataclasses import dataclass

from raydash.bench.report import machine_cpu_s, median, say, show, stolen_s
from raydash.core.faults import FaultError
from raydash.core.messages import Answer, CommandRun, Connect, StartRun, Verb
from raydash.core.spec import ClusterSpec, spec_from_table
from raydash.core.updates import RunUpdate
from raydash.engine.client import EngineClient

PAIRS = 9
SECONDS = 10.0
WARM_UP_S = 1.0
RAY_WORKER_NICE = 15
GOAL = 0.95


@dataclass(frozen=True, slots=True)
class Measured:
    """One side of a pair.

    Attributes:
        steps_per_s: All workers together.
        cpu_s: Spent by the whole machine meanwhile.
        stolen_s: Taken away by the machine's host meanwhile, over all cores.
        seconds: How long.
    """

    steps_per_s: float
    cpu_s: float
    stolen_s: float
    seconds: float

    def steps_per_cpu_s(self, cores: int) -> float:
        """Steps per CPU second that the machine had."""
        return self.steps_per_s * self.seconds / (cores * self.seconds - self.stolen_s)


def run(*, as_json: bool) -> int:
    """Measure and print; 0 if the goal is reached, else 1."""
    workers = len(os.sched_getaffinity(0))
    pairs: list[tuple[Measured, Measured]] = []
    for number in range(1, PAIRS + 1):
        pair = _pair(workers, raydash_first=number % 2 == 1)
        pairs.append(pair)
        ours, plain = pair
        say(
            f"pair {number}/{PAIRS}: raydash {ours.steps_per_s:,.0f}, "
            f"plain {plain.steps_per_s:,.0f} steps/s, "
            f"ratio {ours.steps_per_s / plain.steps_per_s:.3f}, "
            f"stolen {ours.stolen_s:.1f} and {plain.stolen_s:.1f} s"
        )
    ratio = median(ours.steps_per_s / plain.steps_per_s for ours, plain in pairs)
    show(
        "rollout",
        {
            "workers": workers,
            "pairs": PAIRS,
            "raydash_env_steps_per_s": median(ours.steps_per_s for ours, _ in pairs),
            "plain_env_steps_per_s": median(plain.steps_per_s for _, plain in pairs),
            "ratio_median_of_pairs": ratio,
            "ratio_per_cpu_s_not_stolen": median(
                ours.steps_per_cpu_s(workers) / plain.steps_per_cpu_s(workers)
                for ours, plain in pairs
            ),
            "goal": GOAL,
            "raydash_machine_cpu_s": median(ours.cpu_s for ours, _ in pairs),
            "plain_machine_cpu_s": median(plain.cpu_s for _, plain in pairs),
        },
        as_json=as_json,
    )
    return 0 if ratio >= GOAL else 1


def _pair(workers: int, *, raydash_first: bool) -> tuple[Measured, Measured]:
    if raydash_first:
        ours = measure_raydash(workers)
        return ours, _plain(workers)
    plain = _plain(workers)
    return measure_raydash(workers), plain


class _Meter:
    """What the machine spent, and what was taken from it, since it was made."""

    def __init__(self) -> None:
        self._cpu_s, self._stolen_s = machine_cpu_s(), stolen_s()

    def measured(self, steps_per_s: float, seconds: float) -> Measured:
        return Measured(
            steps_per_s, machine_cpu_s() - self._cpu_s, stolen_s() - self._stolen_s, seconds
        )


def measure_raydash(workers: int, seconds: float = SECONDS) -> Measured:
    """A run of its own cluster, from when all workers step."""
    spec = spec_from_table({"rollout": {"num_workers": workers}})
    with EngineClient() as client:
        client.send(Connect(0, ClusterSpec()))
        client.send(StartRun(0, spec))
        first: RunUpdate | None = None
        meter: _Meter | None = None
        measured: Measured | None = None
        while True:
            message = client.receive(30.0)
            if isinstance(message, Answer) and message.fault is not None:
                raise FaultError(message.fault)
            if not isinstance(message, RunUpdate):
                continue
            figures = message.figures
            if first is None or meter is None:
                if (message.workers.env_steps_per_s > 0).all() and figures.elapsed_s > WARM_UP_S:
                    first, meter = message, _Meter()
            elif measured is None and figures.elapsed_s - first.figures.elapsed_s >= seconds:
                took_s = figures.elapsed_s - first.figures.elapsed_s
                steps = (
                    figures.num_env_steps_sampled_lifetime
                    - first.figures.num_env_steps_sampled_lifetime
                )
                measured = meter.measured(steps / took_s, took_s)
                client.send(CommandRun(0, message.run_id, Verb.STOP))
            if message.last and measured is not None:
                return measured


def _plain(workers: int) -> Measured:
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
    meter = _Meter()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    rate = seconds = 0.0
    for child in children:
        assert child.stdout is not None
        steps, _, _, _, took_s = child.stdout.readline().split()
        seconds = max(seconds, float(took_s))
        rate += int(steps) / float(took_s)
    measured = meter.measured(rate, seconds)
    for child in children:
        child.communicate()
    return measured
