"""Keeps an eye on a connected cluster: is it alive, what does it have, which runs live on it.

Two threads, because the questions differ: the guardian's files answer at once and always, the GCS
may hang for ever (assets/docs/internals/ray.md, "What ends a driver").
"""

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from raydash.cluster import launch, private_ray
from raydash.core.faults import Fault
from raydash.core.messages import ClusterStatus, RunSummary
from raydash.engine.cluster.connection import NAMESPACE, Connection
from raydash.engine.runs.live_runs import ACTOR_PREFIX
from raydash.protocol.codec import CodecError, decode

LOOK_S = 2.0
AGAIN_S = 0.25
"""After something changed: Ray needs a moment to take an ended supervisor's name away."""
ALIVE_S = 0.25
STATUS_TIMEOUT_S = 2.0
GCS_SILENT_S = 15.0


class ClusterWatch:
    """Watches one connection until the engine ends.

    Attributes:
        latency_ms: How long the newest round of supervisors took to answer; NaN before.
    """

    def __init__(
        self,
        connection: Connection,
        *,
        on_status: Callable[[ClusterStatus], None],
        on_runs: Callable[[tuple[RunSummary, ...], dict[str, Any]], None],
        on_lost: Callable[[Fault], None],
    ) -> None:
        """A watch; the callables are called on its threads.

        Args:
            connection: What to watch.
            on_status: Told when figures of the cluster changed.
            on_runs: Told the live runs and the handles of their supervisors.
            on_lost: Told once, when the cluster is gone.
        """
        self.latency_ms = float("nan")
        self._connection = connection
        self._on_status = on_status
        self._on_runs = on_runs
        self._on_lost = on_lost
        self._wake = threading.Event()
        self._answered_s = time.monotonic()
        self._handles: dict[str, Any] = {}
        self._summaries: dict[str, RunSummary] = {}
        self._lost = False

    def start(self) -> None:
        """Begin."""
        for body in (self._watch_alive, self._watch_gcs):
            threading.Thread(target=body, daemon=True).start()

    def look_now(self) -> None:
        """Something changed: do not wait for the next round."""
        self._wake.set()

    def _lose(self, fault: Fault) -> None:
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
                    f"its control store has been silent for {silent_s:.0f} s",
                    "Reconnect when it is back; what was recorded is safe",
                )
            if fault is not None:
                self._lose(fault)
            time.sleep(ALIVE_S)

    def _watch_gcs(self) -> None:
        status = self._connection.status
        has_changed = False
        while not self._lost:
            try:
                self._look_at_runs()
                fresh = self._look_at_nodes(status)
            except Exception as error:
                # Ray raises many things here while a cluster goes; the other thread judges.
                print(f"watch: {error}", flush=True)
            else:
                self._answered_s = time.monotonic()
                if fresh != status:
                    status = fresh
                    self._on_status(status)
            has_changed = self._wake.wait(AGAIN_S if has_changed else LOOK_S)
            self._wake.clear()

    def _look_at_nodes(self, status: ClusterStatus) -> ClusterStatus:
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

    def _look_at_runs(self) -> None:
        import ray

        names = {
            entry["name"]
            for entry in ray.util.list_named_actors(all_namespaces=True)
            if entry["namespace"] == NAMESPACE and entry["name"].startswith(ACTOR_PREFIX)
        }
        for name in names - set(self._handles):
            with contextlib.suppress(ValueError):  # it ended between the two questions
                self._handles[name] = ray.get_actor(name, namespace=NAMESPACE)
        for name in set(self._handles) - names:
            del self._handles[name]
            self._summaries.pop(name, None)
        asked_s = time.monotonic()
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
            self.latency_ms = (time.monotonic() - asked_s) * 1000
        for name, reference in references.items():
            if reference in ready:
                with contextlib.suppress(ray.exceptions.RayError, CodecError):
                    self._summaries[name] = decode(ray.get(reference, timeout=1.0))
        # Of a supervisor that is named but does not answer, because it is being restarted, the
        # newest word counts: its run lives.
        runs = sorted(self._summaries.values(), key=lambda run: run.run_id)
        handles = {
            name.removeprefix(ACTOR_PREFIX): handle for name, handle in self._handles.items()
        }
        self._on_runs(tuple(runs), handles)
