"""Scalars of info, and agents: live account, recording and restart agree with a recount."""

import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from raydash.core.events import EventKind
from raydash.core.history.history import Tier
from raydash.core.records import AgentEpisodes, EpisodeScalars, RolloutChunk, agent_return_name
from raydash.core.spec import RolloutSpec
from raydash.core.states import Ending
from raydash.core.updates import AgentFigures, HistoryDelta, ScalarFigures
from raydash.record.file.database import connect
from raydash.record.read.history_query import history
from raydash.record.read.snapshot import snapshot
from raydash.supervise.pools.pool import Report
from tests.fakes.runs.supervised_run import SupervisedRun
from tests.unit.supervise.keeping.test_past import past_of, run_for, until_published

KEPT = RolloutSpec(orphan_timeout_s=1e6)
SUCCESS, HEIGHT = "is_success", "it's high"


class Named:
    """Adds scalars and agents, computed from the returns, to chunks of simulated workers."""

    def __init__(self) -> None:
        self._steps: dict[tuple[int, int], list[int]] = defaultdict(lambda: [0, 0])

    def __call__(self, report: Report) -> Report:
        if not isinstance(report, RolloutChunk):
            return report
        returns, good = report.episode_return, report.ending != Ending.ERROR
        height = np.where(report.episode_len % 3 == 0, returns / 10, np.nan)
        scalars = np.stack([np.where(good, returns > 20, np.nan), height], axis=1)
        has_second = report.episode_len % 2 == 0
        steps = np.stack([report.episode_len, np.where(has_second, 2, 0)], axis=1).astype(np.int64)
        total = self._steps[report.worker_index, report.incarnation]
        total[0] += int(steps[:, 0].sum()) + 1
        total[1] += int(steps[:, 1].sum())
        second = np.where(has_second, -returns, np.nan)
        return replace(
            report,
            scalars=EpisodeScalars((SUCCESS, HEIGHT), scalars),
            agents=AgentEpisodes(
                ("walker_0", "walker_1"),
                np.stack([returns, second], axis=1),
                steps,
                np.array(total, np.int64),
            ),
        )


@pytest.fixture
def run() -> SupervisedRun:
    run = SupervisedRun(3, rollout=KEPT)
    run.pool.change = Named()
    return run


def recount(run: SupervisedRun) -> dict[str, list[float]]:
    """Collect every value by name from the chunks, in the order of their arrival."""
    found: dict[str, list[float]] = defaultdict(list)
    for chunk in run.pool.chunks:
        for n, name in enumerate(chunk.scalars.names):
            found[name] += [v for v in chunk.scalars.values[:, n].tolist() if not math.isnan(v)]
        for n, agent in enumerate(chunk.agents.names):
            values = chunk.agents.episode_return[:, n].tolist()
            found[agent_return_name(agent)] += [v for v in values if not math.isnan(v)]
    return found


def agent_steps(run: SupervisedRun) -> dict[str, int]:
    newest = {(chunk.worker_index, chunk.incarnation): chunk.agents for chunk in run.pool.chunks}
    steps: dict[str, int] = defaultdict(int)
    for agents in newest.values():
        for name, count in zip(agents.names, agents.num_steps_total.tolist(), strict=True):
            steps[name] += count
    return dict(steps)


def assert_same_scalars(one: ScalarFigures, other: ScalarFigures) -> None:
    assert one.names == other.names
    np.testing.assert_array_equal(one.count, other.count)
    np.testing.assert_allclose(one.mean, other.mean)
    np.testing.assert_allclose(one.recent_mean, other.recent_mean)


def assert_same_agents(one: AgentFigures | None, other: AgentFigures | None) -> None:
    assert one is not None
    assert other is not None
    assert one.names == other.names
    np.testing.assert_array_equal(one.num_steps, other.num_steps)
    np.testing.assert_array_equal(one.num_episodes, other.num_episodes)
    np.testing.assert_allclose(one.episode_return_mean, other.episode_return_mean)
    np.testing.assert_allclose(one.recent_return_mean, other.recent_return_mean)


def scalar_column(delta: HistoryDelta, name: str) -> np.ndarray:
    return delta.scalar_mean[:, delta.scalar_names.index(name)]


def assert_same_curves(one: HistoryDelta, other: HistoryDelta) -> None:
    assert (one.bucket_s, one.first_bucket) == (other.bucket_s, other.first_bucket)
    assert set(one.scalar_names) == set(other.scalar_names)
    for name in one.scalar_names:
        np.testing.assert_allclose(
            scalar_column(one, name), scalar_column(other, name), rtol=1e-5, err_msg=name
        )


def delta_of(tier: Tier) -> HistoryDelta:
    return tier.delta(0)


def test_figures_are_those_of_a_recount(run: SupervisedRun) -> None:
    reader = run.reader()
    run.turns(12.0, reader)
    until_published(run)
    reader.pull()
    found, update = recount(run), reader.latest
    assert update is not None
    assert update.scalars.names == (SUCCESS, HEIGHT)
    for n, name in enumerate(update.scalars.names):
        assert update.scalars.count[n] == len(found[name]) > 20
        assert update.scalars.mean[n] == pytest.approx(np.mean(found[name]))
    agents = update.agents
    assert agents is not None
    assert dict(zip(agents.names, agents.num_steps.tolist(), strict=True)) == agent_steps(run)
    for n, agent in enumerate(agents.names):
        values = found[agent_return_name(agent)]
        assert agents.num_episodes[n] == len(values) > 20
        assert agents.episode_return_mean[n] == pytest.approx(np.mean(values))
    for name, values in found.items():
        curve = reader.whole.scalar(name)
        assert np.nanmin(curve) >= min(values)
        assert np.nanmax(curve) <= max(values)


def test_runs_without_names_have_no_columns_for_them() -> None:
    run = SupervisedRun(2, rollout=KEPT)
    reader = run.reader()
    run.turns(3.0, reader)
    assert reader.latest is not None
    assert reader.latest.scalars.names == ()
    assert reader.latest.agents is None
    assert reader.whole.scalar_mean.shape == (len(reader.whole), 0)


@pytest.mark.parametrize("seconds", [8.0, 620.0])
def test_restart_goes_on_with_what_was_there(
    run: SupervisedRun, tmp_path: Path, seconds: float
) -> None:
    run_for(run, seconds)
    until_published(run)
    past = past_of(tmp_path, run)
    assert_same_scalars(past.ledger.scalars.figures(), run.ledger.scalars.figures())
    assert_same_agents(past.ledger.agents.figures(), run.ledger.agents.figures())
    assert_same_curves(delta_of(past.history.whole), delta_of(run.history.whole))
    assert_same_curves(delta_of(past.history.recent), delta_of(run.history.recent))


def test_restarted_incarnation_adds_to_what_was_there(run: SupervisedRun, tmp_path: Path) -> None:
    run_for(run, 4.0)
    until_published(run)
    ledger = past_of(tmp_path, run).ledger
    before = ledger.agents.num_steps()
    for incarnation in (1, 1, 2):
        chunk = replace(
            run.pool.chunks[-1],
            worker_index=1,
            incarnation=incarnation,
            agents=AgentEpisodes(("walker_1", "new"), num_steps_total=np.array([5, 7])),
        )
        ledger.agents.add_chunk(chunk)
    after = ledger.agents.num_steps()
    assert after == {**before, "walker_1": before["walker_1"] + 10, "new": 14}


@pytest.mark.parametrize("seconds", [8.0, 95.0])
def test_recording_shows_what_was_live(run: SupervisedRun, tmp_path: Path, seconds: float) -> None:
    run_for(run, seconds)
    until_published(run)
    past_of(tmp_path, run)  # writes the file
    shown = snapshot(tmp_path / "run.duckdb")
    assert_same_scalars(shown.scalars, run.ledger.scalars.figures())
    assert_same_agents(shown.agents, run.ledger.agents.figures())
    live = run.history.whole.delta(0)
    for name in live.scalar_names:
        mine, theirs = scalar_column(shown.whole, name), scalar_column(live, name)
        count = min(len(mine), len(theirs))
        np.testing.assert_allclose(mine[:count], theirs[:count], rtol=1e-5)


def test_moment_of_a_recording_knows_what_had_ended_by_then(
    run: SupervisedRun, tmp_path: Path
) -> None:
    run_for(run, 20.0)
    until_published(run)
    past_of(tmp_path, run)
    then = snapshot(tmp_path / "run.duckdb", 10.0)
    with connect(tmp_path / "run.duckdb", read_only=True) as connection:
        count, mean = connection.execute(
            "SELECT count(info[$key]), avg(info[$key]) FROM episodes WHERE end_s <= 10",
            {"key": SUCCESS},
        ).fetchone()
        (first,) = connection.execute(
            "SELECT avg(agent_return) FROM agent_episodes"
            " WHERE end_s <= 10 AND agent = 'walker_0' AND NOT isnan(agent_return)"
        ).fetchone()
    assert then.scalars.count[0] == count > 10
    assert then.scalars.mean[0] == pytest.approx(mean)
    assert then.agents is not None
    assert then.agents.episode_return_mean[0] == pytest.approx(first)


def test_wide_buckets_of_a_recording_are_those_of_its_episodes(
    run: SupervisedRun, tmp_path: Path
) -> None:
    run_for(run, 95.0)
    until_published(run)
    past_of(tmp_path, run)
    with connect(tmp_path / "run.duckdb", read_only=True) as connection:
        kept = connection.execute("SELECT count(*) FROM history_scalars").fetchone()[0]
        assert kept > 0
        found = history(connection, start_s=0.0, end_s=95.0, num_buckets=12)
        rows = connection.execute(
            "SELECT floor(end_s / ?)::INTEGER AS bucket, avg(info[?]) FROM episodes"
            " WHERE info[?] IS NOT NULL GROUP BY bucket ORDER BY bucket",
            [found.bucket_s, HEIGHT, HEIGHT],
        ).fetchall()
    curve = scalar_column(found, HEIGHT)
    for at, mean in rows:
        assert curve[at - found.first_bucket] == pytest.approx(mean, rel=1e-5)


def test_key_that_holds_no_number_is_told_once() -> None:
    run = SupervisedRun(2, rollout=KEPT)
    run.pool.change = lambda report: (
        replace(report, ignored_info=("picture",)) if isinstance(report, RolloutChunk) else report
    )
    reader = run.reader()
    run.turns(5.0, reader)
    ignored = [event for event in reader.events if event.kind is EventKind.INFO_IGNORED]
    assert [event.text for event in ignored] == [
        "info picture holds something else than a number: ignored"
    ]
    again = SupervisedRun(2, rollout=KEPT, events=ignored, incarnation=1)
    again.pool.change = run.pool.change
    other = again.reader()
    again.turns(5.0, other)
    assert [event.kind for event in other.events].count(EventKind.INFO_IGNORED) == 1
