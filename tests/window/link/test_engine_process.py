"""The engine process against a real child that speaks, and misspeaks, frames."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
from pytestqt.qtbot import QtBot

from raydash.core.messages import Answer, CancelConnect, Connect, EnvRegistry
from raydash.core.spec import ClusterSpec
from raydash.core.states import EngineState
from raydash.link.engine_process import EngineProcess, Timings
from tests.fakes.places import ROOT

STAND_IN = ROOT / "tests" / "fakes" / "engines" / "engine_stand_in.py"
QUICK = Timings(
    ping_s=0.05,
    hang_timeout_s=10.0,
    hello_timeout_s=10.0,
    quick_death_s=60.0,
    backoff_s=(0.0, 0.02),
    max_quick_deaths=3,
    end_grace_s=0.5,
)


class Watched:
    """An engine process, and everything it said."""

    def __init__(self, engine: EngineProcess) -> None:
        self.engine = engine
        self.messages: list[object] = []
        self.states: list[EngineState] = []
        self.faults: list[object] = []
        self.num_exited = 0
        engine.message_received.connect(self.messages.append)
        engine.state_changed.connect(self.states.append)
        engine.lost.connect(self.faults.append)
        engine.exited.connect(self._count_exit)

    def _count_exit(self) -> None:
        self.num_exited += 1

    def answers(self) -> list[Answer]:
        return [message for message in self.messages if isinstance(message, Answer)]


Make = Callable[..., Watched]


def has_stopped(engine: EngineProcess) -> bool:
    return engine.state is EngineState.STOPPED


@pytest.fixture
def make(qtbot: QtBot) -> Iterator[Make]:
    made: list[EngineProcess] = []

    def build(
        *args: str, command: tuple[str, ...] = (), hang_timeout_s: float = QUICK.hang_timeout_s
    ) -> Watched:
        engine = EngineProcess(
            time.monotonic,
            command=command or (sys.executable, str(STAND_IN), *args),
            timings=replace(QUICK, hang_timeout_s=hang_timeout_s),
        )
        made.append(engine)
        watched = Watched(engine)
        engine.start()
        return watched

    yield build
    for engine in made:
        engine.shut_down()
        qtbot.waitUntil(partial(has_stopped, engine), timeout=30_000)
        assert engine.pid == 0
        engine.deleteLater()


def test_engine_is_ready_after_both_hellos_and_its_messages_arrive(
    make: Make, qtbot: QtBot
) -> None:
    watched = make()
    qtbot.waitUntil(lambda: watched.engine.state is EngineState.READY, timeout=30_000)
    qtbot.waitUntil(
        lambda: any(isinstance(m, EnvRegistry) for m in watched.messages), timeout=30_000
    )
    qtbot.waitUntil(lambda: watched.engine.latency_ms >= 0.0, timeout=30_000)


def test_command_is_answered_once_by_the_engine(make: Make, qtbot: QtBot) -> None:
    watched = make()
    qtbot.waitUntil(lambda: watched.engine.state is EngineState.READY, timeout=30_000)
    watched.engine.send(Connect(1, ClusterSpec()))
    qtbot.waitUntil(lambda: watched.answers() == [Answer(1)], timeout=30_000)


def test_killed_engine_is_replaced_by_another(make: Make, qtbot: QtBot) -> None:
    watched = make()
    qtbot.waitUntil(lambda: watched.engine.state is EngineState.READY, timeout=30_000)
    first = watched.engine.pid
    os.kill(first, 9)
    qtbot.waitUntil(
        lambda: watched.states == [EngineState.READY, EngineState.RECONNECTING, EngineState.READY],
        timeout=30_000,
    )
    assert watched.engine.pid != first
    assert "it was killed (SIGKILL)" in watched.faults[0].why  # type: ignore[attr-defined]


def test_engine_that_dies_of_a_command_is_told_to_have_exited_without_an_answer(
    make: Make, qtbot: QtBot
) -> None:
    watched = make("--mode", "die_on_command")
    qtbot.waitUntil(lambda: watched.engine.state is EngineState.READY, timeout=30_000)
    watched.engine.send(Connect(7, ClusterSpec()))
    qtbot.waitUntil(lambda: watched.num_exited == 1, timeout=30_000)
    assert len(watched.faults) == 1
    assert watched.answers() == []


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ("garbage", "not a frame"),
        ("oversized", "too long"),
        ("truncated", "in the middle of a message"),
    ],
)
def test_engine_that_sends_a_bad_frame_is_replaced_and_the_reason_said(
    make: Make, qtbot: QtBot, tmp_path: Path, mode: str, words: str
) -> None:
    watched = make("--mode", mode, "--once", str(tmp_path / "once"))
    qtbot.waitUntil(
        lambda: watched.states[-2:] == [EngineState.RECONNECTING, EngineState.READY], timeout=30_000
    )
    (fault,) = watched.faults
    assert words in fault.why  # type: ignore[attr-defined]


def test_hung_engine_is_killed_and_replaced(make: Make, qtbot: QtBot, tmp_path: Path) -> None:
    watched = make("--mode", "hang", "--once", str(tmp_path / "once"), hang_timeout_s=0.6)
    qtbot.waitUntil(
        lambda: (
            watched.states[:4]
            == [EngineState.READY, EngineState.HUNG, EngineState.RECONNECTING, EngineState.READY]
        ),
        timeout=30_000,
    )
    assert "no sign of life" in watched.faults[0].why  # type: ignore[attr-defined]


def test_engine_of_another_protocol_is_refused_and_not_started_again(
    make: Make, qtbot: QtBot
) -> None:
    watched = make("--mode", "other_version")
    qtbot.waitUntil(lambda: watched.engine.state is EngineState.FAILED, timeout=30_000)
    assert watched.engine.fault is not None
    assert "protocol 999" in watched.engine.fault.why
    assert watched.engine.pid == 0


def test_engine_that_dies_early_again_and_again_ends_in_failed_with_its_last_words(
    make: Make, qtbot: QtBot
) -> None:
    watched = make("--mode", "die")
    qtbot.waitUntil(lambda: watched.engine.state is EngineState.FAILED, timeout=30_000)
    assert len(watched.faults) == QUICK.max_quick_deaths
    fault = watched.engine.fault
    assert fault is not None
    assert "exit code 7" in fault.why
    assert "3 times in a row" in fault.why
    assert "boom: no memory left" in fault.detail


def test_retry_after_failed_starts_another_engine(make: Make, qtbot: QtBot, tmp_path: Path) -> None:
    watched = make("--mode", "other_version", "--once", str(tmp_path / "once"))
    qtbot.waitUntil(lambda: watched.engine.state is EngineState.FAILED, timeout=30_000)
    watched.engine.retry()
    qtbot.waitUntil(lambda: watched.engine.state is EngineState.READY, timeout=30_000)


def test_missing_program_fails_in_words(make: Make, qtbot: QtBot) -> None:
    watched = make(command=("/nonexistent/python",))
    qtbot.waitUntil(lambda: watched.engine.state is EngineState.FAILED, timeout=30_000)
    assert watched.engine.fault is not None
    assert watched.engine.fault.what == "The engine could not be started"


def test_engine_asked_to_end_by_cancel_is_replaced_without_a_fault(
    make: Make, qtbot: QtBot
) -> None:
    watched = make()
    qtbot.waitUntil(lambda: watched.engine.state is EngineState.READY, timeout=30_000)
    watched.engine.send(CancelConnect(3))
    watched.engine.expect_exit()
    qtbot.waitUntil(
        lambda: watched.states == [EngineState.READY, EngineState.RECONNECTING, EngineState.READY],
        timeout=30_000,
    )
    assert watched.num_exited == 1
    assert not watched.faults


def test_replaced_engine_ends_in_good_order_and_nothing_counts_as_lost(
    make: Make, qtbot: QtBot
) -> None:
    watched = make()
    qtbot.waitUntil(lambda: watched.engine.state is EngineState.READY, timeout=30_000)
    watched.engine.replace()
    qtbot.waitUntil(
        lambda: watched.states == [EngineState.READY, EngineState.RECONNECTING, EngineState.READY],
        timeout=30_000,
    )
    assert not watched.faults


def test_engine_that_ignores_the_end_of_its_input_is_killed_after_the_grace(
    make: Make, qtbot: QtBot
) -> None:
    watched = make("--mode", "deaf_to_the_end")
    qtbot.waitUntil(lambda: watched.engine.state is EngineState.READY, timeout=30_000)
    with qtbot.waitSignal(watched.engine.stopped, timeout=30_000):
        watched.engine.shut_down()
    assert watched.engine.pid == 0
