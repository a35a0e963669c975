"""A WebSocket client made by hand, so that it can do everything wrong that a real one would not."""

import asyncio
import base64
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from linkbell_wire.ndt7 import DOWNLOAD_PATH, SUBPROTOCOL, UPLOAD_PATH, frames
from linkbell_wire.ndt7.frames import Frame, FrameReader, Opcode

__all__ = ["DOWNLOAD_PATH", "UPLOAD_PATH", "Answer", "Peer", "handshake", "open_peer"]


def handshake(path: str, **changes: str | None) -> bytes:
    """Return a handshake that is right but for ``changes``: a header's new value, or ``None`` to leave it out."""
    headers: dict[str, str | None] = {
        "Host": "localhost",
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": base64.b64encode(os.urandom(16)).decode(),
        "Sec-WebSocket-Protocol": SUBPROTOCOL,
    }
    headers |= {name.replace("_", "-"): value for name, value in changes.items()}
    lines = [f"{name}: {value}" for name, value in headers.items() if value is not None]
    return "\r\n".join([f"GET {path} HTTP/1.1", *lines, "", ""]).encode()


@dataclass
class Answer:
    """A status and the headers that came with it, names in lower case."""

    status: int
    headers: dict[str, str]


@dataclass
class Peer:
    """One connection to a measurement server."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    frames: FrameReader = field(default_factory=lambda: FrameReader(masked=False))

    async def ask(self, request: bytes) -> Answer:
        """Send a request and read the head of its answer."""
        self.writer.write(request)
        head = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.split(": ", 1) for line in head[1:] if line)
        return Answer(int(head[0].split()[1]), {name.lower(): value for name, value in pairs})

    async def body(self, answer: Answer) -> bytes:
        """Read the body that belongs to ``answer``."""
        return await self.reader.readexactly(int(answer.headers["content-length"]))

    def send(self, opcode: Opcode, payload: bytes = b"") -> None:
        """Send one masked message."""
        length = len(payload)
        if length < 1 << 16:
            self.writer.write(frames.message(opcode, payload, os.urandom(4)))
        else:
            self.writer.write(frames.header(opcode, length, os.urandom(4)) + payload)

    async def messages(self) -> AsyncIterator[Frame]:
        """Yield text and control messages until the server closes the connection."""
        while data := await self._read():
            for frame in self.frames.feed(memoryview(data)):
                yield frame

    async def until_closed(self) -> int | None:
        """Read on to the end of the connection. Returns the code of the server's close frame, if it sent one."""
        code = None
        async for frame in self.messages():
            if frame.opcode is Opcode.CLOSE:
                code = frames.close_code(frame.payload)
        return code

    async def _read(self) -> bytes:
        try:
            return await self.reader.read(1 << 18)
        except ConnectionError:
            return b""


@asynccontextmanager
async def open_peer(port: int, tls: ssl.SSLContext | None = None) -> AsyncIterator[Peer]:
    """Connect to this machine's ``port``."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls, limit=1 << 20)
    try:
        yield Peer(reader, writer)
    finally:
        writer.transport.abort()
