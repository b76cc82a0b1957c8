"""The page of the shown run: its form, figures and plots, and what is below them."""

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QSizePolicy, QSplitter, QVBoxLayout, QWidget

from raydash.ui.form.run_form import RunForm
from raydash.ui.frame.overview import Overview
from raydash.ui.kit.card import Card
from raydash.ui.kit.tall_scroll import TallScroll

_GAP = 10


class RunView(QWidget):
    """Places the parts; the user moves the lines between them.

    Attributes:
        upper: Form and runs beside the plots.
        whole: The upper part above the tables.

    Args:
        form: The form of a run.
        examples: The button with examples for it.
        runs: The list of runs.
        strip: The strip of a recording.
        overview: Figures and plots.
        bottom: The tables.
    """

    def __init__(
        self,
        form: RunForm,
        examples: QWidget,
        runs: QWidget,
        strip: QWidget,
        overview: Overview,
        bottom: QWidget,
    ) -> None:
        super().__init__()
        form_card = Card("Run")
        form_card.add_corner(examples)
        # Texts about mistakes can make the form taller than the window may become.
        form_card.body.addWidget(TallScroll(form, min_height=120))
        form_card.setSizePolicy(QSizePolicy.Policy.Preferred, QSizePolicy.Policy.Maximum)
        left = QWidget()
        left.setMinimumWidth(250)
        column = _column(left)
        column.addWidget(form_card)
        column.addWidget(runs, 1)
        self.upper = _splitter(Qt.Orientation.Horizontal, left, overview, sizes=[284, 980])
        self.whole = _splitter(Qt.Orientation.Vertical, self.upper, bottom, sizes=[420, 220])
        rows = _column(self)
        rows.addWidget(strip)
        rows.addWidget(overview.tiles)
        rows.addWidget(self.whole, 1)


def _column(widget: QWidget) -> QVBoxLayout:
    column = QVBoxLayout(widget)
    column.setContentsMargins(0, 0, 0, 0)
    column.setSpacing(_GAP)
    return column


def _splitter(
    orientation: Qt.Orientation, first: QWidget, second: QWidget, *, sizes: list[int]
) -> QSplitter:
    splitter = QSplitter(orientation)
    splitter.setHandleWidth(_GAP)
    splitter.setChildrenCollapsible(False)
    splitter.addWidget(first)
    splitter.addWidget(second)
    is_row = orientation == Qt.Orientation.Horizontal
    splitter.setStretchFactor(0, 0 if is_row else 3)
    splitter.setStretchFactor(1, 1)
    splitter.setSizes(sizes)
    return splitter
