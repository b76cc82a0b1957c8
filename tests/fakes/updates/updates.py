"""Handmade updates of a run, as a supervisor would send them: CartPole while it is learnt.

Deterministic: the same arguments give the same arrays, and a longer run begins with a shorter
one's buckets, so that a store can be fed a snapshot and then update after update. Anything else a
test needs is one `dataclasses.replace` away. With `troubles` (the default) and 4 workers or more,
one worker fails and is restarted at 390 s, one is paused at 540 s and one is stalled from 586 s on.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from raydash.core.events import Event, EventKind
from raydash.core.history.series import HistorySeries
from raydash.core.messages import PROTOCOL_VERSION
from raydash.core.records import EpisodeColumns
from raydash.core.spec import RolloutSpec, RunSpec
from raydash.core.states import Activity, Ending, RunState
from raydash.core.updates import (
    HistoryDelta,
    RunFigures,
    RunInfo,
    RunUpdate,
    SupervisorHealth,
    WorkerColumns,
)
from raydash.link.store import RunStore, Store

RUN_ID = "20261122-101500-cartpole-v1-3f9a"
BUCKET_S = 0.5
RETAINED_BUCKETS = 1200
LEARNT_AFTER_S = 600.0
Number = TypeVar("Number", bound=np.generic)


@dataclass(frozen=True, slots=True)
class Troubles:
    """The index of the worker with each kind of trouble; 0 if there is none."""

    restarted: int = 0
    paused: int = 0
    stalled: int = 0


RESTARTED_AT_S, PAUSED_AT_S, STALLED_AT_S = 390.0, 540.0, 586.0


def troubles_of(num_workers: int) -> Troubles:
    """Workers 23, 7 and 41 have trouble, or ones with smaller indices in a smaller run."""
    if num_workers < 4:
        return Troubles()
    if num_workers < 41:
        return Troubles(restarted=3, paused=2, stalled=num_workers)
    return Troubles(restarted=23, paused=7, stalled=41)


@dataclass(frozen=True, slots=True)
class _History:
    """All buckets of a run, in the columns of `HistoryDelta`."""

    worker_steps: NDArray[np.float32]
    worker_return_mean: NDArray[np.float32]
    return_mean: NDArray[np.float64]
    spread: NDArray[np.float64]
    kinds: NDArray[np.int64]

    def delta(self, first: int, end: int, oldest: int, every: int) -> HistoryDelta:
        """Buckets `first` to `end`, each made of `every` fine ones."""
        rows = slice(first * every, end * every)

        def joined(column: NDArray[Number], how: Callable[..., object]) -> NDArray[Number]:
            parts = column[rows].reshape(end - first, every, *column.shape[1:])
            return np.asarray(how(parts, axis=1))

        kinds = joined(self.kinds, np.sum)
        mean = joined(self.return_mean, np.mean).astype(np.float64)
        spread = joined(self.spread, np.mean).astype(np.float64)
        return_n = kinds[:, :3].sum(axis=1)
        mean = np.where(return_n > 0, mean, np.nan)
        return HistoryDelta(
            bucket_s=BUCKET_S * every,
            first_bucket=first,
            oldest_bucket=oldest,
            num_env_steps=joined(self.worker_steps, np.sum).sum(axis=1).astype(np.float64),
            num_terminated=kinds[:, Ending.TERMINATED],
            num_truncated=kinds[:, Ending.TRUNCATED],
            num_both=kinds[:, Ending.BOTH],
            num_error=kinds[:, Ending.ERROR],
            return_n=return_n,
            return_mean=mean,
            return_min=np.maximum(mean - 2.2 * spread, 8.0),
            return_max=np.minimum(mean + 3.0 * spread, 500.0),
            return_p10=np.maximum(mean - 1.3 * spread, 9.0),
            return_p90=np.minimum(mean + 1.6 * spread, 500.0),
            worker_steps=joined(self.worker_steps, np.sum).astype(np.float32),
            worker_return_mean=joined(self.worker_return_mean, np.mean).astype(np.float32),
        )


@lru_cache(maxsize=8)
def _history(
    num_workers: int, num_buckets: int, seed: int, learns: bool, troubles: Troubles
) -> _History:
    streams = [np.random.default_rng((seed, number)) for number in range(5)]
    t_s = (np.arange(num_buckets) + 0.5) * BUCKET_S
    skill = 22.0 + (170.0 / (1.0 + np.exp(-(t_s - 0.5 * LEARNT_AFTER_S) / 70.0)) if learns else 0.0)
    shape = (num_buckets, num_workers)
    pace = 3300.0 + 350.0 * np.sin(np.arange(num_workers) / max(num_workers, 8) * 7.0)
    worker_steps = BUCKET_S * pace * (1.0 + 0.07 * streams[0].standard_normal(shape))
    worker_steps[: min(3, num_buckets)] *= 0.2
    silent = np.zeros(shape, bool)
    for worker, since_s, until_s in (
        (troubles.paused, PAUSED_AT_S, np.inf),
        (troubles.stalled, STALLED_AT_S, np.inf),
        (troubles.restarted, RESTARTED_AT_S - 6.0, RESTARTED_AT_S),
    ):
        if worker:
            silent[(t_s >= since_s) & (t_s < until_s), worker - 1] = True
    worker_steps[silent] = 0.0
    walk = np.cumsum(streams[1].standard_normal(num_buckets)) * 0.5
    mean = np.maximum(skill + 0.04 * skill * np.sin(walk), 9.0)
    spread = 0.35 * mean * (1.0 + 0.08 * streams[2].standard_normal(num_buckets))
    worker_mean = mean[:, None] * (1.0 + 0.15 * streams[3].standard_normal(shape))
    worker_mean[silent] = np.nan
    episodes = streams[4].poisson(np.maximum(worker_steps.sum(axis=1) / mean, 0.0))
    truncated = (episodes * np.clip((skill - 120.0) / 350.0, 0.0, 1.0)).astype(np.int64)
    kinds = np.zeros((num_buckets, 4), np.int64)
    kinds[:, Ending.TRUNCATED] = truncated
    kinds[:, Ending.BOTH] = truncated // 20
    kinds[:, Ending.TERMINATED] = np.maximum(episodes - truncated - truncated // 20, 0)
    failing = np.abs(t_s - (RESTARTED_AT_S - 8.0)) < 3.0
    if troubles.restarted:
        kinds[failing, Ending.ERROR] = 1 + episodes[failing] // 8
    return _History(
        worker_steps.astype(np.float32), worker_mean.astype(np.float32), mean, spread, kinds
    )


def make_update(
    num_workers: int = 8,
    seq: int = 1,
    since_seq: int = 0,
    t_s: float = 600.0,
    seed: int = 0,
    *,
    state: RunState = RunState.RUNNING,
    learns: bool = True,
    troubles: bool = True,
    episodes: bool = True,
) -> RunUpdate:
    """One update; a snapshot when `since_seq` is 0, else the last four buckets of each series.

    Args:
        num_workers: Number of workers, 1 or more.
        seq: Sequence number of the state to which the update leads.
        since_seq: Sequence number of the state from which it starts.
        t_s: The run's clock.
        seed: Seed of all noise.
        state: State of the run.
        learns: Returns grow from 22 to 190 within 10 minutes; otherwise they stay at 22.
        troubles: Some workers have the troubles that the module describes.
        episodes: False: no episode finished yet, whatever the clock says.
    """
    trouble = troubles_of(num_workers) if troubles else Troubles()
    # An even number of buckets, so that the whole-run series (of twice the width) has them all.
    num_buckets = max(2, 2 * int(np.ceil(t_s / BUCKET_S / 2)))
    history = _history(num_workers, num_buckets, seed, learns, trouble)
    if not episodes:
        history = _History(
            history.worker_steps,
            np.full_like(history.worker_return_mean, np.nan),
            history.return_mean,
            history.spread,
            np.zeros_like(history.kinds),
        )
    oldest = max(0, num_buckets - RETAINED_BUCKETS)
    is_snapshot = since_seq == 0
    recent_from = oldest if is_snapshot else max(oldest, num_buckets - 4)
    whole_end = num_buckets // 2
    whole_from = 0 if is_snapshot else max(0, whole_end - 2)
    return RunUpdate(
        run_id=RUN_ID,
        seq=seq,
        since_seq=since_seq,
        t_s=t_s,
        state=state,
        ended_by=None,
        cause="",
        paused=state is RunState.PAUSED,
        num_workers=num_workers,
        info=make_info() if is_snapshot else None,
        spec=make_spec(num_workers, seed) if is_snapshot else None,
        figures=_figures(history, t_s),
        workers=_workers(history, trouble, t_s, seed, state),
        nodes=("10.0.0.11", "10.0.0.12"),
        pending={},
        episodes=EpisodeColumns(),
        num_episodes_omitted=0,
        recent=history.delta(recent_from, num_buckets, oldest, 1),
        whole=history.delta(whole_from, whole_end, 0, 2),
        events=_events(trouble, num_workers, t_s) if is_snapshot else (),
        health=SupervisorHealth(
            pid=4711, tick_ms=2.1, results_per_s=60.0, recording_bytes=41 * 2**20, num_readers=1
        ),
    )


def make_info() -> RunInfo:
    """What does not change during the run."""
    return RunInfo(
        run_id=RUN_ID,
        owner="ada@bench",
        started_utc="2026-11-22T10:15:00+00:00",
        recording=f"/home/ada/.local/share/raydash/{RUN_ID}/run.duckdb",
        log_dir=f"/home/ada/.local/share/raydash/{RUN_ID}/logs",
        node="10.0.0.11",
        raydash_version="0.1.0",
        protocol_version=PROTOCOL_VERSION,
    )


def make_spec(num_workers: int, seed: int = 0) -> RunSpec:
    """The spec of CartPole-v1 with this number of workers."""
    return RunSpec(name="cartpole-random", rollout=RolloutSpec(num_workers=num_workers, seed=seed))


def make_store_with_run(
    num_workers: int = 8, t_s: float = 600.0, seed: int = 0, **changes: bool | RunState
) -> tuple[Store, RunStore]:
    """A store that shows one run, whose snapshot it has just received.

    Args:
        num_workers: Number of workers, 1 or more.
        t_s: The run's clock.
        seed: Seed of all noise.
        changes: Keyword-only arguments of `make_update`.
    """
    store = Store(clock=lambda: t_s)
    store.receive(make_update(num_workers, t_s=t_s, seed=seed, **changes))  # type: ignore[arg-type]
    store.show_run(RUN_ID)
    run = store.shown
    assert run is not None
    return store, run


def make_series(num_workers: int = 8, t_s: float = 600.0) -> HistorySeries:
    """Only the fine history of the run that `make_update` describes."""
    series = HistorySeries()
    series.apply(make_update(num_workers, t_s=t_s).recent)
    return series


def _figures(history: _History, t_s: float) -> RunFigures:
    kinds = history.kinds.sum(axis=0)
    total_steps = history.worker_steps.sum(axis=1)

    def per_s(span_s: float) -> float:
        rows = total_steps[-int(span_s / BUCKET_S) :]
        return float(rows.sum() / (len(rows) * BUCKET_S))

    nan = float("nan")
    any_ended = bool(kinds[:3].sum())
    mean = float(history.return_mean[-1])
    return RunFigures(
        elapsed_s=t_s,
        num_env_steps_sampled_lifetime=int(total_steps.sum()),
        num_episodes_lifetime=int(kinds.sum()),
        num_episodes_terminated_lifetime=int(kinds[Ending.TERMINATED] + kinds[Ending.BOTH]),
        num_episodes_truncated_lifetime=int(kinds[Ending.TRUNCATED] + kinds[Ending.BOTH]),
        num_episodes_error_lifetime=int(kinds[Ending.ERROR]),
        num_episodes_both_lifetime=int(kinds[Ending.BOTH]),
        episode_return_mean=float(history.return_mean.mean()) if any_ended else nan,
        episode_return_min=9.0 if any_ended else nan,
        episode_return_max=500.0 if any_ended else nan,
        episode_len_mean=float(history.return_mean.mean()) if any_ended else nan,
        recent_return_mean=mean if any_ended else nan,
        recent_return_min=round(mean * 0.6) if any_ended else nan,
        recent_return_max=min(500.0, round(mean * 2.7)) if any_ended else nan,
        recent_len_mean=mean if any_ended else nan,
        recent_n=100 if any_ended else 0,
        env_steps_per_s_1s=per_s(1),
        env_steps_per_s_10s=per_s(10),
        env_steps_per_s_60s=per_s(60),
        episodes_per_s_10s=float(history.kinds[-20:].sum() / 10.0),
        share_step=0.81,
        share_reset=0.05,
        share_policy=0.12,
        share_idle=0.02,
        num_restarts=int(t_s >= RESTARTED_AT_S),
    )


def _workers(
    history: _History, trouble: Troubles, t_s: float, seed: int, state: RunState
) -> WorkerColumns:
    count: int = history.worker_steps.shape[1]
    rng = np.random.default_rng((seed, 99))
    index = np.arange(1, count + 1, dtype=np.int32)
    steps = history.worker_steps.sum(axis=0)
    recent = history.worker_steps[-20:].mean(axis=0) / BUCKET_S
    general = {RunState.STARTING: Activity.STARTING, RunState.PAUSED: Activity.PAUSED}
    usual = Activity.STOPPED if state.is_over else general.get(state, Activity.STEPPING)
    activity = np.full(count, usual, np.uint8)
    age_s = np.full(count, 12.0, np.float32)
    data_age_s = np.full(count, 0.1, np.float32)
    if state is RunState.RUNNING and t_s >= PAUSED_AT_S:
        activity[index == trouble.paused] = Activity.PAUSED
        age_s[index == trouble.paused] = t_s - PAUSED_AT_S
    if state is RunState.RUNNING and t_s >= STALLED_AT_S:
        activity[index == trouble.stalled] = Activity.STALLED
        age_s[index == trouble.stalled] = t_s - STALLED_AT_S
        data_age_s[index == trouble.stalled] = t_s - STALLED_AT_S
    was_restarted = (index == trouble.restarted) & (t_s >= RESTARTED_AT_S)
    has_ended = bool(history.kinds.sum())
    num_episodes = (steps / 60.0).astype(np.int64) if has_ended else np.zeros(count, np.int64)
    num_truncated = num_episodes // 50
    mean = float(history.return_mean[-1]) if has_ended else float("nan")
    return WorkerColumns(
        worker_index=index,
        incarnation=np.where(was_restarted, 1, 0).astype(np.int32),
        activity=activity,
        activity_age_s=age_s,
        node=np.where(index % 2 == 0, 1, 0).astype(np.int32),
        pid=(48_000 + index).astype(np.int32),
        seed=rng.integers(0, 2**32, count).astype(np.int64),
        num_env_steps=steps.astype(np.int64),
        num_episodes=num_episodes,
        num_terminated=num_episodes - num_truncated,
        num_truncated=num_truncated,
        num_error=np.where(was_restarted, 13, 0).astype(np.int64),
        env_steps_per_s=recent.astype(np.float32),
        return_mean=mean * (1.0 + 0.04 * rng.standard_normal(count)),
        return_n=np.minimum(num_episodes, 100).astype(np.int32),
        last_return=(mean * (1.0 + 0.4 * rng.standard_normal(count)).clip(0.1)).round(),
        partial_len=rng.integers(0, 200, count).astype(np.int64),
        partial_return=rng.integers(0, 200, count).astype(np.float64),
        step_time_p95_s=np.full(count, 9.8e-6, np.float32),
        share_step=np.full(count, 0.81, np.float32),
        share_reset=np.full(count, 0.05, np.float32),
        share_policy=np.full(count, 0.12, np.float32),
        share_idle=np.full(count, 0.02, np.float32),
        cpu_percent=(98.0 + rng.standard_normal(count)).astype(np.float32),
        rss_bytes=np.full(count, 112.0 * 2**20),
        data_age_s=data_age_s,
    )


def _events(trouble: Troubles, num_workers: int, t_s: float) -> tuple[Event, ...]:
    events = [Event(1, 0.0, EventKind.RUN_STARTED, f"run started with {num_workers} workers")]
    if trouble.restarted and t_s >= RESTARTED_AT_S:
        worker, at_s = trouble.restarted, RESTARTED_AT_S
        cause = "RuntimeError: the simulated motor burnt out"
        kinds = EventKind
        events += [
            Event(2, at_s - 8, kinds.ENV_ERROR, f"worker {worker}: {cause}", worker, cause, 13),
            Event(3, at_s - 6, kinds.WORKER_DIED, f"worker {worker} died", worker, cause),
            Event(4, at_s, kinds.WORKER_RESTARTED, f"worker {worker} restarted", worker, cause),
        ]
    if trouble.paused and t_s >= PAUSED_AT_S:
        worker = trouble.paused
        text = f"worker {worker} paused"
        events.append(Event(5, PAUSED_AT_S, EventKind.WORKER_PAUSED, text, worker))
    return tuple(events)
