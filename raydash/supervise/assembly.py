"""Assembles a supervisor from what depends on where its workers are, and what does not."""

import os
import time
from dataclasses import replace
from pathlib import Path

from raydash.core.machine.machine import RunMachine
from raydash.core.messages import PROTOCOL_VERSION, StartRun
from raydash.core.spec import RunSpec
from raydash.core.updates import RunInfo, SupervisorHealth
from raydash.record.file.folder import stimuli_of
from raydash.supervise.account.roster import Probes
from raydash.supervise.account.run_account import RunAccount
from raydash.supervise.keeping.recording import Past
from raydash.supervise.keeping.stimulus_log import StimulusLog
from raydash.supervise.learning import Learning
from raydash.supervise.placement import SupervisorPlacement
from raydash.supervise.pools.learner_client import LearnerClient
from raydash.supervise.pools.pool import WorkerPool
from raydash.supervise.sinks import LiveSinks
from raydash.supervise.supervisor import Recording, Supervisor
from raydash.version import __version__


def run_info(start: StartRun, placement: SupervisorPlacement, *, node: str) -> RunInfo:
    """Say of a run what does not change; `node` is where its supervisor is."""
    return RunInfo(
        run_id=placement.run_id,
        owner=placement.owner,
        started_utc=placement.started_utc,
        recording=placement.recording,
        log_dir=placement.log_dir,
        node=node,
        raydash_version=__version__,
        protocol_version=PROTOCOL_VERSION,
        source_dirs=start.source_dirs,
    )


def assemble(
    start: StartRun,
    placement: SupervisorPlacement,
    info: RunInfo,
    past: Past,
    *,
    started_s: float,
    pool: WorkerPool,
    probes: Probes,
    recording: Recording,
    learner: LearnerClient | None = None,
    sinks: LiveSinks | None = None,
) -> Supervisor:
    """Make the supervisor of a run, which goes on after `past`, without starting it."""
    spec, recorded = start.spec, past.recorded
    machine = _machine(start, placement, past)
    learning = Learning(machine.plan, learner, recorded.generations)
    account = RunAccount(
        spec,
        info,
        machine,
        learning,
        ledger=past.ledger,
        history=past.history,
        events=recorded.events,
    )
    return Supervisor(
        account,
        machine=machine,
        learning=learning,
        pool=pool,
        probes=probes,
        recording=recording,
        clock=time.monotonic,
        started_s=started_s,
        health=SupervisorHealth(pid=os.getpid(), incarnation=recorded.num_incarnations),
        earlier_fault=past.fault,
        sinks=sinks,
        stimuli=_stimulus_log(spec, machine, placement, recorded.num_incarnations),
    )


def _machine(start: StartRun, placement: SupervisorPlacement, past: Past) -> RunMachine:
    recorded = past.recorded
    requested = replace(
        recorded.commanded,
        num_workers=recorded.commanded.num_workers or placement.num_workers,
        keep=start.keep or recorded.commanded.keep,
    )
    return RunMachine(
        start.spec,
        requested,
        elapsed_s=recorded.elapsed_s,
        num_env_steps=past.ledger.num_env_steps(),
        num_episodes=past.ledger.num_episodes(),
        incarnations=past.incarnations,
        num_restarts=recorded.num_restarts,
        learning=recorded.learning,
    )


def _stimulus_log(
    spec: RunSpec, machine: RunMachine, placement: SupervisorPlacement, incarnation: int
) -> StimulusLog:
    recording = Path(placement.recording)
    return StimulusLog(
        placement.run_id,
        spec,
        machine,
        path=stimuli_of(recording, incarnation),
        earlier=stimuli_of(recording, incarnation - 1) if incarnation else None,
    )
