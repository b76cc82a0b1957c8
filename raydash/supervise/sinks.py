"""Live sinks of a run: other tools that follow it, each fed by a process of its own.

Nothing here may cost the run anything. Whatever a tool does (hang, crash, print, be missing), the
supervisor only hands over a row and goes on. One thread passes rows on without ever waiting for a
process, and what goes wrong comes back as events, each cause once.
"""

import contextlib
import os
import selectors
import threading
import time
from collections import deque
from collections.abc import Mapping
from typing import Protocol

from typing_extensions import override

from raydash.core.clock import Clock
from raydash.core.machine.stimuli import RecordEvent
from raydash.core.spec import RunSpec
from raydash.core.updates import LearningFigures, RunFigures, RunInfo, RunUpdate
from raydash.sinks.child import SinkChild
from raydash.sinks.figures import params_of, row_of
from raydash.sinks.kinds import SinkKind, wanted
from raydash.sinks.lines import Row, RunEnd, SinkRun

OFFER_EVERY_S = 1.0
GRACE_S = 15.0
SILENT_AFTER_S = 30.0
_SELECT_TIMEOUT_S = 0.25
_FOREIGN = ("RAY_", "PYTHONDONTWRITEBYTECODE")
"""Prefixes of variables that belong to the cluster, its token included: no tool needs them."""


class LiveSinks(Protocol):
    """Feeds the sinks of a run. No method waits or raises."""

    def wants(self, t_s: float) -> bool:
        """Return whether new figures are due."""

    def offer(
        self,
        figures: RunFigures,
        num_workers: int,
        t_s: float,
        learning: LearningFigures | None = None,
    ) -> None:
        """Hand over the newest figures."""

    def troubles(self) -> list[RecordEvent]:
        """Return what went wrong since the last call."""

    def close(self, last: RunUpdate) -> None:
        """Hand over the last figures, and let the sinks end."""

    @property
    def is_closed(self) -> bool:
        """Whether all sinks have ended."""


class NoSinks(LiveSinks):
    """Feeds nothing: the run has no sinks."""

    is_closed = True

    @override
    def wants(self, t_s: float) -> bool:
        return False

    @override
    def offer(
        self,
        figures: RunFigures,
        num_workers: int,
        t_s: float,
        learning: LearningFigures | None = None,
    ) -> None:
        pass

    @override
    def troubles(self) -> list[RecordEvent]:
        return []

    @override
    def close(self, last: RunUpdate) -> None:
        pass


def open_sinks(spec: RunSpec, info: RunInfo) -> LiveSinks:
    """Start the sinks that a spec asks for."""
    kinds = wanted(spec.sinks)
    if not kinds:
        return NoSinks()
    run = SinkRun(
        run_id=info.run_id,
        env_id=spec.env.id,
        name=spec.name,
        owner=info.owner,
        folder=info.log_dir,
        sinks=spec.sinks,
        params=params_of(spec),
    )
    return SinkFeed(run, kinds)


class SinkFeed(LiveSinks):
    """Passes a run's figures on to its sinks, once a second, on a thread of its own."""

    def __init__(
        self,
        run: SinkRun,
        kinds: tuple[SinkKind, ...],
        *,
        clock: Clock = time.monotonic,
        grace_s: float = GRACE_S,
        silent_after_s: float = SILENT_AFTER_S,
        environment: Mapping[str, str] = os.environ,
    ) -> None:
        """Start a process for each sink.

        Sinks that have not ended `grace_s` after `close` are killed. One that does not answer for
        `silent_after_s` is reported. They inherit `environment`, without the cluster's variables.
        """
        self._clock = clock
        self._grace_s = grace_s
        inherited = {
            name: value for name, value in environment.items() if not name.startswith(_FOREIGN)
        }
        self._sinks = [SinkChild(kind, run, clock, silent_after_s, inherited) for kind in kinds]
        self._lock = threading.Lock()
        self._row: Row | None = None
        self._end: RunEnd | None = None
        self._last_offered: tuple[int, int, int] = (-1, 0, 0)
        self._offered_s = -OFFER_EVERY_S
        self._troubles: deque[RecordEvent] = deque()
        self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._thread = threading.Thread(target=self._run, name="sinks", daemon=True)
        self._thread.start()

    @property
    @override
    def is_closed(self) -> bool:
        return not self._thread.is_alive()

    @override
    def wants(self, t_s: float) -> bool:
        return t_s - self._offered_s >= OFFER_EVERY_S

    @override
    def offer(
        self,
        figures: RunFigures,
        num_workers: int,
        t_s: float,
        learning: LearningFigures | None = None,
    ) -> None:
        """Hand over the newest figures, unless the run has stood still since the last ones."""
        self._offered_s = t_s
        row = row_of(figures, num_workers=num_workers, t_s=t_s, learning=learning)
        progress = (row.step, figures.num_episodes_lifetime, num_workers)
        if progress != self._last_offered:
            self._last_offered = progress
            with self._lock:
                self._row = row
                self._wake_thread()

    @override
    def troubles(self) -> list[RecordEvent]:
        return [self._troubles.popleft() for _ in range(len(self._troubles))]

    @override
    def close(self, last: RunUpdate) -> None:
        row = row_of(
            last.figures, num_workers=last.num_workers, t_s=last.t_s, learning=last.learning
        )
        ended_by = last.ended_by.value if last.ended_by else ""
        with self._lock:
            self._end = RunEnd(row, last.state.value, ended_by, last.cause)
            self._wake_thread()

    def _wake_thread(self) -> None:
        """Wake the thread; hold the lock, as a closed file's number may soon be another file's."""
        if self._wake >= 0:
            with contextlib.suppress(BlockingIOError):  # the counter is full: it will wake anyway
                os.eventfd_write(self._wake, 1)

    # --- the thread --------------------------------------------------------------------------

    def _run(self) -> None:
        # Started on this thread: PR_SET_PDEATHSIG ends a child with the thread that made it.
        for sink in self._sinks:
            sink.start()
        deadline_s: float | None = None
        with selectors.DefaultSelector() as selector:
            while any(sink.is_alive for sink in self._sinks):
                self._wait(selector)
                with self._lock:
                    row, self._row = self._row, None
                    end = self._end
                if end is not None and deadline_s is None:
                    deadline_s = self._clock() + self._grace_s
                    for sink in self._sinks:
                        sink.end(end)
                elif row is not None:
                    for sink in self._sinks:
                        sink.offer(row)
                is_late = deadline_s is not None and self._clock() > deadline_s
                for sink in self._sinks:
                    sink.turn()
                    if is_late:
                        sink.kill(f"did not finish within {self._grace_s:g} s")
                    self._troubles += [sink.event_of(trouble) for trouble in sink.fresh()]
        self._troubles += [
            sink.event_of(trouble) for sink in self._sinks for trouble in sink.fresh()
        ]
        with self._lock:
            wake, self._wake = self._wake, -1
        os.close(wake)

    def _wait(self, selector: selectors.BaseSelector) -> None:
        selector.register(self._wake, selectors.EVENT_READ)
        files = [self._wake]
        for sink in self._sinks:
            for descriptor, events in sink.interests():
                selector.register(descriptor, events)
                files.append(descriptor)
        selector.select(_SELECT_TIMEOUT_S)
        for descriptor in files:
            selector.unregister(descriptor)
        with contextlib.suppress(BlockingIOError):
            os.eventfd_read(self._wake)
