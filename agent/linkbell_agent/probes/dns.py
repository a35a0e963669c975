"""Look-ups: one name asked of one resolver with our own packets on the uplink, or of the system as programs do.

Over UDP, each try from a new port with a new number, so that nobody can guess them; over TCP where the answer was cut
off (RFC 1035, RFC 7766, RFC 5452).
"""

import asyncio
import contextlib
import secrets
import socket
import struct
from collections.abc import Awaitable, Callable

from linkbell_agent import net
from linkbell_agent.classify import NetworkFailure, network_failure
from linkbell_agent.net import Address, Uplink, bind_to_uplink, open_socket, usable_addresses
from linkbell_agent.permit import Permit, is_public, plain
from linkbell_agent.probes import dns_message
from linkbell_agent.probes.base import ProbeContext
from linkbell_agent.probes.dns_message import Answer, MessageError, RecordType
from linkbell_agent.slim import dataclass
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import DnsRecord

PORT = 53

_BY_RCODE = {
    dns_message.NXDOMAIN: FailureCode.DNS_NOT_FOUND,
    dns_message.REFUSED: FailureCode.DNS_REFUSED,
}


@dataclass(frozen=True, slots=True)
class DnsRequest:
    """Look ``name`` up at ``resolver``, an address; None asks the system's resolver.

    Asked up to ``tries`` times, each waited for ``timeout_s``. ``exists`` is false for a name that cannot exist: then
    that it is not found is the right answer. ``expected`` permits answers that are no public address.
    """

    target: str
    name: str
    resolver: str | None = None
    record_type: RecordType = "A"
    tries: int = 2
    timeout_s: float = 2.0
    port: int = PORT
    exists: bool = True
    expected: Permit | None = None


@dataclass(slots=True)
class _Progress:
    """How far a look-up has come."""

    tries: int = 0


async def dns(
    request: DnsRequest, context: ProbeContext, resolve: Callable[[str], Awaitable[list[Address]]] = net.resolve
) -> DnsRecord:
    """Look up once. Whatever the network and the name server do is in the record; nothing of it is raised."""
    started_s = context.clock.monotonic()
    progress = _Progress()
    answers: int | None = None
    failure: Failure | None = None
    try:
        addresses = await _look_up(request, context, progress, resolve)
        answers = len(addresses)
        _check(request, addresses)
    except NetworkFailure as caught:
        failure = caught.failure
    elapsed_s = round(max(0.0, context.clock.monotonic() - started_s), 6)
    return DnsRecord(
        **context.stamp(),
        target=request.target,
        resolver=request.resolver,
        name=request.name,
        record_type=request.record_type,
        duration_s=elapsed_s if failure is None else None,
        tries=progress.tries or None,
        answers=answers,
        failure=failure,
    )


def _check(request: DnsRequest, addresses: list[str]) -> None:
    """Raise for an answer that cannot be true."""
    if not request.exists:
        if addresses:
            raise NetworkFailure(Operation.RESOLVE, FailureCode.DNS_FALSE_ANSWER)
        return
    if not addresses:
        raise NetworkFailure(Operation.RESOLVE, FailureCode.DNS_NO_ADDRESS)
    expected = request.expected or Permit()
    if not any(is_public(plain(address)) or expected.allows(address, request.name) for address in addresses):
        raise NetworkFailure(Operation.RESOLVE, FailureCode.DNS_FALSE_ANSWER)


async def _look_up(
    request: DnsRequest,
    context: ProbeContext,
    progress: _Progress,
    resolve: Callable[[str], Awaitable[list[Address]]],
) -> list[str]:
    if request.resolver is None:
        return await _ask_system(request, resolve)
    return await ask(request, context.uplink, progress)


async def ask(request: DnsRequest, uplink: Uplink, progress: _Progress | None = None) -> list[str]:
    """Return what ``request.resolver`` says on ``uplink``; nothing if the name has no such record.

    Raises :class:`NetworkFailure`.
    """
    assert request.resolver is not None
    try:
        server = Address(socket.AF_INET6 if ":" in request.resolver else socket.AF_INET, *_with_scope(request.resolver))
        dns_message.encode_name(request.name)
    except MessageError as error:
        raise NetworkFailure(Operation.RESOLVE, FailureCode.DNS_NOT_FOUND) from error
    except (OSError, ValueError) as error:
        raise NetworkFailure(Operation.RESOLVE, FailureCode.ADDRESS_UNAVAILABLE) from error
    usable_addresses([server], uplink, request.resolver)
    return _understood(await _Asking(request, server, uplink, progress or _Progress()).run(), request)


async def _ask_system(request: DnsRequest, resolve: Callable[[str], Awaitable[list[Address]]]) -> list[str]:
    try:
        async with asyncio.timeout(request.tries * request.timeout_s):
            return [address.host for address in await resolve(request.name)]
    except TimeoutError as error:
        raise NetworkFailure(Operation.RESOLVE, FailureCode.DNS_TIMEOUT) from error
    except NetworkFailure as failure:
        if not request.exists and failure.failure.code is FailureCode.DNS_NOT_FOUND:
            return []
        raise


def _understood(answer: Answer, request: DnsRequest) -> list[str]:
    if not request.exists and answer.rcode == dns_message.NXDOMAIN:
        return []
    if answer.rcode != dns_message.NOERROR:
        code = _BY_RCODE.get(answer.rcode, FailureCode.DNS_SERVER_FAILURE)
        raise NetworkFailure(Operation.RESOLVE, code)
    return list(answer.addresses)


def _with_scope(address: str) -> tuple[str, int]:
    """Return an address and the number of its zone, if it has one (``fe80::1%eth0``)."""
    host, _, zone = address.partition("%")
    plain(host)
    return host, socket.if_nametoindex(zone) if zone else 0


class _Asking:
    """One question to one name server, over UDP, then TCP if need be."""

    def __init__(self, request: DnsRequest, server: Address, uplink: Uplink, progress: _Progress) -> None:
        self._request = request
        self._server = server
        self._uplink = uplink
        self._progress = progress

    async def run(self) -> Answer:
        """Return the first answer. Raises :class:`NetworkFailure`."""
        for _ in range(self._request.tries):
            self._progress.tries += 1
            try:
                async with asyncio.timeout(self._request.timeout_s):
                    answer = await self._over_udp()
            except TimeoutError:
                continue
            return await self._in_full() if answer.truncated else answer
        raise NetworkFailure(Operation.RESOLVE, FailureCode.DNS_TIMEOUT)

    async def _in_full(self) -> Answer:
        self._progress.tries += 1
        try:
            async with asyncio.timeout(self._request.timeout_s):
                return await self._over_tcp()
        except TimeoutError as error:
            raise NetworkFailure(Operation.RESOLVE, FailureCode.DNS_TIMEOUT) from error

    async def _over_udp(self) -> Answer:
        loop = asyncio.get_running_loop()
        identifier, message = self._question()
        try:
            with contextlib.closing(socket.socket(self._server.family, socket.SOCK_DGRAM)) as sock:
                sock.setblocking(False)
                bind_to_uplink(sock, self._uplink)
                # Connected, the kernel drops what others send, and reports that nobody listens there.
                await loop.sock_connect(sock, self._server.sockaddr(self._request.port))
                await loop.sock_sendall(sock, message)
                while True:
                    reply = await loop.sock_recv(sock, 4096)
                    if self._answers(reply, identifier):
                        return _read(reply, self._request.record_type)
        except TimeoutError:
            raise
        except OSError as error:
            raise network_failure(Operation.RESOLVE, error) from error

    async def _over_tcp(self) -> Answer:
        loop = asyncio.get_running_loop()
        identifier, message = self._question()
        with contextlib.closing(open_socket(self._server, self._uplink)) as sock:
            try:
                await loop.sock_connect(sock, self._server.sockaddr(self._request.port))
                await loop.sock_sendall(sock, struct.pack("!H", len(message)) + message)
                (length,) = struct.unpack("!H", await _exactly(sock, 2))
                reply = await _exactly(sock, length)
            except TimeoutError:
                raise
            except OSError as error:
                raise network_failure(Operation.RESOLVE, error) from error
        if not self._answers(reply, identifier):
            raise NetworkFailure(Operation.RESOLVE, FailureCode.PROTOCOL_ERROR)
        answer = _read(reply, self._request.record_type)
        if answer.truncated:
            raise NetworkFailure(Operation.RESOLVE, FailureCode.PROTOCOL_ERROR)
        return answer

    def _question(self) -> tuple[int, bytes]:
        identifier = secrets.randbits(16)
        return identifier, dns_message.question(identifier, self._request.name, self._request.record_type)

    def _answers(self, reply: bytes, identifier: int) -> bool:
        return dns_message.is_answer_to(reply, identifier, self._request.name, self._request.record_type)


def _read(reply: bytes, record_type: RecordType) -> Answer:
    try:
        return dns_message.read(reply, record_type)
    except MessageError as error:
        raise NetworkFailure(Operation.RESOLVE, FailureCode.PROTOCOL_ERROR) from error


async def _exactly(sock: socket.socket, count: int) -> bytes:
    loop = asyncio.get_running_loop()
    received = b""
    while len(received) < count:
        chunk = await loop.sock_recv(sock, count - len(received))
        if not chunk:
            raise NetworkFailure(Operation.RESOLVE, FailureCode.CONNECTION_CLOSED)
        received += chunk
    return received
