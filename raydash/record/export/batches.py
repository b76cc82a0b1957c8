"""Reading a table in pieces, so that its size is no matter."""

from collections.abc import Iterator
from typing import Any

from raydash.record.file.schema import Connection

BATCH = 100_000


def batches(connection: Connection, table: str, columns: str) -> Iterator[list[tuple[Any, ...]]]:
    """All rows, in the order in which they were written; row ids of a recording have no gaps.

    Args:
        connection: To the recording.
        table: One of its tables.
        columns: SQL, what to select.
    """
    (last,) = connection.execute(f'SELECT coalesce(max(rowid), -1) FROM "{table}"').fetchone()
    for first in range(0, last + 1, BATCH):
        rows = connection.execute(
            f'SELECT {columns} FROM "{table}" WHERE rowid BETWEEN ? AND ? ORDER BY rowid',
            [first, first + BATCH - 1],
        ).fetchall()
        if rows:
            yield rows
