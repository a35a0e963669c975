"""What a check under way knows of its sender, by views of the kernel that are told."""

import socket
import time
from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from linkbell_agent.floor.download import FloorDownload
from linkbell_agent.floor.exchange import Limits
from linkbell_agent.floor.upload import FloorUpload
from linkbell_agent.ndt7.connection import Connection
from linkbell_wire.ndt7.tcp_info import TcpInfo

LIMITS = Limits(8e6, 0.04)


class Told(Connection):
    """A connection whose kernel has something to send each time it is looked at."""

    view: TcpInfo | None = None

    def info(self) -> TcpInfo | None:
        if self.view is None:
            self.view = replace(super().info() or pytest.fail("no tcp_info"), unsent_bytes=5000)
        return self.view


@pytest.fixture
async def connection() -> AsyncIterator[Told]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        sock = socket.create_connection(listening.getsockname())
        sock.setblocking(False)
        told = Told(sock)
        yield told
        told.close()


async def test_a_look_that_comes_late_is_time_in_which_nothing_was_sent(connection: Told) -> None:
    moments = iter([0.02, 0.04, 0.34, 0.36])
    upload = FloorUpload(connection, LIMITS, lambda: next(moments))
    for _ in range(4):
        upload._sample()
    assert upload._ending.sender.starved_s == pytest.approx(0.3)


async def test_nothing_at_hand_is_time_in_which_nothing_was_sent(connection: Told) -> None:
    moments = iter([0.02, 0.04, 0.06])
    upload = FloorUpload(connection, LIMITS, lambda: next(moments))
    upload._sample()
    connection.view = replace(connection.info() or pytest.fail("no view"), unsent_bytes=0)
    upload._sample()
    upload._sample()
    assert upload._ending.sender.starved_s == pytest.approx(0.04)


@pytest.mark.parametrize(
    ("rtts_s", "retransmit_ratio", "is_full"),
    [
        ([], None, True),
        ([0.04] * 30, 0.0, False),
        ([0.04] * 30, 0.01, False),
        ([0.04] * 30, 0.05, True),
        ([0.04] * 20 + [0.1] * 10, 0.0, True),
        ([0.58] * 30, 0.001, False),
        ([0.58] * 30 + [0.65] * 3, 0.0, True),
        ([0.58] * 30 + [0.60] * 5, 0.0, False),
    ],
)
async def test_a_line_is_full_if_something_queued_or_much_was_lost_or_nobody_says(
    connection: Told, rtts_s: list[float], retransmit_ratio: float | None, is_full: bool
) -> None:
    download = FloorDownload(connection, LIMITS, time.monotonic)
    download._ending.sender.rtts_s = rtts_s
    download._ending.sender.retransmit_ratio = retransmit_ratio
    assert download._line_is_full is is_full
