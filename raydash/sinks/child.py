"""Runs the process of one sink: lines go down to it, and answers and troubles come up.

No method waits. While a slow tool is busy, only the newest figures are kept for it.
"""

import contextlib
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO

from raydash.child_process import ProcessEnd
from raydash.core.clock import Clock
from raydash.core.events import EventKind
from raydash.core.faults import Fault
from raydash.core.machine.stimuli import RecordEvent
from raydash.core.words import plain
from raydash.sinks.kinds import SinkKind
from raydash.sinks.lines import (
    Answered,
    Cause,
    Row,
    RunEnd,
    SinkRun,
    Trouble,
    line_of,
    message_of,
)
from raydash.sinks.log import SinkLog

SLOW_AFTER_ROWS = 30
REAP_S = 1.0
_READ_BYTES = 1 << 16
_MAX_LINE = 1 << 20
_EXPLAINED_EXITS = {Cause.MISSING, Cause.CANNOT_START, Cause.CANNOT_FINISH}
"""Troubles after which a process ends anyway, so that its end need not be reported."""


class SinkChild:
    """The process of one sink, used from the feed's thread. No method waits."""

    def __init__(
        self,
        kind: SinkKind,
        run: SinkRun,
        clock: Clock,
        silent_after_s: float,
        environment: Mapping[str, str],
    ) -> None:
        self.kind = kind
        self._clock = clock
        self._silent_after_s = silent_after_s
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None
        self._log = SinkLog(Path(run.folder) / f"sink-{kind.key}.log")
        self._outgoing = line_of(run)
        self._incoming = b""
        self._next: Row | None = None
        self._end: RunEnd | None = None
        self._num_sent = 1
        self._num_taken = 0
        self._num_replaced = 0
        self._num_left_out = 0
        self._waiting_since_s: float | None = None
        self._is_ending = False
        self._reported: set[Cause] = set()
        self._unreported: list[Trouble] = []

    @property
    def is_alive(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    def start(self) -> None:
        """Start the process."""
        self._waiting_since_s = self._clock()
        # -P keeps a folder `wandb` or `mlflow` in the working folder from hiding the library.
        module = "raydash.sinks.process"
        command = [sys.executable, "-P", "-m", module, self.kind.key, str(os.getpid())]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                bufsize=0,
                env=self._environment,
                start_new_session=True,  # a group to kill, with whatever the tool starts
            )
        except OSError as error:
            self._report(Trouble(Cause.CANNOT_START, error.strerror or str(error)))
            return
        for pipe in self._pipes():
            os.set_blocking(pipe.fileno(), False)

    def interests(self) -> list[tuple[int, int]]:
        """List the file descriptors and events to wait for."""
        if self._process is None:
            return []
        stdin, stdout, stderr = self._pipes()
        interests = [
            (pipe.fileno(), selectors.EVENT_READ) for pipe in (stdout, stderr) if not pipe.closed
        ]
        if not stdin.closed and (self._outgoing or self._next or self._end):
            interests.append((stdin.fileno(), selectors.EVENT_WRITE))
        return interests

    def offer(self, row: Row) -> None:
        """Send the newest figures as soon as the tool is ready, instead of any that still wait."""
        if self._process is not None:
            self._num_replaced += self._next is not None
            self._next = row

    def end(self, end: RunEnd) -> None:
        """Tell the tool that the run is over, so that it finishes."""
        self._end, self._next = end, None

    def turn(self) -> None:
        """Send and read what is possible now, and check whether the process is well."""
        process = self._process
        if process is None:
            return
        code = process.poll()  # before reading, so that after an exit everything is read
        self._send()
        self._read()
        if code is not None:
            self._on_exit(code)
            return
        waited_s = 0.0 if self._waiting_since_s is None else self._clock() - self._waiting_since_s
        if waited_s > self._silent_after_s and not self._is_ending:
            self._report(Trouble(Cause.SILENT, f"it has not answered for {plain.rough(waited_s)}"))
        left_out = self._num_left_out + self._num_replaced
        if left_out >= SLOW_AFTER_ROWS:
            words = f"{left_out} points were left out so far"
            self._report(Trouble(Cause.SLOW, words))

    def kill(self, why: str) -> None:
        """End the process at once."""
        if self._process is None:
            return
        self._report(Trouble(Cause.CANNOT_FINISH, f"it {why}"))
        self._kill_group()
        with contextlib.suppress(subprocess.TimeoutExpired):  # it may hang on a dead disk
            self._process.wait(REAP_S)
        self._on_exit(-signal.SIGKILL)

    def fresh(self) -> list[Trouble]:
        """Return the troubles since the last call."""
        fresh, self._unreported = self._unreported, []
        return fresh

    def event_of(self, trouble: Trouble) -> RecordEvent:
        """Put a trouble into words for users, with a remedy."""
        kind, remedy = self.kind, self.kind.remedy
        match trouble.cause:
            case Cause.MISSING:
                what, why = (
                    f"{kind.title} is not told of this run",
                    f"{kind.library} is not installed",
                )
                remedy = f"Install it with: pip install {kind.install}"
            case Cause.CANNOT_START:
                what, why = f"{kind.title} is not told of this run", trouble.text
            case Cause.DIED:
                what, why = f"{kind.title} is not told of this run any more", trouble.text
            case Cause.CANNOT_FINISH:
                what, why = f"{kind.title} may not have all of this run", trouble.text
            case Cause.CANNOT_WRITE:
                what, why = f"{kind.title} did not take figures of this run", trouble.text
            case Cause.SILENT:
                what, why = f"{kind.title} hangs", trouble.text
            case Cause.SLOW:
                what, why = f"{kind.title} is slow", trouble.text
                remedy = "The curves there have fewer points; the recording has them all"
        detail = "\n".join(part for part in (trouble.detail, f"log: {self._log.path}") if part)
        return RecordEvent(EventKind.SINK_FAILED, Fault(what, why, remedy).sentence(), None, detail)

    def _pipes(self) -> tuple[IO[bytes], IO[bytes], IO[bytes]]:
        process = self._process
        assert process is not None
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        return process.stdin, process.stdout, process.stderr

    def _report(self, trouble: Trouble) -> None:
        if trouble.cause not in self._reported:
            self._reported.add(trouble.cause)
            self._unreported.append(trouble)
            self._log.write(f"{trouble.cause}: {trouble.text}\n{trouble.detail}\n".encode())

    def _send(self) -> None:
        stdin = self._pipes()[0]
        while not stdin.closed and (self._outgoing or self._next or self._end):
            if not self._outgoing and not self._take_next_message():
                return
            try:
                sent = os.write(stdin.fileno(), self._outgoing)
            except BlockingIOError:
                return
            except OSError:  # it is dead or dying, which its exit will report
                stdin.close()
                return
            self._outgoing = self._outgoing[sent:]
            if not self._outgoing and self._is_ending:
                stdin.close()

    def _take_next_message(self) -> bool:
        """Put the next line into the empty outgoing buffer."""
        if self._end is not None:
            self._outgoing, self._end, self._is_ending = line_of(self._end), None, True
            return True
        if self._next is not None:
            self._outgoing, self._next = line_of(self._next), None
            self._num_sent += 1
            if self._waiting_since_s is None:
                self._waiting_since_s = self._clock()
            return True
        return False

    def _read(self) -> None:
        _, stdout, stderr = self._pipes()
        self._log.write(_available(stderr))
        *lines, rest = (self._incoming + _available(stdout)).split(b"\n")
        self._incoming = rest[-_MAX_LINE:]
        for line in lines:
            match message_of(line):
                case Answered(num_taken=taken, num_left_out=left_out):
                    self._num_taken, self._num_left_out = taken, left_out
                    is_waiting = taken < self._num_sent
                    self._waiting_since_s = self._clock() if is_waiting else None
                case Trouble() as trouble:
                    self._report(trouble)
                case _:
                    self._log.write(line + b"\n")  # printed before stdout was redirected

    def _kill_group(self) -> None:
        """Kill the process and whatever the tool has started."""
        assert self._process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _on_exit(self, code: int) -> None:
        self._kill_group()
        has_explained = bool(self._reported & _EXPLAINED_EXITS)
        if not has_explained and (code != 0 or not self._is_ending):
            words = f"its process {ProcessEnd(code).words}"
            self._report(Trouble(Cause.DIED, words, self._log.tail()))
        left_out = self._num_left_out + self._num_replaced
        self._log.write(f"ended; {left_out} points were left out\n".encode())
        for pipe in self._pipes():
            pipe.close()
        self._process = None
        self._log.close()


def _available(pipe: IO[bytes]) -> bytes:
    """Read what can be read now; close the pipe at its end."""
    data = b""
    while not pipe.closed and len(data) < _MAX_LINE:
        try:
            chunk = os.read(pipe.fileno(), _READ_BYTES)
        except BlockingIOError:
            break
        if not chunk:
            pipe.close()
            break
        data += chunk
    return data
