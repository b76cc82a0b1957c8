"""Attaching to a cluster that somebody else runs: here the suite's own, by address and token."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from raydash.cluster.launch import LaunchedCluster, why_dead
from raydash.core.faults import Fault
from raydash.core.messages import Connect
from raydash.core.spec import ClusterSpec
from raydash.core.states import Activity, ClusterPhase, EndedBy, RunState
from tests.fakes.engines.terminal import Terminal
from tests.fakes.runs.recount import check_recording


@pytest.fixture
def stranger() -> Iterator[Terminal]:
    """An engine that is not connected."""
    terminal = Terminal()
    yield terminal
    terminal.close()


def attach(terminal: Terminal, address: str, token_path: Path | None) -> Fault | None:
    token = None if token_path is None else str(token_path)
    number = terminal.client.send(Connect(0, ClusterSpec(address=address, token_path=token)))
    return terminal.answer_to(number).fault


def test_an_attached_cluster_runs_what_it_is_asked_and_only_loses_our_actors(
    ray_cluster: LaunchedCluster, stranger: Terminal
) -> None:
    assert attach(stranger, ray_cluster.address, ray_cluster.token_path) is None
    assert stranger.cluster.phase is ClusterPhase.UP
    assert not stranger.cluster.launched
    run = stranger.start_stepping(rollout={"num_workers": 1})
    last = stranger.stop(run)
    assert last.state is RunState.STOPPED
    check_recording(run)
    stranger.close()
    assert why_dead(ray_cluster.folder) is None


GREEDY = {"resources": {"unobtainium": 1.0}}


def assert_says_what_it_waits_for(terminal: Terminal, mode: str) -> None:
    run = terminal.start(rollout={"num_workers": 2, "mode": mode}, cluster=GREEDY)
    terminal.wait(lambda: set(run.latest.pending) == {1, 2}, "the reasons why they wait")
    needs = "a task needs" if mode == "tasks" else "it needs"
    for why in run.latest.pending.values():
        assert why.startswith(f"no node is large enough: {needs} ")
        assert why.endswith("1 unobtainium (the most on one node is 0)")
    assert set(run.latest.workers.activity) == {Activity.STARTING}
    last = terminal.stop(run)
    assert (last.state, last.pending) == (RunState.STOPPED, {})


@pytest.mark.parametrize("mode", ["actors", "lockstep", "tasks"])
def test_a_worker_that_does_not_fit_says_what_it_waits_for(
    mode: str, ray_cluster: LaunchedCluster, stranger: Terminal
) -> None:
    assert attach(stranger, ray_cluster.address, ray_cluster.token_path) is None
    assert_says_what_it_waits_for(stranger, mode)


def test_a_task_that_fits_on_no_node_of_a_launched_cluster_says_so_too(terminal: Terminal) -> None:
    assert_says_what_it_waits_for(terminal, "tasks")


def test_a_worker_that_does_not_fit_on_a_launched_cluster_fails_in_words(
    terminal: Terminal,
) -> None:
    """Its place is this machine, and Ray waits for no other."""
    run = terminal.start(rollout={"num_workers": 1}, cluster=GREEDY)
    last = terminal.end_of(run)
    assert (last.state, last.ended_by) == (RunState.FAILED, EndedBy.WORKERS_FAILED)
    assert "has not what it needs: see num_cpus, num_gpus and resources" in last.cause


def test_a_refused_token_is_told_apart_from_a_dead_port(
    ray_cluster: LaunchedCluster, stranger: Terminal, tmp_path: Path
) -> None:
    wrong = tmp_path / "token"
    wrong.write_text("0" * 64)
    fault = attach(stranger, ray_cluster.address, wrong)
    assert fault is not None
    assert "token" in fault.sentence()
    assert stranger.cluster.phase is ClusterPhase.FAILED


@pytest.mark.parametrize(
    ("address", "word"),
    [("ray://127.0.0.1:6379", "ray://"), ("127.0.0.1", "port"), ("127.0.0.1:1", "127.0.0.1:1")],
)
def test_a_wrong_address_is_answered_in_words(stranger: Terminal, address: str, word: str) -> None:
    fault = attach(stranger, address, None)
    assert fault is not None
    assert word in fault.sentence()
