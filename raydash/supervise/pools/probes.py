"""Measures all workers with one probe per node, once a second and off the supervisor's loop.

The supervisor's own node is read in this process. Every other node has a small actor, because
`/proc`, progress files and logs can only be read there.
"""

import contextlib
import shutil
import threading
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from typing_extensions import override

from raydash.core.clock import Clock
from raydash.core.records import ProbeReading, WorkerReady
from raydash.protocol.codec import decode
from raydash.supervise.account.roster import Probes, WorkerVitals
from raydash.worker.node.probe import UNKNOWN_PHASE, NodeProbe, ProbeActor
from raydash.worker.node.progress import Phase, ProgressReader

READ_S = 1.0
REMOTE_TIMEOUT_S = 3.0
LOG_TIMEOUT_S = 5.0


class NodeProbes(Probes):
    """Measures workers on all their nodes."""

    def __init__(self, *, clock: Clock, log_dir: Path, scratch_dir: Path) -> None:
        """Begin to measure the workers of a run.

        `clock` is the run's. Logs of workers that died are kept in `log_dir`. `scratch_dir` has the
        progress files of this node, and is removed at the end.
        """
        self._clock = clock
        self._log_dir = log_dir
        self._scratch_dir = scratch_dir
        self._own_node = ray.get_runtime_context().get_node_id()
        self._own_probe = NodeProbe()
        self._actors: dict[str, Any] = {}
        self._lock = threading.Lock()
        self._watched: dict[int, WorkerReady] = {}
        self._vitals: dict[int, WorkerVitals] = {}
        self._counters: dict[int, int] = {}
        self._stopped = threading.Event()
        threading.Thread(target=self._read_repeatedly, name="probes", daemon=True).start()

    @override
    def watch(self, ready: WorkerReady) -> None:
        with self._lock:
            self._watched[ready.worker_index] = ready

    @override
    def forget(self, worker_index: int) -> None:
        with self._lock:
            self._watched.pop(worker_index, None)
            self._vitals.pop(worker_index, None)
            self._counters.pop(worker_index, None)

    @override
    def vitals(self) -> dict[int, WorkerVitals]:
        with self._lock:
            return dict(self._vitals)

    @override
    def keep_log(self, ready: WorkerReady) -> None:
        """Keep a log, on a thread of its own because the file may be on another node."""
        threading.Thread(target=self._keep_log, args=(ready,), daemon=True).start()

    @override
    def shut_down(self) -> None:
        self._stopped.set()
        for actor in self._actors.values():
            ray.kill(actor, no_restart=True)
        shutil.rmtree(self._scratch_dir, ignore_errors=True)
        with contextlib.suppress(OSError):
            self._scratch_dir.parent.rmdir()  # unless another run uses it

    def _read_repeatedly(self) -> None:
        while not self._stopped.wait(READ_S):
            with self._lock:
                watched = list(self._watched.values())
            by_node: dict[str, list[WorkerReady]] = defaultdict(list)
            for ready in watched:
                by_node[ready.node_id].append(ready)
            for node_id, workers in by_node.items():
                reading = self._read(node_id, workers)
                if reading is not None:
                    self._store_reading(workers, reading)

    def _read(self, node_id: str, workers: list[WorkerReady]) -> ProbeReading | None:
        pids = [ready.pid for ready in workers]
        files = [ready.progress_path for ready in workers]
        if node_id in ("", self._own_node):
            return self._own_probe.read(pids, files)
        try:
            answer = ray.get(
                self._actor(node_id).read.remote(pids, files), timeout=REMOTE_TIMEOUT_S
            )
            reading: ProbeReading = decode(answer)
            return reading
        except (ray.exceptions.RayError, TimeoutError):
            self._actors.pop(node_id, None)  # its silence shows as the age of the vitals
            return None

    def _actor(self, node_id: str) -> Any:
        if node_id not in self._actors:
            strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
            self._actors[node_id] = (
                ray.remote(ProbeActor).options(num_cpus=0, scheduling_strategy=strategy).remote()
            )
        return self._actors[node_id]

    def _store_reading(self, workers: list[WorkerReady], reading: ProbeReading) -> None:
        now_s = self._clock()
        with self._lock:
            for row, ready in enumerate(workers):
                index = ready.worker_index
                if self._watched.get(index) is not ready:
                    continue
                before = self._vitals.get(index)
                counter, phase = int(reading.counter[row]), int(reading.phase[row])
                if ready.progress_node_id not in ("", ready.node_id):
                    counter, phase = _progress_here(ready.progress_path)
                moved = counter != self._counters.get(index, -1)
                self._counters[index] = counter
                self._vitals[index] = WorkerVitals(
                    read_s=now_s,
                    cpu_percent=float(reading.cpu_percent[row]),
                    rss_bytes=float(np.float64(reading.rss_bytes[row])),
                    is_resetting=phase == Phase.RESETTING,
                    moved_s=now_s if moved or before is None else before.moved_s,
                )

    def _keep_log(self, ready: WorkerReady) -> None:
        try:
            if ready.node_id in ("", self._own_node):
                tail = self._own_probe.log_tail(ready.log_paths)
            else:
                reference = self._actor(ready.node_id).log_tail.remote(ready.log_paths)
                tail = ray.get(reference, timeout=LOG_TIMEOUT_S)
            self._log_dir.mkdir(parents=True, exist_ok=True)
            stamp = time.strftime("%H%M%S")
            name = f"worker-{ready.worker_index}-life-{ready.incarnation}-{stamp}.log"
            (self._log_dir / name).write_bytes(tail)
        except (ray.exceptions.RayError, TimeoutError, OSError) as error:
            print(f"log of worker {ready.worker_index} not kept: {error}", flush=True)


def _progress_here(path: str) -> tuple[int, int]:
    """Read the counter and phase of a worker on another node whose stepping loop is on this one."""
    progress = ProgressReader(path).read()
    return (-1, UNKNOWN_PHASE) if progress is None else (progress.counter, int(progress.phase))
