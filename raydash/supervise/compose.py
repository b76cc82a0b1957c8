"""Puts the supervisor of a run on Ray together: pool of workers, probes, recording, learner."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from raydash.cluster import private_ray
from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.messages import StartRun
from raydash.core.spec import RunSpec
from raydash.learn.actor import LearnerProcess
from raydash.protocol.codec import encode
from raydash.record.file.folder import best_policy_of, learner_state_of
from raydash.supervise.account.roster import NoProbes, Probes
from raydash.supervise.assembly import assemble, run_info
from raydash.supervise.keeping.recording import NoRecording, Past, open_recording, read_past
from raydash.supervise.placement import SupervisorPlacement
from raydash.supervise.pools.learner_client import LearnerClient
from raydash.supervise.pools.pool import WorkerPool
from raydash.supervise.pools.probes import NodeProbes
from raydash.supervise.pools.ray_learner import RayLearner
from raydash.supervise.pools.ray_pool import RayPool
from raydash.supervise.pools.simulated import SimulatedPool
from raydash.supervise.pools.stepping_pool import EnvHosts, SteppingPool
from raydash.supervise.pools.task_hosts import TaskHosts
from raydash.supervise.sinks import open_sinks
from raydash.supervise.supervisor import Recording, Supervisor
from raydash.worker.actor import RolloutWorker
from raydash.worker.remote.env_actor import EnvActor
from raydash.worker.remote.stepping_actor import SteppingActor

EXPLAIN_EVERY_S = 1.0
MAX_EXPLAINED = 8
UNRECORDED = "RAYDASH_BENCH_UNRECORDED"
"""If this variable is set, nothing is recorded. Only `raydash bench recording` sets it, which
measures what recording costs."""


def compose(start: StartRun, placement: SupervisorPlacement) -> tuple[Supervisor, bool]:
    """Make the supervisor of a run, without starting it; also says whether the run had ended."""
    info = run_info(start, placement, node=ray.util.get_node_ip_address())
    spec = start.spec
    past = Past() if start.simulated else read_past(Path(placement.recording))
    recorded = past.recorded
    recording: Recording = (
        NoRecording(past.fault)
        if start.simulated or recorded.is_closed or past.is_unreadable or UNRECORDED in os.environ
        else open_recording(
            spec, info, past, clock=time.monotonic, pid=os.getpid(), cluster=placement.cluster
        )
    )
    # The node's monotonic clock went on between two incarnations, unless the node was rebooted.
    started_s = min(placement.started_s, time.monotonic() - recorded.last_t_s)
    pool, probes = _pool_and_probes(start, placement, started_s)
    supervisor = assemble(
        start,
        placement,
        info,
        past,
        started_s=started_s,
        pool=pool,
        probes=probes,
        recording=recording,
        learner=None if spec.learner.kind is None else _learner_client(start, placement),
        sinks=None if recorded.is_closed else open_sinks(spec, info),
    )
    return supervisor, recorded.is_closed


def worker_demand(spec: RunSpec, *, launched: bool) -> dict[str, float]:
    """Return what a worker reserves; on a launched cluster workers share the cores by default."""
    cluster = spec.cluster
    num_cpus = cluster.num_cpus if cluster.num_cpus is not None else (0.0 if launched else 1.0)
    return {"CPU": num_cpus, "GPU": cluster.num_gpus, **cluster.resources}


def _pool_and_probes(
    start: StartRun, placement: SupervisorPlacement, started_s: float
) -> tuple[WorkerPool, Probes]:
    if start.simulated:
        return SimulatedPool(time.monotonic, seed=start.spec.rollout.seed, spread_s=1.0), NoProbes()
    demand = worker_demand(start.spec, launched=bool(placement.leases_dir))
    node_id = ray.get_runtime_context().get_node_id()
    pool = _pool(start, placement, demand, node_id)
    explain = threading.Thread(target=_explain_pending, args=(pool, demand), daemon=True)
    explain.start()
    probes = NodeProbes(
        clock=lambda: time.monotonic() - started_s,
        log_dir=Path(placement.log_dir),
        scratch_dir=Path(placement.scratch_dir),
    )
    return pool, probes


def _pool(
    start: StartRun, placement: SupervisorPlacement, demand: dict[str, float], node_id: str
) -> RayPool | SteppingPool:
    """Make the pool of workers for the mode that the spec asks for."""
    mode = start.spec.rollout.mode
    if mode == "actors":
        make = _worker_factory(RolloutWorker, start, placement, demand)
        return RayPool(make, node_id=node_id, clock=time.monotonic)
    hosts: EnvHosts = TaskHosts(seed=start.spec.rollout.seed, node_id=node_id)
    if mode == "lockstep":
        make = _worker_factory(EnvActor, start, placement, demand)
        hosts = RayPool(make, node_id=node_id, clock=time.monotonic)
    loop_class = ray.remote(SteppingActor).options(
        num_cpus=0,
        max_restarts=0,
        max_task_retries=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(node_id, soft=False),
    )
    start_message = encode(start)

    def make_loop() -> Any:
        return loop_class.remote(
            start_message,
            demand=demand,
            run_id=placement.run_id,
            progress_dir=placement.scratch_dir,
        )

    return SteppingPool(hosts, make_loop, node_id=node_id, clock=time.monotonic)


def _worker_factory(
    worker_class: type, start: StartRun, placement: SupervisorPlacement, demand: dict[str, float]
) -> Callable[[int, int, PolicyVersion], Any]:
    actor_class = ray.remote(worker_class)
    custom = {name: amount for name, amount in demand.items() if name not in ("CPU", "GPU")}
    options: dict[str, Any] = {
        "num_cpus": demand["CPU"],
        "num_gpus": demand["GPU"],
        "resources": custom,
        "max_restarts": 0,
        "max_task_retries": 0,
    }
    if placement.leases_dir:
        # A launched cluster is one machine: stay there, whatever other nodes may have joined it.
        options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        )

    def make(worker_index: int, incarnation: int, version: PolicyVersion) -> Any:
        spec = replace(start.spec, policy=version.policy or start.spec.policy)
        # Environment actors have no policy, so their constructor takes no number of one.
        numbered = {"weights_seq_no": version.weights_seq_no} if version.weights_seq_no else {}
        return actor_class.options(**options).remote(
            encode(replace(start, spec=spec)),
            worker_index,
            incarnation,
            **numbered,
            run_id=placement.run_id,
            progress_dir=placement.scratch_dir,
        )

    return make


def _learner_client(start: StartRun, placement: SupervisorPlacement) -> LearnerClient:
    """Make the client of a learner on the supervisor's node: it writes beside the recording."""
    recording = Path(placement.recording)
    actor = ray.remote(LearnerProcess).options(
        num_cpus=0,
        max_restarts=0,
        max_task_retries=0,
        scheduling_strategy=NodeAffinitySchedulingStrategy(
            ray.get_runtime_context().get_node_id(), soft=False
        ),
    )
    start_message = encode(start)

    def make() -> Any:
        return actor.remote(
            start_message,
            state_path=str(learner_state_of(recording)),
            best_path=str(best_policy_of(recording)),
        )

    return RayLearner(make, clock=time.monotonic)


def _explain_pending(pool: RayPool | SteppingPool, demand: dict[str, float]) -> None:
    """Ask Ray again and again why workers wait, on a thread of its own because Ray may block."""
    while True:
        time.sleep(EXPLAIN_EVERY_S)
        reasons: dict[int, str] = {}
        with contextlib.suppress(Exception):  # no reason is better than no supervisor
            waiting = pool.waiting()
            tasks = [index for index, actor_id in waiting.items() if actor_id is None]
            if tasks:
                reasons = dict.fromkeys(tasks, private_ray.waiting_tasks_reason(demand))
            actors = [(index, actor_id) for index, actor_id in waiting.items() if actor_id]
            for index, actor_id in actors[:MAX_EXPLAINED]:
                reasons[index] = private_ray.pending_reason(actor_id, demand)
        pool.set_pending_reasons({index: text for index, text in reasons.items() if text})
