"""What limited a speed: a table of evidence, and of the words it should give."""

from dataclasses import replace

import pytest

from linkbell_agent.ndt7.exchange import Ending
from linkbell_agent.ndt7.held_back import HeldBack, held_back
from linkbell_agent.ndt7.stream import Claim
from linkbell_agent.watch.limits import (
    CoreTimes,
    CpuTimes,
    Evidence,
    Limit,
    Port,
    Radio,
    is_short_of_cpu,
    limit,
    summed_up,
)
from linkbell_wire.ndt7 import tcp_info
from linkbell_wire.ndt7.measurement import TcpInfoMessage
from linkbell_wire.words import DeviceLimit, Direction, LimitedBy

DOWN, UP = Direction.DOWNLOAD, Direction.UPLOAD
LINE, SERVER, UNKNOWN = Limit(LimitedBy.LINE), Limit(LimitedBy.SERVER), Limit(LimitedBy.UNKNOWN)


def device(cause: DeviceLimit) -> Limit:
    return Limit(LimitedBy.DEVICE, cause)


def times(
    at_s: float, ran_s: float | None, waited_s: float | None = 0.0, *, process_s: float = 0.0, cores: str = ""
) -> CpuTimes:
    """``cores`` has one letter a core: b(usy), i(dle), p(ackets)."""
    ticks = round(at_s * 100)
    spent = {"b": CoreTimes(ticks, ticks, 0), "i": CoreTimes(ticks, 0, 0), "p": CoreTimes(ticks, ticks, ticks)}
    return CpuTimes(at_s, process_s, ran_s, waited_s, tuple(spent[core] for core in cores))


AT_EASE = times(0.0, 0.0, cores="ii"), times(10.0, 1.0, cores="ii")
STARVED = times(0.0, 0.0), times(10.0, 1.0, 8.5)
FREE = HeldBack(0.0, 0.0, 0.0)
FULL = Evidence(DOWN, 20e6, Port(link_bps=1e9), AT_EASE, FREE, queue_s=0.03, jitter_idle_s=0.002)
NO_QUEUE = replace(FULL, queue_s=0.0)
RADIO = Radio(rate_bps=40e6, signal_dbm=-50)


@pytest.mark.parametrize(
    ("seen", "expected"),
    [
        pytest.param(Evidence(DOWN, 20e6), UNKNOWN, id="nothing is known"),
        pytest.param(FULL, LINE, id="a queue stands"),
        pytest.param(replace(FULL, jitter_idle_s=0.02), UNKNOWN, id="no more than the line's own jitter"),
        pytest.param(replace(NO_QUEUE, retransmit_ratio=0.01), LINE, id="packets are dropped"),
        pytest.param(NO_QUEUE, UNKNOWN, id="no queue, no loss"),
        pytest.param(replace(NO_QUEUE, is_stable=True), LINE, id="it held still, and nothing was short"),
        pytest.param(
            replace(NO_QUEUE, is_stable=True, cpu=None), UNKNOWN, id="it held still, but who knows of the box"
        ),
        pytest.param(replace(NO_QUEUE, is_stable=True, held_back=None), UNKNOWN, id="or of the server"),
        pytest.param(replace(FULL, cpu=STARVED), device(DeviceLimit.CPU), id="no processor time"),
        pytest.param(
            replace(FULL, bps=90e6, port=Port(link_bps=100e6)), device(DeviceLimit.NIC), id="port of 100 Mbit/s"
        ),
        pytest.param(replace(FULL, bps=80e6, port=Port(link_bps=100e6)), LINE, id="port of 100 Mbit/s not full"),
        pytest.param(replace(FULL, port=Port(radio=RADIO)), device(DeviceLimit.WIFI), id="half of Wi-Fi's bit rate"),
        pytest.param(replace(FULL, bps=10e6, port=Port(radio=RADIO)), LINE, id="Wi-Fi is faster"),
        pytest.param(replace(FULL, port=Port(radio=Radio(None, -80))), device(DeviceLimit.WIFI), id="weak signal"),
        pytest.param(
            replace(FULL, bps=5e6, port=Port(radio=Radio(40e6, -80))), LINE, id="weak signal, faster all the same"
        ),
        pytest.param(replace(FULL, port=Port(radio=Radio())), LINE, id="Wi-Fi of which nothing is known"),
        pytest.param(replace(NO_QUEUE, held_back=HeldBack(0.5)), device(DeviceLimit.BUFFERS), id="our window was full"),
        pytest.param(replace(FULL, held_back=HeldBack(0.5)), LINE, id="our window was full, but so was the line"),
        pytest.param(
            replace(NO_QUEUE, direction=UP, held_back=HeldBack(0.0, 0.5)),
            device(DeviceLimit.BUFFERS),
            id="our send buffer",
        ),
        pytest.param(replace(NO_QUEUE, direction=UP, held_back=HeldBack(0.5)), SERVER, id="the server read too slowly"),
        pytest.param(replace(NO_QUEUE, held_back=HeldBack(0.0, 0.5)), SERVER, id="the server's send buffer"),
        pytest.param(replace(NO_QUEUE, held_back=HeldBack(0.0, 0.0, 0.5)), SERVER, id="the server had nothing to send"),
        pytest.param(replace(FULL, port=Port(is_loopback=True)), UNKNOWN, id="loopback is no line"),
        pytest.param(
            replace(NO_QUEUE, is_stable=True, port=Port(is_loopback=True)), UNKNOWN, id="nor if it holds still"
        ),
        pytest.param(
            replace(FULL, cpu=STARVED, port=Port(is_loopback=True)), device(DeviceLimit.CPU), id="but has a box"
        ),
    ],
)
def test_what_limited_a_speed(seen: Evidence, expected: Limit) -> None:
    assert limit(seen) == expected


@pytest.mark.parametrize(
    ("before", "after", "short"),
    [
        pytest.param(times(0, 0.0, 0.0), times(10, 9.5, 0.0), True, id="it ran all the time"),
        pytest.param(times(0, 0.0, 0.0), times(10, 3.0, 6.5), True, id="it ran or waited all the time"),
        pytest.param(
            times(0, 0.0, 0.0, cores="ii"), times(10, 3.0, 1.0, cores="bb"), False, id="others busy, it was served"
        ),
        pytest.param(times(0, 0.0, 0.0, cores="iiii"), times(10, 1.0, 0.0, cores="iipi"), True, id="a core of packets"),
        pytest.param(times(0, None, None, cores="ii"), times(10, None, None, cores="bb"), True, id="all cores busy"),
        pytest.param(times(0, None, None, cores="ii"), times(10, None, None, cores="bi"), False, id="one core is left"),
        pytest.param(times(0, None, None), times(10, None, None, process_s=9.5), True, id="the process took a core"),
        pytest.param(times(0, None, None), times(10, None, None), False, id="no cores are told"),
        pytest.param(times(5, 0.0, 0.0), times(5, 0.0, 0.0), False, id="no time passed"),
    ],
)
def test_a_box_is_short_of_processor_if_the_measuring_thread_wanted_more(
    before: CpuTimes, after: CpuTimes, short: bool
) -> None:
    assert is_short_of_cpu(before, after) is short


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        ([], LimitedBy.UNKNOWN),
        ([LimitedBy.LINE, LimitedBy.UNKNOWN], LimitedBy.LINE),
        ([LimitedBy.LINE, LimitedBy.DEVICE], LimitedBy.DEVICE),
        ([LimitedBy.SERVER, LimitedBy.LINE], LimitedBy.SERVER),
    ],
)
def test_one_word_for_both_directions(limits: list[LimitedBy], expected: LimitedBy) -> None:
    assert summed_up(limits) is expected


def test_an_uploads_sender_is_our_kernel() -> None:
    raw = bytearray(232)
    for offset, micro in ((168, 4_000_000), (176, 1_000_000), (184, 3_000_000)):
        raw[offset : offset + 8] = micro.to_bytes(8, "little")
    ending = Ending(own=[tcp_info.parse(bytes(raw))] * 2)
    assert held_back(UP, ending) == HeldBack(0.25, 0.75, None)
    assert held_back(UP, Ending()) is None


def test_a_downloads_sender_is_the_server_whose_last_word_counts() -> None:
    early = Claim(1.0, TcpInfoMessage(busy_us=1, rwnd_limited_us=1, sndbuf_limited_us=1, elapsed_us=10))
    late = Claim(2.0, TcpInfoMessage(busy_us=8, rwnd_limited_us=2, sndbuf_limited_us=99, elapsed_us=10))
    found = held_back(DOWN, Ending(claims=[early, late]))
    assert found is not None
    assert (found.by_receiver, found.by_buffer) == (0.25, 1.0)
    assert found.idle == pytest.approx(0.2)
    assert held_back(DOWN, Ending()) is None
    assert held_back(DOWN, Ending(claims=[Claim(1.0, TcpInfoMessage())])) is None
    other = Claim(2.0, TcpInfoMessage(busy_us=8, rwnd_limited_us=6, sndbuf_limited_us=0, elapsed_us=10), stream=1)
    both = held_back(DOWN, Ending(claims=[early, late, other]))
    assert both is not None
    assert both.by_receiver == 0.5
    assert held_back(DOWN, Ending(claims=[Claim(1.0, TcpInfoMessage(busy_us=5))])) == HeldBack()
