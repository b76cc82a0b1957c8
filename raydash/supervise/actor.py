"""The Ray actor around a `Supervisor`: one detached, named actor per run.

When it dies, Ray restarts it (`max_restarts=-1`) with the same arguments. It then goes on from its
recording and re-creates the workers, which died with it because they are its plain children.

The engine imports this module too, to get a handle of the actor. What only the actor itself needs
(DuckDB, gymnasium) is therefore imported late, by `raydash.supervise.compose`.
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
"""Wait this long before the actor ends, because the reply with the run's end may still be on its
way. A reader that misses it has to ask the recording, which knows no unfinished episodes."""


class SupervisorActor:
    """Makes a run's supervisor callable through Ray.

    `hello`, `status` and `stop` never change, so that engines of other versions can call them.
    """

    def __init__(self, encoded_start: bytes, placement: SupervisorPlacement) -> None:
        """Begin the run, or go on with it after a restart; the message is a `StartRun`."""
        from raydash.supervise.compose import compose

        os.environ["PYTHONBREAKPOINT"] = "0"
        self._run_id = placement.run_id
        self._lease = (
            Lease.acquire(Path(placement.leases_dir), "supervisor")
            if placement.leases_dir
            else None
        )
        start: StartRun = decode(encoded_start)
        self._supervisor, self._is_over = compose(start, placement)
        threading.Thread(target=self._loop, name="supervisor", daemon=True).start()

    # --- what never changes ------------------------------------------------------------------

    def hello(self) -> bytes:
        """Return an encoded `Hello`."""
        return encode(Hello(PROTOCOL_VERSION, __version__, os.getpid()))

    def status(self) -> bytes:
        """Return an encoded `RunSummary`."""
        return encode(self._supervisor.summary())

    def stop(self) -> None:
        """Stop the run. The caller may be an engine of another version."""
        self._supervisor.submit("", CommandRun(0, self._run_id, Verb.STOP, ended_by=EndedBy.USER))

    # --- for engines of this version ---------------------------------------------------------

    def submit(self, reader_id: str, payload: bytes) -> int:
        """Accept an encoded `CommandRun`; its answer comes with a `pull` of this incarnation."""
        return self._supervisor.submit(reader_id, decode(payload))

    @ray.method(concurrency_group="readers")
    def pull(
        self, reader_id: str, incarnation: int, since_seq: int, max_wait_s: float
    ) -> tuple[int, int, bool, list[bytes]]:
        """Call `Supervisor.pull` on a thread of its own, where waiting holds up no other method."""
        return self._supervisor.pull(reader_id, incarnation, since_seq, max_wait_s)

    @ray.method(concurrency_group="readers")
    def history(self, start_s: float, end_s: float, num_buckets: int) -> bytes:
        """Call `Supervisor.history` on a thread of its own, because it waits for the disk."""
        return self._supervisor.history(start_s, end_s, num_buckets)

    def stay(self, reader_id: str) -> None:
        """Keep a reader counted as present although it does not pull for a while."""
        self._supervisor.stay(reader_id)

    def leave(self, reader_id: str) -> None:
        """Remove a reader that no longer needs the run."""
        self._supervisor.leave(reader_id)

    def _loop(self) -> None:
        if not self._is_over:
            self._supervisor.start()
        while not (self._is_over or self._supervisor.is_done):
            try:
                self._supervisor.turn()
            except Exception as error:
                # If the loop stopped here, nobody could stop the run. Ray makes a new supervisor,
                # which goes on from the last commit, and names the file in its first event.
                traceback.print_exc()
                self._supervisor.save_stimuli(error)
                os._exit(1)
            self._supervisor.rest()
        time.sleep(LAST_REPLY_S)
        if self._lease is not None:
            self._lease.release()
        ray.kill(ray.get_runtime_context().current_actor, no_restart=True)


def remote_supervisor() -> Any:
    """Return the actor class that Ray can create a supervisor from."""
    return ray.remote(
        concurrency_groups={"readers": READER_THREADS},
        max_restarts=-1,
        max_task_retries=0,
        num_cpus=0,
    )(SupervisorActor)
