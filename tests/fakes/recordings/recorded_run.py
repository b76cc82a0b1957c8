"""A run that is simulated on a clock that the test turns, and written by the real recorder."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from raydash.core.messages import Verb
from raydash.core.records import RolloutChunk
from raydash.core.spec import StopSpec
from raydash.core.states import Ending
from raydash.core.updates import RunUpdate
from raydash.record.file.rows import RecordBatch, RunEndRow
from raydash.record.write.recorder import Recorder
from raydash.supervise.pools.pool import Report
from tests.fakes.recordings.recordings import incarnation_row, run_row
from tests.fakes.runs.supervised_run import RUN_ID, Reader, SupervisedRun

COMMIT_S = 0.8
CEILING_S = 30.0


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A simulated run with its reader, and the recording that was written of it."""

    path: Path
    run: SupervisedRun
    reader: Reader

    @property
    def last(self) -> RunUpdate:
        """The last update that the reader got."""
        assert self.reader.latest is not None
        return self.reader.latest


def lived(folder: Path) -> RecordedRun:
    """Simulate a run of 40 s with errors, a pause of 5 s, a crash and a scaling up."""
    run = SupervisedRun(2, stop=StopSpec(seconds=35.0))
    run.pool.change = with_some_errors
    reader = run.reader()
    run.turns(10.0, reader)
    run.command(reader, Verb.PAUSE)
    run.turns(5.0, reader)
    run.command(reader, Verb.RESUME)
    run.turns(5.0, reader)
    run.pool.crash(1, 0)
    run.turns(5.0, reader)
    run.command(reader, Verb.SCALE, num_workers=3)
    run.until(lambda: run.recording.last is not None, reader)
    run.turns(1.0, reader)
    path = record(folder / f"{RUN_ID}.duckdb", run.recording.batches, run.recording.last)
    return RecordedRun(path, run, reader)


def record(path: Path, batches: Sequence[RecordBatch], last: RunUpdate | None) -> Path:
    """Write batches with the real recorder; if `last` is None, the run is never closed."""
    end = None
    if last is not None:
        end = RunEndRow(
            last.state,
            last.ended_by,
            last.cause,
            "2026-11-22T10:20:00+00:00",
            last.t_s,
            last.figures.elapsed_s,
        )
    recorder = Recorder(path, clock=time.monotonic, commit_interval_s=0.001)
    recorder.begin(run_row(RUN_ID), incarnation_row())
    for batch in commits(batches):
        recorder.append(batch)
        until_s = time.monotonic() + CEILING_S
        while recorder.lag_s > 0:  # each becomes a transaction of its own
            assert time.monotonic() < until_s, recorder.fault
            time.sleep(0.001)
    assert recorder.close(end)
    return path


def commits(batches: Sequence[RecordBatch]) -> list[RecordBatch]:
    """Merge batches as the recorder's thread would: those of 0.8 s make one transaction."""
    gathered: dict[int, list[RecordBatch]] = {}
    for batch in batches:
        gathered.setdefault(int(batch.t_s // COMMIT_S), []).append(batch)
    return [RecordBatch.merged(group) for group in gathered.values()]


def with_some_errors(report: Report) -> Report:
    """Make every seventh episode of a chunk end in an error, every fifth with both flags."""
    if not isinstance(report, RolloutChunk) or not len(report.ending):
        return report
    ending, returns = report.ending.copy(), report.episode_return.copy()
    ending[::5] = Ending.BOTH
    ending[::7] = Ending.ERROR
    returns[::7] = math.nan
    rest = {
        item.name: getattr(report, item.name)
        for item in fields(report)
        if item.name not in ("ending", "episode_return")
    }
    return RolloutChunk(**rest, ending=ending, episode_return=returns)
