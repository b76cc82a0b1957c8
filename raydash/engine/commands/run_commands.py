"""The engine's desk for live runs: starts them, reads them, passes commands to their supervisors.

Only the engine's main thread touches its state; answers of supervisors come as jobs.
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
from raydash.engine.cluster.connection import Connection
from raydash.engine.cluster.watch import ClusterWatch
from raydash.engine.loop import MainLoop
from raydash.engine.runs import start_run
from raydash.engine.runs.live_runs import (
    LEAVE_S,
    MAX_BACKLOG,
    REST_S,
    RETRY_S,
    SLOW_S,
    STAY_S,
    Pulled,
    RunReader,
    await_all,
    when_done,
)
from raydash.engine.wire import Wire
from raydash.protocol.codec import encode

GONE_AFTER_FAILURES = 40


class RunCommands:
    """Serves one window's commands about live runs."""

    def __init__(
        self,
        wire: Wire,
        loop: MainLoop,
        *,
        is_connecting: Callable[[], bool],
        await_connection: Callable[[], Connection],
        watch: Callable[[], ClusterWatch | None],
        from_file: Callable[[QueryHistory | OpenRecording], None],
    ) -> None:
        """A desk without runs.

        Args:
            wire: To the window.
            loop: The engine's.
            is_connecting: A cluster was asked for.
            await_connection: Blocks until it is up; raises a FaultError if it does not come up.
            watch: Of the cluster, once there is one.
            from_file: Takes questions about runs that are not live, and answers them.
        """
        self._wire = wire
        self._loop = loop
        self._is_connecting = is_connecting
        self._await_connection = await_connection
        self._watch = watch
        self._from_file = from_file
        self._reader_id = f"{os.getpid()}-{os.urandom(4).hex()}"
        self._readers: dict[str, RunReader] = {}
        self._handles: dict[str, Any] = {}
        self._over: set[str] = set()
        self._runs: tuple[RunSummary, ...] | None = None
        self._followed: frozenset[str] | None = None
        self._num_merged_before = 0

    @property
    def num_merged(self) -> int:
        """Updates that were merged because the window (or we) were slow, in total."""
        return self._num_merged_before + sum(r.num_merged for r in self._readers.values())

    def take_runs(self, runs: tuple[RunSummary, ...], handles: dict[str, Any]) -> None:
        """The live runs and their supervisors, as the watch has seen them.

        It looks every two seconds: of some we know already that they are over.
        """
        self._over &= set(handles)
        live = {run_id: each for run_id, each in handles.items() if run_id not in self._over}
        self._handles.update(live)
        for run_id in set(self._handles) - set(live) - set(self._readers):
            del self._handles[run_id]
        self._tell_runs(tuple(run for run in runs if run.run_id not in self._over))
        for reader in [each for each in self._readers.values() if each.run_id not in handles]:
            # Seen twice, on a loaded machine: Ray never told that the actor asked had died.
            if reader.is_overdue:
                self._lose_reader(reader, is_gone=False)

    def _tell_runs(self, runs: tuple[RunSummary, ...]) -> None:
        if runs != self._runs:
            self._runs = runs
            self._wire.send(RunList(runs))

    def leave(self) -> None:
        """Tell all supervisors that we go."""
        await_all([reader.leave() for reader in self._readers.values()], LEAVE_S)

    def start(self, message: StartRun) -> None:
        """Start a run; its updates follow the answer."""
        self._loop.in_background(
            lambda: start_run.start(message, self._await_connection, live=lambda: self._runs or ()),
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
            watch.look_now()

    def attach(self, command_id: int, run_id: str) -> None:
        """Begin to read a run: answered when its snapshot was sent.

        Of a run whose supervisor has just left that is the snapshot of its recording.
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
        self._loop.in_background(
            lambda: start_run.find(run_id, self._await_connection()),
            lambda found, fault: self._on_found(command_id, run_id, found, fault),
        )

    def detach(self, command_id: int, run_id: str) -> None:
        """Read a run no more."""
        reader = self._readers.pop(run_id, None)
        if reader is not None:
            reader.leave()
            self._answer_attaching(reader)
            self._answer_lost(reader.unanswered.give_up(), "the run is not read any more")
        self._answer(command_id)

    def follow(self, command_id: int, run_ids: tuple[str, ...] | None) -> None:
        """Read these runs as closely as can be, and the others now and then."""
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
        """Attach a run instead of showing its file; from any thread. False if it is not live."""
        is_live = run_id in self._handles
        if is_live:
            self._loop.post(lambda: self.attach(command_id, run_id))
        return is_live

    def query_history(self, message: QueryHistory) -> None:
        """Of a live run only its supervisor can read the file."""
        handle = self._handles.get(message.run_id)
        if handle is None or not hasattr(handle, "history"):
            self._from_file(message)
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
        elif error is not None and start_run.is_dead(error):
            self._handles.pop(message.run_id, None)
            self._from_file(message)
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
            self._from_file(OpenRecording(command_id, run_id))
        else:
            self._answer(command_id, fault, run_id)

    def _read_for(self, command_id: int, run_id: str, handle: Any) -> None:
        unreadable = self._why_unreadable(run_id)
        if unreadable is not None:
            self._answer(command_id, unreadable, run_id)
            return
        self._read(run_id, handle).attaching.append(command_id)

    def _answer_attaching(self, reader: RunReader) -> None:
        for command_id in reader.attaching:
            self._answer(command_id, run_id=reader.run_id)
        reader.attaching.clear()

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
            old.restart()
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

    def _on_pulled(self, reader: RunReader, pulled: Pulled) -> None:
        reader.take(pulled)
        if self._readers.get(reader.run_id) is not reader:
            return
        if pulled.error is not None:
            # A restarting supervisor is unavailable for a second or two; a dead one stays so.
            is_dead = start_run.is_dead(pulled.error)
            if is_dead or reader.failures > GONE_AFTER_FAILURES:
                self._lose_reader(reader, is_gone=is_dead)
                return
            self._loop.later(RETRY_S, reader.pull)
            return
        for payload in pulled.payloads:
            self._wire.send_encoded(payload)
        if not reader.owes_snapshot:
            self._answer_attaching(reader)
        if reader.is_over:
            self._forget(reader, is_gone=True)
            return
        self._answer_lost(
            reader.unanswered.lost_before(reader.incarnation), "its supervisor was restarted"
        )
        self._pull_when_written(reader)

    def _pull_when_written(self, reader: RunReader, waited_s: float = 0.0) -> None:
        """Ask for more only when the window has read what there is: so nothing queues up.

        A window that is slow for longer (suspended, say) still counts as one that is there.
        """
        if self._wire.backlog <= MAX_BACKLOG:
            if reader.may_rest and not self._is_followed(reader):
                self._loop.later(REST_S, reader.rest())
            else:
                reader.pull()
            return
        waited_s += SLOW_S
        if waited_s >= STAY_S:
            reader.stay()
            waited_s = 0.0
        self._loop.later(SLOW_S, lambda: self._pull_when_written(reader, waited_s))

    def _lose_reader(self, reader: RunReader, *, is_gone: bool) -> None:
        self._forget(reader, is_gone=is_gone)
        self._tell_end(reader)

    def _tell_end(self, reader: RunReader) -> None:
        """The supervisor is gone without a last word: the recording has it."""
        snapshot, newest = reader.snapshot, reader.newest()
        if snapshot is None or snapshot.info is None or snapshot.spec is None or newest is None:
            self._show_recording(reader)
            return
        self._answer_attaching(reader)
        info, spec = snapshot.info, snapshot.spec

        def work() -> RunUpdate:
            from raydash.engine.runs.last_words import last_words

            return last_words(newest, info, spec)

        def then(update: RunUpdate | None, fault: Fault | None) -> None:
            if update is not None:
                self._wire.send(update)
            elif fault is not None:
                print(f"engine: no end of {info.run_id}: {fault.detail}", flush=True)

        self._loop.in_background(work, then)

    def _show_recording(self, reader: RunReader) -> None:
        """Nothing was read of a run before its supervisor left: its file is the answer."""

        def work() -> None:
            from raydash.engine.runs.last_words import await_closed

            await_closed(_recording_of(reader.run_id))

        def then(_: None, _fault: Fault | None) -> None:
            for command_id in reader.attaching:
                self._from_file(OpenRecording(command_id, reader.run_id))

        if reader.attaching:
            self._loop.in_background(work, then)

    def _forget(self, reader: RunReader, *, is_gone: bool) -> None:
        if is_gone:
            self._over.add(reader.run_id)
        if is_gone and self._runs is not None:
            self._tell_runs(tuple(run for run in self._runs if run.run_id != reader.run_id))
        self._num_merged_before += reader.num_merged
        self._readers.pop(reader.run_id, None)
        self._handles.pop(reader.run_id, None)
        self._answer_lost(reader.unanswered.give_up(), "the run is over", is_over=reader.is_over)
        watch = self._watch()
        if watch is not None:
            watch.look_now()

    def command(self, message: CommandRun) -> None:
        """Pass a command on; its supervisor answers, or we do if that can't any more."""
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
        reader = self._readers.get(message.run_id) or self._read(message.run_id, handle)
        if message.verb is Verb.SWAP and message.policy is not None:
            self._try_policy(reader, message, message.policy)
        else:
            self._submit(reader, message)

    def _try_policy(self, reader: RunReader, message: CommandRun, policy: PolicySpec) -> None:
        """A bad policy changes nothing: it is tried here first, in a process of its own."""
        snapshot = reader.snapshot
        if snapshot is None or snapshot.spec is None or snapshot.info is None:
            fault = Fault("Swap was not done", "the run is not known yet", "Try again in a moment")
            self._answer(message.command_id, fault, message.run_id)
            return
        if snapshot.spec.learner.kind is not None:
            self._submit(reader, message)  # its machine says why not
            return

        def then(_: None, fault: Fault | None) -> None:
            if fault is None and self._readers.get(message.run_id) is not reader:
                fault = Fault("Swap was not done", "the run is not read any more")
            if fault is None:
                self._submit(reader, message)
            else:
                self._answer(message.command_id, fault, message.run_id)

        self._loop.in_background(lambda: start_run.try_policy(snapshot, policy), then)

    def _submit(self, reader: RunReader, message: CommandRun) -> None:
        when_done(
            reader.submit(message, encode(message)),
            lambda life, error: self._loop.post(
                lambda: self._on_submitted(reader, message, life, error)
            ),
        )

    def _command_other_version(self, message: CommandRun, handle: Any, why: Fault) -> None:
        """Of a supervisor of another version only `stop` is known to be understood."""
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
        life: int | None,
        error: BaseException | None,
    ) -> None:
        if life is not None:
            reader.unanswered.taken(message.command_id, life)
            self._answer_lost(
                reader.unanswered.lost_before(reader.incarnation), "its supervisor was restarted"
            )
        elif reader.unanswered.forget(message.command_id):
            fault = Fault(
                f"{message.verb.value.capitalize()} did not reach the run",
                "its supervisor is restarting or gone",
                "Try again in a moment",
                detail=str(error),
            )
            self._answer(message.command_id, fault, message.run_id)

    def _answer_lost(self, commands: list[CommandRun], why: str, *, is_over: bool = False) -> None:
        """Answer what nobody else will; a run that has ended is stopped, whoever asked late."""
        for command in commands:
            done = is_over and command.verb in (Verb.STOP, Verb.KEEP) and command.workers is None
            fault = Fault(
                f"{command.verb.value.capitalize()} was not done", why, "Look, and try again"
            )
            self._answer(command.command_id, None if done else fault, command.run_id)


def _recording_of(run_id: str) -> Path:
    """Where it is if the run was started from this machine, or into the same folder."""
    return paths.data_dir() / "runs" / f"{run_id}.duckdb"
