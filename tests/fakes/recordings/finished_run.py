"""Finished recordings with every kind of ending, and a plain reader of event files."""

import struct
from collections import defaultdict
from pathlib import Path
from typing import NamedTuple

import numpy as np

from raydash.core.machine.requested_state import RequestedState
from raydash.core.records import EpisodeColumns, Float64, WorkerTotals
from raydash.core.states import EndedBy, Ending, RunState
from raydash.record.file.rows import RecordBatch, RunEndRow
from raydash.record.write.recorder import Recorder
from tests.fakes.recordings.recordings import event, incarnation_row, run_row


def mixed_episodes(
    count: int, *, seed: int = 0, span_s: float = 10.0, returns: Float64 | None = None
) -> EpisodeColumns:
    """Make episodes of two workers, with returns of 53 bits and all four endings.

    If `returns` are given, no episode ends in an error.
    """
    rng = np.random.default_rng(seed)
    ending = rng.choice(4, count, p=[0.6, 0.2, 0.1, 0.1]).astype(np.uint8)
    if returns is not None:
        ending = np.zeros(count, np.uint8)
    drawn = rng.normal(size=count) * 10.0 ** rng.integers(-3, 4, count)
    return EpisodeColumns(
        end_s=np.sort(rng.random(count) * span_s),
        worker_index=rng.integers(1, 3, count).astype(np.int32),
        env_index=np.zeros(count, np.int32),
        incarnation=np.zeros(count, np.int32),
        episode_return=np.where(ending == Ending.ERROR, np.nan, drawn)
        if returns is None
        else returns,
        episode_len=rng.integers(1, 500, count).astype(np.int32),
        ending=ending,
        duration_s=rng.random(count).astype(np.float32),
    )


def totals_of(episodes: EpisodeColumns, worker_index: int) -> WorkerTotals:
    """Count up what one worker had done when the last of these episodes ended."""
    mine = episodes.worker_index == worker_index
    ending = episodes.ending[mine]
    return WorkerTotals(
        num_env_steps=int(episodes.episode_len[mine].sum()),
        num_episodes=int(mine.sum()),
        num_terminated=int(np.isin(ending, (Ending.TERMINATED, Ending.BOTH)).sum()),
        num_truncated=int(np.isin(ending, (Ending.TRUNCATED, Ending.BOTH)).sum()),
        num_error=int((ending == Ending.ERROR).sum()),
        busy_time_s=1.0,
    )


def record_run(
    path: Path,
    episodes: EpisodeColumns,
    *,
    run_id: str = "20261122-101500-cartpole-v1-3f9a",
    end: bool = True,
    num_batches: int = 20,
) -> Path:
    """Record these episodes as a supervisor does: totals with every batch, and one event."""
    recorder = Recorder(path, clock=lambda: 0.0, commit_interval_s=0.0)
    recorder.begin(run_row(run_id), incarnation_row())
    ends = np.linspace(0, 10.0, num_batches + 1)[1:]
    for number, t_s in enumerate(ends):
        low = 0.0 if number == 0 else ends[number - 1]
        new = (episodes.end_s >= low) & (episodes.end_s < t_s)
        known = episodes.end_s < t_s
        so_far = EpisodeColumns(*(getattr(episodes, n)[known] for n in EpisodeColumns.__slots__))
        recorder.append(
            RecordBatch(
                t_s=float(t_s),
                elapsed_s=float(t_s),
                commanded=RequestedState(num_workers=2),
                episodes=EpisodeColumns(
                    *(getattr(episodes, n)[new] for n in EpisodeColumns.__slots__)
                ),
                totals=[(worker, 0, totals_of(so_far, worker)) for worker in (1, 2)],
                events=[event(1, 0.5, 1)] if number == 0 else [],
            )
        )
    row = RunEndRow(
        RunState.FINISHED, EndedBy.EPISODES, "", "2026-11-22T10:15:10+00:00", 10.0, 10.0
    )
    assert recorder.close(row if end else None)
    return path


class Point(NamedTuple):
    step: int
    wall_time: float
    value: float


def tensorboard_events(path: Path) -> tuple[dict[str, list[Point]], dict[str, str]]:
    """Read the scalars and texts of an event file."""
    from tensorboardX.proto.event_pb2 import Event

    scalars: dict[str, list[Point]] = defaultdict(list)
    texts: dict[str, str] = {}
    data, place = path.read_bytes(), 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        event = Event.FromString(data[place + 12 : place + 12 + length])
        place += 16 + length
        for value in event.summary.value:
            if value.HasField("simple_value"):
                scalars[value.tag].append(Point(event.step, event.wall_time, value.simple_value))
            else:
                texts[value.tag] = value.tensor.string_val[0].decode()
    return dict(scalars), texts
