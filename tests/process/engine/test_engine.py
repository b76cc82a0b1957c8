"""The real engine process over real stdio, before any cluster: greeting, garbage, ends of input."""

import struct
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from raydash import paths
from raydash.core.messages import (
    PROTOCOL_VERSION,
    Answer,
    AttachRun,
    CommandRun,
    EngineHealth,
    EnvRegistry,
    Hello,
    Ping,
    Pong,
    StartRun,
    Verb,
)
from raydash.core.spec_rules import spec_from_table
from raydash.protocol.codec import encode
from raydash.protocol.frames import MAGIC, MAX_FRAME_BYTES, frame
from tests.fakes.engines.raw_engine import CEILING_S, RawEngine


@pytest.fixture
def engine() -> Iterator[RawEngine]:
    raw = RawEngine()
    yield raw
    raw.kill()


def log_text(pid: int) -> str:
    (path,) = (paths.state_dir() / "logs").glob(f"engine-*-{pid}.log")
    return path.read_text()


def test_it_greets_first_and_sends_the_environments_and_its_health(engine: RawEngine) -> None:
    hello = engine.next_of(Hello)
    assert (hello.protocol_version, hello.pid) == (PROTOCOL_VERSION, engine.process.pid)
    assert "CartPole-v1" in engine.next_of(EnvRegistry).env_ids
    assert Path(engine.next_of(EngineHealth).log_path).is_file()


def test_it_answers_a_ping(engine: RawEngine) -> None:
    engine.send(Ping(7))
    assert engine.next_of(Pong) == Pong(7)


def test_it_ends_with_its_input(engine: RawEngine) -> None:
    engine.next_of(Hello)
    assert engine.end() == 0


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"hello? is this a terminal?\n", "garbage"),
        (struct.pack("<4sI", MAGIC, MAX_FRAME_BYTES + 1), "too long"),
        (frame(b"\x93\x01\x02\x03"), "not a message"),
        (frame(encode(Ping(1)))[:-1], "inside a frame"),
        (frame(encode(Pong(1))), "no command"),
        (frame(encode(Hello(PROTOCOL_VERSION + 1, "9.9", 1))), f"protocol {PROTOCOL_VERSION + 1}"),
    ],
)
def test_what_is_no_message_ends_it_and_the_log_says_why(
    engine: RawEngine, data: bytes, word: str
) -> None:
    engine.next_of(Hello)
    engine.write(data)
    assert engine.end() == 0
    assert word in log_text(engine.process.pid)


def test_what_children_and_libraries_print_goes_to_the_log_and_harms_no_frame() -> None:
    noisy = (
        "import os, sys; from raydash.engine import engine; old = engine.Engine.run\n"
        "def run(self):\n"
        "    os.write(1, b'stray one')\n"
        "    print('stray two', flush=True)\n"
        "    os.system('echo stray three')\n"
        "    old(self)\n"
        "engine.Engine.run = run\n"
        "from raydash.engine.__main__ import main; sys.exit(main())"
    )
    raw = RawEngine("-c", noisy)
    raw.send(Ping(3))
    assert raw.next_of(Pong) == Pong(3)
    assert raw.end() == 0
    text = log_text(raw.process.pid)
    assert all(f"stray {word}" in text for word in ("one", "two", "three"))


def test_a_state_folder_that_cannot_be_written_is_named_in_words(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    raw = RawEngine(RAYDASH_STATE_DIR=str(blocked / "state"))
    _, errors = raw.process.communicate(timeout=CEILING_S)
    assert raw.process.returncode == 3
    assert b"The state folder cannot be written" in errors
    assert b"Traceback" not in errors


def test_what_needs_a_cluster_is_refused_without_one(engine: RawEngine) -> None:
    engine.next_of(EnvRegistry)  # the child that lists them has ended
    spec = spec_from_table({"rollout": {"num_workers": 1}})
    for number, command in enumerate(
        (
            StartRun(1, spec),
            CommandRun(2, "nobody", Verb.PAUSE),
            AttachRun(3, "nobody"),
        ),
        start=1,
    ):
        engine.send(command)
        answer = engine.next_of(Answer)
        assert answer.command_id == number
        assert answer.fault is not None
    assert not psutil.Process(engine.process.pid).children(recursive=True)


def test_bad_input_is_answered_with_its_keys_before_anything_is_launched(engine: RawEngine) -> None:
    spec = spec_from_table({"env": {"id": "CartPool-v1"}})
    engine.send(StartRun(5, spec))
    fault = engine.next_of(Answer).fault
    assert fault is not None
    assert fault.bad_input
    assert fault.keys == ("env.id",)
    assert "CartPole-v1" in fault.sentence()
