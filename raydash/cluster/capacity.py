"""Checks, before a run starts, whether this machine's memory can hold its workers."""

from collections.abc import Sequence

from raydash.cluster.launch import available_bytes
from raydash.core.faults import Fault
from raydash.core.messages import RunSummary
from raydash.core.words import plain

WORKER_BYTES = 100 * 1024 * 1024
"""About what an idle Ray worker with gymnasium takes."""


def why_too_many(num_workers: int, live: Sequence[RunSummary] = ()) -> Fault | None:
    """Explain why a new run's workers don't fit on this machine; None if they fit.

    `live` are the runs that go on here. The memory that their workers use is no longer available,
    and workers that are still starting will take part of what is.
    """
    starting = sum(run.num_workers_starting for run in live)
    available = available_bytes()
    room = max(0, available // WORKER_BYTES - starting)
    if num_workers <= room:
        return None
    free = f"{plain.size(available)} are free"
    if live:
        workers = sum(run.num_workers for run in live)
        free += f" beside the {workers} workers of the runs that go on"
    if starting:
        free += f", of which {starting} are still starting"
    lower = f"Choose at most {room} workers" if room else "Stop a run first"
    return Fault(
        f"{num_workers} workers do not fit into this machine's memory",
        f"each takes about 100 MB, and {free}",
        f"{lower}, or stop a run" if room and live else lower,
        keys=("rollout.num_workers",),
        bad_input=True,
    )
