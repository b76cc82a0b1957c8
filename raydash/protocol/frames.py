"""Length-prefixed frames: four magic bytes, a little-endian length, the payload.

Thanks to the magic a stray print is noticed at once instead of being read as an absurd length.
"""

import struct

MAGIC = b"RDF1"
MAX_FRAME_BYTES = 256 * 1024 * 1024
_HEADER = struct.Struct("<4sI")
HEADER_BYTES = _HEADER.size


class FrameError(ValueError):
    """Raised for garbage or a frame that is too long; the rest of the stream can't be trusted."""


def frame(payload: bytes) -> bytes:
    """Put the header in front of a payload.

    Raises:
        FrameError: if it is longer than `MAX_FRAME_BYTES`.
    """
    if len(payload) > MAX_FRAME_BYTES:
        raise FrameError(f"a frame of {len(payload)} bytes is too long")
    return _HEADER.pack(MAGIC, len(payload)) + payload


class FrameReader:
    """Cuts a byte stream into payloads, however it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take in bytes and return the payloads that are complete with them.

        Raises:
            FrameError: on garbage or an oversized frame.
        """
        self._buffer += data
        payloads: list[bytes] = []
        start = 0
        while len(self._buffer) - start >= HEADER_BYTES:
            magic, length = _HEADER.unpack_from(self._buffer, start)
            if magic != MAGIC:
                raise FrameError(f"not a frame: {bytes(self._buffer[start : start + 32])!r}")
            if length > MAX_FRAME_BYTES:
                raise FrameError(f"a frame of {length} bytes is too long")
            end = start + HEADER_BYTES + length
            if len(self._buffer) < end:
                break
            payloads.append(bytes(self._buffer[start + HEADER_BYTES : end]))
            start = end
        if start:
            del self._buffer[:start]
        return payloads

    @property
    def is_between_frames(self) -> bool:
        """False while only part of a frame has arrived: if the input ends now, it was cut off."""
        return not self._buffer
