"""The list of runs: live ones of the cluster, those of this window, and opened recordings.

A click (or Enter) shows a run, its check box (or Space) overlays its curves, Delete closes one that
is over; everything else is in each line's menu.
"""

from PySide6.QtCore import QPoint, QSignalBlocker, QSize, Qt, QTimer
from PySide6.QtGui import QColor, QKeySequence, QMouseEvent, QPainter, QPaintEvent, QShortcut
from PySide6.QtWidgets import QListWidget, QListWidgetItem, QWidget
from typing_extensions import override

from raydash.link.session import Session
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.runs.lines import RunLine, run_lines
from raydash.ui.runs.list_actions import RunListActions
from raydash.ui.runs.numbers import RunNumbers
from raydash.ui.runs.painter import LINE_PADDING, LINE_ROLE, RunLinePainter

_RUN_ID = Qt.ItemDataRole.UserRole


class RunList(QListWidget):
    """Shows one line per run, renewed when runs come and go, and once a second for their figures.

    Attributes:
        lines: The content of the lines, newest run first.
    """

    def __init__(
        self,
        session: Session,
        themes: ThemeManager,
        actions: RunListActions,
        numbers: RunNumbers,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(parent)
        self._session = session
        self._themes = themes
        self._actions = actions
        self._numbers = numbers
        self._painter = RunLinePainter(numbers, themes, self)
        self._pressed_box: QListWidgetItem | None = None
        self.lines: tuple[RunLine, ...] = ()
        self.setObjectName("run_list")
        self.setAccessibleName("Runs")
        self.setItemDelegate(self._painter)
        self.setMouseTracking(True)
        self.setSelectionMode(QListWidget.SelectionMode.NoSelection)
        self.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        self.setVerticalScrollMode(QListWidget.ScrollMode.ScrollPerPixel)
        self.setUniformItemSizes(True)
        self.setSizeAdjustPolicy(QListWidget.SizeAdjustPolicy.AdjustIgnored)
        self.itemActivated.connect(self._on_chosen)
        self.itemClicked.connect(self._on_chosen)
        self.itemChanged.connect(self._on_ticked)
        self._timer = QTimer(self)
        self._timer.setInterval(1000)
        self._timer.timeout.connect(self.refresh)
        self._timer.start()
        store = session.store
        for signal in (
            *(store.runs_changed, store.run_state_changed),
            *(store.shown_run_changed, store.overlaid_changed),
        ):
            signal.connect(self.refresh)
        session.library.opened_changed.connect(self.refresh)
        store.shown_run_changed.connect(self._make_shown_current)
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.CustomContextMenu)
        self.customContextMenuRequested.connect(self._open_menu)
        remove = QShortcut(QKeySequence(QKeySequence.StandardKey.Delete), self)
        remove.setContext(Qt.ShortcutContext.WidgetShortcut)
        remove.activated.connect(self._close_current)
        themes.changed.connect(self.viewport().update)

    @override
    def sizeHint(self) -> QSize:
        """Ask for the height of two runs; the layout may give more."""
        return QSize(200, 2 * self._line_height())

    @override
    def minimumSizeHint(self) -> QSize:
        """Ask for the height of up to three runs, so that these can be seen without scrolling."""
        return QSize(120, min(max(self.count(), 1), 3) * self._line_height())

    def _line_height(self) -> int:
        return 2 * self.fontMetrics().height() + 2 * LINE_PADDING

    def refresh(self) -> None:
        """Bring the lines up to date in place, so that focus and scrolling stay."""
        lines, before = run_lines(self._session), len(self.lines)
        if lines == self.lines:
            return
        self.lines = lines
        self._numbers.keep(line.run_id for line in reversed(lines))
        current, stays_id = self.currentItem(), self._session.store.shown_run_id
        if current is not None and self.hasFocus():
            stays_id = str(current.data(_RUN_ID))
        with QSignalBlocker(self):
            while self.count() > len(lines):
                self.takeItem(self.count() - 1)
            while self.count() < len(lines):
                self.addItem(QListWidgetItem())
            for row, line in enumerate(lines):
                self._fill(self.item(row), line)
            # Lines move when runs come and go, but the current line stays with its run.
            stays = self.item_of(stays_id)
            if stays is not None and stays is not self.currentItem():
                self.setCurrentItem(stays)
        if len(lines) != before:
            self.updateGeometry()
        self.viewport().update()

    def _fill(self, item: QListWidgetItem, line: RunLine) -> None:
        if item.data(LINE_ROLE) == line:
            return
        item.setData(_RUN_ID, line.run_id)
        item.setData(LINE_ROLE, line)
        item.setText(f"{line.name}\n{line.state_words}")
        item.setData(Qt.ItemDataRole.AccessibleTextRole, line.spoken)
        item.setToolTip(line.tip)
        flags = Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable
        if not line.is_shown:  # what is on screen is drawn anyway
            flags |= Qt.ItemFlag.ItemIsUserCheckable
        item.setFlags(flags)
        ticked = Qt.CheckState.Checked if line.is_drawn else Qt.CheckState.Unchecked
        item.setCheckState(ticked)

    def item_of(self, run_id: str) -> QListWidgetItem | None:
        """The item of a run, if it is in the list."""
        items = (self.item(row) for row in range(self.count()))
        return next((item for item in items if item.data(_RUN_ID) == run_id), None)

    # --- what the user does -------------------------------------------------------------------

    @override
    def mousePressEvent(self, event: QMouseEvent) -> None:
        """Note a press on a check box, and wait for its release there."""
        item = self._item_of_box(event)
        if item is not None and event.button() is Qt.MouseButton.LeftButton:
            self._pressed_box = item
            event.accept()
        else:
            super().mousePressEvent(event)

    @override
    def mouseReleaseEvent(self, event: QMouseEvent) -> None:
        """Toggle the check box, or do what a list does."""
        pressed, self._pressed_box = self._pressed_box, None
        if pressed is None:
            super().mouseReleaseEvent(event)
        elif pressed is self._item_of_box(event):
            checked = pressed.checkState() is Qt.CheckState.Checked
            pressed.setCheckState(Qt.CheckState.Unchecked if checked else Qt.CheckState.Checked)

    def _item_of_box(self, event: QMouseEvent) -> QListWidgetItem | None:
        """The item whose check box the mouse is over, if its run can be overlaid."""
        where = event.position().toPoint()
        item = self.itemAt(where)
        if item is None or not item.flags() & Qt.ItemFlag.ItemIsUserCheckable:
            return None
        return item if self._painter.box(self.visualItemRect(item)).contains(where) else None

    def _on_ticked(self, item: QListWidgetItem) -> None:
        self._actions.overlay(str(item.data(_RUN_ID)), item.checkState() is Qt.CheckState.Checked)

    def _on_chosen(self, item: QListWidgetItem) -> None:
        self._actions.show(str(item.data(_RUN_ID)))

    def _make_shown_current(self) -> None:
        item = self.item_of(self._session.store.shown_run_id)
        if item is not None:
            self.setCurrentItem(item)
            self.scrollToItem(item)

    def _open_menu(self, position: QPoint) -> None:
        item = self.itemAt(position) or self.currentItem()
        if item is not None:
            menu = self._actions.menu(str(item.data(_RUN_ID)), self)
            menu.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
            menu.popup(self.viewport().mapToGlobal(position))

    def _close_current(self) -> None:
        item = self.currentItem()
        if item is not None:
            self._actions.close(str(item.data(_RUN_ID)))

    # --- painting -----------------------------------------------------------------------------

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Paint the list, or say that it is empty."""
        super().paintEvent(event)
        if not self.count():
            painter = QPainter(self.viewport())
            painter.setPen(QColor(self._themes.theme.muted))
            painter.drawText(2, self.fontMetrics().ascent() + 4, "none yet")
            painter.end()
