"""Sinks in real processes, with a fake wandb that misbehaves: the run never notices."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from raydash.core.events import Event, EventKind
from raydash.core.messages import Verb
from raydash.core.records import EpisodeColumns
from raydash.core.spec import SinksSpec
from raydash.sinks.kinds import wanted
from raydash.sinks.lines import Row, RunEnd, SinkRun, line_of
from raydash.supervise.sinks import SinkFeed
from tests.fakes.places import ROOT
from tests.fakes.runs.supervised_run import Reader, SupervisedRun

STAND_IN = ROOT / "tests/fakes/stand_in_wandb"
WaitUntil = Callable[..., None]


class FakeWandb:
    """Says how the fake is to behave, and reads what it was called with."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / "told.jsonl"

    def run(self, **sinks: str) -> SinkRun:
        settings = SinksSpec(**{"wandb_project": "p", "wandb_mode": "offline", **sinks})
        folder = str(self.folder / "logs")
        return SinkRun("r1", "X-v0", "", "me@here", folder, settings, {"rollout.seed": 1})

    def environment(self, manner: str) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(STAND_IN),
            "STAND_IN_WANDB": manner,
            "STAND_IN_WANDB_TOLD": str(self.file),
            "RAY_AUTH_TOKEN": "hush",
        }

    def feed(
        self, manner: str, *, grace_s: float = 20.0, silent_after_s: float = 30.0, **sinks: str
    ) -> SinkFeed:
        run = self.run(**sinks)
        return SinkFeed(
            run,
            wanted(run.sinks),
            grace_s=grace_s,
            silent_after_s=silent_after_s,
            environment=self.environment(manner),
        )

    def told(self, what: str) -> list[dict[str, Any]]:
        if not self.file.exists():
            return []
        lines = [json.loads(line) for line in self.file.read_text().splitlines()]
        return [line for line in lines if line["what"] == what]

    def log(self) -> str:
        return (self.folder / "logs/sink-wandb.log").read_text(errors="replace")


@pytest.fixture
def wandb(tmp_path: Path) -> FakeWandb:
    return FakeWandb(tmp_path)


def step_until(run: SupervisedRun, reader: Reader, condition: Callable[[], object]) -> None:
    """Advance the run, a second of its clock at a time, until its sink has got so far."""
    ceiling = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < ceiling
        run.turns(1.0, reader)
        time.sleep(0.02)  # the sink needs real time, which the run's clock does not take


def finish(run: SupervisedRun, reader: Reader, wait_until: WaitUntil) -> None:
    run.command(reader, Verb.STOP)
    run.until(lambda: reader.told_last, reader)
    wait_until(lambda: run.supervisor.is_done, "the end of the sinks", ceiling_s=60)


def sink_events(run: SupervisedRun) -> list[Event]:
    return [event for event in run.recording.events() if event.kind is EventKind.SINK_FAILED]


def bad_events(run: SupervisedRun) -> list[Event]:
    """Drop troubles about slowness: here the run's seconds pass faster than any sink."""
    return [event for event in sink_events(run) if "is slow" not in event.text]


def test_run_is_told_with_its_steps_and_its_end(wandb: FakeWandb, wait_until: WaitUntil) -> None:
    run = SupervisedRun(2, sinks=wandb.feed("good"))
    reader = run.reader()
    step_until(run, reader, lambda: len(wandb.told("log")) >= 3)
    finish(run, reader, wait_until)
    (init,) = wandb.told("init")
    assert (init["id"], init["project"], init["mode"]) == ("r1", "p", "offline")
    assert init["has_token"] is False  # a library must not see the cluster's own secrets
    logs = wandb.told("log")
    steps = [log["step"] for log in logs]
    assert steps == sorted(set(steps))
    assert steps[-1] == run.ledger.num_env_steps()
    assert logs[-1]["metrics"]["num_episodes_lifetime"] == run.ledger.num_episodes()
    assert wandb.told("summary")[0]["state"] == "stopped"
    assert wandb.told("finish") == [{"what": "finish", "exit_code": 0}]
    assert bad_events(run) == []


BAD = {
    "missing": ("wandb is not installed", "pip install 'raydash[wandb]'"),
    "cannot-start": ("api_key not configured", "wandb login"),
    "fails": ("did not take figures", "no connection at step"),
    "crashes": ("crashed (SIGABRT)",),
    "hangs": ("has not answered",),
}


@pytest.mark.parametrize("manner", BAD)
def test_bad_sink_is_told_of_once_and_the_run_is_as_without_it(
    wandb: FakeWandb, wait_until: WaitUntil, manner: str
) -> None:
    feed = wandb.feed(manner, grace_s=0.5, silent_after_s=2.0)
    run, alone = SupervisedRun(2, sinks=feed), SupervisedRun(2)
    reader, other = run.reader(), alone.reader()
    began_s = run.clock()
    step_until(run, reader, lambda: bad_events(run))
    run.turns(20.0, reader)
    seconds = run.clock() - began_s
    alone.turns(seconds, other)
    (event,) = bad_events(run)
    assert event.kind.is_bad
    assert [words for words in BAD[manner] if words not in event.text] == []
    assert "sink-wandb.log" in event.detail
    assert run.recording.totals() == alone.recording.totals()
    for name in EpisodeColumns.__slots__:
        np.testing.assert_array_equal(
            getattr(run.recording.episodes(), name), getattr(alone.recording.episodes(), name)
        )
    finish(run, reader, wait_until)
    assert run.recording.last is not None


def test_no_turn_of_a_run_waits_for_a_sink_that_hangs(
    wandb: FakeWandb, wait_until: WaitUntil
) -> None:
    run = SupervisedRun(2, sinks=wandb.feed("hangs", grace_s=0.2))
    reader = run.reader()
    step_until(run, reader, lambda: wandb.told("log"))
    longest_s = 0.0
    for _ in range(250):  # far more rows than a pipe holds
        began_s = time.perf_counter()
        run.turns(1.0, reader)
        longest_s = max(longest_s, time.perf_counter() - began_s)
    assert longest_s < 5.0  # generous on a shared machine; waiting for the sink would never end
    finish(run, reader, wait_until)
    assert "did not finish within 0.2 s" in wandb.log()


def test_slow_sink_gets_the_newest_figures_and_what_it_misses_is_told_once(
    wandb: FakeWandb, wait_until: WaitUntil
) -> None:
    run = SupervisedRun(1, sinks=wandb.feed("slow"))
    reader = run.reader()
    step_until(run, reader, lambda: sink_events(run))
    run.turns(100.0, reader)
    finish(run, reader, wait_until)
    (event,) = sink_events(run)
    assert "is slow" in event.text
    steps = [log["step"] for log in wandb.told("log")]
    assert steps == sorted(set(steps))
    assert steps[-1] == run.ledger.num_env_steps()
    assert wandb.told("finish")


def test_what_a_sink_prints_goes_to_a_bounded_log_and_nowhere_else(
    wandb: FakeWandb, wait_until: WaitUntil, capfd: pytest.CaptureFixture[str]
) -> None:
    run = SupervisedRun(1, sinks=wandb.feed("garbage"))
    reader = run.reader()
    step_until(run, reader, lambda: len(wandb.told("log")) >= 3)
    finish(run, reader, wait_until)
    assert wandb.told("finish")
    log = wandb.folder / "logs/sink-wandb.log"
    assert "garbage" in wandb.log()
    assert log.stat().st_size <= 1_000_000
    printed = capfd.readouterr()
    assert (printed.out, printed.err) == ("", "")
    assert bad_events(run) == []


def test_failure_at_the_end_is_in_the_log(wandb: FakeWandb, wait_until: WaitUntil) -> None:
    run = SupervisedRun(1, sinks=wandb.feed("cannot-finish"))
    reader = run.reader()
    step_until(run, reader, lambda: wandb.told("log"))
    finish(run, reader, wait_until)
    assert "cannot finish: the upload broke off" in wandb.log()


def test_what_a_sink_started_ends_with_it(wandb: FakeWandb, wait_until: WaitUntil) -> None:
    run = SupervisedRun(1, sinks=wandb.feed("forks"))
    reader = run.reader()
    step_until(run, reader, lambda: wandb.told("log"))
    forked = int(wandb.told("forked")[0]["pid"])
    assert psutil.pid_exists(forked)
    finish(run, reader, wait_until)
    wait_until(lambda: not is_running(forked))


def test_one_bad_sink_leaves_the_other_alone(wandb: FakeWandb, wait_until: WaitUntil) -> None:
    folder = wandb.folder / "tb"
    run = SupervisedRun(
        1, sinks=wandb.feed("hangs", grace_s=0.5, silent_after_s=2.0, tensorboard=str(folder))
    )
    reader = run.reader()
    step_until(run, reader, lambda: bad_events(run))
    finish(run, reader, wait_until)
    assert [event.text.split()[0] for event in bad_events(run)] == ["Weights"]
    (file,) = (folder / "r1").iterdir()
    assert b"episode_return_mean" in file.read_bytes()


def test_folder_that_cannot_be_written_is_told(wandb: FakeWandb, wait_until: WaitUntil) -> None:
    place = wandb.folder / "a-file"
    place.write_text("")
    run_spec = wandb.run(tensorboard=str(place))
    kinds = [kind for kind in wanted(run_spec.sinks) if kind.key == "tensorboard"]
    run = SupervisedRun(1, sinks=SinkFeed(run_spec, tuple(kinds)))
    reader = run.reader()
    step_until(run, reader, lambda: bad_events(run))
    (event,) = bad_events(run)
    assert "TensorBoard is not told" in event.text
    assert "sinks.tensorboard" in event.text
    finish(run, reader, wait_until)


def is_running(pid: int) -> bool:
    """Tell whether a process is alive, and not a zombie that nobody has reaped yet."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


PARENT = """
import os, signal, sys, time
from raydash.core.spec import SinksSpec
from raydash.core.updates import RunFigures
from raydash.sinks.kinds import wanted
from raydash.sinks.lines import SinkRun
from raydash.supervise.sinks import SinkFeed

run = SinkRun("r1", "X-v0", "", "me", sys.argv[1], SinksSpec(wandb_project="p"), {})
feed = SinkFeed(run, wanted(run.sinks))
feed.offer(RunFigures(num_env_steps_sampled_lifetime=1), 1, 0.0)
while True:
    signal.pause()
"""


@pytest.mark.parametrize("manner", ["good", "hangs"])
def test_sink_ends_when_its_supervisor_is_killed(
    wandb: FakeWandb, wait_until: WaitUntil, manner: str
) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, str(wandb.folder / "logs")],
        env=wandb.environment(manner),
    )
    try:
        wait_until(lambda: wandb.told("log"))
        sink = int(wandb.told("log")[0]["pid"])
        assert is_running(sink)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()
    wait_until(lambda: not is_running(sink))
    assert wandb.told("finish") == []  # the run may be continued, so it must not be called ended


@pytest.fixture
def lone_sink(wandb: FakeWandb) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "raydash.sinks.process", "wandb", str(os.getpid())],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=wandb.environment("good"),
    )
    yield process
    process.kill()
    process.communicate()


def test_process_passes_over_lines_that_are_none_of_ours(
    wandb: FakeWandb, lone_sink: subprocess.Popen[bytes]
) -> None:
    row = Row(1.0, 7, {"x": 1.0})
    lines = [b"\xff\xfe nonsense\n", line_of(wandb.run()), b"[]\n", line_of(RunEnd(row, "failed"))]
    out, _ = lone_sink.communicate(b"".join(lines), timeout=60)
    assert lone_sink.returncode == 0
    assert [log["step"] for log in wandb.told("log")] == [7]
    assert wandb.told("finish") == [{"what": "finish", "exit_code": 1}]
    assert b"Answered" in out


def test_process_without_orders_ends_with_its_input(lone_sink: subprocess.Popen[bytes]) -> None:
    lone_sink.communicate(b"", timeout=60)
    assert lone_sink.returncode == 1
