"""The heatmap: env steps per second of each worker over time, with the colour scale beside it."""

import math
from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtCore import QRectF
from PySide6.QtWidgets import QWidget
from typing_extensions import override

from raydash.core.records import UInt8
from raydash.core.words import numbers
from raydash.core.words.ticks import nice_limits
from raydash.ui.plots.chart.legend_row import LegendItem
from raydash.ui.plots.chart.reduce import group_sums, lowest_of_groups, upper_quantile
from raydash.ui.plots.shown.plotted_run import Part
from raydash.ui.plots.shown.scope import PlotScope
from raydash.ui.plots.views.plot_base import NO_STEP, Columns, Plot

if TYPE_CHECKING:
    from raydash.ui.plots.chart.chart import Chart


class ThroughputHeatmap(Plot):
    """Env steps per second per worker, as colours.

    Where there are more workers than pixels, a row stands for several and shows the slowest of
    them, so that one stuck worker among a thousand is seen.
    """

    def __init__(self, scope: PlotScope | None = None, parent: QWidget | None = None) -> None:
        super().__init__(
            "Throughput per worker",
            "",
            object_name="heatmap_throughput",
            unit="worker",
            whole_numbers=True,
            scope=scope,
            parent=parent,
        )
        self._pixels: UInt8 = np.zeros((1, 1), np.uint8)
        self._image_s = (0.0, 1.0)
        self._top_per_s = 1.0
        self._num_workers = 0
        self._workers_per_row = 1
        self._loaded: tuple[object, ...] | None = None
        self._is_placed = True

    @override
    def load(self, part: Part) -> str:
        """Reduce the matrix to what pixels can show, unless the same buckets are shown already."""
        area = self.canvas.area()
        steps = part.series.worker_steps
        self._num_workers = steps.shape[1]
        if not self._num_workers:
            return "no worker has answered yet"
        latest = self.scope.latest
        if latest is not None and not latest.figures.num_env_steps_sampled_lifetime:
            return NO_STEP
        wanted = (
            *(id(part.series), part.version, part.series.bucket_s, part.first_bucket, len(part)),
            *(self._num_workers, area.width(), area.height()),
        )
        if wanted == self._loaded:
            return ""
        self._loaded = wanted
        starts, edges_s = part.grouped(area.width())
        widths_s = np.diff(edges_s).astype(np.float32)
        per_s = group_sums(steps[part.rows], starts) / widths_s[:, None]
        self._workers_per_row = max(1, math.ceil(self._num_workers / area.height()))
        if self._workers_per_row > 1:
            per_s = lowest_of_groups(per_s, self._workers_per_row)
        # The last columns may hold few buckets; one lucky burst must not darken all others.
        self._top_per_s = nice_limits(0.0, max(upper_quantile(per_s), 1.0), 40)[1]
        scale = np.float32(255.0 / self._top_per_s)
        levels = np.minimum(per_s * scale, np.float32(255.0)).astype(np.uint8)
        # Always a copy: NumPy counts the transposed array of a single worker as contiguous, but its
        # stride from row to row is not that of an image.
        self._pixels = levels.T.copy()
        self._is_placed = False
        self._image_s = (float(edges_s[0]), float(edges_s[-1]))
        return ""

    @override
    def value_limits(self) -> tuple[float, float]:
        """All workers, with half a row beyond the first and the last."""
        return 0.5, self._num_workers + 0.5

    @override
    def current_subtitle(self) -> str:
        """What a row of the picture stands for."""
        if not self._num_workers or self.empty_text:
            return ""
        if self._workers_per_row > 1:
            each = numbers.plural(self._workers_per_row, "worker")
            return f"a row is the slowest of {each}"
        return numbers.plural(self._num_workers, "worker")

    @override
    def create_items(self, chart: "Chart") -> None:
        self._image = chart.add_image()

    @override
    def apply_theme(self) -> None:
        """Do nothing: the colours are the same in every theme."""

    @override
    def set_data(self, chart: "Chart") -> None:
        """Put the picture to its place between the axes."""
        if self._is_placed:
            return
        self._is_placed = True
        begin_s, end_s = self._image_s
        self._image.setImage(self._pixels, autoLevels=False)
        self._image.setRect(
            QRectF(begin_s, 0.5, end_s - begin_s, self._workers_per_row * len(self._pixels))
        )
        chart.set_scale(self._top_per_s)

    @override
    def legend(self) -> list[LegendItem]:
        """The unit of the colour scale."""
        return [LegendItem(None, "env steps/s")]

    @override
    def read_out(self, part: Part, index: int) -> str:
        """The rate of the worker under the mouse, or else of the slowest and the fastest one."""
        width_s = float(part.edges_s[index + 1] - part.edges_s[index])
        per_s = part.series.worker_steps[part.rows.start + index] / width_s
        if not len(per_s):
            return ""
        if self.canvas.hover is not None:
            worker = round(self.canvas.value_at(self.canvas.hover.y()))
            if 1 <= worker <= len(per_s):
                return f"worker {worker}: {numbers.compact(float(per_s[worker - 1]))} env steps/s"
        slowest = int(np.argmin(per_s)) + 1
        return (
            f"slowest worker {slowest}: {numbers.compact(float(per_s.min()))}, "
            f"fastest {numbers.compact(float(per_s.max()))} env steps/s"
        )

    @override
    def columns(self, part: Part) -> Columns:
        per_s = part.series.worker_steps[part.rows] / np.diff(part.edges_s)[:, None]
        return {f"env_steps_per_s_worker_{k + 1}": per_s[:, k] for k in range(per_s.shape[1])}
