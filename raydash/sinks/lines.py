"""What passes between a supervisor and the process of one sink: one line of JSON each.

Down go the run, once, then a row a second at most, then its end. Up go answers and troubles.
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
    """The run that a sink will be told of.

    Attributes:
        run_id: Unique.
        env_id: Of the environment.
        name: For people; may be empty.
        owner: `user@host`.
        folder: Where a sink keeps what has no other place (W&B's offline folder).
        sinks: Where each sink writes.
        params: The spec, flat, by dotted keys.
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
    """The figures of one moment.

    Attributes:
        t_s: On the run's clock.
        step: Environment steps sampled, lifetime.
        metrics: By RLlib's names; those that are not known yet are left out.
    """

    t_s: float
    step: int
    metrics: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class RunEnd:
    """The run is over.

    Attributes:
        row: Its last figures.
        state: How it ended, a `RunState`.
        ended_by: Why, an `EndedBy`; empty if that is not known.
        cause: Of a failure, in words.
    """

    row: Row
    state: str
    ended_by: str = ""
    cause: str = ""


@dataclass(frozen=True, slots=True)
class Answered:
    """A sink did what it was told; cumulative counts.

    Attributes:
        num_taken: Lines that it has dealt with.
        num_left_out: Rows among them that it passed over, because newer ones waited.
    """

    num_taken: int
    num_left_out: int = 0


class Cause(StrEnum):
    """What can be wrong with a sink; each is told once."""

    MISSING = "missing"
    CANNOT_START = "cannot start"
    CANNOT_WRITE = "cannot write"
    CANNOT_FINISH = "cannot finish"
    DIED = "died"
    SILENT = "silent"
    SLOW = "slow"


@dataclass(frozen=True, slots=True)
class Trouble:
    """A sink could not do what it was told.

    Attributes:
        cause: What kind.
        text: The library's own words, one line.
        detail: A traceback.
    """

    cause: Cause
    text: str
    detail: str = ""


Message = SinkRun | Row | RunEnd | Answered | Trouble


def line_of(message: Message) -> bytes:
    """A message as one line."""
    return json.dumps([type(message).__name__, asdict(message)]).encode() + b"\n"


def message_of(line: bytes) -> Message | None:
    """The message of a line; None if the line is none of ours."""
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
