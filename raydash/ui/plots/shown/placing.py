"""Convert between a run's own clock, its env steps, and the axis: the shown run's clock. Pure."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from typing_extensions import override

from raydash.core.history.series import HistorySeries
from raydash.core.records import Float64
from raydash.core.words.numbers import NBSP
from raydash.core.words.ticks import Ticks, value_ticks

_NEAREST = 0.7
"""The smallest distance between two ticks, as a share of what it is where they are even."""


class StepCount:
    """Converts between a run's clock and the env steps that it had made by then.

    Between the edges of a bucket, steps are spread evenly. Beyond the end they go on at the run's
    mean rate, so that every number of steps has its time.
    """

    def __init__(self, series: HistorySeries, now_s: float) -> None:
        """Count a run's steps.

        Args:
            series: The run's history from its start on.
            now_s: The run's clock, where the last bucket is cut short.
        """
        edges = series.first_bucket + np.arange(len(series) + 1, dtype=np.float64)
        self._t_s: Float64 = edges * series.bucket_s
        if len(series):
            self._t_s[-1] = min(self._t_s[-1], max(now_s, self._t_s[-2]))
        self._steps: Float64 = np.concatenate([np.zeros(1), np.cumsum(series.num_env_steps)])
        begun = int(np.searchsorted(self._steps, 0.0, side="right")) - 1
        took_s = float(self._t_s[-1] - self._t_s[begun])
        self._rate = float(self._steps[-1]) / took_s if took_s > 0 else 1.0

    def steps_at(self, t_s: ArrayLike) -> Float64:
        """The steps made by that time."""
        t_s = np.asarray(t_s, np.float64)
        more = np.maximum(t_s - self._t_s[-1], 0.0) * self._rate
        return np.asarray(np.interp(t_s, self._t_s, self._steps) + more)

    def time_of(self, steps: ArrayLike) -> Float64:
        """The time when it had made that many steps; if it paused there, the end of the pause."""
        steps = np.asarray(steps, np.float64)
        known, t_s = self._steps, self._t_s
        before = np.clip(np.searchsorted(known, steps, side="right") - 1, 0, len(known) - 1)
        after = np.minimum(before + 1, len(known) - 1)
        gap = known[after] - known[before]
        share = np.clip((steps - known[before]) / np.where(gap > 0, gap, 1.0), 0.0, 1.0)
        inside = t_s[before] + share * (t_s[after] - t_s[before])
        more = np.maximum(steps - known[-1], 0.0) / self._rate
        return np.asarray(np.where(steps >= known[-1], t_s[-1] + more, inside))


def step_ticks(count: StepCount, low_s: float, high_s: float, max_ticks: int) -> Ticks:
    """Ticks at round numbers of env steps, placed at the times when the run had made them.

    They are evenly spaced where the throughput is even; those that would come too close to the one
    before are left out. The first label names the unit.
    """
    first, last = (float(steps) for steps in count.steps_at((max(0.0, low_s), high_s)))
    ticks: Ticks = []
    for steps, label in value_ticks(first, last, max_ticks, whole=True):
        t_s = float(count.time_of(steps))
        is_near = ticks and t_s - ticks[-1][0] < _NEAREST * (high_s - low_s) / max(1, max_ticks)
        if low_s <= t_s <= high_s and not is_near:
            ticks.append((t_s, label if ticks else f"{label}{NBSP}steps"))
    return ticks


class AxisPlacement(ABC):
    """Converts between the clock of another run and the axis."""

    @abstractmethod
    def to_axis(self, own_s: ArrayLike) -> Float64:
        """The places on the axis of times on the run's own clock."""

    @abstractmethod
    def from_axis(self, axis_s: ArrayLike) -> Float64:
        """The times on the run's own clock of places on the axis."""

    def own_view(self, view: tuple[float, float]) -> tuple[float, float]:
        """The range of the run's own clock that a range of the axis shows."""
        low_s, high_s = self.from_axis(view)
        return float(low_s), float(high_s)


@dataclass(frozen=True, slots=True)
class ByTime(AxisPlacement):
    """Places a run by time: its clock began `offset_s` after that of the shown run."""

    offset_s: float = 0.0

    @override
    def to_axis(self, own_s: ArrayLike) -> Float64:
        return np.asarray(own_s, np.float64) + self.offset_s

    @override
    def from_axis(self, axis_s: ArrayLike) -> Float64:
        return np.asarray(axis_s, np.float64) - self.offset_s


@dataclass(frozen=True, slots=True)
class BySteps(AxisPlacement):
    """Places a run by env steps: a time lies where the shown run had made as many steps."""

    its: StepCount
    shown: StepCount

    @override
    def to_axis(self, own_s: ArrayLike) -> Float64:
        return self.shown.time_of(self.its.steps_at(own_s))

    @override
    def from_axis(self, axis_s: ArrayLike) -> Float64:
        return self.its.time_of(self.shown.steps_at(axis_s))
