"""Performs a machine's instructions by hand: a test says what each worker does next."""

from collections import defaultdict
from typing import Any

from raydash.core.faults import Fault
from raydash.core.machine.machine import RunMachine
from raydash.core.machine.stimuli import (
    AnswerCommand,
    ChunkArrived,
    CloseWorker,
    CommandReceived,
    CreateWorker,
    DeathCause,
    EndRun,
    HurryWorker,
    Instruction,
    KillWorker,
    PolicyAnswered,
    PolicyVersion,
    RecordEvent,
    RequestRollout,
    SetPolicy,
    Ticked,
    WorkerBecameReady,
    WorkerClosed,
    WorkerDied,
)
from raydash.core.messages import CommandRun, Verb
from raydash.core.spec import PolicySpec, RunSpec


class MachineDriver:
    """A machine with hand-worked workers.

    Attributes:
        machine: The machine under test; `validate` runs after every stimulus.
        log: All instructions so far.
        answers: Token to the fault it was answered with.
        requests: Requests that are out, by worker.
        starting: Workers that were created and are not ready, with their incarnation.
        closing: Workers that were asked to close.
        killed: Workers that were killed and not reported dead.
        hurried: Workers whose slices are to be cut short.
        offers: Policies that workers were given and have not answered yet, by worker.
        made_with: The policy that each worker's newest life was made with.
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
        self.made_with: dict[int, PolicyVersion] = {}
        self.hurried: set[int] = set()
        self.lost: set[int] = set()
        self.steps = 0
        self.episodes = 0
        self._next_token = 1
        self._perform(machine.start(0.0))

    def give(self, stimulus: Any) -> list[Instruction]:
        """Hand a stimulus over, perform what comes back, validate."""
        instructions = self.machine.handle(stimulus)
        self._perform(instructions)
        self.machine.validate()
        return instructions

    def ready(self, index: int) -> list[Instruction]:
        """A starting worker stands."""
        return self.give(WorkerBecameReady(self.t_s, index, self.starting.pop(index)))

    def all_ready(self) -> None:
        """All that are starting stand."""
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
        """The oldest request of a worker is answered."""
        request = self.requests[index].pop(0)
        self.steps += steps
        self.episodes += episodes
        return self.give(
            ChunkArrived(
                self.t_s,
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
        )

    def die(
        self, index: int, cause: DeathCause = DeathCause.CRASHED, text: str = "SIGKILL"
    ) -> list[Instruction]:
        """The process of a worker is gone."""
        life = self.machine.workers[index].incarnation
        self.requests[index].clear()
        for book in (self.starting, self.closing, self.killed, self.offers):
            book.pop(index, None)
        return self.give(WorkerDied(self.t_s, index, life, cause, text))

    def answer_policy(self, index: int, refusal: str = "") -> list[Instruction]:
        """A worker takes the policy that it was given, or says why it can not."""
        offer = self.offers.pop(index)
        number = offer.version.weights_seq_no
        return self.give(PolicyAnswered(self.t_s, index, offer.incarnation, number, refusal))

    def closed(self, index: int) -> list[Instruction]:
        """A worker that was asked to close did."""
        return self.give(WorkerClosed(self.t_s, index, self.closing.pop(index)))

    def supervisor_dies(self, spec: RunSpec) -> None:
        """Its workers die with it; another goes on with what was committed of the machine."""
        old = self.machine
        self.lost |= {token for token in range(1, self._next_token) if not self.answers[token]}
        for book in (self.requests, self.starting, self.closing, self.killed, self.offers):
            book.clear()
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
        """Time goes by."""
        self.t_s += seconds
        return self.give(Ticked(self.t_s))

    def command(
        self,
        verb: Verb,
        workers: tuple[int, ...] | None = None,
        num_workers: int | None = None,
        policy: PolicySpec | None = None,
    ) -> int:
        """Somebody asks; gives the token."""
        token = self._next_token
        self._next_token += 1
        command = CommandRun(token, "run", verb, workers, num_workers, policy=policy)
        self.give(CommandReceived(self.t_s, token, command))
        return token

    def settle(self) -> None:
        """Let everything that is under way come to its end."""
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
        """Events so far."""
        return [entry for entry in self.log if isinstance(entry, RecordEvent)]

    def _perform(self, instructions: list[Instruction]) -> None:
        self.log += instructions
        for instruction in instructions:
            match instruction:
                case CreateWorker(worker_index=index, incarnation=life):
                    self.hurried.discard(index)
                    self.made_with[index] = instruction.version
                    self.starting[index] = life
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
                case CloseWorker(worker_index=index, incarnation=life):
                    self.offers.pop(index, None)
                    self.closing[index] = life
                case KillWorker(worker_index=index, incarnation=life):
                    self.requests[index].clear()
                    self.starting.pop(index, None)
                    self.closing.pop(index, None)
                    self.offers.pop(index, None)
                    self.killed[index] = life
                case AnswerCommand(token=token, fault=fault):
                    self.answers[token].append(fault)
                case EndRun():
                    self.ended = instruction
