"""A name server that answers as it is told, over UDP and TCP on one port of loopback."""

import asyncio
import contextlib
import ipaddress
import struct
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

Script = Callable[[bytes, bool], list[bytes]]
"""From a question, and whether it came over TCP, to the messages sent in answer."""


def answer(
    question: bytes,
    *addresses: str,
    rcode: int = 0,
    truncated: bool = False,
    alias: bool = False,
    identifier: int | None = None,
) -> bytes:
    """Return an answer with the question repeated, and its addresses behind an alias if asked for."""
    (number,) = struct.unpack("!H", question[:2])
    number = number if identifier is None else identifier
    end = question.index(b"\0", 12) + 5
    records = []
    name = b"\xc0\x0c"
    if alias:
        records.append(name + struct.pack("!HHIH", 5, 1, 60, 8) + b"\x05other\xc0\x0c")
        name = b"\x05other\xc0\x0c"
    for address in addresses:
        packed = ipaddress.ip_address(address).packed
        records.append(name + struct.pack("!HHIH", 1 if len(packed) == 4 else 28, 1, 60, len(packed)) + packed)
    flags = 0x8180 | rcode | (0x0200 if truncated else 0)
    return struct.pack("!HHHHHH", number, flags, 1, len(records), 0, 0) + question[12:end] + b"".join(records)


@dataclass
class NameServer(asyncio.DatagramProtocol):
    """What it was asked, and how it answers."""

    script: Script
    port: int = 0
    questions: list[bytes] = field(default_factory=list)
    sources: list[tuple[str, int]] = field(default_factory=list)
    _transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        self.questions.append(data)
        self.sources.append(addr)
        for message in self.script(data, False):
            self._transport.sendto(message, addr)

    async def over_tcp(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            (length,) = struct.unpack("!H", await reader.readexactly(2))
            for message in self.script(await reader.readexactly(length), True):
                writer.write(struct.pack("!H", len(message)) + message)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def name_server(script: Script, *, tcp: bool = True) -> AsyncIterator[NameServer]:
    """Run one."""
    server = NameServer(script)
    loop = asyncio.get_running_loop()
    # TCP's port first: connections that linger hold many of those, and hardly anything holds UDP's.
    stream = await asyncio.start_server(server.over_tcp, "127.0.0.1", 0) if tcp else None
    server.port = stream.sockets[0].getsockname()[1] if stream else 0
    transport, _ = await loop.create_datagram_endpoint(lambda: server, local_addr=("127.0.0.1", server.port))
    server.port = transport.get_extra_info("sockname")[1]
    try:
        yield server
    finally:
        transport.close()
        if stream is not None:
            stream.close()
            await stream.wait_closed()
