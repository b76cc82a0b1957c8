"""How a run's line looks wherever it is drawn: eight colours, then thinner, then dashed."""

from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPen, QPixmap

from raydash.ui.kit.theme import Theme

_WIDTH, _HEIGHT = 18, 12


def line_colour(number: int, theme: Theme) -> str:
    """The colour of the run with this number, counted from 0."""
    return theme.runs[number % len(theme.runs)]


def is_strong(number: int) -> bool:
    """Whether the line is two pixels wide, as the first eight are."""
    return number < 8


def is_dashed(number: int) -> bool:
    """Whether the line is dashed: from the seventeenth on, colours are used for the third time."""
    return number >= 16


def draw_line(
    painter: QPainter,
    left: float,
    middle: float,
    number: int,
    theme: Theme,
    length: float = _WIDTH,
) -> None:
    """Paint a piece of a run's line."""
    pen = QPen(QColor(line_colour(number, theme)), 3 if is_strong(number) else 1.5)
    pen.setCapStyle(Qt.PenCapStyle.FlatCap)
    if is_dashed(number):
        pen.setDashPattern([3, 2])
    painter.setPen(pen)
    painter.drawLine(QPointF(left, middle), QPointF(left + length, middle))


def line_icon(number: int, theme: Theme) -> QIcon:
    """A piece of a run's line, for lists and headings."""
    pixmap = QPixmap(2 * _WIDTH, 2 * _HEIGHT)
    pixmap.setDevicePixelRatio(2.0)
    pixmap.fill(Qt.GlobalColor.transparent)
    with QPainter(pixmap) as painter:
        draw_line(painter, 0.0, _HEIGHT / 2, number, theme)
    icon = QIcon(pixmap)
    icon.addPixmap(pixmap, QIcon.Mode.Selected)
    return icon
