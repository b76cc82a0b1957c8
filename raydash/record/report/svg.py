"""Draws small charts as inline SVG: axes with round ticks, bands, lines, bars, a legend.

Colours are classes (`c0`, `c1`, ...) that the page's style sheet gives a colour, so that one
picture is right on light, on dark and on paper. Coordinates have one decimal; no script is needed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup, escape

from raydash.core.records import Float64
from raydash.core.words.ticks import Ticks, clock_ticks, nice_step, ticks_every, value_ticks

WIDTH, HEIGHT = 640.0, 260.0
_LEFT, _RIGHT, _TOP, _BOTTOM = 52.0, 14.0, 34.0, 40.0
_LEGEND_PX_PER_CHARACTER = 6.6
_ROW, _MAX_ROWS = 16.0, 4
_MAX_X_TICKS = 6


@dataclass(frozen=True, slots=True)
class Line:
    """A curve, with gaps where y is not finite.

    Attributes:
        x: Ascending.
        css: The CSS class that gives its colour.
        label: Its name in the legend; empty if it is not listed there.
    """

    x: Float64
    y: Float64
    css: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Band:
    """The area between two curves, with gaps where one of them is not finite.

    Attributes:
        x: Ascending.
        css: The CSS class that gives its colour.
        label: Its name in the legend; empty if it is not listed there.
    """

    x: Float64
    low: Float64
    high: Float64
    css: str
    label: str = ""


@dataclass(frozen=True, slots=True)
class Bars:
    """Bars side by side. If one layer's floors are another's tops, the bars are stacked.

    Attributes:
        edges: Ascending, one more than there are bars.
        css: The CSS class that gives their colour.
        label: Their name in the legend; empty if they are not listed there.
    """

    edges: Float64
    floors: Float64
    tops: Float64
    css: str
    label: str = ""


Layer = Line | Band | Bars


@dataclass(frozen=True, slots=True)
class Axis:
    """How an axis is labelled and scaled.

    Attributes:
        label: The quantity, with its unit.
        is_clock: Whether ticks are times of the run's clock.
        whole: Whether ticks are at whole numbers only.
        from_zero: Whether it includes 0, whatever the data.
    """

    label: str
    is_clock: bool = False
    whole: bool = False
    from_zero: bool = False


def chart(
    name: str, title: str, description: str, x_axis: Axis, y_axis: Axis, layers: Sequence[Layer]
) -> Markup:
    """Draw a chart of some layers, the lowest first.

    `name` is unique on the page and has letters, digits and `-` only. Screen readers read `title`
    and `description` aloud.
    """
    low_x, high_x = _limits([_x_of(layer) for layer in layers], x_axis.from_zero)
    low, high = _limits([column for layer in layers for column in _y_of(layer)], y_axis.from_zero)
    y_step = nice_step((high - low) / 5, whole=y_axis.whole)
    low = math.floor(low / y_step + 1e-9) * y_step
    high = max(math.ceil(high / y_step - 1e-9) * y_step, low + y_step)  # at least one step
    legend = _legend_rows(layers)
    height = HEIGHT + _ROW * (len(legend) - 1)
    inner_x, inner_y = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

    def to_x(x: Float64) -> Float64:
        return np.asarray(_LEFT + (np.clip(x, low_x, high_x) - low_x) / (high_x - low_x) * inner_x)

    def to_y(y: Float64) -> Float64:
        return np.asarray(height - _BOTTOM - (np.clip(y, low, high) - low) / (high - low) * inner_y)

    if x_axis.is_clock:
        x_ticks = clock_ticks(low_x, high_x, _MAX_X_TICKS)
    else:
        x_ticks = value_ticks(low_x, high_x, _MAX_X_TICKS, whole=x_axis.whole)
    y_ticks = ticks_every(low, high, y_step)
    parts = [
        f'<svg class="chart" viewBox="0 0 {WIDTH:.0f} {height:.0f}" role="img"'
        f' aria-labelledby="{name}-t {name}-d" xmlns="http://www.w3.org/2000/svg">',
        f'<title id="{name}-t">{escape(title)}</title>',
        f'<desc id="{name}-d">{escape(description)}</desc>',
    ]
    parts += _axes(x_ticks, y_ticks, to_x, to_y, x_axis, y_axis, height)
    with np.errstate(all="ignore"):
        parts += [_drawn(layer, to_x, to_y) for layer in layers]
    parts += _legend(legend)
    parts.append("</svg>")
    return Markup("\n".join(parts))


# --- parts ---------------------------------------------------------------------------------------


def _axes(
    x_ticks: Ticks,
    y_ticks: Ticks,
    to_x: Callable[[Float64], Float64],
    to_y: Callable[[Float64], Float64],
    x_axis: Axis,
    y_axis: Axis,
    height: float,
) -> list[str]:
    right, floor = WIDTH - _RIGHT, height - _BOTTOM
    parts = []
    for at, label in y_ticks:
        y = float(to_y(np.array(at)))
        parts.append(f'<path class="grid" d="M{_LEFT:.1f} {y:.1f}H{right:.1f}"/>')
        parts.append(f'<text class="tick end" x="{_LEFT - 6:.1f}" y="{y + 4:.1f}">{label}</text>')
    parts.append(f'<path class="axis" d="M{_LEFT:.1f} {floor:.1f}H{right:.1f}"/>')
    for at, label in x_ticks:
        x = float(to_x(np.array(at)))
        parts.append(f'<path class="axis" d="M{x:.1f} {floor:.1f}v4"/>')
        parts.append(f'<text class="tick mid" x="{x:.1f}" y="{floor + 17:.1f}">{label}</text>')
    middle = (_LEFT + right) / 2
    below = f'x="{middle:.1f}" y="{height - 6:.1f}"'
    parts.append(f'<text class="label mid" {below}>{escape(x_axis.label)}</text>')
    parts.append(f'<text class="label" x="4" y="14">{escape(y_axis.label)}</text>')
    return parts


def _drawn(
    layer: Layer, to_x: Callable[[Float64], Float64], to_y: Callable[[Float64], Float64]
) -> str:
    match layer:
        case Line():
            pieces = _pieces(np.isfinite(layer.y))
            x, y = to_x(layer.x), to_y(layer.y)
            path = "".join(_path(x[rows], y[rows], lone=True) for rows in pieces)
            return f'<path class="line {layer.css}" d="{path}"/>'
        case Band():
            x, low, high = to_x(layer.x), to_y(layer.low), to_y(layer.high)
            path = ""
            for rows in _pieces(np.isfinite(layer.low) & np.isfinite(layer.high)):
                around = np.concatenate([x[rows], x[rows][::-1]])
                path += _path(around, np.concatenate([low[rows], high[rows][::-1]])) + "Z"
            return f'<path class="band {layer.css}" d="{path}"/>'
        case Bars():
            x, floor, top = to_x(layer.edges), to_y(layer.floors), to_y(layer.tops)
            path = "".join(
                f"M{left:.1f} {low:.1f}V{high:.1f}H{right:.1f}V{low:.1f}Z"
                for left, right, low, high in zip(x[:-1], x[1:], floor, top, strict=True)
                if abs(high - low) >= 0.05
            )
            return f'<path class="bars {layer.css}" d="{path}"/>'


def _legend_rows(layers: Sequence[Layer]) -> list[list[tuple[Layer, float]]]:
    """Distribute labelled layers over rows, with their widths; the first `_MAX_ROWS` rows stay."""
    rows: list[list[tuple[Layer, float]]] = [[]]
    for layer in layers:
        width = 26 + _LEGEND_PX_PER_CHARACTER * len(layer.label)
        if not layer.label:
            continue
        if rows[-1] and sum(taken for _, taken in rows[-1]) + width > WIDTH - _RIGHT - 110:
            rows.append([])
        rows[-1].append((layer, width))
    return rows[:_MAX_ROWS]


def _legend(rows: Sequence[Sequence[tuple[Layer, float]]]) -> list[str]:
    """Draw the legend, at the right above the axes."""
    parts = []
    for number, row in enumerate(rows):
        x, y = WIDTH - _RIGHT - sum(width for _, width in row), number * _ROW
        for layer, width in row:
            kind = "key faint" if isinstance(layer, Band) else "key"
            place = f'x="{x + 4:.1f}" y="{y + 5:.1f}" width="10" height="10"'
            parts.append(f'<rect class="{kind} {layer.css}" {place}/>')
            where = f'x="{x + 18:.1f}" y="{y + 14:.1f}"'
            parts.append(f'<text class="label" {where}>{escape(layer.label)}</text>')
            x += width
    return parts


def _pieces(is_there: np.ndarray[tuple[int], np.dtype[np.bool_]]) -> list[np.ndarray]:
    """Split the places at gaps, so that each piece is drawn in one go."""
    rows = np.flatnonzero(is_there)
    return [piece for piece in np.split(rows, np.flatnonzero(np.diff(rows) > 1) + 1) if len(piece)]


def _path(x: Float64, y: Float64, *, lone: bool = False) -> str:
    points = [f"{a:.1f} {b:.1f}" for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    if lone and len(points) == 1:
        return f"M{points[0]}h1"
    return "M" + "L".join(points)


# --- limits --------------------------------------------------------------------------------------


def _x_of(layer: Layer) -> Float64:
    return layer.edges if isinstance(layer, Bars) else layer.x


def _y_of(layer: Layer) -> tuple[Float64, ...]:
    match layer:
        case Line():
            return (layer.y,)
        case Band():
            return (layer.low, layer.high)
        case Bars():
            return (layer.floors, layer.tops)


def _limits(columns: Sequence[Float64], from_zero: bool) -> tuple[float, float]:
    """Find limits that hold all finite values; they are never the same."""
    known = [column[np.isfinite(column)] for column in columns]
    values = np.concatenate(known) if known else np.empty(0)
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)
    if from_zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if not high - low > 1e-9 * max(abs(low), abs(high), 1e-9):
        spread = max(abs(high) * 0.1, 0.5)
        low, high = (low if from_zero else low - spread), high + spread
    # Near the largest double, the length of the range would be infinite.
    return max(low, -1e300), min(high, 1e300)
