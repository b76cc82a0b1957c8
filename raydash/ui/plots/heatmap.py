"""Env steps per second of each worker over time, as colours, with the scale beside them."""

import math

import numpy as np
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QImage, QPainter
from PySide6.QtWidgets import QWidget

from raydash.core.records import UInt8
from raydash.ui import words
from raydash.ui.plots.frame import Frame
from raydash.ui.plots.plot_base import Columns, Plot
from raydash.ui.plots.reduce import group_sums, high_mark, lowest_of_each
from raydash.ui.plots.scope import Part, PlotScope
from raydash.ui.plots.ticks import nice_limits, value_ticks

# Viridis at nine even places: perceptually even, and safe for the colour-blind.
_VIRIDIS = (
    *("#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c"),
    *("#28ae80", "#5ec962", "#addc30", "#fde725"),
)
_BAR_PX, _MARGIN_PX = 10.0, 64.0


def colour_table() -> list[int]:
    """256 colours from none to most, as QRgb."""
    anchors = np.array([list(bytes.fromhex(name[1:])) for name in _VIRIDIS], np.float64)
    places = np.linspace(0, len(_VIRIDIS) - 1, 256)
    channels = [np.interp(places, np.arange(len(_VIRIDIS)), anchors[:, k]) for k in range(3)]
    return [
        QColor(round(red), round(green), round(blue)).rgb()
        for red, green, blue in zip(*channels, strict=True)
    ]


class ThroughputHeatmap(Plot):
    """Env steps per second per worker.

    Where there are more workers than pixels, a row stands for several and shows the slowest of
    them: one stuck worker among a thousand must be seen.
    """

    def __init__(self, scope: PlotScope | None = None, parent: QWidget | None = None) -> None:
        super().__init__(
            "Throughput per worker",
            "",
            object_name="heatmap_throughput",
            unit="worker",
            scope=scope,
            parent=parent,
        )
        self.canvas.mark_labels = False
        self.canvas.set_right_margin(_MARGIN_PX)
        self.canvas.set_whole_numbers(True)
        self._table = colour_table()
        self._pixels: UInt8 = np.zeros((1, 1), np.uint8)
        self._image = QImage()
        self._image_s = (0.0, 1.0)
        self._top_per_s = 1.0
        self._num_workers = 0
        self._workers_per_row = 1
        self._taken: tuple[object, ...] | None = None

    def take(self, part: Part) -> str:
        """Reduce to what pixels can show; skipped while the same buckets are shown."""
        area = self.canvas.frame().area
        steps = part.series.worker_steps
        self._num_workers = steps.shape[1]
        if not self._num_workers:
            return "no worker has answered yet"
        wanted = (
            *(id(part.series), part.series.bucket_s, part.first_bucket, len(part)),
            *(self._num_workers, area.width(), area.height()),
        )
        if wanted == self._taken:
            return ""
        self._taken = wanted
        starts, edges_s = part.grouped(area.width())
        widths_s = np.diff(edges_s).astype(np.float32)
        per_s = group_sums(steps[part.rows], starts) / widths_s[:, None]
        self._workers_per_row = max(1, math.ceil(self._num_workers / area.height()))
        if self._workers_per_row > 1:
            per_s = lowest_of_each(per_s, self._workers_per_row)
        # The last bars may hold few buckets; one lucky burst must not dim all the others.
        self._top_per_s = nice_limits(0.0, max(high_mark(per_s), 1.0), 40)[1]
        scale = np.float32(255.0 / self._top_per_s)
        levels = np.minimum(per_s * scale, np.float32(255.0)).astype(np.uint8)
        self._pixels = np.ascontiguousarray(levels.T[::-1])
        height, width = self._pixels.shape
        self._image = QImage(self._pixels.data, width, height, width, QImage.Format.Format_Indexed8)
        self._image.setColorTable(self._table)
        self._image_s = (float(edges_s[0]), float(edges_s[-1]))
        return ""

    def value_limits(self) -> tuple[float, float]:
        """All workers; half a row beyond the first and the last."""
        return 0.5, self._num_workers + 0.5

    def current_subtitle(self) -> str:
        """What a row is."""
        if not self._num_workers or self.canvas.empty_words:
            return ""
        if self._workers_per_row > 1:
            each = words.plural(self._workers_per_row, "worker")
            return f"a row is the slowest of {each}"
        return words.plural(self._num_workers, "worker")

    def paint(self, painter: QPainter, frame: Frame) -> None:
        """The picture, scaled to where its buckets and workers are."""
        left, right = frame.px(np.array(self._image_s)).tolist()
        top_worker = 0.5 + self._workers_per_row * self._image.height()
        top, bottom = frame.py(np.array([top_worker, 0.5])).tolist()
        painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform, False)
        painter.drawImage(QRectF(left, top, right - left, bottom - top), self._image)

    def paint_beside(self, painter: QPainter, frame: Frame) -> None:
        """The scale of colours."""
        area = frame.area
        left = area.right() + 12
        strip = QImage(bytes(range(255, -1, -1)), 1, 256, 1, QImage.Format.Format_Indexed8)
        strip.setColorTable(self._table)
        painter.drawImage(QRectF(left, area.top(), _BAR_PX, area.height()), strip)
        painter.setPen(QColor(self.theme.muted))
        line_px = QFontMetricsF(self.canvas.font()).height()
        flags = Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter
        for value, label in value_ticks(0.0, self._top_per_s, max(2, int(area.height() / 50))):
            y = area.bottom() - value / self._top_per_s * area.height()
            painter.drawText(QRectF(left + 14, y - line_px / 2, 60, line_px), flags, label)
        flags = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignTop
        width = self.canvas.width()
        painter.drawText(QRectF(width - 92, 0, 90, line_px), flags, "env steps/s")

    def read_out(self, part: Part, index: int) -> str:
        """The worker under the mouse; without one, the slowest and the fastest."""
        width_s = float(part.edges_s[index + 1] - part.edges_s[index])
        per_s = part.series.worker_steps[part.rows.start + index] / width_s
        if not len(per_s):
            return ""
        if self.canvas.hover is not None:
            worker = round(self.canvas.frame().value_at(self.canvas.hover.y()))
            if 1 <= worker <= len(per_s):
                return f"worker {worker}: {words.compact(float(per_s[worker - 1]))} env steps/s"
        slowest = int(np.argmin(per_s)) + 1
        return (
            f"slowest worker {slowest}: {words.compact(float(per_s.min()))}, "
            f"fastest {words.compact(float(per_s.max()))} env steps/s"
        )

    def columns(self, part: Part) -> Columns:
        """The rate of each worker."""
        per_s = part.series.worker_steps[part.rows] / np.diff(part.edges_s)[:, None]
        return {f"env_steps_per_s_worker_{k + 1}": per_s[:, k] for k in range(per_s.shape[1])}
