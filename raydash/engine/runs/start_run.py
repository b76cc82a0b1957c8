"""Starts the supervisor of a run. Everything that can be refused is refused before that.

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
from raydash.core.spec import PolicySpec
from raydash.core.spec_rules import violations_of
from raydash.core.updates import RunUpdate
from raydash.engine.cluster.backend import Backend, Connection
from raydash.engine.owner import owner
from raydash.supervise.placement import SupervisorPlacement
from raydash.trial.trial import try_environment


def start(
    message: StartRun,
    backend: Backend,
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
    message = replace(message, simulated=message.simulated or backend.is_simulated)
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
    num_workers = spec.rollout.num_workers or backend.default_num_workers(connection)
    if connection.launched is not None and not message.simulated:
        fault = why_too_many(num_workers, live())
        if fault is not None:
            raise FaultError(fault)
    run_id = new_run_id(spec.env.id)
    placement = _placement(run_id, connection, num_workers)
    return run_id, backend.create_supervisor(message, placement, connection)


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


def _placement(run_id: str, connection: Connection, num_workers: int) -> SupervisorPlacement:
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
    return SupervisorPlacement(
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


def unexpected_fault(error: Exception) -> Fault:
    """Make a fault of an exception that nobody foresaw."""
    return Fault(
        "Something went wrong inside raydash",
        f"{type(error).__name__}: {error}",
        "The engine's log may say more",
        detail="".join(traceback.format_exception(error)),
    )
