"""The text of a tile, and helpers to build it. Pure."""

from dataclasses import dataclass

from raydash.core.words import numbers


@dataclass(frozen=True, slots=True)
class TileText:
    """The text of a tile.

    Attributes:
        value: The figure.
        small: Time span, n and the like, from the longest wording to the shortest.
        tone: `text`, `muted`, `good`, `warn` or `bad`: the theme's colour of the value.
    """

    value: str
    small: tuple[str, ...]
    tone: str = "text"


def with_steady_width(value: float) -> str:
    """A mean, always with one decimal, so that its width stays the same as it changes."""
    return numbers.signed(f"{value:.1f}") if 10 <= abs(value) < 1000 else numbers.decimal(value)


def join_parts(*parts: str) -> str:
    """Join parts with dots, breaking lines only after a dot; long parts may break inside."""
    held = [part if len(part) > 24 else part.replace(" ", numbers.NBSP) for part in parts if part]
    return f"{numbers.NBSP}· ".join(held)
