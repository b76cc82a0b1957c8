"""The engine's commands about live runs: start, read, and pass commands to their supervisors.

Only the engine's main thread touches the state here; answers of supervisors reach it as jobs.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from raydash import paths
from raydash.core.faults import Fault
from raydash.core.messages import (
    PROTOCOL_VERSION,
    Answer,
    CommandRun,
    OpenRecording,
    QueryHistory,
    RunList,
    RunSummary,
    StartRun,
    Verb,
)
from raydash.core.spec import PolicySpec
from raydash.core.updates import RunUpdate
from raydash.engine.cluster.backend import Backend, Connection, Watch
from raydash.engine.loop import MainLoop
from raydash.engine.runs import start_run
from raydash.engine.runs.live_runs import PullResult, RunReader, when_done
from raydash.engine.wire import Wire
from raydash.protocol.codec import encode

RETRY_S = 0.25
MAX_FAILURES_IN_A_ROW = 40
UNWATCHED_PULL_S = 1.0
"""Seconds between two pulls of a run that the window shows nowhere."""
MAX_BACKLOG = 2
"""Messages that may wait to be written before we stop pulling more."""
BACKLOG_POLL_S = 0.03
KEEP_ALIVE_S = 1.0
LEAVE_TIMEOUT_S = 0.5


class RunCommands:
    """Serves one window's commands about live runs."""

    def __init__(
        self,
        wire: Wire,
        loop: MainLoop,
        backend: Backend,
        *,
        is_connecting: Callable[[], bool],
        await_connection: Callable[[], Connection],
        watch: Callable[[], Watch | None],
        read_from_file: Callable[[QueryHistory | OpenRecording], None],
    ) -> None:
        """Prepare without any run.

        `is_connecting` says whether a cluster was asked for. `await_connection` blocks until it is
        up, and raises a FaultError if it does not come up. `watch` returns the cluster's watch
        once there is one. `read_from_file` answers questions about runs that are not live.
        """
        self._wire = wire
        self._loop = loop
        self._backend = backend
        self._is_connecting = is_connecting
        self._await_connection = await_connection
        self._watch = watch
        self._read_from_file = read_from_file
        self._reader_id = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._readers: dict[str, RunReader] = {}
        self._handles: dict[str, Any] = {}
        self._ended_run_ids: set[str] = set()
        self._runs: tuple[RunSummary, ...] | None = None
        self._followed: frozenset[str] | None = None
        self._num_merged_before = 0

    @property
    def num_merged(self) -> int:
        """How many updates were merged in total because the window or this engine was slow."""
        return self._num_merged_before + sum(r.num_merged for r in self._readers.values())

    def on_runs(self, runs: tuple[RunSummary, ...], handles: dict[str, Any]) -> None:
        """Take over the live runs and their supervisors' handles from the watch.

        The watch polls every two seconds, so that some of them may be known here to be over.
        """
        self._ended_run_ids &= set(handles)
        live = {
            run_id: each for run_id, each in handles.items() if run_id not in self._ended_run_ids
        }
        self._handles.update(live)
        for run_id in set(self._handles) - set(live) - set(self._readers):
            del self._handles[run_id]
        self._send_runs(tuple(run for run in runs if run.run_id not in self._ended_run_ids))
        for reader in [each for each in self._readers.values() if each.run_id not in handles]:
            # Seen twice on a loaded machine: Ray never reported that the actor had died.
            if reader.is_overdue:
                self._on_reader_lost(reader, is_gone=False)

    def _send_runs(self, runs: tuple[RunSummary, ...]) -> None:
        if runs != self._runs:
            self._runs = runs
            self._wire.send(RunList(runs))

    def close(self) -> None:
        """Tell all supervisors that this reader leaves."""
        references = [reader.leave() for reader in self._readers.values()]
        self._backend.await_all(references, LEAVE_TIMEOUT_S)

    def start(self, message: StartRun) -> None:
        """Start a run in the background; its updates follow the answer."""
        self._loop.run_in_background(
            lambda: start_run.start(
                message, self._backend, self._await_connection, live=lambda: self._runs or ()
            ),
            lambda started, fault: self._on_started(message.command_id, started, fault),
        )

    def _on_started(
        self, command_id: int, started: tuple[str, Any] | None, fault: Fault | None
    ) -> None:
        if started is None:
            self._answer(command_id, fault)
            return
        run_id, handle = started
        self._handles[run_id] = handle
        self._answer(command_id, run_id=run_id)
        self._read(run_id, handle)
        watch = self._watch()
        if watch is not None:
            watch.poll_now()

    def attach(self, command_id: int, run_id: str) -> None:
        """Begin to read a run, and answer once its snapshot was sent.

        If its supervisor has just left, the snapshot of its recording is sent instead.
        """
        handle = self._handles.get(run_id)
        if handle is not None:
            self._read_for(command_id, run_id, handle)
            return
        if not self._is_connecting():
            self._answer(
                command_id, Fault(f"Run {run_id} is out of reach", "no cluster is connected")
            )
            return
        self._loop.run_in_background(
            lambda: self._backend.find_supervisor(run_id, self._await_connection()),
            lambda found, fault: self._on_found(command_id, run_id, found, fault),
        )

    def detach(self, command_id: int, run_id: str) -> None:
        """Stop reading a run."""
        reader = self._readers.pop(run_id, None)
        if reader is not None:
            reader.leave()
            self._answer_attach_commands(reader)
            self._answer_lost(reader.pending.pop_all(), "the run is not read any more")
        self._answer(command_id)

    def follow(self, command_id: int, run_ids: tuple[str, ...] | None) -> None:
        """Pull these runs (None: all) without pause, and the other ones once a second."""
        self._followed = None if run_ids is None else frozenset(run_ids)
        for reader in self._readers.values():
            if self._is_followed(reader):
                reader.pull()
        self._answer(command_id)

    def _is_followed(self, reader: RunReader) -> bool:
        return self._followed is None or reader.run_id in self._followed

    def _answer(self, command_id: int, fault: Fault | None = None, run_id: str = "") -> None:
        self._wire.send(Answer(command_id, fault, run_id))

    def attach_if_live(self, command_id: int, run_id: str) -> bool:
        """Attach to a run if it is live, else return False. Callable from any thread."""
        is_live = run_id in self._handles
        if is_live:
            self._loop.post(lambda: self.attach(command_id, run_id))
        return is_live

    def query_history(self, message: QueryHistory) -> None:
        """Answer from the supervisor if the run is live, for only it can read the file then."""
        handle = self._handles.get(message.run_id)
        if handle is None or not hasattr(handle, "history"):
            self._read_from_file(message)
            return
        when_done(
            handle.history.remote(message.start_s, message.end_s, message.num_buckets),
            lambda payload, error: self._loop.post(
                lambda: self._on_history(message, payload, error)
            ),
        )

    def _on_history(
        self, message: QueryHistory, payload: bytes | None, error: BaseException | None
    ) -> None:
        fault: Fault | None = None
        if payload is not None:
            self._wire.send_encoded(payload)
        elif error is not None and self._backend.is_actor_dead(error):
            self._handles.pop(message.run_id, None)
            self._read_from_file(message)
            return
        else:
            fault = Fault(
                "That part of the history is not known",
                "the run's supervisor did not answer",
                "Look again in a moment",
                detail=str(error),
            )
        self._answer(message.command_id, fault, message.run_id)

    def _on_found(self, command_id: int, run_id: str, handle: Any, fault: Fault | None) -> None:
        if handle is not None:
            self._handles[run_id] = handle
            self._read_for(command_id, run_id, handle)
        elif _recording_of(run_id).exists():
            self._read_from_file(OpenRecording(command_id, run_id))
        else:
            self._answer(command_id, fault, run_id)

    def _read_for(self, command_id: int, run_id: str, handle: Any) -> None:
        unreadable = self._why_unreadable(run_id)
        if unreadable is not None:
            self._answer(command_id, unreadable, run_id)
            return
        self._read(run_id, handle).attach_command_ids.append(command_id)

    def _answer_attach_commands(self, reader: RunReader) -> None:
        for command_id in reader.attach_command_ids:
            self._answer(command_id, run_id=reader.run_id)
        reader.attach_command_ids.clear()

    def _why_unreadable(self, run_id: str) -> Fault | None:
        for run in self._runs or ():
            if run.run_id == run_id and run.protocol_version != PROTOCOL_VERSION:
                return Fault(
                    f"Run {run_id} cannot be shown",
                    f"it was started by raydash {run.raydash_version}",
                    "It can be stopped from here; to watch it, use that version",
                )
        return None

    def _read(self, run_id: str, handle: Any) -> RunReader:
        old = self._readers.get(run_id)
        if old is not None and not old.is_over:
            old.request_snapshot()
            old.pull()
            return old
        reader = RunReader(
            run_id,
            handle,
            self._reader_id,
            lambda reader, pulled: self._loop.post(lambda: self._on_pulled(reader, pulled)),
        )
        self._readers[run_id] = reader
        reader.pull()
        return reader

    def _on_pulled(self, reader: RunReader, pulled: PullResult) -> None:
        reader.add_result(pulled)
        if self._readers.get(reader.run_id) is not reader:
            return
        if pulled.error is not None:
            # A restarting supervisor is unavailable for a second or two; a dead one stays so.
            is_dead = self._backend.is_actor_dead(pulled.error)
            if is_dead or reader.failures > MAX_FAILURES_IN_A_ROW:
                self._on_reader_lost(reader, is_gone=is_dead)
                return
            self._loop.call_later(RETRY_S, reader.pull)
            return
        for payload in pulled.payloads:
            self._wire.send_encoded(payload)
        if not reader.awaits_snapshot:
            self._answer_attach_commands(reader)
        if reader.is_over:
            self._drop_reader(reader, is_gone=True)
            self._show_recording(reader)  # for an attach that came too late for a snapshot
            return
        self._answer_lost(
            reader.pending.pop_lost_before(reader.incarnation), "its supervisor was restarted"
        )
        self._pull_when_written(reader)

    def _pull_when_written(self, reader: RunReader, waited_s: float = 0.0) -> None:
        """Pull again only once the window has read what was sent, so that nothing queues up.

        The supervisor of a window that is slow for longer (suspended, say) is kept informed that
        the window is still there.
        """
        if self._wire.backlog <= MAX_BACKLOG:
            if reader.may_delay_pull and not self._is_followed(reader):
                self._loop.call_later(UNWATCHED_PULL_S, reader.delayed_pull())
            else:
                reader.pull()
            return
        waited_s += BACKLOG_POLL_S
        if waited_s >= KEEP_ALIVE_S:
            reader.keep_alive()
            waited_s = 0.0
        self._loop.call_later(BACKLOG_POLL_S, lambda: self._pull_when_written(reader, waited_s))

    def _on_reader_lost(self, reader: RunReader, *, is_gone: bool) -> None:
        self._drop_reader(reader, is_gone=is_gone)
        self._send_final_snapshot(reader)

    def _send_final_snapshot(self, reader: RunReader) -> None:
        """Send the end of a run from its recording: its supervisor left without a last update."""
        snapshot, newest = reader.snapshot, reader.newest_update()
        if snapshot is None or snapshot.info is None or snapshot.spec is None or newest is None:
            self._show_recording(reader)
            return
        self._answer_attach_commands(reader)
        info, spec = snapshot.info, snapshot.spec

        def work() -> RunUpdate:
            from raydash.engine.runs.final_snapshot import final_snapshot

            return final_snapshot(newest, info, spec)

        def then(update: RunUpdate | None, fault: Fault | None) -> None:
            if update is not None:
                self._wire.send(update)
            elif fault is not None:
                print(f"engine: no end of {info.run_id}: {fault.detail}", flush=True)

        self._loop.run_in_background(work, then)

    def _show_recording(self, reader: RunReader) -> None:
        """Answer those who wait for a snapshot from the file, because the supervisor has left."""

        def work() -> None:
            from raydash.engine.runs.final_snapshot import await_closed

            await_closed(_recording_of(reader.run_id))

        def then(_: None, _fault: Fault | None) -> None:
            for command_id in reader.attach_command_ids:
                self._read_from_file(OpenRecording(command_id, reader.run_id))

        if reader.attach_command_ids:
            self._loop.run_in_background(work, then)

    def _drop_reader(self, reader: RunReader, *, is_gone: bool) -> None:
        if is_gone:
            self._ended_run_ids.add(reader.run_id)
        if is_gone and self._runs is not None:
            self._send_runs(tuple(run for run in self._runs if run.run_id != reader.run_id))
        self._num_merged_before += reader.num_merged
        self._readers.pop(reader.run_id, None)
        self._handles.pop(reader.run_id, None)
        self._answer_lost(reader.pending.pop_all(), "the run is over", is_over=reader.is_over)
        watch = self._watch()
        if watch is not None:
            watch.poll_now()

    def command(self, message: CommandRun) -> None:
        """Pass a command to its supervisor, which answers it; if it no longer can, we do."""
        handle = self._handles.get(message.run_id)
        if handle is None:
            fault = Fault(
                f"{message.verb.value.capitalize()} was not done",
                f"run {message.run_id} is not live",
            )
            self._answer(message.command_id, fault, message.run_id)
            return
        unreadable = self._why_unreadable(message.run_id)
        if unreadable is not None:
            self._command_other_version(message, handle, unreadable)
            return
        if message.verb is Verb.KEEP and self._backend.is_simulated:
            fault = Fault("Keep was not done", "simulated runs end with their window")
            self._answer(message.command_id, fault, message.run_id)
            return
        reader = self._readers.get(message.run_id) or self._read(message.run_id, handle)
        if message.verb is Verb.SWAP and message.policy is not None:
            self._try_policy(reader, message, message.policy)
        else:
            self._submit(reader, message)

    def _try_policy(self, reader: RunReader, message: CommandRun, policy: PolicySpec) -> None:
        """Try a policy in a process of its own, and pass the swap on only if that goes well."""
        snapshot = reader.snapshot
        if snapshot is None or snapshot.spec is None or snapshot.info is None:
            fault = Fault("Swap was not done", "the run is not known yet", "Try again in a moment")
            self._answer(message.command_id, fault, message.run_id)
            return
        if snapshot.spec.learner.kind is not None or self._backend.is_simulated:
            # The state machine of a run that learns refuses, and says why.
            self._submit(reader, message)
            return

        def then(_: None, fault: Fault | None) -> None:
            if fault is None and self._readers.get(message.run_id) is not reader:
                fault = Fault("Swap was not done", "the run is not read any more")
            if fault is None:
                self._submit(reader, message)
            else:
                self._answer(message.command_id, fault, message.run_id)

        self._loop.run_in_background(lambda: start_run.try_policy(snapshot, policy), then)

    def _submit(self, reader: RunReader, message: CommandRun) -> None:
        when_done(
            reader.submit(message, encode(message)),
            lambda incarnation, error: self._loop.post(
                lambda: self._on_submitted(reader, message, incarnation, error)
            ),
        )

    def _command_other_version(self, message: CommandRun, handle: Any, why: Fault) -> None:
        """Pass on only `stop`, which is all that every version of a supervisor understands."""
        if message.verb is not Verb.STOP or message.workers is not None:
            self._answer(message.command_id, why, message.run_id)
            return
        when_done(
            handle.stop.remote(),
            lambda _, error: self._loop.post(lambda: self._on_stop_sent(message, error)),
        )

    def _on_stop_sent(self, message: CommandRun, error: BaseException | None) -> None:
        fault = None if error is None else Fault("Stop did not reach the run", detail=str(error))
        self._answer(message.command_id, fault, message.run_id)

    def _on_submitted(
        self,
        reader: RunReader,
        message: CommandRun,
        incarnation: int | None,
        error: BaseException | None,
    ) -> None:
        if incarnation is not None:
            reader.pending.mark_accepted(message.command_id, incarnation)
            self._answer_lost(
                reader.pending.pop_lost_before(reader.incarnation), "its supervisor was restarted"
            )
        elif reader.pending.forget(message.command_id):
            fault = Fault(
                f"{message.verb.value.capitalize()} did not reach the run",
                "its supervisor is restarting or gone",
                "Try again in a moment",
                detail=str(error),
            )
            self._answer(message.command_id, fault, message.run_id)

    def _answer_lost(self, commands: list[CommandRun], why: str, *, is_over: bool = False) -> None:
        """Answer commands that nobody else will. Stopping a run that has ended counts as done."""
        for command in commands:
            done = is_over and command.verb in (Verb.STOP, Verb.KEEP) and command.workers is None
            fault = Fault(
                f"{command.verb.value.capitalize()} was not done", why, "Look, and try again"
            )
            self._answer(command.command_id, None if done else fault, command.run_id)


def _recording_of(run_id: str) -> Path:
    """The path of a run's recording, if the run was started with this data folder."""
    return paths.data_dir() / "runs" / f"{run_id}.duckdb"
