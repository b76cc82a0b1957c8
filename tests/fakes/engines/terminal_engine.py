"""A stand-in for `python -m raydash.engine`: real frames on real pipes, no Ray behind them.

`python terminal_engine.py STORY FOLDER`; the story says what goes wrong. A run is kept in a file in
FOLDER, as a real engine has it in the cluster, so that another engine can attach to it. Every
command that is received becomes a line of FOLDER/sent.
"""

import os
import select
import signal
import socket
import sys
from getpass import getuser
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np

from raydash.core import messages
from raydash.core.events import Event, EventKind
from raydash.core.faults import Fault
from raydash.core.messages import PROTOCOL_VERSION, Verb
from raydash.core.records import EpisodeColumns
from raydash.core.spec import RunSpec
from raydash.core.states import Activity, ClusterPhase, EndedBy, RunState
from raydash.core.updates import (
    HistoryDelta,
    RunFigures,
    RunInfo,
    RunUpdate,
    SupervisorHealth,
    WorkerColumns,
)
from raydash.protocol.codec import decode, encode
from raydash.protocol.frames import FrameReader, frame
from raydash.protocol.spec_file import read_spec, toml_from_spec

RUN_ID = "20261122-101500-cartpole-v1-3f9a"
OWNER = f"{getuser()}@{socket.gethostname()}"
STEPS_PER_TICK = 100
STARTED = Event(1, 0.0, EventKind.RUN_STARTED, "started")
FAILURE = Event(
    2, 0.1, EventKind.WORKER_FAILED, "worker 1 failed", 1, "Traceback: line 5 of my_env.py"
)
TICK_S = 0.02


def empty_history() -> HistoryDelta:
    floats, counts = np.empty(0), np.empty(0, np.int64)
    grid = np.empty((0, 0), np.float32)
    return HistoryDelta(
        0.5,
        0,
        0,
        floats,
        *(counts,) * 5,
        *(floats,) * 5,
        worker_steps=grid,
        worker_return_mean=grid,
    )


def worker_columns(num_workers: int, activity: Activity) -> WorkerColumns:
    # A column's hint is ndarray[shape, dtype[number type]].
    columns = {
        name: np.zeros(num_workers, get_args(get_args(hint)[1])[0])
        for name, hint in get_type_hints(WorkerColumns).items()
    }
    columns["worker_index"][:] = np.arange(1, num_workers + 1)
    columns["activity"][:] = int(activity)
    return WorkerColumns(**columns)


class FakeRun:
    """A run that steps 100 times per tick and ends an episode of return 20 every 20 steps."""

    def __init__(self, folder: Path, spec: RunSpec) -> None:
        self.folder = folder
        self.spec = spec
        self.steps = 0
        self.seq = 0
        self.ended_by: EndedBy | None = None
        self.state = RunState.RUNNING
        self.health = SupervisorHealth()

    def load(self) -> None:
        text = (self.folder / RUN_ID).read_text().split()
        self.steps, self.seq = int(text[0]), int(text[1])

    def tick(self) -> None:
        self.seq += 1
        self.steps += STEPS_PER_TICK
        stop = self.spec.stop
        if stop.env_steps is not None and self.steps >= stop.env_steps:
            self.ended_by = EndedBy.ENV_STEPS
        if stop.seconds is not None and self.steps * 1e-4 >= stop.seconds:
            self.ended_by = EndedBy.SECONDS
        if self.ended_by is not None:
            by_hand = self.ended_by in (EndedBy.USER, EndedBy.SIGNAL)
            self.state = RunState.STOPPED if by_hand else RunState.FINISHED
        self.folder.mkdir(exist_ok=True)
        (self.folder / RUN_ID).write_text(f"{self.steps} {self.seq}")

    def update(self, *, snapshot: bool, failed: bool = False) -> RunUpdate:
        episodes = self.steps // 20
        mean = 20.0 if episodes else float("nan")
        state = RunState.FAILED if failed else self.state
        return RunUpdate(
            run_id=RUN_ID,
            seq=self.seq,
            since_seq=0 if snapshot else self.seq - 1,
            t_s=self.steps * 1e-4,
            state=state,
            ended_by=EndedBy.WORKERS_FAILED if failed else self.ended_by,
            cause="every worker failed five times in a row: KeyError: 'x'" if failed else "",
            paused=False,
            num_workers=self.spec.rollout.num_workers or 2,
            info=RunInfo(
                RUN_ID,
                OWNER,
                "2026-11-22T10:15:00Z",
                "/r/x.duckdb",
                "",
                "",
                "0.1.0",
                PROTOCOL_VERSION,
            )
            if snapshot
            else None,
            spec=self.spec if snapshot else None,
            figures=RunFigures(
                elapsed_s=self.steps * 1e-4,
                num_env_steps_sampled_lifetime=self.steps,
                num_episodes_lifetime=episodes,
                num_episodes_terminated_lifetime=episodes,
                episode_return_mean=mean,
                episode_return_min=mean,
                episode_return_max=mean,
                episode_len_mean=mean,
                recent_return_mean=mean,
                recent_n=min(100, episodes),
                env_steps_per_s_10s=1e4,
            ),
            workers=worker_columns(self.spec.rollout.num_workers or 2, Activity.STEPPING),
            nodes=("127.0.0.2",),
            pending={},
            episodes=EpisodeColumns(),
            num_episodes_omitted=0,
            recent=empty_history(),
            whole=empty_history(),
            events=(FAILURE,) if failed else (STARTED,) if snapshot else (),
            last=state.is_over,
            health=self.health,
        )


class TerminalEngine:
    """Answers commands, and fails in the way that its story names."""

    def __init__(self, story: str, folder: Path) -> None:
        self.story = story
        self.folder = folder
        self.out = os.dup(1)
        os.dup2(2, 1)
        self.run: FakeRun | None = None
        self.is_first = not (folder / "engines").exists()
        folder.mkdir(exist_ok=True)
        with (folder / "engines").open("a") as engines:
            engines.write(f"{os.getpid()}\n")

    def send(self, message: object) -> None:
        os.write(self.out, frame(encode(message)))

    def serve(self) -> int:
        if self.story == "dies_at_once":
            print("ImportError: no module named ray", file=sys.stderr, flush=True)
            return 7
        if self.story == "is_silent":
            signal.pause()
        if self.story == "garbage":
            os.write(self.out, b"Hello, I am a stray print of some length\n")
            signal.pause()
        if self.story == "half_a_frame":
            os.write(self.out, frame(encode(messages.Hello(1, "0.1.0", os.getpid())))[:-3])
            return 0
        version = 99 if self.story == "other_protocol" else messages.PROTOCOL_VERSION
        self.send(messages.Hello(version, "0.1.0", os.getpid()))
        self.send(messages.EnvRegistry(("CartPole-v1", "Acrobot-v1")))
        reader = FrameReader()
        while True:
            if select.select([0], [], [], TICK_S)[0]:
                data = os.read(0, 65536)
                if not data:
                    return self._at_end_of_input()
                for payload in reader.feed(data):
                    self._on_command(decode(payload))
            if self.run is not None:
                self._tick(self.run)

    def _at_end_of_input(self) -> int:
        if self.story == "will_not_end":
            signal.pause()
        return 0

    def _tick(self, run: FakeRun) -> None:
        run.tick()
        failed = self.story == "run_fails" and run.seq > 3
        if self.story == "disk_is_full":
            run.health = SupervisorHealth(recording_fault="the disk is full" * (run.seq % 8 > 3))
        self.send(run.update(snapshot=False, failed=failed))
        if run.state.is_over or failed:
            self.run = None
        elif self.story == "dies_in_a_run" and self.is_first and run.seq > 3:
            print("Fatal: the driver was ended by Ray", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.story == "keeps_dying_in_a_run" and run.seq % 4 == 3:
            os._exit(1)
        elif self.story == "cluster_dies_in_a_run" and run.seq > 3:
            fault = Fault("The cluster is gone", "its GCS ended", "Relaunch it")
            self.send(messages.ClusterStatus(ClusterPhase.LOST, "gone", fault=fault))
            self.run = None

    def _on_command(self, message: object) -> None:
        with (self.folder / "sent").open("a") as sent:
            sent.write(f"{message!r}\n")
        match message:
            case messages.Connect(command_id):
                self._connect(command_id)
            case messages.StartRun(command_id, spec):
                if spec.env.id == "NoSuchEnv-v0":
                    self.send(messages.Answer(command_id, UNKNOWN_ENV))
                    return
                (self.folder / "spec.toml").write_text(toml_from_spec(spec))
                self.run = FakeRun(self.folder, spec)
                self.run.tick()
                self.send(messages.Answer(command_id, run_id=RUN_ID))
                self.send(self.run.update(snapshot=True))
            case messages.AttachRun(command_id):
                self.run = FakeRun(self.folder, read_spec(self.folder / "spec.toml"))
                self.run.load()
                self.send(messages.Answer(command_id, run_id=RUN_ID))
                self.send(self.run.update(snapshot=True))
            case messages.CommandRun(command_id, verb=Verb.STOP, ended_by=ended_by):
                if self.run is not None and self.story != "will_not_stop":
                    self.run.ended_by = ended_by
                self.send(messages.Answer(command_id))
                self.send(messages.RunList(RUNS[1:]))
            case messages.CancelConnect(command_id):
                self.send(messages.Answer(command_id))
            case messages.Ping(number):
                self.send(messages.Pong(number))

    def _connect(self, command_id: int) -> None:
        if self.story == "connects_for_ever":
            self.send(messages.ClusterStatus(ClusterPhase.LAUNCHING, "starting Ray", 0.1))
            return
        if self.story == "connect_fails":
            fault = Fault("Nobody listens at 127.0.0.1:1", "connection refused", "Start Ray there")
            self.send(messages.ClusterStatus(ClusterPhase.FAILED, "failed", 0.1, fault=fault))
            self.send(messages.Answer(command_id, fault))
            return
        for phase, text in (
            (ClusterPhase.LAUNCHING, "starting Ray: waiting for the raylet"),
            (ClusterPhase.UP, "Ray is up"),
        ):
            self.send(messages.ClusterStatus(phase, text, 0.1, address="127.0.0.2:6379"))
        self.send(messages.Answer(command_id))
        self.send(messages.RunList(() if self.story == "no_runs" else RUNS))


RUNS = (
    messages.RunSummary(
        RUN_ID, "mine", "CartPole-v1", OWNER, RunState.RUNNING, 2, "2026-11-22T10:15:00Z",
        12.0, 3400, 170, "/r/x.duckdb", False, "0.1.0", 1,
    ),
    messages.RunSummary(
        "20261122-111500-acrobot-v1-77aa", "", "Acrobot-v1", "somebody@elsewhere",
        RunState.RUNNING, 4, "2026-11-22T11:15:00Z", 9.0, 10, 0, "", True, "0.1.0", 1,
    ),
)  # fmt: skip

UNKNOWN_ENV = Fault(
    "There is no environment NoSuchEnv-v0",
    "near matches: none",
    "Choose one of Gymnasium's ids",
    keys=("env.id",),
    bad_input=True,
)


if __name__ == "__main__":
    sys.exit(TerminalEngine(sys.argv[1], Path(sys.argv[2])).serve())
