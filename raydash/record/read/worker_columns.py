"""The workers of a recorded run as they were at an instant."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from raydash.core.events import Event, EventKind
from raydash.core.history.time_shares import time_shares
from raydash.core.records import EpisodeColumns, Float64
from raydash.core.states import Activity, Ending
from raydash.core.updates import WorkerColumns
from raydash.record.read.episode_sums import NEWEST_PER_WORKER, EpisodeSums
from raydash.record.read.worker_curves import TOTALS, WorkerCurve

SPAN_S = 10.0
_BY_EVENT = {
    EventKind.WORKER_PAUSED: Activity.PAUSED,
    EventKind.WORKER_RESUMED: Activity.STEPPING,
    EventKind.WORKER_STOPPED: Activity.STOPPED,
    EventKind.WORKER_DIED: Activity.RESTARTING,
    EventKind.WORKER_RESTARTED: Activity.STEPPING,
    EventKind.WORKER_FAILED: Activity.FAILED,
}


@dataclass(frozen=True, slots=True)
class Doing:
    """What a worker did at an instant, and since when.

    Attributes:
        activity: As far as events tell.
        since_s: On the run's clock.
        num_restarts: Its lives before this one.
    """

    activity: Activity = Activity.STARTING
    since_s: float = 0.0
    num_restarts: int = 0


def doings(
    num_workers: int, events: Iterable[Event], curves: dict[int, WorkerCurve], at_s: float
) -> list[Doing]:
    """What each of workers 1..N did, by the events up to an instant.

    Args:
        num_workers: N.
        events: Up to then, in order.
        curves: Of the workers that were heard of.
        at_s: The instant.
    """
    activity = [Activity.STARTING] * num_workers
    since_s = [0.0] * num_workers
    restarts = [0] * num_workers
    for index, curve in curves.items():
        if curve.t_s[0] <= at_s:
            activity[index - 1], since_s[index - 1] = Activity.STEPPING, float(curve.t_s[0])
            restarts[index - 1] = curve.incarnation
    paused_s: float | None = None
    counted = [0] * num_workers
    for event in events:
        if event.kind is EventKind.RUN_PAUSED:
            paused_s = event.t_s
        elif event.kind is EventKind.RUN_RESUMED:
            paused_s = None
        elif event.worker_index is not None and event.kind in _BY_EVENT:
            row = event.worker_index - 1
            counted[row] += event.kind is EventKind.WORKER_RESTARTED
            activity[row], since_s[row] = _BY_EVENT[event.kind], event.t_s
    if paused_s is not None:
        for row in range(num_workers):
            if activity[row] is Activity.STEPPING:
                activity[row], since_s[row] = Activity.PAUSED, max(since_s[row], paused_s)
    return [
        Doing(activity[row], since_s[row], max(restarts[row], counted[row]))
        for row in range(num_workers)
    ]


def ended(doing: Doing, at_s: float) -> Doing:
    """The same worker once its run is over."""
    if doing.activity in (Activity.FAILED, Activity.STOPPED):
        return doing
    return Doing(Activity.STOPPED, at_s, doing.num_restarts)


def growth(curves: dict[int, WorkerCurve], num_workers: int, at_s: float, span_s: float) -> Float64:
    """How much each worker's counters grew in the last `span_s`, shape (workers, counters)."""
    grown = np.zeros((num_workers, len(TOTALS)))
    for index, curve in curves.items():
        before, now = curve.at(np.array([at_s - span_s, at_s]))
        grown[index - 1] = now - before
    return grown


def totals_at(curves: dict[int, WorkerCurve], num_workers: int, at_s: float) -> Float64:
    """Each worker's counters over all its lives, shape (workers, counters)."""
    totals = np.zeros((num_workers, len(TOTALS)))
    for index, curve in curves.items():
        totals[index - 1] = curve.at(np.array([at_s]))[0]
    return totals


def worker_columns(
    doing: list[Doing],
    curves: dict[int, WorkerCurve],
    returns: dict[int, Float64],
    at_s: float,
    *,
    node: int,
) -> WorkerColumns:
    """One row per worker.

    Args:
        doing: What each did.
        curves: Counters of those that were heard of.
        returns: Of each worker's last 100 episodes, oldest first.
        at_s: The instant.
        node: Where they ran, -1 if that is not known.
    """
    count = len(doing)
    totals = np.floor(totals_at(curves, count, at_s) + 1e-6).astype(np.int64)
    grown = growth(curves, count, at_s, SPAN_S)
    shares = time_shares(grown).astype(np.float32)
    heard_s = np.full(count, np.nan)
    for index, curve in curves.items():
        heard_s[index - 1] = min(curve.heard_s, at_s)
    last = [returns.get(index, np.empty(0)) for index in range(1, count + 1)]
    over = np.array([not one.activity.is_alive for one in doing], bool)
    return WorkerColumns(
        worker_index=np.arange(1, count + 1, dtype=np.int32),
        incarnation=np.array([one.num_restarts for one in doing], np.int32),
        activity=np.array([one.activity for one in doing], np.uint8),
        activity_age_s=np.array([at_s - one.since_s for one in doing], np.float32),
        node=np.where(over, -1, node).astype(np.int32),
        pid=np.zeros(count, np.int32),
        seed=np.zeros(count, np.int64),
        num_env_steps=totals[:, 0].copy(),
        num_episodes=totals[:, 1].copy(),
        num_terminated=totals[:, 2].copy(),
        num_truncated=totals[:, 3].copy(),
        num_error=totals[:, 4].copy(),
        env_steps_per_s=(grown[:, 0] / max(min(SPAN_S, at_s), 1e-9)).astype(np.float32),
        return_mean=np.array([r.mean() if len(r) else np.nan for r in last], np.float64),
        return_n=np.array([len(r) for r in last], np.int32),
        last_return=np.array([r[-1] if len(r) else np.nan for r in last], np.float64),
        partial_len=np.zeros(count, np.int64),
        partial_return=np.zeros(count),
        step_time_p95_s=np.full(count, np.nan, np.float32),
        share_step=shares[:, 0].copy(),
        share_reset=shares[:, 1].copy(),
        share_policy=shares[:, 2].copy(),
        share_idle=shares[:, 3].copy(),
        cpu_percent=np.full(count, np.nan, np.float32),
        rss_bytes=np.full(count, np.nan),
        data_age_s=(at_s - heard_s).astype(np.float32),
    )


def recent_returns(
    newest: EpisodeColumns, episodes: EpisodeSums, counts: dict[int, int], at_s: float
) -> dict[int, Float64]:
    """Of each worker the returns of its last 100 episodes without error, oldest first.

    Args:
        newest: Of all workers; where they do not reach back far enough, the file is asked.
        episodes: Of that file.
        counts: How many episodes without error each worker has, as far as that is known.
        at_s: Up to when.
    """
    good = newest.ending != Ending.ERROR
    found = {
        index: newest.episode_return[good & (newest.worker_index == index)][-NEWEST_PER_WORKER:]
        for index in counts
    }
    lacking = [
        index for index, n in counts.items() if len(found[index]) < min(n, NEWEST_PER_WORKER)
    ]
    if lacking:
        found |= episodes.newest_returns(at_s, lacking)
    return found
