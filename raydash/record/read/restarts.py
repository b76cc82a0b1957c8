"""How many workers of a recorded run were made anew: the one place that says so."""

import math

from raydash.core.events import EventKind
from raydash.record.file.schema import Connection


def num_restarts(connection: Connection, until_s: float = math.inf) -> int:
    """Workers made anew after a death or on demand, as the live run counted them.

    Workers that came back because of a change of scale, or with another life of the supervisor, are
    no restarts, so the incarnations of the workers do not tell.

    Args:
        connection: To a recording of any schema.
        until_s: On the run's clock.
    """
    newest = connection.execute(
        "FROM commits WHERE t_s <= ? ORDER BY number DESC LIMIT 1", [until_s]
    )
    names = [column[0] for column in newest.description]
    row = newest.fetchone()
    known = dict(zip(names, row, strict=True)).get("num_restarts") if row is not None else None
    if known is not None:
        return int(known)
    # Schema 1 did not count them.
    (count,) = connection.execute(
        "SELECT count(*) FROM events WHERE kind = ? AND t_s <= ?",
        [EventKind.WORKER_RESTARTED.value, until_s],
    ).fetchone()
    return int(count)
