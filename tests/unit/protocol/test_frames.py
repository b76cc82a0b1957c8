import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from raydash.protocol.frames import (
    HEADER_BYTES,
    MAGIC,
    MAX_FRAME_BYTES,
    FrameError,
    FrameReader,
    frame,
)

PAYLOADS = st.lists(st.binary(max_size=300), max_size=8)


def pieces(data: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    return [data[a:b] for a, b in pairwise(places)]


@given(PAYLOADS, st.lists(st.integers(0, 10_000), max_size=30))
def test_payloads_come_out_whole_however_the_stream_is_cut(
    payloads: list[bytes], cuts: list[int]
) -> None:
    reader = FrameReader()
    stream = b"".join(map(frame, payloads))
    got = [payload for piece in pieces(stream, cuts) for payload in reader.feed(piece)]
    assert got == payloads
    assert reader.is_between_frames


@given(PAYLOADS, st.binary(min_size=1, max_size=50), st.data())
def test_truncated_stream_gives_whole_payloads_and_says_that_one_is_open(
    payloads: list[bytes], last: bytes, data: st.DataObject
) -> None:
    cut_frame = frame(last)[: data.draw(st.integers(1, HEADER_BYTES + len(last) - 1))]
    reader = FrameReader()
    assert reader.feed(b"".join(map(frame, payloads)) + cut_frame) == payloads
    assert not reader.is_between_frames


@given(st.binary(min_size=HEADER_BYTES, max_size=100).filter(lambda d: d[:4] != MAGIC))
def test_garbage_is_refused(garbage: bytes) -> None:
    with pytest.raises(FrameError, match="not a frame"):
        FrameReader().feed(garbage)


def test_garbage_after_good_frames_is_refused() -> None:
    with pytest.raises(FrameError, match="a stray print"):
        FrameReader().feed(frame(b"good") + b"a stray print of somebody")


def test_oversized_frame_is_refused_before_its_payload_arrives() -> None:
    with pytest.raises(FrameError, match="too long"):
        FrameReader().feed(struct.pack("<4sI", MAGIC, MAX_FRAME_BYTES + 1))


def test_oversized_payload_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("raydash.protocol.frames.MAX_FRAME_BYTES", 3)
    assert frame(b"abc").endswith(b"abc")
    with pytest.raises(FrameError, match="too long"):
        frame(b"abcd")
