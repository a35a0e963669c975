"""ICMP echo (RFC 792, RFC 4443) over the sockets Linux offers: unprivileged datagram ones, then raw ones.

Built by hand rather than with icmplib: that resolves again and blocks in every ``send``, reads the wall clock, hides
the error's number, and throws away the payload by which a spoofed or stale reply is told from ours.
"""

import contextlib
import errno
import secrets
import socket
import struct
from collections.abc import Callable, Iterator

from linkbell_agent.classify import NetworkFailure, classify, network_failure
from linkbell_agent.net import Address, Uplink, bind_to_uplink
from linkbell_agent.slim import dataclass
from linkbell_wire.failures import FailureCode, Operation
from linkbell_wire.words import PingSocket

PAYLOAD_BYTES = 56
"""As ping(8) sends: 64 bytes of ICMP."""

SocketFactory = Callable[[int, int, int], socket.socket]
"""``socket.socket(family, type, protocol)``, or what a test puts in its place."""

_NOT_ALLOWED = frozenset({errno.EACCES, errno.EPERM, errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT})
_MAX_MESSAGES = 256
"""Read at one go: a flood of strangers' packets must not hold the event loop."""

# linux/in.h, in6.h, icmp.h, icmpv6.h, errqueue.h; Python names few of them.
_SOL_RAW, _ICMP_FILTER, _ICMPV6_FILTER = 255, 1, 1
_IP_RECVERR, _IPV6_RECVERR = 11, 25
_EXTENDED_ERROR = struct.Struct("=IBBBxII")
_ORIGIN_ICMP, _ORIGIN_ICMP6 = 2, 3
_HEADER = struct.Struct("!BBHHH")


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back for one packet: a reply, or the ``error`` that stands in its place."""

    sequence: int
    error: FailureCode | None = None


@dataclass(frozen=True, slots=True)
class _Version:
    """Where the two versions of ICMP differ."""

    protocol: int
    echo_request: int
    echo_reply: int
    recverr: tuple[int, int]
    reply_filter: tuple[int, int, bytes]


_V4 = _Version(
    protocol=socket.IPPROTO_ICMP,
    echo_request=8,
    echo_reply=0,
    recverr=(socket.IPPROTO_IP, _IP_RECVERR),
    reply_filter=(_SOL_RAW, _ICMP_FILTER, struct.pack("=I", 0xFFFFFFFF ^ 1)),
)
_V6 = _Version(
    protocol=socket.IPPROTO_ICMPV6,
    echo_request=128,
    echo_reply=129,
    recverr=(socket.IPPROTO_IPV6, _IPV6_RECVERR),
    reply_filter=(
        socket.IPPROTO_ICMPV6,
        _ICMPV6_FILTER,
        struct.pack("=8I", *(0xFFFFFFFF ^ (1 << 129 % 32 if word == 129 // 32 else 0) for word in range(8))),
    ),
)


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071)."""
    padded = data + b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(padded) // 2}H", padded))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_request(family: int, identifier: int, sequence: int, payload: bytes) -> bytes:
    """Return an echo request. The kernel fills in the checksum of ICMPv6, which covers addresses only it knows."""
    kind = _version(family).echo_request
    unsummed = _HEADER.pack(kind, 0, 0, identifier, sequence) + payload
    total = checksum(unsummed) if family == socket.AF_INET else 0
    return _HEADER.pack(kind, 0, total, identifier, sequence) + payload


def strip_ip_header(datagram: bytes) -> bytes:
    """Return what follows the IPv4 header, which raw sockets hand over and others do not."""
    return datagram[(datagram[0] & 0x0F) * 4 :] if datagram else b""


def icmp_error_code(origin: int, kind: int, code: int) -> FailureCode | None:
    """Return what an ICMP error message means; ``None`` if it is not one that ends the wait for a reply.

    Source: RFC 792, RFC 1812 section 5.2.7.1, RFC 4443 section 3.
    """
    if origin == _ORIGIN_ICMP:
        return _ICMP_ERRORS.get((kind, code), _ICMP_ERRORS.get((kind, None)))
    return _ICMP6_ERRORS.get((kind, code), _ICMP6_ERRORS.get((kind, None)))


_ICMP_ERRORS: dict[tuple[int, int | None], FailureCode] = {
    (3, None): FailureCode.HOST_UNREACHABLE,
    (3, 0): FailureCode.NETWORK_UNREACHABLE,
    (3, 2): FailureCode.CONNECTION_REFUSED,
    (3, 3): FailureCode.CONNECTION_REFUSED,
    (3, 4): FailureCode.MESSAGE_TOO_LARGE,
    (3, 5): FailureCode.NETWORK_UNREACHABLE,
    (3, 6): FailureCode.NETWORK_UNREACHABLE,
    (3, 9): FailureCode.PROHIBITED,
    (3, 10): FailureCode.PROHIBITED,
    (3, 11): FailureCode.NETWORK_UNREACHABLE,
    (3, 13): FailureCode.PROHIBITED,
    (3, 14): FailureCode.PROHIBITED,
    (3, 15): FailureCode.PROHIBITED,
    (11, None): FailureCode.TTL_EXCEEDED,
    (12, None): FailureCode.PROTOCOL_ERROR,
}

_ICMP6_ERRORS: dict[tuple[int, int | None], FailureCode] = {
    (1, None): FailureCode.NETWORK_UNREACHABLE,
    (1, 1): FailureCode.PROHIBITED,
    (1, 3): FailureCode.HOST_UNREACHABLE,
    (1, 4): FailureCode.CONNECTION_REFUSED,
    (1, 5): FailureCode.PROHIBITED,
    (1, 6): FailureCode.PROHIBITED,
    (2, None): FailureCode.MESSAGE_TOO_LARGE,
    (3, None): FailureCode.TTL_EXCEEDED,
    (4, None): FailureCode.PROTOCOL_ERROR,
}


class EchoSocket:
    """A non-blocking socket that pings one address. The caller closes it."""

    def __init__(self, sock: socket.socket, kind: PingSocket, address: Address) -> None:
        self.kind = kind
        self._sock = sock
        self._address = address
        self._packed_host = _packed(address.host)
        self._version = _version(address.family)
        self._identifier = secrets.randbits(16)  # a datagram socket's own number takes its place
        self._payload = secrets.token_bytes(PAYLOAD_BYTES)

    def fileno(self) -> int:
        """Return the descriptor to watch for answers."""
        return self._sock.fileno()

    def close(self) -> None:
        """Close the socket. Closing again does nothing."""
        self._sock.close()

    def send(self, sequence: int) -> list[Answer]:
        """Send one echo request; return the errors of earlier ones that stood in its way. Raises ``OSError``."""
        packet = echo_request(self._address.family, self._identifier, sequence, self._payload)
        try:
            self._sock.sendto(packet, self._address.sockaddr(0))
        except OSError:
            # The kernel reports an earlier packet's ICMP error through whichever call comes next.
            earlier = list(self._errors())
            if not earlier:
                raise
            self._sock.sendto(packet, self._address.sockaddr(0))
            return earlier
        return []

    def receive(self) -> list[Answer]:
        """Return the answers that are there by now, strangers' left out. Raises ``OSError``."""
        return [*self._errors(), *self._replies()]

    def _replies(self) -> Iterator[Answer]:
        for _ in range(_MAX_MESSAGES):
            try:
                datagram, source = self._sock.recvfrom(2048)
            except BlockingIOError:
                return
            if _packed(str(source[0])) != self._packed_host:
                continue
            if self._address.family == socket.AF_INET and self.kind is PingSocket.RAW:
                datagram = strip_ip_header(datagram)
            sequence = self._sequence_of(datagram, self._version.echo_reply)
            if sequence is not None and datagram[_HEADER.size :] == self._payload:
                yield Answer(sequence)

    def _errors(self) -> Iterator[Answer]:
        """Yield what the kernel's error queue holds: ICMP errors, each with the head of the packet it is about."""
        for _ in range(_MAX_MESSAGES):
            try:
                packet, ancillary, _, _ = self._sock.recvmsg(512, 512, socket.MSG_ERRQUEUE)
            except BlockingIOError:
                return
            code = next(
                (_extended_error(data) for *place, data in ancillary if tuple(place) == self._version.recverr), None
            )
            sequence = self._sequence_of(packet, self._version.echo_request)
            quoted = packet[_HEADER.size :]
            if code is not None and sequence is not None and self._payload.startswith(quoted[:PAYLOAD_BYTES]):
                yield Answer(sequence, code)

    def _sequence_of(self, message: bytes, expected_kind: int) -> int | None:
        if len(message) < _HEADER.size:
            return None
        kind, _, _, identifier, sequence = _HEADER.unpack_from(message)
        if kind != expected_kind:
            return None
        if self.kind is PingSocket.RAW and identifier != self._identifier:
            return None
        return int(sequence)


def open_echo_socket(address: Address, uplink: Uplink, new_socket: SocketFactory = socket.socket) -> EchoSocket:
    """Return the least privileged ICMP socket this box allows, bound to ``uplink``.

    Raises :class:`NetworkFailure`, with ``permission_denied`` where the kernel allows neither kind.
    """
    denied: OSError | None = None
    for type_, kind in ((socket.SOCK_DGRAM, PingSocket.DATAGRAM), (socket.SOCK_RAW, PingSocket.RAW)):
        try:
            sock = new_socket(address.family, type_, _version(address.family).protocol)
        except OSError as error:
            if error.errno not in _NOT_ALLOWED:
                raise network_failure(Operation.BIND, error) from error
            denied = error
            continue
        return _prepared(sock, kind, address, uplink)
    raise NetworkFailure(Operation.BIND, FailureCode.PERMISSION_DENIED) from denied


def _prepared(sock: socket.socket, kind: PingSocket, address: Address, uplink: Uplink) -> EchoSocket:
    version = _version(address.family)
    try:
        sock.setblocking(False)
        sock.setsockopt(*version.recverr, 1)
        if kind is PingSocket.RAW:
            with contextlib.suppress(OSError):  # only spares us packets that are not replies
                sock.setsockopt(*version.reply_filter)
        bind_to_uplink(sock, uplink)
    except OSError as error:
        sock.close()
        raise network_failure(Operation.BIND, error) from error
    except BaseException:
        sock.close()
        raise
    return EchoSocket(sock, kind, address)


def _extended_error(data: bytes) -> FailureCode | None:
    """Read a struct sock_extended_err (ip(7))."""
    if len(data) < _EXTENDED_ERROR.size:
        return None
    number, origin, kind, code, _, _ = _EXTENDED_ERROR.unpack_from(data)
    if origin in (_ORIGIN_ICMP, _ORIGIN_ICMP6):
        return icmp_error_code(origin, kind, code)
    return classify(OSError(number, ""))


def _version(family: int) -> _Version:
    return _V6 if family == socket.AF_INET6 else _V4


def _packed(host: str) -> bytes:
    """Return an address in the one form in which two spellings of it are equal."""
    bare = host.partition("%")[0]
    return socket.inet_pton(socket.AF_INET6 if ":" in bare else socket.AF_INET, bare)
