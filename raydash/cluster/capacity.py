"""What this machine's memory can hold, asked before anything is started."""

from raydash.cluster.launch import available_bytes
from raydash.core.faults import Fault

WORKER_BYTES = 100 * 1024 * 1024
"""About what an idle Ray worker with gymnasium takes."""


def why_too_many(num_workers: int) -> Fault | None:
    """Why so many workers can't be started on this machine; None if they fit."""
    available = available_bytes()
    if num_workers * WORKER_BYTES <= available:
        return None
    return Fault(
        f"{num_workers} workers do not fit into this machine's memory",
        f"each takes about 100 MB, and {available / 1e9:.1f} GB are free",
        f"Choose at most {available // WORKER_BYTES} workers",
        keys=("rollout.num_workers",),
        bad_input=True,
    )
