"""The supervisor carries out one run: a thin shell around the state machine, without any Ray.

A loop calls `turn` and `rest`, twenty to a hundred times a second. Reports of workers and commands
of readers go into the machine; its instructions go to the pool, the recording and the readers.
Readers `pull` from other threads. The state is versioned by `seq`, and a reader names the last
version that it has (core.updates).
"""

import itertools
import math
import statistics
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from raydash.core.clock import Clock
from raydash.core.events import Event, EventKind
from raydash.core.faults import Fault, FaultError
from raydash.core.history.history import History, HistoryRows, Tier
from raydash.core.machine.fleet import WorkerStimulus
from raydash.core.machine.machine import RunMachine
from raydash.core.machine.stimuli import (
    AnswerCommand,
    AskLearner,
    ChunkArrived,
    CloseWorker,
    CommandReceived,
    CreateLearner,
    CreateWorker,
    EndRun,
    HurryWorker,
    Instruction,
    KillWorker,
    ParametersArrived,
    PolicyAnswered,
    ProgressSeen,
    ReadersCounted,
    RecordEvent,
    RequestRollout,
    SavePolicy,
    SetPolicy,
    Ticked,
    WorkerBecameReady,
    WorkerClosed,
    WorkerDied,
)
from raydash.core.machine.worker_record import AfterExit
from raydash.core.messages import (
    PROTOCOL_VERSION,
    Answer,
    CommandRun,
    HistoryRange,
    RunSummary,
)
from raydash.core.records import (
    EpisodeColumns,
    PolicySet,
    RolloutChunk,
    Work,
    WorkerReady,
)
from raydash.core.spec import RunSpec
from raydash.core.states import RunState
from raydash.core.updates import (
    Generations,
    HistoryDelta,
    RunFigures,
    RunInfo,
    RunUpdate,
    SupervisorHealth,
)
from raydash.protocol.codec import encode
from raydash.record.file.rows import RecordBatch
from raydash.supervise.account.backlog import Backlog
from raydash.supervise.account.chunk_merger import ChunkMerger
from raydash.supervise.account.error_fold import ErrorFold
from raydash.supervise.account.ledger import Ledger
from raydash.supervise.account.roster import Probes, Roster
from raydash.supervise.learning import Learning
from raydash.supervise.pools.learner_client import LearnerClient
from raydash.supervise.pools.pool import Closed, CostFound, Died, Report, WorkerPool
from raydash.supervise.readers import Readers
from raydash.supervise.sinks import LiveSinks, NoSinks

PUBLISH_EVERY_S = 0.1
FEW_CHUNKS = 2
PUBLISH_FEW_EVERY_S = 0.2
"""With one or two chunks pending, wait for more before publishing; any other news is published
after `PUBLISH_EVERY_S`."""
PUBLISH_QUIET_EVERY_S = 0.5
"""Even when nothing comes in, publish twice a second: ages and rates change by themselves."""
CALM_TURN_S = PUBLISH_EVERY_S
"""With shorter turns, a version would have to wait for the second turn after it was due."""
BRISK_TURN_S = 0.01
BATCHING_S = 0.002
"""While the run learns, let replies pile up for this long before waiting for the next one."""
LAST_PULL_GRACE_S = 10.0
RESULTS_SPAN_S = 10.0
HISTORY_EVERY_S = 10.0
"""How often closed buckets of the whole run's history are handed to the recording."""
_ROUNDING_S = 1e-6
_NO_BUCKETS = Tier(merges=False, capacity=0).delta(0)


class Recording(Protocol):
    """Records everything that happens. Writing never raises, and never waits for a disk."""

    @property
    def fault(self) -> str:
        """Why recording fails, in words; empty while it works."""

    @property
    def lag_s(self) -> float:
        """How long the oldest uncommitted entry has been waiting."""

    @property
    def num_bytes(self) -> int:
        """Size of the file."""

    def add(self, batch: RecordBatch, *, urgent: bool) -> None:
        """Record what a version brought.

        An urgent batch should be on disk before any reader sees it, so this waits for it briefly.
        """

    def history(self, start_s: float, end_s: float, num_buckets: int) -> HistoryDelta | None:
        """Read a part of the run's history from disk; None if nothing is recorded.

        May be called from any thread, waits for the disk, and raises a FaultError if that fails.
        """

    def close(self, last: RunUpdate) -> None:
        """Write how the run ended and close the file."""


class Supervisor:
    """Carries out one run.

    `start`, `turn` and `rest` belong on one thread; everything else may be called from any.
    """

    def __init__(
        self,
        spec: RunSpec,
        info: RunInfo,
        *,
        machine: RunMachine,
        pool: WorkerPool,
        probes: Probes,
        recording: Recording,
        clock: Clock,
        started_s: float,
        ledger: Ledger | None = None,
        history: History | None = None,
        events: Sequence[Event] = (),
        health: SupervisorHealth | None = None,
        earlier_fault: str = "",
        sinks: LiveSinks | None = None,
        learner: LearnerClient | None = None,
        generations: Generations | None = None,
    ) -> None:
        """Prepare a new run, or one that goes on from its recording.

        The machine must not have been started yet. `started_s` is the run's start on `clock`, which
        is monotonic. A run that goes on brings its `ledger`, `history`, `events`, `generations` and
        the incarnation in `health`; `earlier_fault` says in words what was wrong with its
        recording. Without a `learner`, the policy stays as it is.
        """
        self.spec = spec
        self.info = info
        self._machine = machine
        self._pool = pool
        self._probes = probes
        self._recording = recording
        self._clock = clock
        self._started_s = started_s
        self._ledger = ledger or Ledger()
        self._history = history or History()
        self._health = health or SupervisorHealth()
        self._earlier_fault = earlier_fault
        self._recording_fails = False
        self._sinks = sinks or NoSinks()
        self._roster = Roster()
        self._changed = threading.Condition()
        self._wake_up = threading.Event()
        self._seq = 1
        self._backlog = Backlog(
            events=events, num_episodes=self._ledger.num_episodes(), seq=self._seq
        )
        self._learning = Learning(
            machine.plan, learner, generations or Generations(), seq=self._seq
        )
        self._next_event = events[-1].number + 1 if events else 1
        self._unrecorded: list[Event] = []
        self._chunk_merger = ChunkMerger()
        self._ignored_info = {
            event.detail for event in events if event.kind is EventKind.INFO_IGNORED
        }
        self._errors = ErrorFold()
        self._has_news = True
        self._commanded = machine.commanded
        self._submitted: deque[tuple[str, CommandRun]] = deque()
        self._pending_commands: dict[int, tuple[str, CommandRun]] = {}
        self._next_token = itertools.count(1)
        self._readers = Readers(clock)
        self._num_readers = 0
        self._progress_s: dict[int, float] = {}
        self._last_publish_s = -PUBLISH_EVERY_S
        self._last_history_s = 0.0
        self._turn_ms: deque[float] = deque(maxlen=200)
        self._result_times: deque[float] = deque()
        self._final: RunUpdate | None = None
        self._ended_s: float | None = None
        self._published_state: RunUpdate | None = None
        self._cache: tuple[int, int, bytes] = (0, 0, b"")

    # --- the loop ----------------------------------------------------------------------------

    def start(self) -> None:
        """Begin the run by creating its workers."""
        with self._changed:
            t_s = self._now_s()
            is_restart = self._health.incarnation > 0
            kind = EventKind.SUPERVISOR_RESTARTED if is_restart else EventKind.RUN_STARTED
            text = "supervisor restarted, the run goes on" if is_restart else "run started"
            if self._machine.ended_by is not None:
                text = "supervisor restarted while the run was ending"
            self._add_event(RecordEvent(kind, text), t_s)
            if self._earlier_fault:
                self._add_event(RecordEvent(EventKind.RECORDING_FAILED, self._earlier_fault), t_s)
            self._perform(self._machine.start(t_s), t_s)
            self._commanded = self._machine.commanded

    def turn(self) -> None:
        """Do one round of the loop, which waits for nothing but for commands to be recorded."""
        began_s = self._clock()
        with self._changed:
            t_s = self._now_s()
            for report, later_chunks_s in _with_later_chunk_time(self._pool.collect()):
                self._has_news |= not isinstance(report, RolloutChunk)
                self._on_report(report, t_s, later_chunks_s)
            self._collect_from_learner(t_s)
            has_commands = self._handle_commands(t_s)
            if self._ended_s is None:
                self._perform(self._machine.handle(Ticked(t_s)), t_s)
            since_s = t_s - self._last_publish_s + _ROUNDING_S
            if has_commands or self._readers.has_new_answer or since_s >= self._publish_every_s():
                self._note_readers_and_progress(t_s)
                self._publish(t_s)
        if self._final is not None and self._ended_s is None:
            self._close_recording(self._final)
        self._turn_ms.append((self._clock() - began_s) * 1000)

    def rest(self) -> None:
        """Wait for the next turn: long while all is calm, briefly while somebody is waiting."""
        with self._changed:
            calm = self._machine.state is RunState.RUNNING
            waited_for = self._machine.has_pending_commands or not calm
        if calm and self._learning.is_on:
            # A generation waits for its slowest chunk and then for the learner: don't add a poll.
            self._wake_up.wait(BATCHING_S)
            self._learning.wait(self._pool.pending_refs())
            self._wake_up.clear()
            return
        self._wake_up.wait(BRISK_TURN_S if waited_for else CALM_TURN_S)
        self._wake_up.clear()

    @property
    def is_done(self) -> bool:
        """The run is over and recorded, and all readers and sinks know (or had time to)."""
        if self._ended_s is None or not self._sinks.is_closed:
            return False
        with self._changed:
            all_saw_end = self._readers.all_saw_end
        return all_saw_end or self._clock() - self._ended_s > LAST_PULL_GRACE_S

    def _now_s(self) -> float:
        return self._clock() - self._started_s

    def _publish_every_s(self) -> float:
        """How long after the previous version the next one is due, given what has come in."""
        if self._has_news or self._chunk_merger.num_chunks > FEW_CHUNKS:
            return PUBLISH_EVERY_S
        return PUBLISH_FEW_EVERY_S if self._chunk_merger.num_chunks else PUBLISH_QUIET_EVERY_S

    def _on_report(self, report: Report, t_s: float, later_chunks_s: float = 0.0) -> None:
        if self._ended_s is not None:
            return  # the account is closed, and so is its recording
        match report:
            case RolloutChunk():
                self._on_chunk(report, t_s, later_chunks_s)
                return
            case CostFound(text=text):
                self._add_event(RecordEvent(EventKind.COST_FOUND, text), t_s)
                return
            case WorkerReady(worker_index=index, incarnation=incarnation):
                self._roster.add(report)
                self._probes.watch(report)
                self._learning.on_worker_ready(report)
                stimulus: WorkerStimulus = WorkerBecameReady(t_s, index, incarnation)
            case PolicySet():
                stimulus = _policy_stimulus(report, t_s)
            case Closed(worker_index=index, incarnation=incarnation):
                worker = self._machine.workers.get(index)
                failed = worker is not None and worker.fate is AfterExit.FAIL
                self._remove_worker(index, incarnation, keep_log=failed)
                stimulus = WorkerClosed(t_s, index, incarnation)
            case Died(
                worker_index=index, incarnation=incarnation, cause=cause, text=text, detail=detail
            ):
                self._remove_worker(index, incarnation, keep_log=True)
                stimulus = WorkerDied(t_s, index, incarnation, cause, text, detail)
        self._perform(self._machine.handle(stimulus), t_s)

    def _collect_from_learner(self, t_s: float) -> None:
        if self._ended_s is not None:
            return
        for stimulus in self._learning.collect(t_s):
            self._has_news |= not isinstance(stimulus, ParametersArrived)
            self._perform(self._machine.handle(stimulus), t_s)

    def _remove_worker(self, worker_index: int, incarnation: int, *, keep_log: bool) -> None:
        ready = self._roster.ready_of(worker_index)
        if ready is None or ready.incarnation != incarnation:
            return  # it was never ready, or its successor already is
        self._roster.remove(worker_index)
        self._probes.forget(worker_index)
        if keep_log:
            self._probes.keep_log(ready)

    def _on_chunk(self, chunk: RolloutChunk, t_s: float, later_chunks_s: float) -> None:
        index, incarnation = chunk.worker_index, chunk.incarnation
        worker = self._machine.workers.get(index)
        if worker is None or worker.incarnation != incarnation:
            return  # its incarnation is over, and what was in flight is lost with it
        steps = self._ledger.add_chunk(chunk, t_s)
        self._chunk_merger.add(chunk, ended_s=max(0.0, t_s - later_chunks_s), steps=steps)
        self._note_ignored(chunk.ignored_info, t_s)
        self._result_times.append(t_s)
        self._errors.add_chunk(chunk, t_s)
        stimulus = ChunkArrived(
            t_s,
            index,
            incarnation,
            chunk.duration_s,
            chunk.first_step_offset_s,
            self._ledger.num_env_steps(),
            self._ledger.num_episodes(),
            chunk.failures_in_a_row,
            chunk.errors[-1].message if chunk.errors else "",
            chunk.drained,
            self._learning.played_work(chunk),
        )
        self._perform(self._machine.handle(stimulus), t_s)

    def _note_ignored(self, info_keys: Sequence[str], t_s: float) -> None:
        """Say once for each key of info that its values can't be plotted."""
        for key in info_keys:
            if key not in self._ignored_info:
                self._ignored_info.add(key)
                text = f"info {key} holds something else than a number: ignored"
                self._add_event(RecordEvent(EventKind.INFO_IGNORED, text, detail=key), t_s)

    def _note_errors(self, t_s: float, *, everything: bool = False) -> None:
        for errors in self._errors.due(t_s, everything=everything):
            event = RecordEvent(
                EventKind.ENV_ERROR, errors.text, errors.worker_index, errors.detail
            )
            self._add_event(event, t_s, errors.count)

    def _handle_commands(self, t_s: float) -> bool:
        """Hand commands to the machine; True if there were any: they are recorded at once."""
        has_commands = bool(self._submitted)
        while self._submitted:
            reader_id, command = self._submitted.popleft()
            token = next(self._next_token)
            self._pending_commands[token] = (reader_id, command)
            self._perform(self._machine.handle(CommandReceived(t_s, token, command)), t_s)
        return has_commands

    def _note_readers_and_progress(self, t_s: float) -> None:
        if self._ended_s is not None:
            return
        self._readers.forget_gone()
        if len(self._readers) != self._num_readers:
            self._num_readers = len(self._readers)
            self._perform(self._machine.handle(ReadersCounted(t_s, self._num_readers)), t_s)
        for index, vitals in self._probes.vitals().items():
            worker = self._machine.workers.get(index)
            if worker is not None and vitals.moved_s > self._progress_s.get(index, 0.0):
                self._progress_s[index] = vitals.moved_s
                progress = ProgressSeen(t_s, index, worker.incarnation)
                self._perform(self._machine.handle(progress), t_s)

    # --- instructions ------------------------------------------------------------------------

    def _perform(self, instructions: list[Instruction], t_s: float) -> None:
        for instruction in instructions:
            match instruction:
                case CreateWorker(worker_index=index, incarnation=incarnation, version=version):
                    self._ledger.widen(index)
                    self._history.widen(index)
                    self._pool.create(index, incarnation, version)
                case SetPolicy(worker_index=index, incarnation=incarnation, version=version):
                    self._pool.set_policy(index, incarnation, version)
                case RequestRollout(worker_index=index, incarnation=incarnation, work=None):
                    self._pool.request(
                        index, incarnation, instruction.budget_s, drain=instruction.drain
                    )
                case RequestRollout(
                    worker_index=index, incarnation=incarnation, work=Work() as work
                ):
                    parameters = self._learning.parameters()
                    self._pool.play(index, incarnation, instruction.budget_s, work, parameters)
                case HurryWorker(worker_index=index, incarnation=incarnation, wanted=wanted):
                    self._pool.hurry(index, incarnation, wanted=wanted)
                case CloseWorker(worker_index=index, incarnation=incarnation):
                    self._pool.close_worker(index, incarnation)
                case KillWorker(worker_index=index, incarnation=incarnation):
                    self._pool.kill(index, incarnation)
                case CreateLearner() | AskLearner() | SavePolicy():
                    self._learning.perform(instruction)
                case RecordEvent(kind=kind):
                    if kind is EventKind.RUN_ENDED:
                        self._note_errors(t_s, everything=True)
                    self._add_event(instruction, t_s)
                case AnswerCommand(token=token, fault=fault):
                    reader_id, command = self._pending_commands.pop(token)
                    answer = Answer(command.command_id, fault, command.run_id)
                    if reader_id:
                        self._readers.add_answer(reader_id, answer)
                case EndRun():
                    self._end(t_s)

    def _add_event(self, event: RecordEvent, t_s: float, count: int = 1) -> None:
        entry = Event(
            self._next_event,
            t_s,
            event.kind,
            event.text,
            event.worker_index,
            event.detail,
            count,
        )
        self._next_event += 1
        self._has_news = True
        self._backlog.add_event(entry)
        self._unrecorded.append(entry)

    def _publish(self, t_s: float) -> None:
        """Close a version of the state: count, record, and wake the readers."""
        self._readers.has_new_answer = self._has_news = False
        if self._ended_s is not None:
            self._changed.notify_all()
            return
        self._last_publish_s = t_s
        self._note_errors(t_s)
        self._seq += 1
        new = self._chunk_merger.flush()
        generations = self._learning.take_generations(self._seq)
        self._backlog.close_version(new.episodes)
        self._history.widen(self._ledger.num_workers)
        self._ledger.add_episodes(new.episodes, new.extras)
        self._ledger.note_totals(t_s)
        for index, start_s, end_s, steps in new.steps:
            self._history.add_steps(index, start_s, end_s, steps, self._seq)
        self._history.add_episodes(new.episodes, self._seq)
        self._history.add_scalars(new.episodes.end_s, new.extras.plotted(), self._seq)
        self._history.pass_time(t_s, self._seq)
        self._roster.update_activities(self._machine, self._probes.vitals(), t_s)
        while self._result_times and self._result_times[0] < t_s - RESULTS_SPAN_S:
            self._result_times.popleft()
        self._feed_sinks(t_s)
        self._note_recording_fault(t_s)
        commanded = self._machine.commanded
        is_news, self._commanded = commanded != self._commanded, commanded
        self._recording.add(
            RecordBatch(
                t_s=t_s,
                elapsed_s=self._machine.elapsed_s,
                commanded=commanded,
                num_restarts=self._machine.num_restarts,
                weights_seq_no=self._machine.weights_seq_no,
                episodes=new.episodes,
                extras=new.extras,
                evaluations=new.evaluations,
                generations=generations,
                learning=self._learning.figures(t_s),
                totals=new.totals,
                agent_totals=new.agent_totals,
                events=self._unrecorded,
                history=self._history_to_record(t_s),
            ),
            urgent=is_news,
        )
        self._unrecorded = []
        self._published_state = self._state(t_s) if self._readers else None
        self._changed.notify_all()

    def _history_to_record(self, t_s: float) -> HistoryRows | None:
        """Every 10 s the buckets that can't change any more; at the end of the run all of them."""
        if self._machine.is_over:
            return self._history.to_record(math.inf, self._seq)
        if t_s - self._last_history_s < HISTORY_EVERY_S:
            return None
        self._last_history_s = t_s
        return self._history.to_record(t_s - self._machine.settle_s(), self._seq)

    def _feed_sinks(self, t_s: float) -> None:
        """Hand the sinks the newest figures, and record what went wrong with earlier ones."""
        if self._sinks.wants(t_s):
            learning = self._learning.figures(t_s)
            self._sinks.offer(self._figures(t_s), self._machine.num_workers, t_s, learning)
        for trouble in self._sinks.troubles():
            self._add_event(trouble, t_s)

    def _note_recording_fault(self, t_s: float) -> None:
        """Record when writing begins to fail and when it works again.

        The words of a fault may change in between: that is no new event.
        """
        fails = bool(self._recording.fault)
        if fails == self._recording_fails:
            return
        self._recording_fails = fails
        if fails:
            text = f"the recording fails, the run goes on: {self._recording.fault}"
            self._add_event(RecordEvent(EventKind.RECORDING_FAILED, text), t_s)
        else:
            text = "the recording goes on, and has what happened meanwhile"
            self._add_event(RecordEvent(EventKind.RECORDING_RESUMED, text), t_s)

    def _end(self, t_s: float) -> None:
        self._publish(t_s)
        self._pool.shut_down()
        self._learning.shut_down()
        self._probes.shut_down()
        self._final = self._state(t_s)

    def _close_recording(self, final: RunUpdate) -> None:
        """Close sinks and recording outside the lock: a disk may stall, and readers still pull."""
        self._sinks.close(final)
        self._recording.close(final)
        with self._changed:
            self._seq += 1
            self._backlog.close_version(EpisodeColumns())
            self._ended_s = self._clock()
            self._published_state = replace(
                final, health=self._current_health(final.t_s), last=True
            )
            self._changed.notify_all()

    # --- readers -----------------------------------------------------------------------------

    def submit(self, reader_id: str, command: CommandRun) -> int:
        """Accept a command; its answer comes with a later `pull` of the same reader.

        With an empty `reader_id` the command is carried out, and its answer goes nowhere.

        Returns:
            The supervisor's incarnation: a later one knows nothing of this command.
        """
        with self._changed:
            if reader_id:
                self._readers.note_seen(reader_id)
            self._submitted.append((reader_id, command))
            self._wake_up.set()
        return self._health.incarnation

    def pull(
        self, reader_id: str, incarnation: int, since_seq: int, max_wait_s: float = 1.0
    ) -> tuple[int, int, bool, list[bytes]]:
        """Return what is new for a reader, waiting until something is.

        Args:
            reader_id: Unique per engine.
            incarnation: The supervisor's incarnation that `since_seq` came from.
            since_seq: The last version that the reader has; 0 asks for a snapshot.
            max_wait_s: Return without messages if nothing is new after this time.

        Returns:
            The supervisor's incarnation, the newest seq, whether nothing will follow, and the
            encoded messages.
        """
        with self._changed:
            if incarnation != self._health.incarnation or not self._backlog.covers(since_seq):
                since_seq = 0
            self._readers.note_seen(reader_id)
            self._changed.wait_for(
                lambda: self._seq > since_seq or self._readers.has_answer(reader_id), max_wait_s
            )
            if reader_id in self._readers:  # else it left while this question was out
                self._readers.note_seen(reader_id)
            answers = self._readers.take_answers(reader_id)
            messages = [] if self._seq == since_seq else [self._encoded(since_seq)]
            last = self._ended_s is not None
            if last:
                self._readers.note_end_sent(reader_id)
            return self._health.incarnation, self._seq, last, messages + answers

    def stay(self, reader_id: str) -> None:
        """Keep a reader counted as present although it does not pull for a while."""
        with self._changed:
            self._readers.note_seen(reader_id)

    def leave(self, reader_id: str) -> None:
        """Remove a reader that no longer needs the run."""
        with self._changed:
            self._readers.leave(reader_id)

    def history(self, start_s: float, end_s: float, num_buckets: int) -> bytes:
        """Return a part of the run's history, at the resolution that a plot can show.

        `start_s` and `end_s` are on the run's clock.

        Returns:
            An encoded `HistoryRange` of at most `num_buckets` buckets.

        Raises:
            FaultError: if the recording can't be read now, or the times are no valid range.
        """
        if not (math.isfinite(start_s) and math.isfinite(end_s) and start_s <= end_s):
            raise FaultError(Fault("There is no such part of a run", f"{start_s} to {end_s} s"))
        num_buckets = max(1, num_buckets)
        found = self._recording.history(start_s, end_s, num_buckets)
        if found is None:
            with self._changed:
                found = self._history.whole.between(start_s, end_s, num_buckets)
        return encode(HistoryRange(self.info.run_id, start_s, end_s, found))

    def summary(self) -> RunSummary:
        """Return this run's line in the list of runs."""
        with self._changed:
            machine, info = self._machine, self.info
            return RunSummary(
                run_id=info.run_id,
                name=self.spec.name,
                env_id=self.spec.env.id,
                owner=info.owner,
                state=machine.state,
                num_workers=machine.num_workers,
                started_utc=info.started_utc,
                elapsed_s=machine.elapsed_s,
                num_env_steps_sampled_lifetime=self._ledger.num_env_steps(),
                num_episodes_lifetime=self._ledger.num_episodes(),
                recording=info.recording,
                keep=machine.keep,
                raydash_version=info.raydash_version,
                protocol_version=PROTOCOL_VERSION,
                num_workers_starting=machine.num_starting,
                mode=self.spec.rollout.mode,
                policy=(machine.version.policy or self.spec.policy).kind,
                learner=self.spec.learner.kind,
            )

    def _encoded(self, since_seq: int) -> bytes:
        if self._cache[:2] != (since_seq, self._seq):
            self._cache = (since_seq, self._seq, encode(self._update(since_seq)))
        return self._cache[2]

    def _update(self, since_seq: int) -> RunUpdate:
        """Combine the published state, which all readers share, with what is new to one of them."""
        if self._published_state is None:
            self._published_state = self._state(self._now_s())
        episodes, num_omitted = self._backlog.episodes_since(since_seq)
        snapshot = since_seq == 0
        return replace(
            self._published_state,
            seq=self._seq,
            since_seq=since_seq,
            info=self.info if snapshot else None,
            spec=self.spec if snapshot else None,
            episodes=episodes,
            num_episodes_omitted=num_omitted,
            recent=self._history.recent.delta(since_seq),
            whole=self._history.whole.delta(since_seq),
            events=self._backlog.events_since(since_seq),
            learning=self._learning.with_generations_since(
                self._published_state.learning, since_seq
            ),
        )

    def _state(self, t_s: float) -> RunUpdate:
        machine = self._machine
        return RunUpdate(
            run_id=self.info.run_id,
            seq=self._seq,
            since_seq=self._seq,
            t_s=t_s,
            state=machine.state,
            ended_by=machine.ended_by,
            cause=machine.cause,
            paused=machine.paused,
            num_workers=machine.num_workers,
            info=None,
            spec=None,
            figures=self._figures(t_s),
            workers=self._roster.columns(machine, self._ledger, self._probes.vitals(), t_s),
            nodes=tuple(self._roster.nodes),
            pending={
                index: why
                for index, why in self._pool.pending_reasons().items()
                if index in machine.workers and not machine.workers[index].is_gone
            },
            episodes=EpisodeColumns(),
            num_episodes_omitted=0,
            recent=_NO_BUCKETS,
            whole=_NO_BUCKETS,
            events=(),
            health=self._current_health(t_s),
            scalars=self._ledger.scalars.figures(),
            agents=self._ledger.agents.figures(),
            learning=self._learning.figures(t_s),
            policy=machine.version.policy,
            weights_seq_no=machine.weights_seq_no,
        )

    def _figures(self, t_s: float) -> RunFigures:
        machine = self._machine
        return self._ledger.figures(
            t_s, elapsed_s=machine.elapsed_s, num_restarts=machine.num_restarts
        )

    def _current_health(self, t_s: float) -> SupervisorHealth:
        return replace(
            self._health,
            tick_ms=statistics.median(self._turn_ms) if self._turn_ms else 0.0,
            results_per_s=len(self._result_times) / min(RESULTS_SPAN_S, max(1.0, t_s)),
            recorder_lag_s=self._recording.lag_s,
            recording_bytes=self._recording.num_bytes,
            num_readers=len(self._readers),
            keep=self._machine.keep,
            recording_fault=self._recording.fault,
        )


def _policy_stimulus(report: PolicySet, t_s: float) -> PolicyAnswered:
    fault = report.fault
    refusal = ": ".join(words for words in (fault.what, fault.why) if words) if fault else ""
    return PolicyAnswered(
        t_s,
        report.worker_index,
        report.incarnation,
        report.weights_seq_no,
        refusal,
        fault.detail if fault else "",
    )


def _with_later_chunk_time(reports: Sequence[Report]) -> list[tuple[Report, float]]:
    """Pair each report with the duration of the same worker's chunks that follow it.

    Chunks of a worker that are collected together arrived one after the other: an earlier one ended
    when the later one began.
    """
    after_s: dict[tuple[int, int], float] = {}
    timed: list[tuple[Report, float]] = []
    for report in reversed(reports):
        if isinstance(report, CostFound):
            timed.append((report, 0.0))
            continue
        key = (report.worker_index, report.incarnation)
        timed.append((report, after_s.get(key, 0.0)))
        if isinstance(report, RolloutChunk):
            after_s[key] = after_s.get(key, 0.0) + report.duration_s
    return timed[::-1]
