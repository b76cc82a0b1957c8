"""A probe reads what can be read and reports the rest as unknown."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest

from raydash.core.records import ProbeReading
from raydash.protocol.codec import decode
from raydash.worker.node.probe import UNKNOWN_PHASE, NodeProbe, ProbeActor
from raydash.worker.node.progress import COUNTER, NUM_ENV_STEPS, PHASE, Phase, ProgressWriter
from tests.fakes.user_code.envs import FakeClock


def test_own_process_reads_as_psutil_reads_it() -> None:
    reading = NodeProbe().read([os.getpid()], [""])
    assert reading.rss_bytes[0] == pytest.approx(psutil.Process().memory_info().rss, rel=0.1)
    assert np.isnan(reading.cpu_percent[0])
    assert reading.phase[0] == UNKNOWN_PHASE
    assert reading.num_env_steps[0] == -1
    assert 0 < reading.node_memory_used_bytes < reading.node_memory_bytes


def test_cpu_percent_is_of_one_core_since_the_reading_before() -> None:
    clock = FakeClock()
    probe = NodeProbe(clock)
    probe.read([os.getpid()], [])
    before_s = sum(psutil.Process().cpu_times()[:2])
    while (spent_s := sum(psutil.Process().cpu_times()[:2]) - before_s) < 0.2:
        pass
    clock.now_s += 0.4
    share = probe.read([os.getpid()], []).cpu_percent[0]
    assert share == pytest.approx(100 * spent_s / 0.4, abs=10)


def test_vanished_process_reads_as_unknown() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    reading = NodeProbe().read([child.pid, os.getpid()], ["", ""])
    assert np.isnan(reading.rss_bytes[0])
    assert reading.rss_bytes[1] > 0


def test_progress_of_each_worker_is_in_its_row(tmp_path: Path) -> None:
    writer = ProgressWriter(tmp_path / "w2")
    writer.cells[PHASE], writer.cells[NUM_ENV_STEPS], writer.cells[COUNTER] = Phase.RESETTING, 7, 9
    reading = NodeProbe().read([os.getpid(), os.getpid()], [str(tmp_path / "w1"), writer.path])
    assert reading.phase.tolist() == [UNKNOWN_PHASE, Phase.RESETTING]
    assert reading.num_env_steps.tolist() == [-1, 7]
    assert reading.counter.tolist() == [-1, 9]
    writer.close()


def test_log_tail_shares_the_limit_and_names_what_it_cannot_read(tmp_path: Path) -> None:
    out, missing = tmp_path / "w.out", tmp_path / "w.err"
    out.write_bytes(b"old" + b"x" * 1000 + b"end")
    tail = NodeProbe().log_tail([str(out), str(missing)], max_bytes=200)
    assert b"w.out" in tail
    assert tail.count(b"x") == 97
    assert b"old" not in tail
    assert b"No such file" in tail


def test_probe_actor_answers_with_bytes_of_the_codec(tmp_path: Path) -> None:
    actor = ProbeActor()
    reading = decode(actor.read([os.getpid()], [""]))
    assert isinstance(reading, ProbeReading)
    (tmp_path / "a").write_text("hello")
    assert actor.log_tail([str(tmp_path / "a")]).endswith(b"hello\n")
