"""What each worker counted, over all its lives."""

from dataclasses import fields

from raydash.core.records import WorkerTotals

_NAMES = tuple(item.name for item in fields(WorkerTotals))
_NEWEST = ", ".join(f"max({name}) AS {name}" for name in _NAMES)
_SUMS = ", ".join(
    f"sum({name})::{'DOUBLE' if name.endswith('_s') else 'BIGINT'} AS {name}" for name in _NAMES
)

WORKERS = (
    f"SELECT worker_index, max(incarnation) AS incarnation, {_SUMS}"
    f" FROM (SELECT worker_index, incarnation, {_NEWEST} FROM worker_totals GROUP BY ALL)"
    " GROUP BY worker_index ORDER BY worker_index"
)
"""SQL: one row per worker, with the names of `WorkerTotals`."""
