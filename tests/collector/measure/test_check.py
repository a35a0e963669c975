"""Floor checks at the server: who is admitted, that they are paced and bounded, and how bad clients end."""

import asyncio
import json
import re
import subprocess
from contextlib import AsyncExitStack

import pytest

from linkbell_collector.measure.check_request import AcceptedCheck, consider_check
from linkbell_collector.measure.handshake import Refused
from linkbell_collector.measure.settings import Timings
from linkbell_wire import floor
from linkbell_wire.ndt7 import STREAMS_HEADER, TEST_PARAMETER, frames
from linkbell_wire.ndt7.frames import Opcode
from tests.collector.measure.conftest import Start, metrics
from tests.collector.measure.peer import Peer, handshake, open_peer

QUICK = Timings(check_s=1.0, check_hard_stop_s=1.5, linger_s=0.2)
DOWN, UP = f"{floor.DOWNLOAD_PATH}?floor=8000000", f"{floor.UPLOAD_PATH}?floor=8000000"
HEADERS = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    "Sec-WebSocket-Protocol": floor.SUBPROTOCOL,
}


def shake(path: str, **changes: str | None) -> bytes:
    return handshake(path, **{"Sec_WebSocket_Protocol": floor.SUBPROTOCOL, **changes})


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("", "floor=8000000"),
        ("floor=", "whole number"),
        ("floor=8M", "whole number"),
        ("floor=-1", "whole number"),
        ("floor=8000000&floor=9", "floor=8000000"),
        ("floor=0", "from 100000 to 1000000000"),
        ("floor=9999999999", "from 100000 to 1000000000"),
        ("floor=99999999999", "whole number"),
        ("floor=900000000", "--max-check-rate"),
    ],
)
def test_a_floor_that_makes_no_sense_is_refused_with_a_sentence(query: str, words: str) -> None:
    verdict = consider_check(HEADERS, query, 200e6)
    assert isinstance(verdict, Refused)
    assert verdict.status == 400
    assert words in verdict.reply.message


def test_a_floor_is_accepted_with_its_own_subprotocol() -> None:
    verdict = consider_check(HEADERS, "client_name=x&floor=8000000", 200e6)
    assert isinstance(verdict, AcceptedCheck)
    assert verdict.floor_bps == 8e6
    assert verdict.headers["Sec-WebSocket-Protocol"] == floor.SUBPROTOCOL


def receive_buffer_bytes(port: int) -> int:
    """Return what the kernel gives the server's end of the one connection to ``port`` (ss(8), skmem's rb)."""
    command = ["ss", "-tnmH", "state", "established", f"( sport = :{port} )"]
    found = re.search(r"rb(\d+)", subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert found is not None
    return int(found[1])


async def test_an_uploads_whole_budget_fits_the_window_behind_a_lost_packet(start: Start) -> None:
    server = await start(timings=QUICK)
    async with open_peer(server.port) as peer:
        answer = await peer.ask(shake(UP))
        assert answer.status == 101
        await asyncio.sleep(0.05)
        assert receive_buffer_bytes(server.port) >= floor.budget_bytes(8e6)


async def test_a_download_is_paced_and_never_more_than_the_budget(start: Start) -> None:
    server = await start(timings=Timings(check_s=3.0, check_hard_stop_s=4.0))
    reports = []
    async with open_peer(server.port) as peer:
        answer = await peer.ask(shake(DOWN))
        assert answer.status == 101
        async for frame in peer.messages():
            if frame.opcode is Opcode.TEXT:
                reports.append(json.loads(frame.payload))
            elif frame.opcode is Opcode.CLOSE:
                peer.send(Opcode.CLOSE, frame.payload)
    assert peer.frames.payload_bytes == floor.budget_bytes(8e6)
    # The last but one is from when the last bytes were handed to the kernel, a few tenths of a second before their end.
    assert 1.0e6 < reports[-2]["elapsed_us"] < 2.5e6
    assert len(reports) > 30
    assert {"elapsed_us", "rtt_us", "bytes_sent", "congestion_control"} <= set(reports[-1])


@pytest.mark.parametrize("floor_bps", [300_000, 1_000_000])
async def test_reports_do_not_wait_behind_the_load_of_a_low_floor(start: Start, floor_bps: int) -> None:
    server = await start(timings=Timings())
    texts = 0
    async with open_peer(server.port) as peer, asyncio.timeout(10):
        await peer.ask(shake(f"{floor.DOWNLOAD_PATH}?floor={floor_bps}"))
        async for frame in peer.messages():
            texts += frame.opcode is Opcode.TEXT
            if texts == 2:
                break
    assert peer.frames.payload_bytes < floor.budget_bytes(floor_bps) / 2


async def test_an_upload_is_reported_on_and_cut_beyond_its_budget(start: Start) -> None:
    server = await start(timings=QUICK)
    async with open_peer(server.port) as peer:
        await peer.ask(shake(UP))
        peer.send(Opcode.BINARY, bytes(100_000))
        async for frame in peer.messages():
            if frame.opcode is Opcode.TEXT and json.loads(frame.payload)["received_bytes"] > 100_000:
                break
        peer.send(Opcode.BINARY, bytes(3_000_000))
        assert await peer.until_closed() == frames.CLOSE_POLICY
    seen = await metrics(server)
    assert seen['linkbell_measure_checks_total{direction="upload",outcome="protocol_error"}'] == 1
    assert seen['linkbell_measure_tests_total{direction="upload",outcome="protocol_error"}'] == 0


async def test_a_client_that_knows_enough_is_sent_no_more(start: Start) -> None:
    server = await start(timings=QUICK)
    async with open_peer(server.port) as peer:
        await peer.ask(shake(DOWN))
        async for frame in peer.messages():
            if frame.opcode is Opcode.TEXT:
                break
        peer.send(Opcode.CLOSE, frames.close_payload(1000))
        await peer.until_closed()
    async with asyncio.timeout(3):
        while True:
            seen = await metrics(server)
            if seen['linkbell_measure_checks_total{direction="download",outcome="client_closed"}'] == 1:
                break
    assert seen['linkbell_measure_checks_payload_bytes_total{direction="download"}'] < floor.budget_bytes(8e6)
    assert seen['linkbell_measure_checks_in_progress{direction="download"}'] == 0


async def test_checks_share_a_rate_and_leave_the_places_of_tests_alone(start: Start) -> None:
    server = await start(timings=Timings(check_s=15.0, check_hard_stop_s=18.0), max_check_bps=20e6, max_tests=1)
    async with open_peer(server.port) as one, open_peer(server.port) as two, open_peer(server.port) as three:
        assert (await one.ask(shake(DOWN))).status == 101
        assert (await two.ask(shake(DOWN))).status == 101
        answer = await three.ask(shake(DOWN))
        assert answer.status == 503
        assert 1 <= int(answer.headers["retry-after"]) <= 18
        assert b"busy" in await three.body(answer)
        assert (await metrics(server))['linkbell_measure_checks_refused_total{reason="busy"}'] == 1
        async with open_peer(server.port) as tester:
            assert (await tester.ask(handshake("/ndt/v7/download"))).status == 101


async def test_checks_of_one_address_may_use_their_part_of_the_rate(start: Start) -> None:
    timings = Timings(check_s=15.0, check_hard_stop_s=18.0)
    server = await start(timings=timings, max_check_bps=40e6, max_tests=4, max_tests_per_address=2)
    async with open_peer(server.port) as one, open_peer(server.port) as two, open_peer(server.port) as three:
        assert (await one.ask(shake(DOWN))).status == 101
        assert (await two.ask(shake(DOWN))).status == 101
        answer = await three.ask(shake(DOWN))
        assert answer.status == 503
        assert b"one address" in await three.body(answer)
        assert (await metrics(server))['linkbell_measure_checks_refused_total{reason="address_busy"}'] == 1


async def test_a_client_that_never_closes_is_cut(start: Start) -> None:
    server = await start(timings=QUICK)
    async with open_peer(server.port) as peer:
        await peer.ask(shake(UP))
        async with asyncio.timeout(4):
            assert await peer.until_closed() == frames.CLOSE_NORMAL


async def test_binary_in_a_download_ends_it(start: Start) -> None:
    server = await start(timings=QUICK)
    async with open_peer(server.port) as peer:
        await peer.ask(shake(DOWN))
        peer.send(Opcode.BINARY, b"x" * 100)
        async with asyncio.timeout(10):
            assert await peer.until_closed() == frames.CLOSE_UNSUPPORTED_DATA
    seen = await metrics(server)
    assert seen['linkbell_measure_checks_total{direction="download",outcome="protocol_error"}'] == 1


TEST = "0123456789abcdef"
BEGIN_S = 0.1


async def join(peer: Peer, path: str = DOWN, test: str = TEST) -> int:
    """Ask for a connection of a check with a name. Returns the status."""
    return (await peer.ask(shake(f"{path}&{TEST_PARAMETER}={test}"))).status


async def test_a_check_with_a_name_is_offered_connections_and_waits_to_be_told_to_begin(start: Start) -> None:
    server = await start(timings=QUICK)
    async with open_peer(server.port) as peer:
        answer = await peer.ask(shake(f"{DOWN}&{TEST_PARAMETER}={TEST}"))
        assert answer.headers[STREAMS_HEADER.lower()] == str(floor.MAX_STREAMS)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(BEGIN_S):
                await peer.reader.read(1)
        peer.send(Opcode.TEXT, floor.BEGIN)
        async with asyncio.timeout(1):
            assert await peer.reader.read(1)


async def test_connections_of_one_check_share_pace_budget_and_end(start: Start) -> None:
    server = await start(timings=Timings(check_s=3.0, check_hard_stop_s=4.0))
    async with open_peer(server.port) as first, open_peer(server.port) as second, open_peer(server.port) as third:
        assert [await join(peer) for peer in (first, second, third)] == [101] * 3
        first.send(Opcode.TEXT, floor.BEGIN)
        seen = await metrics(server)
        assert seen['linkbell_measure_checks_in_progress{direction="download"}'] == 1
        reports = []

        async def listen() -> None:
            async for frame in first.messages():
                if frame.opcode is Opcode.TEXT:
                    reports.append(json.loads(frame.payload))
                elif frame.opcode is Opcode.CLOSE:
                    first.send(Opcode.CLOSE, frame.payload)

        async with asyncio.timeout(5):
            await asyncio.gather(listen(), second.until_closed(), third.until_closed())
    payload = [peer.frames.payload_bytes for peer in (first, second, third)]
    assert 0.98 * floor.budget_bytes(8e6, 3) < sum(payload) <= floor.budget_bytes(8e6, 3)
    assert min(payload) > 0.2 * sum(payload)
    assert 1.0e6 < reports[-2]["elapsed_us"] < 2.5e6
    assert reports[-2]["bytes_sent"] > max(payload)
    seen = await metrics(server)
    assert seen['linkbell_measure_checks_total{direction="download",outcome="completed"}'] == 1
    assert seen['linkbell_measure_checks_payload_bytes_total{direction="download"}'] == sum(payload)


async def test_a_check_takes_so_many_connections_and_none_with_another_name(start: Start) -> None:
    server = await start(timings=QUICK, max_check_bps=10e6)
    async with open_peer(server.port) as first, open_peer(server.port) as other:
        assert await join(first) == 101
        assert await join(other, test="f" * 16) == 503  # a check of its own, for which the rate is not free
        async with AsyncExitStack() as stack:
            peers = [await stack.enter_async_context(open_peer(server.port)) for _ in range(floor.MAX_STREAMS)]
            statuses = [await join(peer) for peer in peers]
        assert statuses == [101] * (floor.MAX_STREAMS - 1) + [503]


async def test_a_check_under_way_takes_no_more_connections(start: Start) -> None:
    server = await start(timings=QUICK, max_check_bps=10e6)
    async with open_peer(server.port) as first, open_peer(server.port) as second, open_peer(server.port) as late:
        assert [await join(peer) for peer in (first, second)] == [101] * 2
        first.send(Opcode.TEXT, floor.BEGIN)
        await asyncio.sleep(BEGIN_S)
        assert await join(late) == 503


async def test_with_the_first_connection_all_end(start: Start) -> None:
    server = await start(timings=Timings())
    async with open_peer(server.port) as first, open_peer(server.port) as second:
        assert [await join(peer) for peer in (first, second)] == [101] * 2
        first.send(Opcode.CLOSE, frames.close_payload(1000))
        async with asyncio.timeout(2):
            await second.until_closed()


async def test_an_uploads_connections_are_reported_on_and_bounded_together(start: Start) -> None:
    server = await start(timings=QUICK)
    async with open_peer(server.port) as first, open_peer(server.port) as second:
        assert [await join(peer, UP) for peer in (first, second)] == [101] * 2
        for peer in (first, second):
            peer.send(Opcode.BINARY, bytes(50_000))
        async for frame in first.messages():
            if frame.opcode is Opcode.TEXT and json.loads(frame.payload)["received_bytes"] > 100_000:
                break
        for peer in (first, second):
            peer.send(Opcode.BINARY, bytes(1_500_000))
        async with asyncio.timeout(2):
            codes = await asyncio.gather(first.until_closed(), second.until_closed())
        assert frames.CLOSE_POLICY in codes


def test_a_check_with_a_name_that_is_none_is_refused() -> None:
    verdict = consider_check(HEADERS, f"floor=8000000&{TEST_PARAMETER}=mine", 200e6)
    assert isinstance(verdict, Refused)
    assert TEST_PARAMETER in verdict.reply.message
