"""Agents and infos of real runs: JSON and recording say what the environments counted."""

import json
import math
from collections import defaultdict
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import raydash
from raydash.core.events import EventKind
from raydash.record.export.document import figures_table
from raydash.record.read.query import open_read_only
from raydash.terminal.commands.summary import Summary
from tests.fakes.engines.terminal import SeenRun, Terminal
from tests.fakes.runs.recount import check_recording


def tables(run: SeenRun) -> list[dict[str, Any]]:
    """The JSON of the last update, and that of the recording."""
    told = Summary(run.spec, run.run_id, run.latest, run.info).table()
    with closing(open_read_only(run.recording)) as connection:
        return [told, figures_table(connection, run.recording)]


@pytest.mark.parametrize("kind", ["Flock", "Queue"])
def test_agents_are_counted_as_the_environments_count_them(
    terminal: Terminal, tmp_path: Path, kind: str
) -> None:
    run = terminal.start_stepping(
        env={"id": f"tests.fakes.user_code.agents:{kind}", "kwargs": {"folder": str(tmp_path)}},
        rollout={"num_workers": 2},
    )
    terminal.wait(lambda: (run.latest.workers.num_episodes > 100).all(), "many episodes of each")
    last = terminal.stop(run)
    assert last.agents is not None

    rows = [
        json.loads(line) for tape in tmp_path.iterdir() for line in tape.read_text().splitlines()
    ]
    figures = last.figures
    assert figures.num_episodes_lifetime == len(rows)
    assert figures.num_episodes_terminated_lifetime == sum(row["terminated"] for row in rows)
    assert figures.num_episodes_truncated_lifetime == sum(row["truncated"] for row in rows)
    unfinished = int(last.workers.partial_len.sum())
    assert figures.num_env_steps_sampled_lifetime == sum(r["len"] for r in rows) + unfinished
    totals = [sum(row["returns"].values()) for row in rows]
    assert figures.episode_return_mean == pytest.approx(sum(totals) / len(totals))

    returns: dict[str, list[float]] = defaultdict(list)
    steps: dict[str, int] = defaultdict(int)
    for row in rows:
        for agent, total in row["returns"].items():
            returns[agent].append(total)
            steps[agent] += row["steps"][agent]
    for table in tables(run):
        assert table["success_rate"] is not None
        assert table["agent_episode_return_mean"] == {
            agent: pytest.approx(sum(values) / len(values)) for agent, values in returns.items()
        }
        agent_steps = table["num_agent_steps_sampled_lifetime"]
        if kind == "Queue":  # one acts at a time
            assert agent_steps == figures.num_env_steps_sampled_lifetime
        else:
            assert sum(steps.values()) <= agent_steps
            assert agent_steps <= sum(steps.values()) + 4 * unfinished
    assert int(last.agents.num_steps.sum()) == tables(run)[0]["num_agent_steps_sampled_lifetime"]
    with raydash.open_run(run.recording) as opened:
        recorded = opened.agent_episodes()
        assert len(recorded) == sum(len(values) for values in returns.values())
        for agent in returns:
            mine = recorded.agent == agent
            assert int(recorded.num_steps[mine].sum()) == steps[agent]
            assert sorted(recorded.agent_return[mine].tolist()) == sorted(returns[agent])
    check_recording(run)


def test_success_and_chosen_keys_are_the_means_of_what_the_environments_said(
    terminal: Terminal, tmp_path: Path
) -> None:
    run = terminal.start_stepping(
        env={"id": "tests.fakes.user_code.goals:GoalEnv", "kwargs": {"folder": str(tmp_path)}},
        rollout={"num_workers": 2, "info_keys": ["score", "picture"]},
    )
    terminal.wait(lambda: (run.latest.workers.num_episodes > 100).all(), "many episodes of each")
    terminal.stop(run)
    lines = [line.split() for tape in tmp_path.iterdir() for line in tape.read_text().splitlines()]
    successes = [float(success) for _, success, _ in lines]
    scores = [float(score) for _, _, score in lines if not math.isnan(float(score))]
    assert run.latest.figures.num_episodes_lifetime == len(lines)
    for table in tables(run):
        assert table["success_rate"] == pytest.approx(sum(successes) / len(successes))
        assert table["info_means"] == {"score": pytest.approx(sum(scores) / len(scores))}
        assert table["num_agent_steps_sampled_lifetime"] is None
        assert table["agent_episode_return_mean"] is None
    with raydash.open_run(run.recording) as opened:
        named = opened.scalars()
        assert sorted(named) == ["is_success", "score"]
        assert named["is_success"].sum() == sum(successes)
    said = [event for event in run.events.values() if event.kind is EventKind.INFO_IGNORED]
    assert [event.detail for event in said] == ["picture"]
