"""The controls in the tool bar for what the plots show, and whether they stand still."""

from PySide6.QtCore import Qt
from PySide6.QtGui import QStandardItemModel
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QToolButton, QWidget

from raydash.ui.frame.overview import Overview
from raydash.ui.kit.icons import IconName, icon
from raydash.ui.kit.theme import ThemeManager
from raydash.ui.plots.shown.scope import Range, TimeAxis

_RANGES = (
    (Range.ONE_MINUTE, "last minute"),
    (Range.TEN_MINUTES, "last 10 min"),
    (Range.WHOLE, "whole run"),
)
_AXES = (
    (TimeAxis.AGO, "time ago"),
    (TimeAxis.CLOCK, "run clock"),
    (TimeAxis.ENV_STEPS, "env steps"),
)
_AXIS_HELP = "What the axis says, and so where other runs lie: by time, or by env steps made"


class ViewControls(QWidget):
    """The controls for freeze, range and axis."""

    def __init__(
        self, overview: Overview, themes: ThemeManager, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self._overview = overview
        self._themes = themes
        self.freeze = QToolButton()
        self.freeze.setObjectName("freeze_view")
        self.freeze.setText("Freeze")
        self.freeze.setAccessibleName("Freeze view")
        self.freeze.setCheckable(True)
        self.freeze.setToolTip("Let the plots stand still; the run goes on, nothing is lost (F8)")
        self.freeze.setShortcut("F8")
        self.freeze.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.freeze.toggled.connect(overview.set_frozen)
        self.range = QComboBox()
        self.range.setObjectName("view_range")
        self.range.setAccessibleName("Range")
        self.range.setToolTip("The part of the run that the plots follow")
        for value, text in _RANGES:
            self.range.addItem(text, value)
        self.range.activated.connect(self._on_range)
        self.axis = QComboBox()
        self.axis.setObjectName("view_axis")
        self.axis.setAccessibleName("Axis")
        self.axis.setToolTip(_AXIS_HELP)
        for axis, text in _AXES:
            self.axis.addItem(text, axis)
        self.axis.activated.connect(self._on_axis)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(6)
        row.addWidget(self.freeze)
        row.addSpacing(8)
        row.addWidget(self.range)
        row.addWidget(self.axis)
        overview.scope_changed.connect(self.refresh)
        themes.changed.connect(self._paint_icon)
        self._paint_icon()
        self.refresh()

    def refresh(self) -> None:
        """Show the present state of the plots."""
        scope = self._overview.scope
        self.freeze.setChecked(scope.frozen)
        self.freeze.setText("Frozen" if scope.frozen else "Freeze")
        self.range.setCurrentIndex(self.range.findData(scope.range))
        recorded = scope.run is not None and scope.run.is_recording
        # A recording has no present.
        counts_back = scope.time_axis is TimeAxis.AGO
        axis = TimeAxis.CLOCK if recorded and counts_back else scope.time_axis
        self.axis.setCurrentIndex(self.axis.findData(axis))
        self._offer_ago(offered=not recorded)

    def _offer_ago(self, *, offered: bool) -> None:
        model = self.axis.model()
        assert isinstance(model, QStandardItemModel)
        model.item(self.axis.findData(TimeAxis.AGO)).setEnabled(offered)

    def _on_range(self, number: int) -> None:
        self._overview.set_range(self.range.itemData(number))

    def _on_axis(self, number: int) -> None:
        self._overview.set_time_axis(self.axis.itemData(number))

    def _paint_icon(self) -> None:
        self.freeze.setIcon(icon(IconName.FREEZE, self._themes.theme))
