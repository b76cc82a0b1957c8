"""A part of the form: a heading that folds it, and rows of fields with room for problems."""

from collections.abc import Mapping

from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, QSize, Qt, Signal
from PySide6.QtGui import QColor, QFont, QGuiApplication, QPainter, QPaintEvent, QPalette, QPen
from PySide6.QtWidgets import (
    QAbstractButton,
    QAbstractSpinBox,
    QCheckBox,
    QComboBox,
    QDoubleSpinBox,
    QGridLayout,
    QHBoxLayout,
    QLabel,
    QLineEdit,
    QSizePolicy,
    QSpinBox,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from raydash.core.spec import RunSpec
from raydash.core.spec_rules import FIELDS, Violation
from raydash.ui.kit.settings import settings

_ARROW_PX = 16


class _Heading(QAbstractButton):
    """Opens and closes a part; beside the title of a closed one is a summary of its content."""

    def __init__(self, title: str) -> None:
        super().__init__()
        self._title = title
        self._summary = ""
        self.setCheckable(True)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Fixed)
        self.setCursor(Qt.CursorShape.PointingHandCursor)

    def set_summary(self, summary: str) -> None:
        """Set the text that describes the part's content."""
        if summary != self._summary:
            self._summary = summary
            self.update()
        state = "open" if self.isChecked() else f"closed: {summary}"
        self.setAccessibleName(f"{self._title}, {state}")
        self.setToolTip("" if self.isChecked() else f"{self._title}: {summary}")

    @override
    def sizeHint(self) -> QSize:
        return QSize(120, self.fontMetrics().height() + 8)

    @override
    def paintEvent(self, _event: QPaintEvent) -> None:
        palette, area = self.palette(), QRectF(self.rect())
        text = palette.color(QPalette.ColorRole.WindowText)
        # The style sheet fades this widget's own placeholder colour; the application's is `muted`.
        muted = QGuiApplication.palette().color(QPalette.ColorRole.PlaceholderText)
        with QPainter(self) as painter:
            painter.setRenderHint(QPainter.RenderHint.Antialiasing)
            self._paint_arrow(painter, text if self.underMouse() or self.hasFocus() else muted)
            font = QFont(self.font())
            font.setWeight(QFont.Weight.DemiBold)
            painter.setFont(font)
            painter.setPen(text)
            left = _ARROW_PX
            title_px = painter.fontMetrics().horizontalAdvance(self._title)
            middle = Qt.AlignmentFlag.AlignVCenter
            painter.drawText(area.adjusted(left, 0, 0, 0), middle, self._title)
            if not self.isChecked():
                painter.setFont(self.font())
                painter.setPen(muted)
                room = area.adjusted(left + title_px + 10, 0, 0, 0)
                elided = self.fontMetrics().elidedText(
                    self._summary, Qt.TextElideMode.ElideRight, int(room.width())
                )
                painter.drawText(room, middle, elided)
            if self.hasFocus():
                painter.setPen(QPen(palette.color(QPalette.ColorRole.Accent), 1))
                painter.drawRoundedRect(area.adjusted(0.5, 1.5, -0.5, -1.5), 4, 4)

    def _paint_arrow(self, painter: QPainter, colour: QColor) -> None:
        pen = QPen(colour, 1.5)
        pen.setCapStyle(Qt.PenCapStyle.RoundCap)
        painter.setPen(pen)
        x, y = 5.0, self.height() / 2
        corners = (
            (QPointF(x - 3, y - 1.5), QPointF(x, y + 1.5), QPointF(x + 3, y - 1.5))
            if self.isChecked()
            else (QPointF(x - 1.5, y - 3), QPointF(x + 1.5, y), QPointF(x - 1.5, y + 3))
        )
        painter.drawPolyline(corners)


class FormPart(QWidget):
    """Fields that belong together. Subclasses add rows and read them.

    A closed part opens by itself when something in it is wrong.

    Args:
        title: The text of its heading.
        name: Its name in settings and object names.
        is_open: Whether it is open as long as the user has never opened or closed it.
        parent: The Qt parent.

    Signals:
        changed: The content of a field has changed.
    """

    changed = Signal()

    def __init__(
        self, title: str, name: str, *, is_open: bool, parent: QWidget | None = None
    ) -> None:
        super().__init__(parent)
        self.setObjectName(f"form_part_{name}")
        self._name = name
        self._fields: dict[str, QWidget] = {}
        self._holders: dict[str, QWidget] = {}
        self._labels: dict[str, QLabel] = {}
        self._problems: dict[str, QLabel] = {}
        self._heading = _Heading(title)
        self._heading.setObjectName(f"form_part_{name}_heading")
        self._body = QWidget()
        self.rows = QGridLayout(self._body)
        self.rows.setContentsMargins(0, 0, 0, 3)
        self.rows.setHorizontalSpacing(8)
        self.rows.setVerticalSpacing(4)
        self.rows.setColumnStretch(1, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        self._top = QHBoxLayout()
        self._top.setSpacing(8)
        self._top.addWidget(self._heading, 1)
        column.addLayout(self._top)
        column.addWidget(self._body)
        stored = settings().value(f"form/{name}_open")
        self._heading.setChecked(is_open if stored is None else stored in (True, "true"))
        self._body.setVisible(self._heading.isChecked())
        self._heading.clicked.connect(self._on_heading)

    # --- for subclasses ------------------------------------------------------------------

    def values(self) -> Mapping[str, object]:
        """The values of its fields, by dotted key."""
        raise NotImplementedError

    def show_spec(self, spec: RunSpec) -> None:
        """Put the values of a spec into its fields."""
        raise NotImplementedError

    def summary(self) -> str:
        """Its content in a few words, for when it is closed."""
        raise NotImplementedError

    def violations(self) -> tuple[Violation, ...]:
        """What is wrong with texts that cannot be read as values at all."""
        return ()

    def hints(self) -> Mapping[str, str]:
        """Texts to show beside fields, by key, about what is not wrong but worth a look."""
        return {}

    # --- rows ---------------------------------------------------------------------------------

    def add_row(
        self, title: str, field: QWidget, key: str, name: str, *, beside: QWidget | None = None
    ) -> None:
        """Add a field with its label, and space for a problem below it.

        Args:
            title: The text of its label.
            field: A text line, a combo box, a number box or a check box.
            key: Key of the spec, whose meaning becomes the tool tip.
            name: Object name of the field.
            beside: A small widget to the right of it.
        """
        row = self.rows.rowCount()
        label = QLabel(title)
        label.setProperty("role", "muted")
        label.setBuddy(field)
        field.setObjectName(name)
        field.setAccessibleName(title)
        field.setToolTip(FIELDS[key].help)
        field.setMinimumWidth(56)
        problem = QLabel(wordWrap=True)
        problem.setProperty("role", "problem")
        problem.setObjectName(f"{name}_problem")
        problem.hide()
        self._labels[key], self._fields[key], self._problems[key] = label, field, problem
        self.rows.addWidget(label, row, 0)
        self._holders[key] = holder = field if beside is None else _side_by_side(field, beside)
        self.rows.addWidget(holder, row, 1)
        self.rows.addWidget(problem, row + 1, 0, 1, 2)
        self._listen(field)

    def add_corner(self, button: QToolButton) -> None:
        """Put a small button to the right of the heading, visible even when the part is closed."""
        button.setFixedHeight(20)
        button.setStyleSheet("padding: 0 8px; min-height: 0;")
        self._top.addWidget(button)

    def set_row_visible(self, key: str, *, visible: bool) -> None:
        """Show or hide a row with its label."""
        self._labels[key].setVisible(visible)
        self._fields[key].setVisible(visible)
        self._holders[key].setVisible(visible)
        self._problems[key].setVisible(visible and bool(self._problems[key].text()))

    def _listen(self, field: QWidget) -> None:
        match field:
            case QComboBox():
                field.currentTextChanged.connect(self.changed)
            case QSpinBox() | QDoubleSpinBox():
                field.valueChanged.connect(self.changed)
            case QLineEdit():
                field.textChanged.connect(self.changed)
            case QCheckBox():
                field.toggled.connect(self.changed)
            case _:
                raise TypeError(f"{type(field).__name__} is no field that a form knows")
        if isinstance(field, QComboBox | QAbstractSpinBox):
            # The wheel scrolls the form; it must not change the field that the mouse is over.
            field.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
            field.installEventFilter(self)

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Leave the wheel to the form, unless the field has the focus."""
        is_wheel = event.type() == QEvent.Type.Wheel
        if is_wheel and isinstance(watched, QWidget) and not watched.hasFocus():
            event.ignore()
            return True
        return super().eventFilter(watched, event)

    # --- what is wrong ------------------------------------------------------------------------

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys of the spec that have a field here."""
        return tuple(self._fields)

    def show_problem(self, key: str, words: str) -> None:
        """Show a problem below a field; an empty text removes it."""
        label = self._problems[key]
        is_new = bool(words) and not label.text()
        label.setText(words)
        label.setVisible(bool(words))
        field = self._fields[key]
        if field.property("invalid") is not bool(words):
            field.setProperty("invalid", bool(words))
            field.style().polish(field)
        if is_new and not self.is_open:
            self.open(True)

    # --- open and closed ----------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether its fields can be seen."""
        return self._heading.isChecked()

    def open(self, is_open: bool) -> None:
        """Show its fields, or only its heading."""
        self._heading.setChecked(is_open)
        self._body.setVisible(is_open)
        self.refresh_heading()

    def refresh_heading(self) -> None:
        """Bring the summary in the heading up to date."""
        self._heading.set_summary(self.summary())

    def _on_heading(self) -> None:
        self.open(self._heading.isChecked())
        settings().setValue(f"form/{self._name}_open", self.is_open)

    # --- alignment ----------------------------------------------------------------------------

    def label_px(self) -> int:
        """The width of its widest label."""
        return max((label.sizeHint().width() for label in self._labels.values()), default=0)

    def set_label_px(self, width_px: int) -> None:
        """Align its fields with those of other parts."""
        self.rows.setColumnMinimumWidth(0, width_px)


def _side_by_side(field: QWidget, beside: QWidget) -> QWidget:
    """Put two widgets into one.

    A layout would not do: without a visible part it would take the stretch from its column.
    """
    holder = QWidget()
    row = QHBoxLayout(holder)
    row.setContentsMargins(0, 0, 0, 0)
    row.setSpacing(8)
    row.addWidget(field, 1)
    row.addWidget(beside)
    return holder
