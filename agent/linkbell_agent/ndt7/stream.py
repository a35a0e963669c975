"""One connection of a test: bytes one way, measurements the other. It reads and writes; its owner decides."""

from typing import Protocol

from pydantic import ValidationError

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.ndt7.channel import Allowance, Channel
from linkbell_agent.ndt7.connection import Opened
from linkbell_agent.slim import dataclass
from linkbell_wire.failures import Operation
from linkbell_wire.ndt7.measurement import GroupInfo, Measurement, TcpInfoMessage
from linkbell_wire.ndt7.tcp_info import TcpInfo

MAX_TEXTS = 400
"""ten a second for the longest test, and room; a server that sends more is broken."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What the server said, and when it arrived: seconds since the end of the first handshake."""

    arrived_s: float
    tcp: TcpInfoMessage
    group: GroupInfo | None = None
    stream: int = 0


class Owner(Protocol):
    """Whom a stream reports to."""

    buffer: memoryview
    """To read into."""
    payload: memoryview
    """Random bytes, to send in an upload."""

    @property
    def is_decided(self) -> bool:
        """Whether the test is over but for the goodbye."""

    def elapsed_s(self) -> float:
        """Return the seconds since the end of the first handshake."""

    def grant(self, size: int) -> int:
        """Return how many of ``size`` more bytes an upload may put on the line."""

    def has_read(self) -> None:
        """Hear that something came."""

    def has_ended(self) -> None:
        """Hear that the server closed a stream, or all of them are cut."""

    def has_failed(self, failure: NetworkFailure) -> None:
        """Hear what went wrong."""


class Stream:
    """What both directions share. ``begin()`` once; after ``leave()`` nothing more is heard of it."""

    operation: Operation
    allowance = Allowance(texts=MAX_TEXTS)

    def __init__(self, opened: Opened, owner: Owner) -> None:
        self._opened = opened
        self._connection = opened.connection
        self._owner = owner
        self._channel = Channel(opened.connection, self.allowance, self)
        self.payload_share = 0.0
        """Payload, texts and answers among the bytes that TCP carries: the rest is frame headers and TLS. 0 at first.

        Texts and answers are the measurement's own, as probes are: a slow line would seem slower by them.
        """
        self.claims: list[Claim] = []
        self.rtts_s: list[float] = []
        self.fresh_rtt_s: float | None = None
        """The kernel's smoothed round trip, if something was carried between the latest two looks."""
        self.info: TcpInfo | None = self._connection.info()
        """The kernel's latest view."""
        self.congestion_control: str | None = None

    # What the directions differ in

    def delivered_bytes(self) -> int:
        """Return the payload bytes that the receiver has, in order and without holes."""
        raise NotImplementedError

    def cost_bytes(self) -> int:
        """Return the payload bytes that were put on the line, arrived or not."""
        raise NotImplementedError

    def carried_bytes(self) -> int:
        """Return the bytes, as TCP counts them, that have arrived at the receiver by the last :meth:`look`.

        Payload waits behind every lost packet until that is sent again, a round trip and more. Here what waits is
        counted as it comes, so this is what the line carries.
        """
        raise NotImplementedError

    def could_wait_bytes(self) -> int:
        """Return how many bytes may have arrived, at most, besides those that were delivered."""
        return 0

    def _in_order_bytes(self) -> int:
        """Return the bytes, as TCP counts them, that the receiver has without holes by the last :meth:`look`."""
        raise NotImplementedError

    def _read_bytes(self) -> int:
        """Return what there is of those without frame headers."""
        return self.delivered_bytes()

    def _count(self, info: TcpInfo) -> None:
        """Take in a new view of the kernel's."""
        raise NotImplementedError

    # What the owner calls

    @property
    def is_gone(self) -> bool:
        """Whether nothing more is heard of it."""
        return self._channel.is_gone

    @property
    def is_held_down(self) -> bool:
        """Whether loss keeps this stream from filling the line, so that more of them would."""
        return False

    def begin(self) -> None:
        """Start to read."""
        self._channel.begin(self._opened.first_bytes, self._owner.buffer)

    def look(self) -> None:
        """Ask the kernel anew, and send a control frame that had no room before. Raises ``OSError``."""
        self._channel.flush()
        self.info = self._connection.info()
        if self.info is not None:
            self.rtts_s.append(self.info.rtt_s)
            carried = self.carried_bytes()
            self._count(self.info)
            self.fresh_rtt_s = self.info.rtt_s if self.carried_bytes() > carried else None
            in_order = self._in_order_bytes()
            if in_order > 0:  # at its highest nothing waits to be read
                self.payload_share = max(self.payload_share, min(1.0, self._read_bytes() / in_order))

    def say_goodbye(self) -> None:
        """Send a close frame, as soon as it fits."""
        self._channel.say_goodbye()

    def close(self) -> None:
        """Cut the connection."""
        self._channel.leave()
        self._connection.close()

    # What the channel tells

    @property
    def is_in_message(self) -> bool:
        return False

    def take_text(self, text: bytes) -> None:
        try:
            measurement = Measurement.model_validate_json(text)
        except ValidationError:
            return  # ndt7 lets a client ignore them all
        if measurement.tcp is not None and not self._owner.is_decided:
            self.claims.append(Claim(self._owner.elapsed_s(), measurement.tcp, measurement.group, id(self)))

    def has_read(self) -> None:
        self._owner.has_read()

    def has_ended(self) -> None:
        self._owner.has_ended()

    def has_failed(self, failure: NetworkFailure) -> None:
        self._owner.has_failed(failure)
