"""A throw-away Ray driver for tests: asks a cluster one question and prints the answer as JSON.

``python -m tests.fakes.engines.ray_driver ADDRESS TOKEN_PATH QUESTION``
"""

import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from raydash.cluster import preflight, private_ray
from raydash.cluster.ray_env import apply_driver_environment
from tests.fakes.places import ROOT


def main() -> None:
    address, token_path, question = sys.argv[1:]
    answers = os.dup(1)
    os.dup2(2, 1)  # Ray prints to stdout
    apply_driver_environment(token_path=Path(token_path))
    answer = _QUESTIONS[question](address)
    with os.fdopen(answers, "w") as file:
        file.write(json.dumps(answer))
    os._exit(0)


def _connect(address: str) -> Any:
    import ray

    ray.init(address=address, log_to_driver=False, configure_logging=False)
    return ray


def _pretend(address: str) -> None:
    """Make the cluster look like one of another Ray."""
    private_ray.set_gcs_metadata(address, {"ray_version": "2.9.3", "python_version": "3.11.7"})


def _actors(address: str) -> dict[str, Any]:
    ray = _connect(address)

    class Actor:
        def about(self) -> tuple[int, str, tuple[str, ...]]:
            print("printed by the actor", flush=True)
            return os.getpid(), ray.get_runtime_context().get_node_id(), _log_paths()

    # Nested, like the class: by value, so that the worker needs no tests package.
    def _log_paths() -> tuple[str, ...]:
        from raydash.cluster.private_ray import worker_log_paths

        return worker_log_paths()

    remote = ray.remote(num_cpus=0)(Actor)
    actor = remote.options(name="probe").remote()
    pid, node_id, paths = ray.get(actor.about.remote(), timeout=30)
    alive = _row(actor)
    ray.kill(actor)
    _wait_for(lambda: _state(actor) == "DEAD")
    greedy = remote.options(num_cpus=1000).remote()
    _wait_for(lambda: _state(greedy) == "PENDING_CREATION")
    demand = {"CPU": 1000.0}
    return {
        "pid": pid,
        "node_id": node_id,
        "paths": paths,
        "out": Path(paths[0]).read_text() if paths else "",
        "alive": alive,
        "dead": _row(actor),
        "pending": private_ray.pending_reason(greedy._actor_id.hex(), demand),
        "not_pending": private_ray.pending_reason(actor._actor_id.hex(), {}),
        "available": private_ray.available_per_node(),
    }


def _row(actor: Any) -> dict[str, Any]:
    rows = private_ray.actor_table()
    return asdict(next(row for row in rows if row.actor_id == actor._actor_id.hex()))


def _state(actor: Any) -> str:
    """The state of an actor; empty until Ray has registered it, which it does asynchronously."""
    wanted = actor._actor_id.hex()
    return next((row.state for row in private_ray.actor_table() if row.actor_id == wanted), "")


def _wait_for(condition: Callable[[], bool]) -> None:
    import threading

    for _ in range(1500):
        if condition():
            return
        threading.Event().wait(0.02)
    raise TimeoutError


def _nodes(address: str) -> dict[str, Any]:
    ray = _connect(address)
    return {
        "impatient": [fault.what for fault in preflight.check_nodes(ray, timeout_s=0.0)],
        "patient": [fault.what for fault in preflight.check_nodes(ray)],
    }


def _local_node(address: str) -> dict[str, bool]:
    """Whether this machine has a node, as it is and as if its raylets were another cluster's."""
    here = private_ray.has_local_node(address)
    from ray._private import services

    services.find_node_ids = lambda: {"00" * 28}
    return {"here": here, "elsewhere": private_ray.has_local_node(address)}


def _end_supervisors(address: str) -> int:
    """Kill every supervisor without a restart, and return how many there were."""
    ray = _connect(address)
    named = ray.util.list_named_actors(all_namespaces=True)
    for entry in named:
        ray.kill(ray.get_actor(entry["name"], namespace=entry["namespace"]), no_restart=True)
    return len(named)


def _env_states(address: str) -> dict[str, Any]:
    """The states that environment actors return when they are asked for them."""
    import pickle
    import tempfile

    from raydash.core.messages import StartRun
    from raydash.core.spec_rules import spec_from_table
    from raydash.protocol.codec import encode
    from raydash.worker.remote.env_actor import EnvActor

    ray = _connect(address)
    folders = (str(ROOT),)

    def made(env_id: str, **kwargs: Any) -> Any:
        spec = spec_from_table({"env": {"id": env_id, "kwargs": kwargs}})
        actor = ray.remote(num_cpus=0)(EnvActor).remote(encode(StartRun(0, spec, folders)), 1, 0)
        ray.get(actor.prepare.remote(), timeout=30)
        return actor

    def asked(actor: Any) -> Any:
        return [float(number) for number in ray.get(actor.get_state.remote(), timeout=30)]

    def stepped(actor: Any, action: Any) -> Any:
        answer = actor.step.remote(pickle.dumps(action))
        return pickle.loads(ray.get(answer, timeout=30))

    with tempfile.TemporaryDirectory() as folder:
        noted = made("tests.fakes.user_code.envs:NotedEnv", folder=folder)
        stepped(noted, 0)
        answers = {"noted": asked(noted)}
    noisy, cartpole = made("raydash/NoisyDrift-v0"), made("CartPole-v1")
    observation = stepped(noisy, [0.5] * 10).observation
    answers["noisy"], answers["noisy_observation"] = asked(noisy), observation.tolist()
    stepped(cartpole, 1)
    answers["cartpole"] = asked(cartpole)
    ray.get(cartpole.reset.remote(), timeout=30)
    answers["cartpole_after_reset"] = asked(cartpole)
    answers["counting"] = asked(made("tests.fakes.user_code.envs:CountingEnv"))
    return answers


def _living_workers(address: str) -> list[int]:
    """Process ids of the workers that Ray believes alive."""
    _connect(address)
    from ray._private.state import state
    from ray.core.generated.gcs_pb2 import WorkerTableData

    table = state._connect_and_get_accessor().get_worker_table()
    return [row.pid for row in map(WorkerTableData.FromString, table) if row.is_alive]


_QUESTIONS: dict[str, Callable[[str], Any]] = {
    "actors": _actors,
    "env_states": _env_states,
    "end_supervisors": _end_supervisors,
    "living_workers": _living_workers,
    "local_node": _local_node,
    "nodes": _nodes,
    "pretend": _pretend,
}

if __name__ == "__main__":
    main()
