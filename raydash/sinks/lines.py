"""The messages between a supervisor and the process of one sink: one line of JSON each.

The supervisor sends the run once, then at most one row a second, then the run's end. The process
sends answers and troubles.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from enum import StrEnum

from raydash.core.spec import SinksSpec

Param = str | int | float | bool
"""One value of a spec, as other tools list them."""


@dataclass(frozen=True, slots=True)
class SinkRun:
    """The run that a sink passes on.

    Attributes:
        name: The name to show; may be empty.
        owner: `user@host`.
        folder: Where a sink keeps what has no other place (W&B's offline folder).
        sinks: Where each sink writes.
        params: The spec, flattened, by dotted keys.
    """

    run_id: str
    env_id: str
    name: str
    owner: str
    folder: str
    sinks: SinksSpec
    params: Mapping[str, Param]


@dataclass(frozen=True, slots=True)
class Row:
    """The figures of one instant.

    Attributes:
        t_s: The instant on the run's clock.
        step: Environment steps sampled, lifetime.
        metrics: Values by RLlib's names; those that are not known yet are left out.
    """

    t_s: float
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The run is over.

    Attributes:
        row: The run's last figures.
        state: How it ended, a `RunState`.
        ended_by: Why it ended, an `EndedBy`; empty if that is not known.
        cause: Why it failed, in words; empty if it did not.
    """

    row: Row
    state: str
    ended_by: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """A sink has dealt with what it was sent; the counts are cumulative.

    Attributes:
        num_taken: How many lines it has dealt with.
        num_left_out: How many of them were rows that it skipped, because newer ones waited.
    """

    num_taken: int
    num_left_out: int = 0


class Cause(StrEnum):
    """What can go wrong with a sink; each cause is reported once."""

    MISSING = "missing"
    CANNOT_START = "cannot start"
    CANNOT_WRITE = "cannot write"
    CANNOT_FINISH = "cannot finish"
    DIED = "died"
    SILENT = "silent"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A sink could not do what it was asked to.

    Attributes:
        text: One line, in the library's own words.
        detail: A traceback.
    """

    cause: Cause
    text: str
    detail: str = ""


Message = SinkRun | Row | RunEnd | Answered | Trouble


def line_of(message: Message) -> bytes:
    """Encode a message as one line."""
    return json.dumps([type(message).__name__, asdict(message)]).encode() + b"\n"


def message_of(line: bytes) -> Message | None:
    """Decode a line; None if it is not one of our messages."""
    try:
        name, body = json.loads(line)
        match name:
            case "SinkRun":
                return SinkRun(**{**body, "sinks": SinksSpec(**body["sinks"])})
            case "Row":
                return Row(**body)
            case "RunEnd":
                return RunEnd(**{**body, "row": Row(**body["row"])})
            case "Answered":
                return Answered(int(body["num_taken"]), int(body["num_left_out"]))
            case "Trouble":
                return Trouble(Cause(body["cause"]), str(body["text"]), str(body["detail"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        pass
    return None
