"""The card of a chart: heading, legend, a message while there is nothing to see, a way back.

The chart is created right after the card was first painted, never before: it needs pyqtgraph, whose
import would delay the window by a third of a second.
"""

from typing import TYPE_CHECKING, Generic, TypeVar

from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QGridLayout, QLabel, QSizePolicy, QToolButton, QWidget
from typing_extensions import override

from raydash.ui.kit.card import Card
from raydash.ui.kit.icons import IconName, icon
from raydash.ui.kit.theme import LIGHT, Theme
from raydash.ui.plots.chart.legend_row import LegendRow

if TYPE_CHECKING:
    from raydash.ui.plots.chart.base_chart import BaseChart

ChartKind = TypeVar("ChartKind", bound="BaseChart")


class _Message(QLabel):
    """A message in the middle of a chart; it is as large as the chart and ignores the mouse."""

    def __init__(self, text: str, wanted_size: QSize) -> None:
        super().__init__(text)
        self._wanted_size = wanted_size
        self.setProperty("role", "muted")
        self.setAlignment(Qt.AlignmentFlag.AlignCenter)
        self.setWordWrap(True)
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)

    @override
    def sizeHint(self) -> QSize:
        """The size of a chart."""
        return self._wanted_size


class BackButton(QToolButton):
    """Shows everything again after the user has moved a chart; hidden until then."""

    def __init__(self, object_name: str, text: str, accessible_name: str, help_text: str) -> None:
        super().__init__()
        self.setAccessibleName(accessible_name)
        self.setToolTip(help_text)
        self.setObjectName(object_name)
        self.setText(text)
        self.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        self.setIconSize(QSize(12, 12))
        self.setFixedHeight(20)
        self.setStyleSheet("padding: 0 5px; min-height: 0;")
        self.hide()


class ChartCard(Card, Generic[ChartKind]):
    """A card with a chart. It is a view of the draw clock; subclasses make the chart and draw it.

    Attributes:
        wanted_size: The size that its chart asks for.
        least_size: The size that its chart accepts.
        theme: The colours in use.
        back: The button that shows everything again.

    Args:
        title: What the chart shows.
        subtitle: How it is shown.
        object_name: Name of the card, from which its parts derive theirs.
        unit: Unit of the values.
        message: What is said while there is nothing to see.
        back: Such a button.
        parent: The Qt parent.
    """

    wanted_size, least_size = QSize(420, 200), QSize(180, 70)

    def __init__(
        self,
        title: str,
        subtitle: str,
        *,
        object_name: str,
        unit: str,
        message: str,
        back: BackButton,
        parent: QWidget | None = None,
    ) -> None:
        super().__init__(title, subtitle, parent)
        self.setObjectName(object_name)
        self.theme = LIGHT
        self._chart: ChartKind | None = None
        self._was_painted = False
        self._legend_row = LegendRow(unit)
        self._message = _Message(message, self.wanted_size)
        self._message.setMinimumSize(self.least_size)
        self.back = back
        self.add_corner(back)
        # The message lies over the chart, so that it can be seen before the chart exists.
        self._chart_layout = QGridLayout()
        self._chart_layout.addWidget(self._message, 0, 0)
        self.body.setSpacing(0)
        self.body.addWidget(self._legend_row)
        self.body.addLayout(self._chart_layout, 1)

    # --- for subclasses ---

    def make_chart(self) -> ChartKind:
        """Create the chart with its items."""
        raise NotImplementedError

    def draw(self) -> None:
        """Load the data and show them."""
        raise NotImplementedError

    # --- the chart ---

    @property
    def canvas(self) -> ChartKind:
        """The chart, which is created when it is first needed."""
        if self._chart is None:
            chart = self.make_chart()
            chart.setObjectName(f"{self.objectName()}_canvas")
            chart.wanted_size = self.wanted_size
            chart.setMinimumSize(self.least_size)
            chart.set_theme(self.theme)
            self._chart_layout.addWidget(chart, 0, 0)
            chart.show()
            self._message.raise_()
            self._chart_layout.activate()  # what is drawn next needs its size
            self._chart = chart
        return self._chart

    @property
    def has_chart(self) -> bool:
        """Whether the chart exists; before that there is nothing to draw."""
        return self._chart is not None

    @property
    def empty_text(self) -> str:
        """The message shown instead of data; empty if there are data."""
        return self._message.text()

    def set_theme(self, theme: Theme) -> None:
        """Use the colours of another theme."""
        self.theme = theme
        self._legend_row.set_theme(theme)
        if self._chart is not None:
            self._chart.set_theme(theme)
        self.back.setIcon(icon(IconName.FOLLOW, theme))

    def show_message(self, message: str) -> None:
        """Show a message instead of data; an empty one if there are data."""
        self._message.setText(message)
        self._message.setVisible(bool(message))

    def take_paint_s(self) -> float:
        """The seconds spent painting since the last call."""
        return self._chart.take_paint_s() if self._chart is not None else 0.0

    @override
    def paintEvent(self, event: QPaintEvent) -> None:
        """Create the chart once the card has been seen, for that takes a while."""
        super().paintEvent(event)
        if not self._was_painted:
            self._was_painted = True
            QTimer.singleShot(0, self, self.draw)
