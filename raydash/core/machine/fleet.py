"""The workers of a run as the state machine sees them: created, asked to step, ended, restarted.

Part of `raydash.core.machine`, which decides for the run as a whole; just as pure.
"""

from collections.abc import Mapping

from raydash.core.events import EventKind
from raydash.core.machine.generation_plan import GenerationPlan
from raydash.core.machine.policy_swap import PolicySwap
from raydash.core.machine.stimuli import (
    ChunkArrived,
    CloseWorker,
    CreateWorker,
    HurryWorker,
    Instruction,
    KillWorker,
    PolicyVersion,
    ProgressSeen,
    RecordEvent,
    RequestRollout,
    WorkerClosed,
    WorkerDied,
    WorkerNews,
)
from raydash.core.machine.worker_record import (
    GONE,
    MAX_IN_FLIGHT,
    AfterExit,
    MachineSettings,
    WorkerPhase,
    WorkerRecord,
)
from raydash.core.messages import Verb
from raydash.core.records import PolicySet, Work, WorkerReady
from raydash.core.spec import RolloutSpec


class Fleet:
    """All workers of a run.

    Attributes:
        workers: By index, which counts from 1.
        in_flight: Requests sent and not answered, of all workers.
        num_live: Workers whose environment is ready.
        num_gone: Workers without a process that will not get one without a command.
        num_restarts: How often a worker was restarted after a death or on demand, lifetime.
        starved: Indices of live workers for which the plan had no episodes left.
        t_s: Now, on the run's clock; the machine sets it before it calls anything else.
        swap: The policy of the workers, and the one that is offered to replace it.
    """

    def __init__(
        self,
        rollout: RolloutSpec,
        settings: MachineSettings,
        incarnations: Mapping[int, int],
        instructions: list[Instruction],
        *,
        num_restarts: int = 0,
        plan: GenerationPlan | None = None,
        version: PolicyVersion = PolicyVersion(),  # noqa: B008  it is frozen
    ) -> None:
        """Begin without workers.

        Instructions are appended to the machine's own list. Under a supervisor that replaces
        another one, `incarnations` holds the next incarnation of each worker that ran before, and
        `num_restarts` what was counted so far. `plan` None means that nothing learns.
        """
        self.workers: dict[int, WorkerRecord] = {}
        self.in_flight = 0
        self.num_live = 0
        self.num_gone = 0
        self.num_restarts = num_restarts
        self.t_s = 0.0
        self._rollout = rollout
        self._settings = settings
        self._incarnations = dict(incarnations)
        self._instructions = instructions
        self._plan = plan
        self.starved: set[int] = set()
        self.swap = PolicySwap(version, instructions)

    @property
    def num_alive(self) -> int:
        """Workers that have a process or are about to get one."""
        return len(self.workers) - self.num_gone

    def staying(self) -> list[WorkerRecord]:
        """Workers that are neither gone nor about to go."""
        return [w for w in self.workers.values() if not (w.is_gone or w.stopping or w.draining)]

    # --- what the machine calls --------------------------------------------------------------

    def create(self, *, paused: bool = False) -> None:
        """Add a worker with the next index."""
        self._create_process(self._add(paused=paused))

    def add_gone(self, phase: WorkerPhase, *, paused: bool) -> None:
        """Add a worker with the next index that is stopped or has failed already."""
        worker = self._add(paused=paused)
        worker.incarnation = max(0, worker.incarnation - 1)  # the last one that ran
        if phase is WorkerPhase.FAILED:
            worker.last_error = f"worker {worker.index} had failed before the supervisor restarted"
        self._set_phase(worker, phase)

    def _add(self, *, paused: bool) -> WorkerRecord:
        index = len(self.workers) + 1
        incarnation = self._incarnations.get(index, 0)
        worker = WorkerRecord(index, incarnation, paused=paused, since_s=self.t_s, heard_s=self.t_s)
        self.workers[index] = worker
        return worker

    def restart(self, worker: WorkerRecord) -> None:
        """Start the next incarnation of a worker that died or was asked to restart."""
        self.num_restarts += 1
        self.recreate(worker)

    def recreate(self, worker: WorkerRecord) -> None:
        """Start the next incarnation of a worker without a process."""
        worker.incarnation += 1
        worker.after_exit = AfterExit.RETRY
        worker.stopping = worker.draining = False
        worker.in_flight = 0
        worker.hurried = False
        worker.heard_s = self.t_s
        self._set_phase(worker, WorkerPhase.STARTING)
        self._create_process(worker)

    def _create_process(self, worker: WorkerRecord) -> None:
        version = self.swap.version
        worker.weights_seq_no = version.weights_seq_no
        self._instructions.append(CreateWorker(worker.index, worker.incarnation, version))

    def drain(self, worker: WorkerRecord) -> None:
        """Let a worker finish its episodes before it is stopped."""
        if worker.phase is WorkerPhase.LIVE:
            worker.draining = True
        elif not worker.is_gone:
            self.stop(worker)

    def stop(self, worker: WorkerRecord) -> None:
        """Stop a worker: wait for the requests that it has, then close it for good."""
        if worker.is_gone or worker.stopping:
            return
        worker.stopping = True
        worker.stopping_since_s = self.t_s
        worker.after_exit = AfterExit.STOP
        match worker.phase:
            case WorkerPhase.BACKOFF:
                self._set_gone(worker, WorkerPhase.STOPPED)
            case WorkerPhase.STARTING:
                self.kill(worker, AfterExit.STOP)
            case WorkerPhase.LIVE if worker.in_flight == 0:
                self._close(worker)

    def command(self, worker: WorkerRecord, verb: Verb) -> None:
        """Do what a command asks of one worker, which permits it."""
        number = worker.index
        match verb:
            case Verb.PAUSE:
                worker.paused = True
                self._event(EventKind.WORKER_PAUSED, f"worker {number} paused", number)
            case Verb.RESUME:
                worker.paused = False
                self._event(EventKind.WORKER_RESUMED, f"worker {number} resumed", number)
            case Verb.DRAIN:
                self.drain(worker)
            case Verb.STOP:
                self.stop(worker)
            case Verb.KILL:
                self.kill(worker, AfterExit.STOP)
            case Verb.RESTART:
                worker.failures = 0
                worker.paused = worker.draining = worker.stopping = False
                if worker.is_gone or worker.phase is WorkerPhase.BACKOFF:
                    self.restart(worker)
                else:
                    self.kill(worker, AfterExit.RESTART)
            case Verb.SCALE | Verb.KEEP | Verb.SWAP:
                pass  # they concern the whole run

    def scale(self, wanted: int) -> None:
        """Stop the workers with the highest indices, or start stopped ones and then new ones."""
        staying = self.staying()
        for worker in sorted(staying, key=lambda w: -w.index)[: max(0, len(staying) - wanted)]:
            self.stop(worker)
        missing = wanted - len(staying)
        for worker in sorted(self.workers.values(), key=lambda w: w.index):
            if missing > 0 and worker.phase is WorkerPhase.STOPPED:
                worker.failures = 0
                self.recreate(worker)
                missing -= 1
        for _ in range(missing):
            self.create()
        self._event(EventKind.WORKERS_SCALED, f"{len(staying)} → {wanted} workers")

    def kill(self, worker: WorkerRecord, after_exit: AfterExit) -> None:
        """End a worker's process at once; `after_exit` says what follows for the worker."""
        if worker.phase is WorkerPhase.BACKOFF:
            self._set_gone(worker, WorkerPhase.STOPPED)
            return
        worker.after_exit = after_exit
        if worker.phase is not WorkerPhase.KILLING:
            self._set_phase(worker, WorkerPhase.KILLING)
            self._instructions.append(KillWorker(worker.index, worker.incarnation))

    def handle(self, stimulus: WorkerNews, *, run_stops: bool) -> WorkerRecord | None:
        """Take in what happened to a worker. While `run_stops`, no worker is restarted.

        Returns:
            The worker, or None if this is about an earlier incarnation.
        """
        worker = self._note_sign_of_life(stimulus.worker_index, stimulus.incarnation)
        if worker is None:
            return None
        match stimulus:
            case ProgressSeen():
                pass
            case WorkerReady():
                if worker.phase is WorkerPhase.STARTING:
                    worker.ready_s = self.t_s
                    self._set_phase(worker, WorkerPhase.LIVE)
                    self.swap.offer(worker)
                    if worker.incarnation:
                        text = f"worker {worker.index} restarted"
                        self._event(EventKind.WORKER_RESTARTED, text, worker.index)
            case PolicySet():
                self.swap.on_answer(worker, stimulus)
            case WorkerClosed():
                self._reclaim_work(worker, is_gone=True)
                if not worker.is_gone:
                    self._on_closed(worker)
            case WorkerDied():
                self._reclaim_work(worker, is_gone=True)
                if not worker.is_gone and worker.phase is not WorkerPhase.BACKOFF:
                    self._on_died(worker, stimulus, run_stops=run_stops)
        return worker

    def on_chunk(self, chunk: ChunkArrived) -> WorkerRecord | None:
        """Take in that a worker answered one request; as `handle`."""
        worker = self._note_sign_of_life(chunk.worker_index, chunk.incarnation)
        if worker is None:
            return None
        if worker.in_flight:
            worker.in_flight -= 1
            self.in_flight -= 1
        if self.t_s - worker.ready_s > self._settings.healthy_after_s:
            worker.failures = 0
        if chunk.error:
            worker.last_error = chunk.error
        if chunk.failures_in_a_row >= self._settings.max_failures_in_a_row:
            worker.after_exit = (
                AfterExit.FAIL if worker.after_exit is not AfterExit.STOP else AfterExit.STOP
            )
            worker.stopping = True
            worker.stopping_since_s = self.t_s
        elif chunk.drained and worker.draining:
            self.stop(worker)
        return worker

    def _note_sign_of_life(self, worker_index: int, incarnation: int) -> WorkerRecord | None:
        worker = self.workers.get(worker_index)
        if worker is None or worker.incarnation != incarnation:
            return None
        worker.heard_s = self.t_s
        return worker

    def tick(self, budget_s: float) -> None:
        """Act on time that has passed: ends of back-offs, stops that take too long, hangs."""
        for worker in self.workers.values():
            if worker.phase is WorkerPhase.BACKOFF and self.t_s >= worker.retry_s:
                self.restart(worker)
            elif worker.stopping and worker.phase in (WorkerPhase.LIVE, WorkerPhase.CLOSING):
                self._kill_if_grace_is_over(worker)
            elif worker.phase is WorkerPhase.LIVE and worker.in_flight:
                self._kill_if_hung(worker, budget_s)

    def send_requests(self, worker: WorkerRecord, *, run_paused: bool, budget_s: float) -> None:
        """Send a live worker requests up to the limit, or none while it is to pause or stop.

        `budget_s` is how long each request may take.
        """
        if worker.phase is not WorkerPhase.LIVE:
            return
        waits = worker.stopping or ((worker.paused or run_paused) and not worker.draining)
        if worker.hurried != (waits and worker.in_flight > 0):
            worker.hurried = not worker.hurried
            self._instructions.append(HurryWorker(worker.index, worker.incarnation, worker.hurried))
        if worker.in_flight == 0 and (worker.stopping or worker.paused) and waits:
            self._reclaim_work(worker, is_gone=False)
        if worker.stopping and worker.in_flight == 0:
            self._close(worker)
        if waits:
            self.starved.discard(worker.index)
            return
        while worker.in_flight < MAX_IN_FLIGHT:
            work = self._next_work(worker)
            if self._plan is not None and work is None and not self._continues_without_work(worker):
                self.starved.add(worker.index)
                return
            if worker.in_flight == 0:
                worker.heard_s = self.t_s
            worker.in_flight += 1
            self.in_flight += 1
            request = RequestRollout(
                worker.index, worker.incarnation, budget_s, drain=worker.draining, work=work
            )
            self._instructions.append(request)
        self.starved.discard(worker.index)

    # --- inside ------------------------------------------------------------------------------

    def _next_work(self, worker: WorkerRecord) -> Work | None:
        """Take the next episodes for a worker out of the plan."""
        if self._plan is None:
            return None
        work = None if worker.draining else self._plan.next_work(self.num_live)
        if work is not None or self._continues_without_work(worker):
            self._plan.note_sent(worker.index, work)
        return work

    def _continues_without_work(self, worker: WorkerRecord) -> bool:
        """Tell whether a request without episodes makes sense: to finish one, or a drain."""
        assert self._plan is not None
        return worker.draining or (worker.in_flight == 0 and self._plan.has_begun(worker.index))

    def _reclaim_work(self, worker: WorkerRecord, *, is_gone: bool) -> None:
        if is_gone:
            self.starved.discard(worker.index)
        if self._plan is not None:
            self._plan.reclaim(worker.index, is_gone=is_gone)

    def _kill_if_grace_is_over(self, worker: WorkerRecord) -> None:
        grace_s = self._rollout.stop_grace_s
        if self.t_s - worker.stopping_since_s > grace_s:
            self.kill(worker, worker.after_exit)
            text = f"worker {worker.index} did not stop within {grace_s:g} s"
            self._event(EventKind.WORKER_HUNG, text, worker.index)

    def _kill_if_hung(self, worker: WorkerRecord, budget_s: float) -> None:
        limit_s = self._rollout.hang_timeout_s
        if limit_s is None or self.t_s - worker.heard_s <= limit_s + budget_s:
            return
        worker.failures += 1
        worker.last_error = f"worker {worker.index} was silent for {limit_s:g} s"
        self._event(EventKind.WORKER_HUNG, worker.last_error, worker.index)
        hopeless = worker.failures >= self._settings.max_failures_in_a_row
        self.kill(worker, AfterExit.FAIL if hopeless else AfterExit.RESTART)

    def _event(
        self, kind: EventKind, text: str, worker_index: int | None = None, detail: str = ""
    ) -> None:
        self._instructions.append(RecordEvent(kind, text, worker_index, detail))

    def _set_phase(self, worker: WorkerRecord, phase: WorkerPhase) -> None:
        self.num_live += (phase is WorkerPhase.LIVE) - (worker.phase is WorkerPhase.LIVE)
        self.num_gone += (phase in GONE) - (worker.phase in GONE)
        if phase is not WorkerPhase.LIVE:
            self.swap.withdraw(worker)
        worker.phase = phase
        worker.since_s = self.t_s

    def _close(self, worker: WorkerRecord) -> None:
        self._set_phase(worker, WorkerPhase.CLOSING)
        self._instructions.append(CloseWorker(worker.index, worker.incarnation))

    def _set_gone(self, worker: WorkerRecord, phase: WorkerPhase) -> None:
        self.in_flight -= worker.in_flight
        worker.in_flight = 0
        worker.stopping = worker.draining = False
        self._set_phase(worker, phase)

    def _on_closed(self, worker: WorkerRecord) -> None:
        if worker.after_exit is AfterExit.FAIL:
            self._fail(worker, worker.last_error)
            return
        self._set_gone(worker, WorkerPhase.STOPPED)
        self._event(EventKind.WORKER_STOPPED, f"worker {worker.index} stopped", worker.index)

    def _on_died(self, worker: WorkerRecord, death: WorkerDied, *, run_stops: bool) -> None:
        asked_for = worker.phase is WorkerPhase.KILLING
        after_exit = worker.after_exit
        self.in_flight -= worker.in_flight
        worker.in_flight = 0
        if after_exit is AfterExit.RESTART:
            self.restart(worker)
            return
        if not asked_for:
            text = f"worker {worker.index} {death.cause.value}: {death.text}"
            self._event(EventKind.WORKER_DIED, text, worker.index, death.detail)
        if after_exit is AfterExit.STOP or run_stops:
            self._set_gone(worker, WorkerPhase.STOPPED)
            if asked_for:
                text = f"worker {worker.index} killed"
                self._event(EventKind.WORKER_STOPPED, text, worker.index)
            return
        if after_exit is AfterExit.FAIL:
            self._fail(worker, worker.last_error)
            return
        worker.failures += 1
        worker.last_error = death.text
        if worker.draining:
            self._set_gone(worker, WorkerPhase.STOPPED)
        elif worker.failures >= self._settings.max_failures_in_a_row:
            self._fail(worker, death.text, death.detail)
        else:
            wait_s = self._settings.backoff_first_s * 2 ** (worker.failures - 1)
            worker.retry_s = self.t_s + min(wait_s, self._settings.backoff_max_s)
            self._set_phase(worker, WorkerPhase.BACKOFF)

    def _fail(self, worker: WorkerRecord, reason: str, detail: str = "") -> None:
        worker.last_error = reason
        self._set_gone(worker, WorkerPhase.FAILED)
        limit = self._settings.max_failures_in_a_row
        text = f"worker {worker.index} failed {limit} times in a row: {reason}"
        self._event(EventKind.WORKER_FAILED, text, worker.index, detail)

    # --- for tests ---------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise AssertionError if a rule is broken."""
        workers = self.workers.values()
        self.swap.validate(workers)
        for worker in workers:
            assert 0 <= worker.in_flight <= MAX_IN_FLIGHT, worker
            assert not worker.in_flight or worker.phase in (
                WorkerPhase.LIVE,
                WorkerPhase.KILLING,
            ), worker
            assert not (worker.is_gone and (worker.stopping or worker.draining)), worker
        assert sum(worker.in_flight for worker in workers) == self.in_flight
        assert sum(worker.phase is WorkerPhase.LIVE for worker in workers) == self.num_live
        assert sum(worker.is_gone for worker in workers) == self.num_gone
