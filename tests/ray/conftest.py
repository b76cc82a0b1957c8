"""One real cluster for the whole folder, real engines on it, and runs that all end."""

import threading
import time
from collections.abc import Callable, Iterator

import pytest

from raydash.cluster.cluster_file import GuardianSettings
from raydash.cluster.launch import LaunchedCluster, stop_cluster
from raydash.paths import state_dir
from tests.fakes.engines.clusters import is_gone, launch, record_of
from tests.fakes.engines.terminal import CEILING_S, Terminal

OpenTerminal = Callable[[], Terminal]


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[LaunchedCluster]:
    """The suite's cluster, held by a lease of this process, which never imports ray."""
    # A short grace: engines are killed here, and this process holds a lease all the time.
    cluster = launch(state_dir(), GuardianSettings(grace_s=0.5))
    gone = is_gone(state_dir(), record_of(state_dir()))
    yield cluster
    cluster.lease.release()
    ceiling_s = time.monotonic() + CEILING_S
    while not gone() and time.monotonic() < ceiling_s:
        threading.Event().wait(0.05)
    if not gone():
        stop_cluster(state_dir())
        pytest.fail("the cluster went on: a run was left on it", pytrace=False)


@pytest.fixture(scope="session")
def _engine(ray_cluster: LaunchedCluster) -> Iterator[Terminal]:
    terminal = Terminal()
    terminal.connect()
    yield terminal
    terminal.close()


@pytest.fixture
def terminal(_engine: Terminal) -> Iterator[Terminal]:
    """A connected engine, the same for all tests; what they start on it has ended after each."""
    _engine.catch_up()
    yield _engine
    _engine.end_runs()


@pytest.fixture
def open_terminal(ray_cluster: LaunchedCluster) -> Iterator[OpenTerminal]:
    """Opens further engines; those that a test has not closed are closed in order."""
    opened: list[Terminal] = []

    def open_one() -> Terminal:
        terminal = Terminal()
        opened.append(terminal)
        terminal.connect()
        return terminal

    yield open_one
    for terminal in reversed(opened):
        terminal.close()
