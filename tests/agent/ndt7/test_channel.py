"""One connection's frames in and control frames out, over a pair of real sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.ndt7.channel import FRAME_BYTES, TINY_FRAMES, Allowance, Channel
from linkbell_agent.ndt7.connection import Connection
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.ndt7 import frames
from linkbell_wire.ndt7.frames import Frame, FrameReader, Opcode

BROKEN = Failure(operation=Operation.RECEIVE, code=FailureCode.PROTOCOL_ERROR)
PING = frames.message(Opcode.PING, b"first")
TEXT = frames.message(Opcode.TEXT, b"{}")
EMPTY = frames.message(Opcode.BINARY, b"")
AMPLE = Allowance(texts=1_000_000)


class Heard:
    """A listener that keeps what it hears."""

    def __init__(self) -> None:
        self.is_in_message = False
        self.texts: list[bytes] = []
        self.reads = 0
        self.ends = 0
        self.failures: list[Failure] = []

    def take_text(self, text: bytes) -> None:
        self.texts.append(text)

    def has_read(self) -> None:
        self.reads += 1

    def has_ended(self) -> None:
        self.ends += 1

    def has_failed(self, failure: NetworkFailure) -> None:
        self.failures.append(failure.failure)


class Ends:
    """A channel, its listener, and the server's socket."""

    def __init__(self, ours: socket.socket, server: socket.socket) -> None:
        self.heard = Heard()
        self.server = server
        self._connection = Connection(ours)

    def begin(self, first_bytes: bytes = b"", allowance: Allowance = AMPLE) -> Channel:
        channel = Channel(self._connection, allowance, self.heard)
        channel.begin(first_bytes, memoryview(bytearray(1 << 16)))
        return channel

    async def send(self, data: bytes) -> None:
        """Send, and let it be read."""
        self.server.sendall(data)
        await asyncio.sleep(0.01)

    def received(self) -> list[Frame]:
        """Return the frames that reached the server."""
        try:
            data = self.server.recv(1 << 16)
        except BlockingIOError:
            data = b""
        return list(FrameReader(masked=True).feed(memoryview(data)))

    def close(self) -> None:
        self._connection.close()
        self.server.close()


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    ours, server = socket.socketpair()
    ours.setblocking(False)
    server.setblocking(False)
    made = Ends(ours, server)
    yield made
    made.close()


async def test_texts_payload_and_reads_are_told(ends: Ends) -> None:
    channel = ends.begin(TEXT + frames.header(Opcode.BINARY, 100) + bytes(40))
    await ends.send(bytes(60) + TEXT)
    assert ends.heard.texts == [b"{}", b"{}"]
    assert ends.heard.reads == 1
    assert channel.payload_bytes == 100


@pytest.mark.parametrize("code", [frames.CLOSE_NORMAL, frames.CLOSE_GOING_AWAY, None])
async def test_a_close_in_good_order_is_an_end(ends: Ends, code: int | None) -> None:
    channel = ends.begin()
    await ends.send(frames.message(Opcode.CLOSE, b"" if code is None else frames.close_payload(code)))
    assert (ends.heard.ends, ends.heard.failures) == (1, [])
    assert channel.is_gone


@pytest.mark.parametrize("code", [frames.CLOSE_PROTOCOL_ERROR, frames.CLOSE_POLICY, frames.CLOSE_TOO_BIG, 1011, 4000])
async def test_a_close_with_any_other_code_is_a_refusal(ends: Ends, code: int) -> None:
    ends.begin()
    await ends.send(frames.message(Opcode.CLOSE, frames.close_payload(code)))
    assert (ends.heard.ends, ends.heard.failures) == (0, [BROKEN])


async def test_after_broken_first_bytes_nothing_more_is_read(ends: Ends) -> None:
    channel = ends.begin(b"\xff" * 20)
    await ends.send(TEXT)
    assert ends.heard.failures == [BROKEN]
    assert ends.heard.reads == 0
    assert channel.is_gone


@pytest.mark.parametrize(
    ("allowance", "allowed", "one_more"),
    [
        pytest.param(Allowance(texts=5), TEXT * 5, TEXT, id="texts"),
        pytest.param(AMPLE, EMPTY * TINY_FRAMES, EMPTY, id="frames"),
        pytest.param(
            AMPLE,
            frames.message(Opcode.BINARY, bytes(2 * FRAME_BYTES)) + EMPTY * (TINY_FRAMES + 1),
            EMPTY,
            id="as many more as the payload is worth",
        ),
        pytest.param(AMPLE, TEXT * TINY_FRAMES, TEXT, id="texts are frames"),
        pytest.param(
            Allowance(texts=10, tiny_texts=True), TEXT * 10 + EMPTY * TINY_FRAMES, EMPTY, id="texts by themselves"
        ),
        pytest.param(
            Allowance(texts=5, payload_bytes=50),
            frames.message(Opcode.BINARY, bytes(50)),
            frames.message(Opcode.BINARY, b"x"),
            id="payload",
        ),
    ],
)
async def test_one_more_than_allowed_is_a_broken_server(
    ends: Ends, allowance: Allowance, allowed: bytes, one_more: bytes
) -> None:
    ends.begin(allowance=allowance)
    await ends.send(allowed)
    assert ends.heard.failures == []
    await ends.send(one_more)
    assert ends.heard.failures == [BROKEN]


async def test_a_ping_is_answered_at_once(ends: Ends) -> None:
    ends.begin()
    await ends.send(PING)
    assert ends.received() == [Frame(Opcode.PONG, b"first")]


async def test_a_control_frame_never_goes_into_a_message(ends: Ends) -> None:
    channel = ends.begin()
    ends.heard.is_in_message = True
    await ends.send(PING + frames.message(Opcode.PING, b"second"))
    channel.say_goodbye()
    assert not channel.flush()
    assert ends.received() == []
    ends.heard.is_in_message = False
    assert channel.flush()
    # One answer waits at most, however many pings there were.
    assert [frame.opcode for frame in ends.received()] == [Opcode.PONG, Opcode.CLOSE]


async def test_a_server_that_hangs_up_has_ended(ends: Ends) -> None:
    ends.begin()
    ends.server.shutdown(socket.SHUT_WR)
    await asyncio.sleep(0.01)
    assert ends.heard.ends == 1
