"""Checks, before a driver connects to a cluster, whether it can, and if not, what to do about it.

`probe` asks from a throw-away process (``python -m raydash.cluster.preflight``), because Ray may
hang or end the process that asks. `check_nodes` runs once the driver is connected.
"""

import json
import os
import platform
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

from raydash.cluster import private_ray
from raydash.cluster.ray_env import driver_environment, find_token
from raydash.core.faults import Fault, FaultError

_KEY = ("cluster.address",)
_TOKEN_KEY = ("cluster.token_path",)
_POLL_S = 0.03
_PORT_HINTS = {
    "10001": "port 10001 is Ray Client's, which raydash does not use",
    "8265": "port 8265 is the dashboard's",
    "8076": "port 8076 is the object manager's",
}


@dataclass(frozen=True, slots=True)
class ClusterMetadata:
    """What the pre-flight found out about a cluster.

    Attributes:
        address: HOST:PORT of its control store.
        ray_version: The cluster's version of Ray.
        python_version: The cluster's version of Python.
        session_name: Ray's name for this start of the cluster; a restart gets another one.
        token_auth: Whether a token was sent along.
    """

    address: str
    ray_version: str
    python_version: str
    session_name: str
    token_auth: bool


def _refusal(what: str, why: str, remedy: str, keys: tuple[str, ...] = _KEY) -> FaultError:
    return FaultError(Fault(what, why, remedy, keys=keys, bad_input=True))


def parse_address(text: str) -> str:
    """Return the HOST:PORT that a user's text stands for.

    Raises:
        FaultError: with `bad_input`, if it can't be an address.
    """
    text = text.strip()
    if not text:
        raise _refusal(
            "The address is empty", "an address is HOST:PORT", "Give one, or none: for a local Ray"
        )
    if scheme := re.match(r"(\w+)://(.*)", text):
        host = scheme[2].partition(":")[0].partition("/")[0] or "HOST"
        if scheme[1] == "ray":
            raise _refusal(
                f"{text} is a Ray Client address",
                "raydash does not go through Ray Client: it is slow and loses its workers",
                f"Work on that machine: ssh {host} raydash engine; or, if this machine is a node"
                f" of the cluster, use {host}:6379",
            )
        raise _refusal(f"{text} is a web address", "Ray's own is HOST:PORT", f"Use {host}:6379")
    if text in ("auto", "local"):
        raise _refusal(
            f"{text!r} is not an address",
            "which cluster that means is left to chance",
            "Give HOST:PORT, or none for raydash's own local cluster",
        )
    host, colon, port = text.rpartition(":")
    if not colon or not host:
        raise _refusal(
            f"{text!r} has no port", "an address is HOST:PORT", f"Use {text.strip(':')}:6379"
        )
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise _refusal(
            f"{text!r} is ambiguous", "an IPv6 address has brackets", f"Use [{host}]:{port}"
        )
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise _refusal(f"{port!r} is no port", "it is a number from 1 to 65535", f"Use {host}:6379")
    if re.search(r"[\s/@]", host):
        raise _refusal(f"{host!r} is no host", "an address is HOST:PORT", "Use 10.0.0.1:6379")
    return f"{host}:{port}"


def check_token(token_path: Path | None) -> None:
    """Check that the token's file exists and is not empty.

    Raises:
        FaultError: if not. (Ray's own text for this is one of three that look alike.)
    """
    token = find_token(os.environ, token_path)
    if not isinstance(token, Path):
        return
    try:
        empty = not token.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise _refusal(
            f"There is no token file at {token}",
            why,
            "Copy ~/.ray/auth_token from the head, or choose another file",
            _TOKEN_KEY,
        ) from error
    if empty:
        raise _refusal(
            f"The token file {token} is empty",
            "",
            "Copy ~/.ray/auth_token from the head, or choose another file",
            _TOKEN_KEY,
        )


def probe(
    address: str,
    token_path: Path | None = None,
    *,
    cancelled: Callable[[], bool] = lambda: False,
    timeout_s: float = 9.0,
    need_local_node: bool = True,
) -> ClusterMetadata:
    """Ask a cluster whether a driver of this Ray and Python, with this token, may connect.

    Args:
        address: The address as the user gave it.
        token_path: File with the cluster's token; None: the token that Ray would find by itself.
        cancelled: Called often; if it returns True, the probe gives up at once.
        timeout_s: Longest wait, whatever happens.
        need_local_node: Refuse the cluster if this machine is no node of it.

    Raises:
        FaultError: with the reason and what to do about it.
    """
    address = parse_address(address)
    check_token(token_path)
    environment = driver_environment(os.environ, token_path=token_path)
    child = subprocess.Popen(
        [sys.executable, "-m", "raydash.cluster.preflight", address],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    deadline_s = time.monotonic() + timeout_s
    try:
        while child.poll() is None:
            if cancelled():
                raise FaultError(Fault("Cancelled", "the connection is not needed any more"))
            if time.monotonic() > deadline_s:
                raise _no_reply(address)
            time.sleep(_POLL_S)
        assert child.stdout is not None
        reply = _parse_reply(child.stdout.read())
    finally:
        child.kill()
        child.wait()
        if child.stdout is not None:
            child.stdout.close()
    token_sent = environment["RAY_AUTH_MODE"] == "token"
    return interpret_reply(address, reply, token_sent=token_sent, need_local_node=need_local_node)


def _parse_reply(data: bytes) -> dict[str, Any]:
    """Decode the child's last line; an empty table if it died without printing one."""
    try:
        reply = json.loads(data.strip().rpartition(b"\n")[2])
    except ValueError:
        return {}
    return reply if isinstance(reply, dict) else {}


def _no_reply(address: str) -> FaultError:
    return _refusal(
        f"{address} does not answer as Ray does",
        "something accepts the connection but is silent: not a Ray head, or one that hangs",
        "Look at `ray status` on the head; its address is in the last lines of `ray start --head`",
    )


def interpret_reply(
    address: str, reply: dict[str, Any], *, token_sent: bool, need_local_node: bool
) -> ClusterMetadata:
    """Turn the child's reply into metadata of the cluster.

    Raises:
        FaultError: if the reply says that a driver can't connect.
    """
    host, _, port = address.rpartition(":")
    match reply.get("kind"):
        case "no_host":
            raise _refusal(
                f"The host {host} is unknown", str(reply["text"]), "Look at how it is spelt"
            )
        case "nobody":
            raise _refusal(
                f"Nobody listens at {address}",
                str(reply["text"]),
                _PORT_HINTS.get(port)
                or "Look at the address, at the firewall, and whether Ray runs",
            )
        case "token" if token_sent:
            raise _refusal(
                f"{address} refused the token",
                "it belongs to another cluster",
                "Copy ~/.ray/auth_token from the head and choose that file",
                _TOKEN_KEY,
            )
        case "token":
            raise _refusal(
                f"{address} demands a token",
                "none was given and there is no ~/.ray/auth_token here",
                "Copy ~/.ray/auth_token from the head, or set cluster.token_path",
                _TOKEN_KEY,
            )
        case "ok":
            pass
        case _:
            hint = _PORT_HINTS.get(port, "")
            raise _refusal(
                f"{address} is not a Ray head",
                hint or str(reply.get("text", "")) or "it does not speak Ray's protocol",
                f"Use the port that `ray start --head` printed, usually {host}:6379",
            )
    found = ClusterMetadata(
        address=address,
        ray_version=str(reply["ray_version"]),
        python_version=str(reply["python_version"]),
        session_name=str(reply["session_name"]),
        token_auth=token_sent,
    )
    check_versions(found)
    if need_local_node and not reply["local_node"]:
        raise _refusal(
            f"This machine is no node of the cluster at {address}",
            "a Ray driver needs a node on its own machine",
            f"Work on the head instead: ssh {host} raydash engine; or join the cluster:"
            f" ray start --address={address}",
        )
    return found


def check_versions(
    found: ClusterMetadata, *, ray_version: str | None = None, python_version: str | None = None
) -> None:
    """Check that a driver of these versions may connect; by default those of this process.

    Raises:
        FaultError: if they differ so that Ray would refuse.
    """
    ours = ray_version or metadata.version("ray")
    if found.ray_version and found.ray_version != ours:
        raise _refusal(
            f"The cluster at {found.address} runs Ray {found.ray_version}, here it is {ours}",
            "Ray connects only like with like",
            f"python -m pip install ray=={found.ray_version}",
        )
    python = python_version or platform.python_version()
    by_minor = os.environ.get("RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL") == "minor"
    parts = 2 if by_minor else 3
    theirs = found.python_version
    if theirs and theirs.split(".")[:parts] != python.split(".")[:parts]:
        near = theirs.split(".")[:2] == python.split(".")[:2]
        remedy = f"Use Python {theirs} here: uv venv --python {theirs}"
        if near:
            remedy += ", or set RAY_DEFAULT_PYTHON_VERSION_MATCH_LEVEL=minor"
        raise _refusal(
            f"The cluster at {found.address} runs Python {theirs}, here it is {python}",
            "Ray demands the same Python, to the last digit",
            remedy,
        )


def check_nodes(ray: Any, timeout_s: float = 20.0) -> list[Fault]:
    """Return what is wrong with nodes of the attached cluster, such as packages that differ.

    This runs a tiny task on each node through the connected `ray` module, so don't call it on the
    thread that serves commands. A node that does not reply within `timeout_s` is a fault too.
    """
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    wanted = ("raydash", "gymnasium", "numpy")

    # Nested, so that it travels by value: raydash may be missing over there.
    def versions(names: tuple[str, ...]) -> dict[str, str]:
        from importlib import metadata

        found = {}
        for name in names:
            try:
                found[name] = metadata.version(name)
            except metadata.PackageNotFoundError:
                found[name] = ""
        return found

    ask = ray.remote(num_cpus=0, max_retries=0)(versions)
    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    asked = {
        ask.options(
            scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
        ).remote(wanted): ip
        for node_id, ip in nodes.items()
    }
    ours = versions(wanted)
    ready, silent = ray.wait(list(asked), num_returns=len(asked), timeout=timeout_s)
    faults = [
        Fault(
            f"Node {asked[ref]} did not answer within {timeout_s:g} s",
            "its workers do not start",
            "Look at `ray status`, or leave that node out",
        )
        for ref in silent
    ]
    for ref in ready:
        try:
            faults += compare_node(asked[ref], ours, ray.get(ref, timeout=5))
        except Exception as error:  # whatever Ray says of a task that failed, the node is bad
            text = str(error).strip()
            faults.append(
                Fault(f"Node {asked[ref]} cannot run tasks", type(error).__name__, detail=text),
            )
    return faults


def compare_node(ip: str, ours: dict[str, str], theirs: dict[str, str]) -> list[Fault]:
    """Return the differences that keep a node's workers from running.

    raydash has to be the same, gymnasium and NumPy only up to the last digit. Versions are given by
    package, empty for one that is not installed.
    """
    faults = []
    for name, here in ours.items():
        there = theirs.get(name, "")
        digits = 3 if name == "raydash" else 2
        if not there:
            what = f"Node {ip} has no {name}"
        elif there.split(".")[:digits] != here.split(".")[:digits]:
            what = f"Node {ip} has {name} {there}, here it is {here}"
        else:
            continue
        remedy = f"On that node, in Ray's Python: python -m pip install {name}=={here}"
        faults.append(Fault(what, "workers import it there", remedy))
    return faults


def _probe_here(address: str) -> dict[str, Any]:
    """Do everything that may hang; called in the throw-away process."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=1.0):
            pass
    except socket.gaierror as error:
        return {"kind": "no_host", "text": error.strerror}
    except TimeoutError:
        return {"kind": "nobody", "text": "no answer within 1 s"}
    except OSError as error:
        return {"kind": "nobody", "text": (error.strerror or str(error)).lower()}
    from ray.exceptions import AuthenticationError

    try:
        found = private_ray.gcs_metadata(address)
        return {
            "kind": "ok",
            "ray_version": found.ray_version,
            "python_version": found.python_version,
            "session_name": found.session_name,
            "local_node": private_ray.has_local_node(address),
        }
    except AuthenticationError:
        return {"kind": "token"}
    except Exception as error:  # Ray raises several types of its C++ core here
        return {"kind": "not_ray", "text": f"{type(error).__name__}: {error}"[:200]}


if __name__ == "__main__":
    print(json.dumps(_probe_here(sys.argv[1])), flush=True)
    # Ray's threads may hang at a normal exit.
    os._exit(0)
