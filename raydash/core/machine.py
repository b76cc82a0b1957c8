"""The pure state machine of a run: stimuli in, instructions out. It decides everything.

No clock, threads, files or Ray: time comes in with each stimulus, and whoever performs the
instructions (the supervisor, the simulated pool, a test) reports back with further stimuli.

    machine = RunMachine(spec, num_workers=8)
    instructions = machine.start(t_s=0.0)
    instructions = machine.handle(WorkerBecameReady(1.2, worker_index=1, incarnation=0))

Rules it keeps (`validate` checks them): at most two requests in flight per worker, none for a
worker that is not live; every command is answered exactly once; a run that is over has no worker.
"""

from collections.abc import Iterable, Mapping

from raydash.core.active_clock import ActiveClock
from raydash.core.command_book import CommandBook, PendingCommand, refusal
from raydash.core.events import EventKind
from raydash.core.faults import Fault
from raydash.core.messages import CommandRun, Verb
from raydash.core.permissions import why_run_cannot, why_worker_cannot
from raydash.core.spec import MAX_WORKERS, RunSpec
from raydash.core.states import Activity, EndedBy, RunState
from raydash.core.stimuli import (
    AnswerCommand,
    ChunkArrived,
    CloseWorker,
    CommandReceived,
    CreateWorker,
    EndRun,
    HurryWorker,
    Instruction,
    KillWorker,
    ProgressSeen,
    ReadersCounted,
    RecordEvent,
    RequestRollout,
    Stimulus,
    Ticked,
    WorkerBecameReady,
    WorkerClosed,
    WorkerDied,
)
from raydash.core.worker_record import (
    MAX_IN_FLIGHT,
    Fate,
    MachineSettings,
    Phase,
    WorkerRecord,
)


class RunMachine:
    """One run's decisions.

    Attributes:
        state: Of the run.
        paused: The whole run is asked to pause.
        ended_by: Why it is stopping or over.
        cause: Why it failed, in words.
        num_workers: How many it is meant to have.
        keep: Somebody chose to keep it when the last engine leaves.
        workers: By index.
    """

    def __init__(
        self,
        spec: RunSpec,
        *,
        num_workers: int,
        settings: MachineSettings | None = None,
        keep: bool = False,
        elapsed_s: float = 0.0,
        num_env_steps: int = 0,
        num_episodes: int = 0,
        incarnations: Mapping[int, int] | None = None,
        paused: bool = False,
    ) -> None:
        """A machine for a new run, or for one that goes on from its recording.

        Args:
            spec: What to run.
            num_workers: How many workers to begin with.
            settings: Times and limits.
            keep: As the attribute.
            elapsed_s: Of the lives of this run before.
            num_env_steps: Likewise.
            num_episodes: Likewise.
            incarnations: The next incarnation of each worker that has lived before.
            paused: The whole run was paused.
        """
        self.state = RunState.STARTING
        self.paused = paused
        self.ended_by: EndedBy | None = None
        self.cause = ""
        self.num_workers = num_workers
        self.keep = keep
        self.workers: dict[int, WorkerRecord] = {}
        self._spec = spec
        self._settings = settings or MachineSettings()
        self._clock = ActiveClock(elapsed_s)
        self._incarnations = dict(incarnations or {})
        self._num_env_steps = num_env_steps
        self._num_episodes = num_episodes
        self._in_flight = 0
        self._t_s = 0.0
        self._orphan_since_s: float | None = 0.0
        self._commands = CommandBook()
        self._out: list[Instruction] = []

    # --- what others may read ----------------------------------------------------------------

    @property
    def elapsed_s(self) -> float:
        """Seconds of stepping: see `ActiveClock`."""
        return self._clock.elapsed_s

    @property
    def is_over(self) -> bool:
        """The run has ended and every worker is gone."""
        return self.state.is_over

    @property
    def has_pending_commands(self) -> bool:
        """Somebody waits for an answer."""
        return not self._commands.is_empty

    def budget_s(self) -> float:
        """How long one request may take: grows with the number of workers."""
        settings = self._settings
        alive = sum(not worker.is_gone for worker in self.workers.values())
        budget = min(
            max(alive * settings.budget_per_worker_s, settings.budget_min_s), settings.budget_max_s
        )
        if self._spec.stop.seconds is not None:
            budget = min(budget, max(0.01, self._spec.stop.seconds - self.elapsed_s))
        return budget

    def activity_of(self, worker: WorkerRecord) -> Activity:
        """What a worker is doing, as far as requests and answers tell."""
        return worker.activity(run_paused=self.paused)

    # --- in and out --------------------------------------------------------------------------

    def start(self, t_s: float) -> list[Instruction]:
        """Begin: create the workers."""
        self._t_s = t_s
        self._orphan_since_s = t_s
        for index in range(1, self.num_workers + 1):
            self._create(index)
        return self._done()

    def handle(self, stimulus: Stimulus) -> list[Instruction]:
        """Take in what happened; give what is to be done."""
        self._t_s = max(self._t_s, stimulus.t_s)
        self._clock.advance(self._t_s, running=self._in_flight > 0)
        if self.is_over:
            self._handle_when_over(stimulus)
            return self._done()
        match stimulus:
            case CommandReceived():
                self._commands.receive(stimulus.token)
                self._on_command(stimulus.token, stimulus.command)
            case ReadersCounted(count=count):
                self._on_readers(count)
            case Ticked():
                self._on_tick()
            case _:
                worker = self.workers.get(stimulus.worker_index)
                if worker is not None and worker.incarnation == stimulus.incarnation:
                    self._on_worker(worker, stimulus)
        self._after()
        return self._done()

    def _done(self) -> list[Instruction]:
        self._clock.advance(self._t_s, running=self._in_flight > 0)
        out, self._out = self._out, []
        return out

    def _handle_when_over(self, stimulus: Stimulus) -> None:
        if isinstance(stimulus, CommandReceived):
            self._commands.receive(stimulus.token)
            reason = why_run_cannot(stimulus.command.verb, self.state, paused=self.paused)
            done = stimulus.command.verb in (Verb.STOP, Verb.KEEP)
            self._answer(stimulus.token, None if done else refusal(stimulus.command.verb, reason))

    # --- commands ----------------------------------------------------------------------------

    def _on_command(self, token: int, command: CommandRun) -> None:
        if command.workers is None:
            self._on_run_command(token, command)
        else:
            self._on_worker_command(token, command.verb, command.workers)

    def _on_run_command(self, token: int, command: CommandRun) -> None:
        verb = command.verb
        reason = why_run_cannot(verb, self.state, paused=self.paused)
        if verb is Verb.STOP and self.state is RunState.STOPPING:
            self._commands.wait(PendingCommand(token, verb))
            return
        if reason:
            self._answer(token, refusal(verb, reason))
            return
        match verb:
            case Verb.PAUSE:
                self.paused = True
                self._event(EventKind.RUN_PAUSED, "paused")
            case Verb.RESUME:
                self.paused = False
                self._overtake(Verb.PAUSE, "the run was resumed before it was paused")
                self._event(EventKind.RUN_RESUMED, "resumed")
            case Verb.STOP:
                self._stop(command.ended_by)
            case Verb.DRAIN:
                self._drain(list(self.workers.values()))
                self.ended_by = EndedBy.DRAINED
                self._event(EventKind.RUN_STOPPING, "draining: every episode is finished first")
            case Verb.SCALE:
                if not self._scale(token, command.num_workers):
                    return
            case Verb.KEEP:
                self.keep = True
            case Verb.KILL | Verb.RESTART:
                targets = tuple(i for i, worker in self.workers.items() if not worker.is_gone)
                self._on_worker_command(token, verb, targets)
                return
        self._commands.wait(PendingCommand(token, verb))

    def _on_worker_command(self, token: int, verb: Verb, indices: Iterable[int]) -> None:
        able: list[WorkerRecord] = []
        reasons: list[str] = []
        for index in dict.fromkeys(indices):
            worker = self.workers.get(index)
            if worker is None:
                reasons.append(f"there is no worker {index}")
                continue
            reason = why_worker_cannot(verb, self.activity_of(worker), worker_paused=worker.paused)
            if reason:
                reasons.append(f"worker {index}: {reason}")
            else:
                able.append(worker)
        if self.state is RunState.STOPPING and verb is not Verb.KILL:
            able, reasons = [], ["the run is stopping"]
        if not able:
            self._answer(token, refusal(verb, "; ".join(reasons[:5]) or "no worker is meant"))
            return
        incarnations = {worker.index: worker.incarnation for worker in able}
        for worker in able:
            self._command_worker(worker, verb)
        self._commands.wait(PendingCommand(token, verb, tuple(incarnations), incarnations))

    def _command_worker(self, worker: WorkerRecord, verb: Verb) -> None:
        number = worker.index
        match verb:
            case Verb.PAUSE:
                worker.paused = True
                self._event(EventKind.WORKER_PAUSED, f"worker {number} paused", number)
            case Verb.RESUME:
                worker.paused = False
                self._event(EventKind.WORKER_RESUMED, f"worker {number} resumed", number)
            case Verb.DRAIN:
                self._drain([worker])
            case Verb.STOP:
                self._leave(worker)
            case Verb.KILL:
                self._kill(worker, Fate.STOP)
            case Verb.RESTART:
                worker.failures = 0
                worker.paused = worker.draining = worker.leaving = False
                if worker.is_gone or worker.phase is Phase.BACKOFF:
                    self._recreate(worker)
                else:
                    self._kill(worker, Fate.RESTART)
            case Verb.SCALE | Verb.KEEP:
                pass

    def _scale(self, token: int, wanted: int | None) -> bool:
        if wanted is None or not 1 <= wanted <= MAX_WORKERS:
            allowed = f"a whole number from 1 to {MAX_WORKERS}"
            fault = Fault(
                f"The run cannot have {wanted} workers",
                f"allowed is {allowed}",
                "Choose another number",
                keys=("rollout.num_workers",),
                bad_input=True,
            )
            self._answer(token, fault)
            return False
        staying = [w for w in self.workers.values() if not (w.is_gone or w.leaving or w.draining)]
        self.num_workers = wanted
        for worker in sorted(staying, key=lambda w: -w.index)[: max(0, len(staying) - wanted)]:
            self._leave(worker)
        missing = wanted - len(staying)
        for worker in sorted(self.workers.values(), key=lambda w: w.index):
            if missing > 0 and worker.phase is Phase.STOPPED:
                worker.failures = 0
                self._recreate(worker)
                missing -= 1
        for _ in range(missing):
            self._create(max(self.workers, default=0) + 1)
        self._event(EventKind.WORKERS_SCALED, f"{len(staying)} → {wanted} workers")
        return True

    def _overtake(self, verb: Verb, reason: str) -> None:
        for token in self._commands.withdraw(verb):
            self._answer(token, refusal(verb, reason))

    def _answer(self, token: int, fault: Fault | None = None) -> None:
        self._commands.answer(token)
        self._out.append(AnswerCommand(token, fault))

    # --- workers -----------------------------------------------------------------------------

    def _create(self, index: int) -> None:
        worker = WorkerRecord(
            index, self._incarnations.get(index, 0), since_s=self._t_s, heard_s=self._t_s
        )
        self.workers[index] = worker
        self._out.append(CreateWorker(index, worker.incarnation))

    def _recreate(self, worker: WorkerRecord) -> None:
        worker.incarnation += 1
        worker.fate = Fate.RECREATE
        worker.leaving = worker.draining = False
        worker.in_flight = 0
        worker.hurried = False
        worker.heard_s = self._t_s
        self._set_phase(worker, Phase.STARTING)
        self._out.append(CreateWorker(worker.index, worker.incarnation))

    def _set_phase(self, worker: WorkerRecord, phase: Phase) -> None:
        worker.phase = phase
        worker.since_s = self._t_s

    def _drain(self, workers: list[WorkerRecord]) -> None:
        for worker in workers:
            if worker.phase is Phase.LIVE:
                worker.draining = True
            elif not worker.is_gone:
                self._leave(worker)

    def _leave(self, worker: WorkerRecord) -> None:
        """Stop a worker: let its requests come back, close it, and be done with it."""
        if worker.is_gone or worker.leaving:
            return
        worker.leaving = True
        worker.leaving_s = self._t_s
        worker.fate = Fate.STOP
        match worker.phase:
            case Phase.BACKOFF:
                self._gone(worker, Phase.STOPPED)
            case Phase.STARTING:
                self._kill(worker, Fate.STOP)
            case Phase.LIVE if worker.in_flight == 0:
                self._close(worker)

    def _close(self, worker: WorkerRecord) -> None:
        self._set_phase(worker, Phase.CLOSING)
        self._out.append(CloseWorker(worker.index, worker.incarnation))

    def _kill(self, worker: WorkerRecord, fate: Fate) -> None:
        if worker.phase is Phase.BACKOFF:
            self._gone(worker, Phase.STOPPED)
            return
        worker.fate = fate
        if worker.phase is not Phase.KILLING:
            self._set_phase(worker, Phase.KILLING)
            self._out.append(KillWorker(worker.index, worker.incarnation))

    def _gone(self, worker: WorkerRecord, phase: Phase) -> None:
        self._in_flight -= worker.in_flight
        worker.in_flight = 0
        worker.leaving = worker.draining = False
        self._set_phase(worker, phase)

    def _on_worker(
        self,
        worker: WorkerRecord,
        stimulus: WorkerBecameReady | ChunkArrived | WorkerDied | WorkerClosed | ProgressSeen,
    ) -> None:
        worker.heard_s = self._t_s
        match stimulus:
            case ProgressSeen():
                pass
            case WorkerBecameReady():
                if worker.phase is Phase.STARTING:
                    worker.ready_s = self._t_s
                    self._set_phase(worker, Phase.LIVE)
                    if worker.incarnation:
                        text = f"worker {worker.index} restarted"
                        self._event(EventKind.WORKER_RESTARTED, text, worker.index)
            case ChunkArrived():
                self._on_chunk(worker, stimulus)
            case WorkerClosed():
                if not worker.is_gone:
                    self._on_closed(worker)
            case WorkerDied():
                if not worker.is_gone and worker.phase is not Phase.BACKOFF:
                    self._on_died(worker, stimulus)

    def _on_chunk(self, worker: WorkerRecord, chunk: ChunkArrived) -> None:
        if worker.in_flight:
            worker.in_flight -= 1
            self._in_flight -= 1
        self._num_env_steps = max(self._num_env_steps, chunk.num_env_steps)
        self._num_episodes = max(self._num_episodes, chunk.num_episodes)
        self._clock.saw_chunk(self._t_s, chunk.duration_s, chunk.first_step_offset_s)
        if self._t_s - worker.ready_s > self._settings.healthy_after_s:
            worker.failures = 0
        if chunk.error:
            worker.last_error = chunk.error
        if chunk.failures_in_a_row >= self._settings.max_failures_in_a_row:
            worker.fate = Fate.FAIL if worker.fate is not Fate.STOP else Fate.STOP
            worker.leaving = True
            worker.leaving_s = self._t_s
        elif chunk.drained and worker.draining:
            self._leave(worker)

    def _on_closed(self, worker: WorkerRecord) -> None:
        if worker.fate is Fate.FAIL:
            self._fail(worker, worker.last_error)
            return
        self._gone(worker, Phase.STOPPED)
        self._event(EventKind.WORKER_STOPPED, f"worker {worker.index} stopped", worker.index)

    def _on_died(self, worker: WorkerRecord, death: WorkerDied) -> None:
        asked_for = worker.phase is Phase.KILLING
        fate = worker.fate
        self._in_flight -= worker.in_flight
        worker.in_flight = 0
        if fate is Fate.RESTART:
            self._recreate(worker)
            return
        if not asked_for:
            text = f"worker {worker.index} {death.cause.value}: {death.text}"
            self._event(EventKind.WORKER_DIED, text, worker.index, death.detail)
        if fate is Fate.STOP or self.state is RunState.STOPPING:
            self._gone(worker, Phase.STOPPED)
            if asked_for:
                text = f"worker {worker.index} killed"
                self._event(EventKind.WORKER_STOPPED, text, worker.index)
            return
        if fate is Fate.FAIL:
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
            worker.retry_s = self._t_s + min(wait_s, self._settings.backoff_max_s)
            self._set_phase(worker, Phase.BACKOFF)

    def _fail(self, worker: WorkerRecord, reason: str, detail: str = "") -> None:
        worker.last_error = reason
        self._gone(worker, Phase.FAILED)
        limit = self._settings.max_failures_in_a_row
        text = f"worker {worker.index} failed {limit} times in a row: {reason}"
        self._event(EventKind.WORKER_FAILED, text, worker.index, detail)

    # --- the run -----------------------------------------------------------------------------

    def _on_readers(self, count: int) -> None:
        if count:
            self._orphan_since_s = None
        elif self._orphan_since_s is None:
            self._orphan_since_s = self._t_s

    def _on_tick(self) -> None:
        rollout = self._spec.rollout
        for worker in self.workers.values():
            if worker.phase is Phase.BACKOFF and self._t_s >= worker.retry_s:
                self._recreate(worker)
            if worker.leaving and worker.phase in (Phase.LIVE, Phase.CLOSING):
                if self._t_s - worker.leaving_s > rollout.stop_grace_s:
                    self._kill(worker, worker.fate)
                    self._event(
                        EventKind.WORKER_HUNG,
                        f"worker {worker.index} did not stop within {rollout.stop_grace_s:g} s",
                        worker.index,
                    )
            elif (
                rollout.hang_timeout_s is not None
                and worker.phase is Phase.LIVE
                and worker.in_flight
                and self._t_s - worker.heard_s > rollout.hang_timeout_s + self.budget_s()
            ):
                text = f"worker {worker.index} was silent for {rollout.hang_timeout_s:g} s"
                self._event(EventKind.WORKER_HUNG, text, worker.index)
                worker.failures += 1
                hopeless = worker.failures >= self._settings.max_failures_in_a_row
                worker.last_error = text
                self._kill(worker, Fate.FAIL if hopeless else Fate.RESTART)
        if (
            self._orphan_since_s is not None
            and not self.keep
            and self._t_s - self._orphan_since_s > rollout.orphan_timeout_s
        ):
            self._stop(EndedBy.ORPHANED)

    def _stop(self, ended_by: EndedBy) -> None:
        if self.state is RunState.STOPPING or self.is_over:
            return
        self.state = RunState.STOPPING
        self.ended_by = ended_by
        self._event(EventKind.RUN_STOPPING, f"stopping ({ended_by.value.replace('_', ' ')})")
        for worker in self.workers.values():
            self._leave(worker)

    def _after(self) -> None:
        """What follows from any stimulus: stop conditions, closes, requests, state, answers."""
        stop = self._spec.stop
        if self.state is not RunState.STOPPING:
            if stop.env_steps is not None and self._num_env_steps >= stop.env_steps:
                self._stop(EndedBy.ENV_STEPS)
            elif stop.episodes is not None and self._num_episodes >= stop.episodes:
                self._stop(EndedBy.EPISODES)
            elif stop.seconds is not None and self.elapsed_s >= stop.seconds:
                self._stop(EndedBy.SECONDS)
        for worker in self.workers.values():
            if worker.phase is Phase.LIVE:
                self._feed(worker)
        self._settle_state()
        self._settle_commands()

    def _feed(self, worker: WorkerRecord) -> None:
        waits = worker.leaving or ((worker.paused or self.paused) and not worker.draining)
        if worker.hurried != (waits and worker.in_flight > 0):
            worker.hurried = not worker.hurried
            self._out.append(HurryWorker(worker.index, worker.incarnation, worker.hurried))
        if worker.leaving and worker.in_flight == 0:
            self._close(worker)
        if waits:
            return
        while worker.in_flight < MAX_IN_FLIGHT:
            if worker.in_flight == 0:
                worker.heard_s = self._t_s
            worker.in_flight += 1
            self._in_flight += 1
            self._out.append(
                RequestRollout(
                    worker.index, worker.incarnation, self.budget_s(), drain=worker.draining
                )
            )

    def _settle_state(self) -> None:
        workers = self.workers.values()
        if all(worker.is_gone for worker in workers):
            self._end()
        elif self.state is not RunState.STOPPING:
            if self.paused and self._in_flight == 0:
                self.state = RunState.PAUSED
            elif self.state is RunState.PAUSED or any(w.phase is Phase.LIVE for w in workers):
                self.state = RunState.RUNNING

    def _end(self) -> None:
        failed = [worker for worker in self.workers.values() if worker.phase is Phase.FAILED]
        if self.ended_by in (EndedBy.SECONDS, EndedBy.ENV_STEPS, EndedBy.EPISODES):
            self.state = RunState.FINISHED
        elif self.ended_by is None and failed:
            self.state = RunState.FAILED
            self.ended_by = EndedBy.WORKERS_FAILED
            self.cause = failed[0].last_error
        else:
            self.state = RunState.STOPPED
            self.ended_by = self.ended_by or EndedBy.USER
        assert self.ended_by is not None
        self._event(EventKind.RUN_ENDED, f"{self.state.value} ({self.ended_by.value})")
        self._out.append(EndRun(self.state, self.ended_by, self.cause))

    def _settle_commands(self) -> None:
        for token, fault in self._commands.settled(self.workers, is_over=self.is_over):
            self._answer(token, fault)

    def _event(
        self, kind: EventKind, text: str, worker_index: int | None = None, detail: str = ""
    ) -> None:
        self._out.append(RecordEvent(kind, text, worker_index, detail))

    # --- for tests ---------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise AssertionError if a rule of this module is broken."""
        total = 0
        for worker in self.workers.values():
            assert 0 <= worker.in_flight <= MAX_IN_FLIGHT, worker
            assert not worker.in_flight or worker.phase in (Phase.LIVE, Phase.KILLING), worker
            assert not (worker.is_gone and (worker.leaving or worker.draining)), worker
            total += worker.in_flight
        assert total == self._in_flight, (total, self._in_flight)
        self._commands.validate()
        if self.is_over:
            assert all(worker.is_gone for worker in self.workers.values())
            assert self._commands.is_empty
            assert self.ended_by is not None
