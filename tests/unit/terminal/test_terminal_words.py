"""What a terminal run says while it goes on and at its end."""

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typing_extensions import override

from raydash.core.faults import Fault
from raydash.core.messages import ClusterStatus
from raydash.core.spec import RunSpec, StopSpec
from raydash.core.states import ClusterPhase, EndedBy, RunState
from raydash.core.updates import AgentFigures, RunFigures, RunUpdate, ScalarFigures
from raydash.terminal.commands.options import spec_from_options
from raydash.terminal.commands.progress import ProgressLine, cluster_line, run_line
from raydash.terminal.commands.summary import Summary, named_lines
from tests.fakes.clock import FakeClock
from tests.fakes.updates.updates import make_info, make_update


class Terminal(io.StringIO):
    @override
    def isatty(self) -> bool:
        return True


@pytest.fixture
def update() -> RunUpdate:
    return make_update(2, t_s=20.0)


def test_line_is_written_every_two_seconds_without_a_terminal() -> None:
    clock, stream = FakeClock(0.0), io.StringIO()
    progress = ProgressLine(stream, clock)
    for tenth in range(0, 50):
        clock.now_s = tenth / 10
        progress.show(f"at {clock.now_s}", "running")
    assert stream.getvalue() == "at 0.0\nat 2.0\nat 4.0\n"


def test_new_topic_is_said_at_once() -> None:
    stream = io.StringIO()
    progress = ProgressLine(stream, FakeClock(0.0))
    progress.show("launching", "cluster")
    progress.show("running", "run")
    assert stream.getvalue() == "launching\nrunning\n"


def test_terminal_line_is_rewritten_and_taken_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "10")
    clock, stream = FakeClock(0.0), Terminal()
    progress = ProgressLine(stream, clock)
    progress.show("12.3 s  4 567 steps  too long")
    clock.now_s = 1.0
    progress.show("next")
    progress.print_line("a note that stays")
    progress.end()
    assert stream.getvalue() == "\r\x1b[K12.3 s\r\x1b[Knext\r\x1b[Ka note that stays\n"


def test_nobody_listening_does_not_disturb_the_run() -> None:
    stream = io.StringIO()
    progress = ProgressLine(stream, FakeClock(0.0))
    stream.close()
    progress.print_line("hello?")


def test_cluster_line_tells_phase_and_seconds() -> None:
    status = ClusterStatus(ClusterPhase.LAUNCHING, "starting Ray: loading it", 2.13)
    assert cluster_line(status) == "cluster launching  2.1 s  starting Ray: loading it"


def test_run_line_tells_steps_before_the_first_episode(update: RunUpdate) -> None:
    figures = RunFigures(elapsed_s=1.0, num_env_steps_sampled_lifetime=812)
    words = run_line(replace(update, figures=figures))
    assert "812 steps" in words
    assert "no episode finished yet" in words
    assert "nan" not in words


def test_summary_holds_null_where_there_is_no_figure(update: RunUpdate) -> None:
    figures = RunFigures(num_env_steps_sampled_lifetime=0)
    table = json.loads(Summary(RunSpec(), "r", replace(update, figures=figures)).json())
    assert table["episode_return_mean"] is None
    assert table["env_steps_per_s"] is None
    assert table["num_episodes_lifetime"] == 0


def test_throughput_is_steps_over_elapsed_time(update: RunUpdate) -> None:
    figures = RunFigures(elapsed_s=4.0, num_env_steps_sampled_lifetime=1000)
    table = Summary(RunSpec(), "r", replace(update, figures=figures)).table()
    assert table["env_steps_per_s"] == 250.0


def test_summary_for_people_tells_how_the_run_ended(update: RunUpdate) -> None:
    over = replace(update, state=RunState.STOPPED, ended_by=EndedBy.SIGNAL)
    text = Summary(RunSpec(), "r-1", over, make_info()).text()
    assert text.splitlines()[0].split() == ["run", "r-1", "stopped", "by", "signal"]
    assert make_info().recording in text


@pytest.mark.parametrize(("count", "words"), [(1, "1 worker, "), (2, "2 workers, ")])
def test_summary_counts_workers_in_words(update: RunUpdate, count: int, words: str) -> None:
    text = Summary(RunSpec(), "r", replace(update, num_workers=count)).text()
    assert f"CartPole-v1, {words}seed 0" in text


def test_agent_none_of_whose_episodes_ended_well_has_a_dash_for_its_return() -> None:
    agents = AgentFigures(
        names=("ada", "bob"),
        num_steps=np.array([1200, 0]),
        episode_return_mean=np.array([2.5, np.nan]),
    )
    assert named_lines(ScalarFigures(), agents) == [
        ("agent", "ada return mean 2.500, 1 200 steps"),
        ("agent", "bob return mean -, 0 steps"),
    ]


def test_without_a_run_there_is_nothing_to_sum_up() -> None:
    assert Summary(RunSpec(), fault=Fault("The cluster failed")).text() == ""


def test_stop_options_replace_the_stop_conditions_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text("[stop]\nseconds = 9\nepisodes = 4\n[rollout]\nseed = 3\n")
    assert spec_from_options(path, {}).stop == StopSpec(seconds=9.0, episodes=4)
    spec = spec_from_options(
        path, {"stop.env_steps": 5, "rollout.seed": None, "env.kwargs": '{"a": 1}'}
    )
    assert spec.stop == StopSpec(env_steps=5)
    assert (spec.rollout.seed, spec.env.kwargs) == (3, {"a": 1})


def test_sentence_of_a_fault_ends_once() -> None:
    assert Fault("No such thing", "Did you mean that?").sentence() == (
        "No such thing. Did you mean that?"
    )
    assert Fault("One.", "", "Two").sentence() == "One. Two."
