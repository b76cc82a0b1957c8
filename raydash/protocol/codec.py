"""Values to bytes and back: msgpack of `[type name, body]`, with one typed decoder per type.

Unknown types, wrong types and missing fields raise `CodecError` with a path; only the listed types
can come out. Arrays travel as `[dtype, shape, bytes]` and must have a plain number type. No other
module imports msgspec. What travels between processes is of `MESSAGE_TYPES`; whoever writes a file
of its own lists its own types.
"""

import math
from collections.abc import Sequence
from typing import Any, get_args

import msgspec
import numpy as np

from raydash.core import messages, records, updates

_DTYPES = frozenset({"<f8", "<f4", "<i8", "<i4", "|u1"})

MESSAGE_TYPES: tuple[type, ...] = (
    messages.Hello,
    messages.Connect,
    messages.CancelConnect,
    messages.StartRun,
    messages.CommandRun,
    messages.AttachRun,
    messages.DetachRun,
    messages.FollowRuns,
    messages.StopCluster,
    messages.QueryHistory,
    messages.CheckEnv,
    messages.CancelCheck,
    messages.ListRecordings,
    messages.OpenRecording,
    messages.EditNotes,
    messages.DeleteRecordings,
    messages.ChangeLibrary,
    messages.ExportRecording,
    messages.WriteReport,
    messages.ImportRecordings,
    messages.Ping,
    messages.Goodbye,
    messages.Answer,
    messages.Pong,
    messages.ClusterStatus,
    messages.EnvRegistry,
    messages.EnvCheckPhase,
    messages.EnvChecked,
    messages.RunSummary,
    messages.RunList,
    messages.EngineHealth,
    messages.HistoryRange,
    messages.Library,
    updates.RunUpdate,
    records.RolloutChunk,
    records.WorkerReady,
    records.WorkerFault,
    records.PolicySet,
    records.ProbeReading,
    records.Parameters,
    records.GenerationResults,
    records.ParametersReady,
    records.LearnerFault,
    records.PolicyWritten,
)


class CodecError(ValueError):
    """Raised for bytes that are not one of our messages."""


def _enc_hook(value: object) -> object:
    if isinstance(value, np.ndarray):
        if value.dtype.str not in _DTYPES:
            raise CodecError(f"an array of {value.dtype.str!r} cannot travel")
        return [value.dtype.str, value.shape, np.ascontiguousarray(value).tobytes()]
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} cannot travel")


def _dec_hook(wanted: type, value: Any) -> object:
    if getattr(wanted, "__origin__", wanted) is not np.ndarray:
        raise TypeError(f"unexpected type {wanted}")
    dtype, shape, data = value
    if dtype not in _DTYPES:
        raise ValueError(f"array of {dtype!r} refused")
    declared = np.dtype(get_args(get_args(wanted)[1])[0]).str  # of ndarray[shape, dtype[number]]
    if dtype != declared:
        raise ValueError(f"array of {dtype!r} where {declared!r} belongs")
    if math.prod(shape) * np.dtype(dtype).itemsize != len(data):
        raise ValueError("array whose shape and size disagree")
    return np.frombuffer(data, dtype).reshape(shape)


_encoder = msgspec.msgpack.Encoder(enc_hook=_enc_hook)
_envelope = msgspec.msgpack.Decoder(tuple[str, msgspec.Raw])


class Codec:
    """Encodes and decodes dataclasses of a few types, which are told apart by their names."""

    def __init__(self, types: Sequence[type]) -> None:
        self._decoders: dict[str, msgspec.msgpack.Decoder[Any]] = {
            kind.__name__: msgspec.msgpack.Decoder(kind, dec_hook=_dec_hook) for kind in types
        }

    def encode(self, value: object) -> bytes:
        """Encode a value, which must be of one of the types."""
        name = type(value).__name__
        if name not in self._decoders:
            raise CodecError(f"{name} is no message")
        return _encoder.encode((name, value))

    def decode(self, data: bytes | bytearray | memoryview) -> Any:
        """Decode the bytes that `encode` made.

        Raises:
            CodecError: if the bytes are something else.
        """
        try:
            name, body = _envelope.decode(data)
            decoder = self._decoders.get(name)
            if decoder is None:
                raise CodecError(f"unknown message type {name[:80]!r}")
            return decoder.decode(body)
        except (msgspec.MsgspecError, ValueError, TypeError, OverflowError) as error:
            raise CodecError(f"not a message: {error}") from error


_messages = Codec(MESSAGE_TYPES)
encode = _messages.encode
decode = _messages.decode


def name_of(data: bytes | bytearray | memoryview) -> str:
    """Read the type name of an encoded message without decoding the rest.

    Raises:
        CodecError: if the bytes are not a message.
    """
    try:
        return str(_envelope.decode(data)[0])
    except msgspec.MsgspecError as error:
        raise CodecError(f"not a message: {error}") from error
