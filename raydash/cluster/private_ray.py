"""The only module that uses parts of Ray which are private and may change.

Each function says what it relies on, and what it returns when a new Ray has changed that; each has
a test that fails then. Ray is imported inside the functions, because the guardian uses this module
too.
"""

import contextlib
import importlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class GcsMetadata:
    """What a cluster's control store says about its cluster.

    Attributes:
        ray_version: The cluster's version of Ray; empty if it does not say.
        python_version: The cluster's full version of Python; empty if it does not say.
        session_name: Ray's name for this start of the cluster; a restart gets another one.
    """

    ray_version: str
    python_version: str
    session_name: str


@dataclass(frozen=True, slots=True)
class ActorRow:
    """A row of Ray's actor table.

    Attributes:
        actor_id: Id in hex.
        name: Name of a named actor, else empty.
        namespace_job: Id, in hex, of the job that created it.
        class_name: Name of the actor's class.
        state: Ray's word: PENDING_CREATION, ALIVE, RESTARTING, DEAD, ...
        pid: Process id; 0 while it has no process.
        node_id: Id of its node in hex; empty while it is not placed.
        node_ip: Address of that node.
        num_restarts: How often Ray restarted it.
        death_cause: Ray's text about its death; empty while it is alive.
    """

    actor_id: str
    name: str
    namespace_job: str
    class_name: str
    state: str
    pid: int
    node_id: str
    node_ip: str
    num_restarts: int
    death_cause: str


def registered_address(temp_dir: Path) -> str:
    """Return the address of a head that is starting, as soon as its node is registered.

    `ray start` looks for the node once a second; its logs tell up to a second earlier. Relies on
    the `gcs_server_port_*` file and a line in `raylet.out`. Fallback: empty, and the caller waits
    for `ray_current_cluster`.
    """
    session = temp_dir / "session_latest"
    try:
        log = (session / "logs" / "raylet.out").read_text(encoding="utf-8", errors="replace")
        started = re.search(r"Raylet of id, \w+ started\..*?address: ([\d.]+):\d+", log)
        port = next(session.glob("gcs_server_port_*")).read_text(encoding="ascii").strip()
    except (OSError, StopIteration, UnicodeDecodeError):
        return ""
    return f"{started[1]}:{port}" if started and port.isdecimal() else ""


def gcs_metadata(address: str) -> GcsMetadata:
    """Ask a control store about its cluster, without becoming a driver.

    Relies on `ray._raylet.GcsClient` and the key `CLUSTER_METADATA`. Token and time limits come
    from the environment (`ray_env`).

    Raises:
        ray.exceptions.AuthenticationError: when the token is missing or refused.
        Exception: whatever Ray raises when nobody answers as a control store.
    """
    client = _gcs_client(address)
    raw = client.internal_kv_get(b"CLUSTER_METADATA", b"cluster")
    name = client.internal_kv_get(b"session_name", b"session")
    table: dict[str, Any] = {}
    with contextlib.suppress(TypeError, ValueError):
        table = json.loads(raw)
    return GcsMetadata(
        ray_version=str(table.get("ray_version", "")),
        python_version=str(table.get("python_version", "")),
        session_name=name.decode() if name else "",
    )


def set_gcs_metadata(address: str, table: Mapping[str, str]) -> None:
    """Rewrite what a private cluster says about itself, so that tests can meet another version."""
    client = _gcs_client(address)
    client.internal_kv_put(b"CLUSTER_METADATA", json.dumps(dict(table)).encode(), True, b"cluster")


def has_local_node(address: str) -> bool:
    """Return whether this machine runs a node of a cluster, which a Ray driver needs to attach.

    Relies on `services.find_node_ids` (node ids of the raylets on this machine) and on
    `GcsClient.get_all_node_info`. Fallback: True, and `ray.init` finds out.
    """
    try:
        from ray._private.services import find_node_ids

        local = set(find_node_ids())
        nodes = _gcs_client(address).get_all_node_info(timeout=3.0)
        return any(node_id.hex() in local for node_id in nodes)
    except (ImportError, AttributeError, TypeError):
        return True


def actor_table() -> list[ActorRow]:
    """Return all actors that the connected cluster knows, dead ones too.

    Blocks while the GCS hangs.

    Relies on `ray._private.state.actors`. Fallback: an empty list.
    """
    try:
        import ray._private.state

        table = ray._private.state.actors()
        return [_actor_row(row) for row in table.values()]
    except (ImportError, AttributeError, KeyError):
        return []


def available_per_node() -> dict[str, dict[str, float]]:
    """Return free resources by node id. Blocks while the GCS hangs.

    Relies on `ray._private.state.available_resources_per_node`. Fallback: an empty dict.
    """
    try:
        import ray._private.state

        table = ray._private.state.available_resources_per_node()
    except (ImportError, AttributeError):
        return {}
    return {node: {name: float(v) for name, v in row.items()} for node, row in table.items()}


def worker_log_paths() -> tuple[str, ...]:
    """Return the files that stdout and stderr of the calling actor go to.

    Relies on `global_worker.get_out_file_path` and `get_err_file_path`. Fallback: empty.
    """
    try:
        from ray._private.worker import global_worker

        paths = (global_worker.get_out_file_path(), global_worker.get_err_file_path())
    except (ImportError, AttributeError):
        return ()
    return tuple(dict.fromkeys(path for path in paths if path))


def logs_dir() -> str:
    """Return the connected cluster's log folder on this node.

    Relies on `ray._private.worker._global_node`. Fallback: empty.
    """
    try:
        from ray._private.worker import _global_node

        return str(_global_node.get_logs_dir_path())
    except (ImportError, AttributeError):
        return ""


def pending_reason(actor_id_hex: str, demand: Mapping[str, float]) -> str:
    """Explain why an actor has no process yet; empty if it does not wait for resources.

    `demand` is what it reserves, as in `{"CPU": 1.0, "GPU": 0.5}`. Relies on the actor table and
    the free resources per node. Fallback: Ray's word for its state.
    """
    row = next((row for row in actor_table() if row.actor_id == actor_id_hex), None)
    if row is None or row.state == "ALIVE":
        return ""
    if row.state == "DEAD":
        return row.death_cause
    return _explain_on_cluster(demand, of_tasks=False) or row.state.lower()


def waiting_tasks_reason(demand: Mapping[str, float]) -> str:
    """Explain why a worker's task may not have returned; empty if a node has room for it.

    Ray does not tell a driver whether a task waits or runs, so all there is to go by are the free
    resources per node, which this relies on. Fallback: empty.
    """
    return _explain_on_cluster(demand, of_tasks=True)


def _explain_on_cluster(demand: Mapping[str, float], *, of_tasks: bool) -> str:
    import ray

    totals = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    return explain_demand(demand, totals, list(available_per_node().values()), of_tasks=of_tasks)


def explain_demand(
    demand: Mapping[str, float],
    totals: list[dict[str, float]],
    free: list[dict[str, float]],
    *,
    of_tasks: bool = False,
) -> str:
    """Explain why no node can take an actor or a task now; empty if one can.

    Args:
        demand: What the actor or task reserves.
        totals: All resources, one dict per node.
        free: Free resources, one dict per node.
        of_tasks: Whether this is about a worker's tasks, which may also be running and slow.
    """
    needs = "a task needs" if of_tasks else "it needs"
    wanted = {name: amount for name, amount in demand.items() if amount > 0}
    if any(_fits(wanted, node) for node in free) or not totals:
        return ""
    if not any(_fits(wanted, node) for node in totals):
        most = ", ".join(
            f"{amount:g} {name} (the most on one node is {_largest(name, totals):g})"
            for name, amount in wanted.items()
        )
        return f"no node is large enough: {needs} {most}"
    amounts = ", ".join(
        f"{amount:g} {name} ({_largest(name, free):g} free on the best node)"
        for name, amount in wanted.items()
    )
    awaited = "resources, or for a slow step" if of_tasks else "resources"
    return f"waiting for {awaited}: {needs} {amounts}"


def _fits(wanted: Mapping[str, float], node: Mapping[str, float]) -> bool:
    return all(node.get(name, 0.0) >= amount for name, amount in wanted.items())


def _largest(name: str, nodes: list[dict[str, float]]) -> float:
    return max((node.get(name, 0.0) for node in nodes), default=0.0)


def _gcs_client(address: str) -> Any:
    # Imported by name, because the C++ core has no type information.
    return importlib.import_module("ray._raylet").GcsClient(address=address)


def _actor_row(row: Mapping[str, Any]) -> ActorRow:
    address = row["Address"]
    dead = row["State"] == "DEAD"
    return ActorRow(
        actor_id=row["ActorID"],
        name=row["Name"],
        namespace_job=row["JobID"],
        class_name=row["ActorClassName"],
        state=row["State"],
        pid=int(row["Pid"]),
        node_id=address["NodeID"],
        node_ip=address["IPAddress"],
        num_restarts=int(row["NumRestarts"]),
        death_cause=_death_text(row["DeathCause"]) if dead else "",
    )


def _death_text(cause: Any) -> str:
    """Return the message of the one of Ray's death causes that is set."""
    kind = cause.WhichOneof("context") if cause is not None else None
    if kind is None:
        return ""
    context = getattr(cause, kind)
    for name in ("error_message", "formatted_exception_string"):
        if text := getattr(context, name, ""):
            return str(text).strip()
    return str(context).strip()
