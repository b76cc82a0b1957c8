"""The stepping loop of the modes `lockstep` and `tasks`: a central policy, environments elsewhere.

One loop steps all workers of a run: it chooses the actions, sends them where the environments are,
waits for each step, counts, and hands back ordinary chunks, one per worker. It is pulled in slices
as a worker is (`run`), with all workers in one call. Plain Python: no Ray, threads or locks.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum, auto
from pathlib import Path
from typing import Any

from raydash.core.clock import Clock
from raydash.core.faults import Fault, FaultError
from raydash.core.machine.stimuli import PolicyVersion
from raydash.core.records import PolicySet, RolloutChunk, WorkerFault
from raydash.core.spec import RunSpec
from raydash.worker.envs.seeds import env_seeds, policy_seed
from raydash.worker.node.progress import HURRY, ProgressWriter
from raydash.worker.policies.policy import Policy, forget_module, make_policy
from raydash.worker.remote.moves import Answer, Lost, Opened, Raised, Refused, Transport, WorkerKey
from raydash.worker.remote.stepping_row import Row
from raydash.worker.words import one_line

SETTLE_S = 0.005
"""Once a worker that somebody waits for has come to rest, others like it get so long to do so."""


class Wish(Enum):
    """What a call of the loop is to do for one worker."""

    OPEN = auto()
    """Get its environment and make its policy; asked again until answered."""
    STEP = auto()
    DRAIN = auto()
    """Step until the episode that is under way is over."""
    LEAVE = auto()
    """Wait for the answer that is out, count it, and forget the worker."""
    FORGET = auto()
    """Forget it at once."""


@dataclass(frozen=True, slots=True)
class Order:
    """One worker's part of a call.

    Attributes:
        seat: Its worker and life.
        wish: What to do.
        handle: Where its environment is, with `Wish.OPEN`, if that has a place of its own.
        version: Its policy, with `Wish.OPEN`.
    """

    seat: WorkerKey
    wish: Wish
    handle: Any = None
    version: PolicyVersion = field(default_factory=PolicyVersion)


@dataclass(slots=True)
class Said:
    """What a call gives back.

    Attributes:
        opened: Workers whose environment and policy stand, with their progress files.
        chunks: One at most of each worker.
        faults: Of workers that could not be opened; they are forgotten.
        lost: Of workers whose environment is gone, with Ray's words; they are forgotten.
        left: Workers that were to leave, and have; their chunk, if any, is the last one.
        costs: What was found out of the way of stepping, in words.
    """

    opened: list[tuple[WorkerKey, str]] = field(default_factory=list)
    chunks: list[RolloutChunk] = field(default_factory=list)
    faults: list[WorkerFault] = field(default_factory=list)
    lost: list[tuple[WorkerKey, Exception]] = field(default_factory=list)
    left: list[WorkerKey] = field(default_factory=list)
    costs: list[str] = field(default_factory=list)


class SteppingLoop:
    """Steps all workers of one run, call by call.

    Args of the constructor:
        spec: Of the run: its policy and seed are used.
        source_dirs: Folders to import the user's modules from.
        transport: Takes the moves.
        clock: Monotonic seconds.
        progress: Of the loop itself. Its cell `HURRY` holds the number of the last call that
            somebody wants back at once.
        progress_dir: Folder for the workers' progress files; None: none are written.
    """

    def __init__(
        self,
        spec: RunSpec,
        source_dirs: Sequence[str],
        transport: Transport,
        *,
        clock: Clock,
        progress: ProgressWriter,
        progress_dir: Path | None,
        make_policy: Callable[..., Policy] = make_policy,
    ) -> None:
        self._spec = spec
        self._source_dirs = source_dirs
        self._transport = transport
        self._clock = clock
        self._progress = progress
        self._progress_dir = progress_dir
        self._make_policy = make_policy
        self._rows: dict[WorkerKey, Row] = {}

    def run(self, number: int, orders: Sequence[Order], budget_s: float) -> Said:
        """Step those who are ordered for about `budget_s`, and hand back what happened.

        It ends early when somebody waits: as soon as a worker that is paused, stopped, drained or
        opened has come to rest, or when the call itself is wanted back. A worker whose move is out
        all the time has nothing to say, and its order stands.

        Args:
            number: Of the call; they grow.
            orders: At most one of each worker.
            budget_s: Wall time to fill.
        """
        said = Said()
        ordered = self._begin(orders, budget_s, said)
        deadline_s = self._clock() + budget_s
        hurry = self._progress.cells
        settled_s: float | None = None
        for row in ordered:
            row.advance()
        while True:
            now_s = self._clock()
            num_out = 0
            for row in ordered:
                if row.out:
                    num_out += 1
                elif settled_s is None:  # it would have moved on if it were to
                    settled_s = now_s
            if settled_s is not None:
                deadline_s = min(deadline_s, settled_s + SETTLE_S)
            if not num_out or now_s >= deadline_s or hurry[HURRY] >= number:
                break
            answers = self._transport.answers(deadline_s - now_s)
            now_s = self._clock()
            for seat, answer in answers:
                row_of = self._rows.get(seat)
                if row_of is not None:
                    self._take(row_of, answer, now_s, said)
            if said.lost or said.faults:
                ordered = [row for row in ordered if row.seat in self._rows]
        self._end(ordered, said)
        return said

    def set_policy(self, seat: WorkerKey, version: PolicyVersion) -> PolicySet:
        """Let another policy choose for a worker from its next step on; if it can't, the old one.

        Args:
            seat: Whose.
            version: The new one.
        """
        row, fault = self._rows.get(seat), None
        if row is None or not row.is_open:
            fault = Fault("There is nothing that another policy could choose for")
        else:
            try:
                if version.policy is not None:
                    # It may have been changed since it was imported: that is what swaps are for.
                    forget_module(version.policy.kind)
                policy = self._policy_of(row, *row.spaces, version)
                row.set_policy(policy, version.weights_seq_no)
            except FaultError as error:
                fault = error.fault
            except Exception as error:
                fault = Fault(f"The policy raised {type(error).__name__}", one_line(error))
        return PolicySet(*seat, version.weights_seq_no, fault)

    def _policy_of(
        self, row: Row, observation_space: Any, action_space: Any, version: PolicyVersion
    ) -> Policy:
        return self._make_policy(
            version.policy or self._spec.policy,
            observation_space,
            action_space,
            policy_seed(row.seeds.action_space, version.weights_seq_no),
            self._source_dirs,
        )

    def close(self) -> None:
        """Forget everybody."""
        for seat in list(self._rows):
            self._forget(seat)
        self._progress.close()

    # --- a call's beginning and end -----------------------------------------------------------

    def _begin(self, orders: Sequence[Order], budget_s: float, said: Said) -> list[Row]:
        ordered: list[Row] = []
        for order in orders:
            row = self._rows.get(order.seat)
            match order.wish:
                case Wish.FORGET:
                    self._forget(order.seat)
                    continue
                case Wish.OPEN if row is None:
                    row = self._seat(order)
                case Wish.LEAVE if row is None:
                    said.left.append(order.seat)
                case Wish.STEP | Wish.DRAIN | Wish.LEAVE if row is not None:
                    row.order(
                        budget_s,
                        drain=order.wish is Wish.DRAIN,
                        leave=order.wish is Wish.LEAVE,
                    )
            if row is not None:
                ordered.append(row)
        return ordered

    def _seat(self, order: Order) -> Row:
        index, incarnation = order.seat
        name = f"w{index}-{incarnation}"
        row = self._rows[order.seat] = Row(
            order.seat,
            env_seeds(self._spec.rollout.seed, worker_index=index, incarnation=incarnation),
            transport=self._transport,
            clock=self._clock,
            progress=ProgressWriter(self._progress_dir / name if self._progress_dir else None),
            info_keys=self._spec.rollout.info_keys,
            version=order.version,
        )
        row.open(order.handle)
        return row

    def _end(self, ordered: Sequence[Row], said: Said) -> None:
        for row in ordered:
            if not row.is_open:
                continue
            has_left = row.leaves and row.is_at_rest
            chunk = row.chunk()
            if chunk is not None:
                said.chunks.append(chunk)
            if has_left:
                said.left.append(row.seat)
                self._forget(row.seat)
        for row in ordered:
            row.is_ordered = False
        said.costs.extend(self._transport.costs())

    def _forget(self, seat: WorkerKey) -> None:
        row = self._rows.pop(seat, None)
        if row is not None:
            row.leave()

    # --- answers ------------------------------------------------------------------------------

    def _take(self, row: Row, answer: Answer, now_s: float, said: Said) -> None:
        match answer:
            case Lost(error=error):
                self._forget(row.seat)
                said.lost.append((row.seat, error))
            case Opened():
                self._take_opened(row, answer, said)
            case Refused(fault=fault):
                self._refuse(row, fault, said)
            case Raised() if not row.is_open:
                fault = Fault(
                    f"{self._spec.env.id} raised in {answer.where}",
                    answer.message,
                    detail=answer.traceback,
                )
                self._refuse(row, fault, said)
            case _:
                row.take(answer, now_s)
                row.advance()

    def _take_opened(self, row: Row, opened: Opened, said: Said) -> None:
        try:
            spaces = opened.observation_space, opened.action_space
            policy = self._policy_of(row, *spaces, row.version)
        except FaultError as error:
            self._refuse(row, error.fault, said)
        except Exception as error:
            fault = Fault(
                f"The policy or the action space raised {type(error).__name__}", one_line(error)
            )
            self._refuse(row, fault, said)
        else:
            row.opened(opened, policy)
            said.opened.append((row.seat, row.progress_path))

    def _refuse(self, row: Row, fault: Fault, said: Said) -> None:
        said.faults.append(WorkerFault(*row.seat, fault))
        self._forget(row.seat)
