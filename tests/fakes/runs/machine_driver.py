"""Performs a machine's instructions by hand, so that a test decides what each worker does next."""

from collections import defaultdict
from typing import Any

from raydash.core.faults import Fault
from raydash.core.machine.machine import RunMachine
from raydash.core.machine.stimuli import (
    AnswerCommand,
    ChunkArrived,
    ChunkBatch,
    CloseWorker,
    CommandReceived,
    CreateWorker,
    DeathCause,
    EndRun,
    HurryWorker,
    Instruction,
    KillWorker,
    PolicyVersion,
    RecordEvent,
    RequestRollout,
    SetPolicy,
    Ticked,
    WorkerClosed,
    WorkerDied,
)
from raydash.core.messages import CommandRun, Verb
from raydash.core.records import PolicySet, WorkerReady
from raydash.core.spec import PolicySpec, RunSpec


class MachineDriver:
    """A machine whose workers are worked by hand.

    Attributes:
        machine: The machine under test; `validate` runs after every stimulus.
        log: All instructions so far.
        answers: By command_id, the faults (None: done) that the command was answered with.
        requests: By worker, the requests it has not answered.
        starting: Workers that were created and are not ready, with their incarnation.
        closing: Workers that were asked to close, with their incarnation.
        killed: Workers that were killed and not reported dead, with their incarnation.
        hurried: Workers that were told to cut their requests short.
        offers: By worker, the policy that it was offered and has not answered.
        created_with: By worker, the policy that its newest incarnation was created with.
        ended: The instruction that ended the run.
        lost: Tokens of commands whose answers died with a supervisor.
    """

    def __init__(self, machine: RunMachine) -> None:
        self.machine = machine
        self.t_s = 0.0
        self.log: list[Instruction] = []
        self.answers: dict[int, list[Fault | None]] = defaultdict(list)
        self.requests: dict[int, list[RequestRollout]] = defaultdict(list)
        self.starting: dict[int, int] = {}
        self.closing: dict[int, int] = {}
        self.killed: dict[int, int] = {}
        self.ended: EndRun | None = None
        self.offers: dict[int, SetPolicy] = {}
        self.created_with: dict[int, PolicyVersion] = {}
        self.hurried: set[int] = set()
        self.lost: set[int] = set()
        self.steps = 0
        self.episodes = 0
        self._next_id = 1
        self._perform(machine.start(0.0))

    def handle(self, stimulus: Any) -> list[Instruction]:
        """Hand a stimulus to the machine, perform its instructions and validate it."""
        instructions = self.machine.handle(stimulus, self.t_s)
        self._perform(instructions)
        self.machine.validate()
        return instructions

    def ready(self, index: int) -> list[Instruction]:
        """Let a starting worker become ready."""
        return self.handle(worker_ready(index, self.starting.pop(index)))

    def all_ready(self) -> None:
        """Let all starting workers become ready."""
        for index in list(self.starting):
            self.ready(index)

    def chunk(
        self,
        index: int,
        *,
        steps: int = 100,
        episodes: int = 5,
        duration_s: float = 0.1,
        failures: int = 0,
        drained: bool = False,
    ) -> list[Instruction]:
        """Answer the oldest request of a worker."""
        request = self.requests[index].pop(0)
        self.steps += steps
        self.episodes += episodes
        chunk = ChunkArrived(
            index,
            request.incarnation,
            duration_s,
            0.0 if steps else float("nan"),
            self.steps,
            self.episodes,
            failures,
            "ValueError: no" if failures else "",
            drained,
        )
        return self.handle(ChunkBatch.of([chunk]))

    def die(
        self, index: int, cause: DeathCause = DeathCause.CRASHED, text: str = "SIGKILL"
    ) -> list[Instruction]:
        """End the process of a worker."""
        incarnation = self.machine.workers[index].incarnation
        self.requests[index].clear()
        for pending in (self.starting, self.closing, self.killed, self.offers):
            pending.pop(index, None)
        return self.handle(WorkerDied(index, incarnation, cause, text))

    def answer_policy(self, index: int, refusal: str = "") -> list[Instruction]:
        """Let a worker take the policy that it was offered, or say why it can't."""
        offer = self.offers.pop(index)
        number = offer.version.weights_seq_no
        fault = Fault(refusal) if refusal else None
        return self.handle(PolicySet(index, offer.incarnation, number, fault))

    def closed(self, index: int) -> list[Instruction]:
        """Let a worker that was asked to close do so."""
        return self.handle(WorkerClosed(index, self.closing.pop(index)))

    def supervisor_dies(self, spec: RunSpec) -> None:
        """Kill all workers with their supervisor, and go on with what was recorded of the run."""
        old = self.machine
        self.lost |= {
            command_id for command_id in range(1, self._next_id) if not self.answers[command_id]
        }
        for pending in (self.requests, self.starting, self.closing, self.killed, self.offers):
            pending.clear()
        self.hurried.clear()
        self.machine = RunMachine(
            spec,
            old.commanded,
            elapsed_s=old.elapsed_s,
            num_env_steps=self.steps,
            num_episodes=self.episodes,
            incarnations={index: w.incarnation + 1 for index, w in old.workers.items()},
            num_restarts=old.num_restarts,
        )
        self._perform(self.machine.start(self.t_s))
        self.machine.validate()

    def tick(self, seconds: float = 0.1) -> list[Instruction]:
        """Let time pass."""
        self.t_s += seconds
        return self.handle(Ticked())

    def command(
        self,
        verb: Verb,
        workers: tuple[int, ...] | None = None,
        num_workers: int | None = None,
        policy: PolicySpec | None = None,
    ) -> int:
        """Give a command and return its command_id."""
        command_id = self._next_id
        self._next_id += 1
        command = CommandRun(command_id, "run", verb, workers, num_workers, policy=policy)
        self.handle(CommandReceived("reader", command))
        return command_id

    def settle(self) -> None:
        """Let everything that is under way finish."""
        for _ in range(200):
            for index in list(self.killed):
                self.die(index, DeathCause.KILLED, "killed by raydash")
            for index in list(self.closing):
                self.closed(index)
            self.all_ready()
            for index in list(self.offers):
                self.answer_policy(index)
            for index in [i for i, out in self.requests.items() if out]:
                self.chunk(index, drained=self.requests[index][0].drain)
            self.tick(0.1)
            if self.ended:
                return

    def events(self) -> list[RecordEvent]:
        """Return the events so far."""
        return [entry for entry in self.log if isinstance(entry, RecordEvent)]

    def _perform(self, instructions: list[Instruction]) -> None:
        self.log += instructions
        for instruction in instructions:
            match instruction:
                case CreateWorker(worker_index=index, incarnation=incarnation):
                    self.hurried.discard(index)
                    self.created_with[index] = instruction.version
                    self.starting[index] = incarnation
                case SetPolicy(worker_index=index):
                    assert index not in self.offers
                    self.offers[index] = instruction
                case RequestRollout(worker_index=index):
                    assert index not in self.hurried
                    self.requests[index].append(instruction)
                case HurryWorker(worker_index=index, wanted=True):
                    assert index not in self.hurried
                    self.hurried.add(index)
                case HurryWorker(worker_index=index):
                    self.hurried.remove(index)
                case CloseWorker(worker_index=index, incarnation=incarnation):
                    self.offers.pop(index, None)
                    self.closing[index] = incarnation
                case KillWorker(worker_index=index, incarnation=incarnation):
                    self.requests[index].clear()
                    self.starting.pop(index, None)
                    self.closing.pop(index, None)
                    self.offers.pop(index, None)
                    self.killed[index] = incarnation
                case AnswerCommand(received=received, fault=fault):
                    self.answers[received.command.command_id].append(fault)
                case EndRun():
                    self.ended = instruction


def worker_ready(index: int, incarnation: int = 0) -> WorkerReady:
    """What a worker says when it is ready, for a machine, which reads no more of it than this."""
    return WorkerReady(index, incarnation, pid=1, node="node", node_id="", seed=0)
