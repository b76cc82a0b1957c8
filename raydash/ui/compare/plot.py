"""The overlay plot of a comparison, on a card.

Live runs change ten times a second; their lines are drawn once a second, the cursor always.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QSize
from PySide6.QtGui import QColor
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from raydash.core.analysis.compare import Metric
from raydash.core.clock import Clock
from raydash.ui.compare import labels
from raydash.ui.compare.curves import CompareChoice, ComparedRun, CompareLine, CurveCache
from raydash.ui.compare.read_out import Reading, ReadOut
from raydash.ui.kit.run_style import line_colour
from raydash.ui.kit.theme import Theme
from raydash.ui.plots.chart.chart_card import BackButton, ChartCard
from raydash.ui.plots.chart.legend_row import LegendItem

if TYPE_CHECKING:
    from raydash.ui.compare.chart import CompareChart

REDRAW_S = 1.0
NO_RUNS = "choose runs in the library, then Compare"
NOTHING_SHOWN = "no run is shown: tick one in the list"
NO_POINTS = "these runs have nothing to show here"


class ComparePlot(ChartCard["CompareChart"]):
    """Draws all compared runs in one plot.

    Attributes:
        lines: The lines that are drawn.
    """

    wanted_size, least_size = QSize(640, 320), QSize(240, 120)

    def __init__(self, clock: Clock, parent: QWidget | None = None) -> None:
        back = BackButton(
            "compare_fit",
            "All",
            "Show all of the curves again",
            "Show all of it again (double-click, Escape)",
        )
        choice = CompareChoice()
        super().__init__(
            "Curves",
            "",
            object_name="compare_plot",
            unit=labels.UNITS[choice.metric],
            message=NO_RUNS,
            back=back,
            parent=parent,
        )
        self.back.clicked.connect(lambda: self.canvas.reset())
        self.choice = choice
        self.lines: list[CompareLine] = []
        self._clock = clock
        self._cache = CurveCache()
        self._entries: tuple[ComparedRun, ...] = ()
        self._highlighted = ""
        self._stamp = 0
        self._drawn: tuple[object, ...] | None = None
        self._drawn_versions: tuple[int, ...] = ()
        self._drawn_hover: object = None
        self._drawn_s = -np.inf
        self._read_out = ReadOut(self)

    # --- what the page sets ---

    def set_entries(self, entries: Sequence[ComparedRun]) -> None:
        """Show other runs, or hide some."""
        self._entries = tuple(entries)
        self._stamp += 1

    def set_choice(self, choice: CompareChoice) -> None:
        """Show another metric or axis, or group or smooth differently."""
        if choice != self.choice:
            if self._chart is not None and choice.metric is not self.choice.metric:
                self._chart.is_zoomed = False
            self.choice = choice
            self._stamp += 1

    def set_highlighted(self, run_id: str) -> None:
        """Draw the line of this run on top of all others; an empty id resets that."""
        if run_id != self._highlighted:
            self._highlighted = run_id
            self._stamp += 1

    @override
    def set_theme(self, theme: Theme) -> None:
        super().set_theme(theme)
        self._read_out.set_theme(theme)
        self._stamp += 1

    # --- the chart ---

    @property
    def read_out(self) -> str:
        """The values at the cursor, one per line of text; empty if none are read."""
        return self._read_out.text

    @override
    def make_chart(self) -> "CompareChart":
        from raydash.ui.compare.chart import CompareChart

        chart = CompareChart()
        chart.setAccessibleName("Curves of the runs")
        chart.setAccessibleDescription(
            "Arrow keys read the values, plus and minus zoom, Escape shows all of it."
        )
        chart.touched.connect(self._on_touched)
        return chart

    # --- drawing ---

    def is_dirty(self) -> bool:
        """Whether a drawing would show something new."""
        if self._chart is None:
            return False
        return (
            self._state(self._chart) != self._drawn
            or self._chart.hover != self._drawn_hover
            or (
                self._versions() != self._drawn_versions
                and self._clock() - self._drawn_s >= REDRAW_S
            )
        )

    @override
    def draw(self) -> None:
        """Load the runs' data and show them."""
        chart = self.canvas
        is_due = self._clock() - self._drawn_s >= REDRAW_S
        is_new = self._versions() != self._drawn_versions and is_due
        state = self._state(chart)
        if state != self._drawn or is_new:
            self._drawn, self._drawn_versions = state, self._versions()
            self._drawn_s = self._clock()
            self._show(chart)
        self._drawn_hover = chart.hover
        self._show_readings(chart)

    def _show(self, chart: "CompareChart") -> None:
        self.lines = self._cache.lines(self._entries, self.choice)
        message = ""
        if not self.lines:
            message = NO_POINTS if any(entry.shown for entry in self._entries) else NOTHING_SHOWN
            message = message if self._entries else NO_RUNS
        self.show_message(message)
        self._legend_row.set_unit(labels.UNITS[self.choice.metric])
        legend = [
            LegendItem(QColor(line_colour(line.number, self.theme)), line.label)
            for line in self.lines
        ]
        self._legend_row.show_items(legend or None)
        chart.show_lines(
            _scaled(self.lines, self.choice), self.choice.axis, highlighted=self._highlighted
        )
        self.set_subtitle(self._heading())

    def _heading(self) -> str:
        heading = (
            f"{labels.METRICS[self.choice.metric]} over {labels.AXES[self.choice.axis]}"
            if self.lines
            else ""
        )
        if heading and self.choice.centre is not None:
            heading += (
                f" · {labels.CENTRES[self.choice.centre]} of the seeds with its bootstrap"
                " 95 % interval; a run alone has no band"
            )
        return heading

    def _show_readings(self, chart: "CompareChart") -> None:
        x = chart.x_at_cursor() if self.lines else None
        readings, points = [], []
        if x is not None:
            scaled = _scaled(self.lines, self.choice)
            found = [
                (line, drawn, index)
                for line, drawn in zip(self.lines, scaled, strict=True)
                if (index := line.index_at(x)) is not None
            ]
            for line, drawn, index in sorted(found, key=lambda each: -each[0].y[each[2]]):
                readings.append(Reading(line.number, line.label, self._value(line, index)))
                points.append((line.number, float(line.x[index]), float(drawn.y[index])))
        chart.show_cursor(x, points)
        area = chart.area().translated(chart.mapTo(self, chart.rect().topLeft()).toPointF())
        at_px = area.left() + (chart.hover.x() - chart.area().left() if chart.hover else 0.0)
        heading = labels.axis_value(self.choice.axis, x) if x is not None else ""
        self._read_out.read(heading, readings, at_px, area)

    def _value(self, line: CompareLine, index: int) -> str:
        metric = self.choice.metric
        text = labels.metric_value(metric, float(line.y[index]))
        if not len(line.n):
            return text
        if np.isfinite(line.low[index]):
            low, high = (
                labels.metric_value(metric, float(end[index])) for end in (line.low, line.high)
            )
            text += f"  [{low}, {high}]"
        return f"{text}  n = {line.n[index]}"

    def _state(self, chart: "CompareChart") -> tuple[object, ...]:
        return (self._stamp, self.choice, self._highlighted, chart.size())

    def _versions(self) -> tuple[int, ...]:
        return tuple(entry.run.version for entry in self._entries)

    def _on_touched(self) -> None:
        self.back.setVisible(self._chart is not None and self._chart.is_zoomed)


def _scaled(lines: Sequence[CompareLine], choice: CompareChoice) -> list[CompareLine]:
    """The lines as they are drawn: shares become percentages."""
    if choice.metric is not Metric.TERMINATED_SHARE:
        return list(lines)
    return [
        CompareLine(
            *(line.label, line.number, line.run_ids, line.x),
            *(100 * line.y, 100 * line.low, 100 * line.high, line.n),
        )
        for line in lines
    ]
