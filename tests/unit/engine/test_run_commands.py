"""Commands about live runs, with a supervisor that runs in this process: no Ray, no cluster."""

import queue
import time
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from typing_extensions import override

from raydash.core.faults import Fault, FaultError
from raydash.core.messages import (
    Answer,
    CommandRun,
    HistoryRange,
    OpenRecording,
    QueryHistory,
    RunList,
    StartRun,
    Verb,
)
from raydash.core.spec import PolicySpec, RunSpec
from raydash.core.updates import RunUpdate
from raydash.engine.cluster.backend import Connection
from raydash.engine.cluster.ray_backend import RayBackend
from raydash.engine.commands.run_commands import RunCommands
from raydash.engine.loop import MainLoop
from raydash.engine.runs import live_runs
from raydash.protocol.codec import decode, encode
from tests.fakes.engines.engine import summary
from tests.fakes.runs.supervised_run import RUN_ID, SupervisedRun

Message = TypeVar("Message")


class Reference:
    """Stands in for the reference that a remote call returns."""

    def __init__(self, call: Callable[..., Any], *values: Any) -> None:
        self._future: Future[Any] = Future()
        try:
            self._future.set_result(call(*values))
        except Exception as error:
            self._future.set_exception(error)

    def future(self) -> Future[Any]:
        return self._future


class Method:
    def __init__(self, call: Callable[..., Any]) -> None:
        self.remote = lambda *values: Reference(call, *values)


class Handle:
    """Looks like the handle of a supervisor actor, but a test runs the supervisor behind it."""

    def __init__(self, run: SupervisedRun) -> None:
        self.run = run
        self.pull: Method | SimpleNamespace = Method(
            lambda reader, incarnation, seq, _: run.supervisor.pull(reader, incarnation, seq, 0.0)
        )
        self.submit = Method(lambda reader, payload: run.supervisor.submit(reader, decode(payload)))
        self.leave = Method(run.supervisor.leave)
        self.stay = Method(run.supervisor.stay)


class HandleWithHistory(Handle):
    def __init__(self, run: SupervisedRun) -> None:
        super().__init__(run)
        self.history = Method(
            lambda start_s, end_s, _: encode(
                HistoryRange(RUN_ID, start_s, end_s, run.history.whole.delta(0))
            )
        )


class FakeWire:
    """Keeps the messages that were sent."""

    backlog = 0

    def __init__(self) -> None:
        self.sent: list[Any] = []

    def send(self, message: object) -> None:
        self.sent.append(message)

    def send_encoded(self, payload: bytes) -> None:
        self.sent.append(decode(payload))

    def of(self, kind: type[Message]) -> list[Message]:
        return [message for message in self.sent if isinstance(message, kind)]


class ManualLoop(MainLoop):
    """A main loop whose jobs a test runs; delayed jobs are kept and not run."""

    def __init__(self) -> None:
        super().__init__()
        self.delayed: list[Callable[[], None]] = []

    @override
    def call_later(self, delay_s: float, job: Callable[[], None]) -> None:
        self.delayed.append(job)

    def wait(self, seconds: float) -> None:
        """Run the next job, if one comes within that many seconds."""
        with suppress(queue.Empty):
            self._jobs.get(timeout=seconds)()

    def turn(self) -> None:
        """Run the jobs that are queued now, but not the jobs that they post."""
        for _ in range(self._jobs.qsize()):
            self._jobs.get()()


class ActorDiedError(Exception):
    """Stands in for Ray's exception of that name."""


class BackendWithoutRay(RayBackend):
    """Knows the exception of an actor that died, and needs no Ray for that."""

    @override
    def is_actor_dead(self, error: BaseException) -> bool:
        return isinstance(error, ActorDiedError)


def no_cluster() -> Connection:
    raise FaultError(Fault("There is no cluster"))


class Scene:
    def __init__(self) -> None:
        self.wire = FakeWire()
        self.loop = ManualLoop()
        self.read_from_file: list[QueryHistory | OpenRecording] = []
        self.run = SupervisedRun()
        self.run.turns(1.0)
        self.commands = RunCommands(
            self.wire,  # type: ignore[arg-type]
            self.loop,
            BackendWithoutRay(),
            is_connecting=lambda: False,
            await_connection=no_cluster,
            watch=lambda: None,
            read_from_file=self.read_from_file.append,
        )

    def list_live(self, handle: Handle) -> None:
        self.commands.on_runs((summary(RUN_ID),), {RUN_ID: handle})


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_a_run_that_is_attached_is_read_from_its_snapshot_on(scene: Scene) -> None:
    scene.list_live(Handle(scene.run))
    assert scene.wire.of(RunList) == [RunList((summary(RUN_ID),))]
    scene.commands.attach(1, RUN_ID)
    for _ in range(5):
        scene.run.turns(0.5)
        scene.loop.turn()
    updates = scene.wire.of(RunUpdate)
    answered = scene.wire.sent.index(Answer(1, run_id=RUN_ID))
    assert scene.wire.sent.index(updates[0]) < answered, "its snapshot is there before the answer"
    assert updates[0].since_seq == 0
    assert all(late.since_seq == early.seq for early, late in pairwise(updates))
    assert len(updates) > 2


def test_a_command_reaches_its_run_and_is_answered_by_it(scene: Scene) -> None:
    scene.list_live(Handle(scene.run))
    scene.commands.command(CommandRun(5, RUN_ID, Verb.PAUSE))
    for _ in range(20):
        scene.run.turns(0.1)
        scene.loop.turn()
    assert scene.wire.of(Answer) == [Answer(5, run_id=RUN_ID)]
    assert scene.wire.of(RunUpdate)[-1].paused


def test_a_detached_run_is_not_read_any_more(scene: Scene) -> None:
    scene.list_live(Handle(scene.run))
    scene.commands.attach(1, RUN_ID)
    scene.commands.detach(2, RUN_ID)
    assert scene.wire.of(Answer)[-1] == Answer(2)
    num_before = len(scene.wire.of(RunUpdate))
    for _ in range(3):
        scene.run.turns(0.5)
        scene.loop.turn()
    assert len(scene.wire.of(RunUpdate)) == num_before


def rounds(scene: Scene, number: int) -> list[RunUpdate]:
    """The updates that the window gets while the run goes on for that many half seconds."""
    num_before = len(scene.wire.of(RunUpdate))
    for _ in range(number):
        scene.run.turns(0.5)
        scene.loop.turn()
    return scene.wire.of(RunUpdate)[num_before:]


def test_a_run_that_nobody_looks_at_is_read_now_and_then_without_a_gap(scene: Scene) -> None:
    scene.list_live(Handle(scene.run))
    scene.commands.attach(1, RUN_ID)
    scene.commands.follow(2, ())
    assert scene.wire.of(Answer)[-1] == Answer(2)
    newest = rounds(scene, 4)[-1]
    assert len(scene.loop.delayed) == 1, "its next pull is delayed"
    scene.loop.delayed.pop()()
    (merged,) = rounds(scene, 4)
    assert merged.since_seq == newest.seq
    assert merged.num_merged > 0
    assert scene.commands.num_merged == 0, "merging is meant, not slowness"


def test_a_run_that_is_looked_at_again_is_read_at_once_and_not_twice(scene: Scene) -> None:
    scene.list_live(Handle(scene.run))
    scene.commands.attach(1, RUN_ID)
    scene.commands.follow(2, ("another",))
    rounds(scene, 4)
    delayed_pull = scene.loop.delayed.pop()
    scene.commands.follow(3, (RUN_ID,))
    num_updates = len(rounds(scene, 5))
    assert num_updates >= 4
    delayed_pull()
    assert len(rounds(scene, 5)) <= 5


def test_a_run_that_takes_a_command_is_read_closely_for_a_while(scene: Scene) -> None:
    scene.list_live(Handle(scene.run))
    scene.commands.attach(1, RUN_ID)
    scene.commands.follow(2, ())
    rounds(scene, 4)
    scene.commands.command(CommandRun(5, RUN_ID, Verb.PAUSE))
    assert rounds(scene, 10)[-1].paused
    assert scene.wire.of(Answer)[-1] == Answer(5, run_id=RUN_ID)
    assert len(scene.loop.delayed) == 1, "only the delayed pull that came too late"


def test_history_of_a_live_run_comes_from_its_supervisor(scene: Scene) -> None:
    scene.list_live(HandleWithHistory(scene.run))
    scene.commands.query_history(QueryHistory(3, RUN_ID, 0.0, 9.0, 10))
    scene.loop.turn()
    found, answer = scene.wire.sent[-2:]
    assert isinstance(found, HistoryRange)
    assert (found.run_id, found.end_s) == (RUN_ID, 9.0)
    assert answer == Answer(3, run_id=RUN_ID)
    assert not scene.read_from_file


@pytest.mark.parametrize("is_listed", [True, False])
def test_history_that_no_supervisor_can_tell_comes_from_the_file(
    scene: Scene, is_listed: bool
) -> None:
    if is_listed:
        scene.list_live(Handle(scene.run))  # of an older version, which has no such method
    query = QueryHistory(3, RUN_ID, 0.0, 9.0, 10)
    scene.commands.query_history(query)
    assert scene.read_from_file == [query]
    assert not scene.wire.of(Answer)


def test_only_a_live_run_is_attached_in_place_of_its_file(scene: Scene) -> None:
    assert not scene.commands.attach_if_live(1, RUN_ID)
    scene.list_live(Handle(scene.run))
    assert scene.commands.attach_if_live(2, RUN_ID)
    rounds(scene, 2)
    assert scene.wire.of(Answer) == [Answer(2, run_id=RUN_ID)]


class DeadHandle(Handle):
    """The handle of a supervisor that has left since the cluster was polled."""

    def __init__(self, run: SupervisedRun) -> None:
        super().__init__(run)
        self.pull = Method(self._fail)

    def _fail(self, *_values: Any) -> Any:
        raise ActorDiedError


@pytest.mark.parametrize("through_library", [False, True])
def test_a_run_whose_supervisor_has_just_left_is_shown_from_its_file(
    scene: Scene, wait_until: Callable[..., None], through_library: bool
) -> None:
    scene.list_live(DeadHandle(scene.run))
    if through_library:
        assert scene.commands.attach_if_live(7, RUN_ID)
    else:
        scene.commands.attach(7, RUN_ID)

    def library_was_asked() -> bool:
        scene.loop.turn()
        return bool(scene.read_from_file)

    wait_until(library_was_asked)
    assert scene.read_from_file == [OpenRecording(7, RUN_ID)]
    assert not scene.wire.of(Answer), "the library answers once it shows the file"
    assert not scene.commands.attach_if_live(8, RUN_ID), "or the library would ask us again"


def test_attaching_again_in_the_moment_in_which_a_run_ends_is_answered_from_its_file(
    scene: Scene, wait_until: Callable[..., None]
) -> None:
    scene.list_live(Handle(scene.run))
    scene.commands.attach(1, RUN_ID)
    rounds(scene, 2)
    scene.commands.command(CommandRun(2, RUN_ID, Verb.STOP))
    scene.run.turns(2.0)
    scene.loop.turn()  # the pull that gets the last update is out now
    scene.commands.attach(3, RUN_ID)

    def library_was_asked() -> bool:
        scene.loop.turn()
        return bool(scene.read_from_file)

    wait_until(library_was_asked)
    assert scene.read_from_file == [OpenRecording(3, RUN_ID)]
    assert [answer.command_id for answer in scene.wire.of(Answer)] == [1, 2]


class SilentReference:
    """The reference of a call that Ray never answers."""

    def future(self) -> Future[Any]:
        return Future()


class SilentHandle(Handle):
    """The handle of a dead supervisor whose callers never hear from Ray."""

    def __init__(self, run: SupervisedRun) -> None:
        super().__init__(run)
        self.pull = SimpleNamespace(remote=lambda *_values: SilentReference())


def test_a_run_that_is_listed_no_more_is_not_waited_for_although_ray_says_nothing(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, wait_until: Callable[..., None]
) -> None:
    now_s = 100.0
    monkeypatch.setattr(live_runs, "time", SimpleNamespace(monotonic=lambda: now_s))
    scene.list_live(SilentHandle(scene.run))
    scene.commands.attach(7, RUN_ID)
    now_s += live_runs.OVERDUE_S + 0.1
    scene.list_live(SilentHandle(scene.run))
    scene.loop.turn()
    assert not scene.read_from_file, "it is listed: it is only slow"
    scene.commands.on_runs((), {})

    def library_was_asked() -> bool:
        scene.loop.turn()
        return bool(scene.read_from_file)

    wait_until(library_was_asked)
    assert scene.read_from_file == [OpenRecording(7, RUN_ID)]
    scene.list_live(Handle(scene.run))
    assert scene.commands.attach_if_live(8, RUN_ID), "if it comes back, it is read again"


def test_a_run_whose_last_update_came_is_not_listed_though_the_cluster_still_names_it(
    scene: Scene,
) -> None:
    handle = Handle(scene.run)
    scene.list_live(handle)
    scene.commands.attach(1, RUN_ID)
    scene.commands.command(CommandRun(2, RUN_ID, Verb.STOP))
    for _ in range(200):
        scene.run.turns(0.1)
        scene.loop.turn()
    assert scene.wire.of(RunUpdate)[-1].last
    assert scene.wire.of(RunList)[-1] == RunList(())
    scene.list_live(handle)  # the watch polls every two seconds only
    assert scene.wire.of(RunList)[-1] == RunList(())
    assert not scene.commands.attach_if_live(3, RUN_ID), "its file is complete"


def test_what_needs_a_cluster_is_refused_without_one(scene: Scene) -> None:
    scene.commands.attach(1, "nobody")
    scene.commands.command(CommandRun(2, "nobody", Verb.PAUSE))
    answers = scene.wire.of(Answer)
    assert [answer.command_id for answer in answers] == [1, 2]
    assert all(answer.fault is not None for answer in answers)


def test_a_run_of_another_version_can_only_be_stopped(scene: Scene) -> None:
    stops: list[str] = []
    handle = Handle(scene.run)
    handle.stop = Method(lambda: stops.append("stop"))  # type: ignore[attr-defined]
    other = replace(summary(RUN_ID), protocol_version=0, raydash_version="0.0.1")
    scene.commands.on_runs((other,), {RUN_ID: handle})
    scene.commands.command(CommandRun(1, RUN_ID, Verb.PAUSE))
    scene.commands.command(CommandRun(2, RUN_ID, Verb.STOP))
    scene.loop.turn()
    first, second = scene.wire.of(Answer)
    assert first.fault is not None
    assert "0.0.1" in first.fault.why
    assert second == Answer(2, run_id=RUN_ID)
    assert stops == ["stop"]


def test_a_run_that_cannot_be_started_is_answered_once(
    scene: Scene, wait_until: Callable[..., None]
) -> None:
    scene.commands.start(StartRun(4, RunSpec(), simulated=True))

    def answered() -> bool:
        scene.loop.turn()
        return bool(scene.wire.of(Answer))

    wait_until(answered)
    (answer,) = scene.wire.of(Answer)
    assert answer.fault == Fault("There is no cluster")


# --- another policy -----------------------------------------------------------------------------


def swapped(scene: Scene, policy: PolicySpec) -> Answer:
    """The answer to a swap command for a run that is being read."""
    scene.list_live(Handle(scene.run))
    scene.commands.attach(1, RUN_ID)
    rounds(scene, 2)
    scene.commands.command(CommandRun(5, RUN_ID, Verb.SWAP, policy=policy))
    ceiling_s = time.monotonic() + 30.0  # a process tries it
    while time.monotonic() < ceiling_s:
        scene.run.turns(0.1)
        scene.loop.wait(0.05)
        answers = [answer for answer in scene.wire.of(Answer) if answer.command_id == 5]
        if answers:
            return answers[0]
    raise AssertionError("no answer")


def test_a_policy_that_fits_is_tried_and_passed_on(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[PolicySpec] = []
    monkeypatch.setattr(
        "raydash.engine.runs.start_run.try_policy", lambda run, policy: tried.append(policy)
    )
    policy = PolicySpec("constant", action=1)
    assert swapped(scene, policy).fault is None
    assert tried == [policy]
    assert scene.run.machine.version.policy == policy


@pytest.mark.parametrize(
    ("policy", "words"),
    [
        (PolicySpec("constant", action=7), "7 is not in Discrete(2)"),
        (PolicySpec("sb3", "/model.zip"), "unpickles"),
    ],
)
def test_a_policy_that_does_not_fit_reaches_no_worker(
    scene: Scene, policy: PolicySpec, words: str
) -> None:
    fault = swapped(scene, policy).fault
    assert fault is not None
    assert words in fault.why
    assert scene.run.machine.version.policy is None
    assert {chunk.weights_seq_no for chunk in scene.run.pool.chunks} == {0}
