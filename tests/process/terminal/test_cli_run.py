"""`raydash run` from end to end in a real process, with a stand-in for the engine."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.fakes.engines import terminal_run
from tests.fakes.engines.terminal_engine import RUN_ID
from tests.fakes.places import ROOT

KEYS = set(
    """
    run_id env_id num_workers elapsed_s num_env_steps_sampled_lifetime num_episodes_lifetime
    num_episodes_terminated_lifetime num_episodes_truncated_lifetime num_episodes_error_lifetime
    episode_return_mean episode_return_min episode_return_max episode_len_mean env_steps_per_s
    num_restarts state ended_by recording
    """.split()  # noqa: SIM905 - a list to be read
)

Begin = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "engine"


@pytest.fixture
def begin(folder: Path) -> Begin:
    def start(story: str, *options: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, terminal_run.__file__, story, str(folder), *options],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )

    return start


def ended(process: "subprocess.Popen[str]") -> tuple[int, str, str]:
    out, err = process.communicate(timeout=30)
    return process.returncode, out, err


def sent(folder: Path) -> str:
    path = folder / "sent"
    return path.read_text() if path.exists() else ""


def test_finished_run_exits_0_with_a_summary(begin: Begin) -> None:
    code, out, err = ended(begin("well", "--steps=2000"))
    assert code == 0, err
    assert f"{RUN_ID}  finished by env steps" in out
    assert re.search(r"episodes +100: terminated 100, truncated 0, error 0", out)
    assert "starting Ray: waiting for the raylet" in err
    assert re.search(r"[\d.]+ s  [\d ]+ steps  10 000/s .* 2 stepping", err)


def test_json_is_exactly_one_object_with_the_stable_keys(begin: Begin) -> None:
    code, out, _ = ended(begin("well", "--steps=2000", "--json"))
    assert code == 0
    table = json.loads(out)
    assert table.keys() >= KEYS
    assert (table["run_id"], table["state"], table["ended_by"]) == (
        RUN_ID,
        "finished",
        "env_steps",
    )
    assert table["num_env_steps_sampled_lifetime"] == 2000
    assert table["env_steps_per_s"] == pytest.approx(2000 / table["elapsed_s"])
    assert table["recording"] == "/r/x.duckdb"


def test_failed_run_exits_4_and_says_its_cause_with_the_traceback(begin: Begin) -> None:
    code, out, err = ended(begin("run_fails"))
    assert code == 4
    assert "worker 1 failed" in err
    assert err.endswith("line 5 of my_env.py\n")
    assert "failed by workers failed" in out
    assert "KeyError: 'x'" in out


def test_recording_that_fails_is_said_when_it_does_and_at_the_end(begin: Begin) -> None:
    # Of each 8 updates, 100 steps each, the last four tell of a full disk.
    code, out, err = ended(begin("disk_is_full", "--steps=1500"))
    assert code == 0
    assert err.count("raydash: recording fails: the disk is full; the run goes on\n") == 2
    assert err.count("raydash: recording goes on\n") == 1
    assert out.endswith("The recording is not whole: the disk is full.\n")
    code, out, _ = ended(begin("disk_is_full", "--steps=1500", "--json"))
    assert json.loads(out)["error"] == "The recording is not whole: the disk is full."
    assert json.loads(out)["state"] == "finished"


def test_unreachable_cluster_exits_3_and_json_holds_nulls(begin: Begin) -> None:
    code, out, err = ended(begin("connect_fails", "--json"))
    assert code == 3
    assert "Nobody listens at 127.0.0.1:1: connection refused. Start Ray there." in err
    table = json.loads(out)
    assert {key: table[key] for key in KEYS - {"env_id"}} == dict.fromkeys(KEYS - {"env_id"})


def test_engine_that_cannot_start_exits_3(begin: Begin) -> None:
    code, out, err = ended(begin("dies_at_once"))
    assert (code, out) == (3, "")
    assert "no module named ray" in err


def test_cluster_lost_in_a_run_exits_3_with_the_run_interrupted(begin: Begin) -> None:
    code, out, err = ended(begin("cluster_dies_in_a_run", "--json"))
    assert code == 3
    assert "The cluster is gone" in err
    table = json.loads(out)
    assert (table["state"], table["ended_by"]) == ("interrupted", "cluster_lost")
    assert table["num_env_steps_sampled_lifetime"] > 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_stops_the_run_and_the_summary_still_comes(
    begin: Begin, folder: Path, wait_until: Callable[..., None], number: signal.Signals
) -> None:
    process = begin("well")
    wait_until((folder / RUN_ID).exists, "the run goes on")
    process.send_signal(number)
    code, out, err = ended(process)
    assert code == 130, err
    assert f"{RUN_ID}  stopped by signal" in out
    assert sent(folder).count("verb=<Verb.STOP: 'stop'>") == 1


def test_second_signal_leaves_at_once(
    begin: Begin, folder: Path, wait_until: Callable[..., None]
) -> None:
    process = begin("will_not_stop", "--json")
    wait_until((folder / RUN_ID).exists, "the run goes on")
    process.send_signal(signal.SIGINT)
    wait_until(lambda: "Verb.STOP" in sent(folder), "the stop arrived")
    process.send_signal(signal.SIGINT)
    code, out, _ = ended(process)
    assert code == 130
    assert json.loads(out)["run_id"] == RUN_ID


def test_signal_while_connecting_cancels(
    begin: Begin, folder: Path, wait_until: Callable[..., None]
) -> None:
    process = begin("connects_for_ever", "--json")
    wait_until(lambda: "Connect(" in sent(folder), "the connect arrived")
    process.send_signal(signal.SIGINT)
    code, out, _ = ended(process)
    assert code == 130
    assert json.loads(out)["run_id"] is None
    assert "StartRun" not in sent(folder)


def test_detached_run_is_kept_and_only_its_id_is_printed(begin: Begin, folder: Path) -> None:
    code, out, _ = ended(begin("well", "--detach"))
    assert (code, out) == (0, f"{RUN_ID}\n")
    assert "keep=True" in sent(folder)
    assert "Verb.STOP" not in sent(folder)


def test_engine_that_dies_in_a_run_is_replaced_and_the_run_followed_to_its_end(
    begin: Begin, folder: Path
) -> None:
    code, out, err = ended(begin("dies_in_a_run", "--steps=3000", "--json"))
    assert code == 0, err
    assert "starting another engine (1 of 3)" in err
    assert json.loads(out)["num_env_steps_sampled_lifetime"] == 3000
    assert sent(folder).count("StartRun(") == sent(folder).count("AttachRun(") == 1


def test_engine_that_keeps_dying_is_given_up_after_three_more(begin: Begin, folder: Path) -> None:
    code, out, err = ended(begin("keeps_dying_in_a_run", "--json"))
    assert code == 3
    assert "starting another engine (3 of 3)" in err
    assert len((folder / "engines").read_text().split()) == 4
    assert json.loads(out)["run_id"] == RUN_ID
