"""A test's client of a real engine: sends commands, waits for conditions, keeps every message."""

import os
import signal
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raydash.cluster.cluster_file import GuardianSettings
from raydash.core.events import Event, EventKind
from raydash.core.faults import Fault
from raydash.core.history.series import HistorySeries
from raydash.core.messages import (
    Answer,
    AttachRun,
    ClusterStatus,
    Command,
    CommandRun,
    Connect,
    DetachRun,
    FromEngine,
    RunList,
    StartRun,
    Verb,
)
from raydash.core.records import EpisodeColumns
from raydash.core.spec import ClusterSpec, PolicySpec, RunSpec
from raydash.core.spec_rules import spec_from_table
from raydash.core.states import Activity, ClusterPhase
from raydash.core.updates import RunInfo, RunUpdate
from raydash.terminal.engine_client import EngineClient
from tests.fakes.places import ROOT

CEILING_S = 30.0
SOURCE_DIRS = (str(ROOT),)
STEPPING = (Activity.RESETTING, Activity.STEPPING)


class SeenRun:
    """A run as one reader of the engine's messages sees it.

    Attributes:
        snapshots: How many updates were snapshots.
        events: Every event once, by its number.
        recent: The history of the last 10 minutes.
        episodes: The batches that have come since this reader attached.
    """

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.snapshots = 0
        self.events: dict[int, Event] = {}
        self.recent = HistorySeries()
        self.episodes: list[EpisodeColumns] = []
        self._latest: RunUpdate | None = None
        self._info: RunInfo | None = None
        self._spec: RunSpec | None = None

    @property
    def latest(self) -> RunUpdate:
        """The newest update; there must have been one."""
        assert self._latest is not None
        return self._latest

    @property
    def info(self) -> RunInfo:
        """From the snapshot."""
        assert self._info is not None
        return self._info

    @property
    def spec(self) -> RunSpec:
        """From the snapshot."""
        assert self._spec is not None
        return self._spec

    @property
    def recording(self) -> Path:
        """The run's file."""
        return Path(self.info.recording)

    @property
    def is_known(self) -> bool:
        """There has been an update."""
        return self._latest is not None

    @property
    def is_closed(self) -> bool:
        """The last update has come: the recording is complete."""
        return self._latest is not None and self._latest.last

    def take(self, update: RunUpdate) -> None:
        """Apply an update."""
        if not update.since_seq:
            self.snapshots += 1
        self._info = update.info or self._info
        self._spec = update.spec or self._spec
        self.events.update({event.number: event for event in update.events})
        self.recent.apply(update.recent)
        self.episodes.append(update.episodes)
        self._latest = update

    def kinds(self, worker: int | None = None) -> list[EventKind]:
        """The kinds of all events so far, or of those of one worker."""
        return [e.kind for e in self.of(worker)]

    def of(self, worker: int | None = None) -> list[Event]:
        """All events in their order, or those of one worker."""
        ordered = [self.events[number] for number in sorted(self.events)]
        return [e for e in ordered if worker is None or e.worker_index == worker]

    def activity(self, worker: int) -> Activity:
        """What a worker does now."""
        return Activity(int(self.latest.workers.activity[worker - 1]))

    def pid(self, worker: int) -> int:
        """The process id that a worker has now."""
        return int(self.latest.workers.pid[worker - 1])

    def is_committed(self, elapsed_s: float) -> bool:
        """Whether it has stepped for `elapsed_s`, all but the last second of which is on disk."""
        latest = self.latest
        return latest.figures.elapsed_s > elapsed_s and latest.health.recorder_lag_s < 1.0

    def is_stepping(self) -> bool:
        """Whether every worker steps, by what it has itself reported within the last second."""
        workers = self.latest.workers
        return bool(
            len(workers)
            and all(activity in STEPPING for activity in workers.activity)
            and (workers.data_age_s < 1.0).all()
        )


class Terminal:
    """One engine and all that it has sent.

    Attributes:
        client: The engine.
        runs: Each run as the engine has described it.
        answers: Every answer, by the id of its command.
        cluster: The newest status of the cluster.
        listed: The newest list of live runs.
        started: Ids of the runs that were started here.
    """

    def __init__(self) -> None:
        self.client = EngineClient()
        self.runs: dict[str, SeenRun] = {}
        self.answers: dict[int, list[Answer]] = defaultdict(list)
        self.cluster = ClusterStatus(ClusterPhase.ABSENT)
        self.listed = RunList(())
        self.started: list[str] = []

    @property
    def pid(self) -> int:
        """The process id of the engine."""
        return self.client.pid

    # --- asking -------------------------------------------------------------------------------

    def connect(self) -> None:
        """Connect to this session's cluster; wait long, because the engine gives up by itself."""
        self.done(Connect(0, ClusterSpec()), ceiling_s=GuardianSettings().start_timeout_s)

    def start(self, *, keep: bool = False, **table: Any) -> SeenRun:
        """Start a run from the tables of a spec, by default 2 workers on CartPole."""
        answer = self.done(StartRun(0, spec(**table), SOURCE_DIRS, keep))
        self.started.append(answer.run_id)
        run = self.run(answer.run_id)
        self.wait(lambda: run.is_known, "a snapshot")
        return run

    def refused(self, **table: Any) -> Fault:
        """Try to start a run that must be refused, and return the fault."""
        answer = self.answer_to(self.client.send(StartRun(0, spec(**table), SOURCE_DIRS)))
        assert answer.fault is not None, "it was started"
        assert not answer.run_id
        return answer.fault

    def start_stepping(self, **table: Any) -> SeenRun:
        """Start a run and wait until every worker steps."""
        run = self.start(**table)
        self.wait(run.is_stepping, "all workers step")
        return run

    def attach(self, run_id: str) -> SeenRun:
        """Begin to follow a run."""
        self.done(AttachRun(0, run_id))
        run = self.run(run_id)
        self.wait(lambda: run.is_known, "a snapshot")
        return run

    def send(
        self,
        run: SeenRun,
        verb: Verb,
        workers: tuple[int, ...] | None = None,
        num_workers: int | None = None,
        policy: PolicySpec | None = None,
    ) -> int:
        """Send a command to a run without waiting for its answer."""
        command = CommandRun(0, run.run_id, verb, workers, num_workers, policy=policy)
        return self.client.send(command)

    def ask(
        self,
        run: SeenRun,
        verb: Verb,
        workers: tuple[int, ...] | None = None,
        num_workers: int | None = None,
        policy: PolicySpec | None = None,
    ) -> Fault | None:
        """Send a command to a run, wait for its answer and return the fault in it, if any."""
        return self.answer_to(self.send(run, verb, workers, num_workers, policy)).fault

    def stop(self, run: SeenRun) -> RunUpdate:
        """Stop a run and wait for its end."""
        assert self.ask(run, Verb.STOP) is None
        return self.end_of(run)

    def end_of(self, run: SeenRun) -> RunUpdate:
        """Wait until a run has ended and its recording is closed."""
        self.wait(lambda: run.is_closed, "the last update")
        return run.latest

    def catch_up(self) -> None:
        """Read everything that was sent until now, and wait until no earlier run is listed."""
        self.done(DetachRun(0, "no run"))
        self.wait(lambda: not self.listed.runs, "earlier runs are gone")

    # --- receiving ----------------------------------------------------------------------------

    def run(self, run_id: str) -> SeenRun:
        """The run of that id, made when it is asked for first."""
        return self.runs.setdefault(run_id, SeenRun(run_id))

    def wait(
        self, condition: Callable[[], object], what: str = "", *, ceiling_s: float = CEILING_S
    ) -> None:
        """Receive messages until a condition holds; fail if that takes too long."""
        end_s = time.monotonic() + ceiling_s
        while not condition():
            if time.monotonic() > end_s:
                raise AssertionError(f"not within {ceiling_s:g} s: {what or condition}")
            message = self.client.receive(0.1)
            if message is not None:
                self._take(message)

    def answer_to(self, command_id: int, *, ceiling_s: float = CEILING_S) -> Answer:
        """Wait for the answer to a command."""
        what = f"the answer to command {command_id}"
        self.wait(lambda: self.answers[command_id], what, ceiling_s=ceiling_s)
        return self.answers[command_id][0]

    def done(self, command: Command, *, ceiling_s: float = CEILING_S) -> Answer:
        """Send a command that must succeed, and return its answer."""
        answer = self.answer_to(self.client.send(command), ceiling_s=ceiling_s)
        assert answer.fault is None, answer.fault.sentence()
        return answer

    def end_runs(self) -> None:
        """Stop every run that was started here and is not over."""
        for run in map(self.run, self.started):
            # A run that ended without our seeing it is gone, so that stopping it is refused.
            if not run.is_closed and self.ask(run, Verb.STOP) is None:
                self.end_of(run)
        self.started = []

    def close(self) -> None:
        """Stop the runs that were started here, then end the engine."""
        try:
            self.end_runs()
        finally:
            self.client.close()
        repeated = {number: said for number, said in self.answers.items() if len(said) > 1}
        assert not repeated, f"answered more than once: {repeated}"

    def kill(self, heir: "Terminal") -> None:
        """Kill the engine. Its runs go on, and `heir` stops them when it closes."""
        os.kill(self.pid, signal.SIGKILL)
        self.client.close()
        heir.started += self.started
        self.started = []

    def _take(self, message: FromEngine) -> None:
        match message:
            case RunUpdate():
                self.run(message.run_id).take(message)
            case Answer():
                self.answers[message.command_id].append(message)
            case ClusterStatus():
                self.cluster = message
            case RunList():
                self.listed = message
            case _:
                pass


def spec(**table: Any) -> RunSpec:
    """Make a spec from its tables, with 2 workers unless they name another number."""
    rollout = {"num_workers": 2, **table.pop("rollout", {})}
    return spec_from_table({"rollout": rollout, **table})
