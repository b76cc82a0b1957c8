"""What passes between the stepping loop and environments elsewhere: moves out, answers back.

A *move* is one reset or step of one environment. It is *out* until its answer is in; an environment
has at most one move out. Answers travel pickled: half of what Ray takes for the same values.
"""

import pickle
import traceback
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypeAlias

from raydash.core.faults import Fault
from raydash.worker.words import one_line

MAX_TRACEBACK = 4000

WorkerKey: TypeAlias = tuple[int, int]
"""One life of one worker: `(worker_index, incarnation)`."""


class Opened(NamedTuple):
    """An environment stands and is reset for the first time."""

    observation_space: Any
    action_space: Any
    observation: Any
    reset_time_s: float


class Refused(NamedTuple):
    """An environment can't be had, or its policy can't."""

    fault: Fault


class WasReset(NamedTuple):
    """An episode began."""

    observation: Any


class Stepped(NamedTuple):
    """A step was made. `info` is what may be kept of the episode, and empty before its end."""

    observation: Any
    reward: float
    terminated: bool
    truncated: bool
    info: Any


class Raised(NamedTuple):
    """User code raised in `make`, `reset` or `step`; the environment is given up."""

    where: str
    message: str
    traceback: str

    @classmethod
    def of(cls, where: str, error: BaseException) -> "Raised":
        """What an exception says."""
        words = "".join(traceback.format_exception(error))[-MAX_TRACEBACK:]
        return cls(where, f"{type(error).__name__}: {one_line(error)}", words)


class Lost(NamedTuple):
    """The process that had the move is gone, or can't be reached."""

    error: Exception


Answer: TypeAlias = Opened | Refused | WasReset | Stepped | Raised | Lost


def pack(value: Any) -> bytes:
    """An answer, or an action, as it travels; `pickle.loads` unpacks it."""
    return pickle.dumps(value, pickle.HIGHEST_PROTOCOL)


class Transport(Protocol):
    """Takes moves to environments and brings answers back. Nothing here waits but `answers`."""

    def open(self, key: WorkerKey, handle: Any, seed: int) -> None:
        """See to the first reset: `Opened`, `Refused` or `Lost`.

        Args:
            key: Whose environment.
            handle: Where it is, if it has a place of its own.
            seed: Of the first reset.
        """

    def reset(self, key: WorkerKey) -> None:
        """Begin the next episode: `WasReset`, `Raised` or `Lost`."""

    def renew(self, key: WorkerKey, seed: int) -> None:
        """Give an environment up, make another and reset that: `WasReset`, `Raised` or `Lost`."""

    def step(self, key: WorkerKey, action: Any) -> None:
        """Make one step: `Stepped`, `Raised` or `Lost`."""

    def forget(self, key: WorkerKey) -> None:
        """Nobody wants an answer any more, and what hangs need not go on."""

    def answers(self, timeout_s: float) -> Sequence[tuple[WorkerKey, Answer]]:
        """What has come in; waits until something has, at most about `timeout_s`."""

    def costs(self) -> Sequence[str]:
        """What has been found out of what its way of stepping costs, in words, each once."""
