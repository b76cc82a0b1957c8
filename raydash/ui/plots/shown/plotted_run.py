"""One run as plots show it: the buckets of a range, and the finer history that they lack.

All times here are on the run's own clock; the scope knows where they lie on the axis. Free of Qt.
"""

import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raydash.core.history.history import BUCKET_S
from raydash.core.history.series import HistorySeries
from raydash.core.machine.worker_record import MachineSettings
from raydash.core.records import Float64
from raydash.core.updates import RunUpdate
from raydash.link.store import Detail, RunStore
from raydash.ui.plots.shown.placing import StepCount

View = tuple[float, float]

# A plot with this many pixels per bucket still looks smooth.
_PX_PER_BUCKET = 2.0
_MAX_BUCKETS = 4096
# How far a detail may lag behind the run while the run goes on.
_DETAIL_LAG_S = 2.0


@dataclass(frozen=True, slots=True)
class Part:
    """The complete buckets of a series in (and just beside) the visible range.

    Attributes:
        series: The history whose columns hold the buckets.
        rows: The rows of these columns.
        first_bucket: Number of the first of these rows.
        edges_s: Where the buckets begin, and where the last one ends, on the run's clock.
        version: Changes when the same buckets hold other values; in a live run they never do.
    """

    series: HistorySeries
    rows: slice
    first_bucket: int
    edges_s: Float64
    version: int = 0

    def __len__(self) -> int:
        return len(self.edges_s) - 1

    @property
    def middles_s(self) -> Float64:
        """The middle of each bucket."""
        return np.asarray((self.edges_s[:-1] + self.edges_s[1:]) / 2)

    def grouped(self, num_groups: float) -> tuple[NDArray[np.intp], Float64]:
        """The rows at which about `num_groups` groups of buckets begin, and the groups' edges.

        Groups begin at multiples of the bucket number rather than at the left edge, so that they do
        not flicker while the plot moves on.
        """
        every = max(1, round(len(self) / max(num_groups, 1.0)))
        offset = (-self.first_bucket) % every
        starts = np.arange(offset, len(self), every, dtype=np.intp)
        if offset:
            starts = np.concatenate([np.zeros(1, np.intp), starts])
        return starts, np.append(self.edges_s[starts], self.edges_s[-1])

    def index_at(self, t_s: float) -> int | None:
        """The bucket that holds this time, or None."""
        index = int(np.searchsorted(self.edges_s, t_s, side="right")) - 1
        return index if 0 <= index < len(self) else None


@dataclass(frozen=True, slots=True)
class DetailRequest:
    """A request for a part of the history in finer buckets.

    Attributes:
        run_id: Id of the run.
        start_s: Where the part begins, on the run's clock.
        end_s: Where it ends.
        num_buckets: Into how many buckets it is to be divided.
    """

    run_id: str
    start_s: float
    end_s: float
    num_buckets: int


def settle_s(num_workers: int) -> float:
    """How many seconds late a chunk may still add to a bucket."""
    return MachineSettings().settle_s(num_workers)


class PlottedRun:
    """A run as the plots show it, which may be frozen while the run goes on.

    Attributes:
        live: The run, which goes on.
        frozen: What is drawn: the same run, or a copy that stands still.
    """

    def __init__(self, run: RunStore, *, frozen: bool) -> None:
        self.live = run
        self.frozen = _frozen_copy(run) if frozen else run

    @property
    def latest(self) -> RunUpdate | None:
        """The newest update, or the one at which the view was frozen."""
        return self.frozen.latest

    @property
    def now_s(self) -> float:
        """The run's clock, as far as it is shown."""
        return self.latest.t_s if self.latest else 0.0

    @property
    def begun_s(self) -> float:
        """About when it made its first step, on its own clock; 0 before that."""
        whole = self.frozen.whole
        stepped = whole.num_env_steps > 0
        first = int(np.argmax(stepped)) if stepped.any() else -whole.first_bucket
        return (whole.first_bucket + first) * whole.bucket_s

    @property
    def step_count(self) -> StepCount:
        """Its env steps over its own clock."""
        return StepCount(self.frozen.whole, self.now_s)

    @property
    def data_version(self) -> int:
        """Changes when complete buckets hold other values, or others take their place."""
        number = self._detail.number if self._detail else 0
        return (self.live.version << 20) + number if self.live.is_recording else number

    @property
    def _detail(self) -> Detail | None:
        return self.live.detail

    def num_complete(self, series: HistorySeries) -> int:
        """How many buckets of a series can no longer change."""
        latest = self.latest
        if latest is None:
            return 0
        if latest.state.is_over or latest.last:
            # Of a recording, only what had happened by the time that is shown.
            end = int(np.ceil(latest.t_s / series.bucket_s - 1e-6))
            return min(len(series), max(0, end - series.first_bucket))
        now_s = latest.t_s
        if self._detail is not None and series is self._detail.series:
            now_s = min(now_s, self._detail.until_s)
        return series.num_complete(now_s, settle_s(latest.num_workers))

    def series(self, view: View) -> HistorySeries:
        """The finest history that reaches back to the left edge."""
        coarse, detail = self._coarse(view), self._detail
        if detail is None or not self._covers(detail, view):
            return coarse
        return detail.series if detail.series.bucket_s < coarse.bucket_s else coarse

    def part(self, view: View) -> Part:
        """The buckets to draw for a range."""
        series = self.series(view)
        low_s, high_s = view
        bucket_s, first = series.bucket_s, series.first_bucket
        complete = self.num_complete(series)
        begin = min(max(int(np.floor(low_s / bucket_s)) - first - 1, 0), complete)
        end = min(max(int(np.ceil(high_s / bucket_s)) - first + 1, begin), complete)
        edges_s = (first + np.arange(begin, end + 1, dtype=np.float64)) * bucket_s
        if end > begin and (end == len(series) or edges_s[-1] > self.now_s):
            # The last bucket before the end of a run, or before the time shown, may be cut short.
            edges_s[-1] = min(edges_s[-1], max(self.now_s, edges_s[-2] + 0.05 * bucket_s))
        return Part(series, slice(begin, end), first + begin, edges_s, self.data_version)

    def end_bucket(self, view: View) -> int:
        """The number of the first bucket that may still change."""
        series = self.series(view)
        return series.first_bucket + self.num_complete(series)

    def wanted_detail(
        self, view: View, width_px: float, *, following: bool
    ) -> DetailRequest | None:
        """The history to request so that a plot of this width shows all that it could.

        None if it has enough; while a live run is followed, its updates bring enough.
        """
        run, latest = self.live, self.latest
        if latest is None or width_px < 1 or (following and not run.is_recording):
            return None
        coarse = self._coarse(view)
        view_low_s, view_high_s = view
        low_s, high_s = self._visible(view)
        span_s = view_high_s - view_low_s
        px_s = span_s / width_px
        good_s = max(BUCKET_S, _PX_PER_BUCKET * px_s) * 1.001
        if high_s <= low_s or coarse.bucket_s <= good_s:
            return None
        detail = self._detail
        if detail is not None and self._covers(detail, view) and detail.series.bucket_s <= good_s:
            lag_s = 0.0 if latest.last else _DETAIL_LAG_S
            if detail.until_s + lag_s >= high_s:
                return None
        start_s = max(0.0, view_low_s - span_s / 2)
        end_s = min(view_high_s + span_s / 2, run.recorded_until_s or np.inf)
        num_buckets = int(np.ceil((end_s - start_s) / max(BUCKET_S, px_s)))
        return DetailRequest(run.run_id, start_s, end_s, min(max(num_buckets, 1), _MAX_BUCKETS))

    def _coarse(self, view: View) -> HistorySeries:
        """The finer of the two series of the updates, if it reaches back to the left edge."""
        recent, whole = self.frozen.recent, self.frozen.whole
        # The bucket that is being filled takes the place of the one at the left edge.
        begins_s = (recent.first_bucket - 2) * recent.bucket_s
        reaches = bool(len(recent)) and begins_s <= max(0.0, view[0])
        return recent if reaches or not len(whole) else whole

    def _visible(self, view: View) -> View:
        """The part of the range between the run's start and its present."""
        return max(0.0, view[0]), min(view[1], self.now_s)

    def _covers(self, detail: Detail, view: View) -> bool:
        """Whether a detail has all that is visible.

        In a live run the newest part may still be coming.
        """
        (low_s, high_s), latest = self._visible(view), self.latest
        if latest is None or not len(detail.series):
            return False
        lag_s = 0.0 if latest.state.is_over else 2 * _DETAIL_LAG_S + 0.05 * (high_s - low_s)
        return detail.start_s <= low_s and high_s <= min(detail.end_s, detail.until_s + lag_s)


def _frozen_copy(run: RunStore) -> RunStore:
    """A copy that takes no updates. Updates replace arrays, so that a shallow copy stands still."""
    frozen = copy.copy(run)
    frozen.recent = copy.copy(run.recent)
    frozen.whole = copy.copy(run.whole)
    frozen.generations = copy.copy(run.generations)
    frozen.events = run.events.copy()
    return frozen
