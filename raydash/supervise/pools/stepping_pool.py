"""Workers of the modes `lockstep` and `tasks`: seats at one stepping loop, an actor beside us.

To the machine they are workers like all others: created, asked for slices, hurried, closed, killed.
Here their requests are gathered into calls of the loop, at most two of which are in flight; a call
gives back a chunk for each worker that made progress, and a worker that gave none keeps its request
outstanding. Where an environment lives (its *home*) is a `RayPool` of environment actors, or
`Slots`.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum, auto
from functools import partial
from typing import Any, Protocol

import ray
from typing_extensions import override

from raydash.core.clock import Clock
from raydash.core.machine.stimuli import DeathCause, PolicyVersion
from raydash.core.records import PolicySet, RolloutChunk, Work, WorkerFault, WorkerReady
from raydash.protocol.codec import decode
from raydash.supervise.pools.pool import Closed, CostFound, Died, Report, WorkerPool, WorkerReport
from raydash.supervise.pools.ray_pool import PING_AFTER_S, SLOW_TO_PLACE_S, died_from
from raydash.worker.node.progress import set_call_wanted, set_hurry
from raydash.worker.remote.moves import WorkerKey
from raydash.worker.remote.ray_transport import values_of
from raydash.worker.remote.stepping_actor import EncodedResult, Where
from raydash.worker.remote.stepping_loop import Request, RequestKind

MAX_CALLS = 2
FIRST_BUDGET_S = 0.1
"""Of a call before anybody has asked for a slice."""
OVERDUE_S = 5.0
"""A call that is out for so long after its budget hangs: nothing in the loop waits but a policy."""


class EnvHosts(Protocol):
    """Where environments live: as a `WorkerPool`, but nobody is asked for slices."""

    def create(self, worker_index: int, incarnation: int) -> None:
        """Reports `WorkerReady` or `Died`."""

    def handle_of(self, worker_index: int, incarnation: int) -> Any:
        """What the stepping loop sends moves to, if the environment has a process of its own."""

    def note_heard(self, worker_index: int, incarnation: int) -> None:
        """The environment has just answered the stepping loop."""

    def ask_after(self, worker_index: int, incarnation: int, error: Exception) -> None:
        """The stepping loop lost it: reports `Died`."""

    def close_worker(self, worker_index: int, incarnation: int) -> None:
        """Reports `Closed` or `Died`."""

    def kill(self, worker_index: int, incarnation: int) -> None:
        """Reports `Died`."""

    def collect(self) -> list[WorkerReport]:
        """Everything since the last call. Never waits."""

    def waiting(self, silent: Iterable[int]) -> dict[int, str | None]:
        """Actor ids of those that may wait for a place, by worker index; None: it has no actor.

        Args:
            silent: Workers of whom the stepping loop has long waited to hear.
        """

    def shut_down(self) -> None:
        """End all that is left."""


class _Phase(Enum):
    STARTING = auto()
    """Its home is not ready."""
    OPENING = auto()
    """The loop is to open its environment."""
    LIVE = auto()
    LEAVING = auto()
    """The loop is to bring it to rest."""
    LOST = auto()
    """The loop knows it no longer; its home is asked what happened."""
    CLOSING = auto()


@dataclass(slots=True)
class _Worker:
    version: PolicyVersion
    phase: _Phase = _Phase.STARTING
    ready: WorkerReady | None = None
    num_requests: int = 0
    num_called: int = 0
    """Calls in flight that are about it."""
    drain: bool = False
    heard_s: float = 0.0
    """When it last had what it asked for, or was asked for something after a rest."""

    @property
    def awaits(self) -> bool:
        """Something is asked of its environment."""
        return self.phase is _Phase.OPENING or (self.phase is _Phase.LIVE and self.num_requests > 0)


@dataclass(slots=True)
class _Call:
    number: int
    requests: list[Request]
    overdue_s: float


@dataclass(slots=True)
class _Loop:
    """One life of the stepping loop."""

    handle: Any
    where_ref: Any
    where: Where | None = None
    calls: dict[Any, _Call] = field(default_factory=dict)
    num_calls: int = 0
    ping_ref: Any = None
    policy_refs: set[Any] = field(default_factory=set)
    heard_s: float = 0.0

    @property
    def refs(self) -> list[Any]:
        """Everything that is out."""
        others = [self.where_ref if self.where is None else None, self.ping_ref]
        return [*self.calls, *self.policy_refs, *(ref for ref in others if ref is not None)]


class SteppingPool(WorkerPool):
    """A `WorkerPool` whose workers are stepped by one loop.

    Args of the constructor:
        hosts: Of the environments.
        make_loop: Creates the actor of a stepping loop.
        node_id: The node that it is on, hex.
        clock: Monotonic.
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
        self._forgotten: list[WorkerKey] = []
        self._budget_s = FIRST_BUDGET_S
        self._reports: list[Report] = []
        self._reasons: dict[int, str] = {}

    # --- as a WorkerPool ----------------------------------------------------------------------

    @override
    def create(self, worker_index: int, incarnation: int, version: PolicyVersion) -> None:
        self._workers[worker_index, incarnation] = _Worker(version)
        self._hosts.create(worker_index, incarnation)
        self._the_loop()  # its process starts while environments do

    @override
    def set_policy(self, worker_index: int, incarnation: int, version: PolicyVersion) -> None:
        """The loop has the policies; it is told between two calls."""
        loop = self._the_loop()
        loop.policy_refs.add(loop.handle.set_policy.remote((worker_index, incarnation), version))

    @override
    def request(self, worker_index: int, incarnation: int, budget_s: float, *, drain: bool) -> None:
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None:
            if not worker.num_requests:
                worker.heard_s = self._clock()
            worker.num_requests += 1
            worker.drain = drain
            self._budget_s = budget_s

    @override
    def play(
        self, worker_index: int, incarnation: int, budget_s: float, work: Work, parameters: Any
    ) -> None:
        """A spec that asks for learning in these modes is refused."""
        raise AssertionError("candidates are played by workers of the mode actors")

    @override
    def pending(self) -> Sequence[Any]:
        return ()

    @override
    def hurry(self, worker_index: int, incarnation: int, *, wanted: bool) -> None:
        """The stepping loop is on this node, wherever the environment is."""
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None and worker.ready is not None:
            set_hurry(worker.ready.progress_path, wanted)

    @override
    def close_worker(self, worker_index: int, incarnation: int) -> None:
        """A last chunk may come before the report."""
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None:
            worker.phase = _Phase.LEAVING

    @override
    def kill(self, worker_index: int, incarnation: int) -> None:
        """If it is the loop that hangs, that is ended too."""
        key = (worker_index, incarnation)
        if key not in self._workers:
            return
        self._drop(key)
        died = Died(worker_index, incarnation, DeathCause.KILLED, "killed by raydash")
        self._reports.append(died)
        loop, now_s = self._loop, self._clock()
        if loop is not None and any(call.overdue_s < now_s for call in loop.calls.values()):
            ray.kill(loop.handle, no_restart=True)
            text = "its stepping loop hung and was ended: does the policy come back?"
            self._lose_loop(lambda index, life: Died(index, life, DeathCause.KILLED, text))

    @override
    def collect(self) -> list[Report]:
        self._take_host_reports(self._hosts.collect())
        if self._loop is not None:
            self._take_loop(self._loop)
        if self._loop is not None:
            self._send_calls(self._loop)
            self._ping_if_quiet(self._loop)
        reports, self._reports = self._reports, []
        return reports

    def waiting(self) -> dict[int, str | None]:
        """See `EnvHosts`."""
        late_s = self._clock() - SLOW_TO_PLACE_S
        seats = list(self._workers.items())
        return self._hosts.waiting(
            [index for (index, _), worker in seats if worker.awaits and worker.heard_s < late_s]
        )

    def set_pending_reasons(self, reasons: dict[int, str]) -> None:
        """See `RayPool`."""
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

    def _take_host_reports(self, reports: Iterable[WorkerReport]) -> None:
        for report in reports:
            key = (report.worker_index, report.incarnation)
            worker = self._workers.get(key)
            if worker is None:
                continue  # we ended it ourselves, and have said so
            match report:
                case WorkerReady():
                    worker.ready = report
                    worker.phase = _Phase.OPENING
                    worker.heard_s = self._clock()
                    self._the_loop()
                case Closed() | Died():
                    self._forget(key)
                    self._reports.append(report)
                case RolloutChunk() | PolicySet():
                    raise AssertionError("hosts are asked for no chunks and have no policy")

    def _drop(self, key: WorkerKey) -> None:
        """End a worker whose end was, or will be, reported by us."""
        self._forget(key)
        self._hosts.kill(*key)

    def _forget(self, key: WorkerKey) -> None:
        del self._workers[key]
        self._forgotten.append(key)

    # --- the loop -----------------------------------------------------------------------------

    def _the_loop(self) -> _Loop:
        if self._loop is None:
            handle = self._make_loop()
            self._loop = _Loop(handle, handle.where.remote(), heard_s=self._clock())
        return self._loop

    def _take_loop(self, loop: _Loop) -> None:
        refs = loop.refs
        if not refs:
            return
        ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
        for ref, value in zip(ready, values_of(ready), strict=True):
            if isinstance(value, Exception):
                self._lose_loop(partial(_loop_died, value))
                return
            loop.heard_s = self._clock()
            if ref == loop.where_ref:
                loop.where = value
            elif ref == loop.ping_ref:
                loop.ping_ref = None
            elif ref in loop.policy_refs:
                loop.policy_refs.remove(ref)
                self._reports.append(decode(value))
            else:
                self._take_result(loop.calls.pop(ref), value)

    def _lose_loop(self, died: Callable[[int, int], Died]) -> None:
        """All its workers are gone; those whose hosts are on their way join the next."""
        self._loop = None
        self._forgotten.clear()
        for key, worker in list(self._workers.items()):
            if worker.phase in (_Phase.STARTING, _Phase.LOST, _Phase.CLOSING):
                continue
            self._drop(key)
            self._reports.append(died(*key))
        self._forgotten.clear()
        if self._workers:
            self._the_loop()

    def _take_result(self, call: _Call, result: EncodedResult) -> None:
        for request in call.requests:
            worker = self._workers.get(request.key)
            if worker is not None:
                worker.num_called -= 1
        for payload in result.chunks:
            self._take_chunk(decode(payload))
        for key, progress_path in result.opened:
            self._take_opened(key, progress_path)
        for payload in result.faults:
            self._take_fault(decode(payload))
        for key in result.left:
            if (worker := self._workers.get(key)) is not None:
                worker.phase = _Phase.CLOSING
                self._hosts.close_worker(*key)
        for key, error in result.lost:
            if (worker := self._workers.get(key)) is not None:
                worker.phase = _Phase.LOST
                self._hosts.ask_after(*key, error)
        self._reports.extend(CostFound(text) for text in result.costs)

    def _take_chunk(self, chunk: RolloutChunk) -> None:
        key = (chunk.worker_index, chunk.incarnation)
        worker = self._workers.get(key)
        if worker is None:
            return
        if worker.phase is _Phase.LIVE:
            worker.num_requests -= 1
        worker.heard_s = self._clock()
        self._hosts.note_heard(*key)
        self._reports.append(chunk)

    def _take_opened(self, key: WorkerKey, progress_path: str) -> None:
        worker = self._workers.get(key)
        if worker is None or worker.ready is None:
            return
        where = self._loop.where if self._loop is not None else None
        worker.ready = replace(
            worker.ready,
            progress_path=progress_path,
            progress_node_id=self._node_id,
            # An environment without a process prints where its tasks do; the loop has more to say.
            log_paths=worker.ready.log_paths or (where.log_paths if where else ()),
        )
        if worker.phase is _Phase.OPENING:
            worker.phase = _Phase.LIVE
            worker.heard_s = self._clock()
        self._reports.append(worker.ready)

    def _take_fault(self, said: WorkerFault) -> None:
        key = (said.worker_index, said.incarnation)
        if key not in self._workers:
            return
        self._drop(key)
        fault = said.fault
        text = f"{fault.what}: {fault.why}" if fault.why else fault.what
        died = Died(*key, DeathCause.COULD_NOT_START, text, fault.detail)
        self._reports.append(died)

    def _send_calls(self, loop: _Loop) -> None:
        """Bring every request that is in no call on its way; who waits for a call gets one now."""
        if loop.calls and loop.where is not None and any(map(_waits, self._workers.values())):
            set_call_wanted(loop.where.progress_path, loop.num_calls)
        while len(loop.calls) < MAX_CALLS:
            requests = [Request(key, RequestKind.FORGET) for key in self._forgotten]
            self._forgotten.clear()
            for key, worker in self._workers.items():
                kind = _request_kind(worker)
                if kind is not None:
                    handle = self._hosts.handle_of(*key) if kind is RequestKind.OPEN else None
                    requests.append(Request(key, kind, handle, worker.version))
                    worker.num_called += 1
            if not requests:
                return
            loop.num_calls += 1
            ref = loop.handle.run.remote(loop.num_calls, requests, self._budget_s)
            ahead_s = (len(loop.calls) + 1) * self._budget_s
            loop.calls[ref] = _Call(loop.num_calls, requests, self._clock() + ahead_s + OVERDUE_S)

    def _ping_if_quiet(self, loop: _Loop) -> None:
        """While all are paused no call is out, so nothing would tell of its death."""
        quiet_s = self._clock() - loop.heard_s
        if not loop.refs and self._workers and quiet_s > PING_AFTER_S:
            loop.ping_ref = loop.handle.ping.remote()


def _waits(worker: _Worker) -> bool:
    """It has something to ask of the loop, and no call that is out is about it."""
    return worker.num_called == 0 and _request_kind(worker) is not None


def _request_kind(worker: _Worker) -> RequestKind | None:
    match worker.phase:
        case _Phase.OPENING if not worker.num_called:
            return RequestKind.OPEN
        case _Phase.LEAVING if not worker.num_called:
            return RequestKind.LEAVE
        case _Phase.LIVE if worker.num_requests > worker.num_called:
            return RequestKind.DRAIN if worker.drain else RequestKind.STEP
    return None


def _loop_died(error: Exception, worker_index: int, incarnation: int) -> Died:
    died = died_from(error, worker_index, incarnation)
    return replace(died, text=f"its stepping loop is gone: {died.text}")
