"""The engine's main thread: jobs from a queue, and jobs at their time. Nothing in it may block."""

import contextlib
import heapq
import itertools
import queue
import threading
import time
from collections.abc import Callable
from typing import Any

from raydash.core.faults import Fault, FaultError
from raydash.engine.runs.start_run import unexpected

Job = Callable[[], None]


class MainLoop:
    """Runs jobs one after the other."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Job] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Job]] = []
        self._timer_ids = itertools.count()
        self._running = True
        self._delay_s = 0.0

    def run(self) -> None:
        """Serve until `stop`; the job that is under way then is the last."""
        while self._running:
            timeout_s = max(0.0, self._timers[0][0] - time.monotonic()) if self._timers else None
            with contextlib.suppress(queue.Empty):
                self._jobs.get(timeout=timeout_s)()
            while self._timers and self._timers[0][0] <= time.monotonic():
                due_s, _, job = heapq.heappop(self._timers)
                self._delay_s = max(self._delay_s, time.monotonic() - due_s)
                job()

    def stop(self) -> None:
        """End `run`; for jobs."""
        self._running = False

    def post(self, job: Job) -> None:
        """Have something done; callable from any thread."""
        self._jobs.put(job)

    def later(self, delay_s: float, job: Job) -> None:
        """Have something done in a while; for jobs."""
        heapq.heappush(self._timers, (time.monotonic() + delay_s, next(self._timer_ids), job))

    def in_background(
        self, work: Callable[[], Any], then: Callable[[Any, Fault | None], None]
    ) -> threading.Thread:
        """Do what may block on a thread; `then` gets its value, or the fault instead, as a job."""

        def body() -> None:
            try:
                value, fault = work(), None
            except FaultError as error:
                value, fault = None, error.fault
            except Exception as error:
                value, fault = None, unexpected(error)
            self.post(lambda: then(value, fault))

        thread = threading.Thread(target=body, daemon=True)
        thread.start()
        return thread

    def take_delay_s(self) -> float:
        """How late a timed job came at worst since this was asked last."""
        delay_s, self._delay_s = self._delay_s, 0.0
        return delay_s
