"""`raydash bench peers`: the same environment and policy, rolled out by other tools and by raydash.

All roll out CartPole-v1 with a random policy and a worker per core, taking turns. The peers run in
a throwaway Python environment that is made for this and removed afterwards, which takes minutes and
2 GB because RLlib and Stable-Baselines3 want PyTorch. `RAYDASH_BENCH_PEERS_PYTHON` names a Python
that has them already.
"""

import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import ray

from raydash.bench.own_cpu import private_folders
from raydash.bench.report import median, print_progress, print_result
from raydash.bench.rollouts import peer
from raydash.bench.rollouts.rollout import measure_raydash

ROUNDS = 5
SECONDS = 8.0
PYTHON = "RAYDASH_BENCH_PEERS_PYTHON"
PACKAGES = (f"ray[rllib]=={ray.__version__}", "stable-baselines3", "torch", "gymnasium")
_TIME_LIMIT_S = 180.0


def run(*, as_json: bool) -> int:
    """Measure and print; always returns 0, because there is no goal to miss."""
    workers = len(os.sched_getaffinity(0))
    rates: dict[str, list[float]] = {kind: [] for kind in ("raydash", *peer.KINDS)}
    with _python_with_peers() as python, private_folders():
        for number in range(1, ROUNDS + 1):
            for kind, measured in rates.items():
                rate = (
                    measure_raydash(workers, SECONDS).steps_per_s
                    if kind == "raydash"
                    else _measure_peer(python, kind, workers)
                )
                measured.append(rate)
                print_progress(f"round {number}/{ROUNDS}: {kind} {rate:,.0f} env steps/s")
    ours = median(rates["raydash"])
    figures: dict[str, object] = {"workers": workers, "rounds": ROUNDS, "seconds": SECONDS}
    for kind, measured in rates.items():
        figures[f"{kind}_env_steps_per_s"] = median(measured)
        if kind != "raydash":
            figures[f"raydash_over_{kind}"] = ours / median(measured)
    print_result("peers", figures, as_json=as_json)
    return 0


def _measure_peer(python: str, kind: str, workers: int) -> float:
    """Return the env steps/s of one peer, which runs in a process of its own.

    Raises:
        RuntimeError: if the peer fails, with the end of its stderr.
    """
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    # One thread of BLAS, as Ray's workers have; and without auth Ray leaves no token in ~/.ray.
    environment |= {"OMP_NUM_THREADS": "1", "RAY_AUTH_MODE": "disabled"}
    done = subprocess.run(
        [python, peer.__file__, kind, str(workers), str(SECONDS)],
        capture_output=True,
        text=True,
        env=environment,
        timeout=_TIME_LIMIT_S,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"{kind} failed:\n{done.stderr[-3000:]}")
    steps, seconds = done.stdout.split()[-2:]
    return int(steps) / float(seconds)


@contextmanager
def _python_with_peers() -> Iterator[str]:
    """Provide a Python that has the peers, making a throwaway environment if necessary."""
    if PYTHON in os.environ:
        yield os.environ[PYTHON]
        return
    with tempfile.TemporaryDirectory(prefix="rdp-", dir="/tmp") as folder:
        print_progress("installing the peers into a throwaway environment")
        venv.create(folder, with_pip=True)
        python = str(Path(folder) / "bin" / "python")
        subprocess.run(
            [python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True, stdout=sys.stderr
        )
        yield python
