"""The type of a clock. Code that needs the time is given one, so that tests can set the time."""

from collections.abc import Callable

Clock = Callable[[], float]
"""A monotonic clock: seconds since an arbitrary origin, never going back."""
