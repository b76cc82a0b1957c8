"""The account of a run: takes chunks and events, and closes them into versions of the run's state.

Versions are numbered by `seq`. A reader names the last version that it has and gets the difference
to the newest one (core.updates), so that the account keeps no queue per reader. It decides nothing
and performs nothing; not thread-safe by itself: the supervisor uses it under its lock.
"""

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from raydash.core.events import Event, EventKind
from raydash.core.history.history import History, HistoryRows, Tier
from raydash.core.machine.machine import RunMachine
from raydash.core.machine.stimuli import ChunkArrived, ChunkBatch, RecordEvent
from raydash.core.messages import PROTOCOL_VERSION, RunSummary
from raydash.core.records import EpisodeColumns, RolloutChunk
from raydash.core.spec import RunSpec
from raydash.core.updates import HistoryDelta, RunFigures, RunInfo, RunUpdate, SupervisorHealth
from raydash.protocol.codec import encode
from raydash.record.file.rows import RecordBatch
from raydash.supervise.account.backlog import FIRST_SEQ, Backlog
from raydash.supervise.account.chunk_merger import ChunkMerger, MergedChunks
from raydash.supervise.account.error_fold import ErrorFold
from raydash.supervise.account.ledger import Ledger
from raydash.supervise.account.roster import Roster, WorkerVitals
from raydash.supervise.learning import Learning

RESULTS_SPAN_S = 10.0
HISTORY_EVERY_S = 10.0
"""How often closed buckets of the whole run's history are handed to the recording."""
_NO_BUCKETS = Tier(merges=False, capacity=0).delta(0)


class RunAccount:
    """Counts what happens in one run, and says what its readers have not seen.

    Attributes:
        spec: What is run.
        info: What does not change during the run.
        roster: Where workers run and what they do.
        seq: The newest version of the state.
        has_news: Something other than a chunk came in since that version.
    """

    def __init__(
        self,
        spec: RunSpec,
        info: RunInfo,
        machine: RunMachine,
        learning: Learning,
        *,
        ledger: Ledger | None = None,
        history: History | None = None,
        events: Sequence[Event] = (),
    ) -> None:
        """Open the account of a new run, or of one that goes on with what its recording holds.

        The account only reads the machine and the learning, which begins at `FIRST_SEQ` too.
        """
        self.spec = spec
        self.info = info
        self.roster = Roster()
        self.seq = FIRST_SEQ
        self.has_news = True
        self._machine = machine
        self._learning = learning
        self._ledger = ledger or Ledger()
        self._history = history or History()
        self._backlog = Backlog(
            events=events, num_episodes=self._ledger.num_episodes(), seq=self.seq
        )
        self._merger = ChunkMerger()
        self._errors = ErrorFold()
        self._next_event = events[-1].number + 1 if events else 1
        self._unrecorded: list[Event] = []
        self._ignored_info = {
            event.detail for event in events if event.kind is EventKind.INFO_IGNORED
        }
        self._chunk_times_s: deque[float] = deque()
        self._last_history_s = 0.0
        self._published: RunUpdate | None = None
        self._encoded: tuple[int, int, bytes] = (0, 0, b"")

    # --- what comes in -----------------------------------------------------------------------

    def make_room(self, worker_index: int) -> None:
        """Prepare for a worker that is about to be created."""
        self._ledger.widen(worker_index)
        self._history.widen(worker_index)

    def add_chunks(self, chunks: Sequence[RolloutChunk], t_s: float) -> ChunkBatch:
        """Count chunks that were collected together at `t_s`, and say what the machine must know.

        Those of incarnations that are over are left out: what was in flight is lost with them.
        """
        rows: list[ChunkArrived] = []
        for chunk, later_chunks_s in _with_later_chunk_time(chunks):
            worker = self._machine.workers.get(chunk.worker_index)
            if worker is None or worker.incarnation != chunk.incarnation:
                continue
            steps = self._ledger.add_chunk(chunk, t_s)
            self._merger.add(chunk, ended_s=max(0.0, t_s - later_chunks_s), steps=steps)
            self._note_ignored_info(chunk.ignored_info, t_s)
            self._chunk_times_s.append(t_s)
            self._errors.add_chunk(chunk, t_s)
            rows.append(
                ChunkArrived(
                    chunk.worker_index,
                    chunk.incarnation,
                    chunk.duration_s,
                    chunk.first_step_offset_s,
                    self._ledger.num_env_steps(),
                    self._ledger.num_episodes(),
                    chunk.failures_in_a_row,
                    chunk.errors[-1].message if chunk.errors else "",
                    chunk.drained,
                    self._learning.played_work(chunk),
                )
            )
        return ChunkBatch.of(rows)

    def add_event(self, event: RecordEvent, t_s: float, count: int = 1) -> None:
        """Number an event and keep it for readers and recording."""
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
        self.has_news = True
        self._backlog.add_event(entry)
        self._unrecorded.append(entry)

    def add_errors(self, t_s: float, *, everything: bool = False) -> None:
        """Make events of environments' errors that are due; of `everything` at the run's end."""
        for errors in self._errors.due(t_s, everything=everything):
            event = RecordEvent(
                EventKind.ENV_ERROR, errors.text, errors.worker_index, errors.detail
            )
            self.add_event(event, t_s, errors.count)

    def _note_ignored_info(self, info_keys: Sequence[str], t_s: float) -> None:
        """Say once for each key of info that its values can't be plotted."""
        for key in info_keys:
            if key not in self._ignored_info:
                self._ignored_info.add(key)
                text = f"info {key} holds something else than a number: ignored"
                self.add_event(RecordEvent(EventKind.INFO_IGNORED, text, detail=key), t_s)

    # --- versions ----------------------------------------------------------------------------

    @property
    def num_new_chunks(self) -> int:
        """How many chunks came in since the newest version."""
        return self._merger.num_chunks

    def close_version(self, t_s: float, vitals: Mapping[int, WorkerVitals]) -> RecordBatch:
        """Count what came in since the version before, and return it for the recording."""
        self.has_news = False
        self.add_errors(t_s)
        self.seq += 1
        new = self._merger.flush()
        generations = self._learning.take_generations(self.seq)
        self._backlog.close_version(new.episodes)
        self._ledger.add_episodes(new.episodes, new.extras)
        self._ledger.note_totals(t_s)
        self._add_to_history(new, t_s)
        self.roster.update_activities(self._machine, vitals, t_s)
        while self._chunk_times_s and self._chunk_times_s[0] < t_s - RESULTS_SPAN_S:
            self._chunk_times_s.popleft()
        events, self._unrecorded = self._unrecorded, []
        machine = self._machine
        return RecordBatch(
            t_s=t_s,
            elapsed_s=machine.elapsed_s,
            commanded=machine.commanded,
            num_restarts=machine.num_restarts,
            weights_seq_no=machine.weights_seq_no,
            episodes=new.episodes,
            extras=new.extras,
            evaluations=new.evaluations,
            generations=generations,
            learning=self._learning.figures(t_s),
            totals=new.totals,
            agent_totals=new.agent_totals,
            events=events,
            history=self._history_to_record(t_s),
        )

    def close_last(self, final: RunUpdate) -> None:
        """Close the version after which nothing follows: `final`, said to be the last one."""
        self.seq += 1
        self._backlog.close_version(EpisodeColumns())
        self.publish(replace(final, last=True))

    def publish(self, state: RunUpdate | None) -> None:
        """Keep the state of the newest version for its readers; None: nobody reads now."""
        self._published = state

    def _add_to_history(self, new: MergedChunks, t_s: float) -> None:
        history = self._history
        history.widen(self._ledger.num_workers)
        for index, start_s, end_s, steps in new.steps:
            history.add_steps(index, start_s, end_s, steps, self.seq)
        history.add_episodes(new.episodes, self.seq)
        history.add_scalars(new.episodes.end_s, new.extras.plotted(), self.seq)
        history.pass_time(t_s, self.seq)

    def _history_to_record(self, t_s: float) -> HistoryRows | None:
        """Every 10 s the buckets that can't change any more; at the end of the run all of them."""
        if self._machine.is_over:
            return self._history.to_record(math.inf, self.seq)
        if t_s - self._last_history_s < HISTORY_EVERY_S:
            return None
        self._last_history_s = t_s
        return self._history.to_record(t_s - self._machine.settle_s(), self.seq)

    # --- what readers get --------------------------------------------------------------------

    def covers(self, since_seq: int) -> bool:
        """Whether it is still known what happened since a version; else a snapshot is due."""
        return self._backlog.covers(since_seq)

    def state(
        self,
        t_s: float,
        *,
        vitals: Mapping[int, WorkerVitals],
        pending: Mapping[int, str],
        health: SupervisorHealth,
    ) -> RunUpdate:
        """Describe the run as it is now, without what is new to any reader.

        Args:
            t_s: Now, on the run's clock.
            vitals: What the workers' nodes say of them.
            pending: What workers that are not placed yet wait for, in words, by index.
            health: How the supervisor itself is doing.
        """
        machine = self._machine
        return RunUpdate(
            run_id=self.info.run_id,
            seq=self.seq,
            since_seq=self.seq,
            t_s=t_s,
            state=machine.state,
            ended_by=machine.ended_by,
            cause=machine.cause,
            paused=machine.paused,
            num_workers=machine.num_workers,
            info=None,
            spec=None,
            figures=self.figures(t_s),
            workers=self.roster.columns(machine, self._ledger, vitals, t_s),
            nodes=tuple(self.roster.nodes),
            pending={
                index: why
                for index, why in pending.items()
                if index in machine.workers and not machine.workers[index].is_gone
            },
            episodes=EpisodeColumns(),
            num_episodes_omitted=0,
            recent=_NO_BUCKETS,
            whole=_NO_BUCKETS,
            events=(),
            health=replace(
                health,
                results_per_s=len(self._chunk_times_s) / min(RESULTS_SPAN_S, max(1.0, t_s)),
            ),
            scalars=self._ledger.scalars.figures(),
            agents=self._ledger.agents.figures(),
            learning=self._learning.figures(t_s),
            policy=machine.version.policy,
            weights_seq_no=machine.weights_seq_no,
        )

    def update_since(self, since_seq: int, state: Callable[[], RunUpdate]) -> bytes:
        """Encode the published state with what happened since a reader's version; 0: all of it.

        `state` describes the run now, if nothing was published because nobody was reading.
        """
        if self._encoded[:2] != (since_seq, self.seq):
            if self._published is None:
                self._published = state()
            update = self._difference(self._published, since_seq)
            self._encoded = (since_seq, self.seq, encode(update))
        return self._encoded[2]

    def _difference(self, state: RunUpdate, since_seq: int) -> RunUpdate:
        episodes, num_omitted = self._backlog.episodes_since(since_seq)
        snapshot = since_seq == 0
        return replace(
            state,
            seq=self.seq,
            since_seq=since_seq,
            info=self.info if snapshot else None,
            spec=self.spec if snapshot else None,
            episodes=episodes,
            num_episodes_omitted=num_omitted,
            recent=self._history.recent.delta(since_seq),
            whole=self._history.whole.delta(since_seq),
            events=self._backlog.events_since(since_seq),
            learning=self._learning.with_generations_since(state.learning, since_seq),
        )

    def history_between(self, start_s: float, end_s: float, num_buckets: int) -> HistoryDelta:
        """Return a part of the whole run's history, in at most `num_buckets` buckets."""
        return self._history.whole.between(start_s, end_s, num_buckets)

    def figures(self, t_s: float) -> RunFigures:
        """Return the run's figures now."""
        machine = self._machine
        return self._ledger.figures(
            t_s, elapsed_s=machine.elapsed_s, num_restarts=machine.num_restarts
        )

    def summary(self) -> RunSummary:
        """Return this run's line in the list of runs."""
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


def _with_later_chunk_time(chunks: Sequence[RolloutChunk]) -> list[tuple[RolloutChunk, float]]:
    """Pair each chunk with the duration of the same worker's chunks that follow it.

    Chunks of a worker that are collected together arrived one after the other: an earlier one ended
    when the later one began.
    """
    after_s: dict[tuple[int, int], float] = {}
    timed: list[tuple[RolloutChunk, float]] = []
    for chunk in reversed(chunks):
        key = (chunk.worker_index, chunk.incarnation)
        later_s = after_s.get(key, 0.0)
        timed.append((chunk, later_s))
        after_s[key] = later_s + chunk.duration_s
    return timed[::-1]
