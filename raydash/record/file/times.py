"""Converts wall times of recordings (ISO 8601, UTC) without ever raising, whatever a file says."""

from datetime import UTC, datetime


def iso_utc(unix_s: float, timespec: str = "seconds") -> str:
    """Format Unix time as ISO 8601; empty for times that no calendar has.

    `timespec` is that of `datetime.isoformat`; `auto` loses nothing.
    """
    try:
        return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec=timespec)
    except (ValueError, OverflowError, OSError):
        return ""


def unix_s(iso: str) -> float | None:
    """Parse ISO 8601 into Unix time; None if it is not a time."""
    try:
        parsed = datetime.fromisoformat(iso)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
