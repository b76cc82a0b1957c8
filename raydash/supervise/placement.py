"""Where a supervisor works: the engine fills this in, and the supervisor reads it."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SupervisorPlacement:
    """Says where a supervisor works, in plain values that Ray can carry.

    Attributes:
        run_id: Names the run.
        owner: `user@host` of the person who started the run.
        started_utc: The run's start, ISO 8601.
        started_s: The same instant on the node's monotonic clock.
        recording: Path of the DuckDB file.
        log_dir: Folder for the logs of workers that died.
        scratch_dir: Folder for progress files; the same path on every node.
        leases_dir: Where to take a lease on a launched cluster; empty on an attached one.
        cluster: Address of an attached cluster; empty on a launched one.
        num_workers: How many workers the run begins with.
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
