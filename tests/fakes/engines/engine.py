"""A stand-in for `EngineProcess` without a child: it keeps what was sent, and a test answers."""

from dataclasses import replace

from PySide6.QtCore import QObject, Signal

from raydash.core.faults import Fault
from raydash.core.messages import (
    PROTOCOL_VERSION,
    Answer,
    ClusterStatus,
    Command,
    RunList,
    RunSummary,
)
from raydash.core.spec import PolicySpec
from raydash.core.states import Activity, ClusterPhase, EngineState, RunState
from raydash.core.updates import RunUpdate
from tests.fakes.updates.updates import RUN_ID, make_info, make_update

UP = ClusterStatus(
    ClusterPhase.UP,
    address="127.0.0.1:6379",
    num_nodes=1,
    num_cpus=2.0,
    num_cpus_free=2.0,
    token_auth=True,
    ray_version="2.60.0",
)


class FakeEngine(QObject):
    """Has the interface of `EngineProcess`, and no process.

    Attributes:
        sent: Every command, in order.
    """

    message_received = Signal(object)
    state_changed = Signal(object)
    lost = Signal(object)
    exited = Signal()
    stopped = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.state = EngineState.STARTING
        self.fault: Fault | None = None
        self.latency_ms = 3.0
        self.pid = 4711
        self.sent: list[Command] = []
        self.calls: list[str] = []
        self._seq = 0

    # --- what a session calls -----------------------------------------------------------------

    def start(self) -> None:
        self.calls.append("start")

    def send(self, command: Command) -> None:
        self.sent.append(command)

    def expect_exit(self) -> None:
        self.calls.append("expect_exit")

    def replace(self) -> None:
        self.calls.append("replace")
        self.become(EngineState.RECONNECTING)

    def retry(self) -> None:
        self.calls.append("retry")
        self.become(EngineState.RECONNECTING)

    def shut_down(self) -> None:
        self.calls.append("shut_down")
        self.become(EngineState.STOPPED)
        self.stopped.emit()

    def kill_child(self) -> None:
        self.calls.append("kill_child")

    # --- what a test does ---------------------------------------------------------------------

    def become(self, state: EngineState) -> None:
        if state is not self.state:
            self.state = state
            self.state_changed.emit(state)

    def say(self, message: object) -> None:
        self.message_received.emit(message)

    def answer(
        self, fault: Fault | None = None, run_id: str = "", *, to: int | None = None
    ) -> None:
        """Answer the newest command, or command number `to`."""
        self.say(Answer(self.sent[-1].command_id if to is None else to, fault, run_id))

    def come_up(self, *live: RunSummary) -> None:
        """Greet, and connect to a cluster with those live runs."""
        self.become(EngineState.READY)
        self.say(UP)
        self.say(RunList(live))
        self.answer()

    def update(
        self,
        run_id: str = RUN_ID,
        *,
        state: RunState = RunState.RUNNING,
        num_workers: int = 8,
        activities: dict[int, Activity] | None = None,
        snapshot: bool = True,
        last: bool = False,
        t_s: float = 600.0,
        merged: int = 0,
        policy: PolicySpec | None = None,
    ) -> RunUpdate:
        """Send an update of a run: a snapshot by default, or one that stands for `merged` others.

        Sequence numbers are shared by all runs.
        """
        self._seq += 1 + merged
        since = 0 if snapshot else self._seq - 1 - merged
        made = make_update(num_workers, self._seq, since, t_s, state=state)
        for index, activity in (activities or {}).items():
            made.workers.activity[index - 1] = activity
        info = replace(make_info(), run_id=run_id) if made.info else None
        update = replace(made, run_id=run_id, info=info, last=last, policy=policy)
        self.say(update)
        return update


def summary(run_id: str = RUN_ID, **changes: object) -> RunSummary:
    """Make up the summary of somebody's live run."""
    made = RunSummary(
        run_id=run_id,
        name="cartpole-random",
        env_id="CartPole-v1",
        owner="ada@bench",
        state=RunState.RUNNING,
        num_workers=8,
        started_utc="2026-11-22T10:15:00+00:00",
        elapsed_s=600.0,
        num_env_steps_sampled_lifetime=1_000_000,
        num_episodes_lifetime=20_000,
        recording="",
        keep=False,
        raydash_version="0.1.0",
        protocol_version=PROTOCOL_VERSION,
    )
    return replace(made, **changes)  # type: ignore[arg-type]
