"""What engines may call of a run's supervisor, and the loop that its thread runs."""

import os
import traceback
from typing import TYPE_CHECKING

from raydash.core.messages import PROTOCOL_VERSION, CommandRun, Hello, Verb
from raydash.core.states import EndedBy
from raydash.protocol.codec import decode, encode
from raydash.version import __version__

if TYPE_CHECKING:
    from raydash.supervise.supervisor import Supervisor

READER_METHODS = ("pull", "history")
"""These may wait. All other methods return at once, and are carried out in the order of calls."""
READER_THREADS = 8


def run_to_end(supervisor: "Supervisor") -> bool:
    """Start a run, and turn until it is over and everybody knows.

    Returns:
        False if a turn raised. That was printed, and what the machine was told last was saved.
    """
    supervisor.start()
    while not supervisor.is_done:
        try:
            supervisor.turn()
        except Exception as error:
            traceback.print_exc()
            supervisor.save_stimuli(error)
            return False
        supervisor.rest()
    return True


class SupervisorMethods:
    """Makes a supervisor callable with values that can travel.

    `hello`, `status` and `stop` never change, so that engines of other versions can call them.
    """

    def __init__(self, run_id: str, supervisor: "Supervisor") -> None:
        self._run_id = run_id
        self._supervisor = supervisor

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

    def pull(
        self, reader_id: str, incarnation: int, since_seq: int, max_wait_s: float
    ) -> tuple[int, int, bool, list[bytes]]:
        """Call `Supervisor.pull`, which waits until something is new."""
        return self._supervisor.pull(reader_id, incarnation, since_seq, max_wait_s)

    def history(self, start_s: float, end_s: float, num_buckets: int) -> bytes:
        """Call `Supervisor.history`, which waits for the disk."""
        return self._supervisor.history(start_s, end_s, num_buckets)

    def stay(self, reader_id: str) -> None:
        """Keep a reader counted as present although it does not pull for a while."""
        self._supervisor.stay(reader_id)

    def leave(self, reader_id: str) -> None:
        """Remove a reader that no longer needs the run."""
        self._supervisor.leave(reader_id)
