"""How workers spend their time, from the growth of their counters."""

import numpy as np

from raydash.core.records import Float64, WorkerTotals

_COLUMNS = tuple(WorkerTotals.__slots__)
_STEP_S, _RESET_S, _POLICY_S, _IDLE_S, _BUSY_S = (
    _COLUMNS.index(f"{part}_time_s") for part in ("step", "reset", "policy", "idle", "busy")
)


def time_shares(grown: Float64) -> Float64:
    """Shares of step, reset, policy and idle time, shape (rows, 4).

    `grown` is by how much each counter grew: shape (rows, counters), in the order of
    `WorkerTotals`.
    """
    parts = grown[:, [_STEP_S, _RESET_S, _POLICY_S, _IDLE_S]]
    whole = np.maximum(grown[:, _BUSY_S] + grown[:, _IDLE_S], parts.sum(axis=1))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(whole[:, None] > 0, parts / whole[:, None], 0.0)
