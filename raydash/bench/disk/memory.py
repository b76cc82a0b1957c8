"""`raydash bench memory`: whether a supervisor's memory stays flat over a day.

Supervisor, ledger, history, backlog and recorder are the real ones; the workers are simulated,
there is one reader, and the clock runs as fast as it can. A day at full rate would take an hour, so
chunks are ten times as long as in a real run. Two workers hand over some 550 episodes every 4 s,
and a version is closed every 2 s: 43 000 in all, so that what is kept of the last 6 000 versions
turns over seven times. About 23 million episodes are written.
"""

import os
import tempfile
import time
from pathlib import Path

import psutil

from raydash.bench.report import print_progress, print_result
from raydash.core.machine.machine import RunMachine
from raydash.core.machine.requested_state import RequestedState
from raydash.core.machine.worker_record import MachineSettings
from raydash.core.messages import PROTOCOL_VERSION
from raydash.core.spec import RunSpec
from raydash.core.updates import RunInfo, SupervisorHealth
from raydash.record.file.rows import IncarnationRow, RunRow
from raydash.record.write.recorder import Recorder
from raydash.supervise.account.roster import NoProbes
from raydash.supervise.account.run_account import RunAccount
from raydash.supervise.keeping.recording import DuckRecording
from raydash.supervise.learning import Learning
from raydash.supervise.pools.simulated import SimulatedPool
from raydash.supervise.supervisor import Supervisor

HOURS = (1, 6, 12, 24)
NUM_WORKERS = 2
SLICE_S = 4.0
TURN_S = 2.0
PATIENCE_S = 0.5
MAX_GROWTH = 0.1
"""How much resident memory may grow from 1 h to 24 h, to allow for the allocator's noise."""


class _ManualClock:
    """A clock that the bench advances."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def run(*, as_json: bool) -> int:
    """Measure and print; 0 if memory stays flat, else 1."""
    began_s = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="rdb-", dir="/tmp") as folder:
        rss_mb, duckdb_mb, num_episodes, recording_mb = _simulate_day(Path(folder) / "run.duckdb")
    growth = rss_mb[24] / rss_mb[1] - 1.0
    figures: dict[str, object] = {f"rss_mb_{hours}h": rss_mb[hours] for hours in HOURS}
    figures |= {f"of_which_duckdb_buffers_mb_{hours}h": duckdb_mb[hours] for hours in HOURS}
    figures |= {
        "growth_1h_to_24h": growth,
        "goal": MAX_GROWTH,
        "num_episodes": num_episodes,
        "recording_mb": recording_mb,
        "took_s": time.monotonic() - began_s,
    }
    print_result("memory", figures, as_json=as_json)
    return 0 if growth < MAX_GROWTH else 1


def _simulate_day(path: Path) -> tuple[dict[int, float], dict[int, float], int, float]:
    """Simulate a day.

    Returns:
        By hours, the resident memory and DuckDB's buffers in MB; all episodes; the file in MB.
    """
    clock = _ManualClock()
    spec = RunSpec()
    recorder = Recorder(path, clock=time.monotonic, commit_interval_s=0.02)
    recorder.begin(RunRow("bench", spec, "bench", ""), IncarnationRow(0, 0.0, "", "", os.getpid()))
    machine = RunMachine(
        spec,
        RequestedState(num_workers=NUM_WORKERS, keep=True),
        settings=MachineSettings(budget_min_s=SLICE_S, budget_max_s=SLICE_S),
    )
    info = RunInfo("bench", "bench", "", str(path), "", "", "", PROTOCOL_VERSION)
    learning = Learning()
    supervisor = Supervisor(
        RunAccount(spec, info, machine, learning),
        machine=machine,
        learning=learning,
        pool=SimulatedPool(clock),
        probes=NoProbes(),
        recording=DuckRecording(recorder),
        clock=clock,
        started_s=0.0,
        health=SupervisorHealth(pid=os.getpid()),
    )
    supervisor.start()
    rss_mb: dict[int, float] = {}
    duckdb_mb: dict[int, float] = {}
    incarnation, seq = 0, 0
    for hours in HOURS:
        while clock.now_s < hours * 3600.0:
            clock.now_s += TURN_S
            supervisor.turn()
            incarnation, seq, _, _ = supervisor.pull("reader", incarnation, seq, 0.0)
            while recorder.lag_s > PATIENCE_S:  # a queue for a slow disk would count as growth
                time.sleep(1e-3)
        rss_mb[hours] = psutil.Process().memory_info().rss / 1e6
        duckdb_mb[hours] = _duckdb_mb(recorder)
        print_progress(
            f"{hours} h: {rss_mb[hours]:.0f} MB, of which DuckDB {duckdb_mb[hours]:.0f} MB"
        )
    if recorder.fault:
        raise RuntimeError(f"the recording failed: {recorder.fault}")
    recorder.close()
    return rss_mb, duckdb_mb, supervisor.summary().num_episodes_lifetime, recorder.num_bytes / 1e6


def _duckdb_mb(recorder: Recorder) -> float:
    """Return how much of its bounded buffers DuckDB uses."""
    with recorder.reading() as connection:
        (used,) = connection.execute(
            "SELECT sum(memory_usage_bytes) FROM duckdb_memory()"
        ).fetchone()
    return float(used) / 1e6
