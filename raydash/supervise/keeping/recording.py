"""Connects a supervisor with its recording: writes the run, and reads what a restart needs."""

import contextlib
import time
from dataclasses import dataclass, field
from pathlib import Path

from typing_extensions import override

from raydash.core.clock import Clock
from raydash.core.faults import FaultError
from raydash.core.history.history import History
from raydash.core.spec import RunSpec
from raydash.core.updates import HistoryDelta, RunInfo, RunUpdate
from raydash.record.file.folder import learner_state_of
from raydash.record.file.rows import IncarnationRow, RecordBatch, RunEndRow, RunRow
from raydash.record.file.times import iso_utc
from raydash.record.read.restore import RecordedPast, restore
from raydash.record.write.recorder import Recorder
from raydash.supervise.account.ledger import Ledger
from raydash.supervise.keeping.past_history import read_history
from raydash.supervise.supervisor import Recording

LOCK_PATIENCE_S = 5.0
COMMIT_PATIENCE_S = 0.2
"""A command is on disk before any reader sees its effect, if the disk is at least this fast."""


@dataclass(frozen=True, slots=True)
class Past:
    """What a supervisor goes on from; the defaults are those of a new run.

    Attributes:
        recorded: What earlier incarnations of the supervisor recorded.
        ledger: Totals of workers and run.
        history: Time buckets in both resolutions.
        fault: Why an earlier recording could not be used, in words.
        is_unreadable: Whether that recording is still there, and must not be written to.
    """

    recorded: RecordedPast = field(default_factory=RecordedPast)
    ledger: Ledger = field(default_factory=Ledger)
    history: History = field(default_factory=History)
    fault: str = ""
    is_unreadable: bool = False

    @property
    def incarnations(self) -> dict[int, int]:
        """The next incarnation of each worker, by worker index."""
        return {worker.worker_index: worker.incarnation + 1 for worker in self.recorded.workers}


class NoRecording(Recording):
    """Records nothing: for simulated runs, and for runs whose file can't be written.

    Attributes:
        fault: Why nothing is recorded, in words; empty if that is intended.
    """

    fault = ""
    lag_s = 0.0
    num_bytes = 0

    def __init__(self, fault: str = "") -> None:
        self.fault = fault

    @override
    def add(self, batch: RecordBatch, *, urgent: bool) -> None:
        pass

    @override
    def history(self, start_s: float, end_s: float, num_buckets: int) -> None:
        pass

    @override
    def close(self, last: RunUpdate) -> None:
        pass


class DuckRecording(Recording):
    """Records a run in a DuckDB file."""

    def __init__(self, recorder: Recorder) -> None:
        self._recorder = recorder

    @property
    @override
    def fault(self) -> str:
        return self._recorder.fault

    @property
    @override
    def lag_s(self) -> float:
        return self._recorder.lag_s

    @property
    @override
    def num_bytes(self) -> int:
        return self._recorder.num_bytes

    @override
    def add(self, batch: RecordBatch, *, urgent: bool) -> None:
        self._recorder.append(batch)
        if urgent:
            self._recorder.settle(COMMIT_PATIENCE_S)

    @override
    def history(self, start_s: float, end_s: float, num_buckets: int) -> HistoryDelta:
        from raydash.record.read import history_query

        with self._recorder.reading() as connection:
            return history_query.history(
                connection, start_s=start_s, end_s=end_s, num_buckets=num_buckets
            )

    @override
    def close(self, last: RunUpdate) -> None:
        # Only a restarted supervisor would have gone on from the learner's state.
        with contextlib.suppress(OSError):
            learner_state_of(self._recorder.path).unlink(missing_ok=True)
        self._recorder.close(
            RunEndRow(
                state=last.state,
                ended_by=last.ended_by,
                cause=last.cause,
                ended_utc=iso_utc(time.time()),
                ended_s=last.t_s,
                elapsed_s=last.figures.elapsed_s,
            )
        )

    def abandon(self) -> None:
        """Close the file and leave the run open, as a crash of the supervisor would."""
        self._recorder.close()


def read_past(path: Path) -> Past:
    """Read what a recording, which need not exist, says of the run so far.

    A damaged file is set aside, and the run begins from the start. A file that can't be read is
    waited for, because a supervisor that was killed may hold its lock a moment longer than Ray
    believes. If waiting does not help, the file is marked as unreadable and must not be written to.
    """
    until_s = time.monotonic() + LOCK_PATIENCE_S
    while True:
        try:
            recorded = restore(path)
            if recorded is None:
                return Past()
            return Past(recorded, _ledger_of(recorded), read_history(recorded, path))
        except FaultError as error:
            if not path.exists():  # it was set aside
                return Past(fault=error.fault.sentence())
            if time.monotonic() > until_s:
                return Past(fault=error.fault.sentence(), is_unreadable=True)
        time.sleep(0.1)


def open_recording(
    spec: RunSpec, info: RunInfo, past: Past, *, clock: Clock, pid: int, cluster: str
) -> DuckRecording:
    """Begin to record a run, or go on after `past`.

    `pid` is the supervisor's process id, and `cluster` the address of an attached cluster, empty on
    a launched one.
    """
    recorder = Recorder(Path(info.recording), clock=clock)
    incarnation = IncarnationRow(
        incarnation=past.recorded.num_incarnations,
        started_s=past.recorded.last_t_s,
        started_utc=iso_utc(time.time(), "milliseconds"),
        node=info.node,
        pid=pid,
    )
    run = RunRow(
        run_id=info.run_id,
        spec=spec,
        owner=info.owner,
        started_utc=info.started_utc,
        cluster=cluster,
    )
    recorder.begin(run, incarnation)
    return DuckRecording(recorder)


def _ledger_of(recorded: RecordedPast) -> Ledger:
    ledger = Ledger()
    for worker in recorded.workers:
        returns = recorded.recent_returns[worker.worker_index]
        ledger.restore(worker.worker_index, worker.totals, returns, worker.incarnation + 1)
    ledger.restore_recent(recorded.recent)
    for named in recorded.scalars:
        ledger.scalars.restore(named)
    for agent, num_steps in recorded.agent_steps.items():
        ledger.agents.restore(agent, num_steps=num_steps)
    for named in recorded.agent_returns:
        ledger.agents.restore_returns(named)
    ledger.returns = recorded.sums
    return ledger
