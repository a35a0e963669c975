"""What a test has carried, by what the kernel says in turn. A peer can make it say much, and not everything."""

from dataclasses import replace
from typing import cast

import pytest

from linkbell_agent.ndt7.connection import Connection, Opened
from linkbell_agent.ndt7.download import Download
from linkbell_agent.ndt7.stream import Owner
from linkbell_agent.ndt7.upload import Upload
from linkbell_wire.ndt7 import frames, tcp_info
from linkbell_wire.ndt7.frames import Opcode
from linkbell_wire.ndt7.tcp_info import TcpInfo

MSS = 1000
BUFFER = 150_000
START = replace(
    tcp_info.parse(bytes(512)),
    bytes_received=0,
    data_segments_in=0,
    out_of_order_segments_in=0,
    receive_mss_bytes=MSS,
    send_mss_bytes=MSS,
    bytes_acked=0,
    bytes_sent=0,
    bytes_retransmitted=0,
)


class Told:
    """A connection whose kernel says what it is told to."""

    def __init__(self) -> None:
        self.says = START

    def info(self) -> TcpInfo:
        return self.says

    def receive_buffer_bytes(self) -> int:
        return BUFFER

    def on_readable(self, callback: object) -> None:
        """Nothing more comes by itself."""

    def use_bbr(self) -> str | None:
        return None

    def queued_bytes(self) -> int:
        return 0


def carried(*views: tuple[int | None, int, int | None]) -> int:
    """Return what was carried after these views: bytes in order, segments, segments out of order."""
    told = Told()
    download = Download(Opened(cast(Connection, told), b"", 0.5, before=START), cast(Owner, None))
    for in_order, segments, out_of_order in views:
        told.says = replace(
            START, bytes_received=in_order, data_segments_in=segments, out_of_order_segments_in=out_of_order
        )
        download.look()
    return download.carried_bytes()


@pytest.mark.parametrize(
    ("views", "expected"),
    [
        pytest.param([(10_000, 10, 0)], 10_000, id="all in order: bytes"),
        pytest.param([(9_600, 10, 0)], 9_600, id="a short segment is not taken for a full one"),
        pytest.param([(10_000, 10, 0), (10_000, 20, 10)], 20_000, id="ten wait behind a lost one and were carried"),
        pytest.param([(10_000, 10, 0), (10_000, 20, 10), (21_000, 21, 10)], 21_000, id="the lost one came"),
        pytest.param(
            [(10_000, 10, 0), (10_000, 110, 100), (30_000, 130, 100)],
            130_000,
            id="a long gap is being filled, all in order, and a hundred still wait",
        ),
        pytest.param([(10_000, 10, 0), (10_000, 20, None)], 20_000, id="an old kernel: order is not told"),
        pytest.param(
            [(10_000, 10, 0), (15_000, 510, 0), (20_000, 1010, 0)], 20_000, id="tiny ones in order are no full ones"
        ),
        pytest.param(
            [(10_000, 10, 0), (10_000, 2010, 2000)], 10_000 + BUFFER, id="more than there is room for does not wait"
        ),
        pytest.param(
            [(10_000, 10, 0), (10_000, 2010, 2000), (400_000, 4010, 2000)],
            400_000 + BUFFER,
            id="however long that goes on",
        ),
        pytest.param(
            [(10_000, 10, 0), (10_000, 2010, None)], 10_000 + BUFFER, id="an old kernel: as much as there is room for"
        ),
    ],
)
def test_what_waits_behind_a_lost_segment_was_carried(
    views: list[tuple[int | None, int, int | None]], expected: int
) -> None:
    assert carried(*views) == expected


@pytest.mark.parametrize(
    ("acked", "sacked", "twice", "sent", "again", "expected"),
    [
        pytest.param(50_000, 0, 0, 60_000, 0, 50_000, id="what is acknowledged arrived"),
        pytest.param(50_000, 6, 0, 60_000, 1_000, 56_000, id="and what waits there behind a lost segment"),
        pytest.param(50_000, 6, 2, 62_000, 3_000, 58_000, id="and what came twice"),
        pytest.param(50_000, 0, 900, 62_000, 3_000, 53_000, id="no more came twice than was sent again"),
        pytest.param(50_000, 0, 900, 62_000, 0, 50_000, id="and nothing, if nothing was"),
        pytest.param(50_000, 900, 0, 62_000, 2_000, 60_000, id="no more waits there than was sent"),
    ],
)
def test_of_an_upload_no_more_arrived_than_was_sent(
    acked: int, sacked: int, twice: int, sent: int, again: int, expected: int
) -> None:
    told = Told()
    upload = Upload(Opened(cast(Connection, told), b"", 0.5, before=START), cast(Owner, None))
    told.says = replace(
        START,
        bytes_acked=acked,
        sacked_segments=sacked,
        duplicate_segments=twice,
        bytes_sent=sent,
        bytes_retransmitted=again,
    )
    upload.look()
    assert upload.carried_bytes() == expected


class Quiet:
    """An owner whom nothing is told."""

    buffer = memoryview(bytearray(16))


def test_what_the_measurement_says_for_itself_was_carried_for_it_too() -> None:
    """A slow line would seem slower by its texts and by the answers to its own requests."""
    payload, text, answer_bytes = bytes(600), b"x" * 300, 100
    came = frames.message(Opcode.BINARY, payload) + frames.message(Opcode.TEXT, text)
    headers = len(came) - len(payload) - len(text)
    told = Told()
    opened = Opened(cast(Connection, told), came, 0.5, before=START, answer_bytes=answer_bytes)
    download = Download(opened, cast(Owner, Quiet()))
    download.begin()
    told.says = replace(START, bytes_received=len(came) + answer_bytes, data_segments_in=1)
    download.look()
    assert download.delivered_bytes() == len(payload)
    assert download.carried_bytes() == len(came) + answer_bytes
    assert download.payload_share == pytest.approx(1000 / (1000 + headers))
