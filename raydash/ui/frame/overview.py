"""The overview of a run: key figures above plots that share range, cursor and freeze."""

from collections.abc import Sequence

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QVBoxLayout, QWidget

from raydash.link.store import RunStore
from raydash.ui.figures.tiles import TilesRow
from raydash.ui.kit.draw_clock import DrawClock
from raydash.ui.kit.theme import Theme
from raydash.ui.plots.shown.scope import DrawnRun, PlotScope, Range, TimeAxis
from raydash.ui.plots.views.grid import PlotGrid


class Overview(QWidget):
    """Shows key figures and plots.

    Attributes:
        tiles: The row of key figures; it may be placed elsewhere.
        plots: The plots and what they share.

    Signals:
        scope_changed: Range, following, freeze or axis changed; read them from `scope`.
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

    def set_drawn(self, shown: DrawnRun | None, overlaid: Sequence[DrawnRun]) -> None:
        """Show a run, and lay the curves of others over its own."""
        if shown is not None:
            self.scope.set_look(shown.label, shown.number)
        self.set_run(shown.run if shown is not None else None)
        self.scope.set_overlaid(overlaid)

    def set_starting(self, is_starting: bool) -> None:
        """Set whether a run has been requested that has not started yet."""
        self.tiles.set_starting(is_starting)
        self.scope.set_starting(is_starting)

    def set_run(self, run: RunStore | None) -> None:
        """Show another run."""
        self.tiles.set_run(run)
        self.plots.set_run(run)

    def set_theme(self, theme: Theme) -> None:
        """Use the colours of another theme."""
        self.tiles.set_theme(theme)
        self.plots.set_theme(theme)

    def set_selected_workers(self, workers: list[int]) -> None:
        """Draw the curves of these workers."""
        self.plots.set_selected_workers(workers)

    def set_range(self, chosen: Range | str) -> None:
        """Follow `1min`, `10min` or `whole`."""
        self.plots.set_range(chosen)

    def set_time_axis(self, axis: TimeAxis | str) -> None:
        """Let ticks say how long `ago` something was, or show the run's `clock` or `env_steps`."""
        self.plots.set_time_axis(axis)

    def set_frozen(self, frozen: bool) -> None:
        """Freeze the plots' data, or let them go on; key figures stay live."""
        self.plots.set_frozen(frozen)

    def follow(self) -> None:
        """Follow the run again in all plots."""
        self.plots.follow()

    def register_with(self, clock: DrawClock) -> None:
        """Let the clock draw key figures and plots."""
        clock.register(self.tiles)
        self.plots.register_with(clock)
