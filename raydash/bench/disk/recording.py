"""`raydash bench recording`: bytes per episode on disk, and what recording costs the rollouts.

For the bytes, synthetic episodes of two workers at CartPole's rate go through the real recorder,
with history buckets and a commit for every 0.7 s of the run's clock, as in a real run. The file is
measured after a checkpoint.

For the cost, pairs of real runs with and without recording alternate. They are compared by steps
per CPU second of all processes of the bench: on a busy machine recording can only cost CPU time,
and wall time depends on the host and its other guests too.
"""

import os
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from raydash.bench.own_cpu import private_folders
from raydash.bench.report import median, print_progress, print_result
from raydash.bench.rollouts.rollout import Measurement, measure_raydash
from raydash.core.history.history import History
from raydash.core.machine.requested_state import RequestedState
from raydash.core.machine.worker_record import MachineSettings
from raydash.core.records import TIME_DECIMALS, EpisodeColumns, WorkerTotals
from raydash.core.spec import RunSpec
from raydash.record.file.database import size_of
from raydash.record.file.rows import IncarnationRow, RecordBatch, RunRow
from raydash.record.write.recorder import Recorder

PAIRS = 5
SECONDS = 8.0
MAX_COST = 0.02
MAX_BYTES = {"cartpole": 16.0, "float_returns": 24.0}
MILLIONS = (1, 2)
EPISODES_PER_S = 1000
COMMIT_S = 0.7
HISTORY_S = 10.0
NUM_WORKERS = 2
_UNRECORDED = "RAYDASH_BENCH_UNRECORDED"  # read by raydash.supervise.compose


def run(*, as_json: bool) -> int:
    """Measure and print; 0 if the goals are reached, else 1."""
    figures: dict[str, object] = {}
    is_good = True
    for kind, limit in MAX_BYTES.items():
        for millions, size in zip(MILLIONS, _bytes_per_episode(kind), strict=True):
            figures[f"bytes_per_episode_{kind}_{millions}M"] = size
            is_good &= size <= limit
            print_progress(
                f"{kind}, {millions} M episodes: {size:.2f} bytes each (at most {limit:g})"
            )
        figures[f"max_bytes_per_episode_{kind}"] = limit
    cost, wall_cost = _cost()
    figures |= {
        "pairs": PAIRS,
        "seconds": SECONDS,
        "cost_median_of_pairs": cost,
        "cost_by_wall_time_median_of_pairs": wall_cost,
        "goal": MAX_COST,
    }
    print_result("recording", figures, as_json=as_json)
    return 0 if is_good and cost < MAX_COST else 1


def _bytes_per_episode(kind: str) -> list[float]:
    """Return the bytes per episode at each of `MILLIONS`, after a checkpoint."""
    with tempfile.TemporaryDirectory(prefix="rdb-", dir="/tmp") as folder:
        path = Path(folder) / "run.duckdb"
        episodes = _SyntheticEpisodes(float_returns=kind != "cartpole")
        sizes: list[float] = []
        for incarnation, millions in enumerate(MILLIONS):
            recorder = Recorder(path, clock=time.monotonic, commit_interval_s=1e-3)
            recorder.begin(
                RunRow("bench", RunSpec(), "bench", ""),
                IncarnationRow(incarnation, episodes.t_s, "", "", os.getpid()),
            )
            while episodes.count < millions * 1_000_000:
                recorder.append(episodes.batch())
                while recorder.lag_s:
                    time.sleep(1e-3)
            if not recorder.close():
                raise RuntimeError(f"the recording failed: {recorder.fault}")
            sizes.append(size_of(path) / episodes.count)
        return sizes


class _SyntheticEpisodes:
    """Makes up episodes like CartPole's, with everything that a supervisor records beside them."""

    def __init__(self, *, float_returns: bool) -> None:
        self.t_s = 0.0
        self.count = 0
        self._rng = np.random.default_rng(1)
        self._float_returns = float_returns
        self._history = History()
        self._history.widen(NUM_WORKERS)
        self._last_history_s = 0.0
        self._seq = 1
        self._totals = [WorkerTotals() for _ in range(NUM_WORKERS)]

    def batch(self) -> RecordBatch:
        """Make the batch of the next commit."""
        rng, n = self._rng, round(EPISODES_PER_S * COMMIT_S)
        start_s, self.t_s = self.t_s, self.t_s + COMMIT_S
        self._seq += 1
        lens = np.minimum(rng.geometric(1 / 22, n) + 8, 500).astype(np.int32)
        ends = np.sort(start_s + rng.random(n) * COMMIT_S).round(TIME_DECIMALS)
        episodes = EpisodeColumns(
            end_s=ends,
            worker_index=rng.integers(1, NUM_WORKERS + 1, n).astype(np.int32),
            env_index=np.zeros(n, np.int32),
            incarnation=np.zeros(n, np.int32),
            episode_return=rng.normal(size=n) if self._float_returns else lens.astype(float),
            episode_len=lens,
            ending=(rng.random(n) < 0.02).astype(np.uint8),
            duration_s=(lens * rng.normal(9e-5, 3e-6, n)).astype(np.float32),
        )
        self.count += n
        self._history.add_episodes(episodes, self._seq)
        for index in range(1, NUM_WORKERS + 1):
            is_own = episodes.worker_index == index
            steps = int(lens[is_own].sum())
            self._history.add_steps(index, start_s, self.t_s, steps, self._seq)
            before = self._totals[index - 1]
            self._totals[index - 1] = replace(
                before,
                num_env_steps=before.num_env_steps + steps,
                num_episodes=before.num_episodes + int(is_own.sum()),
                step_time_s=before.step_time_s + COMMIT_S * rng.uniform(0.5, 0.6),
                policy_time_s=before.policy_time_s + COMMIT_S * rng.uniform(0.2, 0.3),
                busy_time_s=before.busy_time_s + COMMIT_S * rng.uniform(0.98, 1.0),
            )
        rows = None
        if self.t_s - self._last_history_s >= HISTORY_S:
            self._last_history_s = self.t_s
            settle_s = MachineSettings().settle_s(NUM_WORKERS)
            rows = self._history.to_record(self.t_s - settle_s, self._seq)
        return RecordBatch(
            t_s=self.t_s,
            elapsed_s=self.t_s,
            commanded=RequestedState(NUM_WORKERS),
            episodes=episodes,
            totals=[(index, 0, totals) for index, totals in enumerate(self._totals, 1)],
            history=rows,
        )


def _cost() -> tuple[float, float]:
    """Return the share of throughput that recording costs, by CPU time and by wall time.

    Both are medians over all pairs.
    """
    workers = len(os.sched_getaffinity(0))
    with private_folders():
        costs = [_cost_of_pair(pair, workers) for pair in range(PAIRS)]
    return median(cost for cost, _ in costs), median(wall for _, wall in costs)


def _cost_of_pair(pair: int, workers: int) -> tuple[float, float]:
    sides: dict[bool, Measurement] = {}
    for recorded in (True, False) if pair % 2 == 0 else (False, True):
        # The cluster is launched for each run, and its processes inherit this.
        os.environ.pop(_UNRECORDED, None)
        if not recorded:
            os.environ[_UNRECORDED] = "1"
        try:
            sides[recorded] = measure_raydash(workers, SECONDS)
        finally:
            os.environ.pop(_UNRECORDED, None)
    on, off = sides[True], sides[False]
    cost = 1.0 - on.steps_per_cpu_s / off.steps_per_cpu_s
    wall_cost = 1.0 - on.steps_per_s / off.steps_per_s
    print_progress(
        f"pair {pair + 1}/{PAIRS}: recorded {on.steps_per_s:,.0f}, not {off.steps_per_s:,.0f}"
        f" steps/s, cost {cost:.1%} (by wall time {wall_cost:.1%})"
    )
    return cost, wall_cost
