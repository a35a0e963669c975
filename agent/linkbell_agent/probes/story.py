"""The whole story of one ping, for ``probe --debug``: what the name is, which sockets were tried, each packet."""

import socket
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.clock import Clock
from linkbell_agent.icmp import SocketFactory
from linkbell_agent.net import Address
from linkbell_agent.round_trips import Train
from linkbell_wire.failures import FailureCode

_TYPES = {socket.SOCK_DGRAM: "datagram", socket.SOCK_RAW: "raw", socket.SOCK_STREAM: "stream"}
_PROTOCOLS = {socket.IPPROTO_ICMP: "ICMP", socket.IPPROTO_ICMPV6: "ICMPv6", socket.IPPROTO_TCP: "TCP"}


@dataclass(slots=True)
class Story:
    """Collects lines, each with the seconds since the story began."""

    clock: Clock
    lines: list[str] = field(default_factory=list)
    _began_s: float = field(init=False)

    def __post_init__(self) -> None:
        self._began_s = self.clock.monotonic()

    def tell(self, text: str, at_s: float | None = None) -> None:
        """Add a line; ``at_s`` is on the monotonic clock, now if None."""
        since_s = (self.clock.monotonic() if at_s is None else at_s) - self._began_s
        self.lines.append(f"{since_s:9.4f} s  {text}")

    def resolving(
        self, resolve: Callable[[str], Awaitable[list[Address]]]
    ) -> Callable[[str], Awaitable[list[Address]]]:
        """Return ``resolve``, telling what it finds."""

        async def told(host: str) -> list[Address]:
            try:
                found = await resolve(host)
            except NetworkFailure as failure:
                self.tell(f"{host} does not resolve: {failure.failure.code}")
                raise
            self.tell(f"{host} is {', '.join(address.host for address in found)}")
            return found

        return told

    def opening(self, new_socket: SocketFactory) -> SocketFactory:
        """Return ``new_socket``, telling what the kernel says to each."""

        def told(family: int, kind: int, protocol: int) -> socket.socket:
            name = f"{_TYPES.get(socket.SocketKind(kind), kind)} {_PROTOCOLS.get(protocol, protocol)} socket"
            try:
                made = new_socket(family, kind, protocol)
            except OSError as error:
                self.tell(f"{name}: refused ({error.strerror})")
                raise
            self.tell(f"{name}: opened")
            return made

        return told


class ToldTrain(Train):
    """A train that tells what becomes of each packet."""

    def __init__(self, timeout_s: float, story: Story) -> None:
        super().__init__(timeout_s)
        self._story = story

    def sent(self, sequence: int, at_s: float) -> None:
        """Note and tell."""
        self._story.tell(f"packet {sequence}: sent", at_s)
        super().sent(sequence, at_s)

    def replied(self, sequence: int, at_s: float) -> None:
        """Note and tell; an answer that counts for nothing is told as such."""
        rtt_s = self.waited_s(sequence, at_s)
        super().replied(sequence, at_s)
        if rtt_s is None:
            self._story.tell(f"packet {sequence}: answered again, or too late", at_s)
        else:
            self._story.tell(f"packet {sequence}: answered after {1e3 * rtt_s:.3f} ms", at_s)

    def failed(self, sequence: int, code: FailureCode) -> None:
        """Note and tell."""
        super().failed(sequence, code)
        self._story.tell(f"packet {sequence}: {code}")

    def tell_outstanding(self) -> None:
        """Tell which packets brought nothing."""
        for sequence in self.outstanding:
            self._story.tell(f"packet {sequence}: timeout")
