"""`raydash run`: plays one run in the terminal, from connecting to its summary."""

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from types import FrameType
from typing import TextIO

from raydash import paths
from raydash.cluster.capacity import why_too_many
from raydash.cluster.launch import cluster_status
from raydash.core.clock import Clock
from raydash.core.events import EventKind
from raydash.core.faults import Fault, FaultError
from raydash.core.messages import (
    Answer,
    AttachRun,
    CancelConnect,
    ClusterStatus,
    CommandRun,
    Connect,
    FromEngine,
    StartRun,
    Verb,
)
from raydash.core.spec import RunSpec
from raydash.core.spec_rules import SpecError
from raydash.core.states import ClusterPhase, EndedBy, RunState
from raydash.core.updates import RunInfo, RunUpdate
from raydash.core.words import plain
from raydash.terminal.commands.faults import fault_text
from raydash.terminal.commands.options import fault_from_spec_error, unwritable_folder
from raydash.terminal.commands.progress import ProgressLine, cluster_line, run_line
from raydash.terminal.commands.summary import Summary
from raydash.terminal.commands.trust import agree
from raydash.terminal.engine_client import EngineClient, EngineGoneError
from raydash.trial.trial import try_environment

EXIT_DONE = 0
EXIT_BAD_INPUT = 2
EXIT_CLUSTER_FAILED = 3
EXIT_RUN_FAILED = 4
EXIT_INTERRUPTED = 130

MAX_NEW_ENGINES = 3
_START_TIMEOUT_S = 120.0
_COMMAND_TIMEOUT_S = 60.0
_LAST_UPDATE_TIMEOUT_S = 15.0
_FAILURES = (EventKind.ENV_ERROR, EventKind.WORKER_FAILED, EventKind.LEARNER_FAILED)
"""Events that may make a run fail; then the traceback of the last one is printed."""
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

OpenEngine = Callable[[], EngineClient]
TryFirst = Callable[..., Fault | None]


def run_headless(
    read_spec: Callable[[], RunSpec],
    *,
    source_dirs: tuple[str, ...] = (),
    detach: bool = False,
    as_json: bool = False,
    trust_policy: bool = False,
    is_simulated: bool = False,
    open_engine: OpenEngine = EngineClient,
    try_first: TryFirst = try_environment,
    out: TextIO | None = None,
    err: TextIO | None = None,
    clock: Clock = time.monotonic,
) -> int:
    """Play one run and print how it went.

    Args:
        read_spec: Returns the spec, or raises `SpecError`.
        source_dirs: Folders of the user's own modules.
        detach: Leave as soon as the run was started; it is kept.
        as_json: Print exactly one JSON object to `out`, whatever happens.
        trust_policy: The user agreed to load a policy whose file can execute code.
        is_simulated: The engine simulates workers: nothing is tried, and no recording is kept.
        open_engine: Starts an engine and returns its client.
        try_first: Tries an environment before a cluster is launched for it.
        out: Gets the summary, the JSON object, or the id of a detached run; None is stdout.
        err: Gets progress and faults; None is stderr.
        clock: The clock of progress and timeouts.

    Returns:
        The exit code.
    """
    out, err = out or sys.stdout, err or sys.stderr
    try:
        spec = read_spec()
    except SpecError as error:
        err.write("".join(f"raydash: {v.sentence()}\n" for v in error.violations))
        if as_json:
            _print_result(Summary(None, fault=fault_from_spec_error(error)).json(), out, err)
        return EXIT_BAD_INPUT
    try:
        spec = replace(spec, policy=agree(spec.policy, agreed=trust_policy))
    except FaultError as error:
        err.write(f"{fault_text(error.fault)}\n")
        if as_json:
            _print_result(Summary(spec, fault=error.fault).json(), out, err)
        return EXIT_BAD_INPUT
    progress = ProgressLine(err, clock)
    run = _HeadlessRun(
        spec, source_dirs, detach, is_simulated, open_engine, try_first, progress, clock
    )
    code = run.execute()
    summary = run.summary()
    text = summary.json() if as_json else run.run_id if detach else summary.text()
    if text:
        _print_result(text, out, err)
    return code


def _print_result(text: str, out: TextIO, err: TextIO) -> None:
    """Print the result; if that fails, say so, but keep the exit code of the run."""
    try:
        print(text, file=out, flush=True)
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            err.write(f"raydash: the summary could not be written: {error.strerror}\n")
        # Keep Python from trying the rest of its buffer again at its exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())


class _HeadlessRun:
    """One run as the terminal sees it, which goes on when its engine dies, up to three times."""

    def __init__(
        self,
        spec: RunSpec,
        source_dirs: tuple[str, ...],
        detach: bool,
        is_simulated: bool,
        open_engine: OpenEngine,
        try_first: TryFirst,
        progress: ProgressLine,
        clock: Clock,
    ) -> None:
        self.run_id = ""
        self._spec = spec
        self._source_dirs = source_dirs
        self._detach = detach
        self._is_simulated = is_simulated
        self._open_engine = open_engine
        self._try_first = try_first
        self._progress = progress
        self._clock = clock
        self._client: EngineClient | None = None
        self._num_signals = 0
        self._latest: RunUpdate | None = None
        self._info: RunInfo | None = None
        self._fault: Fault | None = None
        self._cluster_is_lost = False
        self._newest_event = 0
        self._failure = ""
        self._recording_fault = ""
        self._is_over_since_s = math.inf

    def execute(self) -> int:
        """Start the run, follow it to its end, close the engine, and return the exit code."""
        try:
            with self._counting_signals():
                try:
                    self._start_run()
                    if self.run_id and not self._detach:
                        self._follow_to_the_end()
                finally:
                    self._progress.end()
                    if self._client is not None:
                        self._client.close()
        except KeyboardInterrupt:
            if self._client is not None:
                self._client.close(grace_s=0.0)
        except FaultError as error:
            self._fault = error.fault
        if self._fault is not None and (self.run_id or not self._num_signals):
            self._progress.print_line(fault_text(self._fault))
        code = self._exit_code()
        if code == EXIT_RUN_FAILED and self._failure:
            self._progress.print_line(self._failure.rstrip())
        return code

    def summary(self) -> Summary:
        """Sum up what is known of the run."""
        lost = self._cluster_is_lost
        return Summary(
            self._spec,
            self.run_id,
            self._latest,
            None if self._is_simulated else self._info,  # its recording is not kept
            state=RunState.INTERRUPTED if lost else None,
            ended_by=EndedBy.CLUSTER_LOST if lost else None,
            fault=self._fault,
        )

    def _exit_code(self) -> int:
        state = self._latest.state if self._latest else None
        if self._num_signals:
            return EXIT_INTERRUPTED
        if self._fault is not None:
            return EXIT_BAD_INPUT if self._fault.bad_input else EXIT_CLUSTER_FAILED
        if state is RunState.FAILED:
            return EXIT_RUN_FAILED
        if state is RunState.INTERRUPTED:
            return EXIT_CLUSTER_FAILED
        return EXIT_DONE

    @contextmanager
    def _counting_signals(self) -> Iterator[None]:
        """Count signals: the first is acted on at a suitable moment, the second leaves at once."""

        def on_signal(number: int, frame: FrameType | None) -> None:
            self._num_signals += 1
            if self._num_signals > 1:
                raise KeyboardInterrupt

        before = {number: signal.signal(number, on_signal) for number in _SIGNALS}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    # --- starting -----------------------------------------------------------------------------

    def _start_run(self) -> None:
        """Connect and start the run; `run_id` stays empty if a signal came first."""
        self._check_before_launch()
        if self._num_signals:
            return
        self._progress.show("starting the engine", "engine")
        client = self._connect()
        if client is None:
            return
        self._progress.show(f"starting {self._spec.env.id}", "start")
        # Somebody who debugs a start may take any time.
        timeout_s = math.inf if self._is_simulated else _START_TIMEOUT_S
        command = StartRun(0, self._spec, self._source_dirs, keep=self._detach)
        self.run_id = client.wait_answer(client.send(command), timeout_s, self._on_message).run_id
        if self._detach:
            return
        self._progress.print_line(f"run {self.run_id}")

    def _check_before_launch(self) -> None:
        """Refuse bad input before anything is started; where Ray runs already, the engine does."""
        fault = unwritable_folder()
        if fault is None and self._is_simulated:
            return
        if fault is None and self._spec.cluster.address is None:
            fault = why_too_many(self._spec.rollout.num_workers or 1)
        if fault is None and self._spec.cluster.address is None:
            if cluster_status(paths.state_dir()) is not None:
                return
            self._progress.show(f"trying {self._spec.env.id}", "trial")
            fault = self._try_first(
                self._spec.env,
                self._spec.policy,
                self._source_dirs,
                rollout=self._spec.rollout,
                learner=self._spec.learner,
                cancelled=lambda: self._num_signals > 0,
            )
        if fault is not None:
            raise FaultError(fault)

    def _connect(self) -> EngineClient | None:
        """Open an engine and connect it; return None if a signal came first."""
        client = self._client = self._open_engine()
        connect_id = client.send(Connect(0, self._spec.cluster))
        try:
            client.wait_answer(
                connect_id, math.inf, self._on_message, give_up=lambda: self._num_signals > 0
            )
        except FaultError:
            if not self._num_signals:
                raise
            client.send(CancelConnect(0))
            return None
        return client if not self._num_signals else None

    # --- following ----------------------------------------------------------------------------

    def _follow_to_the_end(self) -> None:
        num_engines = 0
        is_attached = True
        while True:
            try:
                if not is_attached:
                    self._attach_again()
                    is_attached = True
                self._follow()
                return
            except EngineGoneError as gone:
                num_engines += 1
                if num_engines > MAX_NEW_ENGINES:
                    raise
                is_attached = False
                self._progress.print_line(
                    f"raydash: {gone.fault.sentence()} The run itself is not affected; starting "
                    f"another engine ({num_engines} of {MAX_NEW_ENGINES})"
                )

    def _attach_again(self) -> None:
        """Open another engine, and follow the same run through it."""
        assert self._client is not None
        self._client.close(grace_s=0.0)
        client = self._client = self._open_engine()
        for command, timeout_s in (
            (Connect(0, self._spec.cluster), math.inf),
            (AttachRun(0, self.run_id), _COMMAND_TIMEOUT_S),
        ):
            client.wait_answer(client.send(command), timeout_s, self._on_message)

    def _follow(self) -> None:
        """Receive updates until the last one."""
        client = self._client
        assert client is not None
        stop_id = 0
        while not self._is_finished():
            if self._num_signals and not stop_id:
                self._progress.print_line("stopping the run (once more to leave at once)")
                stop = CommandRun(0, self.run_id, Verb.STOP, ended_by=EndedBy.SIGNAL)
                stop_id = client.send(stop)
            message = client.receive(0.2)
            if message is not None:
                self._on_message(message)

    def _is_finished(self) -> bool:
        """Whether the last update has come, or has not come long after the run ended."""
        if self._latest is not None and self._latest.last:
            return True
        return self._clock() - self._is_over_since_s > _LAST_UPDATE_TIMEOUT_S

    def _on_message(self, message: FromEngine) -> None:
        match message:
            case RunUpdate() if not self.run_id or message.run_id == self.run_id:
                self._on_update(message)
            case ClusterStatus(phase=ClusterPhase.LOST | ClusterPhase.FAILED, fault=fault):
                self._fault = fault or Fault("The cluster is gone", message.text)
                if self.run_id:
                    self._cluster_is_lost = True
                    raise FaultError(self._fault)
            case ClusterStatus():
                self._progress.show(cluster_line(message), message.phase.value)
            case Answer(fault=Fault() as fault):
                self._progress.print_line(fault_text(fault))
            case _:
                pass

    def _on_update(self, update: RunUpdate) -> None:
        self._latest = update
        self._info = update.info or self._info
        if update.state.is_over and self._is_over_since_s == math.inf:
            self._is_over_since_s = self._clock()
        fault = update.health.recording_fault
        for event in update.events:
            is_said_below = fault and event.kind is EventKind.RECORDING_FAILED
            if event.number > self._newest_event and event.kind.is_bad and not is_said_below:
                self._progress.print_line(f"{plain.duration(event.t_s)}  {event.text}")
                if event.kind in _FAILURES:
                    self._failure = event.detail or self._failure
            self._newest_event = max(self._newest_event, event.number)
        if fault != self._recording_fault:
            self._recording_fault = fault
            said = f"recording fails: {fault}; the run goes on" if fault else "recording goes on"
            self._progress.print_line(f"raydash: {said}")
        self._progress.show(run_line(update), update.state.value)
