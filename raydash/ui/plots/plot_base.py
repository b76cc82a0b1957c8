"""A plot on a card: heading, read-out, canvas, and what is common to all four.

A plot is a `View` of the draw clock: `is_dirty` compares what was drawn last with what is there;
`draw` takes the visible part of the run over and asks Qt for a repaint.
"""

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QPoint, QSize, Qt
from PySide6.QtGui import QGuiApplication, QPainter
from PySide6.QtWidgets import QFileDialog, QMenu, QMessageBox, QToolButton, QWidget

from raydash.link.store import RunStore
from raydash.ui import words
from raydash.ui.card import Card
from raydash.ui.icons import IconName, icon
from raydash.ui.plots.canvas import PlotCanvas
from raydash.ui.plots.frame import Frame, LegendItem
from raydash.ui.plots.scope import Part, PlotScope, Range
from raydash.ui.theme import LIGHT, Theme

Columns = dict[str, NDArray[np.generic]]

NO_RUN = "no run yet: press Start"
FIRST_SECONDS = "the first seconds are being gathered"


class Plot(Card):
    """A plot over time. Subclasses say what they draw."""

    def __init__(
        self,
        title: str,
        subtitle: str,
        *,
        object_name: str,
        unit: str,
        scope: PlotScope | None = None,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(title, subtitle, parent)
        self.setObjectName(object_name)
        self.scope = scope or PlotScope(self)
        self.theme = LIGHT
        self.selected_workers: list[int] = []
        self._plain_subtitle = subtitle
        self._own_stamp = 0
        self._drawn: tuple[object, ...] | None = None
        self.canvas = PlotCanvas(self, self.scope, unit=unit)
        self.canvas.empty_words = NO_RUN
        self.canvas.setObjectName(f"{object_name}_canvas")
        self.canvas.setAccessibleName(title)
        self.canvas.setAccessibleDescription(
            f"{title}, {subtitle}. Arrow keys move in time, plus and minus zoom, Escape follows."
        )
        self.canvas.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.canvas.customContextMenuRequested.connect(self._on_menu_wanted)
        self.canvas.touched.connect(self._on_touched)
        self._follow = QToolButton()
        self._follow.setObjectName(f"{object_name}_follow")
        self._follow.setText("Follow")
        self._follow.setAccessibleName(f"Follow the run again in {title}")
        self._follow.setToolTip("Back to now, with a value axis that fits (double-click, Escape)")
        self._follow.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self._follow.setIconSize(QSize(12, 12))
        self._follow.setFixedHeight(20)
        self._follow.setStyleSheet("padding: 0 5px; min-height: 0;")
        self._follow.clicked.connect(self.canvas.reset)
        self._follow.hide()
        self.add_corner(self._follow)
        self.body.addWidget(self.canvas, 1)
        self.scope.changed.connect(self._show_follow)

    # --- what subclasses say ---

    def take(self, part: Part) -> str:
        """Take the data over; give the words to show instead if there are none yet."""
        raise NotImplementedError

    def value_limits(self) -> tuple[float, float]:
        """The range of values that holds what was taken."""
        raise NotImplementedError

    def read_out(self, part: Part, index: int) -> str:
        """The values of one bucket, in words."""
        raise NotImplementedError

    def columns(self, part: Part) -> Columns:
        """What the plot shows, for a CSV file."""
        raise NotImplementedError

    def paint(self, painter: QPainter, frame: Frame) -> None:
        """Paint the data."""
        raise NotImplementedError

    def paint_beside(self, painter: QPainter, frame: Frame) -> None:
        """Nothing, in most plots."""

    def legend(self) -> list[LegendItem]:
        """None, in plots of one thing."""
        return []

    # --- what the window sets ---

    def set_run(self, run: RunStore | None) -> None:
        """Show another run."""
        self.scope.set_run(run)

    def set_theme(self, theme: Theme) -> None:
        """Wear other colours."""
        self.theme = theme
        self.canvas.set_theme(theme)
        self._follow.setIcon(icon(IconName.FOLLOW, theme))
        self._on_touched()

    def set_selected_workers(self, workers: list[int]) -> None:
        """Stress these workers, where the plot knows workers."""
        if workers != self.selected_workers:
            self.selected_workers = list(workers)
            self._on_touched()

    def set_range(self, chosen: Range | str) -> None:
        """Follow `1min`, `10min` or `whole`."""
        self.scope.set_range(Range(chosen))

    def set_frozen(self, frozen: bool) -> None:
        """Hold the data, or let them go on."""
        self.scope.set_frozen(frozen)

    # --- drawing ---

    def is_dirty(self) -> bool:
        """Whether a drawing would show something new."""
        return self._state() != self._drawn

    def draw(self) -> None:
        """Take the visible data over and ask for a repaint."""
        self._drawn = self._state()
        part = self.scope.part()
        if part is None:
            self.canvas.empty_words = NO_RUN
        elif not len(part):
            self.canvas.empty_words = FIRST_SECONDS if self.scope.following else "nothing here"
        else:
            self.canvas.empty_words = self.take(part)
            if not self.canvas.empty_words and not self.canvas.y_locked:
                self.canvas.y_range = self.value_limits()
        self.set_subtitle(self._heading(part))
        self.canvas.update()

    def take_paint_s(self) -> float:
        """Seconds spent painting since the last call."""
        return self.canvas.take_paint_s()

    def current_subtitle(self) -> str:
        """What stands beside the title while nothing is read."""
        return self._plain_subtitle

    def _state(self) -> tuple[object, ...]:
        frame = self.canvas.frame()
        px_s = (frame.x[1] - frame.x[0]) / frame.area.width()
        latest = self.scope.latest
        return (
            self.scope.stamp,
            self._own_stamp,
            self.canvas.size(),
            *self.scope.progress(px_s),
            len(self.scope.run.events) if self.scope.run else -1,
            latest.state if latest else None,
            latest.num_workers if latest else 0,
        )

    def _heading(self, part: Part | None) -> str:
        at_s = self.scope.cursor_s()
        if part is not None and at_s is not None and not self.canvas.empty_words:
            mark = self.canvas.mark_at_cursor()
            if mark is not None:
                return f"{words.run_clock(mark.t_s)} · {mark.text}"
            index = part.index_at(at_s)
            if index is not None:
                return f"{words.run_clock(at_s)} · {self.read_out(part, index)}"
            return words.run_clock(max(at_s, 0.0))
        if self.scope.frozen:
            return f"frozen at {words.run_clock(self.scope.now_s)} · {self.current_subtitle()}"
        return self.current_subtitle()

    def _on_touched(self) -> None:
        self._own_stamp += 1
        self._show_follow()

    def _show_follow(self) -> None:
        self._follow.setVisible(not self.scope.following or self.canvas.y_locked)

    # --- export ---

    def save_picture(self, path: Path) -> bool:
        """Write the card as it looks now; the ending of the name says the format."""
        return self.grab().save(str(path))

    def csv(self) -> str:
        """What is visible, one line a bucket; unknown values are empty."""
        part = self.scope.part()
        if part is None or not len(part):
            return ""
        columns: Columns = {
            "start_s": part.edges_s[:-1],
            "end_s": part.edges_s[1:],
            **self.columns(part),
        }
        lines = [",".join(columns)]
        for row in zip(*(column.tolist() for column in columns.values()), strict=True):
            lines.append(",".join("" if value != value else f"{value:.10g}" for value in row))
        return "\n".join(lines) + "\n"

    def menu(self) -> QMenu:
        """The context menu."""
        menu = QMenu(self)
        menu.setObjectName(f"{self.objectName()}_menu")
        menu.addAction(icon(IconName.FOLLOW, self.theme), "Follow", self.canvas.reset)
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
        self._ask_where("png", "Picture (*.png)").fileSelected.connect(self._on_picture_chosen)

    def _on_csv_wanted(self) -> None:
        kinds = "Comma-separated values (*.csv)"
        self._ask_where("csv", kinds).fileSelected.connect(self._on_csv_chosen)

    def _on_picture_chosen(self, path: str) -> None:
        if not self.save_picture(Path(path)):
            self._refuse(path, "no picture can be written there")

    def _on_csv_chosen(self, path: str) -> None:
        try:
            Path(path).write_text(self.csv(), encoding="utf-8")
        except OSError as error:
            self._refuse(path, error.strerror or str(error))

    def _refuse(self, path: str, why: str) -> None:
        box = QMessageBox(QMessageBox.Icon.Warning, "Not saved", f"{path} was not saved: {why}.")
        box.setParent(self, Qt.WindowType.Dialog)
        box.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        box.open()

    def _ask_where(self, suffix: str, kinds: str) -> QFileDialog:
        dialog = QFileDialog(self, f"Save {self.accessibleName()}", "", kinds)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.setAcceptMode(QFileDialog.AcceptMode.AcceptSave)
        dialog.setDefaultSuffix(suffix)
        dialog.selectFile(f"{self.objectName().removeprefix('plot_')}.{suffix}")
        dialog.open()
        return dialog
