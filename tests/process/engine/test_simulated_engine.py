"""Simulated runs in one process: engine and supervisor are threads, and there is no Ray."""

import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from raydash.core.faults import Fault, FaultError
from raydash.core.messages import (
    Answer,
    AttachRun,
    ClusterStatus,
    Command,
    CommandRun,
    Connect,
    FromEngine,
    HistoryRange,
    Library,
    ListRecordings,
    OpenRecording,
    QueryHistory,
    RunList,
    StartRun,
    StopCluster,
    Verb,
)
from raydash.core.spec import MODES, ClusterSpec, LearnerSpec, PolicySpec, RunSpec
from raydash.core.spec_rules import spec_from_table
from raydash.core.states import Activity, EndedBy, RunState
from raydash.core.updates import RunUpdate
from raydash.engine.runs.live_runs import PullResult, RunReader
from raydash.engine.simulated.backend import SimulatedBackend
from raydash.in_process import open_engine
from raydash.protocol.codec import encode
from raydash.record.read.snapshot import snapshot
from raydash.supervise.account.run_account import RunAccount
from raydash.supervise.placement import SupervisorPlacement
from tests.fakes.places import ROOT

CEILING_S = 60.0
SPEC = spec_from_table({"rollout": {"num_workers": 3}})


class SimulatedWindow:
    """The client of an engine with a simulated run.

    Attributes:
        run_id: The run.
        latest: The newest update of the run.
        messages: All messages but the updates.
    """

    def __init__(self, data_dir: Path) -> None:
        self.client = open_engine()
        self.run_id = ""
        self.latest: RunUpdate | None = None
        self.messages: list[FromEngine] = []
        self.data_dir = data_dir
        self.ask(Connect(0, ClusterSpec()))

    def ask(self, command: Command) -> Answer:
        return self.client.wait_answer(self.client.send(command), CEILING_S, self._on_message)

    def fault_of(self, command: Command) -> Fault:
        with pytest.raises(FaultError) as raised:
            self.ask(command)
        return raised.value.fault

    def start(self, spec: RunSpec = SPEC) -> None:
        self.run_id = self.ask(StartRun(0, spec)).run_id
        self.wait_until(lambda update: update.figures.num_episodes_lifetime > 0)

    def command(self, verb: Verb, *workers: int, number: int | None = None) -> Answer:
        return self.ask(CommandRun(0, self.run_id, verb, workers or None, number))

    def wait_until(self, is_so: Callable[[RunUpdate], bool]) -> RunUpdate:
        until_s = time.monotonic() + CEILING_S
        while self.latest is None or not is_so(self.latest):
            assert time.monotonic() < until_s, self.latest
            message = self.client.receive(0.1)
            if message is not None:
                self._on_message(message)
        return self.latest

    def newest(self, kind: type) -> object:
        return next(each for each in reversed(self.messages) if isinstance(each, kind))

    def _on_message(self, message: FromEngine) -> None:
        if isinstance(message, RunUpdate):
            self.latest = message
        else:
            self.messages.append(message)


@pytest.fixture
def window(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedWindow]:
    monkeypatch.setenv("RAYDASH_DATA_DIR", str(tmp_path / "data"))
    window = SimulatedWindow(tmp_path / "data")
    yield window
    window.client.close()


def activities(update: RunUpdate) -> list[Activity]:
    return [Activity(number) for number in update.workers.activity]


def test_it_says_that_there_is_no_cluster_and_that_the_run_is_simulated(
    window: SimulatedWindow,
) -> None:
    status = window.newest(ClusterStatus)
    assert isinstance(status, ClusterStatus)
    assert status.is_simulated
    window.start(replace(SPEC, name="mine"))
    window.wait_until(lambda _: any(isinstance(m, RunList) and m.runs for m in window.messages))
    runs = window.newest(RunList)
    assert isinstance(runs, RunList)
    assert [run.name for run in runs.runs] == ["simulated mine"]


def test_every_verb_does_what_it_says(window: SimulatedWindow) -> None:
    window.start()
    window.command(Verb.PAUSE)
    window.wait_until(lambda update: update.state is RunState.PAUSED)
    window.command(Verb.RESUME)
    window.wait_until(lambda update: update.state is RunState.RUNNING)
    window.command(Verb.SCALE, number=5)
    window.wait_until(lambda update: activities(update).count(Activity.STEPPING) == 5)
    window.command(Verb.RESTART, 2)
    window.wait_until(lambda update: update.figures.num_restarts == 1)
    window.command(Verb.KILL, 3)
    window.wait_until(lambda update: Activity.STOPPED in activities(update))
    window.command(Verb.PAUSE, 1)
    window.wait_until(lambda update: Activity.PAUSED in activities(update))
    window.command(Verb.RESUME, 1)
    policy = PolicySpec("mlp", path=str(window.data_dir / "nowhere.npz"))
    refused = window.fault_of(CommandRun(0, window.run_id, Verb.SWAP, policy=policy))
    assert "there is no such file" in refused.sentence()
    window.ask(CommandRun(0, window.run_id, Verb.SWAP, policy=PolicySpec("constant", action=1)))
    window.wait_until(lambda update: update.policy == PolicySpec("constant", action=1))
    kept = window.fault_of(CommandRun(0, window.run_id, Verb.KEEP))
    assert "end with their window" in kept.why
    window.command(Verb.DRAIN)
    assert window.wait_until(lambda update: update.last).ended_by is EndedBy.DRAINED


def test_the_recording_opens_afterwards_in_the_library(window: SimulatedWindow) -> None:
    window.start()
    window.ask(QueryHistory(0, window.run_id, 0.0, 1.0, 10))
    assert isinstance(window.newest(HistoryRange), HistoryRange)
    window.command(Verb.STOP)
    last = window.wait_until(lambda update: update.last)
    window.latest = None
    window.ask(ListRecordings(0))
    library = window.newest(Library)
    assert isinstance(library, Library)
    (run,) = library.runs
    assert (run.name, run.state) == ("simulated CartPole-v1", RunState.STOPPED)
    for command in (AttachRun(0, window.run_id), OpenRecording(0, window.run_id)):
        window.latest = None
        window.ask(command)
        opened = window.wait_until(lambda update: update.run_id == window.run_id)
        assert (
            opened.figures.num_episodes_lifetime,
            opened.figures.num_env_steps_sampled_lifetime,
        ) == (last.figures.num_episodes_lifetime, last.figures.num_env_steps_sampled_lifetime)
    assert opened.spec is not None
    assert opened.spec.name == "simulated CartPole-v1"


def test_a_live_run_is_in_the_library_too(window: SimulatedWindow) -> None:
    window.start()
    window.ask(ListRecordings(0))
    library = window.newest(Library)
    assert isinstance(library, Library)
    (run,) = library.runs
    assert run.is_live
    assert run.name == "simulated CartPole-v1"
    assert "its figures are known once it is closed" in run.fault


def test_a_second_reader_attaches_to_a_run(tmp_path: Path) -> None:
    backend = SimulatedBackend()
    connection = backend.connector(SPEC.cluster, on_status=print, on_hang=print).connect()
    placement = SupervisorPlacement(
        run_id="twice-read",
        owner="me@here",
        started_utc="2026-11-22T10:15:00Z",
        started_s=time.monotonic(),
        recording=str(tmp_path / "twice-read.duckdb"),
        log_dir="",
        scratch_dir="",
        leases_dir="",
        cluster=connection.status.address,
        num_workers=2,
    )
    backend.create_supervisor(StartRun(0, SPEC), placement, connection)
    pulled: queue.SimpleQueue[tuple[RunReader, PullResult]] = queue.SimpleQueue()
    readers = [
        RunReader(
            placement.run_id,
            backend.find_supervisor(placement.run_id, connection),
            reader_id,
            lambda reader, result: pulled.put((reader, result)),
        )
        for reader_id in ("first", "second")
    ]
    for reader in readers:
        reader.pull()
    readers[0].submit(command := CommandRun(7, placement.run_id, Verb.STOP), encode(command))
    while not all(reader.is_over for reader in readers):
        reader, result = pulled.get(timeout=CEILING_S)
        assert result.error is None
        reader.add_result(result)
        reader.pull()
    ends = [reader.newest_update() for reader in readers]
    assert ends[0] is not None
    assert ends[0].state is RunState.STOPPED
    assert encode(ends[0]) == encode(ends[1])
    backend.close()
    late = readers[1].handle.pull.remote("second", 0, 0, 1.0).future().exception(CEILING_S)
    assert backend.is_actor_dead(late)


@pytest.mark.parametrize("mode", MODES)
def test_every_mode_is_simulated_alike(window: SimulatedWindow, mode: str) -> None:
    window.start(spec_from_table({"rollout": {"num_workers": 2, "mode": mode}}))
    window.command(Verb.PAUSE)
    window.wait_until(lambda update: update.state is RunState.PAUSED)


def test_learners_clusters_and_what_is_no_spec_are_refused_in_words(
    window: SimulatedWindow,
) -> None:
    learns = replace(SPEC, policy=PolicySpec("linear"), learner=LearnerSpec("cmaes"))
    assert window.fault_of(StartRun(0, learns)).what == "Simulated workers do not learn"
    assert "--simulated" in window.fault_of(StopCluster(0)).why
    none = replace(SPEC, rollout=replace(SPEC.rollout, num_workers=0))
    assert window.fault_of(StartRun(0, none)).keys == ("rollout.num_workers",)
    with open_engine() as other:
        connect = other.send(Connect(0, ClusterSpec(address="10.0.0.1:6379")))
        with pytest.raises(FaultError, match=r"10\.0\.0\.1:6379"):
            other.wait_answer(connect, CEILING_S)


def test_it_ends_with_its_input_and_leaves_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAYDASH_DATA_DIR", str(tmp_path))
    before = set(threading.enumerate())
    descriptors = set(os.listdir("/proc/self/fd"))
    window = SimulatedWindow(tmp_path)
    window.start()
    window.client.close()
    assert set(threading.enumerate()) <= before
    assert len(os.listdir("/proc/self/fd")) <= len(descriptors)
    (recording,) = (tmp_path / "runs").glob("*.duckdb")
    recorded = snapshot(recording)
    assert (recorded.state, recorded.ended_by) == (RunState.STOPPED, EndedBy.ORPHANED)


def test_a_turn_that_raises_ends_its_run_and_no_other(
    window: SimulatedWindow, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    window.start()
    add_chunks = RunAccount.add_chunks
    broken = window.run_id

    def add_or_raise(account: RunAccount, *values: object) -> object:
        if account.info.run_id == broken:
            raise RuntimeError("a bug that somebody looks for")
        return add_chunks(account, *values)  # type: ignore[arg-type]

    monkeypatch.setattr(RunAccount, "add_chunks", add_or_raise)
    last = window.wait_until(lambda update: update.last)
    assert last.state is RunState.INTERRUPTED
    window.latest = None
    window.start()
    assert window.run_id != broken
    assert list((window.data_dir / "runs").glob(f"{broken}*stimuli*"))
    assert "a bug that somebody looks for" in capsys.readouterr().err


_WITHOUT_RAY = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("ray", "gymnasium", "PySide6"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocker())
from raydash.core.messages import Connect, StartRun
from raydash.core.spec import ClusterSpec
from raydash.core.spec_rules import spec_from_table
from raydash.core.updates import RunUpdate
from raydash.in_process import open_engine
with open_engine() as client:
    client.wait_answer(client.send(Connect(0, ClusterSpec())), 60.0)
    spec = spec_from_table({"rollout": {"num_workers": 2}, "stop": {"episodes": 50}})
    client.wait_answer(client.send(StartRun(0, spec)), 60.0)
    while not (isinstance(message := client.receive(60.0), RunUpdate) and message.last):
        assert message is not None
print(message.state.value, message.figures.num_episodes_lifetime >= 50)
"""


def test_a_whole_run_loads_neither_ray_nor_gymnasium(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_RAY],
        capture_output=True,
        text=True,
        timeout=CEILING_S,
        env={**os.environ, "PYTHONPATH": str(ROOT), "RAYDASH_DATA_DIR": str(tmp_path)},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "finished True\n"
