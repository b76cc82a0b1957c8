"""Checks of environments by the real engine process, each in a throwaway child. No cluster."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from raydash.core.env_check import CheckPhase
from raydash.core.messages import (
    Answer,
    CancelCheck,
    CheckEnv,
    EnvChecked,
    EnvCheckPhase,
    EnvRegistry,
    Ping,
    Pong,
)
from raydash.core.spec import EnvSpec, RolloutSpec
from tests.fakes.engines.raw_engine import RawEngine
from tests.fakes.places import ROOT

HERE = (str(ROOT),)
FAKES = "tests.fakes.user_code.envs"


@pytest.fixture
def engine() -> Iterator[RawEngine]:
    raw = RawEngine()
    raw.next_of(EnvRegistry)  # the child that lists them has ended
    yield raw
    raw.kill()


def hanging(note: Path) -> CheckEnv:
    kwargs = {"where": "step", "note": str(note)}
    return CheckEnv(1, EnvSpec(f"{FAKES}:HangingEnv", kwargs), source_dirs=HERE)


def children(engine: RawEngine) -> list[psutil.Process]:
    found: list[psutil.Process] = psutil.Process(engine.process.pid).children(recursive=True)
    return found


def test_phases_come_first_then_the_finding_then_the_answer(engine: RawEngine) -> None:
    spec = EnvSpec(f"{FAKES}:CountingEnv", {"length": 4})
    engine.send(CheckEnv(5, spec, RolloutSpec(num_envs_per_worker=2), HERE))
    answer = engine.next_of(Answer)
    assert (answer.command_id, answer.fault) == (5, None)
    (checked,) = engine.seen_of(EnvChecked)
    assert checked.command_id == 5
    assert checked.found.env_id == spec.id
    assert (checked.found.num_envs, checked.found.vectorization) == (2, "sync")
    phases = [message.phase for message in engine.seen_of(EnvCheckPhase)]
    assert phases == [phase for phase in CheckPhase if phase in phases]
    assert not children(engine)


def test_fault_of_the_environment_is_the_answer(engine: RawEngine) -> None:
    engine.send(CheckEnv(5, EnvSpec("CartPool-v1")))
    fault = engine.next_of(Answer).fault
    assert fault is not None
    assert fault.keys == ("env.id",)
    assert not engine.seen_of(EnvChecked)


def test_hanging_check_holds_nothing_up_and_ends_when_it_is_cancelled(
    engine: RawEngine, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    note = tmp_path / "hangs"
    engine.send(hanging(note))
    wait_until(note.exists, "the hang")
    while engine.next_of(EnvCheckPhase) != EnvCheckPhase(1, CheckPhase.CHECK):
        pass  # phases before it may be left out; the one that hangs may not
    engine.send(Ping(3))
    assert engine.next_of(Pong) == Pong(3)
    engine.send(CancelCheck(2, 1))
    answers = [engine.next_of(Answer) for _ in range(2)]
    assert [answer.command_id for answer in answers] == [2, 1]
    assert [answer.fault for answer in answers] == [None, None]
    assert not engine.seen_of(EnvChecked)
    assert not children(engine)


def test_check_that_is_over_can_be_cancelled_without_harm(engine: RawEngine) -> None:
    engine.send(CancelCheck(2, 1))
    assert engine.next_of(Answer) == Answer(2)


def test_check_that_takes_longer_than_its_limit_is_a_fault(engine: RawEngine) -> None:
    env = EnvSpec(f"{FAKES}:HangingEnv", {"where": "reset"})
    engine.send(CheckEnv(1, env, source_dirs=HERE, time_limit_s=0.5))
    fault = engine.next_of(Answer).fault
    assert fault is not None
    assert "gave no answer within 0.5 s" in fault.what
    assert not children(engine)


def test_check_ends_with_an_engine_whose_window_has_gone(
    engine: RawEngine, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    note = tmp_path / "hangs"
    engine.send(hanging(note))
    wait_until(note.exists, "the hang")
    (child,) = children(engine)
    assert engine.end() == 0
    assert not child.is_running()


def test_check_ends_with_an_engine_that_is_killed(
    engine: RawEngine, tmp_path: Path, wait_until: Callable[..., None]
) -> None:
    note = tmp_path / "hangs"
    engine.send(hanging(note))
    wait_until(note.exists, "the hang")
    (child,) = children(engine)
    engine.kill()
    wait_until(
        lambda: not child.is_running() or child.status() == psutil.STATUS_ZOMBIE,
        "the end of the check's process",
    )
