"""What a tile says, and how its figures and parts are put into words. Pure."""

from dataclasses import dataclass

from raydash.ui.kit import words


@dataclass(frozen=True, slots=True)
class TileText:
    """What a tile says.

    Attributes:
        value: The figure.
        small: Span, n and the like; from the longest wording to the shortest.
        tone: `text`, `muted`, `good`, `warn` or `bad`: the theme's colour of the value.
    """

    value: str
    small: tuple[str, ...]
    tone: str = "text"


def steady(value: float) -> str:
    """A mean with one decimal always, so that it does not change its width as it moves."""
    return (
        f"{value:.1f}".replace("-", words.MINUS)
        if 10 <= abs(value) < 1000
        else words.decimal(value)
    )


def joined(*parts: str) -> str:
    """Parts that hold together, with breaks after the dots; long ones may break inside."""
    held = [part if len(part) > 24 else part.replace(" ", words.NBSP) for part in parts if part]
    return f"{words.NBSP}· ".join(held)
