"""What both ends of an ndt7 test share: M-Lab's constants, the measurement message, WebSocket frames, ``TCP_INFO``.

Source: the ndt7 protocol specification, version 0.11.0 (M-Lab, ndt-server), and RFC 6455. Everything here is
arithmetic on bytes: sockets belong to the agent and to the measurement server.
"""

SUBPROTOCOL = "net.measurementlab.ndt.v7"
DOWNLOAD_PATH = "/ndt/v7/download"
UPLOAD_PATH = "/ndt/v7/upload"

TEST_DURATION_S = 10.0
"""A test lasts this long from the end of the handshake."""

HARD_STOP_S = 13.0
"""From this moment either side may cut the connection (specification); M-Lab's server does so at 15 s."""

MIN_MESSAGE_BYTES = 1 << 13
"""Size of the first binary message of a test."""

MAX_SENT_MESSAGE_BYTES = 1 << 20
"""Messages stop growing here, as M-Lab's own server and client do."""

MAX_RECEIVED_MESSAGE_BYTES = 1 << 24
"""A receiver must accept messages up to this size."""

MAX_TEXT_BYTES = 1 << 16
"""Largest measurement message read here; real ones are below 1 500 bytes."""

GROWTH_FRACTION = 16
"""A message doubles while it is no larger than the bytes sent so far divided by this."""

MEASUREMENT_INTERVAL_S = 0.25
"""Mean distance of two measurements; at most ten a second are allowed."""

TEST_PARAMETER = "linkbell_test"
"""Query parameter of our own: connections with the same value, from the same address, are streams of one test."""

STREAMS_HEADER = "Linkbell-Streams"
"""Header of our server's answer: how many streams a test may have. Other servers do not send it: one."""

MAX_STREAMS = 8


def next_message_size(size: int, sent_bytes: int) -> int:
    """Return the size of the next binary message, given the last size and all payload bytes sent so far."""
    if size < MAX_SENT_MESSAGE_BYTES and size <= sent_bytes // GROWTH_FRACTION:
        return size * 2
    return size
