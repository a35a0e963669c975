"""Measurement servers that misbehave, each a real one on a free port of this machine."""

import asyncio
import base64
import hashlib
import os
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from socket import IPPROTO_TCP, SO_LINGER, SOL_SOCKET, TCP_NODELAY

from linkbell_wire.ndt7 import SUBPROTOCOL, frames
from linkbell_wire.ndt7.frames import FrameReader, Opcode
from linkbell_wire.ndt7.measurement import Measurement, TcpInfoMessage

Behaviour = Callable[["Visitor"], Awaitable[None]]


@dataclass
class Visitor:
    """One connection of a client, seen from the server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    requests: list[bytes]
    began: asyncio.Event
    incoming: FrameReader = field(default_factory=lambda: FrameReader(masked=True))

    async def request(self) -> bytes:
        """Read the request, and keep it. Who only times round trips is answered, and goes."""
        request = await self.reader.readuntil(b"\r\n\r\n")
        if request.startswith(b"GET /healthz "):
            self.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            raise ConnectionAbortedError
        self.requests.append(request)
        return request

    async def upgrade(self, *, subprotocol: str = SUBPROTOCOL, accept: str | None = None, more: str = "") -> None:
        """Answer the request with a 101."""
        request = (await self.request()).decode()
        key = next(line.split(": ")[1] for line in request.split("\r\n") if line.startswith("Sec-WebSocket-Key"))
        digest = hashlib.sha1(f"{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11".encode()).digest()
        self.writer.write(
            (
                "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
                f"Sec-WebSocket-Accept: {accept or base64.b64encode(digest).decode()}\r\n"
                f"Sec-WebSocket-Protocol: {subprotocol}\r\n{more}\r\n"
            ).encode()
        )
        self.began.set()

    async def flood(self, seconds: float, message: bytes | None = None) -> None:
        """Send the same message for ``seconds``, by default 64 KiB of payload."""
        message = message or frames.header(Opcode.BINARY, 1 << 16) + os.urandom(1 << 16)
        message *= max(1, (1 << 16) // len(message))  # a loop busy with tiny writes would starve the client beside it
        end = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < end:
            self.writer.write(message)
            await self.writer.drain()

    async def swallow(self, seconds: float) -> int:
        """Read for ``seconds`` and return the bytes of payload that came."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while data := await self.reader.read(1 << 18):
                    for _ in self.incoming.feed(memoryview(data)):
                        pass
        return self.incoming.payload_bytes

    def say(self, **tcp: int) -> None:
        """Send a measurement."""
        text = Measurement(tcp=TcpInfoMessage(**tcp), origin="server", test="upload").to_json()
        self.writer.write(frames.message(Opcode.TEXT, text))

    def close(self, code: int = frames.CLOSE_NORMAL) -> None:
        """Send a close frame."""
        self.writer.write(frames.message(Opcode.CLOSE, frames.close_payload(code)))

    def reset(self) -> None:
        """Cut the connection with a RST."""
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


@dataclass
class Server:
    """A server on ``port``; ``requests`` are all that came, ``began`` is set once a test has begun."""

    port: int
    requests: list[bytes]
    began: asyncio.Event

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"


@asynccontextmanager
async def serving(behaviour: Behaviour) -> AsyncIterator[Server]:
    """Serve every connection with ``behaviour``; whatever it still does at the end is cancelled."""
    requests: list[bytes] = []
    began = asyncio.Event()
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            await behaviour(Visitor(reader, writer, requests, began))
        writer.transport.abort()

    def begin(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    listener = await asyncio.start_server(begin, "127.0.0.1", 0)
    try:
        yield Server(listener.sockets[0].getsockname()[1], requests, began)
    finally:
        listener.close()
        for task in list(tasks):
            task.cancel()
        await asyncio.gather(*tasks)
        await listener.wait_closed()


# What goes wrong before the test begins


async def says_nothing(visitor: Visitor) -> None:
    await visitor.request()
    await asyncio.sleep(60)


async def speaks_first(visitor: Visitor) -> None:
    visitor.writer.write(b"220 mail.example ESMTP\r\n")
    await asyncio.sleep(60)


async def hangs_up(visitor: Visitor) -> None:
    await visitor.request()


async def resets_at_once(visitor: Visitor) -> None:
    await visitor.request()
    visitor.reset()


def answers(text: str | bytes) -> Behaviour:
    """A server with one answer to everything."""

    async def answer(visitor: Visitor) -> None:
        await visitor.request()
        visitor.writer.write(text.encode() if isinstance(text, str) else text)
        await visitor.writer.drain()
        await visitor.swallow(5)

    return answer


async def drips_headers(visitor: Visitor) -> None:
    await visitor.request()
    visitor.writer.write(b"HTTP/1.1 101 Switching Protocols\r\n")
    while True:
        visitor.writer.write(b"X-More: of this\r\n" * 100)
        await visitor.writer.drain()


def upgrades_badly(**changes: str) -> Behaviour:
    """A server whose 101 is not the one asked for."""

    async def upgrade(visitor: Visitor) -> None:
        await visitor.upgrade(**changes)
        await visitor.swallow(5)

    return upgrade


# What goes wrong in the test


def floods_then(what: str, seconds: float) -> Behaviour:
    """A server that sends for ``seconds`` and then does ``what``: stall, close, refuse, hang_up or reset."""

    async def behave(visitor: Visitor) -> None:
        await visitor.upgrade()
        if seconds:
            await visitor.flood(seconds)
        if what == "stall":
            await asyncio.sleep(60)
        elif what == "reset":
            visitor.reset()
        elif what in ("close", "refuse"):
            visitor.close(frames.CLOSE_NORMAL if what == "close" else frames.CLOSE_POLICY)
            await visitor.swallow(5)
        else:
            visitor.writer.write_eof()
            await visitor.swallow(5)

    return behave


def sends(stream: bytes, *, for_ever: bool = False) -> Behaviour:
    """A server that sends ``stream`` once, or again and again."""

    async def behave(visitor: Visitor) -> None:
        await visitor.upgrade()
        if for_ever:
            await visitor.flood(60, stream)
        visitor.writer.write(stream)
        await visitor.swallow(60)

    return behave


async def never_stops_sending(visitor: Visitor) -> None:
    await visitor.upgrade()
    await visitor.flood(60)


async def never_reads(visitor: Visitor) -> None:
    await visitor.upgrade()
    await visitor.writer.drain()
    visitor.writer.transport.pause_reading()  # type: ignore[attr-defined]
    await asyncio.sleep(60)


def swallows_then(what: str, seconds: float) -> Behaviour:
    """A server that takes an upload for ``seconds``, without a word, and then does ``what``."""

    async def behave(visitor: Visitor) -> None:
        await visitor.upgrade()
        await visitor.swallow(seconds)
        if what == "reset":
            visitor.reset()
        elif what == "close":
            visitor.close()
            await visitor.swallow(5)
        elif what == "stall":
            await asyncio.sleep(60)

    return behave


def claims(factor: float, *, age_s: float = 0.0, elapsed: float = 1.0) -> Behaviour:
    """A server that says it received ``factor`` times what it did, in ``elapsed`` times the time it took.

    It speaks every 50 ms, or only once after ``age_s``.
    """

    async def behave(visitor: Visitor) -> None:
        await visitor.upgrade()
        began = asyncio.get_running_loop().time()
        while True:
            received = await visitor.swallow(age_s or 0.05)
            now = asyncio.get_running_loop().time() - began
            visitor.say(bytes_received=round(received * factor), elapsed_us=round(now * elapsed * 1e6))
            if age_s:
                await visitor.swallow(60)

    return behave


# What would make a line seem faster than it is

TINY_BYTES = 100


def dribbles(rate_bps: float, sent: list[tuple[float, int]]) -> Behaviour:
    """A server whose first segments are large, and all others tiny: ``rate_bps`` in pieces of TINY_BYTES.

    ``sent`` is what had been sent by when, on the loop's clock.
    """

    async def behave(visitor: Visitor) -> None:
        await visitor.upgrade()
        visitor.writer.get_extra_info("socket").setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        visitor.writer.write(frames.header(Opcode.BINARY, 1 << 24) + os.urandom(100_000))
        total = 100_000
        loop = asyncio.get_running_loop()
        began = loop.time()
        while total < 1 << 24:
            await asyncio.sleep(0.002)
            due = 100_000 + (loop.time() - began) * rate_bps / 8
            while total < due and not visitor.writer.is_closing():
                visitor.writer.write(os.urandom(TINY_BYTES))
                total += TINY_BYTES
            sent.append((loop.time(), total))

    return behave


def talks(rate_bps: float) -> Behaviour:
    """A server that sends payload for a moment, and then long texts at the same pace, which are none."""

    async def behave(visitor: Visitor) -> None:
        await visitor.upgrade()
        binary = frames.header(Opcode.BINARY, 8000) + os.urandom(8000)
        text = frames.header(Opcode.TEXT, 60_000) + b" " * 60_000
        loop = asyncio.get_running_loop()
        began, total = loop.time(), 0
        while True:
            message = binary if total < 100_000 else text
            for start in range(0, len(message), 4000):
                await asyncio.sleep(max(0.0, began + total * 8 / rate_bps - loop.time()))
                visitor.writer.write(message[start : start + 4000])
                total += min(4000, len(message) - start)

    return behave
