"""What all plots show together: one run, one range of time, one cursor, one freeze.

::

    following --zoom, pan--> zoomed --follow--> following        freeze holds the data in both

Plots look at `stamp` on the draw clock; the signal is for buttons and selectors only.
"""

import copy
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from raydash.core.events import Event
from raydash.core.history import BUCKET_S
from raydash.core.records import Float64
from raydash.core.series import HistorySeries
from raydash.core.updates import RunUpdate
from raydash.core.worker_record import MachineSettings
from raydash.link.store import Detail, RunStore

MIN_SPAN_S = 2.0
_YOUNG_SPAN_S = 20.0
# A plot of so many pixels a bucket still looks smooth.
_PX_PER_BUCKET = 2.0
_MAX_BUCKETS = 4096
# How much older than the run a detail may be while the run goes on.
_DETAIL_LAG_S = 2.0


class Range(StrEnum):
    """The part of the run that is followed."""

    ONE_MINUTE = "1min"
    TEN_MINUTES = "10min"
    WHOLE = "whole"

    @property
    def span_s(self) -> float:
        """How much of the run's end, in seconds."""
        return {"1min": 60.0, "10min": 600.0, "whole": float("inf")}[self.value]


class TimeAxis(StrEnum):
    """What the ticks of the time axis say."""

    AGO = "ago"
    CLOCK = "clock"


@dataclass(frozen=True, slots=True)
class Part:
    """The complete buckets of a series in (and just beside) the visible range.

    Attributes:
        series: Where the columns are.
        rows: Which rows of them.
        first_bucket: Number of the first of these rows.
        edges_s: Where the buckets begin, and where the last one ends, on the run's clock.
        version: Another one: the same buckets hold other values (never so in a live run).
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
        """Rows at which about `num_groups` groups of buckets begin, and the groups' edges.

        Groups hang on bucket numbers, not on the left edge, so that they do not flicker while the
        plot moves on.
        """
        every = max(1, round(len(self) / max(num_groups, 1.0)))
        offset = (-self.first_bucket) % every
        starts = np.arange(offset, len(self), every, dtype=np.intp)
        if offset:
            starts = np.concatenate([np.zeros(1, np.intp), starts])
        return starts, np.append(self.edges_s[starts], self.edges_s[-1])

    def index_at(self, t_s: float) -> int | None:
        """The bucket that holds that moment, or None."""
        index = int(np.searchsorted(self.edges_s, t_s, side="right")) - 1
        return index if 0 <= index < len(self) else None


@dataclass(frozen=True, slots=True)
class DetailWish:
    """A part of the history that would show more than what is there.

    Attributes:
        run_id: Of which run.
        start_s: From here on the run's clock ...
        end_s: ... to here.
        num_buckets: In so many steps.
    """

    run_id: str
    start_s: float
    end_s: float
    num_buckets: int


def settle_s(num_workers: int) -> float:
    """How late a chunk may still arrive for a bucket."""
    return MachineSettings().settle_s(num_workers)


class PlotScope(QObject):
    """What all plots show together.

    Attributes:
        stamp: Counts changes of anything here but the cursor; new data of the run do not count.
        following: The right edge is now; False after the user zoomed or panned.
        frozen: Data stand still.
        range: The part that is followed.
        time_axis: What the ticks say while following.
        cursor: Where the mouse is, as a fraction of the range's width; None: over no plot.

    Signals:
        changed: Range, following, freeze, axis or run changed (not the cursor).
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.stamp = 0
        self.following = True
        self.frozen = False
        self.range = Range.TEN_MINUTES
        self.time_axis = TimeAxis.AGO
        self.cursor: float | None = None
        self._zoomed: tuple[float, float] = (0.0, 1.0)
        self._run: RunStore | None = None
        self._shown: RunStore | None = None

    # --- what is shown ---

    def set_run(self, run: RunStore | None) -> None:
        """Show another run, from its end."""
        if run is not self._run:
            self._run = run
            self._shown = _frozen_copy(run) if self.frozen else run
            self.following = True
            self._change()

    @property
    def run(self) -> RunStore | None:
        """The run; while frozen, as it was then."""
        return self._shown

    @property
    def latest(self) -> RunUpdate | None:
        """The newest update; while frozen, of then."""
        return self._shown.latest if self._shown else None

    @property
    def now_s(self) -> float:
        """The run's clock."""
        return self.latest.t_s if self.latest else 0.0

    @property
    def counts_back(self) -> bool:
        """Ticks say how long ago. Not so in a recording, where nothing is now."""
        recorded = self._run is not None and self._run.is_recording
        return self.following and self.time_axis is TimeAxis.AGO and not recorded

    def view(self) -> tuple[float, float]:
        """The visible range on the run's clock."""
        if not self.following:
            return self._zoomed
        now_s = self.now_s
        # A young run fills the width as it grows; a very young one is not blown up.
        youngest_s = _YOUNG_SPAN_S
        if self._run is not None and self._run.recorded_until_s is not None:
            youngest_s = min(youngest_s, max(self._run.recorded_until_s, MIN_SPAN_S))
        return now_s - min(self.range.span_s, max(now_s, youngest_s)), now_s

    def num_complete(self, series: HistorySeries) -> int:
        """How many buckets can't change any more."""
        latest = self.latest
        if latest is None:
            return 0
        if latest.state.is_over or latest.last:
            # Of a recording only what had happened by the moment that is shown.
            end = int(np.ceil(latest.t_s / series.bucket_s - 1e-6))
            return min(len(series), max(0, end - series.first_bucket))
        detail = self._detail()
        now_s = latest.t_s
        if detail is not None and series is detail.series:
            now_s = min(now_s, detail.until_s)
        return series.num_complete(now_s, settle_s(latest.num_workers))

    def series(self) -> HistorySeries | None:
        """The finest history that reaches back to the left edge."""
        coarse, detail = self._coarse(), self._detail()
        if coarse is None or detail is None or not self._covers(detail):
            return coarse
        return detail.series if detail.series.bucket_s < coarse.bucket_s else coarse

    def _coarse(self) -> HistorySeries | None:
        """The finer of the two that travel with updates, if it reaches back to the left edge."""
        run = self._shown
        if run is None:
            return None
        recent = run.recent
        # The bucket that is being filled takes the place of the one at the left edge.
        begins_s = (recent.first_bucket - 2) * recent.bucket_s
        reaches = bool(len(recent)) and begins_s <= max(0.0, self.view()[0])
        return recent if reaches or not len(run.whole) else run.whole

    def _detail(self) -> Detail | None:
        return self._run.detail if self._run else None

    def _visible(self) -> tuple[float, float]:
        """The part of the range that lies within the run's life so far."""
        low_s, high_s = self.view()
        return max(0.0, low_s), min(high_s, self.now_s)

    def _covers(self, detail: Detail) -> bool:
        """It has all that is visible; while the run goes on, the newest part may be on its way."""
        (low_s, high_s), latest = self._visible(), self.latest
        if latest is None or not len(detail.series):
            return False
        lag_s = 0.0 if latest.state.is_over else 2 * _DETAIL_LAG_S + 0.05 * (high_s - low_s)
        return detail.start_s <= low_s and high_s <= min(detail.end_s, detail.until_s + lag_s)

    def wanted_detail(self, width_px: float) -> DetailWish | None:
        """What to ask for, so that a plot of that width shows all that it could; None: nothing.

        While a live run is followed its updates bring enough.
        """
        run, latest, coarse = self._run, self.latest, self._coarse()
        if run is None or latest is None or coarse is None or width_px < 1:
            return None
        if self.following and not run.is_recording:
            return None
        view_low_s, view_high_s = self.view()
        low_s, high_s = self._visible()
        span_s = view_high_s - view_low_s
        px_s = span_s / width_px
        good_s = max(BUCKET_S, _PX_PER_BUCKET * px_s) * 1.001
        if high_s <= low_s or coarse.bucket_s <= good_s:
            return None
        detail = self._detail()
        if detail is not None and self._covers(detail) and detail.series.bucket_s <= good_s:
            lag_s = 0.0 if latest.last else _DETAIL_LAG_S
            if detail.until_s + lag_s >= high_s:
                return None
        start_s = max(0.0, view_low_s - span_s / 2)
        end_s = min(view_high_s + span_s / 2, run.recorded_until_s or np.inf)
        num_buckets = int(np.ceil((end_s - start_s) / max(BUCKET_S, px_s)))
        return DetailWish(run.run_id, start_s, end_s, min(max(num_buckets, 1), _MAX_BUCKETS))

    def part(self) -> Part | None:
        """The buckets to draw; None while there is no run."""
        series = self.series()
        if series is None:
            return None
        low_s, high_s = self.view()
        bucket_s, first = series.bucket_s, series.first_bucket
        complete = self.num_complete(series)
        begin = min(max(int(np.floor(low_s / bucket_s)) - first - 1, 0), complete)
        end = min(max(int(np.ceil(high_s / bucket_s)) - first + 1, begin), complete)
        edges_s = (first + np.arange(begin, end + 1, dtype=np.float64)) * bucket_s
        if end > begin and (end == len(series) or edges_s[-1] > self.now_s):
            # The last bucket of a run that is over, or of the moment shown, may be cut short.
            edges_s[-1] = min(edges_s[-1], max(self.now_s, edges_s[-2] + 0.05 * bucket_s))
        return Part(series, slice(begin, end), first + begin, edges_s, self._data_version())

    def marks(self) -> list[Event]:
        """Events that are drawn as lines, oldest first."""
        run = self._shown
        return [event for event in run.events if event.kind.is_mark] if run else []

    def _data_version(self) -> int:
        """Changes when buckets that were complete hold other values, or others take their place."""
        run, detail = self._run, self._detail()
        number = detail.number if detail else 0
        return (run.version << 20) + number if run is not None and run.is_recording else number

    def progress(self, px_s: float) -> tuple[int, int, int]:
        """Changes whenever following moves the picture by a pixel of `px_s` seconds."""
        series = self.series()
        if series is None:
            return (0, -1, 0)
        end = series.first_bucket + self.num_complete(series)
        moved = int(self.now_s / px_s) if self.following and px_s > 0 else 0
        return (end, moved, self._data_version())

    # --- what the user does ---

    def set_range(self, chosen: Range) -> None:
        """Follow another part of the run."""
        self.range = chosen
        self.following = True
        self._change()

    def set_time_axis(self, axis: TimeAxis) -> None:
        """Choose what ticks say while following."""
        if axis is not self.time_axis:
            self.time_axis = axis
            self._change()

    def set_frozen(self, frozen: bool) -> None:
        """Hold the data, or let them go on."""
        if frozen != self.frozen:
            self.frozen = frozen
            self._shown = _frozen_copy(self._run) if frozen else self._run
            self._change()

    def zoom_to(self, low_s: float, high_s: float) -> None:
        """Show that range until `follow`; it is kept to lengths and places that make sense."""
        longest = max(self.now_s * 1.2, 60.0)
        span = min(max(high_s - low_s, MIN_SPAN_S), longest)
        middle = (low_s + high_s) / 2
        middle = min(max(middle, 0.0), max(self.now_s, 0.0))
        self._zoomed = (middle - span / 2, middle + span / 2)
        self.following = False
        self._change()

    def zoom(self, factor: float, at: float) -> None:
        """Make the range `factor` times as long; the moment at fraction `at` stays in place."""
        low_s, high_s = self.view()
        span = high_s - low_s
        longer = max(span * factor, MIN_SPAN_S)
        fixed = low_s + at * span
        self.zoom_to(fixed - at * longer, fixed + (1 - at) * longer)

    def pan(self, fraction: float) -> None:
        """Move later by a fraction of the range."""
        low_s, high_s = self.view()
        shift = fraction * (high_s - low_s)
        self.zoom_to(low_s + shift, high_s + shift)

    def follow(self) -> None:
        """Back to now."""
        if not self.following:
            self.following = True
            self._change()

    def set_cursor(self, fraction: float | None) -> None:
        """The mouse is there (or gone)."""
        self.cursor = fraction

    def cursor_s(self) -> float | None:
        """The moment under the mouse."""
        if self.cursor is None:
            return None
        low_s, high_s = self.view()
        return low_s + self.cursor * (high_s - low_s)

    def _change(self) -> None:
        self.stamp += 1
        self.changed.emit()


def _frozen_copy(run: RunStore | None) -> RunStore | None:
    """A run that takes no update in. Updates replace arrays, so a shallow copy stands still."""
    if run is None:
        return None
    frozen = copy.copy(run)
    frozen.recent = copy.copy(run.recent)
    frozen.whole = copy.copy(run.whole)
    frozen.generations = copy.copy(run.generations)
    frozen.events = run.events.copy()
    return frozen
