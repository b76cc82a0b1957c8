"""Polls a connected cluster: whether it is alive, what it has, and which runs live on it.

There are two threads, because the guardian's files can always be read at once, while a question to
the GCS may hang without end (assets/docs/internals/ray.md, "What ends a driver").
"""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from typing_extensions import override

from raydash.cluster import launch, private_ray
from raydash.core.faults import Fault
from raydash.core.messages import ClusterStatus, RunSummary
from raydash.core.words import plain
from raydash.engine.cluster.backend import Connection, Watch
from raydash.engine.cluster.connection import ACTOR_PREFIX, NAMESPACE
from raydash.engine.cluster.worker_output import WorkerOutput
from raydash.protocol.codec import CodecError, decode

POLL_INTERVAL_S = 2.0
RECHECK_S = 0.25
"""A shorter wait after a change: Ray drops the name of an ended supervisor a moment later."""
ALIVE_POLL_S = 0.25
STATUS_TIMEOUT_S = 2.0
GCS_SILENT_S = 15.0


class ClusterWatch(Watch):
    """Watches one connection to Ray, and has the output of workers on this node logged."""

    latency_ms = float("nan")

    def __init__(
        self,
        connection: Connection,
        worker_output: WorkerOutput,
        *,
        on_status: Callable[[ClusterStatus], None],
        on_runs: Callable[[tuple[RunSummary, ...], dict[str, Any]], None],
        on_lost: Callable[[Fault], None],
    ) -> None:
        """Prepare a watch; `Backend.watch` says what it calls when."""
        self._worker_output = worker_output
        self._connection = connection
        self._on_status = on_status
        self._on_runs = on_runs
        self._on_lost = on_lost
        self._wake = threading.Event()
        self._answered_s = time.monotonic()
        self._handles: dict[str, Any] = {}
        self._summaries: dict[str, RunSummary] = {}
        self._lost = False

    @property
    @override
    def num_log_lines_folded(self) -> int:
        return self._worker_output.num_folded

    @override
    def start(self) -> None:
        self._worker_output.start()
        for body in (self._watch_alive, self._watch_gcs):
            threading.Thread(target=body, daemon=True).start()

    @override
    def poll_now(self) -> None:
        self._wake.set()

    def _report_lost(self, fault: Fault) -> None:
        if not self._lost:
            self._lost = True
            self._on_lost(fault)

    def _watch_alive(self) -> None:
        launched = self._connection.launched
        while not self._lost:
            fault = launch.why_dead(launched.folder) if launched else None
            silent_s = time.monotonic() - self._answered_s
            if fault is None and silent_s > GCS_SILENT_S:
                fault = Fault(
                    "The cluster does not answer",
                    f"its control store has been silent for {plain.rough(silent_s)}",
                    "Reconnect when it is back; what was recorded is safe",
                )
            if fault is not None:
                self._report_lost(fault)
            time.sleep(ALIVE_POLL_S)

    def _watch_gcs(self) -> None:
        status = self._connection.status
        has_changed = False
        while not self._lost:
            try:
                self._poll_runs()
                status_now = self._poll_nodes(status)
            except Exception as error:
                # Ray raises many things while a cluster ends; the other thread judges them.
                print(f"watch: {error}", flush=True)
            else:
                self._answered_s = time.monotonic()
                if status_now != status:
                    status = status_now
                    self._on_status(status)
            has_changed = self._wake.wait(RECHECK_S if has_changed else POLL_INTERVAL_S)
            self._wake.clear()

    def _poll_nodes(self, status: ClusterStatus) -> ClusterStatus:
        import ray

        nodes = [node for node in ray.nodes() if node["Alive"]]
        total: dict[str, float] = {}
        for node in nodes:
            for name, amount in node["Resources"].items():
                total[name] = total.get(name, 0.0) + amount
        free = sum(row.get("CPU", 0.0) for row in private_ray.available_per_node().values())
        return replace(
            status,
            num_nodes=len(nodes),
            num_cpus=total.get("CPU", 0.0),
            num_cpus_free=free,
            num_gpus=total.get("GPU", 0.0),
            memory_bytes=total.get("memory", 0.0),
        )

    def _poll_runs(self) -> None:
        import ray

        names = {
            entry["name"]
            for entry in ray.util.list_named_actors(all_namespaces=True)
            if entry["namespace"] == NAMESPACE and entry["name"].startswith(ACTOR_PREFIX)
        }
        for name in names - set(self._handles):
            with contextlib.suppress(ValueError):  # it ended after it was listed
                self._handles[name] = ray.get_actor(name, namespace=NAMESPACE)
        for name in set(self._handles) - names:
            del self._handles[name]
            self._summaries.pop(name, None)
        started_s = time.monotonic()
        references = {name: handle.status.remote() for name, handle in self._handles.items()}
        ready, _ = (
            ray.wait(
                list(references.values()),
                num_returns=max(1, len(references)),
                timeout=STATUS_TIMEOUT_S,
            )
            if references
            else ([], [])
        )
        if references:
            self.latency_ms = (time.monotonic() - started_s) * 1000
        for name, reference in references.items():
            if reference in ready:
                with contextlib.suppress(ray.exceptions.RayError, CodecError):
                    self._summaries[name] = decode(ray.get(reference, timeout=1.0))
        # A supervisor that is listed but does not answer is being restarted: its run lives, and
        # its last summary still counts.
        runs = sorted(self._summaries.values(), key=lambda run: run.run_id)
        handles = {
            name.removeprefix(ACTOR_PREFIX): handle for name, handle in self._handles.items()
        }
        self._on_runs(tuple(runs), handles)
