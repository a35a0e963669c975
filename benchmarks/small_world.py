"""A network of its own in which an agent with default settings finds what it looks for, and nothing goes outside.

Gateway, name server, the host abroad and the check page are addresses of this machine in a namespace that ends with the
process. Needs root. ``python -m benchmarks.small_world`` is its servers.
"""

import argparse
import asyncio
import contextlib
import os
import shutil
import ssl
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.agent.probes.name_server import answer
from tools.run_local import SCHOOL, Local, listening_url, output, tool

GATEWAY, BOX, NAME_SERVER, ABROAD, CHECK, COLLECTOR = (
    "192.0.2.1",
    "192.0.2.2",
    "192.0.2.53",
    "1.1.1.1",
    "192.0.2.80",
    "192.0.2.90",
)
COLLECTOR_NAME = "collector.example"
NAMES = {COLLECTOR_NAME: COLLECTOR, "connectivitycheck.gstatic.com": CHECK, "example.com": ABROAD}
FLOOR = "8M"
SERVICE = {"PYTHONOPTIMIZE": "2", "PYTHONNODEBUGRANGES": "1", "PYTHONTZPATH": "/usr/share/zoneinfo"}
"""docs/agent.md, "As a service"."""

COMPILED = "import linkbell_agent.running, linkbell_agent.probes.check, linkbell_agent.courtesy.sight"

RCODE_NO_NAME = 3
TYPE_IPV6 = 28
INSIDE = "--inside"


def why_not() -> str | None:
    """Return why this machine cannot make it, ``None`` if it can."""
    if os.geteuid() != 0:
        return "a network of its own needs root"
    missing = [program for program in ("unshare", "ip", "mount") if shutil.which(program) is None]
    return f"a network of its own needs {', '.join(missing)}" if missing else None


def enter(module: str, words: Sequence[str]) -> int:
    """Run ``python -m module words --inside`` in a network of its own. Returns its exit status."""
    command = ["unshare", "--net", "--mount", sys.executable, "-m", module, *words, INSIDE]
    return subprocess.run(command, check=False).returncode


def furnish() -> None:
    """Lay out the network, from inside."""
    own = [NAME_SERVER, ABROAD, CHECK, COLLECTOR]
    commands = [
        "link set lo up",
        *(f"addr add {address}/32 dev lo" for address in own),
        "link add uplink type veth peer name nowhere",
        f"addr add {BOX}/24 dev uplink",
        "link set nowhere up",
        "link set uplink up",
        f"route add default via {GATEWAY} dev uplink",
        f"addr add {GATEWAY}/32 dev lo",  # after the route: the kernel takes no own address for a gateway
    ]
    for command in commands:
        subprocess.run(["ip", *command.split()], check=True)
    with tempfile.NamedTemporaryFile("w", suffix=".conf", delete=False) as file:
        file.write(f"nameserver {NAME_SERVER}\n")
    subprocess.run(["mount", "--bind", file.name, "/etc/resolv.conf"], check=True)
    Path(file.name).unlink()


async def stand_up(local: Local, *, is_service: bool) -> str:
    """Start everything but the agent, and enrol it over TLS. Returns the collector's address.

    With ``is_service`` agents are started from then on as docs/agent.md has it for a service.
    """
    # As on an installed box: modules are compiled once, and the authorities of the world are not read at every start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    data = ("--data", str(local.data / "collector"))
    measure = await local.start("measurement server", *tool("collector"), "measure", "--listen", f"{COLLECTOR}:0")
    measure_url = listening_url(await measure.first_line()).replace("http://", "ws://")
    await output(*tool("collector"), "schools", "add", SCHOOL, "--name", "School", "--download-floor", FLOOR, *data)
    words = ("serve", "--listen", "127.0.0.1:0", "--measurement-url", measure_url)
    collector = await local.start("collector", *tool("collector"), *words, *data)
    port = listening_url(await collector.first_line()).rpartition(":")[2]
    secret, authority = _certificate(local.data)
    os.environ["SSL_CERT_FILE"] = str(authority)
    world = await local.start(
        "world", sys.executable, "-m", "benchmarks.small_world", "--to", port, "--key", str(secret)
    )
    await world.first_line()
    url = f"https://{COLLECTOR_NAME}"
    await local.enrol(url, fresh=True)
    if is_service:
        os.environ.update(SERVICE, PYTHONPYCACHEPREFIX=str(local.data / "compiled"))
        await output(sys.executable, "-c", COMPILED)  # as at any start but the first
    return url


def _certificate(folder: Path) -> tuple[Path, Path]:
    import trustme

    authority, paths = trustme.CA(), (folder / "collector.pem", folder / "authority.pem")
    authority.issue_cert(COLLECTOR_NAME).private_key_and_cert_chain_pem.write_to_path(str(paths[0]))
    authority.cert_pem.write_to_path(str(paths[1]))
    return paths


class Names(asyncio.DatagramProtocol):
    """Knows a few names, and truly says of others that there are none."""

    def connection_made(self, transport: Any) -> None:
        """Keep what answers."""
        self._transport = transport

    def datagram_received(self, data: bytes, addr: Any) -> None:
        """Answer one question."""
        end = data.index(b"\0", 12)
        name = ".".join(_labels(data[12:end])).lower()
        address = NAMES.get(name)
        is_ipv6 = int.from_bytes(data[end + 1 : end + 3]) == TYPE_IPV6
        found = [] if address is None or is_ipv6 else [address]
        self._transport.sendto(answer(data, *found, rcode=RCODE_NO_NAME if address is None else 0), addr)


def _labels(packed: bytes) -> list[str]:
    labels = []
    while packed:
        size = packed[0]
        labels.append(packed[1 : 1 + size].decode("ascii", "replace"))
        packed = packed[1 + size :]
    return labels


async def _no_content(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError, asyncio.IncompleteReadError):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
    writer.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


async def serve(port: int, key: Path) -> None:
    """Serve names, the check page, and TLS before the collector on ``port``."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(key)

    async def forward(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_copy(reader, inner_writer), _copy(inner_reader, writer))

    await asyncio.get_running_loop().create_datagram_endpoint(Names, local_addr=(NAME_SERVER, 53))
    await asyncio.start_server(_no_content, CHECK, 80)
    server = await asyncio.start_server(forward, COLLECTOR, 443, ssl=tls)
    print("ready", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--to", type=int, required=True, help="the collector's port")
    parser.add_argument("--key", type=Path, required=True, help="key and certificate")
    given = parser.parse_args()
    asyncio.run(serve(given.to, given.key))
