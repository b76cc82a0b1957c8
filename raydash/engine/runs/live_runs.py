"""The engine's view of supervisors: starting them, finding them by name, reading what they say.

A run is a detached named actor in the namespace `raydash`; nothing of it is kept here that a new
engine could not find again. Reading is event-driven: one `pull` per attached run is always out,
and answers when the supervisor has something new.
"""

import functools
import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from raydash.core.messages import CommandRun
from raydash.core.updates import RunUpdate
from raydash.engine.runs.unanswered import Unanswered
from raydash.protocol.codec import decode, name_of

ACTOR_PREFIX = "run:"
PULL_WAIT_S = 1.0
OVERDUE_S = 5.0
"""A supervisor answers a pull within 1 s; one that is listed no more never will."""
RETRY_S = 0.25
REST_S = 1.0
"""Between two questions about a run that the window shows nowhere."""
ATTENTIVE_S = 5.0
"""What was just told something is read closely for so long, wherever it is shown."""
SLOW_S = 0.03
STAY_S = 1.0
LEAVE_S = 0.5
MAX_BACKLOG = 2


@dataclass(slots=True)
class Pulled:
    """One answer of a supervisor to `pull`, or the exception instead."""

    incarnation: int = 0
    seq: int = 0
    last: bool = False
    payloads: tuple[bytes, ...] = ()
    error: BaseException | None = None


class RunReader:
    """Reads one run for one window.

    Attributes:
        run_id: Which run.
        handle: Its supervisor.
        is_over: The last update has come, or the supervisor is gone.
        num_merged: Updates that were merged because we or the window were slow.
        incarnation: Which life of the supervisor we read; -1 before the first answer.
        unanswered: Commands that we passed on.
        snapshot: The newest one, of which `info` and `spec` are wanted later; None before.
        attaching: Commands that asked for a snapshot, which has not come yet.
    """

    def __init__(
        self,
        run_id: str,
        handle: Any,
        reader_id: str,
        on_pulled: Callable[["RunReader", Pulled], None],
    ) -> None:
        """A reader; `on_pulled` is called on one of Ray's threads."""
        self.run_id = run_id
        self.handle = handle
        self.is_over = False
        self.num_merged = 0
        self.failures = 0
        self._reader_id = reader_id
        self._on_pulled = on_pulled
        self.incarnation = -1
        self.unanswered = Unanswered()
        self.snapshot: RunUpdate | None = None
        self.attaching: list[int] = []
        self._newest = b""
        self._seq = 0
        self._is_out = False
        self._asked_s = 0.0
        self._wants_snapshot = False
        self._num_asked = 0
        self._has_rested = False
        self._told_s = -ATTENTIVE_S

    @property
    def is_overdue(self) -> bool:
        """A question has been out for much longer than an answer takes."""
        return self._is_out and time.monotonic() - self._asked_s > OVERDUE_S

    def pull(self) -> None:
        """Ask for what is new, unless that question is out already."""
        if self._is_out or self.is_over:
            return
        self._is_out = True
        self._num_asked += 1
        self._asked_s = time.monotonic()
        if self._wants_snapshot:
            self._seq, self._wants_snapshot = 0, False
        reference = self.handle.pull.remote(
            self._reader_id, self.incarnation, self._seq, PULL_WAIT_S
        )
        reference.future().add_done_callback(self._done)

    def rest(self) -> Callable[[], None]:
        """Ask nothing for now; gives what ends the rest, unless somebody has asked by then."""
        self._has_rested = True
        asked = self._num_asked

        def end() -> None:
            if self._num_asked == asked:
                self.pull()

        return end

    @property
    def may_rest(self) -> bool:
        """Nothing has been asked of the run lately."""
        return time.monotonic() - self._told_s > ATTENTIVE_S

    @property
    def owes_snapshot(self) -> bool:
        """One was asked for, and what is read now is not it."""
        return self._wants_snapshot or self.snapshot is None

    def restart(self) -> None:
        """Read from the beginning: the window wants a snapshot (again)."""
        self._wants_snapshot = True

    def take(self, pulled: Pulled) -> None:
        """Note how far we have read."""
        self._is_out = False
        if pulled.error is not None:
            self.failures += 1
            return
        self.failures = 0
        goes_on = pulled.incarnation == self.incarnation and self._seq > 0
        has_rested, self._has_rested = self._has_rested, False
        if goes_on and not has_rested:
            self.num_merged += max(0, pulled.seq - self._seq - 1)
        for payload in pulled.payloads[:1]:
            if name_of(payload) == RunUpdate.__name__:
                self._newest = payload
                self.snapshot = self.snapshot if goes_on else decode(payload)
        self.incarnation, self._seq = pulled.incarnation, pulled.seq
        self.is_over = pulled.last
        self.unanswered.look_for_answers(pulled.payloads)

    def submit(self, command: CommandRun, payload: bytes) -> Any:
        """Pass a command on; gives a reference to the life that took it."""
        self.unanswered.add(command)
        self._told_s = time.monotonic()
        self.pull()
        return self.handle.submit.remote(self._reader_id, payload)

    def newest(self) -> RunUpdate | None:
        """The last that was read; None if nothing was."""
        return decode(self._newest) if self._newest else None

    def stay(self) -> None:
        """Tell the supervisor that we are there, though we do not pull."""
        self.handle.stay.remote(self._reader_id)

    def leave(self) -> Any:
        """Tell the supervisor that we go; gives the reference of the call."""
        return self.handle.leave.remote(self._reader_id)

    def _done(self, future: "Future[Any]") -> None:
        error = future.exception()
        if error is not None:
            self._on_pulled(self, Pulled(error=error))
            return
        incarnation, seq, last, payloads = future.result()
        self._on_pulled(self, Pulled(incarnation, seq, last, tuple(payloads)))


def when_done(reference: Any, then: Callable[[Any, BaseException | None], None]) -> None:
    """Call `then` on one of Ray's threads with the value of a call, or with its exception."""

    def done(future: "Future[Any]") -> None:
        error = future.exception()
        then(None if error else future.result(), error)

    reference.future().add_done_callback(done)


def await_all(references: list[Any], timeout_s: float) -> None:
    """Wait until calls have come through, however they ended; at most so long."""
    import ray

    if references:
        ray.wait(references, num_returns=len(references), timeout=timeout_s)


@functools.cache
def supervisor_class() -> Any:
    """The Ray actor class; looked up late because it imports ray."""
    from raydash.supervise.actor import remote_supervisor

    return remote_supervisor()
