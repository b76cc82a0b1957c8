"""Restores a run's history from its recording: buckets are read, and the rest is replayed.

The whole run was recorded in buckets. Only what came after the newest of them is computed again
from episodes and totals, and the fine resolution only for the last ten minutes. So going on after a
week takes as long as going on after ten minutes.
"""

import logging
from contextlib import closing
from pathlib import Path

import numpy as np

from raydash.core.history.history import BUCKET_S, CAPACITY, History, Tier
from raydash.core.records import Float64
from raydash.record.read.history_query import buckets
from raydash.record.read.named_values import bucket_sums
from raydash.record.read.query import open_read_only
from raydash.record.read.restore import (
    RecordedPast,
    StepsColumns,
    episodes_in_time_order,
    late_episodes,
    worker_steps_over_time,
)

LATE_S = 120.0
"""How far before the end of the recorded buckets to look for steps that they lack: a chunk brings
the steps of all the time that it took."""
REPLAYED_S = 5.0
"""How much before the end is replayed: chunks with steps of that time may have been in flight."""
_ROUNDING_STEPS = 0.5
_RECORDED_SEQ, _REPLAYED_SEQ = 0, 1

log = logging.getLogger(__name__)


def read_history(recorded: RecordedPast, path: Path) -> History:
    """Restore both resolutions as they were at the last commit.

    Steps since the newest recorded bucket are known per commit only, so they are spread over these
    few buckets a little differently than before. Everything else is exact.

    Raises:
        FaultError: if the file can't be read.
    """
    history = History()
    history.widen(max((worker.worker_index for worker in recorded.workers), default=0))
    num_known = 0
    if recorded.history is not None:
        try:
            history.restore(recorded.history)
            num_known = int(recorded.history.endings.sum())
        except ValueError as error:
            log.warning("%s: %s; its history is counted anew", path, error)
    kept_s = history.whole.num_buckets * history.whole.bucket_s
    recent_s = max(0.0, recorded.last_t_s - BUCKET_S * CAPACITY)
    if not kept_s:
        _replay_everything(history, path)
    else:
        _replay_recent(history.recent, path, recent_s, recorded.last_t_s)
        _replay_rest(history.whole, path, kept_s, num_known, recorded)
    for tier in (history.recent, history.whole):
        tier.pass_time(recorded.last_t_s, _REPLAYED_SEQ)
        _restore_scalars(tier, path)
    return history


def _restore_scalars(tier: Tier, path: Path) -> None:
    """Restore named scalars of all buckets by query, because few runs have any."""
    end_s = tier.num_buckets * tier.bucket_s
    with closing(open_read_only(path)) as connection:
        for sums in bucket_sums(
            connection, tier.bucket_s, tier.first_bucket * tier.bucket_s, end_s
        ):
            names = np.array(sums.name, object)
            for name in dict.fromkeys(sums.name):
                rows = names == name
                tier.restore_scalar(
                    name, sums.bucket[rows], sums.n[rows], sums.total[rows], _REPLAYED_SEQ
                )


def _replay_everything(history: History, path: Path) -> None:
    for episodes in episodes_in_time_order(path):
        history.add_episodes(episodes, _REPLAYED_SEQ)
    for steps in worker_steps_over_time(path):
        for t_s, since_s, index, count in _rows(steps):
            history.add_steps(index, since_s, t_s, count, _REPLAYED_SEQ)


def _replay_recent(recent: Tier, path: Path, from_s: float, until_s: float) -> None:
    """Restore the last minutes, by query except for the last seconds, which may still change."""
    first, replayed = int(from_s // BUCKET_S), max(0, int((until_s - REPLAYED_S) // BUCKET_S))
    if replayed > first:
        with closing(open_read_only(path)) as connection:
            recent.begin_with(buckets(connection, BUCKET_S, first, replayed - 1))
    else:
        replayed = first
        recent.pass_time(from_s, _REPLAYED_SEQ)
    start_s = replayed * BUCKET_S
    for episodes in episodes_in_time_order(path, from_s=start_s):
        recent.add_episodes(episodes, _REPLAYED_SEQ)
    for steps in worker_steps_over_time(path, from_s=start_s):
        for t_s, since_s, index, count in _rows(steps):
            # The query's buckets already hold the part of a span that lies before `start_s`.
            share = 1.0 if since_s >= start_s else (t_s - start_s) / (t_s - since_s)
            recent.add_steps(index, max(since_s, start_s), t_s, count * share, _REPLAYED_SEQ)


def _replay_rest(
    whole: Tier, path: Path, kept_s: float, num_known: int, recorded: RecordedPast
) -> None:
    """Add what the recorded buckets lack: everything after them, and what arrived late."""
    late = late_episodes(path, until_s=kept_s, num_known=num_known)
    whole.add_episodes(late, _REPLAYED_SEQ)
    lacking = _lacking_steps(whole, recorded)
    for episodes in episodes_in_time_order(path, from_s=kept_s):
        whole.add_episodes(episodes, _REPLAYED_SEQ)
    parts = list(worker_steps_over_time(path, from_s=kept_s - LATE_S))
    for t_s, since_s, index, count in reversed([row for part in parts for row in _rows(part)]):
        if lacking[index - 1] <= _ROUNDING_STEPS:
            continue
        added = min(float(count), lacking[index - 1])
        lacking[index - 1] -= added
        # What the buckets have of a span is its beginning, so the rest lies after `kept_s`.
        start_s = since_s if added == count else min(max(since_s, kept_s), t_s)
        whole.add_steps(index, start_s, t_s, round(added), _REPLAYED_SEQ)


def _lacking_steps(whole: Tier, recorded: RecordedPast) -> Float64:
    """Return, per worker, the steps that are in its totals but not in the recorded buckets."""
    counted = whole.worker_steps_total()
    lacking = np.zeros(len(counted))
    for worker in recorded.workers:
        row = worker.worker_index - 1
        lacking[row] = worker.totals.num_env_steps - counted[row]
    return lacking


def _rows(steps: StepsColumns) -> list[tuple[float, float, int, int]]:
    return list(
        zip(
            steps.t_s.tolist(),
            steps.since_s.tolist(),
            steps.worker_index.tolist(),
            steps.num_env_steps.tolist(),
            strict=True,
        )
    )
