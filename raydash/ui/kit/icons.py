"""Icons for buttons and menus, in the theme's colours.

They are files of Lucide (https://lucide.dev), as they are; its licence is beside them.
"""

from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QIcon, QPainter, QPixmap
from PySide6.QtSvg import QSvgRenderer

from raydash.ui.kit.theme import Theme

FOLDER = Path(__file__).parent / "assets" / "icons"
# 12 and 16 are in use, on screens that show everything at 100, 125, 150, 200 or 300 %.
_SIZES = (12, 16, 18, 20, 24, 32, 48)


class IconName(StrEnum):
    """What an icon means, and the name of its file."""

    START = "play"
    PAUSE = "pause"
    RESUME = "step-forward"
    STOP = "square"
    DRAIN = "arrow-down-to-line"
    RESTART = "rotate-ccw"
    KILL = "octagon-x"
    COPY = "copy"
    OPEN = "folder-open"
    SAVE = "download"
    FREEZE = "snowflake"
    RELAUNCH = "power"
    FOLLOW = "arrow-right-to-line"
    LIBRARY = "library"
    COMPARE = "scale"
    REPORT = "file-chart-line"
    IMPORT = "folder-input"
    PIN = "pin"
    DELETE = "trash-2"
    CLOSE = "x"
    SWAP = "arrow-left-right"


# At 16 pixels the outlines of these are hard to tell apart, so they are filled. These are the
# widths of their lines; a wider one would close the gap between the bars of pause.
_FILLED = {
    IconName.START: 2.0,
    IconName.PAUSE: 1.0,
    IconName.RESUME: 2.0,
    IconName.STOP: 1.0,
    IconName.PIN: 2.0,
}
# Lucide's own lines are too thin beside our texts, and reach so far out that they touch them.
_LINE_WIDTH = 2.5
_MARGIN, _MARGIN_OF_FILLED = 1 / 16, 2 / 16


@lru_cache(maxsize=256)
def icon(name: IconName, theme: Theme, colour: str = "") -> QIcon:
    """An icon for buttons and menus; `colour` (`#rrggbb`) replaces the theme's text colour."""
    ink, width, margin = colour or theme.text, _FILLED.get(name, _LINE_WIDTH), _MARGIN
    svg = (FOLDER / f"{name}.svg").read_text(encoding="utf-8")
    svg = svg.replace("currentColor", ink).replace('stroke-width="2"', f'stroke-width="{width}"')
    if name in _FILLED:
        svg, margin = svg.replace('fill="none"', f'fill="{ink}"'), _MARGIN_OF_FILLED
    renderer = QSvgRenderer(svg.encode())
    made = QIcon()
    for size in _SIZES:
        usual = QPixmap(size, size)
        usual.fill(Qt.GlobalColor.transparent)
        inner = size * (1 - 2 * margin)
        with QPainter(usual) as painter:
            renderer.render(painter, QRectF(size * margin, size * margin, inner, inner))
        made.addPixmap(usual)
        made.addPixmap(_tinted(usual, theme.disabled), QIcon.Mode.Disabled)
    return made


def _tinted(pixmap: QPixmap, colour: str) -> QPixmap:
    """The same shape in another colour."""
    made = QPixmap(pixmap)
    with QPainter(made) as painter:
        painter.setCompositionMode(QPainter.CompositionMode.CompositionMode_SourceIn)
        painter.fillRect(made.rect(), QColor(colour))
    return made
