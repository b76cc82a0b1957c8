"""What is known of each worker beside its totals: where it runs, what it does, and since when."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from typing_extensions import override

from raydash.core.history.time_shares import time_shares
from raydash.core.machine.machine import RunMachine
from raydash.core.records import WorkerReady
from raydash.core.states import Activity
from raydash.core.updates import WorkerColumns
from raydash.supervise.account.ledger import Ledger

STALL_AFTER_S = 5.0
UNREACHABLE_AFTER_S = 15.0
IDLE_AFTER_S = 0.5
"""A shorter wait, as between two generations of a fast learner, still counts as stepping."""


@dataclass(frozen=True, slots=True)
class WorkerVitals:
    """What the probe of a worker's node measured.

    Attributes:
        read_s: When it was measured, on the run's clock.
        cpu_percent: 100 is one core; NaN if unknown.
        rss_bytes: Resident memory; NaN if unknown.
        is_resetting: Whether the worker's progress file says that it is inside `env.reset`.
        moved_s: When its progress was last seen to change, on the run's clock.
    """

    read_s: float
    cpu_percent: float
    rss_bytes: float
    is_resetting: bool
    moved_s: float


class Probes(Protocol):
    """Measures the vitals of workers, on every node. No method waits."""

    def watch(self, ready: WorkerReady) -> None:
        """Begin to measure a worker."""

    def forget(self, worker_index: int) -> None:
        """Stop measuring a worker that is gone."""

    def vitals(self) -> dict[int, WorkerVitals]:
        """Return the newest vitals of every worker that is watched, by worker index."""

    def keep_log(self, ready: WorkerReady) -> None:
        """Keep the last MB of a worker's output beside the recording."""

    def shut_down(self) -> None:
        """End the probes."""


class NoProbes(Probes):
    """Measures nothing: simulated workers have no processes."""

    @override
    def watch(self, ready: WorkerReady) -> None:
        pass

    @override
    def forget(self, worker_index: int) -> None:
        pass

    @override
    def vitals(self) -> dict[int, WorkerVitals]:
        return {}

    @override
    def keep_log(self, ready: WorkerReady) -> None:
        pass

    @override
    def shut_down(self) -> None:
        pass


class Roster:
    """Knows where workers run and what they are doing, and makes the columns that readers see."""

    def __init__(self) -> None:
        self.nodes: list[str] = []
        self._ready: dict[int, WorkerReady] = {}
        self._activities: dict[int, tuple[Activity, float]] = {}

    def add(self, ready: WorkerReady) -> None:
        """Add a worker that is ready, with its process and node."""
        self._ready[ready.worker_index] = ready
        if ready.node not in self.nodes:
            self.nodes.append(ready.node)

    def remove(self, worker_index: int) -> WorkerReady | None:
        """Remove a worker that is gone, and return what was known of it."""
        return self._ready.pop(worker_index, None)

    def ready_of(self, worker_index: int) -> WorkerReady | None:
        """Return a worker's process and node; None if it is not ready."""
        return self._ready.get(worker_index)

    def columns(
        self, machine: RunMachine, ledger: Ledger, vitals: Mapping[int, WorkerVitals], t_s: float
    ) -> WorkerColumns:
        """Return the columns of all workers at `t_s`."""
        workers = [machine.workers[index] for index in sorted(machine.workers)]
        rows = np.array([worker.index - 1 for worker in workers], np.int64)
        if len(rows):
            ledger.widen(int(rows.max()) + 1)
        if any(worker.index not in self._activities for worker in workers):
            self.update_activities(machine, vitals, t_s)
        activities = [self._activities[worker.index] for worker in workers]
        totals = ledger.totals()[rows].astype(np.int64)
        grown, seconds = ledger.worker_growth(t_s)
        grown = grown[rows]
        shares = time_shares(grown).astype(np.float32)
        means, counts = ledger.recent_means()
        ready = [self._ready.get(worker.index) for worker in workers]
        seen = [vitals.get(worker.index) for worker in workers]
        return WorkerColumns(
            worker_index=(rows + 1).astype(np.int32),
            incarnation=np.array([worker.incarnation for worker in workers], np.int32),
            activity=np.array([activity for activity, _ in activities], np.uint8),
            activity_age_s=np.array([t_s - since_s for _, since_s in activities], np.float32),
            node=np.array([self.nodes.index(r.node) if r else -1 for r in ready], np.int32),
            pid=np.array([r.pid if r else 0 for r in ready], np.int32),
            seed=np.array([r.seed if r else 0 for r in ready], np.int64),
            num_env_steps=totals[:, 0].copy(),
            num_episodes=totals[:, 1].copy(),
            num_terminated=totals[:, 2].copy(),
            num_truncated=totals[:, 3].copy(),
            num_error=totals[:, 4].copy(),
            env_steps_per_s=(grown[:, 0] / max(seconds, 1e-9)).astype(np.float32),
            return_mean=means[rows],
            return_n=counts[rows].astype(np.int32),
            last_return=ledger.last_return[rows],
            partial_len=ledger.partial_len[rows],
            partial_return=ledger.partial_return[rows],
            step_time_p95_s=ledger.step_time_p95_s[rows].astype(np.float32),
            share_step=shares[:, 0].copy(),
            share_reset=shares[:, 1].copy(),
            share_policy=shares[:, 2].copy(),
            share_idle=shares[:, 3].copy(),
            cpu_percent=np.array([v.cpu_percent if v else np.nan for v in seen], np.float32),
            rss_bytes=np.array([v.rss_bytes if v else np.nan for v in seen], np.float64),
            data_age_s=(t_s - ledger.last_chunk_s[rows]).astype(np.float32),
            weights_seq_no=ledger.weights_seq_no[rows].astype(np.int32),
        )

    def update_activities(
        self, machine: RunMachine, vitals: Mapping[int, WorkerVitals], t_s: float
    ) -> None:
        """Note what each worker is doing at `t_s`, and since when.

        To be called often, whether anyone reads or not: otherwise the ages would be wrong.
        """
        patience_s = STALL_AFTER_S + 3 * machine.budget_s()
        for worker in machine.workers.values():
            activity = machine.activity_of(worker)
            since_s = t_s
            if activity is Activity.IDLE:
                if t_s - worker.heard_s < IDLE_AFTER_S:
                    activity = Activity.STEPPING
                else:
                    since_s = worker.heard_s
            elif worker.in_flight:
                seen = vitals.get(worker.index)
                silent_s = t_s - worker.heard_s
                if seen is not None and t_s - seen.read_s > UNREACHABLE_AFTER_S < silent_s:
                    activity, since_s = Activity.UNREACHABLE, seen.read_s
                elif silent_s > patience_s:
                    activity, since_s = Activity.STALLED, worker.heard_s
                elif activity is Activity.STEPPING and seen is not None and seen.is_resetting:
                    activity = Activity.RESETTING
            before = self._activities.get(worker.index)
            if before is None or before[0] is not activity:
                self._activities[worker.index] = (activity, since_s)
