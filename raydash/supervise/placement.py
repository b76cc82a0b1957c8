"""Where a supervisor works: whoever makes one says it, and the supervisor reads it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SupervisorPlacement:
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
