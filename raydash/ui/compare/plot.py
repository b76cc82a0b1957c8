"""The overlay plot of a comparison, on a card. It is a view of the draw clock.

Live runs change ten times a second; their lines are drawn once a second, the cursor always. The
chart is created after the first paint: it needs pyqtgraph, whose import takes a third of a second.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QColor, QPaintEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QSizePolicy, QToolButton, QWidget
from typing_extensions import override

from raydash.core.analysis.compare import Metric
from raydash.core.clock import Clock
from raydash.ui.compare import labels
from raydash.ui.compare.curves import CompareChoice, ComparedRun, CompareLine, CurveCache
from raydash.ui.compare.read_out import Reading, ReadOut
from raydash.ui.kit.card import Card
from raydash.ui.kit.icons import IconName, icon
from raydash.ui.kit.run_style import line_colour
from raydash.ui.kit.theme import LIGHT, Theme
from raydash.ui.plots.chart.legend_row import LegendItem, LegendRow

if TYPE_CHECKING:
    from raydash.ui.compare.chart import CompareChart

REDRAW_S = 1.0
NO_RUNS = "choose runs in the library, then Compare"
NOTHING_SHOWN = "no run is shown: tick one in the list"
NO_POINTS = "these runs have nothing to show here"


class ComparePlot(Card):
    """Draws all compared runs in one plot.

    Attributes:
        lines: The lines that are drawn.
    """

    def __init__(self, clock: Clock, parent: QWidget | None = None) -> None:
        super().__init__("Curves", "", parent)
        self.setObjectName("compare_plot")
        self.theme = LIGHT
        self.choice = CompareChoice()
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
        self._chart: CompareChart | None = None
        self._was_painted = False
        self._legend_row = LegendRow(labels.UNITS[self.choice.metric])
        self._message = QLabel(NO_RUNS)
        self._message.setProperty("role", "muted")
        self._message.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self._message.setWordWrap(True)
        self._message.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self._message.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._message.setMinimumSize(240, 120)
        self._fit = QToolButton()
        self._fit.setObjectName("compare_fit")
        self._fit.setText("All")
        self._fit.setAccessibleName("Show all of the curves again")
        self._fit.setToolTip("Show all of it again (double-click, Escape)")
        self._fit.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._fit.setIconSize(QSize(12, 12))
        self._fit.setFixedHeight(20)
        self._fit.setStyleSheet("padding: 0 5px; min-height: 0;")
        self._fit.clicked.connect(lambda: self.canvas.fit())
        self._fit.hide()
        self.add_corner(self._fit)
        self._chart_layout = QGridLayout()
        self._chart_layout.addWidget(self._message, 0, 0)
        self.body.setSpacing(0)
        self.body.addWidget(self._legend_row)
        self.body.addLayout(self._chart_layout, 1)
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

    def set_theme(self, theme: Theme) -> None:
        """Use the colours of another theme."""
        self.theme = theme
        self._legend_row.set_theme(theme)
        self._read_out.set_theme(theme)
        self._fit.setIcon(icon(IconName.FOLLOW, theme))
        self._stamp += 1
        if self._chart is not None:
            self._chart.set_theme(theme)

    # --- the chart ---

    @property
    def canvas(self) -> "CompareChart":
        """The chart, which is created when it is first needed."""
        if self._chart is None:
            self._chart = self._make_chart()
        return self._chart

    @property
    def empty_text(self) -> str:
        """The message shown instead of lines; empty if there are lines."""
        return "" if self._message.isHidden() else self._message.text()

    @property
    def read_out(self) -> str:
        """The values at the cursor, one per line of text; empty if none are read."""
        return self._read_out.text

    def _make_chart(self) -> "CompareChart":
        from raydash.ui.compare.chart import CompareChart

        chart = CompareChart()
        chart.setObjectName("compare_plot_canvas")
        chart.setAccessibleName("Curves of the runs")
        chart.setAccessibleDescription(
            "Arrow keys read the values, plus and minus zoom, Escape shows all of it."
        )
        chart.set_theme(self.theme)
        chart.touched.connect(self._on_touched)
        self._chart_layout.addWidget(chart, 0, 0)
        chart.show()
        self._message.raise_()
        self._chart_layout.activate()
        return chart

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Create the chart once the card has been seen, for that takes a while."""
        super().paintEvent(event)
        if not self._was_painted:
            self._was_painted = True
            QTimer.singleShot(0, self, self.draw)

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

    def take_paint_s(self) -> float:
        """The seconds spent painting since the last call."""
        return self._chart.take_paint_s() if self._chart is not None else 0.0

    def _show(self, chart: "CompareChart") -> None:
        self.lines = self._cache.lines(self._entries, self.choice)
        message = ""
        if not self.lines:
            message = NO_POINTS if any(entry.shown for entry in self._entries) else NOTHING_SHOWN
            message = message if self._entries else NO_RUNS
        self._message.setText(message)
        self._message.setVisible(bool(message))
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
        self._fit.setVisible(self._chart is not None and self._chart.is_zoomed)


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
