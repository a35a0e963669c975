"""A web server that says, byte for byte, what it is told to, over plain TCP or TLS."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field


@dataclass
class WebServer:
    """What it was asked and where it is."""

    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    resumed: list[bool] = field(default_factory=list)


Script = Callable[[asyncio.StreamWriter], Awaitable[None]]


def page(status: int = 200, body: bytes = b"hello", **headers: str) -> bytes:
    """Return a whole answer; header names have underscores for hyphens."""
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


@contextlib.asynccontextmanager
async def web_server(answer: bytes | Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[WebServer]:
    """Run one on loopback."""
    server = WebServer()
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writers.append(writer)
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            server.requests.append(await reader.readuntil(b"\r\n\r\n"))
            tls_object = writer.get_extra_info("ssl_object")
            server.resumed.append(bool(tls_object and tls_object.session_reused))
            if isinstance(answer, bytes):
                writer.write(answer)
                await writer.drain()
            else:
                await answer(writer)
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=tls)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for writer in writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)  # the transports end in the loop's next rounds
        await listening.wait_closed()
