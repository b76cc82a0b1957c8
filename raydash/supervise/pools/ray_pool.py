"""Workers as Ray actors: plain children of the supervisor, so orphans are impossible.

Results are collected with `ray.wait(..., timeout=0)` and one batched `ray.get` of the ready ones.
Workers have `max_restarts=0`: the machine re-creates them itself, faster and knowing the cause
(13 ms against 1.2 s: assets/docs/internals/ray.md, "How a worker ends").
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray
from ray.exceptions import (
    ActorDiedError,
    ActorUnavailableError,
    ActorUnschedulableError,
    NodeDiedError,
    OutOfMemoryError,
    RayTaskError,
    WorkerCrashedError,
)
from typing_extensions import override

from raydash.cluster import death_words
from raydash.core.clock import Clock
from raydash.core.machine.stimuli import DeathCause, PolicyVersion, WorkerClosed, WorkerDied
from raydash.core.records import PolicySet, RolloutChunk, Work, WorkerFault, WorkerReady
from raydash.protocol.codec import CodecError, decode
from raydash.supervise.pools.pool import WorkerPool, WorkerReport
from raydash.worker.node.progress import set_hurry
from raydash.worker.remote.ray_transport import values_of

PING_AFTER_S = 1.0
SLOW_TO_PLACE_S = 2.0
MAX_TEXT = 200
_POLICY_OF_SPEC = PolicyVersion()


@dataclass(slots=True)
class _Worker:
    handle: Any
    index: int
    incarnation: int
    created_s: float
    ready: WorkerReady | None = None
    refs: set[Any] = field(default_factory=set)
    last_reply_s: float = 0.0
    lost_by: Exception | None = None


class RayPool(WorkerPool):
    """Runs workers as Ray actors.

    `make_worker` creates the actor of a worker from `(worker_index, incarnation, version)` and
    returns its handle. `node_id` is the node of this process, in hex.
    """

    def __init__(
        self,
        make_worker: Callable[[int, int, PolicyVersion], Any],
        *,
        node_id: str,
        clock: Clock,
    ) -> None:
        self._make_worker = make_worker
        self._node_id = node_id
        self._clock = clock
        self._workers: dict[tuple[int, int], _Worker] = {}
        self._calls: dict[Any, tuple[_Worker, str]] = {}
        self._reports: list[WorkerReport] = []
        self._reasons: dict[int, str] = {}

    @override
    def create(
        self, worker_index: int, incarnation: int, version: PolicyVersion = _POLICY_OF_SPEC
    ) -> None:
        try:
            handle = self._make_worker(worker_index, incarnation, version)
        except Exception as error:
            # Whatever makes Ray refuse (bad resources, a lost cluster) counts as this worker's end.
            cause = DeathCause.COULD_NOT_START
            self._reports.append(
                WorkerDied(
                    worker_index, incarnation, cause, death_words.first_line(error), str(error)
                )
            )
            return
        worker = _Worker(handle, worker_index, incarnation, self._clock())
        self._workers[worker_index, incarnation] = worker
        self._call(worker, "prepare", handle.prepare.remote())

    @override
    def set_policy(self, worker_index: int, incarnation: int, version: PolicyVersion) -> None:
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None:
            policy, number = version.policy, version.weights_seq_no
            self._call(worker, "policy", worker.handle.set_policy.remote(policy, number))

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
        """Ask for a chunk; Ray moves parameters straight from the learner to the worker."""
        worker = self._workers.get((worker_index, incarnation))
        if worker is None:
            return
        if work is None:
            self._call(worker, "rollout", worker.handle.rollout.remote(budget_s, drain))
        else:
            self._call(worker, "play", worker.handle.play.remote(budget_s, work, parameters))

    @override
    def hurry(self, worker_index: int, incarnation: int, *, wanted: bool) -> None:
        """Cut chunks short through shared memory, which reaches workers on this node only."""
        worker = self._workers.get((worker_index, incarnation))
        if (
            worker is not None
            and worker.ready is not None
            and worker.ready.node_id == self._node_id
        ):
            set_hurry(worker.ready.progress_path, wanted)

    @override
    def close_worker(self, worker_index: int, incarnation: int) -> None:
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None:
            self._call(worker, "close", worker.handle.close.remote())

    @override
    def kill(self, worker_index: int, incarnation: int) -> None:
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None:
            self._end(worker)
            died = WorkerDied(worker_index, incarnation, DeathCause.KILLED, "killed by raydash")
            self._reports.append(died)

    @override
    def collect(self) -> list[WorkerReport]:
        self._ping_quiet_workers()
        refs = list(self._calls)
        if refs:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
            for ref, value in zip(ready, values_of(ready), strict=True):
                self._on_result(ref, value)
        reports, self._reports = self._reports, []
        return reports

    def handle_of(self, worker_index: int, incarnation: int) -> Any:
        """Return the actor of a worker."""
        return self._workers[worker_index, incarnation].handle

    def note_alive(self, worker_index: int, incarnation: int) -> None:
        """Note that a worker has just replied to the stepping loop, so it needs no ping."""
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None:
            worker.last_reply_s = self._clock()

    def report_lost(self, worker_index: int, incarnation: int, error: Exception) -> None:
        """Report as `WorkerDied` a worker whose call from the stepping loop failed with `error`.

        The worker is pinged first, because Ray tells only an actor's owner why it died.
        """
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None:
            worker.lost_by = error
            self._call(worker, "ping", worker.handle.ping.remote())

    @override
    def pending_refs(self) -> Sequence[Any]:
        return list(self._calls)

    def waiting(self, silent: Iterable[int] = ()) -> dict[int, str | None]:
        """Return actor ids (hex) of workers that take long to be placed, by worker index.

        Silent workers already have their place, so they don't matter here.
        """
        now_s = self._clock()
        return {
            worker.index: worker.handle._actor_id.hex()
            for worker in list(self._workers.values())
            if worker.ready is None and now_s - worker.created_s > SLOW_TO_PLACE_S
        }

    def set_pending_reasons(self, reasons: dict[int, str]) -> None:
        """Set why workers wait; it is looked up on another thread, because asking Ray may block."""
        self._reasons = reasons

    @override
    def pending_reasons(self) -> dict[int, str]:
        return self._reasons

    @override
    def shut_down(self) -> None:
        for worker in list(self._workers.values()):
            self._end(worker)
        self._reports.clear()

    def _call(self, worker: _Worker, kind: str, ref: Any) -> None:
        worker.refs.add(ref)
        self._calls[ref] = (worker, kind)

    def _ping_quiet_workers(self) -> None:
        """Ping workers without calls, such as paused ones: nothing else would show their death."""
        now_s = self._clock()
        for worker in self._workers.values():
            if (
                worker.ready is not None
                and not worker.refs
                and now_s - worker.last_reply_s > PING_AFTER_S
            ):
                self._call(worker, "ping", worker.handle.ping.remote())

    def _on_result(self, ref: Any, value: Any) -> None:
        worker, kind = self._calls.pop(ref, (None, ""))
        if worker is None:
            return
        worker.refs.discard(ref)
        worker.last_reply_s = self._clock()
        index, incarnation = worker.index, worker.incarnation
        if isinstance(value, Exception):
            self._end(worker)
            self._reports.append(died_from(value, index, incarnation))
            return
        match kind:
            case "close":
                self._end(worker)
                self._reports.append(WorkerClosed(index, incarnation))
            case "ping" if worker.lost_by is not None:
                # It is alive although a call of it failed, so its state can't be trusted.
                self._end(worker)
                self._reports.append(died_from(worker.lost_by, index, incarnation))
            case "ping":
                pass
            case _:
                try:
                    self._on_message(worker, decode(value))
                except CodecError as error:
                    self._end(worker)
                    text = f"its answer is no message of ours: {error}"
                    self._reports.append(WorkerDied(index, incarnation, DeathCause.CRASHED, text))

    def _on_message(
        self, worker: _Worker, message: WorkerReady | RolloutChunk | PolicySet | WorkerFault
    ) -> None:
        if isinstance(message, WorkerFault):
            self._end(worker)
            fault = message.fault
            text = f"{fault.what}: {fault.why}" if fault.why else fault.what
            cause = DeathCause.COULD_NOT_START
            self._reports.append(
                WorkerDied(worker.index, worker.incarnation, cause, text, fault.detail)
            )
            return
        if isinstance(message, WorkerReady):
            worker.ready = message
        self._reports.append(message)

    def _end(self, worker: _Worker) -> None:
        """Forget a worker and kill its process."""
        self._workers.pop((worker.index, worker.incarnation), None)
        for ref in worker.refs:
            self._calls.pop(ref, None)
        worker.refs.clear()
        ray.kill(worker.handle, no_restart=True)


def died_from(error: Exception, worker_index: int, incarnation: int) -> WorkerDied:
    """Turn an exception of Ray into the cause and the words of a worker's end.

    The kinds of exceptions are those of assets/docs/internals/ray.md, "How a worker ends".
    """
    detail = death_words.plain(error)
    match error:
        case OutOfMemoryError():
            cause, text = DeathCause.OUT_OF_MEMORY, "the node ran out of memory"
        case ActorUnschedulableError():
            cause = DeathCause.COULD_NOT_START
            text = (
                "its node is gone, or has not what it needs:"
                " see num_cpus, num_gpus and resources under [cluster]"
            )
        case ActorUnavailableError() | NodeDiedError():
            cause, text = DeathCause.NODE_LOST, "its node does not answer"
        case ActorDiedError():
            cause, text = death_words.actor_died(detail)
        case WorkerCrashedError():
            cause = DeathCause.CRASHED
            text = f"the process of its task ended {death_words.UNEXPECTEDLY}"
        case RayTaskError():
            cause, text = DeathCause.CRASHED, death_words.raised(detail)
        case _:
            cause, text = DeathCause.CRASHED, death_words.first_line(error)
    return WorkerDied(worker_index, incarnation, cause, text[:MAX_TEXT], detail)
