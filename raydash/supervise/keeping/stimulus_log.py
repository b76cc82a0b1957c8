"""Keeps what a run's machine was told last, so that its end can be explained and played again.

The log costs a few microseconds a stimulus and at most 1 MB. When a turn raises, it goes to a file
beside the recording; `scripts/replay FILE` feeds it to a machine again. Of moments of observations,
which the machine only passes on, just size and sum are kept.
"""

import contextlib
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from raydash.core.machine.machine import RunMachine
from raydash.core.machine.requested_state import RequestedState
from raydash.core.machine.stimuli import (
    ChunkBatch,
    CommandReceived,
    CostFound,
    LearnerDied,
    LearnerFaulted,
    ProgressSeen,
    ReadersCounted,
    Stimulus,
    Ticked,
    WorkerClosed,
    WorkerDied,
)
from raydash.core.machine.worker_record import WorkerPhase
from raydash.core.records import ParametersReady, PlayedWork, PolicySet, PolicyWritten, WorkerReady
from raydash.core.spec import RunSpec
from raydash.protocol.codec import Codec
from raydash.protocol.frames import FrameReader, frame

MAX_STIMULI = 2000
MAX_BYTES = 1_000_000
NUM_BLOCKS = 2
_MAX_STORY = 200


@dataclass(frozen=True, slots=True)
class BlockStart:
    """What a machine has to begin with, so that what follows can be played again.

    Attributes:
        is_run_start: The machine was about to be started. Else the run was under way, and a replay
            has to guess: workers that were live get their environment at once, with two requests
            in flight each, and a plan of generations begins anew.
        incarnations: Of each worker, the one that a new machine would create.
        live_workers: Workers whose environment was ready.
    """

    t_s: float
    is_run_start: bool
    requested: RequestedState
    elapsed_s: float
    num_restarts: int
    incarnations: dict[int, int]
    live_workers: tuple[int, ...]

    @staticmethod
    def of(machine: RunMachine, t_s: float, *, is_run_start: bool) -> "BlockStart":
        """Describe a machine as it is at `t_s`, on the run's clock."""
        workers = machine.workers.values()
        return BlockStart(
            t_s,
            is_run_start,
            machine.commanded,
            machine.elapsed_s,
            machine.num_restarts,
            {worker.index: worker.incarnation for worker in workers},
            tuple(worker.index for worker in workers if worker.phase is WorkerPhase.LIVE),
        )


@dataclass(frozen=True, slots=True)
class LogHeader:
    """The beginning of a file: which run it is about, and what went wrong.

    Attributes:
        error: The exception, in one line.
        story: What was last heard of the worker that the last stimulus was about, line by line.
    """

    run_id: str
    spec: RunSpec
    start: BlockStart
    error: str
    traceback: str
    story: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoggedStimulus:
    """One stimulus, encoded, and what was left out of it, in words."""

    t_s: float
    stimulus: bytes
    omitted: tuple[str, ...] = ()


_codec = Codec(
    (
        *(CommandReceived, ChunkBatch, WorkerReady, PolicySet, WorkerClosed, WorkerDied),
        *(ProgressSeen, CostFound, ParametersReady, LearnerFaulted, LearnerDied, PolicyWritten),
        *(ReadersCounted, Ticked, LogHeader, LoggedStimulus),
    )
)


@dataclass(slots=True)
class _Block:
    start: BlockStart
    entries: list[LoggedStimulus]
    num_bytes: int = 0


class StimulusLog:
    """The newest stimuli of a run, in blocks of which the oldest goes when there is no room."""

    def __init__(
        self,
        run_id: str,
        spec: RunSpec,
        machine: RunMachine,
        *,
        path: Path | None = None,
        earlier: Path | None = None,
    ) -> None:
        """Begin with a machine that is not started.

        `path` is where the log is saved, if a turn raises; without it, nothing is. `earlier` is
        where the supervisor's incarnation before would have saved its own.
        """
        self._run_id = run_id
        self._spec = spec
        self._machine = machine
        self._path = path
        self._earlier = earlier
        start = BlockStart.of(machine, 0.0, is_run_start=True)
        self._blocks: deque[_Block] = deque([_Block(start, [])], maxlen=NUM_BLOCKS)

    def add(self, stimulus: Stimulus, t_s: float) -> None:
        """Keep a stimulus that the machine is about to be given."""
        block = self._blocks[-1]
        if (
            len(block.entries) >= MAX_STIMULI // NUM_BLOCKS
            or block.num_bytes >= MAX_BYTES // NUM_BLOCKS
        ):
            block = _Block(BlockStart.of(self._machine, t_s, is_run_start=False), [])
            self._blocks.append(block)
        shortened, omitted = _shortened(stimulus)
        try:
            entry = LoggedStimulus(t_s, _codec.encode(shortened), omitted)
        except Exception as error:  # whatever a run is told, its log must not be what ends it
            entry = LoggedStimulus(t_s, b"", (f"{type(stimulus).__name__}: {error!r}",))
        block.entries.append(entry)
        block.num_bytes += len(entry.stimulus) + sum(map(len, omitted))

    def save(self, error: Exception) -> Path | None:
        """Write the log to its file because of `error`; None if it can't be written."""
        if self._path is None:
            return None
        entries = [entry for block in self._blocks for entry in block.entries]
        header = LogHeader(
            self._run_id,
            self._spec,
            self._blocks[0].start,
            f"{type(error).__name__}: {error}",
            "".join(traceback.format_exception(error)),
            self._story(entries),
        )
        with contextlib.suppress(OSError):  # the disk may be what failed
            with self._path.open("wb") as file:
                file.write(frame(_codec.encode(header)))
                file.writelines(frame(_codec.encode(entry)) for entry in entries)
            return self._path
        return None

    def earlier_failure(self) -> tuple[str, str]:
        """Say in a line that the incarnation before failed, and why at length; empty: it did not.

        A supervisor that was killed saved nothing.
        """
        if self._earlier is None or not self._earlier.exists():
            return "", ""
        try:
            header, _ = read_log(self._earlier)
        except (OSError, ValueError) as error:
            return f"it failed, and {self._earlier.name} can't be read", str(error)
        detail = "\n".join((header.traceback, *header.story, "", f"scripts/replay {self._earlier}"))
        return f"it failed: {header.error} (all it was told: {self._earlier.name})", detail

    def _story(self, entries: list[LoggedStimulus]) -> tuple[str, ...]:
        """Tell what was heard of the worker that the last stimulus was about."""
        stimuli = list(_decoded(entries))
        concerned = workers_of(stimuli[-1][1]) if stimuli else set()
        told = [
            f"{t_s:.3f} s: {stimulus}"
            for t_s, stimulus in stimuli
            if concerned & workers_of(stimulus)
        ]
        records = [str(self._machine.workers.get(index)) for index in sorted(concerned)]
        return (*told[-_MAX_STORY:], *records)


def read_log(path: Path) -> tuple[LogHeader, list[tuple[float, Stimulus]]]:
    """Read a file that `StimulusLog.save` wrote.

    Raises:
        OSError: if it can't be read.
        ValueError: if it is no such file.
    """
    header, *entries = [_codec.decode(payload) for payload in FrameReader().feed(path.read_bytes())]
    if not isinstance(header, LogHeader):
        raise ValueError(f"{path} is no log of stimuli")
    return header, list(_decoded(entries))


def machine_of(header: LogHeader) -> RunMachine:
    """Make the machine that a log begins with, started."""
    start = header.start
    machine = RunMachine(
        header.spec,
        start.requested,
        elapsed_s=start.elapsed_s,
        incarnations=start.incarnations,
        num_restarts=start.num_restarts,
    )
    machine.start(start.t_s)
    for index in () if start.is_run_start else start.live_workers:
        ready = WorkerReady(index, start.incarnations[index], 0, "", "", 0)
        machine.handle(ready, start.t_s)
    return machine


def _decoded(entries: Sequence[LoggedStimulus]) -> Iterator[tuple[float, Stimulus]]:
    for entry in entries:
        if entry.stimulus:
            yield entry.t_s, _codec.decode(entry.stimulus)


def workers_of(stimulus: Stimulus) -> set[int]:
    """Return the indices of the workers that a stimulus is about."""
    if isinstance(stimulus, ChunkBatch):
        return set(stimulus.worker_index.tolist())
    index = getattr(stimulus, "worker_index", None)
    return set() if index is None else {index}


def _shortened(stimulus: Stimulus) -> tuple[Stimulus, tuple[str, ...]]:
    """Leave out what the machine only passes on, and say how much that was."""
    if not isinstance(stimulus, ChunkBatch):
        return stimulus, ()
    omitted = [words for played in stimulus.played for words in _long_columns(played)]
    if not omitted:
        return stimulus, ()
    played = tuple(each and replace(each, observations=None) for each in stimulus.played)
    return replace(stimulus, played=played), tuple(omitted)


def _long_columns(played: PlayedWork | None) -> Iterator[str]:
    if played is None or played.observations is None:
        return
    for name in played.observations.__slots__:
        column = np.asarray(getattr(played.observations, name))
        yield f"observations.{name}: {column.size} numbers, sum {column.sum():g}"
