"""The Ray actor around a `Supervisor`: one detached, named actor per run.

Ray restarts it when it dies (`max_restarts=-1`) with the same arguments; it then goes on from its
recording, and re-creates the workers, which died with it as its plain children.

Whoever gets a handle of the actor imports this module, the engine too: what only the actor itself
needs (DuckDB, gymnasium) is imported by `raydash.supervise.compose`, inside.
"""

import os
import threading
import time
import traceback
from pathlib import Path
from typing import Any

import ray

from raydash.cluster.leases import Lease
from raydash.core.messages import PROTOCOL_VERSION, CommandRun, Hello, StartRun, Verb
from raydash.core.states import EndedBy
from raydash.protocol.codec import decode, encode
from raydash.supervise.placement import SupervisorPlacement
from raydash.version import __version__

READER_THREADS = 8
LAST_REPLY_S = 0.5
"""The reply with a run's end may still be on its way to a reader: a kill would take it along, and
the reader would have to ask the recording, which knows no unfinished episodes."""


class SupervisorActor:
    """The remote face of a run's supervisor. `hello`, `status` and `stop` never change."""

    def __init__(self, order: bytes, placement: SupervisorPlacement) -> None:
        """Begin the run, or go on with it after a restart.

        Args:
            order: An encoded `StartRun`.
            placement: Where to work.
        """
        from raydash.supervise.compose import compose

        os.environ["PYTHONBREAKPOINT"] = "0"
        self._run_id = placement.run_id
        self._lease = (
            Lease.acquire(Path(placement.leases_dir), "supervisor")
            if placement.leases_dir
            else None
        )
        start: StartRun = decode(order)
        self._supervisor, self._is_over = compose(start, placement)
        threading.Thread(target=self._loop, name="supervisor", daemon=True).start()

    # --- what never changes ------------------------------------------------------------------

    def hello(self) -> bytes:
        """Encoded `Hello`."""
        return encode(Hello(PROTOCOL_VERSION, __version__, os.getpid()))

    def status(self) -> bytes:
        """Encoded `RunSummary`."""
        return encode(self._supervisor.summary())

    def stop(self) -> None:
        """Stop the run; whoever asks may be of another version."""
        self._supervisor.submit("", CommandRun(0, self._run_id, Verb.STOP, ended_by=EndedBy.USER))

    # --- for engines of this version ---------------------------------------------------------

    def submit(self, reader_id: str, payload: bytes) -> int:
        """Take an encoded `CommandRun`; the answer comes with a `pull` of the same life."""
        return self._supervisor.submit(reader_id, decode(payload))

    @ray.method(concurrency_group="readers")
    def pull(
        self, reader_id: str, incarnation: int, since_seq: int, max_wait_s: float
    ) -> tuple[int, int, bool, list[bytes]]:
        """See `Supervisor.pull`. Waits on a thread of its own, beside methods that answer."""
        return self._supervisor.pull(reader_id, incarnation, since_seq, max_wait_s)

    @ray.method(concurrency_group="readers")
    def history(self, start_s: float, end_s: float, num_buckets: int) -> bytes:
        """See `Supervisor.history`. Waits for the disk, on a thread of its own."""
        return self._supervisor.history(start_s, end_s, num_buckets)

    def stay(self, reader_id: str) -> None:
        """A reader is there, though it does not pull for a while."""
        self._supervisor.stay(reader_id)

    def leave(self, reader_id: str) -> None:
        """A reader goes."""
        self._supervisor.leave(reader_id)

    def _loop(self) -> None:
        if not self._is_over:
            self._supervisor.start()
        while not (self._is_over or self._supervisor.is_done):
            try:
                self._supervisor.turn()
            except Exception:
                # A supervisor that no longer turns would be a run that nobody can stop. Ray
                # makes a new one, which goes on from the last commit.
                traceback.print_exc()
                os._exit(1)
            self._supervisor.rest()
        time.sleep(LAST_REPLY_S)
        if self._lease is not None:
            self._lease.release()
        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)


def remote_supervisor() -> Any:
    """The actor class, as Ray wants it."""
    return ray.remote(
        concurrency_groups={"readers": READER_THREADS},
        max_restarts=-1,
        max_task_retries=0,
        num_cpus=0,
    )(SupervisorActor)
