"""The Ray actor around a `Supervisor`: one detached, named actor per run.

Ray restarts it when it dies (`max_restarts=-1`) with the same arguments; it then goes on from its
recording, and re-creates the workers, which died with it as its plain children.
"""

import contextlib
import logging
import os
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

import raydash
from raydash.cluster import private_ray
from raydash.cluster.leases import Lease
from raydash.core.machine import RunMachine
from raydash.core.messages import PROTOCOL_VERSION, CommandRun, Hello, StartRun, Verb
from raydash.core.spec import RunSpec
from raydash.core.states import EndedBy
from raydash.core.updates import RunInfo, SupervisorHealth
from raydash.core.worker_record import MachineSettings
from raydash.protocol.codec import decode, encode
from raydash.supervise.pool import WorkerPool
from raydash.supervise.probes import NodeProbes
from raydash.supervise.ray_pool import RayPool
from raydash.supervise.recording import NotRecorded, Past, open_recording, read_past
from raydash.supervise.roster import NoProbes, Probes
from raydash.supervise.simulated import SimulatedPool
from raydash.supervise.supervisor import Recording, Supervisor
from raydash.worker.actor import RolloutWorker

TURN_S = 0.02
READER_THREADS = 8
NAMESPACE = "raydash"
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Posting:
    """Where a supervisor works; plain values, so that Ray can carry it.

    Attributes:
        run_id: Of its run.
        owner: `user@host` of whoever starts it.
        started_utc: ISO 8601.
        started_s: The same instant on the node's monotonic clock.
        recording: Path of the DuckDB file.
        log_dir: Folder of worker logs that are kept.
        scratch_dir: Folder for progress files, the same path on every node.
        leases_dir: Where to take a lease on a launched cluster; empty on an attached one.
        cluster: Address of an attached cluster; empty: launched.
        num_workers: Workers to begin with.
    """

    run_id: str
    owner: str
    started_utc: str
    started_s: float
    recording: str
    log_dir: str
    scratch_dir: str
    leases_dir: str
    cluster: str
    num_workers: int


class SupervisorActor:
    """The remote face of a run's supervisor. `hello`, `status` and `stop` never change."""

    def __init__(self, order: bytes, posting: Posting) -> None:
        """Begin the run, or go on with it after a restart.

        Args:
            order: An encoded `StartRun`.
            posting: Where to work.
        """
        os.environ["PYTHONBREAKPOINT"] = "0"
        start: StartRun = decode(order)
        self._posting = posting
        self._lease = (
            Lease.acquire(Path(posting.leases_dir), "supervisor") if posting.leases_dir else None
        )
        self._pool: WorkerPool
        probes: Probes
        if start.simulated:
            self._pool = SimulatedPool(time.monotonic, seed=start.spec.rollout.seed)
            probes = NoProbes()
        else:
            self._pool = RayPool(self._worker_factory(start), clock=time.monotonic)
            probes = NodeProbes(
                clock=lambda: time.monotonic() - posting.started_s,
                log_dir=Path(posting.log_dir),
                scratch_dir=Path(posting.scratch_dir),
            )
        self._supervisor = self._make_supervisor(start, probes)
        threading.Thread(target=self._loop, name="supervisor", daemon=True).start()
        threading.Thread(target=self._explain_pending, name="pending", daemon=True).start()

    # --- what never changes ------------------------------------------------------------------

    def hello(self) -> bytes:
        """Encoded `Hello`."""
        return encode(Hello(PROTOCOL_VERSION, raydash.__version__, os.getpid()))

    def status(self) -> bytes:
        """Encoded `RunSummary`."""
        return encode(self._supervisor.summary())

    def stop(self) -> None:
        """Stop the run; whoever asks may be of another version."""
        command = CommandRun(0, self._posting.run_id, Verb.STOP, ended_by=EndedBy.USER)
        self._supervisor.submit("", command)

    # --- for engines of this version ---------------------------------------------------------

    def submit(self, reader_id: str, payload: bytes) -> None:
        """Take an encoded `CommandRun`; the answer comes with a `pull`."""
        self._supervisor.submit(reader_id, decode(payload))

    @ray.method(concurrency_group="readers")
    def pull(
        self, reader_id: str, incarnation: int, since_seq: int, max_wait_s: float
    ) -> tuple[int, int, bool, list[bytes]]:
        """See `Supervisor.pull`."""
        return self._supervisor.pull(reader_id, incarnation, since_seq, max_wait_s)

    def leave(self, reader_id: str) -> None:
        """A reader goes."""
        self._supervisor.leave(reader_id)

    # --- inside ------------------------------------------------------------------------------

    def _worker_factory(self, start: StartRun) -> Any:
        actor_class = ray.remote(RolloutWorker)
        launched = bool(self._posting.leases_dir)
        demand = worker_demand(start.spec, launched=launched)
        options: dict[str, Any] = {
            "num_cpus": demand.pop("CPU"),
            "num_gpus": demand.pop("GPU"),
            "resources": demand,
            "max_restarts": 0,
            "max_task_retries": 0,
        }
        if launched:
            # One machine: the supervisor's own node, whatever else may have joined it.
            options["scheduling_strategy"] = NodeAffinitySchedulingStrategy(
                ray.get_runtime_context().get_node_id(), soft=False
            )

        def make(worker_index: int, incarnation: int) -> Any:
            return actor_class.options(**options).remote(
                encode(start),
                worker_index,
                incarnation,
                progress_dir=self._posting.scratch_dir,
            )

        return make

    def _make_supervisor(self, start: StartRun, probes: Probes) -> Supervisor:
        posting, spec = self._posting, start.spec
        info = RunInfo(
            run_id=posting.run_id,
            owner=posting.owner,
            started_utc=posting.started_utc,
            recording=posting.recording,
            log_dir=posting.log_dir,
            node=ray.util.get_node_ip_address(),
            raydash_version=raydash.__version__,
            protocol_version=PROTOCOL_VERSION,
        )
        past = Past() if start.simulated else read_past(Path(posting.recording))
        self._is_over = past.is_closed
        ledger = past.ledger
        machine = RunMachine(
            spec,
            num_workers=past.num_workers or posting.num_workers,
            settings=MachineSettings(),
            keep=start.keep or past.keep,
            elapsed_s=past.elapsed_s,
            num_env_steps=ledger.num_env_steps(),
            num_episodes=ledger.num_episodes(),
            incarnations=past.incarnations,
            paused=past.paused,
        )
        pid = os.getpid()
        recording: Recording = (
            NotRecorded()
            if start.simulated or past.is_closed
            else open_recording(
                spec, info, past, clock=time.monotonic, pid=pid, cluster=posting.cluster
            )
        )
        health = SupervisorHealth(pid=pid, incarnation=past.supervisor_incarnation)
        # The machine's monotonic clock went on while we were dead, unless it was rebooted.
        started_s = min(posting.started_s, time.monotonic() - past.last_t_s)
        return Supervisor(
            spec,
            info,
            machine=machine,
            pool=self._pool,
            probes=probes,
            recording=recording,
            clock=time.monotonic,
            started_s=started_s,
            ledger=ledger,
            history=past.history,
            events=past.events,
            health=health,
        )

    def _loop(self) -> None:
        if not self._is_over:
            self._supervisor.start()
        while not (self._is_over or self._supervisor.is_done):
            self._supervisor.turn()
            time.sleep(TURN_S)
        if self._lease is not None:
            self._lease.release()
        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)

    def _explain_pending(self) -> None:
        """Ask Ray why workers wait, on a thread of its own: such questions can block."""
        pool = self._pool
        launched = bool(self._posting.leases_dir)
        demand = worker_demand(self._supervisor.spec, launched=launched)
        while isinstance(pool, RayPool):
            time.sleep(1.0)
            waiting = pool.waiting()
            reasons: dict[int, str] = {}
            with contextlib.suppress(Exception):  # no reason is better than no supervisor
                for index, actor_id in list(waiting.items())[:8]:
                    reasons[index] = private_ray.pending_reason(actor_id, demand)
            pool.set_pending_reasons({index: text for index, text in reasons.items() if text})


def remote_supervisor() -> Any:
    """The actor class: readers wait on threads of their own, beside methods that answer at once."""
    return ray.remote(
        concurrency_groups={"readers": READER_THREADS},
        max_restarts=-1,
        max_task_retries=0,
        num_cpus=0,
    )(SupervisorActor)


def worker_demand(spec: RunSpec, *, launched: bool) -> dict[str, float]:
    """What a worker reserves; on a launched cluster workers share the cores by default."""
    cluster = spec.cluster
    num_cpus = cluster.num_cpus if cluster.num_cpus is not None else (0.0 if launched else 1.0)
    return {"CPU": num_cpus, "GPU": cluster.num_gpus, **cluster.resources}


def new_run_id(env_id: str, now: datetime | None = None) -> str:
    """A name that sorts by start and tells the environment: `20261122-101500-cartpole-v1-3f9a`."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    word = "".join(c if c.isalnum() else "-" for c in env_id.split("/")[-1].split(":")[-1].lower())
    return f"{stamp}-{word[:24].strip('-')}-{os.urandom(2).hex()}"
