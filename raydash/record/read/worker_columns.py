"""Rebuilds the table of workers of a recorded run as it was at an instant."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from raydash.core.events import Event, EventKind
from raydash.core.history.time_shares import time_shares
from raydash.core.records import Float64
from raydash.core.states import Activity
from raydash.core.updates import WorkerColumns
from raydash.record.read.query import COUNTERS
from raydash.record.read.worker_curves import WorkerCurve

SPAN_S = 10.0
_ACTIVITY_AFTER = {
    EventKind.WORKER_PAUSED: Activity.PAUSED,
    EventKind.WORKER_RESUMED: Activity.STEPPING,
    EventKind.WORKER_STOPPED: Activity.STOPPED,
    EventKind.WORKER_DIED: Activity.RESTARTING,
    EventKind.WORKER_RESTARTED: Activity.STEPPING,
    EventKind.WORKER_FAILED: Activity.FAILED,
}


@dataclass(frozen=True, slots=True)
class WorkerActivity:
    """What a worker did at an instant, as far as events tell, and since when.

    Attributes:
        since_s: On the run's clock.
        num_restarts: The number of its incarnations before this one.
    """

    activity: Activity = Activity.STARTING
    since_s: float = 0.0
    num_restarts: int = 0


def activities_at(
    num_workers: int, events: Iterable[Event], curves: dict[int, WorkerCurve], at_s: float
) -> list[WorkerActivity]:
    """Find out what each of workers 1 to `num_workers` did at an instant.

    `events` are those up to the instant, in order; `curves` are those of workers that have
    reported.
    """
    activity = [Activity.STARTING] * num_workers
    since_s = [0.0] * num_workers
    num_restarts_by_curve = [0] * num_workers
    for index, curve in curves.items():
        if curve.t_s[0] <= at_s:
            activity[index - 1], since_s[index - 1] = Activity.STEPPING, float(curve.t_s[0])
            num_restarts_by_curve[index - 1] = curve.incarnation
    paused_s: float | None = None
    num_restarts_by_event = [0] * num_workers
    for event in events:
        if event.kind is EventKind.RUN_PAUSED:
            paused_s = event.t_s
        elif event.kind is EventKind.RUN_RESUMED:
            paused_s = None
        elif event.worker_index is not None and event.kind in _ACTIVITY_AFTER:
            place = event.worker_index - 1
            num_restarts_by_event[place] += event.kind is EventKind.WORKER_RESTARTED
            activity[place], since_s[place] = _ACTIVITY_AFTER[event.kind], event.t_s
    if paused_s is not None:
        for place in range(num_workers):
            if activity[place] is Activity.STEPPING:
                activity[place], since_s[place] = Activity.PAUSED, max(since_s[place], paused_s)
    return [
        WorkerActivity(
            activity[place],
            since_s[place],
            max(num_restarts_by_curve[place], num_restarts_by_event[place]),
        )
        for place in range(num_workers)
    ]


def after_run_end(worker: WorkerActivity, at_s: float) -> WorkerActivity:
    """Return what a worker does once its run is over: unless it was gone before, it has stopped."""
    if worker.activity in (Activity.FAILED, Activity.STOPPED):
        return worker
    return WorkerActivity(Activity.STOPPED, at_s, worker.num_restarts)


def counter_growth(
    curves: dict[int, WorkerCurve], num_workers: int, at_s: float, span_s: float
) -> Float64:
    """Compute how much counters grew in the last `span_s`, shape (workers, counters)."""
    gained = np.zeros((num_workers, len(COUNTERS)))
    for index, curve in curves.items():
        before, now = curve.at(np.array([at_s - span_s, at_s]))
        gained[index - 1] = now - before
    return gained


def totals_at(curves: dict[int, WorkerCurve], num_workers: int, at_s: float) -> Float64:
    """Compute each worker's counters over all incarnations, shape (workers, counters)."""
    totals = np.zeros((num_workers, len(COUNTERS)))
    for index, curve in curves.items():
        totals[index - 1] = curve.at(np.array([at_s]))[0]
    return totals


def worker_columns(
    activities: list[WorkerActivity],
    curves: dict[int, WorkerCurve],
    returns: dict[int, Float64],
    at_s: float,
    *,
    node: int,
) -> WorkerColumns:
    """Build the table of workers at an instant, one row per worker.

    `curves` are those of workers that have reported, `returns` each worker's returns of its last
    100 episodes, oldest first. `node` is where all ran, -1 if that is not known.
    """
    count = len(activities)
    totals = np.floor(totals_at(curves, count, at_s) + 1e-6).astype(np.int64)
    gained = counter_growth(curves, count, at_s, SPAN_S)
    shares = time_shares(gained).astype(np.float32)
    last_row_s = np.full(count, np.nan)
    for index, curve in curves.items():
        last_row_s[index - 1] = min(curve.last_row_s, at_s)
    last = [returns.get(index, np.empty(0)) for index in range(1, count + 1)]
    is_gone = np.array([not worker.activity.is_alive for worker in activities], bool)
    return WorkerColumns(
        worker_index=np.arange(1, count + 1, dtype=np.int32),
        incarnation=np.array([worker.num_restarts for worker in activities], np.int32),
        activity=np.array([worker.activity for worker in activities], np.uint8),
        activity_age_s=np.array([at_s - worker.since_s for worker in activities], np.float32),
        node=np.where(is_gone, -1, node).astype(np.int32),
        pid=np.zeros(count, np.int32),
        seed=np.zeros(count, np.int64),
        num_env_steps=totals[:, 0].copy(),
        num_episodes=totals[:, 1].copy(),
        num_terminated=totals[:, 2].copy(),
        num_truncated=totals[:, 3].copy(),
        num_error=totals[:, 4].copy(),
        env_steps_per_s=(gained[:, 0] / max(min(SPAN_S, at_s), 1e-9)).astype(np.float32),
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
        data_age_s=(at_s - last_row_s).astype(np.float32),
    )
