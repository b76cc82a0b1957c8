"""Wall times as recordings have them: ISO 8601 in UTC. Never raises, whatever a file says."""

from datetime import UTC, datetime


def iso_utc(unix_s: float) -> str:
    """Unix time as ISO 8601; empty for times that no calendar has."""
    try:
        return datetime.fromtimestamp(unix_s, UTC).isoformat(timespec="seconds")
    except (ValueError, OverflowError, OSError):
        return ""


def unix_s(iso: str) -> float | None:
    """The other way round; None if it is no time."""
    try:
        parsed = datetime.fromisoformat(iso)
        return (parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return None
