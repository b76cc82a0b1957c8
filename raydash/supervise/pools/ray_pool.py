"""Workers as Ray actors: plain children of the supervisor, so orphans are impossible.

Results are collected with `ray.wait(..., timeout=0)` and one batched `ray.get` of the ready ones.
`max_restarts=0`: the machine re-creates workers itself, faster and with the cause in hand
(13 ms against 1.2 s: assets/docs/internals/ray.md, "How a worker ends").
"""

import re
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

from raydash.core.clock import Clock
from raydash.core.machine.stimuli import DeathCause, PolicyVersion
from raydash.core.records import PolicySet, RolloutChunk, Work, WorkerFault, WorkerReady
from raydash.protocol.codec import CodecError, decode
from raydash.supervise.pools.pool import Closed, Died, WorkerPool, WorkerReport
from raydash.worker.node.progress import set_hurry
from raydash.worker.remote.ray_transport import values_of

PING_AFTER_S = 1.0
SLOW_TO_PLACE_S = 2.0
MAX_TEXT = 200
_OF_SPEC = PolicyVersion()
_UNEXPECTEDLY = "unexpectedly (killed, or crashed in native code)"
_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


@dataclass(slots=True)
class _Worker:
    handle: Any
    index: int
    incarnation: int
    born_s: float
    ready: WorkerReady | None = None
    refs: set[Any] = field(default_factory=set)
    heard_s: float = 0.0
    loss: Exception | None = None


class RayPool(WorkerPool):
    """A `WorkerPool` of Ray actors.

    Args of the constructor:
        make_worker: Creates the actor of a worker: `(worker_index, incarnation, version)` to a
            handle.
        node_id: The node this process is on, hex.
        clock: Monotonic.
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
        self._kinds: dict[Any, tuple[_Worker, str]] = {}
        self._reports: list[WorkerReport] = []
        self._reasons: dict[int, str] = {}

    @override
    def create(
        self, worker_index: int, incarnation: int, version: PolicyVersion = _OF_SPEC
    ) -> None:
        try:
            handle = self._make_worker(worker_index, incarnation, version)
        except Exception as error:
            # Whatever Ray refuses here (bad resources, a lost cluster) is this worker's failure.
            cause = DeathCause.COULD_NOT_START
            self._reports.append(
                Died(worker_index, incarnation, cause, _first_line(error), str(error))
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
    def request(self, worker_index: int, incarnation: int, budget_s: float, *, drain: bool) -> None:
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None:
            self._call(worker, "rollout", worker.handle.rollout.remote(budget_s, drain))

    @override
    def play(
        self, worker_index: int, incarnation: int, budget_s: float, work: Work, parameters: Any
    ) -> None:
        """Ray brings the parameters to the worker; they never come here."""
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None:
            self._call(worker, "play", worker.handle.play.remote(budget_s, work, parameters))

    @override
    def hurry(self, worker_index: int, incarnation: int, *, wanted: bool) -> None:
        """Through shared memory, so only on this node."""
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
            self._drop(worker)
            died = Died(worker_index, incarnation, DeathCause.KILLED, "killed by raydash")
            self._reports.append(died)

    @override
    def collect(self) -> list[WorkerReport]:
        self._ping_quiet_workers()
        refs = list(self._kinds)
        if refs:
            ready, _ = ray.wait(refs, num_returns=len(refs), timeout=0)
            for ref, value in zip(ready, values_of(ready), strict=True):
                self._take(ref, value)
        reports, self._reports = self._reports, []
        return reports

    def handle_of(self, worker_index: int, incarnation: int) -> Any:
        """The actor of a worker."""
        return self._workers[worker_index, incarnation].handle

    def note_heard(self, worker_index: int, incarnation: int) -> None:
        """Somebody else has just heard of a worker: no need to ask whether it lives."""
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None:
            worker.heard_s = self._clock()

    def ask_after(self, worker_index: int, incarnation: int, error: Exception) -> None:
        """Somebody else lost a worker: reports `Died`, with the cause that Ray gives its owner.

        Args:
            worker_index: Whose.
            incarnation: Whose.
            error: What the other one was told.
        """
        worker = self._workers.get((worker_index, incarnation))
        if worker is not None:
            worker.loss = error
            self._call(worker, "ping", worker.handle.ping.remote())

    @override
    def pending(self) -> Sequence[Any]:
        return list(self._kinds)

    def waiting(self, silent: Iterable[int] = ()) -> dict[int, str | None]:
        """Actor ids (hex) of workers that take long to be placed, by worker index.

        Args:
            silent: Workers of whom somebody else has long waited to hear: they have their place.
        """
        now_s = self._clock()
        return {
            worker.index: worker.handle._actor_id.hex()
            for worker in list(self._workers.values())
            if worker.ready is None and now_s - worker.born_s > SLOW_TO_PLACE_S
        }

    def set_pending_reasons(self, reasons: dict[int, str]) -> None:
        """Say why workers wait: looked up elsewhere, because asking Ray may block."""
        self._reasons = reasons

    @override
    def pending_reasons(self) -> dict[int, str]:
        return self._reasons

    @override
    def shut_down(self) -> None:
        for worker in list(self._workers.values()):
            self._drop(worker)
        self._reports.clear()

    def _call(self, worker: _Worker, kind: str, ref: Any) -> None:
        worker.refs.add(ref)
        self._kinds[ref] = (worker, kind)

    def _ping_quiet_workers(self) -> None:
        """A paused worker has no request out, so nothing would tell of its death."""
        now_s = self._clock()
        for worker in self._workers.values():
            if (
                worker.ready is not None
                and not worker.refs
                and now_s - worker.heard_s > PING_AFTER_S
            ):
                self._call(worker, "ping", worker.handle.ping.remote())

    def _take(self, ref: Any, value: Any) -> None:
        worker, kind = self._kinds.pop(ref, (None, ""))
        if worker is None:
            return
        worker.refs.discard(ref)
        worker.heard_s = self._clock()
        index, life = worker.index, worker.incarnation
        if isinstance(value, Exception):
            self._drop(worker)
            self._reports.append(died_from(value, index, life))
            return
        match kind:
            case "close":
                self._drop(worker)
                self._reports.append(Closed(index, life))
            case "ping" if worker.loss is not None:
                # It lives, and yet a call of it failed: nobody knows what it has done.
                self._drop(worker)
                self._reports.append(died_from(worker.loss, index, life))
            case "ping":
                pass
            case _:
                try:
                    self._take_message(worker, decode(value))
                except CodecError as error:
                    self._drop(worker)
                    text = f"its answer is no message of ours: {error}"
                    self._reports.append(Died(index, life, DeathCause.CRASHED, text))

    def _take_message(
        self, worker: _Worker, message: WorkerReady | RolloutChunk | PolicySet | WorkerFault
    ) -> None:
        if isinstance(message, WorkerFault):
            self._drop(worker)
            fault = message.fault
            text = f"{fault.what}: {fault.why}" if fault.why else fault.what
            cause = DeathCause.COULD_NOT_START
            self._reports.append(Died(worker.index, worker.incarnation, cause, text, fault.detail))
            return
        if isinstance(message, WorkerReady):
            worker.ready = message
        self._reports.append(message)

    def _drop(self, worker: _Worker) -> None:
        """Forget a worker and see to it that its process ends."""
        self._workers.pop((worker.index, worker.incarnation), None)
        for ref in worker.refs:
            self._kinds.pop(ref, None)
        worker.refs.clear()
        ray.kill(worker.handle, no_restart=True)


def died_from(error: Exception, worker_index: int, incarnation: int) -> Died:
    """What an exception out of Ray says of a worker's end.

    The kinds of ends are those of assets/docs/internals/ray.md, "How a worker ends".
    """
    detail = _COLOURS.sub("", str(error))
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
        case ActorDiedError() if "raised in its creation task" in detail:
            cause, text = DeathCause.COULD_NOT_START, _raised(detail)
        case ActorDiedError() if "its node has died" in detail or "its owner has died" in detail:
            cause, text = DeathCause.NODE_LOST, "its node died"
        case ActorDiedError() if "killed by `ray.kill`" in detail:
            cause, text = DeathCause.KILLED, "killed by ray.kill"
        case ActorDiedError() if "The actor never ran" in detail:
            cause, text = DeathCause.COULD_NOT_START, _how_it_ended(detail)
        case ActorDiedError():
            cause, text = DeathCause.CRASHED, _how_it_ended(detail)
        case WorkerCrashedError():
            cause, text = DeathCause.CRASHED, f"the process of its task ended {_UNEXPECTEDLY}"
        case RayTaskError():
            cause, text = DeathCause.CRASHED, _raised(detail)
        case _:
            cause, text = DeathCause.CRASHED, _first_line(error)
    return Died(worker_index, incarnation, cause, text[:MAX_TEXT], detail)


def _how_it_ended(detail: str) -> str:
    # Whatever happened, Ray goes on to list what may have ("... due to SIGSEGV"): not evidence.
    seen = re.split(r"Some common causes|some potential root causes", detail)[0]
    signal = re.search(r"\bSIG[A-Z]+\b", seen)
    if signal:
        return f"its process ended by {signal.group()}"
    code = re.search(r"exit[ _]code:?\s*=?\s*(-?\d+)", seen)
    if code:
        return f"its process ended with exit code {code.group(1)}"
    if "connection error" in seen or "exits unexpectedly" in seen:
        return f"its process ended {_UNEXPECTEDLY}"
    return "its process ended"


def _raised(traceback: str) -> str:
    """Type and first line of the exception: they follow the last frame, which is indented."""
    lines = [line for line in traceback.splitlines() if line.strip()]
    frames = [number for number, line in enumerate(lines) if line.startswith(" ")]
    after = lines[frames[-1] + 1 :] if frames else lines[-1:]
    return after[0].strip() if after else (lines[-1].strip() if lines else "")


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
