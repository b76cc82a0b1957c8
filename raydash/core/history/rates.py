"""Rates over time spans, from cumulative totals."""

from bisect import bisect_right
from collections import deque

import numpy as np
from numpy.typing import ArrayLike

from raydash.core.records import Float64


class SpanRates:
    """Remembers totals for a while and tells how fast they grew over a span.

    Totals may be a number, or an array that grows at its end: workers that came later count from
    zero. It keeps one entry per `resolution_s` for `longest_s`.
    """

    def __init__(self, longest_s: float, resolution_s: float) -> None:
        self._longest_s = longest_s
        self._resolution_s = resolution_s
        self._marks: deque[tuple[float, Float64]] = deque()

    def note(self, t_s: float, totals: ArrayLike) -> None:
        """Remember the totals at `t_s`, unless the last entry is newer than `resolution_s`."""
        if self._marks and t_s - self._marks[-1][0] < self._resolution_s:
            return
        self._marks.append((t_s, np.atleast_1d(np.asarray(totals, np.float64)).copy()))
        while len(self._marks) > 2 and t_s - self._marks[1][0] >= self._longest_s:
            self._marks.popleft()

    def growth(self, t_s: float, totals: ArrayLike, span_s: float) -> tuple[Float64, float]:
        """How much the totals grew in the last `span_s`, and how many seconds that really covers.

        It covers less than the span while there is not enough to look back on. Growth is never
        negative.
        """
        now = np.atleast_1d(np.asarray(totals, np.float64))
        if not self._marks:
            return np.zeros_like(now), 0.0
        newer = bisect_right(self._marks, t_s - span_s + 1e-9, key=lambda mark: mark[0])
        marked_s, marked = self._marks[max(0, newer - 1)]
        if t_s <= marked_s:
            return np.zeros_like(now), 0.0
        before = np.zeros_like(now)
        before[: len(marked)] = marked
        return np.maximum(now - before, 0.0), t_s - marked_s

    def rate_per_s(self, t_s: float, totals: ArrayLike, span_s: float) -> Float64:
        """Divide `growth` by the seconds that it covers; zero while it covers none."""
        grown, seconds = self.growth(t_s, totals, span_s)
        return grown / seconds if seconds > 0 else grown
