"""Starts the supervisor of a run. Everything that can be refused is refused before Ray is asked.

Runs on a thread of the engine.
"""

import os
import re
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from raydash import paths
from raydash.cluster.capacity import why_too_many
from raydash.core.faults import Fault, FaultError
from raydash.core.messages import RunSummary, StartRun
from raydash.core.spec import PolicySpec, RunSpec
from raydash.core.spec_rules import violations_of
from raydash.core.updates import RunUpdate
from raydash.engine.cluster.connection import NAMESPACE, Connection
from raydash.engine.owner import owner
from raydash.engine.runs.live_runs import ACTOR_PREFIX, supervisor_class
from raydash.protocol.codec import decode, encode
from raydash.trial.trial import try_environment

HELLO_TIMEOUT_S = 60.0


def start(
    message: StartRun,
    await_connection: Callable[[], Connection],
    *,
    live: Callable[[], Sequence[RunSummary]],
) -> tuple[str, Any]:
    """Check a run, try its environment, wait for the cluster and create the supervisor.

    `await_connection` blocks until the cluster is up; `live` returns the runs that go on beside
    the new one.

    Returns:
        The run's id and the handle of its supervisor.

    Raises:
        FaultError: if the run is refused or cannot be started; nothing is left behind.
    """
    spec = message.spec
    violations = violations_of(spec)
    if violations:
        raise FaultError(
            Fault(
                "The spec is refused",
                "; ".join(violation.sentence() for violation in violations),
                "Mend it and start again",
                keys=tuple(violation.key for violation in violations),
                bad_input=True,
            )
        )
    if message.simulated and spec.learner.kind is not None:
        raise FaultError(Fault("Simulated workers do not learn", keys=("learner.kind",)))
    if not message.simulated:
        fault = try_environment(
            spec.env,
            spec.policy,
            message.source_dirs,
            rollout=spec.rollout,
            learner=spec.learner,
        )
        if fault is not None:
            raise FaultError(replace(fault, bad_input=True))
    connection = await_connection()
    num_workers = _num_workers(spec, connection)
    if connection.launched is not None and not message.simulated:
        fault = why_too_many(num_workers, live())
        if fault is not None:
            raise FaultError(fault)
    return _create(message, connection, num_workers)


def try_policy(run: RunUpdate, policy: PolicySpec) -> None:
    """Check that a policy fits a live run (given by its snapshot) before any worker gets it.

    Raises:
        FaultError: if the policy cannot be loaded or does not fit.
    """
    assert run.spec is not None
    assert run.info is not None
    fault = try_environment(run.spec.env, policy, run.info.source_dirs, rollout=run.spec.rollout)
    if fault is not None:
        raise FaultError(fault)


def _num_workers(spec: RunSpec, connection: Connection) -> int:
    if spec.rollout.num_workers is not None:
        return spec.rollout.num_workers
    if connection.launched is not None:
        return len(os.sched_getaffinity(0))
    import ray

    return max(1, int(ray.cluster_resources().get("CPU", 1)))


def _create(message: StartRun, connection: Connection, num_workers: int) -> tuple[str, Any]:
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    from raydash.supervise.placement import SupervisorPlacement

    run_id = new_run_id(message.spec.env.id)
    folder = paths.data_dir() / "runs"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FaultError(
            Fault(
                "The data folder cannot be written",
                f"{folder}: {error.strerror}",
                "Make it writable, or set RAYDASH_DATA_DIR",
            )
        ) from error
    placement = SupervisorPlacement(
        run_id=run_id,
        owner=owner(),
        started_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        started_s=time.monotonic(),
        recording=str(folder / f"{run_id}.duckdb"),
        log_dir=str(folder / f"{run_id}.logs"),
        scratch_dir=_scratch_dir(run_id, connection),
        leases_dir=str(connection.leases_dir or ""),
        cluster="" if connection.launched else connection.status.address,
        num_workers=num_workers,
    )
    handle: Any = None
    try:
        handle = (
            supervisor_class()
            .options(
                name=ACTOR_PREFIX + run_id,
                namespace=NAMESPACE,
                lifetime="detached",
                scheduling_strategy=NodeAffinitySchedulingStrategy(connection.node_id, soft=False),
            )
            .remote(encode(message), placement)
        )
        decode(ray.get(handle.hello.remote(), timeout=HELLO_TIMEOUT_S))
    except Exception as error:
        if handle is not None:
            ray.kill(handle, no_restart=True)
        raise FaultError(
            Fault(
                "The run's supervisor could not be started",
                _last_line(error),
                "Look at the engine's log; run raydash doctor",
                detail=str(error),
            )
        ) from error
    return run_id, handle


def _scratch_dir(run_id: str, connection: Connection) -> str:
    """Choose a launched cluster's temp folder, which ends with it, or else /dev/shm."""
    if connection.launched is not None:
        return str(connection.launched.temp_dir / "progress" / run_id)
    return f"/dev/shm/raydash-{os.getuid()}/{run_id}"


def new_run_id(env_id: str, now: datetime | None = None) -> str:
    """Make an id that sorts by start and names the env: `20261122-101500-cartpole-v1-3f9a`."""
    stamp = (now or datetime.now(UTC)).strftime("%Y%m%d-%H%M%S")
    last_word = env_id.split("/")[-1].split(":")[-1].lower()
    # It becomes the name of a file on any kind of disk, so it is plain ASCII.
    word = re.sub(r"[^a-z0-9]", "-", last_word)[:24].strip("-")
    return f"{stamp}-{word or 'env'}-{os.urandom(2).hex()}"


def find_supervisor(run_id: str, connection: Connection) -> Any:
    """Find the supervisor of a live run, for which it waits some seconds.

    Raises:
        FaultError: if there is none.
    """
    import ray

    deadline_s = time.monotonic() + 3.0
    while True:
        try:
            return ray.get_actor(ACTOR_PREFIX + run_id, namespace=NAMESPACE)
        except ValueError as error:
            if time.monotonic() > deadline_s:
                raise FaultError(
                    Fault(f"Run {run_id} is not live", "no supervisor has that name")
                ) from error
            time.sleep(0.2)


def is_actor_dead(error: BaseException) -> bool:
    """Whether this is Ray's exception for an actor that will not come back."""
    import ray

    return isinstance(error, ray.exceptions.ActorDiedError)


def unexpected_fault(error: Exception) -> Fault:
    """Make a fault of an exception that nobody foresaw."""
    return Fault(
        "Something went wrong inside raydash",
        f"{type(error).__name__}: {error}",
        "The engine's log may say more",
        detail="".join(traceback.format_exception(error)),
    )


def _last_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1].strip() if lines else type(error).__name__
