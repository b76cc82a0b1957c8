"""Reads live runs from their supervisors.

A run's supervisor is a detached named actor in the namespace `raydash`; nothing of it is kept here
that a new engine could not find again. Reading is event-driven: of each attached run one `pull` is
always under way, which returns when the supervisor has something new.
"""

import time
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

from raydash.core.messages import CommandRun
from raydash.core.updates import RunUpdate
from raydash.engine.runs.pending_commands import PendingCommands
from raydash.protocol.codec import decode, name_of

PULL_WAIT_S = 1.0
OVERDUE_S = 5.0
"""A supervisor answers a pull within 1 s, so one that takes this long is probably gone."""
ATTENTION_S = 5.0
"""How long a run is pulled without pause after a command, even if the window shows it nowhere."""


@dataclass(slots=True)
class PullResult:
    """The answer of a supervisor to one `pull`, or the exception that came instead."""

    incarnation: int = 0
    seq: int = 0
    last: bool = False
    payloads: tuple[bytes, ...] = ()
    error: BaseException | None = None


class RunReader:
    """Reads one run for one window.

    Attributes:
        handle: The actor handle of the run's supervisor.
        is_over: Whether the last update has come.
        num_merged: How many updates were merged because the engine or the window was slow.
        failures: How many pulls in a row have failed.
        incarnation: The incarnation of the supervisor that is read; -1 before the first answer.
        pending: Commands that were passed to the supervisor and are not answered yet.
        snapshot: The newest snapshot, whose `info` and `spec` are needed later; None before it.
        attach_command_ids: Commands to be answered once the snapshot has come.
    """

    def __init__(
        self,
        run_id: str,
        handle: Any,
        reader_id: str,
        on_pulled: Callable[["RunReader", PullResult], None],
    ) -> None:
        """Prepare without pulling; `on_pulled` will be called on a thread of the backend."""
        self.run_id = run_id
        self.handle = handle
        self.is_over = False
        self.num_merged = 0
        self.failures = 0
        self._reader_id = reader_id
        self._on_pulled = on_pulled
        self.incarnation = -1
        self.pending = PendingCommands()
        self.snapshot: RunUpdate | None = None
        self.attach_command_ids: list[int] = []
        self._newest_update = b""
        self._seq = 0
        self._is_pulling = False
        self._pull_started_s = 0.0
        self._snapshot_requested = False
        self._num_pulls = 0
        self._pull_was_delayed = False
        self._commanded_s = -ATTENTION_S

    @property
    def is_overdue(self) -> bool:
        """Whether a pull has been under way for much longer than an answer takes."""
        return self._is_pulling and time.monotonic() - self._pull_started_s > OVERDUE_S

    def pull(self) -> None:
        """Ask the supervisor for what is new, unless a pull is under way already."""
        if self._is_pulling or self.is_over:
            return
        self._is_pulling = True
        self._num_pulls += 1
        self._pull_started_s = time.monotonic()
        if self._snapshot_requested:
            self._seq, self._snapshot_requested = 0, False
        reference = self.handle.pull.remote(
            self._reader_id, self.incarnation, self._seq, PULL_WAIT_S
        )
        reference.future().add_done_callback(self._done)

    def delayed_pull(self) -> Callable[[], None]:
        """Return a job that pulls, unless somebody else has pulled before it runs.

        Updates that are merged until then do not count as merged: the delay is meant.
        """
        self._pull_was_delayed = True
        num_pulls = self._num_pulls

        def pull_if_still_due() -> None:
            if self._num_pulls == num_pulls:
                self.pull()

        return pull_if_still_due

    @property
    def may_delay_pull(self) -> bool:
        """Whether no command was sent to the run lately, so that its next pull may wait."""
        return time.monotonic() - self._commanded_s > ATTENTION_S

    @property
    def awaits_snapshot(self) -> bool:
        """Whether a snapshot is still to come."""
        return self._snapshot_requested or self.snapshot is None

    def request_snapshot(self) -> None:
        """Make the next pull ask for a snapshot instead of an update."""
        self._snapshot_requested = True

    def add_result(self, pulled: PullResult) -> None:
        """Record the result of a pull, and how far the run is read with it."""
        self._is_pulling = False
        if pulled.error is not None:
            self.failures += 1
            return
        self.failures = 0
        goes_on = pulled.incarnation == self.incarnation and self._seq > 0
        was_delayed, self._pull_was_delayed = self._pull_was_delayed, False
        if goes_on and not was_delayed:
            self.num_merged += max(0, pulled.seq - self._seq - 1)
        for payload in pulled.payloads[:1]:
            if name_of(payload) == RunUpdate.__name__:
                self._newest_update = payload
                self.snapshot = self.snapshot if goes_on else decode(payload)
        self.incarnation, self._seq = pulled.incarnation, pulled.seq
        self.is_over = pulled.last
        self.pending.note_answers(pulled.payloads)

    def submit(self, command: CommandRun, payload: bytes) -> Any:
        """Pass a command on; return a reference to the incarnation that accepts it."""
        self.pending.add(command)
        self._commanded_s = time.monotonic()
        self.pull()
        return self.handle.submit.remote(self._reader_id, payload)

    def newest_update(self) -> RunUpdate | None:
        """Decode the last update that was read; None if there was none."""
        return decode(self._newest_update) if self._newest_update else None

    def keep_alive(self) -> None:
        """Tell the supervisor that this reader is still there, though it does not pull."""
        self.handle.stay.remote(self._reader_id)

    def leave(self) -> Any:
        """Tell the supervisor that this reader leaves; return the reference of the call."""
        return self.handle.leave.remote(self._reader_id)

    def _done(self, future: "Future[Any]") -> None:
        error = future.exception()
        if error is not None:
            self._on_pulled(self, PullResult(error=error))
            return
        incarnation, seq, last, payloads = future.result()
        self._on_pulled(self, PullResult(incarnation, seq, last, tuple(payloads)))


def when_done(reference: Any, then: Callable[[Any, BaseException | None], None]) -> None:
    """Call `then` on a thread of the backend with the value of a call, or with its exception."""

    def done(future: "Future[Any]") -> None:
        error = future.exception()
        then(None if error else future.result(), error)

    reference.future().add_done_callback(done)
