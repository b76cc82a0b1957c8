"""`raydash ps`, `stop`, `swap` and `cluster`: list, change or end live runs. Launch nothing."""

import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict

from raydash import paths
from raydash.cluster.launch import cluster_status, stop_cluster
from raydash.core.messages import (
    AttachRun,
    CommandRun,
    Connect,
    FromEngine,
    RunList,
    RunSummary,
    Verb,
)
from raydash.core.spec import ClusterSpec, PolicySpec
from raydash.core.updates import RunUpdate
from raydash.core.words import plain
from raydash.engine.owner import owner
from raydash.terminal.commands.run import EXIT_BAD_INPUT, EXIT_DONE
from raydash.terminal.engine_client import EngineClient

_LIST_TIMEOUT_S = 5.0
_STOP_TIMEOUT_S = 60.0
_OVER_TIMEOUT_S = 30.0
_SWAP_TIMEOUT_S = 180.0
"""Long, because PyTorch may have to be imported, in a trial and then in each worker."""

OpenEngine = Callable[[], EngineClient]


def list_runs(
    address: str | None, *, as_json: bool = False, open_engine: OpenEngine = EngineClient
) -> int:
    """Print the live runs of the cluster at `address`, or of the launched one.

    Raises:
        FaultError: if the cluster cannot be reached.
    """
    runs: Sequence[RunSummary] = ()
    if _has_cluster(address):
        with open_engine() as client:
            runs = _connected_runs(client, address)
    if as_json:
        print(json.dumps({"runs": [asdict(run) for run in runs]}, allow_nan=False))
    else:
        print(_table(runs) if runs else "no run is alive")
    return EXIT_DONE


def stop_runs(
    wanted: str | None, address: str | None, *, open_engine: OpenEngine = EngineClient
) -> int:
    """Stop one run or all runs of this user on the cluster at `address`, or on the launched one.

    `wanted` is the run's id, the beginning of its id or its name; None stops all of the user's.

    Raises:
        FaultError: if the cluster cannot be reached, or a run does not take the command.
    """
    if not _has_cluster(address):
        if wanted is not None:
            return _refused(f"no run {wanted}: no cluster is alive here")
        print("no run of yours is alive")
        return EXIT_DONE
    with open_engine() as client:
        runs = _connected_runs(client, address)
        if wanted is None:
            chosen = [run for run in runs if run.owner == owner()]
        else:
            chosen = _matching(runs, wanted)
            if problem := _why_not(wanted, chosen, runs):
                return _refused(problem)
        for run in chosen:
            stop = client.send(CommandRun(0, run.run_id, Verb.STOP))
            client.wait_answer(stop, _STOP_TIMEOUT_S)
        over = _wait_until_over(client, {run.run_id for run in chosen})
        for run in chosen:
            print(f"{run.run_id} {'has stopped' if run.run_id in over else 'is stopping'}")
        if not chosen:
            print("no run of yours is alive")
    return EXIT_DONE


def swap_policy(
    wanted: str,
    policy: PolicySpec,
    address: str | None,
    *,
    open_engine: OpenEngine = EngineClient,
) -> int:
    """Give a live run another policy, which must be trusted (`raydash.terminal.commands.trust`).

    Raises:
        FaultError: if the cluster cannot be reached, or the run does not take the policy.
    """
    if not _has_cluster(address):
        return _refused(f"no run {wanted}: no cluster is alive here")
    with open_engine() as client:
        runs = _connected_runs(client, address)
        chosen = _matching(runs, wanted)
        problem = _why_not(wanted, chosen, runs)
        if problem:
            return _refused(problem)
        run_id = chosen[0].run_id
        snapshots: list[RunUpdate] = []

        def collect(message: FromEngine) -> None:
            if isinstance(message, RunUpdate) and message.run_id == run_id:
                snapshots.append(message)

        client.wait_answer(client.send(AttachRun(0, run_id)), _STOP_TIMEOUT_S, collect)
        for message in client.messages(_LIST_TIMEOUT_S if not snapshots else 0.0):
            collect(message)
            if snapshots:
                break
        swap = client.send(CommandRun(0, run_id, Verb.SWAP, policy=policy))
        client.wait_answer(swap, _SWAP_TIMEOUT_S, collect)
        print(f"{run_id} has another policy: {policy.kind} {policy.path or ''}".rstrip())
    return EXIT_DONE


def print_cluster_status(*, as_json: bool = False) -> int:
    """Print how the launched cluster is."""
    record = cluster_status(paths.state_dir())
    if as_json:
        print(json.dumps({"cluster": asdict(record) if record else None}))
    elif record is None:
        print("no launched cluster is alive")
    else:
        print(
            f"cluster  {record.phase.value}  {record.text}\n"
            f"address  {record.address or '-'}\n"
            f"started  {record.started_utc}\n"
            f"Ray      {record.ray_version}, process {record.ray_pid}\n"
            f"guardian process {record.guardian_pid}\n"
            f"token    {record.token_path}"
        )
    return EXIT_DONE


def end_cluster() -> int:
    """End the launched cluster and every run on it.

    Raises:
        FaultError: if it does not end.
    """
    found = stop_cluster(paths.state_dir())
    print("the cluster has ended" if found else "no launched cluster is alive")
    return EXIT_DONE


def _refused(text: str) -> int:
    print(f"raydash: {text}", file=sys.stderr)
    return EXIT_BAD_INPUT


def _has_cluster(address: str | None) -> bool:
    """Whether there is a cluster to connect to; without one, an engine would launch it."""
    if address:
        return True
    record = cluster_status(paths.state_dir())
    return record is not None and record.phase.is_joinable


def _connected_runs(client: EngineClient, address: str | None) -> Sequence[RunSummary]:
    lists: list[RunList] = []

    def collect(message: FromEngine) -> None:
        if isinstance(message, RunList):
            lists.append(message)

    connect = Connect(0, ClusterSpec(address=address))
    client.wait_answer(client.send(connect), math.inf, collect)
    if not lists:
        for message in client.messages(_LIST_TIMEOUT_S):
            collect(message)
            if lists:
                break
    return lists[-1].runs if lists else ()


def _wait_until_over(client: EngineClient, run_ids: set[str]) -> set[str]:
    """Wait until the runs are over, for a limited time; return the ids of those that are."""
    alive = set(run_ids)
    for message in client.messages(_OVER_TIMEOUT_S if alive else 0.0):
        if isinstance(message, RunList):
            alive &= {run.run_id for run in message.runs if not run.state.is_over}
        if not alive:
            break
    return run_ids - alive


def _why_not(wanted: str, chosen: Sequence[RunSummary], runs: Sequence[RunSummary]) -> str:
    if not chosen:
        return f"no run {wanted}; live runs: {', '.join(run.run_id for run in runs) or 'none'}"
    if len(chosen) > 1:
        return f"{wanted} may be any of {', '.join(run.run_id for run in chosen)}"
    if chosen[0].owner != owner():
        return f"{chosen[0].run_id} belongs to {chosen[0].owner}; only its owner may do that"
    return ""


def _matching(runs: Sequence[RunSummary], wanted: str) -> list[RunSummary]:
    """Find the runs that `wanted` may mean; empty (say, an unset shell variable) means none."""
    exact = [run for run in runs if wanted == run.run_id]
    return exact or [
        run for run in runs if wanted and (run.run_id.startswith(wanted) or run.name == wanted)
    ]


def _table(runs: Sequence[RunSummary]) -> str:
    rows = [("RUN", "STATE", "ENV", "WORKERS", "STEPPED", "ENV STEPS", "EPISODES", "OWNER")]
    rows += [
        (
            run.run_id,
            run.state.value,
            run.env_id,
            str(run.num_workers),
            plain.duration(run.elapsed_s),
            plain.count(run.num_env_steps_sampled_lifetime),
            plain.count(run.num_episodes_lifetime),
            run.owner,
        )
        for run in runs
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    )
