"""The end of a run that nobody heard of: its supervisor is gone, and its recording tells.

It happens to a window that was suspended while the run ended, and when a supervisor was killed for
good. From its end on a run is its file.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from raydash.core.faults import FaultError
from raydash.core.records import EpisodeColumns
from raydash.core.spec import RunSpec
from raydash.core.states import Activity, EndedBy, RunState
from raydash.core.updates import RunInfo, RunUpdate, WorkerColumns
from raydash.record.read.live_copy import is_locked
from raydash.record.read.snapshot import RecordingReader, snapshot

PATIENCE_S = 5.0
RETRY_S = 0.1


def last_words(newest: RunUpdate, info: RunInfo, spec: RunSpec) -> RunUpdate:
    """A last snapshot. Reads the recording: takes its time.

    Args:
        newest: The last that was read of the run.
        info: From its first snapshot.
        spec: Likewise.
    """
    silent = replace(
        newest,
        seq=newest.seq + 1,
        since_seq=newest.seq,
        info=None,
        spec=None,
        state=RunState.INTERRUPTED,
        ended_by=EndedBy.CLUSTER_LOST,
        cause="its supervisor is gone",
        workers=_ended(newest.workers),
        episodes=EpisodeColumns(),
        num_episodes_omitted=0,
        events=(),
        last=True,
    )
    until_s = time.monotonic() + PATIENCE_S
    while True:
        try:
            return _as_recorded(silent, info, spec)
        except FaultError as error:
            # Ray calls an actor dead a moment before its process lets go of the file.
            if time.monotonic() > until_s:
                return replace(silent, cause=f"{silent.cause}. {error.fault.sentence()}")
        time.sleep(RETRY_S)


def await_closed(recording: Path) -> None:
    """Wait until nobody writes a recording any more, `PATIENCE_S` at most."""
    until_s = time.monotonic() + PATIENCE_S
    while time.monotonic() < until_s:
        try:
            RecordingReader(recording).close()
        except FaultError as error:
            if is_locked(error.fault):
                time.sleep(RETRY_S)
                continue
        return


def _as_recorded(silent: RunUpdate, info: RunInfo, spec: RunSpec) -> RunUpdate:
    path = Path(info.recording)
    if not path.exists():  # it is on the supervisor's node, and that is another
        return silent
    recorded = snapshot(path)
    return replace(
        recorded,
        run_id=silent.run_id,
        seq=silent.seq,
        info=info,
        spec=spec,
        ended_by=recorded.ended_by or silent.ended_by,
        cause=silent.cause if recorded.state is RunState.INTERRUPTED else recorded.cause,
    )


def _ended(workers: WorkerColumns) -> WorkerColumns:
    failed = workers.activity == Activity.FAILED
    return replace(
        workers,
        activity=np.where(failed, Activity.FAILED, Activity.STOPPED).astype(np.uint8),
        pid=np.zeros_like(workers.pid),
        env_steps_per_s=np.zeros_like(workers.env_steps_per_s),
    )
