"""The commands as a user types them, on the suite's cluster."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from raydash.core.states import EndedBy, RunState
from raydash.record.read import query
from tests.fakes.engines.terminal import Terminal
from tests.fakes.places import ROOT

KEYS = (
    "run_id env_id num_workers elapsed_s num_env_steps_sampled_lifetime num_episodes_lifetime"
    " num_episodes_terminated_lifetime num_episodes_truncated_lifetime"
    " num_episodes_error_lifetime episode_return_mean episode_return_min episode_return_max"
    " episode_len_mean env_steps_per_s num_restarts state ended_by recording"
)

Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def begin(terminal: Terminal) -> Iterator[Begin]:
    """Starts `raydash ...`; what a failed test leaves is killed."""
    begun: list[subprocess.Popen[str]] = []

    def start(*words: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [sys.executable, "-m", "raydash", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        begun.append(process)
        return process

    yield start
    for process in begun:
        if process.poll() is None:
            process.kill()
            process.communicate()


def _ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=60)
    return process.returncode, out, err


def test_json_of_a_run_has_every_key_and_equals_its_recording(begin: Begin) -> None:
    code, out, err = _ended(begin("run", "--episodes", "200", "--workers", "1", "--json"))
    assert code == 0, err
    table = json.loads(out)
    assert set(KEYS.split()) <= set(table)
    recorded = query.figures(Path(table["recording"]))
    for name in (
        "run_id",
        "env_id",
        "elapsed_s",
        "num_env_steps_sampled_lifetime",
        "num_episodes_lifetime",
        "num_episodes_terminated_lifetime",
        "num_episodes_truncated_lifetime",
        "num_episodes_error_lifetime",
        "episode_return_min",
        "episode_return_max",
    ):
        assert table[name] == getattr(recorded, name), name
    assert table["episode_return_mean"] == pytest.approx(recorded.episode_return_mean, rel=1e-9)
    assert table["episode_len_mean"] == pytest.approx(recorded.episode_len_mean, rel=1e-9)
    assert table["num_episodes_lifetime"] >= 200
    assert (table["state"], table["ended_by"]) == ("finished", "episodes")
    assert table["env_steps_per_s"] == pytest.approx(
        table["num_env_steps_sampled_lifetime"] / table["elapsed_s"]
    )
    assert f"run {table['run_id']}" in err


def test_ctrl_c_stops_the_run_cleanly_and_the_summary_still_comes(
    begin: Begin, terminal: Terminal
) -> None:
    process = begin("run", "--workers", "1")
    terminal.wait(
        lambda: any(run.num_episodes_lifetime for run in terminal.listed.runs), "it steps"
    )
    (listed,) = terminal.listed.runs
    process.send_signal(signal.SIGINT)
    code, out, err = _ended(process)
    assert code == 130, err
    assert f"{listed.run_id}  stopped by signal" in out
    recorded = query.figures(Path(listed.recording))
    assert (recorded.state, recorded.ended_by) == (RunState.STOPPED, EndedBy.SIGNAL)
    terminal.wait(lambda: not terminal.listed.runs, "no run is left")


def test_a_detached_run_goes_on_is_listed_and_is_stopped_by_its_id(
    begin: Begin, terminal: Terminal
) -> None:
    code, out, err = _ended(begin("run", "--workers", "1", "--detach"))
    assert code == 0, err
    run_id = out.strip()
    run = terminal.attach(run_id)
    assert run.latest.health.keep
    terminal.wait(lambda: run.latest.figures.num_episodes_lifetime, "it steps")

    code, out, err = _ended(begin("ps", "--json"))
    assert code == 0, err
    (listed,) = json.loads(out)["runs"]
    assert (listed["run_id"], listed["state"], listed["keep"]) == (run_id, "running", True)

    code, out, err = _ended(begin("stop", run_id))
    assert code == 0, err
    assert out == f"{run_id} has stopped\n"
    assert terminal.end_of(run).ended_by is EndedBy.USER


def test_a_run_whose_environment_fails_exits_with_4_and_the_cause(begin: Begin) -> None:
    code, out, err = _ended(
        begin("run", "--env", "tests.fakes.user_code.envs:RaisingEnv", "--workers", "1", "--json")
    )
    assert code == 4, err
    table = json.loads(out)
    assert (table["state"], table["ended_by"]) == ("failed", "workers_failed")
    assert table["cause"] == "RuntimeError: the simulator has gone"
    with closing(query.open_read_only(Path(table["recording"]))) as connection:
        (count,) = connection.execute("SELECT count(*) FROM episodes").fetchone()
    assert count == table["num_episodes_error_lifetime"] >= 5


def test_an_unknown_environment_exits_with_2_and_names_its_key(begin: Begin) -> None:
    code, out, err = _ended(begin("run", "--env", "CartPool-v1", "--json"))
    assert code == 2, err
    table = json.loads(out)
    assert table["run_id"] is None
    assert table["error_keys"] == ["env.id"]
    assert "CartPole-v1" in err
