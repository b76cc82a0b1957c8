"""A library of invented recordings, and the answers of an engine that has it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np

from raydash.core.faults import Fault
from raydash.core.library import DiskUse, LibrarySettings, Notes, RecordedRun, RunSource
from raydash.core.messages import (
    Answer,
    ChangeLibrary,
    DeleteRecordings,
    EditNotes,
    ExportRecording,
    FromEngine,
    HistoryRange,
    ImportRecordings,
    Library,
    LibraryCommand,
    ListRecordings,
    OpenRecording,
    QueryHistory,
    WriteReport,
)
from raydash.core.states import EndedBy, RunState
from raydash.core.updates import HistoryDelta, RunUpdate
from tests.fakes.updates.updates import make_info, make_update

NEWEST = datetime(2026, 11, 22, 12, 50, 7, tzinfo=UTC)
DISK = DiskUse("/home/ada/.local/share/raydash/runs", 4_200_000_000, 180_000_000_000)
_ENVS = ("CartPole-v1", "Pendulum-v1", "LunarLander-v3", "MountainCar-v0", "Acrobot-v1")
_TAGS = ((), ("baseline",), ("sweep", "lr"), ("baseline", "keep"), ())
_ENDS = (
    (RunState.FINISHED, EndedBy.EPISODES),
    (RunState.STOPPED, EndedBy.USER),
    (RunState.FINISHED, EndedBy.SECONDS),
    (RunState.FAILED, EndedBy.WORKERS_FAILED),
    (RunState.INTERRUPTED, EndedBy.CLUSTER_LOST),
)


def recorded(number: int = 0, **changes: object) -> RecordedRun:
    """Invent recording `number`; 0 is the newest."""
    env_id = _ENVS[number % len(_ENVS)]
    state, ended_by = _ENDS[number % len(_ENDS)]
    started = NEWEST - timedelta(minutes=47 * number)
    run_id = f"{started:%Y%m%d-%H%M%S}-{env_id.lower()}-{number:04x}"
    made = RecordedRun(
        run_id=run_id,
        path=f"{DISK.folder}/{run_id}.duckdb",
        name=f"{env_id.split('-')[0].lower()}-{('random', 'linear', 'cmaes')[number % 3]}",
        env_id=env_id,
        owner="ada@bench",
        source=RunSource.SB3_MONITOR if number % 11 == 10 else RunSource.RAYDASH,
        started_utc=started.isoformat(),
        state=state,
        ended_by=ended_by,
        elapsed_s=192.0 + 37.0 * number,
        num_workers=8,
        num_env_steps_sampled_lifetime=1_204_331 * (1 + number % 7),
        num_episodes_lifetime=20_411 * (1 + number % 7),
        episode_return_mean=187.4 / (1 + number % 4) - 30.0 * (number % 2),
        mode="actors",
        policy=("random", "linear", "linear")[number % 3],
        learner=("", "", "cmaes")[number % 3],
        size_bytes=41 * 2**20 // (1 + number % 5),
        modified_utc=(started + timedelta(minutes=4)).isoformat(),
        notes=Notes(
            title="the one for the paper" if number % 13 == 3 else "",
            tags=_TAGS[number % len(_TAGS)],
            pinned=number % 9 == 4,
        ),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def make_library(count: int = 12, **changes: object) -> Library:
    """Invent a library of `count` recordings, the newest first."""
    runs = tuple(recorded(number) for number in range(count))
    made = Library(runs, DISK, LibrarySettings())
    return replace(made, **changes)  # type: ignore[arg-type]


def opened(
    run_id: str, at_s: float | None = None, *, until_s: float = 600.0, seq: int = 1
) -> RunUpdate:
    """Invent an open recording as it was at `at_s`; None means its end."""
    t_s = until_s if at_s is None else min(max(at_s, 0.0), until_s)
    is_end = t_s >= until_s
    state = RunState.FINISHED if is_end else RunState.RUNNING
    made = make_update(8, seq, 0, t_s, state=state)
    info = replace(
        make_info(),
        run_id=run_id,
        recording=f"{DISK.folder}/{run_id}.duckdb",
        started_utc=NEWEST.isoformat(),
        recorded_until_s=until_s,
    )
    return replace(
        made,
        run_id=run_id,
        info=info,
        last=True,
        ended_by=EndedBy.EPISODES if is_end else None,
    )


def history_range(
    command: QueryHistory, *, until_s: float = 600.0, num_workers: int = 8
) -> HistoryRange:
    """Answer a query with buckets of equal width that have 100 steps each."""
    start_s, end_s = max(command.start_s, 0.0), min(command.end_s, until_s)
    bucket_s = (end_s - start_s) / command.num_buckets
    first = int(np.floor(start_s / bucket_s))
    count = max(1, int(np.ceil(end_s / bucket_s)) - first)
    ones = np.ones(count, np.int64)
    mean = np.full(count, 100.0)
    delta = HistoryDelta(
        bucket_s=bucket_s,
        first_bucket=first,
        oldest_bucket=first,
        num_env_steps=np.full(count, 100.0),
        num_terminated=ones,
        num_truncated=0 * ones,
        num_both=0 * ones,
        num_error=0 * ones,
        return_n=ones,
        return_mean=mean,
        return_min=mean,
        return_max=mean,
        return_p10=mean,
        return_p90=mean,
        worker_steps=np.full((count, num_workers), 100.0 / num_workers, np.float32),
        worker_return_mean=np.full((count, num_workers), 100.0, np.float32),
    )
    return HistoryRange(command.run_id, command.start_s, command.end_s, delta)


class MadeUpLibrary:
    """Answers commands about the library as an engine would, and remembers changes."""

    def __init__(self, count: int = 0) -> None:
        self.library = make_library(count)
        self._seq = 0

    def answers(self, command: LibraryCommand | QueryHistory) -> tuple[FromEngine, ...]:
        """Return the engine's messages in answer to a command, in order."""
        done = Answer(command.command_id)
        match command:
            case ListRecordings():
                return (self.library, done)
            case OpenRecording(recording=recording, at_s=at_s):
                run = self._find(recording)
                if run is None:
                    fault = Fault(f"There is no recording {recording}", bad_input=True)
                    return (replace(done, fault=fault),)
                self._seq += 1
                update = opened(run.run_id, at_s, until_s=run.elapsed_s, seq=self._seq)
                return (update, replace(done, run_id=run.run_id))
            case QueryHistory():
                run = self._find(command.run_id)
                return (history_range(command, until_s=run.elapsed_s if run else 600.0), done)
            case EditNotes(run_id=run_id, notes=notes):
                self._change(
                    tuple(
                        replace(run, notes=notes) if run.run_id == run_id else run
                        for run in self.library.runs
                    ),
                )
                return (self.library, done)
            case DeleteRecordings(run_ids=run_ids):
                self._change(tuple(run for run in self.library.runs if run.run_id not in run_ids))
                return (self.library, done)
            case ChangeLibrary(settings=settings):
                self.library = replace(self.library, settings=settings)
                return (self.library, done)
            case ImportRecordings():
                new = recorded(len(self.library.runs) + 500, source=RunSource.SB3_MONITOR)
                self._change((new, *self.library.runs))
                return (self.library, replace(done, run_id=new.run_id))
            case ExportRecording() | WriteReport():
                return (done,)

    def _find(self, recording: str) -> RecordedRun | None:
        runs = self.library.runs
        return next((run for run in runs if run.run_id.startswith(recording)), None)

    def _change(self, runs: tuple[RecordedRun, ...]) -> None:
        self.library = replace(self.library, runs=runs)
