"""The workers of a run as the state machine sees them: how they come, are asked, end, come again.

Part of `raydash.core.machine`, which decides for the run as a whole; pure like it.
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
    PolicyAnswered,
    PolicyVersion,
    ProgressSeen,
    RecordEvent,
    RequestRollout,
    WorkerBecameReady,
    WorkerClosed,
    WorkerDied,
)
from raydash.core.machine.worker_record import (
    GONE,
    MAX_IN_FLIGHT,
    AfterExit,
    MachineSettings,
    Phase,
    WorkerRecord,
)
from raydash.core.records import Work
from raydash.core.spec import RolloutSpec

WorkerStimulus = (
    WorkerBecameReady | ChunkArrived | WorkerDied | WorkerClosed | PolicyAnswered | ProgressSeen
)


class Fleet:
    """All workers of a run.

    Attributes:
        workers: By index.
        in_flight: Requests that are out, of all workers.
        num_live: Workers whose environment stands.
        num_gone: Workers without a process that will not come back by themselves.
        num_restarts: Workers made anew after a death or on demand, lifetime.
        starved: Indices of live workers for which a plan had nothing to do.
        t_s: Now, on the run's clock; set by the machine before anything else.
        swap: Their policy, and the one that is offered in its place.
    """

    def __init__(
        self,
        rollout: RolloutSpec,
        settings: MachineSettings,
        incarnations: Mapping[int, int],
        out: list[Instruction],
        *,
        num_restarts: int = 0,
        plan: GenerationPlan | None = None,
        version: PolicyVersion = PolicyVersion(),  # noqa: B008  it is frozen
    ) -> None:
        """No workers yet.

        Args:
            rollout: Grace and hang times.
            settings: Back-off and limits.
            incarnations: The next incarnation of each worker that has lived before.
            out: Where instructions go.
            num_restarts: Of the lives of this run before.
            plan: Says what is to be played; None: nothing learns.
            version: The policy that workers begin with.
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
        self._out = out
        self._plan = plan
        self.starved: set[int] = set()
        self.swap = PolicySwap(version, out)

    @property
    def num_alive(self) -> int:
        """Workers with a process, or on their way to one."""
        return len(self.workers) - self.num_gone

    def staying(self) -> list[WorkerRecord]:
        """Workers that are there and not about to leave."""
        return [w for w in self.workers.values() if not (w.is_gone or w.leaving or w.draining)]

    # --- what the machine asks ---------------------------------------------------------------

    def create(self, *, paused: bool = False) -> None:
        """Add a worker with the next index."""
        self._make(self._add(paused=paused))

    def add_gone(self, phase: Phase, *, paused: bool) -> None:
        """Add a worker with the next index that is gone already: stopped, or failed."""
        worker = self._add(paused=paused)
        worker.incarnation = max(0, worker.incarnation - 1)  # its last life
        if phase is Phase.FAILED:
            worker.last_error = f"worker {worker.index} had failed before the supervisor restarted"
        self._set_phase(worker, phase)

    def _add(self, *, paused: bool) -> WorkerRecord:
        index = len(self.workers) + 1
        life = self._incarnations.get(index, 0)
        worker = WorkerRecord(index, life, paused=paused, since_s=self.t_s, heard_s=self.t_s)
        self.workers[index] = worker
        return worker

    def restart(self, worker: WorkerRecord) -> None:
        """A new life for a worker that died or was asked to begin anew."""
        self.num_restarts += 1
        self.recreate(worker)

    def recreate(self, worker: WorkerRecord) -> None:
        """A new life for a worker without a process."""
        worker.incarnation += 1
        worker.fate = AfterExit.RECREATE
        worker.leaving = worker.draining = False
        worker.in_flight = 0
        worker.hurried = False
        worker.heard_s = self.t_s
        self._set_phase(worker, Phase.STARTING)
        self._make(worker)

    def _make(self, worker: WorkerRecord) -> None:
        version = self.swap.version
        worker.weights_seq_no = version.weights_seq_no
        self._out.append(CreateWorker(worker.index, worker.incarnation, version))

    def drain(self, worker: WorkerRecord) -> None:
        """Let a worker finish its episodes, then stop it."""
        if worker.phase is Phase.LIVE:
            worker.draining = True
        elif not worker.is_gone:
            self.leave(worker)

    def leave(self, worker: WorkerRecord) -> None:
        """Stop a worker: let its requests come back, close it, and be done with it."""
        if worker.is_gone or worker.leaving:
            return
        worker.leaving = True
        worker.leaving_s = self.t_s
        worker.fate = AfterExit.STOP
        match worker.phase:
            case Phase.BACKOFF:
                self._gone(worker, Phase.STOPPED)
            case Phase.STARTING:
                self.kill(worker, AfterExit.STOP)
            case Phase.LIVE if worker.in_flight == 0:
                self._close(worker)

    def kill(self, worker: WorkerRecord, fate: AfterExit) -> None:
        """End a worker's process at once; `fate` says what becomes of it then."""
        if worker.phase is Phase.BACKOFF:
            self._gone(worker, Phase.STOPPED)
            return
        worker.fate = fate
        if worker.phase is not Phase.KILLING:
            self._set_phase(worker, Phase.KILLING)
            self._out.append(KillWorker(worker.index, worker.incarnation))

    def hear(self, stimulus: WorkerStimulus, *, run_stops: bool) -> WorkerRecord | None:
        """Take in what a worker did.

        Args:
            stimulus: What.
            run_stops: The run is stopping: nobody is made anew.

        Returns:
            The worker, or None if the news is of an earlier life.
        """
        worker = self.workers.get(stimulus.worker_index)
        if worker is None or worker.incarnation != stimulus.incarnation:
            return None
        worker.heard_s = self.t_s
        match stimulus:
            case ProgressSeen():
                pass
            case WorkerBecameReady():
                if worker.phase is Phase.STARTING:
                    worker.ready_s = self.t_s
                    self._set_phase(worker, Phase.LIVE)
                    self.swap.offer(worker)
                    if worker.incarnation:
                        text = f"worker {worker.index} restarted"
                        self._event(EventKind.WORKER_RESTARTED, text, worker.index)
            case ChunkArrived():
                self._on_chunk(worker, stimulus)
            case PolicyAnswered():
                self.swap.hear(worker, stimulus)
            case WorkerClosed():
                self._lose_work(worker, is_gone=True)
                if not worker.is_gone:
                    self._on_closed(worker)
            case WorkerDied():
                self._lose_work(worker, is_gone=True)
                if not worker.is_gone and worker.phase is not Phase.BACKOFF:
                    self._on_died(worker, stimulus, run_stops=run_stops)
        return worker

    def tick(self, budget_s: float) -> None:
        """Time went by: back-offs that are over, leavers out of patience, hangs.

        Args:
            budget_s: How long a request may take.
        """
        for worker in self.workers.values():
            if worker.phase is Phase.BACKOFF and self.t_s >= worker.retry_s:
                self.restart(worker)
            elif worker.leaving and worker.phase in (Phase.LIVE, Phase.CLOSING):
                self._lose_patience(worker)
            elif worker.phase is Phase.LIVE and worker.in_flight:
                self._look_for_hang(worker, budget_s)

    def feed(self, worker: WorkerRecord, *, run_paused: bool, budget_s: float) -> None:
        """Give a live worker its requests, or let those that are out come back.

        Args:
            worker: Which.
            run_paused: The whole run is asked to pause.
            budget_s: How long a request may take.
        """
        if worker.phase is not Phase.LIVE:
            return
        waits = worker.leaving or ((worker.paused or run_paused) and not worker.draining)
        if worker.hurried != (waits and worker.in_flight > 0):
            worker.hurried = not worker.hurried
            self._out.append(HurryWorker(worker.index, worker.incarnation, worker.hurried))
        if worker.in_flight == 0 and (worker.leaving or worker.paused) and waits:
            self._lose_work(worker, is_gone=False)
        if worker.leaving and worker.in_flight == 0:
            self._close(worker)
        if waits:
            self.starved.discard(worker.index)
            return
        while worker.in_flight < MAX_IN_FLIGHT:
            work = self._next_work(worker)
            if self._plan is not None and work is None and not self._goes_on(worker):
                self.starved.add(worker.index)
                return
            if worker.in_flight == 0:
                worker.heard_s = self.t_s
            worker.in_flight += 1
            self.in_flight += 1
            request = RequestRollout(
                worker.index, worker.incarnation, budget_s, drain=worker.draining, work=work
            )
            self._out.append(request)
        self.starved.discard(worker.index)

    # --- inside ------------------------------------------------------------------------------

    def _next_work(self, worker: WorkerRecord) -> Work | None:
        """What a plan has for a worker, which is then its."""
        if self._plan is None:
            return None
        work = None if worker.draining else self._plan.next_work(self.num_live)
        if work is not None or self._goes_on(worker):
            self._plan.note_sent(worker.index, work)
        return work

    def _goes_on(self, worker: WorkerRecord) -> bool:
        """Without new work there is a request for what is under way, or for a drain to end."""
        assert self._plan is not None
        return worker.draining or (worker.in_flight == 0 and self._plan.has_begun(worker.index))

    def _lose_work(self, worker: WorkerRecord, *, is_gone: bool) -> None:
        if is_gone:
            self.starved.discard(worker.index)
        if self._plan is not None:
            self._plan.reclaim(worker.index, is_gone=is_gone)

    def _lose_patience(self, worker: WorkerRecord) -> None:
        grace_s = self._rollout.stop_grace_s
        if self.t_s - worker.leaving_s > grace_s:
            self.kill(worker, worker.fate)
            text = f"worker {worker.index} did not stop within {grace_s:g} s"
            self._event(EventKind.WORKER_HUNG, text, worker.index)

    def _look_for_hang(self, worker: WorkerRecord, budget_s: float) -> None:
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
        self._out.append(RecordEvent(kind, text, worker_index, detail))

    def _set_phase(self, worker: WorkerRecord, phase: Phase) -> None:
        self.num_live += (phase is Phase.LIVE) - (worker.phase is Phase.LIVE)
        self.num_gone += (phase in GONE) - (worker.phase in GONE)
        if phase is not Phase.LIVE:
            self.swap.forget(worker)
        worker.phase = phase
        worker.since_s = self.t_s

    def _close(self, worker: WorkerRecord) -> None:
        self._set_phase(worker, Phase.CLOSING)
        self._out.append(CloseWorker(worker.index, worker.incarnation))

    def _gone(self, worker: WorkerRecord, phase: Phase) -> None:
        self.in_flight -= worker.in_flight
        worker.in_flight = 0
        worker.leaving = worker.draining = False
        self._set_phase(worker, phase)

    def _on_chunk(self, worker: WorkerRecord, chunk: ChunkArrived) -> None:
        if worker.in_flight:
            worker.in_flight -= 1
            self.in_flight -= 1
        if self.t_s - worker.ready_s > self._settings.healthy_after_s:
            worker.failures = 0
        if chunk.error:
            worker.last_error = chunk.error
        if chunk.failures_in_a_row >= self._settings.max_failures_in_a_row:
            worker.fate = AfterExit.FAIL if worker.fate is not AfterExit.STOP else AfterExit.STOP
            worker.leaving = True
            worker.leaving_s = self.t_s
        elif chunk.drained and worker.draining:
            self.leave(worker)

    def _on_closed(self, worker: WorkerRecord) -> None:
        if worker.fate is AfterExit.FAIL:
            self._fail(worker, worker.last_error)
            return
        self._gone(worker, Phase.STOPPED)
        self._event(EventKind.WORKER_STOPPED, f"worker {worker.index} stopped", worker.index)

    def _on_died(self, worker: WorkerRecord, death: WorkerDied, *, run_stops: bool) -> None:
        asked_for = worker.phase is Phase.KILLING
        fate = worker.fate
        self.in_flight -= worker.in_flight
        worker.in_flight = 0
        if fate is AfterExit.RESTART:
            self.restart(worker)
            return
        if not asked_for:
            text = f"worker {worker.index} {death.cause.value}: {death.text}"
            self._event(EventKind.WORKER_DIED, text, worker.index, death.detail)
        if fate is AfterExit.STOP or run_stops:
            self._gone(worker, Phase.STOPPED)
            if asked_for:
                text = f"worker {worker.index} killed"
                self._event(EventKind.WORKER_STOPPED, text, worker.index)
            return
        if fate is AfterExit.FAIL:
            self._fail(worker, worker.last_error)
            return
        worker.failures += 1
        worker.last_error = death.text
        if worker.draining:
            self._gone(worker, Phase.STOPPED)
        elif worker.failures >= self._settings.max_failures_in_a_row:
            self._fail(worker, death.text, death.detail)
        else:
            wait_s = self._settings.backoff_first_s * 2 ** (worker.failures - 1)
            worker.retry_s = self.t_s + min(wait_s, self._settings.backoff_max_s)
            self._set_phase(worker, Phase.BACKOFF)

    def _fail(self, worker: WorkerRecord, reason: str, detail: str = "") -> None:
        worker.last_error = reason
        self._gone(worker, Phase.FAILED)
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
            assert not worker.in_flight or worker.phase in (Phase.LIVE, Phase.KILLING), worker
            assert not (worker.is_gone and (worker.leaving or worker.draining)), worker
        assert sum(worker.in_flight for worker in workers) == self.in_flight
        assert sum(worker.phase is Phase.LIVE for worker in workers) == self.num_live
        assert sum(worker.is_gone for worker in workers) == self.num_gone
