"""The pre-flight meets a real, private cluster, and things that are no cluster."""

import inspect
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from raydash.cluster import private_ray
from raydash.cluster.cluster_file import GuardianSettings
from raydash.cluster.launch import LaunchedCluster
from raydash.cluster.preflight import check_versions, probe
from raydash.core.faults import Fault, FaultError
from tests.fakes.engines.clusters import ask_ray, is_gone, launch, record_of

CEILING_S = 30.0


@pytest.fixture(scope="module")
def ray_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LaunchedCluster]:
    state_dir = tmp_path_factory.mktemp("s")
    cluster = launch(state_dir, GuardianSettings())
    record = record_of(state_dir)
    yield cluster
    cluster.lease.release()
    gone = is_gone(state_dir, record)
    ceiling = time.monotonic() + 30.0
    while not gone():
        assert time.monotonic() < ceiling
        threading.Event().wait(0.02)


@pytest.fixture(autouse=True)
def no_token_of_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH", "RAY_AUTH_MODE"):
        monkeypatch.delenv(name, raising=False)


def _fault(call: Callable[[], object]) -> Fault:
    with pytest.raises(FaultError) as caught:
        call()
    fault = caught.value.fault
    assert fault.bad_input
    assert fault.remedy
    return fault


def test_a_cluster_that_fits_is_described(ray_of_its_own: LaunchedCluster) -> None:
    found = probe(ray_of_its_own.address, ray_of_its_own.token_path)
    assert found.ray_version == ray_of_its_own.ray_version
    assert found.python_version == ".".join(map(str, sys.version_info[:3]))
    assert found.session_name.startswith("session_")
    assert found.token_auth


def test_the_token_that_ray_would_find_by_itself_is_used(
    ray_of_its_own: LaunchedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(ray_of_its_own.token_path))
    assert probe(ray_of_its_own.address).token_auth
    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH")
    monkeypatch.setenv("RAY_AUTH_TOKEN", ray_of_its_own.token_path.read_text(encoding="ascii"))
    assert probe(ray_of_its_own.address).token_auth


def test_a_missing_token_a_refused_one_and_a_missing_file_are_told_apart(
    ray_of_its_own: LaunchedCluster, tmp_path: Path
) -> None:
    none = _fault(lambda: probe(ray_of_its_own.address))
    assert "demands a token" in none.what
    wrong = tmp_path / "wrong"
    wrong.write_text("0" * 64)
    refused = _fault(lambda: probe(ray_of_its_own.address, wrong))
    assert "refused the token" in refused.what
    missing = _fault(lambda: probe(ray_of_its_own.address, tmp_path / "nowhere"))
    assert str(tmp_path / "nowhere") in missing.what
    (tmp_path / "empty").touch()
    empty = _fault(lambda: probe(ray_of_its_own.address, tmp_path / "empty"))
    assert "empty" in empty.what
    assert {f.keys for f in (none, refused, missing, empty)} == {("cluster.token_path",)}


def test_a_port_where_nobody_listens_is_said_without_waiting_for_the_limit() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    began = time.monotonic()
    fault = _fault(
        lambda: probe(
            f"127.0.0.1:{port}",
            timeout_s=600.0,
            cancelled=lambda: time.monotonic() - began > CEILING_S,
        )
    )
    assert fault.what == f"Nobody listens at 127.0.0.1:{port}"
    assert fault.keys == ("cluster.address",)


def test_an_unknown_host_is_said() -> None:
    assert "no-such-host.invalid" in _fault(lambda: probe("no-such-host.invalid:6379")).what


def test_something_that_listens_but_is_silent_is_no_ray_and_given_up_before_10_s() -> None:
    assert inspect.signature(probe).parameters["timeout_s"].default < 10.0
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        port = silent.getsockname()[1]
        began = time.monotonic()
        fault = _fault(
            lambda: probe(
                f"127.0.0.1:{port}", cancelled=lambda: time.monotonic() - began > CEILING_S
            )
        )
    assert f"127.0.0.1:{port}" in fault.what
    assert "Ray" in fault.what


def test_a_probe_can_be_cancelled_at_any_time() -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        began = time.monotonic()
        with pytest.raises(FaultError, match="Cancelled"):
            probe(
                f"127.0.0.1:{silent.getsockname()[1]}",
                cancelled=lambda: time.monotonic() - began > 0.2,
            )
    assert time.monotonic() - began < 5.0  # it would go on for some seconds more


def test_another_python_is_said_with_what_to_do(ray_of_its_own: LaunchedCluster) -> None:
    found = probe(ray_of_its_own.address, ray_of_its_own.token_path)
    patch = _fault(lambda: check_versions(found, python_version="3.11.99"))
    assert f"runs Python {found.python_version}, here it is 3.11.99" in patch.what


def test_a_silent_node_is_a_fault_and_one_that_has_what_is_needed_is_none(
    ray_of_its_own: LaunchedCluster,
) -> None:
    assert ask_ray(ray_of_its_own, "nodes") == {
        "impatient": ["Node 127.0.0.2 did not answer within 0 s"],
        "patient": [],
    }


def test_a_node_on_this_machine_is_told_from_those_of_other_clusters(
    ray_of_its_own: LaunchedCluster,
) -> None:
    assert ask_ray(ray_of_its_own, "local_node") == {"here": True, "elsewhere": False}


def test_private_calls_of_ray_still_answer_as_documented(ray_of_its_own: LaunchedCluster) -> None:
    said = ask_ray(ray_of_its_own, "actors")
    alive = said["alive"]
    assert (alive["state"], alive["pid"], alive["node_id"]) == (
        "ALIVE",
        said["pid"],
        said["node_id"],
    )
    assert (alive["name"], alive["class_name"].rpartition(".")[2], alive["death_cause"]) == (
        "probe",
        "Actor",
        "",
    )
    assert alive["node_ip"] == "127.0.0.2"
    assert "ray.kill" in said["dead"]["death_cause"]
    assert len(said["paths"]) == 2
    assert "printed by the actor" in said["out"]
    assert said["pending"] == "no node is large enough: it needs 1000 CPU (the most on one node" + (
        f" is {len(os.sched_getaffinity(0))})"
    )
    assert "ray.kill" in said["not_pending"]
    assert said["available"][said["node_id"]]["CPU"] == len(os.sched_getaffinity(0))


def test_rays_logs_still_tell_the_address_before_ray_does(ray_of_its_own: LaunchedCluster) -> None:
    assert private_ray.registered_address(ray_of_its_own.temp_dir) == ray_of_its_own.address


def test_the_throw_away_process_prints_one_json_line(ray_of_its_own: LaunchedCluster) -> None:
    out = subprocess.run(
        [sys.executable, "-m", "raydash.cluster.preflight", "127.0.0.1:1"],
        stdout=subprocess.PIPE,
        check=True,
    ).stdout
    assert json.loads(out)["kind"] == "nobody"


def test_another_ray_is_refused_with_the_line_that_mends_it(
    ray_of_its_own: LaunchedCluster,
) -> None:
    """Keep this the last test of the module: it rewrites what the cluster says of itself."""
    ask_ray(ray_of_its_own, "pretend")
    fault = _fault(lambda: probe(ray_of_its_own.address, ray_of_its_own.token_path))
    assert "runs Ray 2.9.3, here it is" in fault.what
    assert fault.remedy == "python -m pip install ray==2.9.3"
    assert fault.keys == ("cluster.address",)
