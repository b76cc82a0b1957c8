"""Runs the window's engine as a child process. QtCore only; never imports ray.

`raydash.core.states` has a diagram of its states.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from PySide6.QtCore import QObject, QProcess, QProcessEnvironment, QTimer, Signal

from raydash.child_process import (
    ENGINE_COMMAND,
    ProcessEnd,
    child_environment,
    other_protocol_fault,
)
from raydash.core.clock import Clock
from raydash.core.faults import Fault
from raydash.core.messages import (
    PROTOCOL_VERSION,
    Goodbye,
    Hello,
    Ping,
    Pong,
    ToEngine,
)
from raydash.core.states import EngineState
from raydash.protocol.codec import CodecError, decode, encode
from raydash.protocol.frames import FrameError, FrameReader, frame
from raydash.version import __version__

STDERR_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Timings:
    """How patient the window is with its engine, all in seconds; tests shorten them.

    Attributes:
        ping_s: From one ping to the next.
        hang_timeout_s: Silence after which a greeted engine counts as hung.
        hello_timeout_s: Silence after which a new engine counts as hung.
        quick_death_s: An engine that lived shorter than this died early.
        backoff_s: Waits before the 1st, 2nd, ... start after early deaths in a row.
        max_quick_deaths: After this many early deaths in a row no other engine is started.
        end_grace_s: From closing the engine's input to killing it.
    """

    ping_s: float = 1.0
    hang_timeout_s: float = 10.0
    hello_timeout_s: float = 30.0
    quick_death_s: float = 5.0
    backoff_s: tuple[float, ...] = (0.0, 0.5, 1.0, 2.0, 4.0, 8.0, 10.0)
    max_quick_deaths: int = 5
    end_grace_s: float = 3.0


class EngineProcess(QObject):
    """Keeps one engine running and talks to it. Everything happens on the caller's event loop.

    Attributes:
        state: How the engine is doing.
        fault: Why the state is `failed`, else why the previous engine died, or None.
        latency_ms: From the newest answered ping to its answer; NaN before the first.

    Signals:
        message_received(object): A message other than Hello and Pong.
        state_changed(EngineState): `state` has a new value.
        lost(Fault): An engine died that should not have.
        exited: An engine is gone, for whatever reason, and answers no command any more.
        stopped: `shut_down` is complete, and no child is left.
    """

    message_received = Signal(object)
    state_changed = Signal(object)
    lost = Signal(object)
    exited = Signal()
    stopped = Signal()

    def __init__(
        self,
        clock: Clock,
        *,
        command: Sequence[str] = ENGINE_COMMAND,
        timings: Timings | None = None,
        parent: QObject | None = None,
    ) -> None:
        super().__init__(parent)
        self.state = EngineState.STARTING
        self.fault: Fault | None = None
        self.latency_ms = float("nan")
        self._clock = clock
        self._hello = Hello(PROTOCOL_VERSION, __version__, os.getpid())
        self._command = tuple(command)
        self._timings = timings or Timings()
        self._reader = FrameReader()
        self._stderr = bytearray()
        self._kill_reason: Fault | None = None
        self._is_fatal = False
        self._exit_expected = False
        self._stopping = False
        self._quick_deaths = 0
        self._started_s = self._last_frame_s = self._last_tick_s = 0.0
        self._ping_number = 0
        self._awaits_pong = False
        self._pinged_s = 0.0

        self._process = QProcess(self)
        environment = QProcessEnvironment()
        for name, value in child_environment().items():
            environment.insert(name, value)
        self._process.setProcessEnvironment(environment)
        self._process.readyReadStandardOutput.connect(self._on_output)
        self._process.readyReadStandardError.connect(self._on_stderr)
        self._process.finished.connect(self._on_finished)
        self._process.errorOccurred.connect(self._on_error)
        self._ping_timer = _timer(self, self._on_tick, single=False)
        self._restart_timer = _timer(self, self._launch)
        self._kill_timer = _timer(self, self._process.kill)

    @property
    def pid(self) -> int:
        """The child's process id; 0 when there is none."""
        return int(self._process.processId())

    @property
    def stderr_tail(self) -> str:
        """The last 64 KiB of what the child printed to stderr."""
        return self._stderr.decode("utf-8", "replace")

    def start(self) -> None:
        """Start the first engine."""
        self._launch()

    def retry(self) -> None:
        """Start another engine after `failed`; earlier deaths no longer count."""
        if self.state is EngineState.FAILED:
            self._quick_deaths = 0
            self._set_state(EngineState.RECONNECTING)
            self._launch()

    def send(self, message: ToEngine) -> None:
        """Send a message, unless there is no child."""
        if self._process.state() != QProcess.ProcessState.NotRunning:
            self._process.write(frame(encode(message)))

    def replace(self) -> None:
        """End this engine in good order and start another at once; nothing counts as lost."""
        if self._process.state() == QProcess.ProcessState.NotRunning:
            self._quick_deaths = 0
            self._restart_timer.start(0)
            return
        self.expect_exit()
        self._say_goodbye()

    def expect_exit(self) -> None:
        """Expect the engine to end, without a fault, as it was asked to; kill it if it does not."""
        self._exit_expected = True
        self._kill_timer.start(round(self._timings.end_grace_s * 1000))

    def shut_down(self) -> None:
        """End the engine in good order, or kill it; `stopped` is emitted once it is gone."""
        if self._stopping:
            return
        self._stopping = True
        self._restart_timer.stop()
        if self._process.state() == QProcess.ProcessState.NotRunning:
            self._finish_stopping()
            return
        self._say_goodbye()
        self._kill_timer.start(round(self._timings.end_grace_s * 1000))

    def kill_child(self) -> None:
        """Kill the child at once, as the last resort when the event loop is about to end."""
        if self._process.state() != QProcess.ProcessState.NotRunning:
            self._stopping = True
            self._process.kill()
            self._process.waitForFinished(1000)

    # --- the child process --------------------------------------------------------------------

    def _launch(self) -> None:
        if self._stopping or self._process.state() != QProcess.ProcessState.NotRunning:
            return
        self._reader = FrameReader()
        self._stderr.clear()
        self._kill_reason = None
        self._is_fatal = self._exit_expected = False
        self.latency_ms = float("nan")
        self._awaits_pong = False
        self._started_s = self._last_frame_s = self._last_tick_s = self._clock()
        self._process.start(self._command[0], list(self._command[1:]))
        self.send(self._hello)
        self._ping_timer.start(round(self._timings.ping_s * 1000))

    def _say_goodbye(self) -> None:
        """Say goodbye before closing the input, or the window would seem to have died."""
        if self.state is EngineState.READY:
            self.send(Goodbye())
        self._process.closeWriteChannel()

    def _on_tick(self) -> None:
        now = self._clock()
        # A late tick means that this process or the laptop slept, which is not the engine's fault.
        if now - self._last_tick_s > self._timings.ping_s + 2.0:
            self._last_frame_s = now
        self._last_tick_s = now
        greeted = self.state is EngineState.READY
        limit = self._timings.hang_timeout_s if greeted else self._timings.hello_timeout_s
        if now - self._last_frame_s > limit and self._kill_reason is None:
            what = "The engine does not answer any more" if greeted else "The engine said nothing"
            self._kill(Fault(what, f"no sign of life for {limit:g} s"))
            self._set_state(EngineState.HUNG)
        elif greeted and not self._awaits_pong:
            self._awaits_pong = True
            self._ping_number += 1
            self._pinged_s = now
            self.send(Ping(self._ping_number))

    def _kill(self, reason: Fault, *, fatal: bool = False) -> None:
        self._kill_reason = reason
        self._is_fatal = fatal
        self._process.kill()

    def _on_stderr(self) -> None:
        self._stderr += self._process.readAllStandardError().data()
        del self._stderr[:-STDERR_BYTES]

    def _on_output(self) -> None:
        if self._kill_reason is not None:
            self._process.readAllStandardOutput()
            return
        try:
            payloads = self._reader.feed(bytes(self._process.readAllStandardOutput().data()))
            for payload in payloads:
                self._receive(decode(payload))
        except (FrameError, CodecError) as error:
            self._kill(Fault("The engine sent something that is no message", str(error)))

    def _receive(self, message: object) -> None:
        self._last_frame_s = self._clock()
        match message:
            case Hello(protocol_version=version) if version != PROTOCOL_VERSION:
                remedy = "Install one version for both, then press Retry"
                fault = other_protocol_fault(message, self._hello, "window", remedy=remedy)
                self._kill(fault, fatal=True)
            case Hello():
                self._set_state(EngineState.READY)
            case _ if self._kill_reason is not None:
                pass
            case _ if self.state is not EngineState.READY:
                self._kill(Fault("The engine did not greet first"))
            case Pong(number):
                if number == self._ping_number:
                    self._awaits_pong = False
                    self.latency_ms = (self._clock() - self._pinged_s) * 1000
            case _:
                self.message_received.emit(message)

    def _on_error(self, error: QProcess.ProcessError) -> None:
        if error == QProcess.ProcessError.FailedToStart:
            self._on_stderr()
            self._on_exit(Fault("The engine could not be started", self._process.errorString()))

    def _on_finished(self, exit_code: int, status: QProcess.ExitStatus) -> None:
        self._on_output()
        self._on_stderr()
        reason = self._kill_reason
        if reason is None:
            crashed = status == QProcess.ExitStatus.CrashExit
            why = f"it {ProcessEnd(-exit_code if crashed else exit_code).words}"
            if not self._reader.is_between_frames:
                why += ", in the middle of a message"
            reason = Fault("The engine died", why)
        self._on_exit(reason)

    def _on_exit(self, reason: Fault) -> None:
        """Report that the child is gone, and start another one or give up."""
        self._ping_timer.stop()
        self._kill_timer.stop()
        expected, self._exit_expected = self._exit_expected, False
        if self._stopping:
            self.exited.emit()
            self._finish_stopping()
            return
        uptime_s = self._clock() - self._started_s
        never_greeted = self.state not in (EngineState.READY, EngineState.HUNG)
        if expected:
            self._quick_deaths = 0
        elif uptime_s < self._timings.quick_death_s or never_greeted:
            self._quick_deaths += 1
        else:
            self._quick_deaths = 1
        gives_up = not expected and (
            self._is_fatal or self._quick_deaths >= self._timings.max_quick_deaths
        )
        fault = None if expected else self._fault_of_exit(reason, gives_up=gives_up)
        self.fault = fault
        self._set_state(EngineState.FAILED if gives_up else EngineState.RECONNECTING)
        if fault is not None:
            self.lost.emit(fault)
        self.exited.emit()
        if not gives_up:
            waits = self._timings.backoff_s
            wait_s = waits[min(max(0, self._quick_deaths - 1), len(waits) - 1)]
            self._restart_timer.start(round(wait_s * 1000))

    def _fault_of_exit(self, reason: Fault, *, gives_up: bool) -> Fault:
        why = reason.why
        if gives_up and not self._is_fatal:
            why = f"{why}; it died {self._quick_deaths} times in a row".lstrip("; ")
        remedy = reason.remedy or (
            "Look at the details, then press Retry"
            if gives_up
            else "Another engine is being started; the run itself is not affected"
        )
        return Fault(reason.what, why, remedy, self.stderr_tail)

    def _finish_stopping(self) -> None:
        self._set_state(EngineState.STOPPED)
        self.stopped.emit()

    def _set_state(self, state: EngineState) -> None:
        if state is not self.state:
            self.state = state
            self.state_changed.emit(state)


def _timer(parent: QObject, slot: Callable[[], object], *, single: bool = True) -> QTimer:
    timer = QTimer(parent)
    timer.setSingleShot(single)
    timer.timeout.connect(slot)
    return timer
