"""What both ends of a floor check share: addresses, how fast and how much is sent, and what the server says of it.

"Is this line at least at its floor?" is asked by sending a little faster than the floor, and no faster, for a second or
two. The protocol is described in ``docs/measurement.md``; its frames are those of :mod:`linkbell_wire.ndt7`.
"""

import math
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

SUBPROTOCOL = "net.linkbell.check.v1"
DOWNLOAD_PATH = "/check/v1/download"
UPLOAD_PATH = "/check/v1/upload"

MIN_FLOOR_BPS = 100_000.0
MAX_FLOOR_BPS = 1_000_000_000.0
"""Below the one a check would take too long to be sure, above the other it would be a flood like any speed test."""

PACE_RATIO = 1.15
"""The sender's pace, as a multiple of the floor. Near 1 a line that is just fast enough is hard to tell from one that
is not; further up, more of it waits in the queue of a slow line, and others behind it."""

BUDGET_S = 1.85
"""A check may send so many seconds' worth of the floor: at 8 Mbit/s 1.85 MB of payload, under 2 MB with all headers."""

LEAST_BUDGET_BYTES = 150_000
"""About a hundred packets: fewer tell little, however slow the line."""

MAX_DURATION_S = 15.0
SERVER_DURATION_S = 16.5
"""The server ends a check later than the client, whose answer at the end of its time must not be cut off."""

HARD_STOP_S = 18.0
"""From this moment the server cuts the connection."""

MAX_STREAMS = 24
"""Connections of one check at most."""

STREAMS_RTT_S = 0.05
"""On a shorter line a round trip lost costs nothing, and one connection does."""

FIRST_FLIGHT_BYTES = 10 * 1448
"""What a new connection sends before it has heard anything (RFC 6928)."""

STREAM_BYTES = 2_000
"""Handshake, request and answer of one more connection, with room: they come off the budget."""

BEGIN = b"begin"
"""The client's text on the first connection of a download: all connections are there."""

REPORT_INTERVAL_S = 0.02
"""How often at most the server says what has arrived (upload), or how the sending goes (download)."""

NEARLY = 0.9
"""A connection or two may be late with its first flight."""

FIRST_BOOST = 3.0
"""In its first flight a connection may send three times its part: what is given to it is paced by then."""

TURN_S = 0.005
"""How often the connections of one check are given something to send."""

FULL_PACKET_BYTES = 1448
LARGEST_PACKET_BYTES = 9000
"""No Ethernet carries larger ones; a kernel that says so hands over whole bundles."""

_Counter = Annotated[int, Field(ge=0, le=2**53 - 1)]
_Time = Annotated[int, Field(ge=0, le=600_000_000)]
_RoundTrip = Annotated[int, Field(ge=0, le=60_000_000)]


def can_be_checked(floor_bps: float) -> bool:
    """Say whether a check can hold a line to this floor."""
    return MIN_FLOOR_BPS <= floor_bps <= MAX_FLOOR_BPS


def pace_bps(floor_bps: float) -> float:
    """Return how fast a check of this floor is sent, in bits of payload per second."""
    return floor_bps * PACE_RATIO


def budget_bytes(floor_bps: float, streams: int = 1) -> int:
    """Return the most payload a check of this floor, on so many connections, may send."""
    return max(LEAST_BUDGET_BYTES, round(floor_bps / 8 * BUDGET_S) - (streams - 1) * STREAM_BYTES)


def streams(floor_bps: float, rtt_s: float) -> int:
    """Return how many connections are best: their first flights together fill the line at the pace.

    One connection comes up to speed round trip by round trip, and each packet lost meanwhile costs it one more. On a
    long line that is most of the check; several have no ramp to speak of, and a loss costs one of them its part.
    """
    if rtt_s < STREAMS_RTT_S:
        return 1
    under_way_bytes = pace_bps(floor_bps) / 8 * rtt_s
    return min(MAX_STREAMS, max(1, math.ceil(under_way_bytes / FIRST_FLIGHT_BYTES)))


def stream_pace_bps(floor_bps: float, streams: int, boost: float) -> float:
    """Return how fast one of so many connections may send: its part, ``boost`` times, for others may be held up."""
    return pace_bps(floor_bps) * min(1.0, boost / streams)


def piece_bytes(floor_bps: float, streams: int) -> int:
    """Return how much one of so many connections is given at once: two packets, or more of a fast pace."""
    turn_bytes = pace_bps(floor_bps) / 8 * TURN_S / streams
    return FULL_PACKET_BYTES * max(2, round(turn_bytes / FULL_PACKET_BYTES))


def message_bytes(floor_bps: float) -> int:
    """Return the payload of one binary message: about ten milliseconds' worth, from 1 KiB to 256 KiB."""
    return 1 << min(18, max(10, int(pace_bps(floor_bps) / 800).bit_length()))


class Report(BaseModel):
    """One text message of the server: its kernel's view of the connection, times in microseconds.

    In an upload ``segments`` and ``received_bytes`` are what arrived: every packet with payload, in whatever order
    it came, and the payload in order. In a download they are absent, for the receiver counts itself.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", allow_inf_nan=False, defer_build=True)

    elapsed_us: _Time
    segments: _Counter | None = None
    received_bytes: _Counter | None = None
    rtt_us: _RoundTrip | None = None
    min_rtt_us: _RoundTrip | None = None
    bytes_sent: _Counter | None = None
    bytes_retransmitted: _Counter | None = None
    rwnd_limited_us: _Time | None = None
    starved_us: _Time | None = None
    """How long the sender had less to send than the kernel would have taken."""
    congestion_control: Annotated[str, Field(pattern=r"^[a-z0-9_]{1,16}$")] | None = None

    def to_json(self) -> bytes:
        """Return the message, absent parts left out."""
        return self.model_dump_json(exclude_none=True).encode()
