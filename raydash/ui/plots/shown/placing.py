"""Where the moments of a run lie on the axis, which is the clock of the run that is shown. Pure."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from raydash.core.history.series import HistorySeries
from raydash.core.records import Float64


class StepCount:
    """How many env steps a run had made at each moment, and when it had made so many.

    Between edges of buckets steps are spread evenly. Beyond the end they go on at the run's mean
    rate, so that every number of steps has its moment.
    """

    def __init__(self, series: HistorySeries, now_s: float) -> None:
        """Count a run's steps.

        Args:
            series: Its history from its start on.
            now_s: Its clock: the last bucket is cut short there.
        """
        edges = series.first_bucket + np.arange(len(series) + 1, dtype=np.float64)
        self._t_s: Float64 = edges * series.bucket_s
        if len(series):
            self._t_s[-1] = min(self._t_s[-1], max(now_s, self._t_s[-2]))
        self._steps: Float64 = np.concatenate([np.zeros(1), np.cumsum(series.num_env_steps)])
        begun = int(np.searchsorted(self._steps, 0.0, side="right")) - 1
        took_s = float(self._t_s[-1] - self._t_s[begun])
        self._rate = float(self._steps[-1]) / took_s if took_s > 0 else 1.0

    def at(self, t_s: ArrayLike) -> Float64:
        """Steps made by then."""
        t_s = np.asarray(t_s, np.float64)
        more = np.maximum(t_s - self._t_s[-1], 0.0) * self._rate
        return np.asarray(np.interp(t_s, self._t_s, self._steps) + more)

    def moment_of(self, steps: ArrayLike) -> Float64:
        """When it had made so many; of a number at which it paused, the pause's end."""
        steps = np.asarray(steps, np.float64)
        known, t_s = self._steps, self._t_s
        before = np.clip(np.searchsorted(known, steps, side="right") - 1, 0, len(known) - 1)
        after = np.minimum(before + 1, len(known) - 1)
        gap = known[after] - known[before]
        share = np.clip((steps - known[before]) / np.where(gap > 0, gap, 1.0), 0.0, 1.0)
        inside = t_s[before] + share * (t_s[after] - t_s[before])
        more = np.maximum(steps - known[-1], 0.0) / self._rate
        return np.asarray(np.where(steps >= known[-1], t_s[-1] + more, inside))


class Placing(ABC):
    """Places another run beside the one that is shown."""

    @abstractmethod
    def onto_axis(self, own_s: ArrayLike) -> Float64:
        """Where moments of its own clock lie."""

    @abstractmethod
    def own(self, axis_s: ArrayLike) -> Float64:
        """The moments of its own clock that lie there."""

    def own_view(self, view: tuple[float, float]) -> tuple[float, float]:
        """A range of the axis on its own clock."""
        low_s, high_s = self.own(view)
        return float(low_s), float(high_s)


@dataclass(frozen=True, slots=True)
class ByTime(Placing):
    """Its clock is so many seconds beside that of the run that is shown."""

    offset_s: float = 0.0

    def onto_axis(self, own_s: ArrayLike) -> Float64:
        """See `Placing`."""
        return np.asarray(own_s, np.float64) + self.offset_s

    def own(self, axis_s: ArrayLike) -> Float64:
        """See `Placing`."""
        return np.asarray(axis_s, np.float64) - self.offset_s


@dataclass(frozen=True, slots=True)
class BySteps(Placing):
    """What it did after so many env steps lies where the shown run had made as many."""

    its: StepCount
    shown: StepCount

    def onto_axis(self, own_s: ArrayLike) -> Float64:
        """See `Placing`."""
        return self.shown.moment_of(self.its.at(own_s))

    def own(self, axis_s: ArrayLike) -> Float64:
        """See `Placing`."""
        return self.its.moment_of(self.shown.at(axis_s))
