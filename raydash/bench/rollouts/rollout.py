"""`raydash bench rollout`: what monitoring costs the rollouts.

Two sides take turns. One is CartPole-v1 under raydash, with a real cluster, supervisor, engine,
recording, and a terminal that reads ten updates a second. The other is the same loop in as many
plain processes of the same nice level, with the cluster ended. Both are timed from the moment when
all workers step; `bench startup` measures how long that takes. There are three loops: one
environment with random actions, one with an MLP, and 64 environments in their own vector form.

Both sides keep the machine busy, so throughput means steps per CPU second. The goal is for that
ratio, because it counts all processes of the bench and no others, while wall time on a virtual
machine depends on what its host leaves. Both ratios are shown.
"""

import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from raydash.bench.own_cpu import OwnCpu, private_folders
from raydash.bench.report import median, print_progress, print_result, stolen_s
from raydash.bench.rollouts.plain_loop import ENV_ID, NUM_ENVS
from raydash.core.faults import FaultError
from raydash.core.messages import Answer, CommandRun, Connect, StartRun, Verb
from raydash.core.spec import ClusterSpec
from raydash.core.spec_rules import spec_from_table
from raydash.core.updates import RunUpdate
from raydash.terminal.engine_client import EngineClient
from raydash.worker.policies.weights import Weights, write_weights

PAIRS = 7
SECONDS = 8.0
WARM_UP_S = 1.0
RAY_WORKER_NICE = 15
GOAL = 0.95
MLP_SIZES = (4, 64, 64, 2)


@dataclass(frozen=True, slots=True)
class Case:
    """One loop that is measured on both sides.

    Attributes:
        kind: KIND of the plain loop.
        table: Spec table of the run under raydash; the rest are defaults.
        weights: File of the MLP; empty if there is none.
    """

    kind: str
    table: dict[str, Any]
    weights: str = ""


@dataclass(frozen=True, slots=True)
class Measurement:
    """What was measured on one side of a pair.

    Attributes:
        steps_per_s: Env steps per second of all workers together.
        cpu_s: CPU seconds that all processes of the bench spent.
        stolen_s: CPU seconds, over all cores, that the machine's host gave to other machines.
        seconds: How long the measurement took.
    """

    steps_per_s: float
    cpu_s: float
    stolen_s: float
    seconds: float

    @property
    def steps_per_cpu_s(self) -> float:
        """Env steps per CPU second that was spent."""
        return self.steps_per_s * self.seconds / self.cpu_s


def run(*, as_json: bool) -> int:
    """Measure and print; 0 if the goals are reached, else 1."""
    figures: dict[str, object] = {
        "workers": len(os.sched_getaffinity(0)),
        "pairs": PAIRS,
        "seconds": SECONDS,
        "goal": GOAL,
    }
    is_good = True
    with private_folders(), tempfile.TemporaryDirectory(prefix="rdb-", dir="/tmp") as folder:
        for case in _cases(Path(folder)):
            found = _measure(case)
            figures |= found
            ratio = found[f"{case.kind}_ratio_per_cpu_s"]
            is_good &= isinstance(ratio, float) and ratio >= GOAL
    print_result("rollout", figures, as_json=as_json)
    return 0 if is_good else 1


def _cases(folder: Path) -> tuple[Case, ...]:
    path = folder / "mlp.npz"
    rng = np.random.default_rng(0)
    layers = tuple(
        (rng.normal(size=(before, after)) / np.sqrt(before), rng.normal(size=after) / 10)
        for before, after in pairwise(MLP_SIZES)
    )
    write_weights(path, Weights(layers, np.zeros(MLP_SIZES[0]), np.ones(MLP_SIZES[0])))
    mlp = {"policy": {"kind": "mlp", "path": str(path)}}
    many = {"num_envs_per_worker": NUM_ENVS, "vectorization": "vector_entry_point"}
    return (Case("random", {}), Case("mlp", mlp, str(path)), Case("make_vec", {"rollout": many}))


def _measure(case: Case) -> dict[str, object]:
    workers = len(os.sched_getaffinity(0))
    pairs: list[tuple[Measurement, Measurement]] = []
    for number in range(1, PAIRS + 1):
        if number % 2:
            ours = measure_raydash(workers, table=case.table)
            plain = _measure_plain_loop(case, workers)
        else:
            plain = _measure_plain_loop(case, workers)
            ours = measure_raydash(workers, table=case.table)
        pairs.append((ours, plain))
        print_progress(
            f"{case.kind} {number}/{PAIRS}: raydash {ours.steps_per_s:,.0f}, "
            f"plain {plain.steps_per_s:,.0f} steps/s, "
            f"ratio {ours.steps_per_s / plain.steps_per_s:.3f}, "
            f"per CPU second {ours.steps_per_cpu_s / plain.steps_per_cpu_s:.3f}, "
            f"stolen {ours.stolen_s:.1f} and {plain.stolen_s:.1f} s"
        )
    figures = {
        "raydash_env_steps_per_s": median(ours.steps_per_s for ours, _ in pairs),
        "plain_env_steps_per_s": median(plain.steps_per_s for _, plain in pairs),
        "ratio": median(ours.steps_per_s / plain.steps_per_s for ours, plain in pairs),
        "ratio_per_cpu_s": median(
            ours.steps_per_cpu_s / plain.steps_per_cpu_s for ours, plain in pairs
        ),
    }
    return {f"{case.kind}_{name}": value for name, value in figures.items()}


class _Meter:
    """Measures the CPU time that is spent and stolen from its creation on."""

    def __init__(self) -> None:
        self._cpu, self._stolen_s = OwnCpu(), stolen_s()

    def measured(self, steps_per_s: float, seconds: float) -> Measurement:
        return Measurement(steps_per_s, self._cpu.spent_s(), stolen_s() - self._stolen_s, seconds)


def measure_raydash(
    workers: int, seconds: float = SECONDS, table: dict[str, Any] | None = None
) -> Measurement:
    """Measure a run on a cluster of its own, from the moment when all workers step.

    `table` is what the spec changes of a default run. To be called within `private_folders`.
    """
    table = table or {}
    rollout = {**table.get("rollout", {}), "num_workers": workers}
    spec = spec_from_table({"env": {"id": ENV_ID}, **table, "rollout": rollout})
    with EngineClient() as client:
        client.send(Connect(0, ClusterSpec()))
        client.send(StartRun(0, spec))
        first: RunUpdate | None = None
        meter: _Meter | None = None
        measured: Measurement | None = None
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


def _measure_plain_loop(case: Case, workers: int) -> Measurement:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    # Ray gives its workers one thread of BLAS; the plain loop gets the same.
    environment["OMP_NUM_THREADS"] = "1"
    command = [sys.executable, "-m", "raydash.bench.rollouts.plain_loop", str(SECONDS)]
    children = [
        subprocess.Popen(
            [*command, str(index), str(RAY_WORKER_NICE), case.kind, case.weights],
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
    before_s = _cpu_s_of(children)
    stolen_before_s = stolen_s()
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
    measured = Measurement(
        rate, _cpu_s_of(children) - before_s, stolen_s() - stolen_before_s, seconds
    )
    for child in children:
        child.communicate()
    return measured


def _cpu_s_of(children: list["subprocess.Popen[str]"]) -> float:
    """Return the CPU seconds of plain loops, which must not have been waited for yet."""
    total = 0.0
    for child in children:
        times = psutil.Process(child.pid).cpu_times()
        total += times.user + times.system
    return total
