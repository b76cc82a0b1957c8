"""Addresses, versions, environments and Ray's failures: all pure functions about the cluster."""

import os
from pathlib import Path

import pytest

from raydash.cluster import guardian, private_ray, ray_words
from raydash.cluster.cluster_file import GuardianSettings, Launch
from raydash.cluster.preflight import (
    ClusterMetadata,
    check_versions,
    compare_node,
    interpret_reply,
    parse_address,
)
from raydash.cluster.ray_env import apply_driver_environment, driver_environment, find_token
from raydash.core.faults import FaultError

CLUSTER = ClusterMetadata("head:6379", "2.60.0", "3.11.7", "session_1", token_auth=False)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("10.0.0.5:6379", "10.0.0.5:6379"),
        (" head.lan:1 ", "head.lan:1"),
        ("[fe80::1]:6379", "[fe80::1]:6379"),
    ],
)
def test_a_host_and_a_port_are_an_address(text: str, address: str) -> None:
    assert parse_address(text) == address


@pytest.mark.parametrize(
    ("text", "what", "remedy"),
    [
        ("ray://head:10001", "Ray Client", "ssh head raydash engine"),
        ("ray://host:6379", "Ray Client", "host:6379"),
        ("http://head:8265", "web address", "Use head:6379"),
        ("head", "no port", "Use head:6379"),
        (":6379", "no port", "6379"),
        ("", "is empty", "none: for a local Ray"),
        ("head:", "no port", "Use head:6379"),
        ("head:abc", "'abc' is no port", "Use head:6379"),
        ("head:0", "is no port", "Use head:6379"),
        ("head:70000", "is no port", "Use head:6379"),
        ("fe80::1:6379", "ambiguous", "[fe80::1]:6379"),
        ("a b:6379", "is no host", "6379"),
        ("auto", "not an address", "HOST:PORT"),
    ],
)
def test_what_is_no_address_is_refused_with_what_to_type(text: str, what: str, remedy: str) -> None:
    with pytest.raises(FaultError) as caught:
        parse_address(text)
    fault = caught.value.fault
    assert what in fault.what
    assert remedy in fault.remedy
    assert fault.bad_input
    assert fault.keys == ("cluster.address",)


def test_versions_that_ray_accepts_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    check_versions(CLUSTER, ray_version="2.60.0", python_version="3.11.7")
    monkeypatch.setenv("RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL", "minor")
    check_versions(CLUSTER, ray_version="2.60.0", python_version="3.11.2")


@pytest.mark.parametrize(
    ("ray", "python", "remedy"),
    [
        ("2.55.0", "3.11.7", "pip install ray==2.60.0"),
        ("2.60.0", "3.11.2", "RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL=minor"),
        ("2.60.0", "3.12.1", "--python 3.11.7"),
    ],
)
def test_versions_that_ray_refuses_are_named_with_the_line_that_mends_it(
    ray: str, python: str, remedy: str
) -> None:
    with pytest.raises(FaultError) as caught:
        check_versions(CLUSTER, ray_version=ray, python_version=python)
    assert remedy in caught.value.fault.remedy


@pytest.mark.parametrize(
    ("kind", "token_sent", "what"),
    [
        ("token", True, "refused the token"),
        ("token", False, "demands a token"),
        ("nobody", False, "Nobody listens"),
        ("no_host", False, "is unknown"),
        ("not_ray", False, "is not a Ray head"),
        (None, False, "is not a Ray head"),
    ],
)
def test_each_failure_of_a_probe_has_its_own_words(
    kind: str | None, token_sent: bool, what: str
) -> None:
    with pytest.raises(FaultError) as caught:
        interpret_reply(
            "head:8265",
            {"kind": kind, "text": "x"},
            token_sent=token_sent,
            need_local_node=True,
        )
    assert what in caught.value.fault.what


def test_a_machine_outside_the_cluster_is_sent_to_ssh() -> None:
    from importlib import metadata
    from platform import python_version

    answer = {
        "kind": "ok",
        "ray_version": metadata.version("ray"),
        "python_version": python_version(),
        "session_name": "session_1",
        "local_node": False,
    }
    with pytest.raises(FaultError) as caught:
        interpret_reply("head:6379", answer, token_sent=False, need_local_node=True)
    assert "ssh head raydash engine" in caught.value.fault.remedy
    found = interpret_reply("head:6379", answer, token_sent=False, need_local_node=False)
    assert found.session_name == "session_1"


def test_a_node_is_compared_package_by_package() -> None:
    ours = {"raydash": "0.1.0", "gymnasium": "1.4.0", "numpy": "2.4.1"}
    assert compare_node("10.0.0.2", ours, {**ours, "gymnasium": "1.4.9", "numpy": "2.4.0"}) == []
    faults = compare_node("10.0.0.2", ours, {"raydash": "0.1.1", "numpy": "1.26.0"})
    assert [fault.what for fault in faults] == [
        "Node 10.0.0.2 has raydash 0.1.1, here it is 0.1.0",
        "Node 10.0.0.2 has no gymnasium",
        "Node 10.0.0.2 has numpy 1.26.0, here it is 2.4.1",
    ]
    assert "python -m pip install gymnasium==1.4.0" in faults[1].remedy


@pytest.mark.parametrize(
    ("log", "reason"),
    [
        ("/bin/python: No module named 'ray'", "no Ray"),
        ("ValueError: Failed to bind to 127.0.0.1:8265", "port"),
        ("OSError: AF_UNIX path length cannot exceed 107 bytes", "too long"),
        ("OSError: [Errno 28] No space left on device", "disk is full"),
        ("OSError: [Errno 12] Cannot allocate memory", "memory"),
        ("RuntimeError: can't start new thread", "processes or threads"),
        ("OSError: [Errno 24] Too many open files", "open files"),
        ("PermissionError: [Errno 13] Permission denied", "not write"),
        ("something new", "ended with exit code 1"),
    ],
)
def test_a_failed_start_is_explained_by_its_log(log: str, reason: str) -> None:
    assert reason in ray_words.explain_start_failure(1, log).reason


def test_a_death_is_explained_by_rays_own_exit_log() -> None:
    log = "unexpectedly:\n  gcs_server [exit code=-9 (signal 9)]\n  raylet [exit code=1]\n"
    words = ray_words.explain_death(1, log)
    assert words.reason == (
        "Ray's control store (gcs_server) was killed (SIGKILL)"
        " and Ray's node manager (raylet) ended with exit code 1"
    )
    assert "memory" in words.remedy
    assert ray_words.explain_death(-11, "").reason == "the Ray process itself crashed (SIGSEGV)"


def test_the_tail_of_a_log_begins_with_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("".join(f"line {number}\n" for number in range(1000)))
    tail = ray_words.tail(log, max_bytes=100)
    assert tail.startswith("line 9")
    assert tail.endswith("line 999")
    assert ray_words.tail(tmp_path / "none") == ""


def test_a_drivers_environment_is_explicit_about_everything(tmp_path: Path) -> None:
    base = {
        "HOME": str(tmp_path),
        "PATH": "/bin",
        "RAY_ADDRESS": "auto",
        "RAY_AUTH_TOKEN": "of another cluster",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    ours = driver_environment(base, token_path=tmp_path / "token", cache_dir=tmp_path)
    assert ours["PATH"] == "/bin"
    assert ours["RAY_AUTH_MODE"] == "token"
    assert ours["RAY_AUTH_TOKEN_PATH"] == str(tmp_path / "token")
    assert ours["RAY_ENABLE_AUTO_CONNECT"] == "0"
    assert ours["PYTHONPYCACHEPREFIX"] == str(tmp_path / "pycache")
    assert not {"RAY_ADDRESS", "RAY_AUTH_TOKEN", "PYTHONDONTWRITEBYTECODE"} & set(ours)


def test_without_a_token_a_driver_says_that_it_has_none(tmp_path: Path) -> None:
    assert driver_environment({"HOME": str(tmp_path)})["RAY_AUTH_MODE"] == "disabled"


def test_a_token_is_looked_for_where_ray_looks(tmp_path: Path) -> None:
    home = {"HOME": str(tmp_path)}
    assert find_token(home, None) is None
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("x")
    assert find_token(home, None) == tmp_path / ".ray" / "auth_token"
    assert find_token({**home, "RAY_AUTH_TOKEN_PATH": "/p"}, None) == Path("/p")
    assert find_token({**home, "RAY_AUTH_TOKEN": "t", "RAY_AUTH_TOKEN_PATH": "/p"}, None) == "t"
    assert find_token({**home, "RAY_AUTH_TOKEN": "t"}, Path("/given")) == Path("/given")


def test_applying_the_environment_also_removes_what_must_not_be_there(tmp_path: Path) -> None:
    environ = {"HOME": str(tmp_path), "RAY_ADDRESS": "auto"}
    apply_driver_environment(token_path=tmp_path / "token", environ=environ)
    assert "RAY_ADDRESS" not in environ
    assert environ["RAY_AUTH_MODE"] == "token"


def test_ray_is_started_without_fixed_ports_dashboard_or_the_users_token() -> None:
    launch = Launch(
        python="python",
        num_cpus=3,
        temp_dir="/tmp/raydash-1/0123abcd",
        token_path="/s/cluster/token",
        leases_dir="/s/cluster/leases/0123abcd",
        pycache_dir="/c/pycache",
        settings=GuardianSettings(env={"RAY_health_check_period_ms": "500"}),
    )
    command = guardian.ray_command(launch)
    assert command[1:6] == ["-m", "ray.scripts.scripts", "start", "--head", "--block"]
    assert {"--port=0", "--num-cpus=3", "--node-ip-address=127.0.0.2"} <= set(command)
    engine = driver_environment({"MUJOCO_GL": "egl"}, token_path=Path("/other/token"))
    environment = guardian.ray_environment(
        launch, {**engine, "RAY_AUTH_TOKEN": "t", "PYTHONDONTWRITEBYTECODE": "1"}
    )
    assert not [name for name in environment if name.startswith("RAY_gcs")]
    assert environment["MUJOCO_GL"] == "egl"
    assert environment["RAY_AUTH_TOKEN_PATH"] == "/s/cluster/token"
    assert environment["RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S"] == "0"
    assert environment["RAY_health_check_period_ms"] == "500"
    assert not {"RAY_AUTH_TOKEN", "PYTHONDONTWRITEBYTECODE"} & set(environment)


def test_a_demand_that_no_node_can_meet_is_told_from_one_that_has_to_wait() -> None:
    totals = [{"CPU": 4.0}, {"CPU": 8.0, "GPU": 1.0}]
    assert private_ray.explain_demand({"CPU": 2.0}, totals, [{"CPU": 1.0}, {"CPU": 2.0}]) == ""
    assert private_ray.explain_demand({"CPU": 2.0}, totals, [{"CPU": 1.0}, {"CPU": 1.5}]) == (
        "waiting for resources: it needs 2 CPU (1.5 free on the best node)"
    )
    assert private_ray.explain_demand({"CPU": 9.0}, totals, [{"CPU": 4.0}]) == (
        "no node is large enough: it needs 9 CPU (the most on one node is 8)"
    )
    assert private_ray.explain_demand({"CPU": 0.0}, totals, [{"CPU": 0.0}]) == ""
    assert private_ray.explain_demand({"CPU": 2.0}, totals, [{"CPU": 1.5}], of_tasks=True) == (
        "waiting for resources, or for a slow step: a task needs 2 CPU (1.5 free on the best node)"
    )
    assert private_ray.explain_demand({"CPU": 9.0}, totals, [{"CPU": 4.0}], of_tasks=True) == (
        "no node is large enough: a task needs 9 CPU (the most on one node is 8)"
    )


def test_an_early_address_needs_both_the_port_and_the_registered_node(tmp_path: Path) -> None:
    session = tmp_path / "session_latest"
    (session / "logs").mkdir(parents=True)
    log = session / "logs" / "raylet.out"
    log.write_text("Initializing NodeManager\n")
    assert private_ray.registered_address(tmp_path) == ""
    line = "Raylet of id, ab12 started. Raylet consists of x. node_manager address: 127.0.0.2:9"
    log.write_text(line)
    assert private_ray.registered_address(tmp_path) == ""
    (session / "gcs_server_port_ab12").write_text("6380")
    assert private_ray.registered_address(tmp_path) == "127.0.0.2:6380"


def test_the_guardian_needs_nothing_but_the_standard_library() -> None:
    import subprocess
    import sys

    code = (
        "import sys, raydash.cluster.guardian\n"
        "own = {n.split('.')[0] for n in sys.modules} - set(sys.stdlib_module_names)\n"
        "print(sorted(n for n in own if not n.startswith('_')))"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": str(Path(guardian.__file__).parents[2])},
    )
    assert done.stdout.strip() == "['raydash']"
