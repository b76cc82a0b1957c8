"""The stepping loop of the modes `lockstep` and `tasks`: a central policy, environments elsewhere.

One loop steps all workers of a run: it chooses the actions, sends them to the environments, waits
for each step, counts, and returns ordinary chunks, one per worker. Like a worker it runs slice by
slice (`run`), with all workers in one call. It is plain Python without Ray, threads or locks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any

from raydash.core.clock import Clock
from raydash.core.faults import Fault, FaultError
from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.records import PolicySet, RolloutChunk, WorkerFault
from raydash.core.spec import RunSpec
from raydash.core.words.texts import one_line
from raydash.worker.envs.seeds import env_seeds, policy_seed
from raydash.worker.node.progress import HURRY, ProgressWriter
from raydash.worker.policies.policy import Policy, forget_module, make_policy
from raydash.worker.remote.moves import Answer, Lost, Opened, Raised, Refused, Transport, WorkerKey
from raydash.worker.remote.remote_worker import RemoteWorker

SETTLE_S = 0.005
"""Once a worker that is awaited has come to rest, the other awaited ones get this long for it."""


class RequestKind(Enum):
    """The kinds of `Request`."""

    OPEN = auto()
    """Open its environment and make its policy; the request is repeated until it is answered."""
    STEP = auto()
    DRAIN = auto()
    """Step until the episode that is under way is over."""
    LEAVE = auto()
    """Wait for the answer that is out, count it, and drop the worker."""
    FORGET = auto()
    """Drop the worker at once."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a call of the loop is to do for one worker.

    Attributes:
        key: The worker and its incarnation.
        kind: What to do.
        handle: With `RequestKind.OPEN`, the actor that holds its environment; None in the mode
            `tasks`.
        version: With `RequestKind.OPEN`, its policy.
    """

    key: WorkerKey
    kind: RequestKind
    handle: Any = None
    version: PolicyVersion = field(default_factory=PolicyVersion)


@dataclass(slots=True)
class CallResult:
    """What a call returns.

    Attributes:
        opened: Workers whose environment and policy are made, with their progress files.
        chunks: At most one chunk of each worker.
        faults: Faults of workers that could not be opened; these workers are dropped.
        lost: Workers whose environment is gone, with Ray's exception; they are dropped.
        left: Workers that were to leave and have left; their chunk, if any, is the last one.
        costs: What this way of stepping was found to cost, in words.
    """

    opened: list[tuple[WorkerKey, str]] = field(default_factory=list)
    chunks: list[RolloutChunk] = field(default_factory=list)
    faults: list[WorkerFault] = field(default_factory=list)
    lost: list[tuple[WorkerKey, Exception]] = field(default_factory=list)
    left: list[WorkerKey] = field(default_factory=list)
    costs: list[str] = field(default_factory=list)


class SteppingLoop:
    """Steps all workers of one run, call by call.

    `transport` sends the moves. The cell `HURRY` of `progress`, which is the loop's own, holds the
    number of the last call that the supervisor wants back at once. The workers' progress files are
    written to `progress_dir`; None: none are written.
    """

    def __init__(
        self,
        spec: RunSpec,
        source_dirs: Sequence[str],
        transport: Transport,
        *,
        clock: Clock,
        progress: ProgressWriter,
        progress_dir: Path | None,
        make_policy: Callable[..., Policy] = make_policy,
    ) -> None:
        self._spec = spec
        self._source_dirs = source_dirs
        self._transport = transport
        self._clock = clock
        self._progress = progress
        self._progress_dir = progress_dir
        self._make_policy = make_policy
        self._workers: dict[WorkerKey, RemoteWorker] = {}

    def run(self, number: int, requests: Sequence[Request], budget_s: float) -> CallResult:
        """Step the requested workers for about `budget_s` and return what happened.

        The call ends early if it is awaited: as soon as a worker that is paused, stopped, drained
        or opened has come to rest, or if the supervisor wants the call itself back. A worker whose
        move is out all the time has no chunk, and its request stands.

        Args:
            number: The number of the call; it grows with each call.
            requests: At most one for each worker.
            budget_s: Wall time to fill.
        """
        result = CallResult()
        requested = self._begin(requests, budget_s, result)
        deadline_s = self._clock() + budget_s
        hurry = self._progress.cells
        settled_s: float | None = None
        for worker in requested:
            worker.advance()
        while True:
            now_s = self._clock()
            num_out = 0
            for worker in requested:
                if worker.out:
                    num_out += 1
                elif settled_s is None:  # it has come to rest, or it would have sent its next move
                    settled_s = now_s
            if settled_s is not None:
                deadline_s = min(deadline_s, settled_s + SETTLE_S)
            if not num_out or now_s >= deadline_s or hurry[HURRY] >= number:
                break
            answers = self._transport.answers(deadline_s - now_s)
            now_s = self._clock()
            for key, answer in answers:
                sender = self._workers.get(key)
                if sender is not None:
                    self._on_answer(sender, answer, now_s, result)
            if result.lost or result.faults:
                requested = [worker for worker in requested if worker.key in self._workers]
        self._end(requested, result)
        return result

    def set_policy(self, key: WorkerKey, version: PolicyVersion) -> PolicySet:
        """Use another policy for a worker from its next step on; if it fails, keep the old one."""
        worker, fault = self._workers.get(key), None
        if worker is None or not worker.is_open:
            fault = Fault("There is nothing that another policy could choose for")
        else:
            try:
                if version.policy is not None:
                    # Its file may have changed since it was imported: that is what swapping is for.
                    forget_module(version.policy.kind)
                policy = self._policy_of(worker, *worker.spaces, version)
                worker.set_policy(policy, version.weights_seq_no)
            except FaultError as error:
                fault = error.fault
            except Exception as error:
                fault = Fault(f"The policy raised {type(error).__name__}", one_line(error))
        return PolicySet(*key, version.weights_seq_no, fault)

    def _policy_of(
        self,
        worker: RemoteWorker,
        observation_space: Any,
        action_space: Any,
        version: PolicyVersion,
    ) -> Policy:
        return self._make_policy(
            version.policy or self._spec.policy,
            observation_space,
            action_space,
            policy_seed(worker.seeds.action_space, version.weights_seq_no),
            self._source_dirs,
        )

    def close(self) -> None:
        """Drop all workers."""
        for key in list(self._workers):
            self._forget(key)
        self._progress.close()

    # --- a call's beginning and end -----------------------------------------------------------

    def _begin(
        self, requests: Sequence[Request], budget_s: float, result: CallResult
    ) -> list[RemoteWorker]:
        requested: list[RemoteWorker] = []
        for request in requests:
            worker = self._workers.get(request.key)
            match request.kind:
                case RequestKind.FORGET:
                    self._forget(request.key)
                    continue
                case RequestKind.OPEN if worker is None:
                    worker = self._add_worker(request)
                case RequestKind.LEAVE if worker is None:
                    result.left.append(request.key)
                case RequestKind.STEP | RequestKind.DRAIN | RequestKind.LEAVE if worker is not None:
                    worker.request(
                        budget_s,
                        drain=request.kind is RequestKind.DRAIN,
                        leave=request.kind is RequestKind.LEAVE,
                    )
            if worker is not None:
                requested.append(worker)
        return requested

    def _add_worker(self, request: Request) -> RemoteWorker:
        index, incarnation = request.key
        name = f"w{index}-{incarnation}"
        worker = self._workers[request.key] = RemoteWorker(
            request.key,
            env_seeds(self._spec.rollout.seed, worker_index=index, incarnation=incarnation),
            transport=self._transport,
            clock=self._clock,
            progress=ProgressWriter(self._progress_dir / name if self._progress_dir else None),
            info_keys=self._spec.rollout.info_keys,
            version=request.version,
        )
        worker.open(request.handle)
        return worker

    def _end(self, requested: Sequence[RemoteWorker], result: CallResult) -> None:
        for worker in requested:
            if not worker.is_open:
                continue
            has_left = worker.is_leaving and worker.is_at_rest
            chunk = worker.chunk()
            if chunk is not None:
                result.chunks.append(chunk)
            if has_left:
                result.left.append(worker.key)
                self._forget(worker.key)
        for worker in requested:
            worker.is_requested = False
        result.costs.extend(self._transport.costs())

    def _forget(self, key: WorkerKey) -> None:
        worker = self._workers.pop(key, None)
        if worker is not None:
            worker.close()

    # --- answers ------------------------------------------------------------------------------

    def _on_answer(
        self, worker: RemoteWorker, answer: Answer, now_s: float, result: CallResult
    ) -> None:
        match answer:
            case Lost(error=error):
                self._forget(worker.key)
                result.lost.append((worker.key, error))
            case Opened():
                self._on_opened(worker, answer, result)
            case Refused(fault=fault):
                self._refuse(worker, fault, result)
            case Raised() if not worker.is_open:
                fault = Fault(
                    f"{self._spec.env.id} raised in {answer.where}",
                    answer.message,
                    detail=answer.traceback,
                )
                self._refuse(worker, fault, result)
            case _:
                worker.on_answer(answer, now_s)
                worker.advance()

    def _on_opened(self, worker: RemoteWorker, opened: Opened, result: CallResult) -> None:
        try:
            spaces = opened.observation_space, opened.action_space
            policy = self._policy_of(worker, *spaces, worker.version)
        except FaultError as error:
            self._refuse(worker, error.fault, result)
        except Exception as error:
            fault = Fault(
                f"The policy or the action space raised {type(error).__name__}", one_line(error)
            )
            self._refuse(worker, fault, result)
        else:
            worker.on_opened(opened, policy)
            result.opened.append((worker.key, worker.progress_path))

    def _refuse(self, worker: RemoteWorker, fault: Fault, result: CallResult) -> None:
        result.faults.append(WorkerFault(*worker.key, fault))
        self._forget(worker.key)
