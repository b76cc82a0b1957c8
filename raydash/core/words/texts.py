"""Formats exceptions and names for faults."""

from collections.abc import Sequence


def one_line(error: BaseException) -> str:
    """Return an exception's text on one line of at most 300 characters."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 300 else text[:299] + "…"


def listed(names: Sequence[str]) -> str:
    """Join names as in `a, b or c`."""
    return " or ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)
