"""Converts the run's clock to wall time.

The two meet at one known point in each incarnation of the supervisor: its start.
"""

from bisect import bisect_right

from raydash.record.file.schema import Connection
from raydash.record.file.times import unix_s


class ClockAnchors:
    """Turns seconds of the run's clock into Unix time."""

    def __init__(self, connection: Connection) -> None:
        rows = connection.execute(
            "SELECT started_s, started_utc FROM incarnations ORDER BY started_s"
        ).fetchall()
        if not rows:
            rows = connection.execute("SELECT 0.0, started_utc FROM run").fetchall()
        self._starts = [float(started_s) for started_s, _ in rows]
        self._unix_starts = [unix_s(text) or 0.0 for _, text in rows]

    @property
    def start_unix_s(self) -> float:
        """The start of the run in Unix time."""
        return self._unix_starts[0] - self._starts[0]

    def unix_s(self, t_s: float) -> float:
        """Convert `t_s` of the run's clock to Unix time."""
        incarnation = max(0, bisect_right(self._starts, t_s) - 1)
        return self._unix_starts[incarnation] + t_s - self._starts[incarnation]
