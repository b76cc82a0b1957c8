"""The moves that a stepping loop sends to environments in other processes, and their answers.

A *move* is one reset or step of one environment. It is *out* until its answer is in; an environment
has at most one move out. Answers are pickled here, which costs half as much as leaving it to Ray.
"""

import pickle
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from raydash.core.faults import Fault
from raydash.core.words.texts import one_line

MAX_TRACEBACK = 4000

WorkerKey: TypeAlias = tuple[int, int]
"""One incarnation of one worker: `(worker_index, incarnation)`."""


class Opened(NamedTuple):
    """An environment was made and reset for the first time."""

    observation_space: Any
    action_space: Any
    observation: Any
    reset_time_s: float


class Refused(NamedTuple):
    """An environment or its policy can't be made."""

    fault: Fault


class WasReset(NamedTuple):
    """An episode began."""

    observation: Any


class Stepped(NamedTuple):
    """A step was made. `info` holds the episode's scalars; it is empty before the episode's end."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: Any


class Raised(NamedTuple):
    """User code raised in `make`, `reset` or `step`; the environment is discarded."""

    where: str
    message: str
    traceback: str

    @classmethod
    def of(cls, where: str, error: BaseException) -> "Raised":
        """Take message and traceback from an exception."""
        words = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
        return cls(where, f"{type(error).__name__}: {one_line(error)}", words)


class Lost(NamedTuple):
    """The process that had the move is gone or can't be reached."""

    error: Exception


Answer: TypeAlias = Opened | Refused | WasReset | Stepped | Raised | Lost


def pack(value: Any) -> bytes:
    """Pickle an answer or an action for travelling; `pickle.loads` unpacks it."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


class Transport(Protocol):
    """Sends moves to environments and brings answers back. Only `answers` waits."""

    def open(self, key: WorkerKey, handle: Any, seed: int) -> None:
        """Have a worker's environment made and reset; the answer is `Opened`, `Refused` or `Lost`.

        Args:
            key: The worker.
            handle: The actor that holds the environment; None in the mode `tasks`.
            seed: Seeds the first reset.
        """

    def reset(self, key: WorkerKey) -> None:
        """Begin the next episode; the answer is `WasReset`, `Raised` or `Lost`."""

    def remake(self, key: WorkerKey, seed: int) -> None:
        """Remake an environment and reset it; the answer is `WasReset`, `Raised` or `Lost`."""

    def step(self, key: WorkerKey, action: Any) -> None:
        """Make one step; the answer is `Stepped`, `Raised` or `Lost`."""

    def forget(self, key: WorkerKey) -> None:
        """Drop a worker: its answer is no longer wanted, and a move that hangs may be killed."""

    def answers(self, timeout_s: float) -> Sequence[tuple[WorkerKey, Answer]]:
        """Return the answers that are in; wait for the first one for at most about `timeout_s`."""

    def costs(self) -> Sequence[str]:
        """Return, in words and only once, what this way of stepping was found to cost."""
