"""Times new connections to one server, one after another, beside whatever else goes on."""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable
from dataclasses import field, replace

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.ndt7.endpoint import Endpoint
from linkbell_agent.net import Address, Uplink, open_socket, resolve_on, usable_addresses
from linkbell_agent.slim import dataclass
from linkbell_agent.watch.latency import Probe
from linkbell_agent.watch.pace import cost_bytes
from linkbell_wire.ndt7 import tcp_info
from linkbell_wire.ndt7.tcp_info import TcpInfo

TIMEOUT_S = 3.0
"""For one probe, handshake and exchange together; no answer by then is a lost probe."""

REST_S = 0.3
"""For the rest of an answer and the server's goodbye, which nobody is timing."""

MUTE_AFTER = 3
MOST_UNDER_WAY = 64
HTTP_PATH = "/healthz"
MOST_RESPONSE_BYTES = 512
"""Our server's answer has about 170. One that says more than this is asked no more in this test."""

RECEIVE_BUFFER_BYTES = 4096
"""What a server can put on the line before it has to wait for us, whatever its answer is."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where probes go. ``host`` is the server's own name; an exchange is made unless it would need TLS first."""

    address: Address
    port: int
    host: str
    speaks_plainly: bool

    @property
    def ip_bytes(self) -> int:
        """The size of an IP header on the way there."""
        return 40 if self.address.family == socket.AF_INET6 else 20

    @property
    def request(self) -> bytes:
        """A small request, answered by our server without any work; what others answer to it is as good."""
        return f"GET {HTTP_PATH} HTTP/1.1\r\nHost: {self.host}\r\nConnection: close\r\n\r\n".encode()


async def find_target(endpoint: Endpoint, uplink: Uplink) -> Target:
    """Return where the test will go first. Raises :class:`NetworkFailure` if the name or the uplink leads nowhere."""
    address = usable_addresses(await resolve_on(endpoint.host, uplink), uplink, endpoint.host)[0]
    return Target(address, endpoint.port, endpoint.authority, not endpoint.tls)


@dataclass(slots=True)
class Sampler:
    """What came of the probes so far. ``cost_bytes`` is all that ``counted`` ones put on the line, headers included."""

    target: Target
    uplink: Uplink
    monotonic: Callable[[], float]
    probes: list[Probe] = field(default_factory=list)
    cost_bytes: int = 0
    counted: int = 0
    refused: asyncio.Event = field(default_factory=asyncio.Event)
    """The server, or the box itself, will have none of it: there is no point in going on."""

    @property
    def each_way_bytes(self) -> float | None:
        """What one probe put on the line one way, on average over probes and ways; ``None`` if none was counted."""
        return self.cost_bytes / self.counted / 2 if self.counted else None

    async def run(self, pace: Callable[[], float], until: asyncio.Event) -> None:
        """Begin a probe every ``pace()`` seconds until told to stop; return once the last one is settled."""
        under_way: set[asyncio.Task[None]] = set()
        async with asyncio.TaskGroup() as group:
            while not until.is_set() and not self.refused.is_set():
                if len(under_way) < MOST_UNDER_WAY:
                    task = group.create_task(self._probe())
                    under_way.add(task)
                    task.add_done_callback(under_way.discard)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(pace()):
                        await until.wait()

    async def _probe(self) -> None:
        try:
            sock = open_socket(self.target.address, self.uplink)
        except NetworkFailure:
            self.refused.set()
            return
        probe = Probe(self.monotonic())
        with contextlib.closing(sock):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            try:
                async with asyncio.timeout(TIMEOUT_S):
                    probe = await self._connect(sock, probe)
                    if self._is_worth_asking:
                        probe = await self._exchange(sock, probe)
            except TimeoutError:
                pass
            except OSError:
                if probe.tcp_s is None:  # not lost: refused, or it could not leave
                    self._give_up_at_first()
                    return
            finally:
                probe = self._counted(sock, probe)
        self.probes.append(probe)

    @property
    def _is_worth_asking(self) -> bool:
        says_too_much = any(one.received_bytes > MOST_RESPONSE_BYTES for one in self.probes)
        return self.target.speaks_plainly and not says_too_much and not self._is_mute

    @property
    def _is_mute(self) -> bool:
        """Whether the server answers no requests of this kind: there is no point in waiting for more answers."""
        answered = [one for one in self.probes if one.tcp_s is not None]
        return len(answered) >= MUTE_AFTER and all(one.http_s is None for one in answered)

    def _give_up_at_first(self) -> None:
        if not self.probes:
            self.refused.set()

    async def _connect(self, sock: socket.socket, probe: Probe) -> Probe:
        """Return ``probe`` with the handshake's round trip. Raises ``OSError``."""
        await asyncio.get_running_loop().sock_connect(sock, self.target.address.sockaddr(self.target.port))
        elapsed_s = self.monotonic() - probe.sent_s
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # leave with a reset: no wait
        info = _info(sock)
        return replace(probe, tcp_s=elapsed_s) if info is None else with_handshake(probe, info, elapsed_s)

    async def _exchange(self, sock: socket.socket, probe: Probe) -> Probe:
        """Return ``probe`` with the time to the first byte of an answer, and both sides' bytes. Raises ``OSError``."""
        loop = asyncio.get_running_loop()
        began_s = self.monotonic()
        request = self.target.request
        await loop.sock_sendall(sock, request)
        response = await loop.sock_recv(sock, MOST_RESPONSE_BYTES)
        took_s = self.monotonic() - began_s
        received = len(response) + await _rest(sock)
        http_s = took_s if response.startswith(b"HTTP/") else None
        return replace(probe, http_s=http_s, sent_bytes=len(request), received_bytes=received)

    def _counted(self, sock: socket.socket, probe: Probe) -> Probe:
        """Return ``probe`` with its payload as the kernel saw it, read by us or not; its cost is added to all."""
        info = _info(sock)
        if info is None or info.segments_out is None or info.segments_in is None:
            return probe
        sent = probe.sent_bytes if info.bytes_sent is None else info.bytes_sent
        received = probe.received_bytes if info.bytes_received is None else info.bytes_received
        segments = info.segments_out + info.segments_in
        self.cost_bytes += cost_bytes(self.target.ip_bytes, segments, 1 + info.retransmits, sent + received)
        self.counted += 1
        return replace(probe, sent_bytes=sent, received_bytes=received)


def with_handshake(probe: Probe, info: TcpInfo, elapsed_s: float) -> Probe:
    """Return ``probe`` with the round trip of a handshake that took ``elapsed_s``; without, if it was lost.

    The kernel's own measure is used: it does not wait for a busy program. It sends the first packet again after a
    second. Time stamps tell if it was the second that was answered: then the first was lost. If the round trip is as
    long as the whole handshake, a deep queue made the answer late, or the answer was lost and given again.
    """
    if not info.retransmits:
        return replace(probe, tcp_s=info.rtt_s or elapsed_s)
    if info.rtt_s <= elapsed_s - 0.5:
        return probe
    return replace(probe, tcp_s=info.rtt_s, doubtful=True)


async def _rest(sock: socket.socket) -> int:
    """Read to the end, or as far as is worth while, and return how many bytes: only what has come can be counted."""
    received = 0
    with contextlib.suppress(TimeoutError, OSError):
        async with asyncio.timeout(REST_S):
            while received < MOST_RESPONSE_BYTES:
                more = len(await asyncio.get_running_loop().sock_recv(sock, MOST_RESPONSE_BYTES))
                received += more
                if not more:
                    break
    return received


def _info(sock: socket.socket) -> TcpInfo | None:
    try:
        return tcp_info.parse(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, tcp_info.TCP_INFO_BYTES))
    except (OSError, ValueError):
        return None
