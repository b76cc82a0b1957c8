"""The clock behind `elapsed_s` and `--for`: it runs only while workers have requests in flight.

It starts with the first step. Time in which the whole run is paused, or has no worker, does not
count, so steps divided by `elapsed_s` is the throughput.
"""

import math


class ActiveClock:
    """Adds up the time in which at least one request is in flight, from the first step on."""

    def __init__(self, elapsed_s: float = 0.0) -> None:
        self._elapsed_s = elapsed_s
        self._has_stepped = elapsed_s > 0
        self._last_s = 0.0
        self._running = False

    @property
    def elapsed_s(self) -> float:
        """Seconds counted up to the last `advance`."""
        return self._elapsed_s

    def advance(self, t_s: float, *, running: bool) -> None:
        """Move on to `t_s`; from then on the clock runs, or stands still."""
        if self._running and self._has_stepped:
            self._elapsed_s += t_s - self._last_s
        self._last_s = t_s
        self._running = running

    def note_chunk(self, t_s: float, duration_s: float, first_step_offset_s: float) -> None:
        """Start the clock with the first chunk that holds a step: it says when that step was."""
        if not self._has_stepped and math.isfinite(first_step_offset_s):
            self._has_stepped = True
            self._elapsed_s = max(0.0, duration_s - first_step_offset_s)
            self._last_s = t_s
