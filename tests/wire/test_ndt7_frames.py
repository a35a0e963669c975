"""The frame reader: any split of a stream reads the same, and no stream makes it hang or grow."""

import itertools
import os
import struct
import tracemalloc
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from linkbell_wire.ndt7 import MAX_RECEIVED_MESSAGE_BYTES, MAX_TEXT_BYTES, frames, next_message_size
from linkbell_wire.ndt7.frames import Frame, FrameError, FrameReader, Opcode


@dataclass(frozen=True)
class Read:
    """Everything a reader makes of a stream."""

    frames: list[Frame]
    payload_bytes: int
    frame_count: int
    close_code: int | None = None


def read(pieces: list[bytes], *, masked: bool = False) -> Read:
    reader = FrameReader(masked=masked)
    seen: list[Frame] = []
    try:
        for piece in pieces:
            seen.extend(reader.feed(memoryview(piece)))
    except FrameError as error:
        return Read(seen, reader.payload_bytes, reader.frames, error.close_code)
    return Read(seen, reader.payload_bytes, reader.frames)


def split(stream: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[start:end] for start, end in itertools.pairwise(places)]


MASKS = st.none() | st.binary(min_size=4, max_size=4)
CONTROLS = st.tuples(st.sampled_from([Opcode.PING, Opcode.PONG, Opcode.CLOSE]), st.binary(max_size=125))
TEXTS = st.tuples(st.just(Opcode.TEXT), st.binary(max_size=400))
BINARIES = st.tuples(st.just(Opcode.BINARY), st.binary(max_size=400))
MESSAGES = st.lists(CONTROLS | TEXTS | BINARIES, max_size=12)
CUTS = st.lists(st.integers(min_value=0, max_value=5000), max_size=30)


@given(MESSAGES, MASKS, CUTS)
def test_any_split_of_a_stream_gives_the_same_frames_and_the_same_count(
    messages: list[tuple[Opcode, bytes]], mask: bytes | None, cuts: list[int]
) -> None:
    stream = b"".join(frames.message(opcode, payload, mask) for opcode, payload in messages)
    expected = Read(
        [Frame(opcode, payload) for opcode, payload in messages if opcode is not Opcode.BINARY],
        sum(len(payload) for opcode, payload in messages if opcode is Opcode.BINARY),
        len(messages),
    )
    assert read(split(stream, cuts), masked=mask is not None) == expected


@given(st.binary(max_size=600), CUTS, st.booleans())
def test_any_split_of_garbage_ends_the_same_way(garbage: bytes, cuts: list[int], masked: bool) -> None:
    whole = read([garbage], masked=masked)
    assert read(split(garbage, cuts), masked=masked) == whole
    assert whole.payload_bytes <= len(garbage)


@given(st.sampled_from([Opcode.TEXT, Opcode.BINARY]), st.lists(st.binary(max_size=60), min_size=1, max_size=6), CUTS)
def test_fragments_make_one_message_with_control_frames_between_them(
    opcode: Opcode, parts: list[bytes], cuts: list[int]
) -> None:
    stream = b""
    for index, part in enumerate(parts):
        first = (0x80 if index == len(parts) - 1 else 0) | (opcode if index == 0 else Opcode.CONTINUATION)
        stream += frames.message(Opcode.PING, b"!") + bytes([first, len(part)]) + part
    result = read(split(stream, cuts))
    whole = b"".join(parts)
    texts = [frame.payload for frame in result.frames if frame.opcode is Opcode.TEXT]
    assert texts == ([whole] if opcode is Opcode.TEXT else [])
    assert result.payload_bytes == (0 if opcode is Opcode.TEXT else len(whole))
    assert [frame.opcode for frame in result.frames].count(Opcode.PING) == len(parts)


@given(st.integers(min_value=0, max_value=1 << 40), MASKS)
def test_a_header_says_its_length_in_the_shortest_form(length: int, mask: bytes | None) -> None:
    head = frames.header(Opcode.BINARY, length, mask)
    extended = 0 if length < 126 else 2 if length < 1 << 16 else 8
    assert len(head) == 2 + extended + (4 if mask is not None else 0)
    assert head[0] == 0x82
    assert bool(head[1] & 0x80) == (mask is not None)
    short = head[1] & 0x7F
    said = short if short < 126 else int.from_bytes(head[2 : 2 + extended], "big")
    assert said == length


@given(st.binary(max_size=300), st.binary(min_size=4, max_size=4))
def test_masking_is_the_xor_of_the_rfc_and_undoes_itself(payload: bytes, mask: bytes) -> None:
    masked = frames.apply_mask(payload, mask)
    assert masked == bytes(byte ^ mask[index % 4] for index, byte in enumerate(payload))
    assert frames.apply_mask(masked, mask) == payload


def test_payload_is_counted_in_the_middle_of_a_message() -> None:
    reader = FrameReader(masked=False)
    assert list(reader.feed(memoryview(frames.header(Opcode.BINARY, 1 << 20) + b"x" * 1000))) == []
    assert reader.payload_bytes == 1000


@pytest.mark.parametrize(
    ("stream", "close_code"),
    [
        pytest.param(b"\xc2\x01x", 1002, id="compressed"),
        pytest.param(b"\xa2\x01x", 1002, id="reserved bit 2"),
        pytest.param(b"\x83\x01x", 1002, id="unknown opcode"),
        pytest.param(b"\x8b\x00", 1002, id="unknown control opcode"),
        pytest.param(b"\x82\x81abcdx", 1002, id="masked by a server"),
        pytest.param(b"\x80\x01x", 1002, id="continuation of nothing"),
        pytest.param(b"\x01\x01x\x82\x01x", 1002, id="message inside a message"),
        pytest.param(b"\x09\x00", 1002, id="fragmented ping"),
        pytest.param(b"\x89\x7e\x00\x7e", 1002, id="long ping"),
        pytest.param(b"\x82\x7f" + struct.pack("!Q", MAX_RECEIVED_MESSAGE_BYTES + 1), 1009, id="17 MB message"),
        pytest.param(b"\x82\x7f" + b"\xff" * 8, 1009, id="message of 2^64"),
        pytest.param(b"\x81\x7f" + struct.pack("!Q", MAX_TEXT_BYTES + 1), 1009, id="long text"),
    ],
)
def test_what_breaks_the_protocol_is_named_with_its_close_code(stream: bytes, close_code: int) -> None:
    assert read([stream]).close_code == close_code


def test_an_unmasked_frame_of_a_client_is_refused() -> None:
    assert read([frames.message(Opcode.BINARY, b"x")], masked=True).close_code == 1002


def test_a_message_of_16_mb_is_accepted_and_its_fragments_count_together() -> None:
    half = MAX_RECEIVED_MESSAGE_BYTES // 2
    reader = FrameReader(masked=False)
    block = memoryview(bytes(half))
    list(reader.feed(memoryview(b"\x02\x7f" + struct.pack("!Q", half))))
    list(reader.feed(block))
    list(reader.feed(memoryview(b"\x80\x7f" + struct.pack("!Q", half))))
    list(reader.feed(block))
    assert reader.payload_bytes == MAX_RECEIVED_MESSAGE_BYTES
    list(reader.feed(memoryview(b"\x02\x7f" + struct.pack("!Q", half))))
    list(reader.feed(block))
    with pytest.raises(FrameError) as caught:
        list(reader.feed(memoryview(b"\x80\x7f" + struct.pack("!Q", half + 1))))
    assert caught.value.close_code == frames.CLOSE_TOO_BIG


def test_a_long_stream_is_read_in_constant_memory() -> None:
    block = memoryview(frames.header(Opcode.BINARY, 1 << 18) + os.urandom(1 << 18))
    text = memoryview(frames.message(Opcode.TEXT, b"t" * MAX_TEXT_BYTES))
    unfinished = memoryview(b"\x01\x00" + b"\x00\x00" * 5000 + b"\x80\x00")
    reader = FrameReader(masked=False)
    tracemalloc.start()
    try:
        for _ in range(50):
            for data in (block, text, unfinished):
                for _frame in reader.feed(data):
                    pass
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 8 * MAX_TEXT_BYTES
    assert reader.frames == 50 * (1 + 1 + 5002)


def test_a_control_frame_that_is_too_long_is_not_made() -> None:
    with pytest.raises(ValueError, match="125 bytes"):
        frames.message(Opcode.PING, bytes(126))


@pytest.mark.parametrize(
    ("payload", "code"), [(b"", None), (b"\x03", None), (b"\x03\xe8", 1000), (b"\x03\xe9bye", 1001)]
)
def test_a_close_frame_may_have_a_code_or_none(payload: bytes, code: int | None) -> None:
    assert frames.close_code(payload) == code


def test_a_close_reason_never_makes_the_frame_too_long() -> None:
    assert len(frames.close_payload(1008, "x" * 500)) == 125


def test_messages_double_while_they_are_a_sixteenth_of_what_was_sent_up_to_a_megabyte() -> None:
    size, sent, sizes = 1 << 13, 0, []
    while sent < 64 << 20:
        size = next_message_size(size, sent)
        sizes.append(size)
        sent += size
    assert sizes[:17] == [1 << 13] * 16 + [1 << 14]
    assert set(sizes) == {1 << power for power in range(13, 21)}
    assert sizes == sorted(sizes)
