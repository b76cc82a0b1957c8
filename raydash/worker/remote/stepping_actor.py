"""The actor around a stepping loop: `ray.remote(SteppingActor)`, one per run; it is not a worker.

It is a child of the supervisor, on the same node, and runs one call at a time on its main thread.
"""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.messages import StartRun
from raydash.protocol.codec import decode, encode
from raydash.worker.envs.environments import add_source_dirs
from raydash.worker.node.process import (
    log_paths,
    lower_priority,
    node_address,
    tag_output_and_lower_priority,
)
from raydash.worker.node.progress import ProgressWriter
from raydash.worker.remote.lockstep import ActorTransport
from raydash.worker.remote.moves import WorkerKey
from raydash.worker.remote.stepping_loop import Request, SteppingLoop
from raydash.worker.remote.tasks import TaskTransport


class Where(NamedTuple):
    """The process that a stepping loop runs in.

    Attributes:
        pid: Its process id.
        node: The node's IP address.
        node_id: Ray's id of the node, hex.
        log_paths: Its stdout and stderr files on the node.
        progress_path: The loop's own mapped file, by which a call can be asked to return early.
    """

    pid: int
    node: str
    node_id: str
    log_paths: tuple[str, ...]
    progress_path: str


class EncodedResult(NamedTuple):
    """A call's `CallResult` with its messages encoded, as it is sent."""

    opened: list[tuple[WorkerKey, str]]
    chunks: list[bytes]
    faults: list[bytes]
    lost: list[tuple[WorkerKey, Exception]]
    left: list[WorkerKey]
    costs: list[str]


class SteppingActor:
    """One incarnation of a run's stepping loop."""

    def __init__(
        self,
        start_run: bytes,
        *,
        demand: Mapping[str, float],
        run_id: str = "",
        progress_dir: str = "",
    ) -> None:
        """Make the loop, without any workers yet.

        Args:
            start_run: An encoded `StartRun`, of which the spec and the source folders are used.
            demand: The resources that a worker reserves.
            run_id: The run that the tag of its output names.
            progress_dir: Folder on this node for progress files; empty: none are written.
        """
        start: StartRun = decode(start_run)
        spec = start.spec
        tag_output_and_lower_priority(run_id, "stepping loop")
        add_source_dirs(start.source_dirs)
        folder = Path(progress_dir) if progress_dir else None
        self._progress = ProgressWriter(folder / f"loop-{os.getpid()}" if folder else None)
        self._loop = SteppingLoop(
            spec,
            start.source_dirs,
            ActorTransport()
            if spec.rollout.mode == "lockstep"
            else TaskTransport(
                spec.env, start.source_dirs, spec.rollout.info_keys, demand, run_id=run_id
            ),
            clock=time.perf_counter,
            progress=self._progress,
            progress_dir=folder,
        )
        lower_priority()

    def where(self) -> Where:
        """Return the process that the loop runs in."""
        return Where(os.getpid(), *node_address(), log_paths(), self._progress.path)

    def ping(self) -> None:
        """Show by returning that the process is alive and its main thread is free."""

    def set_policy(self, key: WorkerKey, version: PolicyVersion) -> bytes:
        """Use another policy for a worker from its next step on; return an encoded `PolicySet`."""
        return encode(self._loop.set_policy(key, version))

    def run(self, number: int, requests: list[Request], budget_s: float) -> Any:
        """Step the requested workers for about `budget_s`; return an `EncodedResult`."""
        result = self._loop.run(number, requests, budget_s)
        return EncodedResult(
            result.opened,
            [encode(chunk) for chunk in result.chunks],
            [encode(fault) for fault in result.faults],
            result.lost,
            result.left,
            result.costs,
        )
