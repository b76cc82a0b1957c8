"""Workers of the modes `lockstep` and `tasks`, which one stepping loop steps together.

The stepping loop is an actor on the supervisor's node. To the machine its workers are like all
others: created, asked for chunks, hurried, closed and killed. Here their requests are combined into
calls of the loop, at most two of which are in flight. A call returns a chunk for each worker that
made progress; the request of a worker that made none stays open. The environments are hosted by a
`RayPool` of environment actors, or by `TaskHosts`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import partial
from typing import Any, Protocol

import ray
from typing_extensions import override

from raydash.core.clock import Clock
from raydash.core.machine.stimuli import (
    CostFound,
    DeathCause,
    PolicyVersion,
    WorkerClosed,
    WorkerDied,
)
from raydash.core.records import PolicySet, RolloutChunk, Work, WorkerFault, WorkerReady
from raydash.protocol.codec import decode
from raydash.supervise.pools.pool import Report, WorkerPool, WorkerReport
from raydash.supervise.pools.ray_pool import PING_AFTER_S, SLOW_TO_PLACE_S, died_from
from raydash.worker.node.progress import set_call_wanted, set_hurry
from raydash.worker.remote.moves import WorkerKey
from raydash.worker.remote.ray_transport import values_of
from raydash.worker.remote.stepping_actor import EncodedResult, Where
from raydash.worker.remote.stepping_loop import Request, RequestKind

MAX_CALLS = 2
FIRST_BUDGET_S = 0.1
"""Budget of a call before any chunk was requested."""
OVERDUE_S = 5.0
"""A call that is out for this long after its budget hangs: only a policy can block the loop."""


class EnvHosts(Protocol):
    """Hosts environments, which the stepping loop steps. Like a `WorkerPool` without chunks."""

    def create(self, worker_index: int, incarnation: int) -> None:
        """Create an environment's host: reports `WorkerReady` or `WorkerDied`."""

    def handle_of(self, worker_index: int, incarnation: int) -> Any:
        """Return what the stepping loop sends moves to; None if there is no such process."""

    def note_alive(self, worker_index: int, incarnation: int) -> None:
        """Note that the environment has just replied to the stepping loop."""

    def report_lost(self, worker_index: int, incarnation: int, error: Exception) -> None:
        """Report as `WorkerDied` an environment that the stepping loop lost with `error`."""

    def close_worker(self, worker_index: int, incarnation: int) -> None:
        """Close an environment: reports `WorkerClosed` or `WorkerDied`."""

    def kill(self, worker_index: int, incarnation: int) -> None:
        """End a host at once: reports `WorkerDied`."""

    def collect(self) -> list[WorkerReport]:
        """Return everything since the last call. Never waits."""

    def waiting(self, silent: Iterable[int]) -> dict[int, str | None]:
        """Return who may be waiting for a place in the cluster, by worker index.

        The values are actor ids, or None without an actor. `silent` are workers from which the
        stepping loop has been waiting for a reply for long.
        """

    def shut_down(self) -> None:
        """End all hosts that are left."""


class _WorkerState(Enum):
    STARTING = auto()
    """Its host is not ready yet."""
    OPENING = auto()
    """The loop has to open its environment."""
    LIVE = auto()
    LEAVING = auto()
    """The loop has to finish with it before it can be closed."""
    LOST = auto()
    """The loop has lost it, and its host is asked what happened."""
    CLOSING = auto()


@dataclass(slots=True)
class _Worker:
    version: PolicyVersion
    state: _WorkerState = _WorkerState.STARTING
    ready: WorkerReady | None = None
    num_requests: int = 0
    num_open_calls: int = 0
    """How many calls in flight include it."""
    drain: bool = False
    last_reply_s: float = 0.0
    """When it last replied, or was asked for something again after a pause."""

    @property
    def is_awaited(self) -> bool:
        """Whether a reply of its environment is awaited."""
        return self.state is _WorkerState.OPENING or (
            self.state is _WorkerState.LIVE and self.num_requests > 0
        )


@dataclass(slots=True)
class _Call:
    number: int
    requests: list[Request]
    overdue_s: float


@dataclass(slots=True)
class _Loop:
    """One incarnation of the stepping loop."""

    handle: Any
    where_ref: Any
    where: Where | None = None
    calls: dict[Any, _Call] = field(default_factory=dict)
    num_calls: int = 0
    ping_ref: Any = None
    policy_refs: set[Any] = field(default_factory=set)
    last_reply_s: float = 0.0

    @property
    def refs(self) -> list[Any]:
        """The references of all calls that are out."""
        others = [self.where_ref if self.where is None else None, self.ping_ref]
        return [*self.calls, *self.policy_refs, *(ref for ref in others if ref is not None)]


class SteppingPool(WorkerPool):
    """Runs workers that one loop steps together.

    `make_loop` creates the actor of a stepping loop, which is on the node `node_id` (hex).
    """

    def __init__(
        self, hosts: EnvHosts, make_loop: Callable[[], Any], *, node_id: str, clock: Clock
    ) -> None:
        self._hosts = hosts
        self._make_loop = make_loop
        self._node_id = node_id
        self._clock = clock
        self._loop: _Loop | None = None
        self._workers: dict[WorkerKey, _Worker] = {}
        self._to_forget: list[WorkerKey] = []
        self._budget_s = FIRST_BUDGET_S
        self._reports: list[Report] = []
        self._reasons: dict[int, str] = {}

    # --- as a WorkerPool ----------------------------------------------------------------------

    @override
    def create(self, worker_index: int, incarnation: int, version: PolicyVersion) -> None:
        self._workers[worker_index, incarnation] = _Worker(version)
        self._hosts.create(worker_index, incarnation)
        self._ensure_loop()  # its process starts while environments do

    @override
    def set_policy(self, worker_index: int, incarnation: int, version: PolicyVersion) -> None:
        """Give another policy to the loop, which holds all policies and swaps between two calls."""
        loop = self._ensure_loop()
        loop.policy_refs.add(loop.handle.set_policy.remote((worker_index, incarnation), version))

    @override
    def request(
        self,
        worker_index: int,
        incarnation: int,
        budget_s: float,
        *,
        drain: bool,
        work: Work | None = None,
        parameters: Any = None,
    ) -> None:
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None:
            if not worker.num_requests:
                worker.last_reply_s = self._clock()
            worker.num_requests += 1
            worker.drain = drain
            self._budget_s = budget_s

    @override
    def pending_refs(self) -> Sequence[Any]:
        return ()

    @override
    def hurry(self, worker_index: int, incarnation: int, *, wanted: bool) -> None:
        """Cut chunks short, which always works: the stepping loop is on this node."""
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None and worker.ready is not None:
            set_hurry(worker.ready.progress_path, wanted)

    @override
    def close_worker(self, worker_index: int, incarnation: int) -> None:
        """Close a worker; a last chunk of it may come before the report."""
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None:
            worker.state = _WorkerState.LEAVING

    @override
    def kill(self, worker_index: int, incarnation: int) -> None:
        """End a worker, and the stepping loop as well if that is what hangs."""
        key = (worker_index, incarnation)
        if key not in self._workers:
            return
        self._end(key)
        died = WorkerDied(worker_index, incarnation, DeathCause.KILLED, "killed by raydash")
        self._reports.append(died)
        loop, now_s = self._loop, self._clock()
        if loop is not None and any(call.overdue_s < now_s for call in loop.calls.values()):
            ray.kill(loop.handle, no_restart=True)
            text = "its stepping loop hung and was ended: does the policy come back?"
            self._on_loop_died(
                lambda index, incarnation: WorkerDied(index, incarnation, DeathCause.KILLED, text)
            )

    @override
    def collect(self) -> list[Report]:
        self._on_host_reports(self._hosts.collect())
        if self._loop is not None:
            self._collect_from_loop(self._loop)
        if self._loop is not None:
            self._send_calls(self._loop)
            self._ping_if_quiet(self._loop)
        reports, self._reports = self._reports, []
        return reports

    def waiting(self) -> dict[int, str | None]:
        """Return actor ids (or None) of workers that may wait for a place, by worker index."""
        late_s = self._clock() - SLOW_TO_PLACE_S
        workers = list(self._workers.items())
        return self._hosts.waiting(
            [
                index
                for (index, _), worker in workers
                if worker.is_awaited and worker.last_reply_s < late_s
            ]
        )

    def set_pending_reasons(self, reasons: dict[int, str]) -> None:
        """Set why workers wait; it is looked up on another thread, because asking Ray may block."""
        self._reasons = reasons

    @override
    def pending_reasons(self) -> dict[int, str]:
        return self._reasons

    @override
    def shut_down(self) -> None:
        if self._loop is not None:
            ray.kill(self._loop.handle, no_restart=True)
            self._loop = None
        self._hosts.shut_down()
        self._workers.clear()
        self._reports.clear()

    # --- hosts --------------------------------------------------------------------------------

    def _on_host_reports(self, reports: Iterable[WorkerReport]) -> None:
        for report in reports:
            key = (report.worker_index, report.incarnation)
            worker = self._workers.get(key)
            if worker is None:
                continue  # it was ended here, which is already reported
            match report:
                case WorkerReady():
                    worker.ready = report
                    worker.state = _WorkerState.OPENING
                    worker.last_reply_s = self._clock()
                    self._ensure_loop()
                case WorkerClosed() | WorkerDied():
                    self._forget(key)
                    self._reports.append(report)
                case RolloutChunk() | PolicySet():
                    raise AssertionError("hosts are asked for no chunks and have no policy")

    def _end(self, key: WorkerKey) -> None:
        """End a worker; the caller reports it, not the host."""
        self._forget(key)
        self._hosts.kill(*key)

    def _forget(self, key: WorkerKey) -> None:
        del self._workers[key]
        self._to_forget.append(key)

    # --- the loop -----------------------------------------------------------------------------

    def _ensure_loop(self) -> _Loop:
        if self._loop is None:
            handle = self._make_loop()
            self._loop = _Loop(handle, handle.where.remote(), last_reply_s=self._clock())
        return self._loop

    def _collect_from_loop(self, loop: _Loop) -> None:
        refs = loop.refs
        if not refs:
            return
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref, value in zip(ready, values_of(ready), strict=True):
            if isinstance(value, Exception):
                self._on_loop_died(partial(_loop_died, value))
                return
            loop.last_reply_s = self._clock()
            if ref == loop.where_ref:
                loop.where = value
            elif ref == loop.ping_ref:
                loop.ping_ref = None
            elif ref in loop.policy_refs:
                loop.policy_refs.remove(ref)
                self._reports.append(decode(value))
            else:
                self._on_call_result(loop.calls.pop(ref), value)

    def _on_loop_died(self, died: Callable[[int, int], WorkerDied]) -> None:
        """Report all workers of the loop as dead; those whose hosts still start join the next."""
        self._loop = None
        self._to_forget.clear()
        for key, worker in list(self._workers.items()):
            if worker.state in (_WorkerState.STARTING, _WorkerState.LOST, _WorkerState.CLOSING):
                continue
            self._end(key)
            self._reports.append(died(*key))
        self._to_forget.clear()
        if self._workers:
            self._ensure_loop()

    def _on_call_result(self, call: _Call, result: EncodedResult) -> None:
        for request in call.requests:
            worker = self._workers.get(request.key)
            if worker is not None:
                worker.num_open_calls -= 1
        for payload in result.chunks:
            self._on_chunk(decode(payload))
        for key, progress_path in result.opened:
            self._on_opened(key, progress_path)
        for payload in result.faults:
            self._on_fault(decode(payload))
        for key in result.left:
            if (worker := self._workers.get(key)) is not None:
                worker.state = _WorkerState.CLOSING
                self._hosts.close_worker(*key)
        for key, error in result.lost:
            if (worker := self._workers.get(key)) is not None:
                worker.state = _WorkerState.LOST
                self._hosts.report_lost(*key, error)
        self._reports.extend(CostFound(text) for text in result.costs)

    def _on_chunk(self, chunk: RolloutChunk) -> None:
        key = (chunk.worker_index, chunk.incarnation)
        worker = self._workers.get(key)
        if worker is None:
            return
        if worker.state is _WorkerState.LIVE:
            worker.num_requests -= 1
        worker.last_reply_s = self._clock()
        self._hosts.note_alive(*key)
        self._reports.append(chunk)

    def _on_opened(self, key: WorkerKey, progress_path: str) -> None:
        worker = self._workers.get(key)
        if worker is None or worker.ready is None:
            return
        where = self._loop.where if self._loop is not None else None
        worker.ready = replace(
            worker.ready,
            progress_path=progress_path,
            progress_node_id=self._node_id,
            # Without a process of its own it has no log; the loop's is the closest there is.
            log_paths=worker.ready.log_paths or (where.log_paths if where else ()),
        )
        if worker.state is _WorkerState.OPENING:
            worker.state = _WorkerState.LIVE
            worker.last_reply_s = self._clock()
        self._reports.append(worker.ready)

    def _on_fault(self, report: WorkerFault) -> None:
        key = (report.worker_index, report.incarnation)
        if key not in self._workers:
            return
        self._end(key)
        fault = report.fault
        text = f"{fault.what}: {fault.why}" if fault.why else fault.what
        died = WorkerDied(*key, DeathCause.COULD_NOT_START, text, fault.detail)
        self._reports.append(died)

    def _send_calls(self, loop: _Loop) -> None:
        """Send every request that is in no call, and end a call early if workers wait for one."""
        if loop.calls and loop.where is not None and any(map(_needs_call, self._workers.values())):
            set_call_wanted(loop.where.progress_path, loop.num_calls)
        while len(loop.calls) < MAX_CALLS:
            requests = [Request(key, RequestKind.FORGET) for key in self._to_forget]
            self._to_forget.clear()
            for key, worker in self._workers.items():
                kind = _request_kind(worker)
                if kind is not None:
                    handle = self._hosts.handle_of(*key) if kind is RequestKind.OPEN else None
                    requests.append(Request(key, kind, handle, worker.version))
                    worker.num_open_calls += 1
            if not requests:
                return
            loop.num_calls += 1
            ref = loop.handle.run.remote(loop.num_calls, requests, self._budget_s)
            ahead_s = (len(loop.calls) + 1) * self._budget_s
            loop.calls[ref] = _Call(loop.num_calls, requests, self._clock() + ahead_s + OVERDUE_S)

    def _ping_if_quiet(self, loop: _Loop) -> None:
        """Ping a quiet loop: while all workers are paused, nothing else would show its death."""
        quiet_s = self._clock() - loop.last_reply_s
        if not loop.refs and self._workers and quiet_s > PING_AFTER_S:
            loop.ping_ref = loop.handle.ping.remote()


def _needs_call(worker: _Worker) -> bool:
    """Return whether a worker has something to ask of the loop and is in no call."""
    return worker.num_open_calls == 0 and _request_kind(worker) is not None


def _request_kind(worker: _Worker) -> RequestKind | None:
    match worker.state:
        case _WorkerState.OPENING if not worker.num_open_calls:
            return RequestKind.OPEN
        case _WorkerState.LEAVING if not worker.num_open_calls:
            return RequestKind.LEAVE
        case _WorkerState.LIVE if worker.num_requests > worker.num_open_calls:
            return RequestKind.DRAIN if worker.drain else RequestKind.STEP
    return None


def _loop_died(error: Exception, worker_index: int, incarnation: int) -> WorkerDied:
    died = died_from(error, worker_index, incarnation)
    return replace(died, text=f"its stepping loop is gone: {died.text}")
