"""What a download has carried, by what the kernel says in turn: bytes in order, segments, segments out of order."""

from dataclasses import replace
from typing import cast

import pytest

from linkbell_agent.ndt7.connection import Connection, Opened
from linkbell_agent.ndt7.download import Download
from linkbell_agent.ndt7.stream import Owner
from linkbell_wire.ndt7 import tcp_info
from linkbell_wire.ndt7.tcp_info import TcpInfo

MSS = 1000
START = replace(
    tcp_info.parse(bytes(512)),
    bytes_received=0,
    data_segments_in=0,
    out_of_order_segments_in=0,
    receive_mss_bytes=MSS,
)


class Told:
    """A connection whose kernel says what it is told to."""

    def __init__(self) -> None:
        self.says = START

    def info(self) -> TcpInfo:
        return self.says


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
    ],
)
def test_what_waits_behind_a_lost_segment_was_carried(
    views: list[tuple[int | None, int, int | None]], expected: int
) -> None:
    assert carried(*views) == expected
