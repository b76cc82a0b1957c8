"""A clock whose hands a test turns."""

from collections.abc import Callable
from pathlib import Path


class FakeClock:
    """Monotonic seconds that pass only when told to; call it for the time.

    Attributes:
        now_s: What it shows.
    """

    def __init__(self, now_s: float = 1000.0) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        assert seconds >= 0, "a monotonic clock never goes back"
        self.now_s += seconds


def clock_of_a_hang(note: Path) -> Callable[[], float]:
    """A clock that stands until this file is there (`HangingEnv` makes it), and is far on then."""
    return lambda: 1e6 if note.exists() else 0.0
