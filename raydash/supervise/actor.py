"""The Ray actor around a `Supervisor`: one detached, named actor per run.

When it dies, Ray restarts it (`max_restarts=-1`) with the same arguments. It then goes on from its
recording and re-creates the workers, which died with it because they are its plain children.

The engine imports this module too, to get a handle of the actor. What only the actor itself needs
(DuckDB, gymnasium) is therefore imported late, by `raydash.supervise.compose`.
"""

import os
import threading
import time
from pathlib import Path
from typing import Any

import ray
from typing_extensions import override

from raydash.cluster.leases import Lease
from raydash.core.messages import StartRun
from raydash.protocol.codec import decode
from raydash.supervise.methods import READER_THREADS, SupervisorMethods, run_to_end
from raydash.supervise.placement import SupervisorPlacement

LAST_REPLY_S = 0.5
"""Wait this long before the actor ends, because the reply with the run's end may still be on its
way. A reader that misses it has to ask the recording, which knows no unfinished episodes."""


class SupervisorActor(SupervisorMethods):
    """Makes a run's supervisor callable through Ray.

    Methods of readers may wait: they have threads of their own, and hold up no other method.
    """

    def __init__(self, encoded_start: bytes, placement: SupervisorPlacement) -> None:
        """Begin the run, or go on with it after a restart; the message is a `StartRun`."""
        from raydash.supervise.compose import compose

        os.environ["PYTHONBREAKPOINT"] = "0"
        self._lease = (
            Lease.acquire(Path(placement.leases_dir), "supervisor")
            if placement.leases_dir
            else None
        )
        start: StartRun = decode(encoded_start)
        supervisor, self._is_over = compose(start, placement)
        super().__init__(placement.run_id, supervisor)
        threading.Thread(target=self._loop, name="supervisor", daemon=True).start()

    @override
    @ray.method(concurrency_group="readers")
    def pull(
        self, reader_id: str, incarnation: int, since_seq: int, max_wait_s: float
    ) -> tuple[int, int, bool, list[bytes]]:
        return super().pull(reader_id, incarnation, since_seq, max_wait_s)

    @override
    @ray.method(concurrency_group="readers")
    def history(self, start_s: float, end_s: float, num_buckets: int) -> bytes:
        return super().history(start_s, end_s, num_buckets)

    def _loop(self) -> None:
        if not (self._is_over or run_to_end(self._supervisor)):
            # If the loop stopped here, nobody could stop the run. Ray makes a new supervisor,
            # which goes on from the last commit, and names the stimuli's file in its first event.
            os._exit(1)
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
