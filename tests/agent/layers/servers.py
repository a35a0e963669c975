"""The servers of the small world, in one process: names, collector, platform and check page; or a login page."""

import asyncio
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.agent.layers.world import NAME_SERVER, NAMES
from tests.agent.probes.name_server import answer
from tests.agent.probes.web_server import page

PAGES = {
    "/healthz": page(200, b'{"status": "ok"}', Content_Type="application/json"),
    "/generate_204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "/": page(200, b"<html>welcome</html>", Content_Type="text/html"),
}
PORTAL = page(302, Location="http://login.hotspot.example/?back=1")


def _name(question: bytes) -> str:
    labels, offset = [], 12
    while question[offset]:
        labels.append(question[offset + 1 : offset + 1 + question[offset]].decode())
        offset += 1 + question[offset]
    return ".".join(labels).lower()


class Names(asyncio.DatagramProtocol):
    def __init__(self, manners: Path) -> None:
        self._manners = manners
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        manner = json.loads(self._manners.read_text()).get("dns")
        name = _name(data)
        known = NAMES.get(name, "93.184.216.34" if name == "example.com" else None)
        wants_ipv6 = data[data.index(b"\0", 12) + 2] == 28
        if manner == "silent":
            return
        if manner == "refuse":
            reply = answer(data, rcode=5)
        elif manner == "fail":
            reply = answer(data, rcode=2)
        elif manner == "lie":
            reply = answer(data, *([] if wants_ipv6 else ["10.9.9.9"]))
        elif known is None:
            reply = answer(data, "198.18.0.1") if manner == "invent" else answer(data, rcode=3)
        else:
            reply = answer(data, *([] if wants_ipv6 else [known]))
        self._transport.sendto(reply, addr)


async def main(manners: Path, parts: Sequence[str]) -> None:
    read = manners.read_text

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            path, host = head.split(" ")[1], head.split("Host: ")[1].split(".")[0]
            manner = json.loads(read()).get(host)
            reply = PORTAL if "portal" in parts else PAGES[path]
            writer.write(page(503) if manner == "503" else reply)
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        writer.close()

    if "names" in parts:
        loop = asyncio.get_running_loop()
        await loop.create_datagram_endpoint(lambda: Names(manners), local_addr=(NAME_SERVER, 53))
    if "pages" in parts or "portal" in parts:
        await asyncio.start_server(serve, "0.0.0.0", 80)
    print("ready", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
