"""Reads a table in pieces, so that it need not fit into memory."""

from collections.abc import Iterator
from typing import Any

from raydash.record.file.schema import Connection

BATCH = 100_000


def batches(connection: Connection, table: str, columns: str) -> Iterator[list[tuple[Any, ...]]]:
    """Yield all rows of a table in batches, in the order in which they were written.

    `columns` is SQL, what to select. Row ids of a recording have no gaps.
    """
    (last,) = connection.execute(f'SELECT coalesce(max(rowid), -1) FROM "{table}"').fetchone()
    for first in range(0, last + 1, BATCH):
        rows = connection.execute(
            f'SELECT {columns} FROM "{table}" WHERE rowid BETWEEN ? AND ? ORDER BY rowid',
            [first, first + BATCH - 1],
        ).fetchall()
        if rows:
            yield rows
