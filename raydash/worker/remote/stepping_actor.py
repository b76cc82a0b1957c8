"""The actor around a stepping loop: `ray.remote(SteppingActor)`, one per run, no row of its own.

It sits with the supervisor, whose child it is, and works one call at a time on its main thread.
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
    """Where a stepping loop works.

    Attributes:
        pid: Its process id.
        node: The node's IP address.
        node_id: Ray's id of the node, hex.
        log_paths: Its stdout and stderr files on the node.
        progress_path: Its own mapped file, for calls that are wanted back.
    """

    pid: int
    node: str
    node_id: str
    log_paths: tuple[str, ...]
    progress_path: str


class EncodedResult(NamedTuple):
    """A call's `CallResult` as it travels: messages as bytes of the codec."""

    opened: list[tuple[WorkerKey, str]]
    chunks: list[bytes]
    faults: list[bytes]
    lost: list[tuple[WorkerKey, Exception]]
    left: list[WorkerKey]
    costs: list[str]


class SteppingActor:
    """One life of the stepping loop of a run."""

    def __init__(
        self,
        order: bytes,
        *,
        demand: Mapping[str, float],
        run_id: str = "",
        progress_dir: str = "",
    ) -> None:
        """Begin with nobody.

        Args:
            order: An encoded `StartRun`: its spec and source folders are used.
            demand: What a worker reserves.
            run_id: For the tag of its output.
            progress_dir: Folder on this node for progress files; empty: none are written.
        """
        start: StartRun = decode(order)
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
        """Where it works."""
        return Where(os.getpid(), *node_address(), log_paths(), self._progress.path)

    def ping(self) -> None:
        """Answer: the process lives and its main thread is free."""

    def set_policy(self, key: WorkerKey, version: PolicyVersion) -> bytes:
        """See `SteppingLoop.set_policy`: gives an encoded `PolicySet`."""
        return encode(self._loop.set_policy(key, version))

    def run(self, number: int, orders: list[Request], budget_s: float) -> Any:
        """See `SteppingLoop.run`: gives a `EncodedResult`."""
        said = self._loop.run(number, orders, budget_s)
        return EncodedResult(
            said.opened,
            [encode(chunk) for chunk in said.chunks],
            [encode(fault) for fault in said.faults],
            said.lost,
            said.left,
            said.costs,
        )
