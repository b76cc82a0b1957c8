"""Where time comes from: a function that is passed in, so that tests can turn the hands."""

from collections.abc import Callable

Clock = Callable[[], float]
"""A monotonic clock: seconds from an arbitrary origin, never going back."""
