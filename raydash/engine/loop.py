"""The engine's main thread, which runs posted and delayed jobs. No job may block."""

import contextlib
import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from raydash.core.faults import Fault, FaultError
from raydash.engine.runs.start_run import unexpected_fault

Job = Callable[[], None]


class MainLoop:
    """Runs jobs one after the other, on the thread that calls `run`."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Job]] = []
        self._timer_ids = itertools.count()
        self._running = True
        self._delay_s = 0.0

    def run(self) -> None:
        """Run jobs until one of them calls `stop`."""
        while self._running:
            timeout_s = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            with contextlib.suppress(queue.Empty):
                self._jobs.get(timeout=timeout_s)()
            while self._timers and self._timers[0][0] <= time.monotonic():
                due_s, _, job = heapq.heappop(self._timers)
                self._delay_s = max(self._delay_s, time.monotonic() - due_s)
                job()

    def stop(self) -> None:
        """End `run` after the current job. Only jobs may call this."""
        self._running = False

    def post(self, job: Job) -> None:
        """Queue a job. Callable from any thread."""
        self._jobs.put(job)

    def call_later(self, delay_s: float, job: Job) -> None:
        """Run a job `delay_s` from now. Only jobs may call this."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._timer_ids), job))

    def run_in_background(
        self, work: Callable[[], Any], then: Callable[[Any, Fault | None], None]
    ) -> threading.Thread:
        """Do blocking work on a new thread, then post `then` with its value, or with the fault."""

        def body() -> None:
            try:
                value, fault = work(), None
            except FaultError as error:
                value, fault = None, error.fault
            except Exception as error:
                value, fault = None, unexpected_fault(error)
            self.post(lambda: then(value, fault))

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        return thread

    def pop_max_delay_s(self) -> float:
        """Return the longest time that a delayed job was late since the last call, in seconds."""
        delay_s, self._delay_s = self._delay_s, 0.0
        return delay_s
