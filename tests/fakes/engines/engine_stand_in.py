"""A child process that speaks the engine's frames without any Ray behind it.

Run it in the engine's place: it answers commands, makes runs up (`updates/updates.py`) and, on
demand, misbehaves in each way that a real engine could. `--record FILE` keeps what was sent to it.
"""

import argparse
import os
import queue
import signal
import sys
import threading
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, BinaryIO

sys.path.insert(0, str(Path(__file__).resolve().parents[3]))

from raydash.core.faults import Fault
from raydash.core.messages import (
    PROTOCOL_VERSION,
    Answer,
    AttachRun,
    CancelConnect,
    ChangeLibrary,
    ClusterStatus,
    CommandRun,
    Connect,
    DeleteRecordings,
    EditNotes,
    EngineHealth,
    EnvRegistry,
    ExportRecording,
    FollowRuns,
    Goodbye,
    Hello,
    ImportRecordings,
    ListRecordings,
    OpenRecording,
    Ping,
    Pong,
    QueryHistory,
    RunList,
    RunSummary,
    StartRun,
    Verb,
    WriteReport,
)
from raydash.core.spec import RunSpec
from raydash.core.states import Activity, ClusterPhase, EndedBy, RunState
from raydash.core.updates import RunUpdate
from raydash.protocol.codec import decode, encode
from raydash.protocol.frames import MAGIC, FrameReader, frame
from tests.fakes.recordings.library import MadeUpLibrary
from tests.fakes.updates.updates import make_info, make_update

ENV_IDS = ("Acrobot-v1", "CartPole-v0", "CartPole-v1", "MountainCar-v0", "Pendulum-v1")
MODES = (
    "ok",
    "silent",
    "garbage",
    "truncated",
    "oversized",
    "hang",
    "die",
    "die_on_command",
    "other_version",
    "deaf_to_the_end",
)


@dataclass
class MadeUpRun:
    """A run that exists only as a stream of updates."""

    run_id: str
    spec: RunSpec
    num_workers: int
    t_s: float
    seq: int = 0
    sent_seq: int = 0
    state: RunState = RunState.RUNNING
    ended_by: EndedBy | None = None
    paused: bool = False
    keep: bool = False
    activities: dict[int, Activity] = field(default_factory=dict)
    attached: bool = False

    def update(self) -> RunUpdate:
        self.seq += 1
        made = make_update(
            self.num_workers, self.seq, self.sent_seq, self.t_s, learns=True, state=self.state
        )
        self.sent_seq = self.seq
        for index, activity in self.activities.items():
            if index <= self.num_workers:
                made.workers.activity[index - 1] = activity
        is_snapshot = made.info is not None
        return replace(
            made,
            run_id=self.run_id,
            paused=self.paused,
            ended_by=self.ended_by,
            last=self.state.is_over,
            info=replace(make_info(), run_id=self.run_id) if is_snapshot else None,
            spec=self.spec if is_snapshot else None,
        )

    def summary(self) -> RunSummary:
        return RunSummary(
            run_id=self.run_id,
            name=self.spec.name or "cartpole-random",
            env_id=self.spec.env.id,
            owner="ada@bench",
            state=self.state,
            num_workers=self.num_workers,
            started_utc="2026-11-22T10:15:00+00:00",
            elapsed_s=self.t_s,
            num_env_steps_sampled_lifetime=0,
            num_episodes_lifetime=0,
            recording="",
            keep=self.keep,
            raydash_version="0.1.0",
            protocol_version=PROTOCOL_VERSION,
        )


class StandIn:
    """Answers commands as an engine would, with made-up runs."""

    def __init__(self, out: BinaryIO, args: argparse.Namespace) -> None:
        self.out = out
        self.args = args
        self.runs: dict[str, MadeUpRun] = {}
        self.library = MadeUpLibrary(args.recordings)
        for number in range(args.live_runs):
            self.add_run(f"20261122-10150{number}-live", RunSpec())

    def add_run(self, run_id: str, spec: RunSpec) -> MadeUpRun:
        workers = spec.rollout.num_workers or self.args.num_workers
        run = MadeUpRun(run_id, spec, workers, self.args.t0)
        self.runs[run_id] = run
        return run

    def send(self, message: object) -> None:
        self.out.write(frame(encode(message)))
        self.out.flush()

    def send_runs(self) -> None:
        live = [run.summary() for run in self.runs.values() if not run.state.is_over]
        self.send(RunList(tuple(live)))

    def connect(self, command: Connect) -> None:
        address = command.cluster.address
        for phase in (ClusterPhase.CHECKING, ClusterPhase.LAUNCHING, ClusterPhase.CONNECTING):
            text = {"checking": "checking", "launching": "starting Ray"}.get(phase.value, "")
            self.send(ClusterStatus(phase, text or "connecting", elapsed_s=self.args.connect_s))
            time.sleep(self.args.connect_s / 3)
        if address is not None and address.endswith(":1"):
            fault = Fault("Nobody listens at " + address, "connection refused", "Check the address")
            self.send(ClusterStatus(ClusterPhase.FAILED, launched=False, fault=fault))
            self.send(Answer(command.command_id, fault))
            return
        self.send(
            ClusterStatus(
                ClusterPhase.UP,
                launched=address is None,
                address=address or "127.0.0.1:6379",
                num_nodes=1,
                num_cpus=2.0,
                num_cpus_free=2.0,
                token_auth=True,
                ray_version="2.60.0",
            )
        )
        self.send(Answer(command.command_id))
        self.send_runs()

    def receive(self, message: Any) -> None:
        match message:
            case Hello():
                pass
            case Goodbye():
                if self.args.mode != "deaf_to_the_end":
                    raise SystemExit(0)
            case Ping(number):
                self.send(Pong(number))
            case Connect():
                self.connect(message)
            case CancelConnect(command_id):
                self.send(Answer(command_id))
                raise SystemExit(0)
            case StartRun(command_id, spec):
                if spec.env.id.startswith("Nope"):
                    fault = Fault(
                        f"There is no environment {spec.env.id}",
                        remedy="Did you mean CartPole-v1?",
                        keys=("env.id",),
                        bad_input=True,
                    )
                    self.send(Answer(command_id, fault))
                    return
                run = self.add_run(f"20261122-1016{len(self.runs):02d}-started", spec)
                run.attached = True
                self.send(Answer(command_id, run_id=run.run_id))
                self.send_runs()
            case AttachRun(command_id, run_id):
                if run_id not in self.runs:
                    self.send(Answer(command_id, Fault(f"There is no run {run_id}")))
                    return
                self.runs[run_id].attached = True
                self.runs[run_id].sent_seq = 0
                self.send(Answer(command_id, run_id=run_id))
            case FollowRuns(command_id):
                self.send(Answer(command_id))
            case CommandRun():
                self.command(message)
                self.send(Answer(message.command_id, run_id=message.run_id))
                self.send_runs()
            case QueryHistory() | ListRecordings() | OpenRecording() | EditNotes():
                self.answer_from_library(message)
            case DeleteRecordings() | ChangeLibrary() | ExportRecording() | WriteReport():
                self.answer_from_library(message)
            case ImportRecordings():
                self.answer_from_library(message)
            case _:
                raise AssertionError(message)

    def answer_from_library(self, message: Any) -> None:
        time.sleep(self.args.library_s)
        for answer in self.library.answers(message):
            self.send(answer)

    def command(self, command: CommandRun) -> None:
        run = self.runs[command.run_id]
        if command.workers is not None:
            became = {
                Verb.PAUSE: Activity.PAUSED,
                Verb.RESUME: Activity.STEPPING,
                Verb.DRAIN: Activity.DRAINING,
                Verb.STOP: Activity.STOPPED,
                Verb.RESTART: Activity.RESTARTING,
                Verb.KILL: Activity.RESTARTING,
            }[command.verb]
            run.activities.update(dict.fromkeys(command.workers, became))
            return
        match command.verb:
            case Verb.PAUSE:
                run.paused, run.state = True, RunState.PAUSED
            case Verb.RESUME:
                run.paused, run.state = False, RunState.RUNNING
            case Verb.STOP | Verb.DRAIN | Verb.KILL:
                run.state, run.ended_by = RunState.STOPPED, command.ended_by
            case Verb.SCALE:
                run.num_workers = command.num_workers or run.num_workers
            case Verb.KEEP:
                run.keep = True
            case _:
                pass

    def tick(self, passed_s: float) -> None:
        for run in self.runs.values():
            over = run.state.is_over
            if run.attached:
                if not over and not run.paused:
                    run.t_s += passed_s
                self.send(run.update())
                run.attached = not over


def misbehave(mode: str, out: BinaryIO) -> None:
    match mode:
        case "die":
            print("boom: no memory left", file=sys.stderr)
            raise SystemExit(7)
        case "garbage":
            out.write(b"Traceback (most recent call last): surprise\n")
        case "truncated":
            out.write(frame(encode(Pong(1)))[:-2])
            out.flush()
            raise SystemExit(0)
        case "oversized":
            out.write(MAGIC + (2**32 - 1).to_bytes(4, "little"))
        case _:
            return
    out.flush()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--mode", choices=MODES, default="ok")
    parser.add_argument("--once", type=Path, help="misbehave only if this file is absent")
    parser.add_argument("--record", type=Path, help="append the type names of what was received")
    parser.add_argument("--num-workers", type=int, default=8)
    parser.add_argument("--live-runs", type=int, default=0)
    parser.add_argument("--recordings", type=int, default=0, help="in the library")
    parser.add_argument("--library-s", type=float, default=0.0, help="before it answers")
    parser.add_argument("--t0", type=float, default=600.0, help="age of a run when it begins")
    parser.add_argument("--connect-s", type=float, default=0.0)
    args = parser.parse_args()
    mode = args.mode
    if args.once is not None:
        mode = "ok" if args.once.exists() else mode
        args.once.touch()

    out = os.fdopen(os.dup(1), "wb")
    inbox: queue.Queue[bytes | None] = queue.Queue()

    def read() -> None:
        reader = FrameReader()
        while data := os.read(0, 65536):
            for payload in reader.feed(data):
                inbox.put(payload)
        inbox.put(None)

    threading.Thread(target=read, daemon=True).start()
    stand_in = StandIn(out, args)
    if mode == "die":
        misbehave(mode, out)
    if mode != "silent":
        version = 999 if mode == "other_version" else PROTOCOL_VERSION
        stand_in.send(Hello(version, "0.1.0", os.getpid()))
        stand_in.send(EnvRegistry(ENV_IDS))
    misbehave(mode, out)
    last_tick_s = last_health_s = time.monotonic()
    while True:
        try:
            payload = inbox.get(timeout=0.02)
        except queue.Empty:
            payload = b""
        if payload is None and mode != "deaf_to_the_end":
            return
        if payload and mode not in ("hang", "silent"):
            message = decode(payload)
            if args.record is not None and not isinstance(message, Ping):
                with args.record.open("a") as record:
                    record.write(f"{type(message).__name__}\n")
            if mode == "die_on_command" and not isinstance(message, Hello | Ping):
                os.kill(os.getpid(), signal.SIGKILL)
            stand_in.receive(message)
        now = time.monotonic()
        if now - last_tick_s >= 0.1:
            stand_in.tick(now - last_tick_s)
            last_tick_s = now
        if now - last_health_s >= 1.0 and mode == "ok":
            last_health_s = now
            stand_in.send(EngineHealth(os.getpid(), 3.0, 90e6, 1.2, 0.7, 0, 0, "engine.log"))


if __name__ == "__main__":
    main()
