"""The overview of a run: key figures above four plots that share range, cursor and freeze."""

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QSizePolicy, QVBoxLayout, QWidget

from raydash.link.store import RunStore
from raydash.ui.draw_clock import DrawClock
from raydash.ui.plots.endings_plot import EndingsPlot
from raydash.ui.plots.heatmap import ThroughputHeatmap
from raydash.ui.plots.plot_base import Plot
from raydash.ui.plots.return_plot import ReturnPlot
from raydash.ui.plots.scope import PlotScope, Range, TimeAxis
from raydash.ui.plots.throughput_plot import ThroughputPlot
from raydash.ui.theme import Theme
from raydash.ui.tiles import TilesRow


class PlotGrid(QWidget):
    """The four plots, two by two.

    Signals:
        scope_changed: Range, following, freeze or axis changed; read them from `scope`.
    """

    scope_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("plots")
        self.scope = PlotScope(self)
        self.scope.changed.connect(self.scope_changed)
        self.episode_return = ReturnPlot(self.scope)
        self.endings = EndingsPlot(self.scope)
        self.throughput = ThroughputPlot(self.scope)
        self.heatmap = ThroughputHeatmap(self.scope)
        self.plots: tuple[Plot, ...] = (
            *(self.episode_return, self.endings),
            *(self.throughput, self.heatmap),
        )
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setSpacing(10)
        for number, plot in enumerate(self.plots):
            grid.addWidget(plot, number // 2, number % 2)
        for side in (0, 1):
            grid.setColumnStretch(side, 1)
            grid.setRowStretch(side, 1)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    @property
    def width_px(self) -> float:
        """How wide the area of a plot is; 0 while there is none."""
        plot = self.episode_return
        return plot.canvas.area().width() if plot.has_chart else 0.0

    def set_run(self, run: RunStore | None) -> None:
        """Show another run."""
        self.scope.set_run(run)

    def set_theme(self, theme: Theme) -> None:
        """Wear other colours."""
        for plot in self.plots:
            plot.set_theme(theme)

    def set_selected_workers(self, workers: list[int]) -> None:
        """Draw curves of these workers."""
        for plot in self.plots:
            plot.set_selected_workers(workers)

    def set_range(self, chosen: Range | str) -> None:
        """Follow `1min`, `10min` or `whole`."""
        self.scope.set_range(Range(chosen))

    def set_time_axis(self, axis: TimeAxis | str) -> None:
        """Ticks say how long `ago`, or the run's `clock`."""
        self.scope.set_time_axis(TimeAxis(axis))

    def set_frozen(self, frozen: bool) -> None:
        """Hold the plots' data, or let them go on."""
        self.scope.set_frozen(frozen)

    def follow(self) -> None:
        """Back to now in all plots, with value axes that fit."""
        for plot in self.plots:
            plot.follow()

    def register_with(self, clock: DrawClock) -> None:
        """Let the clock draw the plots."""
        for plot in self.plots:
            clock.register(plot)


class Overview(QWidget):
    """Key figures and plots.

    Attributes:
        tiles: The row of key figures; may be placed elsewhere.
        plots: The four plots and what they share.

    Signals:
        scope_changed: As of `PlotGrid`.
    """

    scope_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("overview")
        self.tiles = TilesRow()
        self.plots = PlotGrid()
        self.plots.scope_changed.connect(self.scope_changed)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(10)
        column.addWidget(self.tiles)
        column.addWidget(self.plots, 1)

    @property
    def scope(self) -> PlotScope:
        """Range, following, freeze and axis of the plots."""
        return self.plots.scope

    def set_run(self, run: RunStore | None) -> None:
        """Show another run."""
        self.tiles.set_run(run)
        self.plots.set_run(run)

    def set_theme(self, theme: Theme) -> None:
        """Wear other colours."""
        self.tiles.set_theme(theme)
        self.plots.set_theme(theme)

    def set_selected_workers(self, workers: list[int]) -> None:
        """Draw curves of these workers."""
        self.plots.set_selected_workers(workers)

    def set_range(self, chosen: Range | str) -> None:
        """Follow `1min`, `10min` or `whole`."""
        self.plots.set_range(chosen)

    def set_time_axis(self, axis: TimeAxis | str) -> None:
        """Ticks say how long `ago`, or the run's `clock`."""
        self.plots.set_time_axis(axis)

    def set_frozen(self, frozen: bool) -> None:
        """Hold the plots' data; key figures stay live."""
        self.plots.set_frozen(frozen)

    def follow(self) -> None:
        """Back to now in all plots."""
        self.plots.follow()

    def register_with(self, clock: DrawClock) -> None:
        """Let the clock draw all of it."""
        clock.register(self.tiles)
        self.plots.register_with(clock)
