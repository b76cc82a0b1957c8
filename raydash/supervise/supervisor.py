"""The supervisor carries out one run: a thin shell around the state machine, without any Ray.

A loop calls `turn` and `rest`, twenty to a hundred times a second. Reports of workers and commands
of readers go into the machine as stimuli; its instructions go to the pool, the account and the
readers. Readers `pull` from other threads. What a version of the run's state holds is up to the
run account (`account/run_account.py`).
"""

import math
import statistics
import threading
from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Protocol

from raydash.core.clock import Clock
from raydash.core.events import EventKind
from raydash.core.faults import Fault, FaultError
from raydash.core.machine.machine import RunMachine
from raydash.core.machine.stimuli import (
    AnswerCommand,
    AskLearner,
    CloseWorker,
    CommandReceived,
    CreateLearner,
    CreateWorker,
    EndRun,
    HurryWorker,
    Instruction,
    KillWorker,
    ProgressSeen,
    ReadersCounted,
    RecordEvent,
    RequestRollout,
    SavePolicy,
    SetPolicy,
    Stimulus,
    Ticked,
    WorkerClosed,
    WorkerDied,
)
from raydash.core.machine.worker_record import AfterExit
from raydash.core.messages import Answer, CommandRun, HistoryRange, RunSummary
from raydash.core.records import ParametersReady, RolloutChunk, WorkerReady
from raydash.core.states import RunState
from raydash.core.updates import HistoryDelta, RunUpdate, SupervisorHealth
from raydash.protocol.codec import encode
from raydash.record.file.rows import RecordBatch
from raydash.supervise.account.roster import Probes
from raydash.supervise.account.run_account import RunAccount
from raydash.supervise.keeping.stimulus_log import StimulusLog
from raydash.supervise.learning import Learning
from raydash.supervise.pools.pool import Report, WorkerPool
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
VALIDATE_EVERY_S = 1.0
"""A machine that breaks its own rules should end near the cause, with its stimuli at hand."""
_ROUNDING_S = 1e-6


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
        account: RunAccount,
        *,
        machine: RunMachine,
        learning: Learning,
        pool: WorkerPool,
        probes: Probes,
        recording: Recording,
        clock: Clock,
        started_s: float,
        health: SupervisorHealth | None = None,
        earlier_fault: str = "",
        sinks: LiveSinks | None = None,
        stimuli: StimulusLog | None = None,
    ) -> None:
        """Prepare a new run, or one that goes on from its recording.

        The machine must not have been started yet. `started_s` is the run's start on `clock`, which
        is monotonic. `health` has the supervisor's process and incarnation; `earlier_fault` says in
        words what was wrong with the recording of a run that goes on. Without `stimuli`, nothing is
        kept of what the machine is told.
        """
        self._account = account
        self._machine = machine
        self._learning = learning
        self._pool = pool
        self._probes = probes
        self._recording = recording
        self._clock = clock
        self._started_s = started_s
        self._health = health or SupervisorHealth()
        self._earlier_fault = earlier_fault
        self._recording_fails = False
        self._sinks = sinks or NoSinks()
        self._stimuli = stimuli or StimulusLog("", account.spec, machine)
        self._changed = threading.Condition()
        self._wake_up = threading.Event()
        self._recorded_state = machine.commanded
        self._submitted: deque[CommandReceived] = deque()
        self._readers = Readers(clock)
        self._num_readers = 0
        self._progress_s: dict[int, float] = {}
        self._last_publish_s = -PUBLISH_EVERY_S
        self._last_validation_s = 0.0
        self._turn_ms: deque[float] = deque(maxlen=200)
        self._final: RunUpdate | None = None
        self._ended_s: float | None = None

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
            failure, detail = self._stimuli.earlier_failure()
            add_event = self._account.add_event
            add_event(
                RecordEvent(kind, f"{text}; {failure}" if failure else text, None, detail), t_s
            )
            if self._earlier_fault:
                add_event(RecordEvent(EventKind.RECORDING_FAILED, self._earlier_fault), t_s)
            self._perform(self._machine.start(t_s), t_s)
            self._recorded_state = self._machine.commanded

    def turn(self) -> None:
        """Do one round of the loop, which waits for nothing but for commands to be recorded."""
        began_s = self._clock()
        with self._changed:
            t_s = self._now_s()
            reports = self._pool.collect()
            has_commands = bool(self._submitted)
            if self._ended_s is None:  # else the account is closed, and so is its recording
                self._on_reports(reports, t_s)
                self._collect_from_learner(t_s)
                self._handle_commands(t_s)
                self._handle(Ticked(), t_s)
            else:
                self._handle_commands(t_s)
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

    def save_stimuli(self, error: Exception) -> Path | None:
        """Save what the machine was told last, because a turn raised; None if it can't be."""
        return self._stimuli.save(error)

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
        num_chunks = self._account.num_new_chunks
        if self._account.has_news or num_chunks > FEW_CHUNKS:
            return PUBLISH_EVERY_S
        return PUBLISH_FEW_EVERY_S if num_chunks else PUBLISH_QUIET_EVERY_S

    # --- stimuli -----------------------------------------------------------------------------

    def _handle(self, stimulus: Stimulus, t_s: float) -> None:
        self._stimuli.add(stimulus, t_s)
        self._perform(self._machine.handle(stimulus, t_s), t_s)

    def _on_reports(self, reports: Sequence[Report], t_s: float) -> None:
        """Hand what a turn collected to the machine, its chunks as one batch.

        A worker's chunks come after it became ready and before it ended, whatever came in between.
        """
        chunks = [report for report in reports if isinstance(report, RolloutChunk)]
        others = [report for report in reports if not isinstance(report, RolloutChunk)]
        self._account.has_news |= bool(others)
        for report in others:
            if isinstance(report, WorkerReady):
                self._account.roster.add(report)
                self._probes.watch(report)
                self._learning.on_worker_ready(report)
                self._handle(report, t_s)
        if chunks:
            self._handle(self._account.add_chunks(chunks, t_s), t_s)
        for report in others:
            if not isinstance(report, WorkerReady):
                if isinstance(report, WorkerClosed | WorkerDied):
                    self._remove_worker(report)
                self._handle(report, t_s)

    def _remove_worker(self, end: WorkerClosed | WorkerDied) -> None:
        index = end.worker_index
        ready = self._account.roster.ready_of(index)
        if ready is None or ready.incarnation != end.incarnation:
            return  # it was never ready, or its successor already is
        self._account.roster.remove(index)
        self._probes.forget(index)
        worker = self._machine.workers.get(index)
        fails = worker is not None and worker.after_exit is AfterExit.FAIL
        if fails or isinstance(end, WorkerDied):
            self._probes.keep_log(ready)

    def _collect_from_learner(self, t_s: float) -> None:
        for report in self._learning.collect():
            self._account.has_news |= not isinstance(report, ParametersReady)
            self._handle(report, t_s)

    def _handle_commands(self, t_s: float) -> None:
        while self._submitted:
            self._handle(self._submitted.popleft(), t_s)

    def _note_readers_and_progress(self, t_s: float) -> None:
        if self._ended_s is not None:
            return
        self._readers.forget_gone()
        if len(self._readers) != self._num_readers:
            self._num_readers = len(self._readers)
            self._handle(ReadersCounted(self._num_readers), t_s)
        for index, vitals in self._probes.vitals().items():
            worker = self._machine.workers.get(index)
            if worker is not None and vitals.moved_s > self._progress_s.get(index, 0.0):
                self._progress_s[index] = vitals.moved_s
                self._handle(ProgressSeen(index, worker.incarnation), t_s)

    # --- instructions ------------------------------------------------------------------------

    def _perform(self, instructions: list[Instruction], t_s: float) -> None:
        for instruction in instructions:
            match instruction:
                case CreateWorker(worker_index=index, incarnation=incarnation, version=version):
                    self._account.make_room(index)
                    self._pool.create(index, incarnation, version)
                case SetPolicy(worker_index=index, incarnation=incarnation, version=version):
                    self._pool.set_policy(index, incarnation, version)
                case RequestRollout(worker_index=index, incarnation=incarnation, work=work):
                    self._pool.request(
                        index,
                        incarnation,
                        instruction.budget_s,
                        drain=instruction.drain,
                        work=work,
                        parameters=None if work is None else self._learning.parameters(),
                    )
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
                        self._account.add_errors(t_s, everything=True)
                    self._account.add_event(instruction, t_s)
                case AnswerCommand(received=received, fault=fault):
                    command = received.command
                    if received.reader_id:
                        answer = Answer(command.command_id, fault, command.run_id)
                        self._readers.add_answer(received.reader_id, answer)
                case EndRun():
                    self._end(t_s)

    def _publish(self, t_s: float) -> None:
        """Close a version of the state: count, record, and wake the readers."""
        self._readers.has_new_answer = False
        if self._ended_s is not None:
            self._changed.notify_all()
            return
        self._last_publish_s = t_s
        if t_s - self._last_validation_s > VALIDATE_EVERY_S:
            self._last_validation_s = t_s
            self._machine.validate()
        self._note_troubles(t_s)
        batch = self._account.close_version(t_s, self._probes.vitals())
        if self._sinks.wants(t_s):
            figures = self._account.figures(t_s)
            self._sinks.offer(figures, self._machine.num_workers, t_s, batch.learning)
        is_commanded = batch.commanded != self._recorded_state
        self._recorded_state = batch.commanded
        self._recording.add(batch, urgent=is_commanded)
        self._account.publish(self._state(t_s) if self._readers else None)
        self._changed.notify_all()

    def _note_troubles(self, t_s: float) -> None:
        """Record what went wrong with sinks, and when recording begins to fail or works again.

        The words of a recording's fault may change in between: that is no new event.
        """
        for trouble in self._sinks.troubles():
            self._account.add_event(trouble, t_s)
        fails = bool(self._recording.fault)
        if fails == self._recording_fails:
            return
        self._recording_fails = fails
        if fails:
            text = f"the recording fails, the run goes on: {self._recording.fault}"
            self._account.add_event(RecordEvent(EventKind.RECORDING_FAILED, text), t_s)
        else:
            text = "the recording goes on, and has what happened meanwhile"
            self._account.add_event(RecordEvent(EventKind.RECORDING_RESUMED, text), t_s)

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
            self._ended_s = self._clock()
            self._account.close_last(replace(final, health=self._current_health()))
            self._changed.notify_all()

    def _state(self, t_s: float) -> RunUpdate:
        return self._account.state(
            t_s,
            vitals=self._probes.vitals(),
            pending=self._pool.pending_reasons(),
            health=self._current_health(),
        )

    def _current_health(self) -> SupervisorHealth:
        return replace(
            self._health,
            tick_ms=statistics.median(self._turn_ms) if self._turn_ms else 0.0,
            recorder_lag_s=self._recording.lag_s,
            recording_bytes=self._recording.num_bytes,
            num_readers=len(self._readers),
            keep=self._machine.keep,
            recording_fault=self._recording.fault,
        )

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
            self._submitted.append(CommandReceived(reader_id, command))
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
            if incarnation != self._health.incarnation or not self._account.covers(since_seq):
                since_seq = 0
            self._readers.note_seen(reader_id)
            self._changed.wait_for(
                lambda: self._account.seq > since_seq or self._readers.has_answer(reader_id),
                max_wait_s,
            )
            if reader_id in self._readers:  # else it left while this question was out
                self._readers.note_seen(reader_id)
            answers = self._readers.take_answers(reader_id)
            seq, messages = self._account.seq, []
            if seq != since_seq:
                state = partial(self._state, self._now_s())
                messages = [self._account.update_since(since_seq, state)]
            last = self._ended_s is not None
            if last:
                self._readers.note_end_sent(reader_id)
            return self._health.incarnation, seq, last, messages + answers

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
                found = self._account.history_between(start_s, end_s, num_buckets)
        return encode(HistoryRange(self._account.info.run_id, start_s, end_s, found))

    def summary(self) -> RunSummary:
        """Return this run's line in the list of runs."""
        with self._changed:
            return self._account.summary()
