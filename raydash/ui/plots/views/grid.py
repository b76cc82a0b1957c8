"""The plots side by side. A run that learns has one more, which is the largest.

::

    usual run              learns, narrow                learns, wide
    return     endings     learning   the three          learning | two by two,
    throughput heatmap     that the user left in place   (tall)   | as usual
"""

from functools import partial

from PySide6.QtCore import QSize, Signal
from PySide6.QtGui import QResizeEvent
from PySide6.QtWidgets import QGridLayout, QMenu, QSizePolicy, QToolButton, QWidget
from typing_extensions import override

from raydash.link.store import RunStore
from raydash.ui.kit.draw_clock import DrawClock
from raydash.ui.kit.icons import IconName, icon
from raydash.ui.kit.settings import settings
from raydash.ui.kit.theme import Theme
from raydash.ui.plots.shown.scope import PlotScope, Range, TimeAxis
from raydash.ui.plots.views.endings_plot import EndingsPlot
from raydash.ui.plots.views.heatmap import ThroughputHeatmap
from raydash.ui.plots.views.learning_plot import LearningPlot
from raydash.ui.plots.views.plot_base import Plot
from raydash.ui.plots.views.return_plot import ReturnPlot
from raydash.ui.plots.views.throughput_plot import ThroughputPlot

_WIDE_PX = 1300
_LARGE, _USUAL = 6, 5
_REPLACED = "plots/replaced_by_learning"


class PlotGrid(QWidget):
    """Four plots, two by two, and the learning curve of a run that learns.

    It is a view of the draw clock, because only the first update of a run says whether it learns.

    Attributes:
        plots: All plots, including those that are hidden now.

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
        self.learning = LearningPlot(self.scope)
        self._usual: tuple[Plot, ...] = (
            *(self.episode_return, self.endings),
            *(self.throughput, self.heatmap),
        )
        self.plots: tuple[Plot, ...] = (*self._usual, self.learning)
        stored = str(settings().value(_REPLACED))
        self._replaced: Plot = next(
            (plot for plot in self._usual if plot.objectName() == stored), self.episode_return
        )
        self._arranged: tuple[bool, bool, Plot] | None = None
        self._swap = self._make_swap()
        self.learning.add_corner(self._swap)
        self._grid = QGridLayout(self)
        self._grid.setContentsMargins(0, 0, 0, 0)
        self._grid.setSpacing(10)
        self._arrange()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    @property
    def shown(self) -> tuple[Plot, ...]:
        """The plots that have a place now."""
        return tuple(plot for plot in self.plots if not plot.isHidden())

    @property
    def width_px(self) -> float:
        """How wide the area of a plot is; 0 while there is no chart."""
        plot = self.episode_return if self.episode_return.isVisibleTo(self) else self.learning
        return plot.canvas.area().width() if plot.has_chart else 0.0

    # --- which plot is where ------------------------------------------------------------------

    def is_dirty(self) -> bool:
        """Whether the plots need to change places.

        Another run is shown, or it has turned out to learn.
        """
        return self._wanted() != self._arranged

    def draw(self) -> None:
        """Put the plots into their places."""
        self._arrange()

    @override
    def resizeEvent(self, event: QResizeEvent) -> None:
        """Arrange the plots again: a wide window has room for all of them."""
        super().resizeEvent(event)
        if self.is_dirty():
            self._arrange()

    def replace_by_learning(self, plot: Plot) -> None:
        """Let the learning curve take the place of this plot where there is no room for all."""
        self._replaced = plot
        settings().setValue(_REPLACED, plot.objectName())
        self._arrange()

    def _wanted(self) -> tuple[bool, bool, Plot]:
        run = self.scope.run
        learns = run is not None and run.learns
        return learns, learns and self.width() >= _WIDE_PX, self._replaced

    def _arrange(self) -> None:
        learns, wide, replaced = self._arranged = self._wanted()
        for plot in self.plots:
            self._grid.removeWidget(plot)
        first = 1 if wide else 0
        large = (0, 0) if wide else (-1, -1)
        for number, plot in enumerate(self._usual):
            row, column = number // 2, first + number % 2
            is_replaced = learns and not wide and plot is replaced
            if is_replaced:
                self._grid.addWidget(self.learning, row, column)
                large = (row, column)
            else:
                self._grid.addWidget(plot, row, column)
            plot.setVisible(not is_replaced)
        if wide:
            self._grid.addWidget(self.learning, 0, 0, 2, 1)
        self.learning.setVisible(learns)
        self._swap.setVisible(learns and not wide)
        for column in range(3):
            is_used = column < 2 or wide
            stretch = _LARGE if column == large[1] else _USUAL
            self._grid.setColumnStretch(column, stretch if is_used else 0)
        for row in range(2):
            self._grid.setRowStretch(row, _LARGE if row == large[0] and not wide else _USUAL)

    def _make_swap(self) -> QToolButton:
        button = QToolButton()
        button.setObjectName("plot_learning_swap")
        button.setAccessibleName("Which plot the learning curve takes the place of")
        button.setToolTip("Which plot it takes the place of; a wider window has room for all")
        button.setIconSize(QSize(12, 12))
        button.setFixedHeight(20)
        button.setStyleSheet(
            "QToolButton { padding: 0 5px; min-height: 0; }"
            "QToolButton::menu-indicator { image: none; width: 0; }"
        )
        button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        menu = QMenu(button)
        menu.aboutToShow.connect(partial(self._fill_swap, menu))
        button.setMenu(menu)
        return button

    def _fill_swap(self, menu: QMenu) -> None:
        menu.clear()
        menu.addAction("In the place of").setEnabled(False)
        for plot in self._usual:
            action = menu.addAction(plot.accessibleName())
            action.setObjectName(f"plot_learning_replaces_{plot.objectName()}")
            action.setCheckable(True)
            action.setChecked(plot is self._replaced)
            action.triggered.connect(partial(self._on_swap, plot))

    def _on_swap(self, plot: Plot, _checked: bool = False) -> None:
        self.replace_by_learning(plot)

    # --- what the window sets -----------------------------------------------------------------

    def set_run(self, run: RunStore | None) -> None:
        """Show another run."""
        self.scope.set_run(run)

    def set_theme(self, theme: Theme) -> None:
        """Use the colours of another theme."""
        self._swap.setIcon(icon(IconName.SWAP, theme))
        for plot in self.plots:
            plot.set_theme(theme)

    def set_selected_workers(self, workers: list[int]) -> None:
        """Draw the curves of these workers."""
        for plot in self.plots:
            plot.set_selected_workers(workers)

    def set_range(self, chosen: Range | str) -> None:
        """Follow `1min`, `10min` or `whole`."""
        self.scope.set_range(Range(chosen))

    def set_time_axis(self, axis: TimeAxis | str) -> None:
        """Let ticks say how long `ago` something was, or show the run's `clock` or `env_steps`."""
        self.scope.set_time_axis(TimeAxis(axis))

    def set_frozen(self, frozen: bool) -> None:
        """Freeze the plots' data, or let them go on."""
        self.scope.set_frozen(frozen)

    def follow(self) -> None:
        """Follow the run again in all plots, with value axes that fit the data."""
        for plot in self.plots:
            plot.follow()

    def register_with(self, clock: DrawClock) -> None:
        """Let the clock arrange and draw the plots."""
        clock.register(self)
        for plot in self.plots:
            clock.register(plot)
