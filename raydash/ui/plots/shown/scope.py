"""What all plots share: the shown run and those laid over it, a time range, and a cursor.

::

    following --zoom, pan--> zoomed --follow--> following        freeze holds the data in both

The axis is the clock of the shown run. Overlaid runs are placed on it according to what the axis
shows: with "time ago" where they were at the same time, with "run clock" from their own start, with
"env steps" where the shown run had made as many. A recording has no present, so it is placed by its
start instead.

Plots compare `stamp` on the draw clock; the signal is for buttons and selectors only.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from PySide6.QtCore import QObject, Signal

from raydash.core.events import Event
from raydash.core.history.generation_series import GenerationSeries
from raydash.core.history.series import HistorySeries
from raydash.core.updates import RunUpdate
from raydash.link.store import RunStore
from raydash.ui.plots.shown.placing import AxisPlacement, BySteps, ByTime, StepCount
from raydash.ui.plots.shown.plotted_run import DetailRequest, Part, PlottedRun

MIN_SPAN_S = 2.0
_YOUNG_SPAN_S = 5.0


class Range(StrEnum):
    """The part of the run that is followed."""

    ONE_MINUTE = "1min"
    TEN_MINUTES = "10min"
    WHOLE = "whole"

    @property
    def span_s(self) -> float:
        """The seconds at the run's end that are shown."""
        return {"1min": 60.0, "10min": 600.0, "whole": float("inf")}[self.value]


class TimeAxis(StrEnum):
    """What the ticks of the time axis say."""

    AGO = "ago"
    CLOCK = "clock"
    ENV_STEPS = "env_steps"


@dataclass(frozen=True, slots=True)
class DrawnRun:
    """A run whose curves are drawn.

    Attributes:
        run: The run's data.
        label: The run's name in the legend.
        number: The number from which its colour follows (`run_style`).
    """

    run: RunStore
    label: str
    number: int


@dataclass(frozen=True, slots=True)
class Overlay:
    """The visible part of a run that is laid over the shown one.

    Attributes:
        label: The run's name in the legend.
        number: The number from which its colour follows.
        run_id: Id of the run.
        part: Its buckets, on its own clock.
        placement: Converts between its clock and the axis.
        generations: All its generations; empty if it does not learn.
    """

    label: str
    number: int
    run_id: str
    part: Part
    placement: AxisPlacement
    generations: GenerationSeries


class PlotScope(QObject):
    """Holds what all plots show: runs, time range, axis and cursor.

    Attributes:
        stamp: Counts changes of anything here except the cursor; new data of the runs do not count.
        following: The right edge is now; False after the user zoomed or panned.
        frozen: The data stand still.
        is_starting: A run has been requested and has not started yet.
        range: The part of the run that is followed.
        time_axis: What the ticks say while following.
        cursor: Where the mouse is, as a fraction of the range's width; None outside of all plots.
        label: Name of the shown run in legends.
        number: The number from which the shown run's colour follows.

    Signals:
        changed: Range, following, freeze, axis or runs changed (not the cursor).
    """

    changed = Signal()

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.stamp = 0
        self.following = True
        self.frozen = False
        self.is_starting = False
        self.range = Range.TEN_MINUTES
        self.time_axis = TimeAxis.AGO
        self.cursor: float | None = None
        self.label = ""
        self.number = 0
        self._zoomed: tuple[float, float] = (0.0, 1.0)
        self._shown: PlottedRun | None = None
        self._drawn: tuple[DrawnRun, ...] = ()
        self._overlaid: tuple[PlottedRun, ...] = ()

    # --- what is shown ---

    def set_run(self, run: RunStore | None) -> None:
        """Show another run, beginning with its end."""
        if run is not (self._shown.live if self._shown else None):
            self._shown = PlottedRun(run, frozen=self.frozen) if run is not None else None
            self.following = True
            self._change()

    def set_starting(self, is_starting: bool) -> None:
        """Set whether a run has been requested that has not started yet."""
        if is_starting != self.is_starting:
            self.is_starting = is_starting
            self._change()

    def set_look(self, label: str, number: int) -> None:
        """Set the name and the colour of the shown run."""
        if (label, number) != (self.label, self.number):
            self.label, self.number = label, number
            self._change()

    def set_overlaid(self, drawn: Sequence[DrawnRun]) -> None:
        """Lay these runs over the shown one."""
        if tuple(drawn) != self._drawn:
            plotted = {each.live.run_id: each for each in self._overlaid}
            self._drawn = tuple(drawn)
            self._overlaid = tuple(
                known
                if (known := plotted.get(each.run.run_id)) and known.live is each.run
                else PlottedRun(each.run, frozen=self.frozen)
                for each in drawn
            )
            self._change()

    @property
    def has_overlays(self) -> bool:
        """Whether more than one run is drawn, so that colours stand for runs."""
        return bool(self._overlaid)

    @property
    def run(self) -> RunStore | None:
        """The shown run; while frozen, as it was then."""
        return self._shown.frozen if self._shown else None

    @property
    def latest(self) -> RunUpdate | None:
        """The newest update of the shown run; while frozen, the one from then."""
        return self._shown.latest if self._shown else None

    @property
    def now_s(self) -> float:
        """The clock of the shown run."""
        return self._shown.now_s if self._shown else 0.0

    @property
    def has_now(self) -> bool:
        """Whether the axis says how long ago something was; a recording has no present."""
        recorded = self._shown is not None and self._shown.live.is_recording
        return self.time_axis is TimeAxis.AGO and not recorded

    @property
    def counts_back(self) -> bool:
        """Whether the ticks say how long ago something was."""
        return self.following and self.has_now

    def extent(self) -> tuple[float, float]:
        """The first and the last time of everything that is drawn, on the axis."""
        first_s, last_s = 0.0, self.now_s
        for plotted in self._overlaid:
            begin_s, end_s = self._placement(plotted).to_axis((0.0, plotted.now_s)).tolist()
            first_s = min(first_s, begin_s)
            if not self.has_now:
                last_s = max(last_s, end_s)
        return first_s, last_s

    def view(self) -> tuple[float, float]:
        """The visible range, on the clock of the shown run."""
        if not self.following:
            return self._zoomed
        last_s, now_s, begun_s = self.extent()[1], self.now_s, self._begun_s()
        # A young run fills the width as it grows; a very young one is not magnified.
        youngest_s = _YOUNG_SPAN_S
        ended_s = self._ended_s()
        if ended_s is not None:
            youngest_s = min(youngest_s, max(ended_s - begun_s, MIN_SPAN_S))
        low_s = now_s - min(self.range.span_s, max(now_s - begun_s, youngest_s))
        return low_s, last_s if self.range is Range.WHOLE else now_s

    def _begun_s(self) -> float:
        """When the first of the runs made its first step, on the axis; nothing is drawn before."""
        if self._shown is None:
            return 0.0
        others = (
            float(self._placement(plotted).to_axis(plotted.begun_s)) for plotted in self._overlaid
        )
        return min(self._shown.begun_s, *others) if self._overlaid else self._shown.begun_s

    def _ended_s(self) -> float | None:
        """When the shown run ended; None while it goes on."""
        if self._shown is None or self._shown.live.recorded_until_s is not None:
            return self._shown.live.recorded_until_s if self._shown else None
        latest = self.latest
        return latest.t_s if latest is not None and latest.state.is_over else None

    def series(self) -> HistorySeries | None:
        """The finest history of the shown run that reaches back to the left edge."""
        return self._shown.series(self.view()) if self._shown else None

    def part(self) -> Part | None:
        """The visible buckets of the shown run; None without a run."""
        return self._shown.part(self.view()) if self._shown else None

    def overlays(self) -> list[Overlay]:
        """The visible parts of the overlaid runs, in the order in which they were added."""
        view = self.view()
        made = []
        for drawn, plotted in zip(self._drawn, self._overlaid, strict=True):
            placement = self._placement(plotted)
            part = plotted.part(placement.own_view(view))
            look = (drawn.label, drawn.number, drawn.run.run_id)
            made.append(Overlay(*look, part, placement, plotted.frozen.generations))
        return made

    @property
    def step_count(self) -> StepCount | None:
        """The env steps of the shown run over time, if the axis shows env steps."""
        counts = self._shown is not None and self.time_axis is TimeAxis.ENV_STEPS
        return self._shown.step_count if counts and self._shown is not None else None

    def _placement(self, plotted: PlottedRun) -> AxisPlacement:
        """The mapping between a run's clock and the axis."""
        shown_count = self.step_count
        if shown_count is not None:
            return BySteps(plotted.step_count, shown_count)
        if self._shown is None or not self.has_now or plotted.live.is_recording:
            return ByTime()
        offset_s = plotted.frozen.began_s - self._shown.frozen.began_s
        return ByTime(offset_s if offset_s == offset_s else 0.0)

    def wanted_details(self, width_px: float) -> list[tuple[DetailRequest, float]]:
        """The finer history that plots of this width lack, with the clock of each run."""
        view = self.view()
        found = []
        for plotted in (*((self._shown,) if self._shown else ()), *self._overlaid):
            own_view = view if plotted is self._shown else self._placement(plotted).own_view(view)
            request = plotted.wanted_detail(own_view, width_px, following=self.following)
            if request is not None:
                found.append((request, plotted.now_s))
        return found

    def marks(self) -> list[Event]:
        """The events of the shown run that are drawn as lines, oldest first."""
        run = self.run
        return [event for event in run.events if event.kind.is_mark] if run else []

    def progress(self, px_s: float) -> tuple[int, int, int]:
        """A value that changes when following moves the picture by a pixel of `px_s` seconds."""
        if self._shown is None:
            return (0, -1, 0)
        view = self.view()
        moved = int(view[1] / px_s) if self.following and px_s > 0 else 0
        return (self._shown.end_bucket(view), moved, self._shown.data_version)

    def overlay_progress(self, px_s: float) -> tuple[tuple[int, int], ...]:
        """A value that changes when overlaid runs have more to show.

        While the shown run goes on, its own buckets trigger two drawings a second, and the overlays
        are drawn along with it: five overlays cost no more drawings than none.
        """
        latest = self.latest
        if latest is not None and not (latest.state.is_over or latest.last):
            return ()
        view = self.view()
        made = []
        for plotted in self._overlaid:
            own_view = self._placement(plotted).own_view(view)
            end_s = plotted.end_bucket(own_view) * plotted.series(own_view).bucket_s
            made.append((int(end_s / px_s) if px_s > 0 else 0, plotted.data_version))
        return tuple(made)

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
        """Freeze the data of all runs, or let them go on."""
        if frozen != self.frozen:
            self.frozen = frozen
            if self._shown is not None:
                self._shown = PlottedRun(self._shown.live, frozen=frozen)
            self._overlaid = tuple(PlottedRun(each.live, frozen=frozen) for each in self._overlaid)
            self._change()

    def zoom_to(self, low_s: float, high_s: float) -> None:
        """Show this range until `follow`, within sensible limits of length and place."""
        first_s, last_s = self.extent()
        longest = max((last_s - first_s) * 1.2, 60.0)
        span = min(max(high_s - low_s, MIN_SPAN_S), longest)
        middle = (low_s + high_s) / 2
        middle = min(max(middle, first_s), max(last_s, first_s))
        self._zoomed = (middle - span / 2, middle + span / 2)
        self.following = False
        self._change()

    def zoom(self, factor: float, at: float) -> None:
        """Make the range `factor` times as long; the time at fraction `at` stays in place."""
        low_s, high_s = self.view()
        span = high_s - low_s
        longer = max(span * factor, MIN_SPAN_S)
        fixed = low_s + at * span
        self.zoom_to(fixed - at * longer, fixed + (1 - at) * longer)

    def pan(self, fraction: float) -> None:
        """Move the range later by a fraction of its width."""
        low_s, high_s = self.view()
        shift = fraction * (high_s - low_s)
        self.zoom_to(low_s + shift, high_s + shift)

    def follow(self) -> None:
        """Follow the run's present again."""
        if not self.following:
            self.following = True
            self._change()

    def set_cursor(self, fraction: float | None) -> None:
        """Set where the mouse is, or None when it has left the plots."""
        self.cursor = fraction

    def cursor_s(self) -> float | None:
        """The time under the mouse, if it is over a plot."""
        if self.cursor is None:
            return None
        low_s, high_s = self.view()
        return low_s + self.cursor * (high_s - low_s)

    def _change(self) -> None:
        self.stamp += 1
        self.changed.emit()
