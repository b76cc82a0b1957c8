"""The terminal's engine client against a child that fails in every way."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, Unpack

import psutil
import pytest

from raydash.core.faults import FaultError
from raydash.core.messages import (
    PROTOCOL_VERSION,
    ClusterStatus,
    CommandRun,
    Connect,
    EnvRegistry,
    StartRun,
    Verb,
)
from raydash.core.spec import ClusterSpec, EnvSpec, RunSpec, StopSpec
from raydash.core.updates import RunUpdate
from raydash.terminal.engine_client import EngineClient, EngineGoneError
from tests.fakes.engines import terminal_engine
from tests.fakes.places import ROOT

Start = Callable[..., EngineClient]


class Timings(TypedDict, total=False):
    hello_timeout_s: float
    silence_limit_s: float
    end_grace_s: float


@pytest.fixture
def start(tmp_path: Path) -> Start:
    def begin(story: str, **timings: Unpack[Timings]) -> EngineClient:
        command = (sys.executable, terminal_engine.__file__, story, str(tmp_path / "engine"))
        return EngineClient(command, **timings)

    return begin


@pytest.fixture(autouse=True)
def _importable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def test_engine_is_greeted_before_anything_else(start: Start) -> None:
    with start("well") as client:
        assert client.hello.pid == client.pid
        assert isinstance(client.receive(5), EnvRegistry)


def test_answer_is_awaited_while_other_messages_are_passed_on(start: Start) -> None:
    seen: list[object] = []
    with start("well") as client:
        answer = client.wait_answer(client.send(Connect(0, ClusterSpec())), 10, seen.append)
        assert answer.fault is None
    assert [m.text for m in seen if isinstance(m, ClusterStatus)] == [
        "starting Ray: waiting for the raylet",
        "Ray is up",
    ]


def test_commands_are_numbered_by_the_client(start: Start) -> None:
    with start("well") as client:
        first, second = (client.send(Connect(0, ClusterSpec())) for _ in range(2))
        assert (first, second) == (1, 2)
        assert client.wait_answer(second, 10).command_id == second
        assert client.wait_answer(first, 10).command_id == first


def test_updates_are_received_until_the_last_one(start: Start) -> None:
    with start("well") as client:
        spec = RunSpec(stop=StopSpec(env_steps=500))
        client.wait_answer(client.send(StartRun(0, spec)), 10)
        updates = [m for m in until_last(client) if isinstance(m, RunUpdate)]
    assert updates[0].since_seq == 0
    assert updates[-1].figures.num_env_steps_sampled_lifetime == 500


def until_last(client: EngineClient) -> list[object]:
    got: list[object] = []
    for message in client.messages(20):
        got.append(message)
        if isinstance(message, RunUpdate) and message.last:
            break
    return got


def test_failed_command_raises_the_fault_of_its_answer(start: Start) -> None:
    with start("well") as client:
        bad = RunSpec(env=EnvSpec("NoSuchEnv-v0"))
        with pytest.raises(FaultError, match="NoSuchEnv") as caught:
            client.wait_answer(client.send(StartRun(0, bad)), 10)
        assert caught.value.fault.keys == ("env.id",)


def test_silence_is_none_and_an_unanswered_command_is_a_fault(start: Start) -> None:
    with start("connects_for_ever") as client:
        while client.receive(0.3) is not None:
            pass
        with pytest.raises(FaultError, match="not answered"):
            client.wait_answer(client.send(Connect(0, ClusterSpec())), 0.3)


def test_waiting_for_an_answer_can_be_given_up(start: Start) -> None:
    with start("connects_for_ever") as client, pytest.raises(FaultError, match="not waited for"):
        client.wait_answer(client.send(Connect(0, ClusterSpec())), 60, give_up=lambda: True)


def test_death_at_once_carries_exit_code_and_last_words(start: Start) -> None:
    with pytest.raises(EngineGoneError, match=r"exit code 7.*no module named ray") as caught:
        start("dies_at_once")
    assert "ImportError" in caught.value.fault.detail


def test_death_in_a_run_is_reported_with_the_signal(start: Start) -> None:
    with start("dies_in_a_run") as client:
        client.wait_answer(client.send(StartRun(0, RunSpec())), 10)
        with pytest.raises(EngineGoneError, match=r"SIGKILL.*driver was ended by Ray"):
            until_last(client)
        with pytest.raises(EngineGoneError):
            client.send(CommandRun(0, terminal_engine.RUN_ID, Verb.STOP))


def test_garbage_ends_the_engine(start: Start) -> None:
    with pytest.raises(EngineGoneError, match="no message"):
        start("garbage")


def test_truncated_frame_is_reported(start: Start) -> None:
    with pytest.raises(EngineGoneError, match="in the middle of a message"):
        start("half_a_frame")


def test_other_protocol_is_refused_with_both_versions(start: Start) -> None:
    with pytest.raises(EngineGoneError, match=rf"protocol 99.*protocol {PROTOCOL_VERSION}"):
        start("other_protocol")


def test_engine_that_never_greets_is_given_up(start: Start) -> None:
    with pytest.raises(EngineGoneError, match="did not greet"):
        start("is_silent", hello_timeout_s=0.5)


def test_engine_without_sign_of_life_is_ended(start: Start) -> None:
    with start("well", silence_limit_s=0.5) as client:
        os.kill(client.pid, signal.SIGSTOP)
        with pytest.raises(EngineGoneError, match="hangs"):
            list(client.messages(20))


def test_engine_that_ignores_the_end_of_its_input_is_killed(start: Start) -> None:
    client = start("will_not_end", end_grace_s=0.3)
    client.close()
    assert not psutil.pid_exists(client.pid)


def test_engine_lives_in_a_session_of_its_own(start: Start) -> None:
    with start("well") as client:
        assert os.getsid(client.pid) == client.pid != os.getsid(0)


def test_missing_program_is_a_fault() -> None:
    with pytest.raises(EngineGoneError, match="could not be started"):
        EngineClient(("/nonexistent/python",))


def test_leaving_says_goodbye(start: Start, tmp_path: Path) -> None:
    with start("well"):
        pass
    assert (tmp_path / "engine" / "sent").read_text().splitlines()[-1] == "Goodbye()"


def test_closing_twice_is_harmless(start: Start) -> None:
    client = start("well")
    client.close()
    client.close()
