"""Counts a recording independently, and checks that it agrees with the run's last update."""

import math
from contextlib import closing

from raydash.core.states import EndedBy, RunState
from raydash.record.export.document import figures_table
from raydash.record.read import query
from raydash.record.read.details import details
from raydash.record.read.query import open_read_only
from raydash.record.read.snapshot import snapshot
from tests.fakes.engines.terminal import SeenRun

_PER_WORKER = (
    "num_env_steps",
    "num_episodes",
    "num_terminated",
    "num_truncated",
    "num_error",
)


def check_recording(run: SeenRun) -> None:
    """Raise AssertionError unless the recording of an ended run equals its last update."""
    assert run.is_closed
    last, shown = run.latest, run.latest.figures
    recorded = query.figures(run.recording)
    for name in (
        "elapsed_s",
        "num_env_steps_sampled_lifetime",
        "num_episodes_lifetime",
        "num_episodes_terminated_lifetime",
        "num_episodes_truncated_lifetime",
        "num_episodes_error_lifetime",
        "episode_return_mean",
        "episode_return_min",
        "episode_return_max",
        "episode_len_mean",
    ):
        _same(name, getattr(recorded, name), getattr(shown, name))
    assert (recorded.run_id, recorded.state, recorded.ended_by, recorded.cause) == (
        run.run_id,
        RunState(last.state),
        EndedBy(last.ended_by or ""),
        last.cause,
    )
    _check_restarts(run)
    _check_workers(run)
    _check_incarnations(run)
    _check_events(run)


def _check_restarts(run: SeenRun) -> None:
    """Check that `raydash show`, exports and snapshots count restarts as the live run did."""
    live = run.latest.figures.num_restarts
    assert details(run.recording).num_restarts == live
    assert snapshot(run.recording).figures.num_restarts == live
    with closing(open_read_only(run.recording)) as connection:
        assert figures_table(connection, run.recording)["num_restarts"] == live


def _same(name: str, recorded: float, shown: float) -> None:
    if math.isnan(shown):
        assert math.isnan(recorded), (name, recorded, shown)
    elif "mean" in name:  # sums of floats in another order
        assert math.isclose(recorded, shown, rel_tol=1e-9), (name, recorded, shown)
    else:
        assert recorded == shown, (name, recorded, shown)


def _check_workers(run: SeenRun) -> None:
    """Check that workers' totals over all incarnations are those of the table on screen."""
    newest = ", ".join(f"max({name}) AS {name}" for name in _PER_WORKER)
    summed = ", ".join(f"sum({name})" for name in _PER_WORKER)
    with closing(open_read_only(run.recording)) as connection:
        rows = connection.execute(
            f"SELECT worker_index, {summed} FROM (SELECT worker_index, incarnation, {newest}"
            " FROM worker_totals GROUP BY ALL) GROUP BY worker_index"
            " HAVING sum(num_env_steps) + sum(num_episodes) > 0 ORDER BY worker_index"
        ).fetchall()
    workers = run.latest.workers
    shown = [
        (int(index), *(int(getattr(workers, name)[row]) for name in _PER_WORKER))
        for row, index in enumerate(workers.worker_index)
        if workers.num_env_steps[row] or workers.num_episodes[row]
    ]
    assert [tuple(map(int, row)) for row in rows] == shown


def _check_incarnations(run: SeenRun) -> None:
    """Check that there are as many episodes of each incarnation as it counted: none twice."""
    with closing(open_read_only(run.recording)) as connection:
        counted = connection.execute(
            "SELECT worker_index, incarnation, max(num_episodes) FROM worker_totals"
            " GROUP BY ALL HAVING max(num_episodes) > 0 ORDER BY ALL"
        ).fetchall()
        found = connection.execute(
            "SELECT worker_index, incarnation, count(*) FROM episodes GROUP BY ALL ORDER BY ALL"
        ).fetchall()
    assert found == counted


def _check_events(run: SeenRun) -> None:
    with closing(open_read_only(run.recording)) as connection:
        rows = connection.execute(
            'SELECT number, t_s, kind, text, worker_index, detail, "count" FROM events'
            " ORDER BY number"
        ).fetchall()
    assert rows == [
        (e.number, e.t_s, e.kind.value, e.text, e.worker_index, e.detail, e.count) for e in run.of()
    ]
    assert [row[0] for row in rows] == list(range(1, len(rows) + 1))
