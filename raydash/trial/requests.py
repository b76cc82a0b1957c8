"""What the two sides of a trial say to each other: one request, and answers as they come.

Both sides are of one installation, so that nothing outside depends on these types. A request is the
whole of the child's stdin; each answer is a frame in the file that was its stdout.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import Any, TypeAlias

from raydash.core.analysis.policy_evaluation import PolicyEvaluation
from raydash.core.env_check import EnvCheck
from raydash.core.faults import Fault
from raydash.core.messages import EnvRegistry
from raydash.core.spec import EnvSpec, LearnerSpec, PolicySpec, RolloutSpec
from raydash.protocol.codec import Codec, CodecError
from raydash.protocol.frames import FrameError, FrameReader, frame


@dataclass(frozen=True, slots=True)
class TryRequest:
    """Make and reset an environment, or some together, and ask policy and learner once."""

    env: EnvSpec
    policy: PolicySpec
    learner: LearnerSpec
    rollout: RolloutSpec
    source_dirs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CheckRequest:
    """Check and time an environment, and several together if `rollout` steps them so."""

    env: EnvSpec
    rollout: RolloutSpec
    source_dirs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class EvaluateRequest:
    """Play episodes of a policy; without a seed, one is drawn."""

    env: EnvSpec
    policy: PolicySpec
    num_episodes: int
    seed: int | None
    source_dirs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class ListRequest:
    """List the ids in Gymnasium's registry and its wrappers."""


@dataclass(frozen=True, slots=True)
class PhaseBegins:
    """The child is about to do something that may hang or take it down."""

    phase: str


@dataclass(frozen=True, slots=True)
class Works:
    """What was tried works."""


@dataclass(frozen=True, slots=True)
class Fails:
    """What was asked for failed."""

    fault: Fault


Request: TypeAlias = TryRequest | CheckRequest | EvaluateRequest | ListRequest
LastAnswer: TypeAlias = Works | Fails | EnvCheck | PolicyEvaluation | EnvRegistry
Answer: TypeAlias = PhaseBegins | LastAnswer

_codec = Codec(
    (
        *(TryRequest, CheckRequest, EvaluateRequest, ListRequest),
        *(PhaseBegins, Works, Fails, EnvCheck, PolicyEvaluation, EnvRegistry),
    )
)


def encode_request(request: Request) -> bytes:
    """Turn a request into bytes."""
    return _encoded(request)


def decode_request(data: bytes) -> Request:
    """Read a request."""
    request: Request = _codec.decode(data)
    return request


def encode_answer(answer: Answer) -> bytes:
    """Turn an answer into bytes, which may follow each other in a file."""
    return frame(_encoded(answer))


def decode_answers(data: bytes) -> list[Answer]:
    """Read the answers in a file, which may end in the middle of one."""
    try:
        return [_codec.decode(payload) for payload in FrameReader().feed(data)]
    except (FrameError, CodecError):
        return []  # the environment wrote into the file


def _encoded(value: Request | Answer) -> bytes:
    try:
        return _codec.encode(value)
    except UnicodeEncodeError:
        return _codec.encode(_escaped(value))


def _escaped(value: Any) -> Any:
    """Escape halves of characters, which arguments and the names of files may hold."""
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, list | tuple):
        return tuple(map(_escaped, value))
    if isinstance(value, Mapping):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    if is_dataclass(value) and not isinstance(value, type):
        return replace(value, **{f.name: _escaped(getattr(value, f.name)) for f in fields(value)})
    return value
