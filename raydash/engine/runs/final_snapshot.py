"""Reads the end of a run from its recording, when its supervisor left without a last update.

That happens to a window that was suspended while the run ended, and when a supervisor was killed
for good.
"""

import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from raydash.core.faults import FaultError, FaultKind
from raydash.core.records import EpisodeColumns
from raydash.core.spec import RunSpec
from raydash.core.states import Activity, EndedBy, RunState
from raydash.core.updates import RunInfo, RunUpdate, WorkerColumns
from raydash.record.read.snapshot import RecordingReader, snapshot

LOCK_TIMEOUT_S = 5.0
RETRY_S = 0.1


def final_snapshot(newest: RunUpdate, info: RunInfo, spec: RunSpec) -> RunUpdate:
    """Make the last snapshot of a run from its recording, for which it may wait some seconds.

    `newest` is the last update that was read of the run; `info` and `spec` are from its first
    snapshot. Without a readable recording, the run ends with the figures of `newest`.
    """
    unrecorded = replace(
        newest,
        seq=newest.seq + 1,
        since_seq=newest.seq,
        info=None,
        spec=None,
        state=RunState.INTERRUPTED,
        ended_by=EndedBy.CLUSTER_LOST,
        cause="its supervisor is gone",
        workers=_stopped(newest.workers),
        episodes=EpisodeColumns(),
        num_episodes_omitted=0,
        events=(),
        last=True,
    )
    until_s = time.monotonic() + LOCK_TIMEOUT_S
    while True:
        try:
            return _as_recorded(unrecorded, info, spec)
        except FaultError as error:
            # Ray calls an actor dead a moment before its process closes the file.
            if time.monotonic() > until_s:
                return replace(unrecorded, cause=f"{unrecorded.cause}. {error.fault.sentence()}")
        time.sleep(RETRY_S)


def await_closed(recording: Path) -> None:
    """Wait until nobody writes a recording any more, for at most `LOCK_TIMEOUT_S`."""
    until_s = time.monotonic() + LOCK_TIMEOUT_S
    while time.monotonic() < until_s:
        try:
            RecordingReader(recording).close()
        except FaultError as error:
            if error.fault.kind is FaultKind.WRITTEN_ELSEWHERE:
                time.sleep(RETRY_S)
                continue
        return


def _as_recorded(unrecorded: RunUpdate, info: RunInfo, spec: RunSpec) -> RunUpdate:
    path = Path(info.recording)
    if not path.exists():  # it may be on another node, where the supervisor was
        return unrecorded
    recorded = snapshot(path)
    return replace(
        recorded,
        run_id=unrecorded.run_id,
        seq=unrecorded.seq,
        info=info,
        spec=spec,
        ended_by=recorded.ended_by or unrecorded.ended_by,
        cause=unrecorded.cause if recorded.state is RunState.INTERRUPTED else recorded.cause,
    )


def _stopped(workers: WorkerColumns) -> WorkerColumns:
    failed = workers.activity == Activity.FAILED
    return replace(
        workers,
        activity=np.where(failed, Activity.FAILED, Activity.STOPPED).astype(np.uint8),
        pid=np.zeros_like(workers.pid),
        env_steps_per_s=np.zeros_like(workers.env_steps_per_s),
    )
