"""Runs the terminal's engine as a child process and exchanges messages with it.

This client blocks, uses one thread and no Qt, and never imports ray. The window has its own
(`raydash.link`) because it must not block; both speak the same frames to the same engine.
"""

import contextlib
import math
import os
import select
import subprocess
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Protocol

from raydash.child_process import (
    ENGINE_COMMAND,
    ProcessEnd,
    child_environment,
    other_protocol_fault,
)
from raydash.core.clock import Clock
from raydash.core.faults import Fault, FaultError
from raydash.core.messages import (
    PROTOCOL_VERSION,
    Answer,
    Command,
    EngineHealth,
    FromEngine,
    Goodbye,
    Hello,
    Pong,
    ToEngine,
)
from raydash.protocol.codec import CodecError, decode, encode
from raydash.protocol.frames import FrameError, FrameReader, frame
from raydash.version import __version__

LOG_TAIL_BYTES = 16 * 1024
_READ_BYTES = 256 * 1024
_POLL_S = 0.2


class EngineGoneError(FaultError):
    """The engine died, hung or sent nonsense. Runs are not affected; another one may be started."""


class EngineChild(Protocol):
    """What is needed of the engine's process, `subprocess.Popen`."""

    pid: int
    stdin: IO[bytes] | None
    stdout: IO[bytes] | None

    def poll(self) -> int | None:
        """Return the exit code, or None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end, and return the exit code.

        Raises:
            subprocess.TimeoutExpired: if it does not end in time.
        """

    def kill(self) -> None:
        """End it at once."""


StartChild = Callable[[Sequence[str], IO[bytes]], EngineChild]


def start_process(command: Sequence[str], stderr: IO[bytes]) -> EngineChild:
    """Start the engine as a child process."""
    return subprocess.Popen(
        list(command),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=stderr,
        env=child_environment(),
        start_new_session=True,  # we answer the terminal's Ctrl-C, not the engine
        bufsize=0,
    )


class EngineClient:
    """One engine, from its start to its end.

    As a context manager it ends the engine, but not its runs, when it is left.

    Attributes:
        hello: The engine's greeting, with its version.
    """

    def __init__(
        self,
        command: Sequence[str] | None = None,
        *,
        start: StartChild = start_process,
        clock: Clock = time.monotonic,
        hello_timeout_s: float = 30.0,
        silence_limit_s: float = 45.0,
        end_grace_s: float = 5.0,
    ) -> None:
        """Start the engine and greet it.

        Args:
            command: The program to start, which speaks our frames on stdin and stdout; None starts
                our engine.
            start: Starts the program. It gets the command and the file for what it prints to
                stderr.
            clock: The clock of all timeouts.
            hello_timeout_s: How long the engine may take to greet.
            silence_limit_s: An engine that is silent for this long while we listen counts as hung.
                It reports its health each second, but connecting can freeze it for a while.
            end_grace_s: From closing the engine's input to killing it.

        Raises:
            EngineGoneError: if it cannot be started, does not greet, or is of another version.
        """
        self._clock = clock
        self._silence_limit_s = math.inf  # while it greets, `hello_timeout_s` counts instead
        self._end_grace_s = end_grace_s
        self._silent_s = 0.0
        self._reader = FrameReader()
        self._inbox: deque[FromEngine] = deque()
        self._answers: dict[int, Answer] = {}
        self._next_id = 1
        self._log_path = ""
        # An unnamed file rather than a pipe: nobody has to read it, and nothing is left behind.
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115
        try:
            self._process = start(command or ENGINE_COMMAND, self._stderr)
        except OSError as error:
            self._stderr.close()
            raise EngineGoneError(
                Fault("The engine could not be started", str(error), "Run raydash doctor")
            ) from error
        try:
            self.hello = self._greet(hello_timeout_s)
            self._silence_limit_s = silence_limit_s
        except BaseException:
            self.close(grace_s=0.0)
            raise

    @property
    def pid(self) -> int:
        """The engine's process id."""
        return self._process.pid

    def __enter__(self) -> "EngineClient":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def send(self, command: Command) -> int:
        """Send a command under a new id, whatever id it has, and return the new one.

        Raises:
            EngineGoneError: if the engine is gone.
        """
        command_id = self._next_id
        self._next_id += 1
        self._write(replace(command, command_id=command_id))
        return command_id

    def receive(self, timeout_s: float) -> FromEngine | None:
        """Return the next message, or None if none comes within `timeout_s`.

        Raises:
            EngineGoneError: if the engine died, hung or sent nonsense.
        """
        end_s = self._clock() + timeout_s
        while not self._inbox:
            remaining_s = end_s - self._clock()
            self._read(max(0.0, min(remaining_s, _POLL_S)))
            if remaining_s <= 0 and not self._inbox:
                return None
        return self._inbox.popleft()

    def messages(self, timeout_s: float) -> Iterator[FromEngine]:
        """Yield every message of the next `timeout_s` seconds as it comes.

        Raises:
            EngineGoneError: as `receive`.
        """
        end_s = self._clock() + timeout_s
        while (remaining_s := end_s - self._clock()) > 0:
            message = self.receive(remaining_s)
            if message is not None:
                yield message

    def wait_answer(
        self,
        command_id: int,
        timeout_s: float,
        on_message: Callable[[FromEngine], None] | None = None,
        give_up: Callable[[], bool] = lambda: False,
    ) -> Answer:
        """Wait until a command was done, and return its answer.

        `on_message` is called with every other message that comes meanwhile. `give_up` is called a
        few times a second; if it returns true, the wait ends as with a timeout.

        Raises:
            FaultError: if the command failed, or was not answered in time.
            EngineGoneError: as `receive`.
        """
        end_s = self._clock() + timeout_s
        while command_id not in self._answers:
            remaining_s = end_s - self._clock()
            if remaining_s <= 0 or give_up():
                raise FaultError(
                    Fault(
                        "The engine has not answered",
                        f"waited {timeout_s:g} s" if remaining_s <= 0 else "was not waited for",
                        "Try again, or run raydash doctor",
                    )
                )
            message = self.receive(min(remaining_s, _POLL_S))
            if isinstance(message, Answer):
                self._answers[message.command_id] = message
            elif message is not None and on_message is not None:
                on_message(message)
        answer = self._answers.pop(command_id)
        if answer.fault is not None:
            raise FaultError(answer.fault)
        return answer

    def close(self, *, grace_s: float | None = None) -> None:
        """End the engine: say goodbye, wait a little, then kill it. May be called again.

        What it still sends meanwhile is thrown away.
        """
        if self._stderr.closed:
            return
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError, ValueError):  # it may be gone already
            self._process.stdin.write(frame(encode(Goodbye())))
        self._process.stdin.close()
        end_s = self._clock() + (self._end_grace_s if grace_s is None else grace_s)
        while self._process.poll() is None and self._clock() < end_s:
            # Go on reading its output, or an engine with much to send could never end.
            if select.select([self._process.stdout], [], [], 0.02)[0] and not os.read(
                self._process.stdout.fileno(), _READ_BYTES
            ):
                break
        try:
            self._process.wait(max(0.0, end_s - self._clock()))
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout.close()
        self._stderr.close()

    # --- frames and faults --------------------------------------------------------------------

    def _greet(self, timeout_s: float) -> Hello:
        ours = Hello(PROTOCOL_VERSION, __version__, os.getpid())
        self._write(ours)
        match self.receive(timeout_s):
            case Hello(protocol_version=version) as hello if version == PROTOCOL_VERSION:
                return hello
            case Hello() as theirs:
                raise EngineGoneError(other_protocol_fault(theirs, ours, "command"))
            case None:
                why = f"it said nothing for {timeout_s:g} s"
            case other:
                why = f"its first message was {type(other).__name__}"
        raise self._gone_error("The engine did not greet", why)

    def _write(self, message: ToEngine) -> None:
        assert self._process.stdin is not None
        data = memoryview(frame(encode(message)))
        try:
            while data:
                data = data[self._process.stdin.write(data) :]
        except (OSError, ValueError) as error:
            raise self._death_error() from error

    def _read(self, timeout_s: float) -> None:
        """Wait for bytes once, and put the complete messages into the inbox."""
        assert self._process.stdout is not None
        if self._process.stdout.closed:
            raise self._gone_error("The engine has been closed", "")
        if not select.select([self._process.stdout], [], [], timeout_s)[0]:
            # Add up short waits, so that a stopped terminal (Ctrl-Z) does not count as silence.
            self._silent_s += timeout_s
            if self._silent_s >= self._silence_limit_s:
                self._process.kill()
                raise self._gone_error(
                    "The engine hangs", f"no sign of life for {self._silence_limit_s:g} s"
                )
            return
        self._silent_s = 0.0
        data = os.read(self._process.stdout.fileno(), _READ_BYTES)
        if not data:
            raise self._death_error()
        try:
            messages = [decode(payload) for payload in self._reader.feed(data)]
        except (FrameError, CodecError) as error:
            self._process.kill()
            raise self._gone_error(
                "The engine sent something that is no message", str(error)
            ) from error
        for message in messages:
            if isinstance(message, EngineHealth):
                self._log_path = message.log_path
            if not isinstance(message, Pong):
                self._inbox.append(message)

    def _death_error(self) -> EngineGoneError:
        try:
            code = self._process.wait(self._end_grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._gone_error("The engine closed its output", "it was then ended")
        why = f"it {ProcessEnd(code).words}"
        if not self._reader.is_between_frames:
            why += ", in the middle of a message"
        return self._gone_error("The engine died", why)

    def _gone_error(self, what: str, why: str) -> EngineGoneError:
        tail = self._log_tail()
        last_line = tail.strip().rsplit("\n", 1)[-1].strip()
        if last_line:
            why += f"; its last words: {last_line[:300]}"
        remedy = f"Its log: {self._log_path}" if self._log_path else "Run raydash doctor"
        return EngineGoneError(Fault(what, why, remedy, detail=tail))

    def _log_tail(self) -> str:
        """Read the end of what the engine printed, else of its log file."""
        if not self._stderr.closed:
            # Read by position, because the child writes through the same open file and its offset.
            size = os.fstat(self._stderr.fileno()).st_size
            start = max(0, size - LOG_TAIL_BYTES)
            text = os.pread(self._stderr.fileno(), LOG_TAIL_BYTES, start).decode("utf-8", "replace")
            if text.strip():
                return text
        try:
            with Path(self._log_path).open("rb") as log:
                size = log.seek(0, os.SEEK_END)
                log.seek(max(0, size - LOG_TAIL_BYTES))
                return log.read().decode("utf-8", "replace")
        except OSError:
            return ""
