"""A real supervisor with simulated workers, on a clock that a test advances."""

from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path

from typing_extensions import override

from raydash.core.events import Event, EventKind
from raydash.core.history.history import History
from raydash.core.history.series import HistorySeries
from raydash.core.machine.machine import RunMachine
from raydash.core.machine.requested_state import RequestedState
from raydash.core.machine.worker_record import WorkerRecord
from raydash.core.messages import PROTOCOL_VERSION, Answer, CommandRun, Verb
from raydash.core.records import EpisodeColumns, RolloutChunk, WorkerTotals
from raydash.core.spec import PolicySpec, RolloutSpec, RunSpec, StopSpec
from raydash.core.states import Activity, EndedBy
from raydash.core.updates import RunInfo, RunUpdate, SupervisorHealth
from raydash.protocol.codec import decode
from raydash.record.file.rows import RecordBatch
from raydash.supervise.account.ledger import Ledger
from raydash.supervise.account.roster import NoProbes, Probes
from raydash.supervise.account.run_account import RunAccount
from raydash.supervise.keeping.stimulus_log import StimulusLog
from raydash.supervise.learning import Learning
from raydash.supervise.pools.pool import Report
from raydash.supervise.pools.simulated import SimulatedPool
from raydash.supervise.sinks import LiveSinks
from raydash.supervise.supervisor import Recording, Supervisor
from tests.fakes.clock import FakeClock

RUN_ID = "20261122-101500-cartpole-v1-3f9a"
TURN_S = 0.02
INFO = RunInfo(
    RUN_ID, "me@here", "2026-11-22T10:15:00Z", "r.duckdb", "logs", "n", "0", PROTOCOL_VERSION
)


class KeptRecording(Recording):
    """Keeps in memory what it is given, and fails a test that goes on after `close`.

    Attributes:
        batches: What each version brought.
        urgent: Those of them that must be on disk before any reader sees them.
        last: The update that it was closed with.
    """

    fault = ""
    lag_s = 0.0
    num_bytes = 0

    def __init__(self) -> None:
        self.batches: list[RecordBatch] = []
        self.urgent: list[RecordBatch] = []
        self.last: RunUpdate | None = None

    @override
    def add(self, batch: RecordBatch, *, urgent: bool) -> None:
        assert self.last is None, "written to after its end"
        self.batches.append(batch)
        if urgent:
            self.urgent.append(batch)

    @override
    def history(self, start_s: float, end_s: float, num_buckets: int) -> None:
        pass

    @override
    def close(self, last: RunUpdate) -> None:
        assert self.last is None, "closed twice"
        self.last = last

    def episodes(self) -> EpisodeColumns:
        """Return all episodes in the order in which they came."""
        return EpisodeColumns.joined([batch.episodes for batch in self.batches])

    def totals(self) -> dict[tuple[int, int], WorkerTotals]:
        """Return the newest totals of each (worker index, incarnation)."""
        return {
            (index, incarnation): totals
            for batch in self.batches
            for index, incarnation, totals in batch.totals
        }

    def events(self) -> list[Event]:
        """Return all events."""
        return [event for batch in self.batches for event in batch.events]


class ScriptedPool(SimulatedPool):
    """Simulates workers whose reports a test may change.

    Attributes:
        change: Called with each report; returns the one to hand over, or None to lose it.
        chunks: All chunks that were handed over.
    """

    def __init__(self, clock: FakeClock) -> None:
        super().__init__(clock)
        self.change: Callable[[Report], Report | None] = lambda report: report
        self.chunks: list[RolloutChunk] = []

    @override
    def collect(self) -> list[Report]:
        changed = [self.change(report) for report in super().collect()]
        reports = [report for report in changed if report is not None]
        self.chunks += [report for report in reports if isinstance(report, RolloutChunk)]
        return reports


class Reader:
    """Reads a run as an engine does, and adds up what the updates bring.

    Attributes:
        latest: The newest update.
        updates: All updates.
        episodes: All episodes since the last snapshot.
        num_omitted: How many episodes the updates left out since then.
        events: All events since then.
        answers: Answers by command id.
        recent: History of the last minutes.
        whole: History of the whole run.
        num_merged: How many versions came merged into others.
        told_last: True once a pull said that nothing will follow.
    """

    def __init__(self, supervisor: Supervisor, name: str) -> None:
        self._supervisor = supervisor
        self.name = name
        self.incarnation = 0
        self.seq = 0
        self.latest: RunUpdate | None = None
        self.updates: list[RunUpdate] = []
        self.answers: dict[int, list[Answer]] = defaultdict(list)
        self.recent, self.whole = HistorySeries(), HistorySeries()
        self.num_merged = 0
        self.told_last = False
        self._begin()

    def _begin(self) -> None:
        self.episodes: list[EpisodeColumns] = []
        self.num_omitted = 0
        self.events: list[Event] = []

    def pull(self) -> list[RunUpdate]:
        """Pull what is new, and return the updates."""
        self.incarnation, self.seq, self.told_last, messages = self._supervisor.pull(
            self.name, self.incarnation, self.seq, 0.0
        )
        updates: list[RunUpdate] = []
        for message in map(decode, messages):
            if isinstance(message, Answer):
                self.answers[message.command_id].append(message)
            else:
                self._apply(message)
                updates.append(message)
        return updates

    def _apply(self, update: RunUpdate) -> None:
        if update.since_seq == 0:
            self._begin()
        self.latest = update
        self.updates.append(update)
        self.episodes.append(update.episodes)
        self.num_omitted += update.num_episodes_omitted
        self.events += update.events
        self.recent.apply(update.recent)
        self.whole.apply(update.whole)
        self.num_merged += update.num_merged

    def num_episodes(self) -> int:
        """Return how many episodes the updates brought, in full or as a number."""
        return sum(map(len, self.episodes)) + self.num_omitted

    def kinds(self) -> list[EventKind]:
        """Return the kinds of all events so far."""
        return [event.kind for event in self.events]


class SupervisedRun:
    """A run whose supervisor turns only when a test says so; the machine is validated each time."""

    def __init__(
        self,
        num_workers: int = 2,
        *,
        stop: StopSpec | None = None,
        rollout: RolloutSpec | None = None,
        probes: Probes | None = None,
        incarnation: int = 0,
        events: Sequence[Event] = (),
        sinks: LiveSinks | None = None,
        stimuli: Path | None = None,
        earlier_stimuli: Path | None = None,
    ) -> None:
        self.clock = FakeClock()
        self.pool = ScriptedPool(self.clock)
        self.recording = KeptRecording()
        self.ledger = Ledger()
        self.history = History()
        spec = RunSpec(stop=stop or StopSpec(), rollout=rollout or RolloutSpec())
        self.machine = RunMachine(spec, RequestedState(num_workers))
        learning = Learning()
        self.account = RunAccount(
            spec,
            INFO,
            self.machine,
            learning,
            ledger=self.ledger,
            history=self.history,
            events=events,
        )
        self.supervisor = Supervisor(
            self.account,
            machine=self.machine,
            learning=learning,
            pool=self.pool,
            probes=probes or NoProbes(),
            recording=self.recording,
            clock=self.clock,
            started_s=self.clock(),
            health=SupervisorHealth(pid=1, incarnation=incarnation),
            sinks=sinks,
            stimuli=StimulusLog(RUN_ID, spec, self.machine, path=stimuli, earlier=earlier_stimuli),
        )
        self._next_command = 1
        self.supervisor.start()

    def reader(self, name: str = "engine") -> Reader:
        """Return a new reader of the run."""
        return Reader(self.supervisor, name)

    def turns(self, seconds: float, *readers: Reader) -> None:
        """Let time pass turn by turn; the readers pull after each."""
        for _ in range(round(seconds / TURN_S)):
            self.clock.advance(TURN_S)
            self.supervisor.turn()
            self.machine.validate()
            for reader in readers:
                reader.pull()

    def until(
        self, condition: Callable[[], object], *readers: Reader, ceiling_s: float = 30.0
    ) -> None:
        """Let time pass until a condition holds."""
        for _ in range(round(ceiling_s / TURN_S)):
            if condition():
                return
            self.turns(TURN_S, *readers)
        raise AssertionError(f"not within {ceiling_s:g} s")

    def command(
        self,
        reader: Reader,
        verb: Verb,
        workers: tuple[int, ...] | None = None,
        num_workers: int | None = None,
        policy: PolicySpec | None = None,
    ) -> int:
        """Submit a command of a reader, and return its id."""
        number = self._next_command
        self._next_command += 1
        command = CommandRun(number, RUN_ID, verb, workers, num_workers, EndedBy.USER, policy)
        self.supervisor.submit(reader.name, command)
        return number

    def worker(self, index: int) -> WorkerRecord:
        """Return what the machine knows of a worker."""
        return self.machine.workers[index]

    def activities(self) -> set[Activity]:
        """Return everything that the workers are doing now."""
        return {self.machine.activity_of(worker) for worker in self.machine.workers.values()}

    def roster_knows(self, index: int) -> bool:
        """Return whether the supervisor knows a worker's process and node."""
        return self.account.roster.ready_of(index) is not None
