"""Workers on another node than their supervisor: a second raylet, with an address of its own."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from raydash.cluster.cluster_file import Launch
from raydash.cluster.guardian import ray_environment
from raydash.cluster.launch import LaunchedCluster
from raydash.core.messages import Connect, Verb
from raydash.core.spec import ClusterSpec
from raydash.core.states import RunState
from tests.fakes.engines.terminal import STEPPING, Terminal
from tests.fakes.runs.recount import check_recording

ADDRESS = "127.0.0.3"


@pytest.fixture
def second_node(ray_cluster: LaunchedCluster) -> Iterator[str]:
    """The address of a node that has what the first one has not."""
    launch = Launch.read(ray_cluster.folder)
    assert launch is not None
    node = subprocess.Popen(
        [
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--block"),
            *(f"--address={ray_cluster.address}", f"--node-ip-address={ADDRESS}"),
            *("--num-cpus=2", "--resources", '{"elsewhere": 2}', "--disable-usage-stats"),
            *("--include-log-monitor=false", "--object-store-memory=80000000"),
        ],
        env=ray_environment(launch, dict(os.environ)),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    yield ADDRESS
    node.send_signal(signal.SIGTERM)
    node.wait(30)


@pytest.fixture
def terminal(ray_cluster: LaunchedCluster) -> Iterator[Terminal]:
    """Attached by address: workers of a launched cluster stay on its own node."""
    terminal = Terminal()
    spec = ClusterSpec(address=ray_cluster.address, token_path=str(ray_cluster.token_path))
    terminal.done(Connect(0, spec))
    yield terminal
    terminal.end_runs()
    terminal.close()


@pytest.mark.parametrize("mode", ["actors", "lockstep"])
def test_workers_elsewhere_are_seen_paused_and_counted_like_those_here(
    second_node: str, terminal: Terminal, mode: str
) -> None:
    run = terminal.start_stepping(
        rollout={"num_workers": 2, "mode": mode}, cluster={"resources": {"elsewhere": 1.0}}
    )
    terminal.wait(
        lambda: (
            np.isfinite(run.latest.workers.rss_bytes).all()
            and (run.latest.workers.cpu_percent > 0).all()
        ),
        "the vitals that the probe on the other node reads",
    )
    nodes = [run.latest.nodes[number] for number in run.latest.workers.node]
    assert nodes == [second_node] * 2
    assert run.info.node != second_node

    terminal.ask(run, Verb.PAUSE)
    terminal.wait(lambda: run.latest.state is RunState.PAUSED, "all paused")
    terminal.ask(run, Verb.RESUME)
    terminal.wait(lambda: all(run.activity(index) in STEPPING for index in (1, 2)), "stepping")

    os.kill(run.pid(1), signal.SIGKILL)
    logs = Path(run.info.log_dir)
    terminal.wait(lambda: list(logs.glob("worker-1-life-0-*.log")), "its log, brought here")
    terminal.wait(lambda: run.latest.workers.incarnation[0] == 1, "made anew")
    terminal.stop(run)
    check_recording(run)
