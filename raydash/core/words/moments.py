"""Wall times in words, whatever files and clocks say. Pure: the present is an argument."""

from datetime import UTC, datetime, tzinfo

from raydash.core.words import spans
from raydash.core.words.numbers import NBSP, UNKNOWN

_MONTHS = (
    *("Jan", "Feb", "Mar", "Apr", "May", "Jun"),
    *("Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
)


def moment(utc: str, now: datetime) -> str:
    """A time in local time, without what it shares with now: `22 Nov 12:50`, `5 Jan 2025 09:03`.

    Args:
        utc: The time in ISO 8601.
        now: The present, with the local time zone.
    """
    then = _parsed(utc, now.tzinfo)
    if then is None:
        return UNKNOWN
    year = "" if then.year == now.year else f"{NBSP}{then.year}"
    return f"{then.day}{NBSP}{_MONTHS[then.month - 1]}{year}{NBSP}{then:%H:%M}"


def dated(utc: str, zone: tzinfo | None = None) -> str:
    """A time in full, for what is read or sorted later: `2025-01-05 09:03`.

    `zone` is the time zone of the words; None means this machine's.
    """
    then = _parsed(utc, zone)
    return UNKNOWN if then is None else f"{then:%Y-%m-%d %H:%M}"


def since(utc: str, now: datetime) -> str:
    """How long ago a time was: `14 s ago`; `just now` if the clock was set back since."""
    then = _parsed(utc, UTC)
    return UNKNOWN if then is None else spans.ago(max(0.0, (now - then).total_seconds()))


def _parsed(utc: str, zone: tzinfo | None) -> datetime | None:
    """Parse ISO 8601; None if it is no time, or one that the calendar of `zone` does not have."""
    try:
        then = datetime.fromisoformat(utc)
        return (then if then.tzinfo else then.replace(tzinfo=UTC)).astimezone(zone)
    except (ValueError, OverflowError, OSError):
        return None
