"""The pure state machine of a run: stimuli in, instructions out. It decides everything.

It uses no clock, threads, files or Ray. Time comes in with each stimulus, and never goes back. The
caller (the supervisor, a test) performs the instructions and reports with more stimuli.

    machine = RunMachine(spec, RequestedState(num_workers=8))
    instructions = machine.start(t_s=0.0)
    instructions = machine.handle(WorkerClosed(worker_index=1, incarnation=0), t_s=1.2)

It keeps these rules, which `validate` checks: a worker has at most two requests in flight, and none
unless it is live; every command is answered exactly once; a run that is over has no worker.
"""

from collections.abc import Iterable, Mapping, Sequence

from raydash.core.events import EventKind
from raydash.core.faults import Fault
from raydash.core.machine.active_clock import ActiveClock
from raydash.core.machine.fleet import Fleet
from raydash.core.machine.generation_plan import GenerationPlan, PastLearning
from raydash.core.machine.pending_commands import PendingCommand, PendingCommands, refusal
from raydash.core.machine.permissions import why_run_cannot, why_worker_cannot
from raydash.core.machine.requested_state import RequestedState
from raydash.core.machine.stimuli import (
    AnswerCommand,
    ChunkArrived,
    ChunkBatch,
    CommandReceived,
    CostFound,
    EndRun,
    Instruction,
    LearnerDied,
    LearnerFaulted,
    PolicyVersion,
    ReadersCounted,
    RecordEvent,
    Stimulus,
    Ticked,
    WorkerNews,
)
from raydash.core.machine.worker_record import (
    MachineSettings,
    WorkerPhase,
    WorkerRecord,
)
from raydash.core.messages import Verb
from raydash.core.records import ParametersReady, PolicyWritten
from raydash.core.spec import MAX_WORKERS, RunSpec
from raydash.core.states import Activity, EndedBy, RunState

_MET_CONDITIONS = (EndedBy.SECONDS, EndedBy.ENV_STEPS, EndedBy.EPISODES, EndedBy.TARGET)
"""The run ended because a stop condition of its spec was met."""


class RunMachine:
    """Decides what happens in one run.

    Attributes:
        paused: The whole run is asked to pause.
        ended_by: Why it is stopping or over.
        cause: Why it failed, in words.
        num_workers: How many it should have.
        keep: Somebody chose to keep it when the last engine leaves.
        plan: Which episodes are played to learn; None: nothing learns.
    """

    def __init__(
        self,
        spec: RunSpec,
        commanded: RequestedState,
        *,
        settings: MachineSettings | None = None,
        elapsed_s: float = 0.0,
        num_env_steps: int = 0,
        num_episodes: int = 0,
        incarnations: Mapping[int, int] | None = None,
        num_restarts: int = 0,
        learning: PastLearning | None = None,
    ) -> None:
        """Begin a new run, or go on with one from its recording.

        A run that goes on brings what earlier supervisors counted (`elapsed_s`, `num_env_steps`,
        `num_episodes`, `num_restarts`), the next incarnation of each worker, and what was learnt.
        `commanded` is the state to begin with; a new run names at least its number of workers.
        """
        self.state = RunState.STARTING
        self.paused = commanded.paused
        self.ended_by = commanded.ended_by
        self.cause = ""
        self.num_workers = commanded.num_workers
        self.keep = commanded.keep
        self._spec = spec
        self._initial = commanded
        self._settings = settings or MachineSettings()
        self._clock = ActiveClock(elapsed_s)
        self._num_env_steps = num_env_steps
        self._num_episodes = num_episodes
        self._t_s = 0.0
        self._orphan_since_s: float | None = 0.0
        self._saving_since_s: float | None = None
        self._commands = PendingCommands()
        self._instructions: list[Instruction] = []
        self.plan = (
            None
            if spec.learner.kind is None
            else GenerationPlan(spec, self._instructions, learning)
        )
        self._fleet = Fleet(
            spec.rollout,
            self._settings,
            incarnations or {},
            self._instructions,
            num_restarts=num_restarts,
            plan=self.plan,
            version=commanded.version,
        )

    # --- what others may read ----------------------------------------------------------------

    @property
    def workers(self) -> Mapping[int, WorkerRecord]:
        """All workers, by index."""
        return self._fleet.workers

    @property
    def elapsed_s(self) -> float:
        """Seconds of stepping, as `ActiveClock` counts them."""
        return self._clock.elapsed_s

    @property
    def commanded(self) -> RequestedState:
        """The state that the run was asked to be in, for the next supervisor to go on from."""
        workers = self.workers.items()
        return RequestedState(
            num_workers=self.num_workers,
            keep=self.keep,
            paused=self.paused,
            paused_workers=tuple(index for index, worker in workers if worker.paused),
            stopped_workers=tuple(
                i for i, worker in workers if worker.final_phase is WorkerPhase.STOPPED
            ),
            failed_workers=tuple(
                i for i, worker in workers if worker.final_phase is WorkerPhase.FAILED
            ),
            last_worker=len(workers),
            ended_by=self.ended_by,
            version=self.version,
        )

    @property
    def version(self) -> PolicyVersion:
        """The policy that chooses the actions since the last swap."""
        return self._fleet.swap.version

    @property
    def weights_seq_no(self) -> int:
        """How often the parameters or the policy changed, by a learner or by swaps."""
        if self.plan is not None:
            return self.plan.weights_seq_no
        return self.version.weights_seq_no

    @property
    def num_restarts(self) -> int:
        """How often a worker was restarted after a death or on demand, lifetime."""
        return self._fleet.num_restarts

    @property
    def is_over(self) -> bool:
        """The run has ended and every worker is gone."""
        return self.state.is_over

    @property
    def num_starting(self) -> int:
        """Workers without a ready environment, whose memory is not in use yet."""
        return self._fleet.num_alive - self._fleet.num_live

    @property
    def has_pending_commands(self) -> bool:
        """A command still waits for its answer."""
        return not self._commands.is_empty

    def budget_s(self) -> float:
        """How long one request may take; it grows with the number of workers."""
        budget = self._settings.budget_s(self._fleet.num_alive)
        if self._spec.stop.seconds is not None:
            budget = min(budget, max(0.01, self._spec.stop.seconds - self.elapsed_s))
        return budget

    def settle_s(self) -> float:
        """How late a chunk may arrive for its bucket of the history."""
        return self._settings.settle_s(self._fleet.num_alive)

    def activity_of(self, worker: WorkerRecord) -> Activity:
        """Say what a worker is doing, as far as its requests and replies tell."""
        return worker.activity(run_paused=self.paused)

    # --- in and out --------------------------------------------------------------------------

    def start(self, t_s: float) -> list[Instruction]:
        """Create the workers. A run that is stopping, or has no worker left, ends at once."""
        self._t_s = self._fleet.t_s = self._orphan_since_s = t_s
        self._stop_if_due()
        before = self._initial
        continues = self.ended_by is None
        if continues and self.plan is not None:
            self.plan.start()
        stopped, failed = set(before.stopped_workers), set(before.failed_workers)
        paused = set(before.paused_workers)
        for index in range(1, max(before.num_workers, before.last_worker) + 1):
            is_paused = index in paused
            if index in failed:
                self._fleet.add_gone(WorkerPhase.FAILED, paused=is_paused)
            elif index in stopped or not continues:
                self._fleet.add_gone(WorkerPhase.STOPPED, paused=is_paused)
            else:
                self._fleet.create(paused=is_paused)
        if self._fleet.num_alive == 0:
            self.state = RunState.STOPPING
            self._update_run_state()
        return self._take_instructions()

    def handle(self, stimulus: Stimulus, t_s: float) -> list[Instruction]:
        """Take in what happened at `t_s`, on the run's clock, and return what to do."""
        self._t_s = self._fleet.t_s = max(self._t_s, t_s)
        self._clock.advance(self._t_s, running=self._is_active())
        if self.is_over:
            self._handle_when_over(stimulus)
            return self._take_instructions()
        match stimulus:
            case ChunkBatch():
                for chunk in stimulus.rows():
                    if not self.is_over:
                        self._on_chunk(chunk)
                return self._take_instructions()
            case CommandReceived():
                self._commands.note_received()
                self._on_command(stimulus)
            case CostFound(text=text):
                self._event(EventKind.COST_FOUND, text)
            case ReadersCounted(count=count):
                self._on_readers(count)
            case Ticked():
                self._on_tick()
            case ParametersReady() | LearnerFaulted() | LearnerDied() | PolicyWritten():
                if self.plan is not None:
                    self.plan.on_learner(stimulus, self._t_s)
            case _:
                self._on_worker(stimulus)
                return self._take_instructions()
        self._stop_if_due()
        self._send_requests(self.workers.values())
        self._update_run_state()
        return self._take_instructions()

    def _is_active(self) -> bool:
        """Tell whether time counts for the run: something steps, or waits for the learner."""
        waits = self.plan is not None and self.plan.waits_for_learner and not self.paused
        return self._fleet.in_flight > 0 or (waits and self._fleet.num_live > 0)

    def _take_instructions(self) -> list[Instruction]:
        self._clock.advance(self._t_s, running=self._is_active())
        instructions = list(self._instructions)
        self._instructions.clear()
        return instructions

    def _handle_when_over(self, stimulus: Stimulus) -> None:
        if isinstance(stimulus, CommandReceived):
            verb = stimulus.command.verb
            self._commands.note_received()
            done = verb in (Verb.STOP, Verb.KEEP)
            self._answer(stimulus, None if done else refusal(verb, self._why_cannot(verb)))

    # --- commands ----------------------------------------------------------------------------

    def _on_command(self, received: CommandReceived) -> None:
        workers = received.command.workers
        if workers is None:
            self._on_run_command(received)
        else:
            self._on_worker_command(received, workers)

    def _on_run_command(self, received: CommandReceived) -> None:
        command = received.command
        verb = command.verb
        reason = self._why_cannot(verb)
        if verb is Verb.STOP and self.state is RunState.STOPPING:
            self._commands.add(PendingCommand(received))
            return
        if reason:
            self._answer(received, refusal(verb, reason))
            return
        match verb:
            case Verb.PAUSE:
                self.paused = True
                self._event(EventKind.RUN_PAUSED, "paused")
            case Verb.RESUME:
                self.paused = False
                self._fail_overtaken(Verb.PAUSE, "the run was resumed before it was paused")
                self._event(EventKind.RUN_RESUMED, "resumed")
            case Verb.STOP:
                self._stop(command.ended_by)
            case Verb.DRAIN:
                for worker in self.workers.values():
                    self._fleet.drain(worker)
                self.ended_by = EndedBy.DRAINED
                self._event(EventKind.RUN_STOPPING, "draining: every episode is finished first")
            case Verb.SCALE:
                wanted = command.num_workers
                if wanted is None or not 1 <= wanted <= MAX_WORKERS:
                    self._answer(received, _impossible_scale(wanted))
                    return
                self.num_workers = wanted
                self._fleet.scale(wanted)
            case Verb.KEEP:
                self.keep = True
            case Verb.SWAP:
                if command.policy is None:
                    self._answer(received, refusal(verb, "no policy is given"))
                    return
                self._fleet.swap.begin(command.policy, self.workers.values())
            case Verb.KILL | Verb.RESTART:
                targets = tuple(i for i, worker in self.workers.items() if not worker.is_gone)
                self._on_worker_command(received, targets)
                return
        self._commands.add(PendingCommand(received))

    def _on_worker_command(self, received: CommandReceived, indices: Iterable[int]) -> None:
        verb = received.command.verb
        targets: list[WorkerRecord] = []
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
                targets.append(worker)
        if self.state is RunState.STOPPING and verb is not Verb.KILL:
            targets, reasons = [], ["the run is stopping"]
        elif verb is Verb.RESTART and (reason := self._why_cannot(verb)):
            targets, reasons = [], [reason]
        if not targets:
            self._answer(received, refusal(verb, "; ".join(reasons[:5]) or "no worker is meant"))
            return
        incarnations = {worker.index: worker.incarnation for worker in targets}
        for worker in targets:
            self._fleet.command(worker, verb)
        self._commands.add(PendingCommand(received, tuple(incarnations), incarnations))

    def _why_cannot(self, verb: Verb) -> str:
        return why_run_cannot(
            verb,
            self.state,
            paused=self.paused,
            learns=self._spec.learner.kind is not None,
            draining=self.ended_by is EndedBy.DRAINED,
            swapping=self._fleet.swap.is_open,
        )

    def _fail_overtaken(self, verb: Verb, reason: str) -> None:
        for received in self._commands.withdraw(verb):
            self._answer(received, refusal(verb, reason))

    def _answer(self, received: CommandReceived, fault: Fault | None = None) -> None:
        self._commands.note_answered()
        self._instructions.append(AnswerCommand(received, fault))

    # --- the run -----------------------------------------------------------------------------

    def _on_readers(self, count: int) -> None:
        if count:
            self._orphan_since_s = None
        elif self._orphan_since_s is None:
            self._orphan_since_s = self._t_s

    def _on_worker(self, stimulus: WorkerNews) -> None:
        """Take in news of one worker. Nothing here looks at all of them: there may be thousands."""
        worker = self._fleet.handle(stimulus, run_stops=self.state is RunState.STOPPING)
        if worker is not None:
            self._go_on_with(worker)

    def _on_chunk(self, chunk: ChunkArrived) -> None:
        worker = self._fleet.on_chunk(chunk)
        if worker is None:
            return
        self._num_env_steps = max(self._num_env_steps, chunk.num_env_steps)
        self._num_episodes = max(self._num_episodes, chunk.num_episodes)
        self._clock.note_chunk(self._t_s, chunk.duration_s, chunk.first_step_offset_s)
        if self.plan is not None and chunk.played is not None:
            self.plan.on_played(worker.index, chunk.played, self._t_s, self._num_env_steps)
        self._go_on_with(worker)

    def _go_on_with(self, worker: WorkerRecord) -> None:
        """Do what follows from a worker's news: for the run, for this worker, for idle others."""
        self._stop_if_due()
        stops = self.state is RunState.STOPPING
        self._send_requests(self.workers.values() if stops else (worker,))
        if self.plan is not None and self.plan.has_work:
            self._send_requests([self.workers[index] for index in sorted(self._fleet.starved)])
        self._update_run_state()

    def _on_tick(self) -> None:
        self._fleet.tick(self.budget_s())
        if (
            self._orphan_since_s is not None
            and not self.keep
            and self._t_s - self._orphan_since_s > self._spec.rollout.orphan_timeout_s
        ):
            self._stop(EndedBy.ORPHANED)

    def _stop(self, ended_by: EndedBy) -> None:
        if self.state is RunState.STOPPING or self.is_over:
            return
        self.state = RunState.STOPPING
        self.ended_by = ended_by
        if self.plan is not None:
            self.plan.end()
        self._event(EventKind.RUN_STOPPING, f"stopping ({ended_by.value.replace('_', ' ')})")
        for worker in self.workers.values():
            self._fleet.stop(worker)

    def _stop_if_due(self) -> None:
        stop = self._spec.stop
        if self.state is RunState.STOPPING:
            return
        if self.plan is not None and self.plan.fault is not None:
            self._stop(EndedBy.LEARNER_FAILED)
        elif self.plan is not None and self.plan.has_reached_target:
            self._stop(EndedBy.TARGET)
        elif stop.env_steps is not None and self._num_env_steps >= stop.env_steps:
            self._stop(EndedBy.ENV_STEPS)
        elif stop.episodes is not None and self._num_episodes >= stop.episodes:
            self._stop(EndedBy.EPISODES)
        elif stop.seconds is not None and self.elapsed_s >= stop.seconds:
            self._stop(EndedBy.SECONDS)

    def _send_requests(self, workers: Iterable[WorkerRecord]) -> None:
        budget_s = self.budget_s()
        for worker in workers:
            self._fleet.send_requests(worker, run_paused=self.paused, budget_s=budget_s)

    def _update_run_state(self) -> None:
        """Bring the run's state up to date, and answer the commands that took effect."""
        fleet = self._fleet
        if fleet.num_alive:
            self._saving_since_s = None
        if fleet.num_alive == 0:
            if not self._waits_for_saving():
                self._end()
        elif self.state is not RunState.STOPPING:
            if self.paused and fleet.in_flight == 0:
                self.state = RunState.PAUSED
            elif self.state is RunState.PAUSED or fleet.num_live:
                self.state = RunState.RUNNING
        if fleet.swap.is_answered and not self.is_over:
            coming = (Activity.STARTING, Activity.RESTARTING)
            others_are_coming = any(self.activity_of(w) in coming for w in self.workers.values())
            fault = fleet.swap.close(others_are_coming=others_are_coming)
            for received in self._commands.withdraw(Verb.SWAP):
                self._answer(received, fault)
        for received, fault in self._commands.pop_settled(self.workers, is_over=self.is_over):
            self._answer(received, fault)

    def _waits_for_saving(self) -> bool:
        """Tell whether the end must wait for the best policy; give it up once its time is over."""
        plan, grace_s = self.plan, self._settings.save_grace_s
        if plan is None or not plan.is_saving:
            return False
        if self._saving_since_s is None:
            self._saving_since_s = self._t_s
        if self._t_s - self._saving_since_s < grace_s:
            return True
        plan.give_up_saving(grace_s)
        return False

    def _end(self) -> None:
        if self.plan is not None:
            self.plan.end()
        failed = [w for w in self.workers.values() if w.phase is WorkerPhase.FAILED]
        plan_fault = self.plan.fault if self.plan is not None else None
        self.state, self.ended_by, self.cause = _outcome(self.ended_by, failed, plan_fault)
        self._event(EventKind.RUN_ENDED, f"{self.state.value} ({self.ended_by.value})")
        self._instructions.append(EndRun(self.state, self.ended_by, self.cause))

    def _event(
        self, kind: EventKind, text: str, worker_index: int | None = None, detail: str = ""
    ) -> None:
        self._instructions.append(RecordEvent(kind, text, worker_index, detail))

    # --- for tests ---------------------------------------------------------------------------

    def validate(self) -> None:
        """Raise AssertionError if a rule is broken."""
        self._fleet.validate()
        if self.plan is not None:
            self.plan.validate()
        self._commands.validate()
        if self.is_over:
            assert all(worker.is_gone for worker in self.workers.values())
            assert self._commands.is_empty
            assert self.ended_by is not None


def _impossible_scale(wanted: int | None) -> Fault:
    return Fault(
        f"The run cannot have {wanted} workers",
        f"allowed is a whole number from 1 to {MAX_WORKERS}",
        "Choose another number",
        keys=("rollout.num_workers",),
        bad_input=True,
    )


def _outcome(
    ended_by: EndedBy | None, failed: Sequence[WorkerRecord], plan_fault: Fault | None
) -> tuple[RunState, EndedBy, str]:
    """Say how a run without workers ended, why, and what made it fail, in words."""
    if ended_by is None and failed:
        return RunState.FAILED, EndedBy.WORKERS_FAILED, failed[0].last_error
    if ended_by is EndedBy.LEARNER_FAILED:
        cause = plan_fault.sentence() if plan_fault is not None else "the learner failed"
        return RunState.FAILED, ended_by, cause
    if ended_by is not None and ended_by in _MET_CONDITIONS:
        return RunState.FINISHED, ended_by, ""
    return RunState.STOPPED, ended_by or EndedBy.USER, ""
