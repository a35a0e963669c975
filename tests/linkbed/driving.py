"""What tests send over a line, and what they count at its end: real sockets, which know nothing of the emulator."""

import contextlib
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from linkbell_wire.records import PingRecord
from linkbell_wire.words import Direction
from tests.linkbed.bed import SCHOOL, WORLD, Bed

DATAGRAM_BYTES = 1400
PACKET_BYTES = DATAGRAM_BYTES + 28
"""With IPv4 and UDP headers."""

TCP_PORT = 8478

FLOOD = """
import socket, sys, time
host, rate, seconds, size = sys.argv[1], *map(float, sys.argv[2:])
out = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
begin, sent = time.monotonic(), 0
while (now := time.monotonic() - begin) < seconds:
    while sent * size * 8 < rate * now:
        out.sendto(bytes(int(size)), (host, 9))
        sent += 1
    time.sleep(0.002)
print(sent)
"""


def flood(bed: Bed, rate_bps: float, seconds: float) -> tuple[float, float]:
    """Send datagrams down the line at ``rate_bps`` of payload; return when it began and ended."""
    began_s = time.monotonic()
    arguments = (SCHOOL, str(rate_bps), str(seconds), str(DATAGRAM_BYTES))
    bed.world.run(sys.executable, "-c", FLOOD, *arguments)
    return began_s, time.monotonic()


def ping(bed: Bed, count: int = 20) -> PingRecord:
    """Ping the far end from the school, a packet at a time."""
    printed = bed.school.run(sys.executable, "-m", "tests.agent.ping.one_ping", WORLD, "--count", str(count))
    return PingRecord.model_validate_json(printed)


@dataclass(frozen=True)
class Received:
    """TCP payload that arrived, and between which moments (CLOCK_MONOTONIC)."""

    began_s: float
    ended_s: float
    payload_bytes: int

    @property
    def bps(self) -> float:
        """The mean rate."""
        return 8 * self.payload_bytes / (self.ended_s - self.began_s)


@contextlib.contextmanager
def tcp_source(bed: Bed) -> Iterator[None]:
    """Have the far end send to whoever connects, as fast as it can."""
    command = ("-m", "tests.linkbed.competitor", "world", WORLD, str(TCP_PORT), Direction.DOWNLOAD, "1")
    with bed.world.service([sys.executable, *command], "listening"):
        yield


def receive(bed: Bed, skip_s: float, seconds: float) -> Received:
    """Load from :func:`tcp_source` over one connection, and count once ``skip_s`` are over."""
    arguments = (WORLD, str(TCP_PORT), str(skip_s), str(seconds))
    began_s, ended_s, read = bed.school.run(sys.executable, "-m", "tests.linkbed.receiving", *arguments).split()
    return Received(float(began_s), float(ended_s), int(read))
