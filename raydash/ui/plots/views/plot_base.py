"""The base class of plots: a card with heading, read-out and chart.

A plot is a `View` of the draw clock: `is_dirty` compares what was drawn last with what there is
now; `draw` loads the visible part of the run and gives it to the chart's items.
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QColor, QGuiApplication
from PySide6.QtWidgets import QMenu, QWidget
from typing_extensions import override

from raydash.core.words import numbers, spans
from raydash.link.store import RunStore
from raydash.ui.dialogs.saving import ask_where, say_not_saved
from raydash.ui.kit.icons import IconName, icon
from raydash.ui.kit.run_style import line_colour
from raydash.ui.kit.theme import Theme
from raydash.ui.plots.chart.chart_card import BackButton, ChartCard
from raydash.ui.plots.chart.legend_row import LegendItem
from raydash.ui.plots.shown.plotted_run import Part
from raydash.ui.plots.shown.scope import Overlay, PlotScope, Range

if TYPE_CHECKING:
    from raydash.ui.plots.chart.chart import Chart

Columns = dict[str, NDArray[np.generic]]

NO_RUN = "no run yet: press Start"
STARTING = "the run is starting"
FIRST_SECONDS = "the first seconds are being gathered"
NO_STEP = "no env step yet: workers are starting"


class Plot(ChartCard["Chart"]):
    """A plot over time. Subclasses say what they draw.

    Attributes:
        needs_buckets: There is nothing to draw until the first bucket of the history is complete.
        draws_overlays: Other runs are laid over the shown one.

    Args:
        title: What the plot shows.
        subtitle: How it is shown.
        object_name: Name of the card, from which its parts derive theirs.
        unit: Unit of the values.
        labelled: The event marks have labels here.
        whole_numbers: The value axis has ticks at whole numbers only.
        scope: The range, cursor and runs that it shares with other plots; None: its own.
        parent: The Qt parent.
    """

    needs_buckets = True
    draws_overlays = False

    def __init__(
        self,
        title: str,
        subtitle: str,
        *,
        object_name: str,
        unit: str,
        labelled: bool = False,
        whole_numbers: bool = False,
        scope: PlotScope | None = None,
        parent: QWidget | None = None,
    ) -> None:
        back = BackButton(
            f"{object_name}_follow",
            "Follow",
            f"Follow the run again in {title}",
            "Back to now, with a value axis that fits (double-click, Escape)",
        )
        super().__init__(
            title,
            subtitle,
            object_name=object_name,
            unit=unit,
            message=NO_RUN,
            back=back,
            parent=parent,
        )
        self.back.clicked.connect(self.follow)
        self.scope = scope or PlotScope(self)
        self.selected_workers: list[int] = []
        self._plain_subtitle = subtitle
        self._own_stamp = 0
        self._placed: tuple[object, ...] | None = None
        self._drawn: tuple[object, ...] | None = None
        self._applied_look: tuple[object, ...] = ()
        self._labelled = labelled
        self._whole_numbers = whole_numbers
        self.scope.changed.connect(self._show_follow)

    # --- for subclasses ---

    def load(self, part: Part) -> str:
        """Load the visible data of the run.

        Gives the message to show instead if there are none yet.
        """
        raise NotImplementedError

    def value_limits(self) -> tuple[float, float]:
        """The range of values that holds what was loaded."""
        raise NotImplementedError

    def read_out(self, part: Part, index: int) -> str:
        """The values of one bucket, in words."""
        raise NotImplementedError

    def columns(self, part: Part) -> Columns:
        """What the plot shows of each bucket, for a CSV file."""
        raise NotImplementedError

    def create_items(self, chart: "Chart") -> None:
        """Create the items that show the data."""
        raise NotImplementedError

    def apply_theme(self) -> None:
        """Give the items the theme's colours."""
        raise NotImplementedError

    def set_data(self, chart: "Chart") -> None:
        """Give the items what was loaded; the chart has the ranges that it will show."""
        raise NotImplementedError

    def legend(self) -> list[LegendItem]:
        """The items of the legend; a plot of a single curve has none."""
        return []

    def data_stamp(self) -> object:
        """A value that changes with data that do not come with the history's buckets."""
        return None

    def reading(self, part: Part, at_s: float) -> str:
        """The values at a time, in words; empty if there are none."""
        index = part.index_at(at_s)
        return self.read_out(part, index) if index is not None else ""

    def load_overlays(self, overlays: list[Overlay]) -> bool:
        """Load the data of the other runs; gives whether there is anything to see."""
        return False

    def clear(self) -> None:
        """Draw nothing of the shown run: it has no data in this range, but others have."""

    @property
    def run_colour(self) -> QColor:
        """The colour of the shown run."""
        return QColor(line_colour(self.scope.number, self.theme))

    # --- what the window sets ---

    def set_run(self, run: RunStore | None) -> None:
        """Show another run."""
        self.scope.set_run(run)

    @override
    def set_theme(self, theme: Theme) -> None:
        super().set_theme(theme)
        self._on_touched()

    def set_selected_workers(self, workers: list[int]) -> None:
        """Highlight these workers, in plots that show single workers."""
        if workers != self.selected_workers:
            self.selected_workers = list(workers)
            self._on_touched()

    def set_range(self, chosen: Range | str) -> None:
        """Follow `1min`, `10min` or `whole`."""
        self.scope.set_range(Range(chosen))

    def set_frozen(self, frozen: bool) -> None:
        """Freeze the data, or let them go on."""
        self.scope.set_frozen(frozen)

    def follow(self) -> None:
        """Follow the run again, with a value axis that fits the data."""
        if self._chart is not None:
            self._chart.reset()
        else:
            self.scope.follow()

    # --- the chart ---

    @override
    def make_chart(self) -> "Chart":
        from raydash.ui.plots.chart.chart import Chart

        title = self.accessibleName()
        chart = Chart(self.scope, labelled=self._labelled, whole_numbers=self._whole_numbers)
        chart.setAccessibleName(title)
        chart.setAccessibleDescription(
            f"{title}, {self._plain_subtitle}. "
            "Arrow keys move in time, plus and minus zoom, Escape follows."
        )
        chart.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        chart.customContextMenuRequested.connect(self._on_menu_wanted)
        chart.touched.connect(self._on_touched)
        self.create_items(chart)
        return chart

    # --- drawing ---

    def is_dirty(self) -> bool:
        """Whether a drawing would show something new."""
        return self._chart is not None and self._state(self._chart) != self._drawn

    @override
    def draw(self) -> None:
        """Load the visible data and show them."""
        chart = self.canvas
        self._drawn = self._state(chart)
        part = self.scope.part()
        if self._drawn[:-2] != self._placed:
            self._placed = self._drawn[:-2]
            self._show(chart, part)
        self._legend_row.show_items(None if self.empty_text else self.legend())
        chart.show_cursor(has_data=not self.empty_text)
        self.set_subtitle(self._heading(chart, part))

    def current_subtitle(self) -> str:
        """The subtitle to show while no values are read."""
        return self._plain_subtitle

    def _show(self, chart: "Chart", part: Part | None) -> None:
        look = (self.theme.name, self.scope.number)
        if look != self._applied_look:
            self._applied_look = look
            self.apply_theme()
        if part is None:
            message = STARTING if self.scope.is_starting else NO_RUN
        elif self.needs_buckets and not len(part):
            message = FIRST_SECONDS if self.scope.following else "nothing here"
        else:
            message = self.load(part)
        overlays = self.scope.overlays() if self.draws_overlays and part is not None else []
        if self.load_overlays(overlays) and message:
            self.clear()
            message = ""
        has_data = not message
        if has_data and not chart.y_locked:
            chart.y_range = self.value_limits()
        self.show_message(message)
        if has_data:
            self.set_data(chart)
        chart.show_data(has_data=has_data)

    def _state(self, chart: "Chart") -> tuple[object, ...]:
        """Everything a drawing depends on; the last two values concern the read-out only."""
        latest = self.scope.latest
        return (
            self.scope.stamp,
            self._own_stamp,
            chart.size(),
            *self.scope.progress(chart.px_s()),
            self.scope.overlay_progress(chart.px_s()) if self.draws_overlays else (),
            len(self.scope.run.events) if self.scope.run else -1,
            latest.state if latest else None,
            latest.num_workers if latest else 0,
            self.data_stamp(),
            self.scope.cursor,
            chart.hover,
        )

    def _heading(self, chart: "Chart", part: Part | None) -> str:
        at_s = self.scope.cursor_s()
        if part is not None and at_s is not None and not self.empty_text:
            mark = chart.mark_at_cursor()
            if mark is not None:
                return f"{spans.clock(mark.t_s)} · {mark.text}"
            count = self.scope.step_count
            clock = spans.clock(max(at_s, 0.0))
            if count is not None:
                clock = f"{numbers.compact(float(count.steps_at(at_s)))} steps · {clock}"
            message = self.reading(part, at_s)
            return f"{clock} · {message}" if message else clock
        if self.scope.frozen:
            return f"frozen at {spans.clock(self.scope.now_s)} · {self.current_subtitle()}"
        return self.current_subtitle()

    def _on_touched(self) -> None:
        self._own_stamp += 1
        self._show_follow()

    def _show_follow(self) -> None:
        self.back.setVisible(
            not self.scope.following or (self._chart is not None and self._chart.y_locked)
        )

    # --- export ---

    def save_picture(self, path: Path) -> bool:
        """Write the card as it looks now; the file name's ending gives the format."""
        return self.grab().save(str(path))

    def csv(self) -> str:
        """The visible data as CSV, one line per bucket; unknown values are empty."""
        part = self.scope.part()
        if part is None or not len(part):
            return ""
        edges_s = {"start_s": part.edges_s[:-1], "end_s": part.edges_s[1:]}
        return csv_of({**edges_s, **self.columns(part)})

    def menu(self) -> QMenu:
        """The context menu."""
        menu = QMenu(self)
        menu.setObjectName(f"{self.objectName()}_menu")
        menu.addAction(icon(IconName.FOLLOW, self.theme), "Follow", self.follow)
        menu.addSeparator()
        menu.addAction(icon(IconName.COPY, self.theme), "Copy picture", self._on_copy_wanted)
        menu.addAction(icon(IconName.SAVE, self.theme), "Save picture…", self._on_picture_wanted)
        menu.addAction(icon(IconName.SAVE, self.theme), "Save data as CSV…", self._on_csv_wanted)
        return menu

    def _on_menu_wanted(self, where: QPoint) -> None:
        menu = self.menu()
        menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        menu.popup(self.canvas.mapToGlobal(where))

    def _on_copy_wanted(self) -> None:
        QGuiApplication.clipboard().setPixmap(self.grab())

    def _on_picture_wanted(self) -> None:
        self._ask_where("png", "Picture", self._on_picture_chosen)

    def _on_csv_wanted(self) -> None:
        self._ask_where("csv", "Comma-separated values", self._on_csv_chosen)

    def _on_picture_chosen(self, path: str) -> None:
        if not self.save_picture(Path(path)):
            say_not_saved(self, path, "no picture can be written there")

    def _on_csv_chosen(self, path: str) -> None:
        try:
            Path(path).write_text(self.csv(), encoding="utf-8")
        except OSError as error:
            say_not_saved(self, path, error.strerror or str(error))

    def _ask_where(self, suffix: str, kind: str, on_chosen: Callable[[str], None]) -> None:
        name = f"{self.objectName().removeprefix('plot_')}.{suffix}"
        ask_where(self, f"Save {self.accessibleName()}", name, kind, on_chosen)


def csv_of(columns: Columns) -> str:
    """Columns as a CSV file; unknown values are empty."""
    lines = [",".join(columns)]
    for row in zip(*(column.tolist() for column in columns.values()), strict=True):
        lines.append(",".join("" if value != value else f"{value:.10g}" for value in row))
    return "\n".join(lines) + "\n"
