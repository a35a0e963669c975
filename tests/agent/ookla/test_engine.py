"""The ookla engine against real servers: what is recorded, what it costs, and that it always ends."""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from linkbell_agent.clock import SystemClock
from linkbell_agent.net import Uplink
from linkbell_agent.ookla.process import COMMAND, Program
from linkbell_agent.probes.base import ProbeContext
from linkbell_agent.probes.ookla import ookla
from linkbell_agent.probes.speed import speed
from linkbell_collector.measure.app import MeasurementServer, build
from linkbell_collector.measure.places import PlaceLimits
from linkbell_collector.measure.settings import MeasureSettings
from linkbell_wire.failures import FailureCode, Operation
from linkbell_wire.records import SpeedRecord
from linkbell_wire.words import Engine, ServerScope, Stop
from tests.agent.ndt7 import servers
from tests.agent.ndt7.servers import Visitor, serving
from tests.agent.ookla.support import (
    CONTEXT,
    answer,
    answering,
    begun,
    child_of,
    children,
    failure,
    failures,
    freed,
    gone,
    request,
)
from tests.collector.measure.conftest import metrics

AGENT = Path(__file__).parents[3] / "agent"


@pytest.fixture
async def server() -> AsyncIterator[MeasurementServer]:
    limits = PlaceLimits(idle_s=1.0)  # longer than a test pauses on a busy machine
    started = build(MeasureSettings(host="127.0.0.1", port=0, max_tests=1, places=limits))
    await started.start()
    yield started
    await started.stop(drain_s=0.0)


@pytest.fixture(autouse=True)
def nothing_is_left_running() -> object:
    yield
    assert list(children()) == []


def test_a_request_says_which_engine_and_the_probe_asks_that() -> None:
    assert request("http://x").engine is Engine.OOKLA


# --- a test that goes well


async def test_a_test_against_our_own_server_has_both_directions(server: MeasurementServer) -> None:
    record = await speed(request(server.url), CONTEXT)
    assert record.engine is Engine.OOKLA
    assert record.server == server.url
    assert record.server_scope is ServerScope.DOMESTIC
    assert record.rtt_idle_s is not None
    assert 0 < record.rtt_idle_s < 1
    for result in (record.download, record.upload):
        assert result is not None
        assert result.failure is None
        assert result.bps is not None
        assert result.bps > 1e8
        assert result.streams == 8
        assert result.stop in (Stop.TIME, Stop.BYTES)
        assert result.duration_s < 1.6
        # Every byte and little more than those counted: heads, and what was on its way at the stop.
        assert result.bytes * 8 >= result.bps * result.duration_s * 0.999
    assert SpeedRecord.model_validate_json(record.model_dump_json()) == record


async def test_the_server_saw_the_bytes_the_record_says(server: MeasurementServer) -> None:
    record = await speed(request(server.url, max_duration_s=5.0), CONTEXT)  # to the last picture and form
    seen = await metrics(server)
    for direction, result in (("download", record.download), ("upload", record.upload)):
        assert result is not None
        assert result.bps is not None
        served = seen[f'linkbell_measure_speedtest_payload_bytes_total{{direction="{direction}"}}']
        assert result.bps * result.duration_s / 8 == pytest.approx(served, rel=0.001)
        assert served <= result.bytes < served * 1.01


@pytest.mark.parametrize(("download", "upload"), [(True, False), (False, True)])
async def test_a_direction_that_was_not_asked_for_is_none(
    server: MeasurementServer, download: bool, upload: bool
) -> None:
    record = await speed(request(server.url, download=download, upload=upload, max_bytes=200_000), CONTEXT)
    assert (record.download is not None, record.upload is not None) == (download, upload)
    assert failures(record) == [None]


@pytest.mark.parametrize("max_bytes", [100_000, 1_000_000, 20_000_000])
async def test_the_byte_cap_holds_even_on_a_line_that_is_never_the_limit(
    server: MeasurementServer, max_bytes: int
) -> None:
    record = await speed(request(server.url, max_bytes=max_bytes), CONTEXT)
    for result in (record.download, record.upload):
        assert result is not None
        assert result.failure is None
        assert result.stop is Stop.BYTES
        assert max_bytes * 0.9 <= result.bytes <= max_bytes * 1.5 + 20_000
    seen = await metrics(server)
    sent = seen['linkbell_measure_speedtest_payload_bytes_total{direction="upload"}']
    assert sent <= max_bytes


async def test_one_test_holds_one_place_from_its_first_request_to_its_last(server: MeasurementServer) -> None:
    task = asyncio.create_task(speed(request(server.url), CONTEXT))
    most = 0.0
    while not task.done():
        now = (await metrics(server))["linkbell_measure_speedtest_tests_in_progress"]
        most = max(most, now)
        await asyncio.sleep(0.05)
    assert failures(await task) == [None, None]
    assert most == 1
    seen = await freed(server)
    assert seen['linkbell_measure_speedtest_tests_total{outcome="completed"}'] == 1


# --- servers that do not take it


async def test_the_second_school_behind_one_address_is_told_that_the_server_is_busy(server: MeasurementServer) -> None:
    first = asyncio.create_task(speed(request(server.url, max_duration_s=2.0), CONTEXT))
    await begun(server)
    second = await speed(request(server.url), CONTEXT)
    assert failures(second) == [failure(Operation.HTTP_REQUEST, FailureCode.SERVER_BUSY)] * 2
    assert failures(await first) == [None, None]


@pytest.fixture
def dead_url() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{unused.getsockname()[1]}"


async def test_a_server_that_does_not_take_the_test_passes_it_to_the_next(
    server: MeasurementServer, dead_url: str
) -> None:
    async with serving(servers.answers(answer("", "503 Busy", "Retry-After: 9\r\n"))) as busy:
        record = await speed(request(dead_url, busy.url, server.url, max_bytes=200_000), CONTEXT)
    assert record.server == server.url
    assert failures(record) == [None, None]


@pytest.mark.parametrize(
    ("said", "operation", "code"),
    [
        (answer("", "403 Forbidden"), Operation.HTTP_REQUEST, FailureCode.HTTP_STATUS),
        (
            answer("", "302 Found", "Location: http://login.example/\r\n"),
            Operation.HTTP_REQUEST,
            FailureCode.REDIRECTED,
        ),
        (answer("<html>Log in"), Operation.HTTP_REQUEST, FailureCode.PROTOCOL_ERROR),
        (b"\x00\x01\x02 garbage\r\n\r\n", Operation.HTTP_REQUEST, FailureCode.PROTOCOL_ERROR),
        (answer("size=0"), Operation.HTTP_REQUEST, FailureCode.PROTOCOL_ERROR),  # as latency.txt too
    ],
    ids=["403", "redirect", "login page", "not HTTP", "no latency"],
)
async def test_what_a_server_says_instead_is_a_code(said: bytes, operation: Operation, code: FailureCode) -> None:
    async with serving(servers.answers(said)) as other:
        record = await speed(request(other.url), CONTEXT)
    assert failures(record) == [failure(operation, code)] * 2
    assert record.download is not None
    assert record.download.bytes > 0


async def test_nobody_there_and_no_such_name_are_told_apart(dead_url: str) -> None:
    refused = await speed(request(dead_url), CONTEXT)
    assert failures(refused) == [failure(Operation.CONNECT, FailureCode.CONNECTION_REFUSED)] * 2
    unknown = await speed(request("http://nowhere.invalid", upload=False), CONTEXT)
    assert [one and one.operation for one in failures(unknown)] == [Operation.RESOLVE]


async def test_an_uplink_that_is_not_there_is_a_failure_and_never_another_way_out(server: MeasurementServer) -> None:
    for uplink, code in (
        (Uplink(device="nosuch0"), FailureCode.UPLINK_UNAVAILABLE),
        (Uplink(source="203.0.113.7"), FailureCode.ADDRESS_UNAVAILABLE),
        (Uplink(source="2001:db8::7"), FailureCode.ADDRESS_UNAVAILABLE),
    ):
        record = await speed(request(server.url), ProbeContext(uplink, SystemClock()))
        assert failures(record) == [failure(Operation.BIND, code)] * 2
        assert record.download is not None
        assert record.download.bytes == 0
    bound = await speed(request(server.url, max_bytes=200_000), ProbeContext(Uplink(device="lo"), SystemClock()))
    assert failures(bound) == [None, None]


# --- servers and lines that fail on the way


async def drips_then_stalls(visitor: Visitor) -> None:
    visitor.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n" + bytes(50_000))
    await visitor.swallow(60)


async def test_a_line_that_dies_in_the_test_is_a_timeout_soon_and_what_it_cost_is_known() -> None:
    async with serving(answering(drips_then_stalls)) as dying:
        began = time.monotonic()
        record = await speed(request(dying.url, max_duration_s=2.0), CONTEXT)
        took_s = time.monotonic() - began
    assert failures(record) == [failure(Operation.RECEIVE, FailureCode.TIMEOUT)] * 2
    assert took_s < 6
    assert record.download is not None
    assert record.download.bytes > 8 * 50_000


async def test_a_server_that_drips_is_given_up_a_stated_time_after_the_end() -> None:
    async def drips(visitor: Visitor) -> None:
        visitor.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n")
        while not visitor.reader.at_eof():
            visitor.writer.write(b"x")
            await visitor.swallow(0.2)

    async with serving(answering(drips)) as dripping:
        began = time.monotonic()
        record = await ookla(request(dripping.url, upload=False), CONTEXT, Program(tail_s=1.0))
    assert failures(record) == [failure(Operation.RECEIVE, FailureCode.TIMEOUT)]
    assert time.monotonic() - began < 4


async def test_a_server_that_never_answers_is_given_up_within_its_limit() -> None:
    async def says_nothing(visitor: Visitor) -> None:
        await visitor.request()
        await visitor.swallow(60)

    async with serving(says_nothing) as silent:
        began = time.monotonic()
        record = await speed(request(silent.url), CONTEXT)
    assert failures(record) == [failure(Operation.HTTP_REQUEST, FailureCode.TIMEOUT)] * 2
    assert time.monotonic() - began < 13


async def test_a_download_that_is_cut_short_every_time_has_no_speed() -> None:
    async def cuts(visitor: Visitor) -> None:
        visitor.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 30000000\r\n\r\n" + bytes(50_000))

    async with serving(answering(cuts)) as cutting:
        record = await speed(request(cutting.url, upload=False), CONTEXT)
    assert failures(record) == [failure(Operation.RECEIVE, FailureCode.CONNECTION_CLOSED)]


async def test_an_upload_that_is_answered_by_a_login_page_has_no_speed_but_the_download_keeps_its_own() -> None:
    async def picture(visitor: Visitor) -> None:
        visitor.writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 200000\r\nConnection: close\r\n\r\n" + bytes(200_000))

    async def login_page(visitor: Visitor) -> None:
        with_body = visitor.requests[-1].lower().split(b"content-length: ")[1].split(b"\r\n")[0]
        await visitor.reader.readexactly(int(with_body))
        visitor.writer.write(answer("<html>Please log in"))

    async with serving(answering(picture, login_page)) as portal:
        record = await speed(request(portal.url, max_duration_s=3.0), CONTEXT)
    assert failures(record) == [None, failure(Operation.SEND, FailureCode.PROTOCOL_ERROR)]


async def test_cancelling_ends_the_process_and_frees_the_servers_place(server: MeasurementServer) -> None:
    task = asyncio.create_task(speed(request(server.url, max_duration_s=15.0), CONTEXT))
    await begun(server)
    await asyncio.sleep(0.3)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 5  # of the 30 that were left
    assert list(children()) == []
    await freed(server)


# --- a program that fails


@pytest.mark.parametrize(
    ("command", "code"),
    [
        (("/nowhere/python",), FailureCode.ENGINE_MISSING),
        (("env", f"PYTHONPATH={AGENT}", sys.executable, "-S", *COMMAND[3:]), FailureCode.ENGINE_MISSING),
        (("false",), FailureCode.ENGINE_FAILED),
        (("echo", "Speedtest: 12 Mbit/s"), FailureCode.ENGINE_FAILED),
        (("echo", "{}"), FailureCode.ENGINE_FAILED),
        (("yes",), FailureCode.ENGINE_FAILED),
        (("head", "-c", "10000000", "/dev/zero"), FailureCode.ENGINE_FAILED),
    ],
    ids=["no python", "not installed", "crash", "garbage", "no report", "garbage for ever", "a line without end"],
)
async def test_a_program_that_breaks_down_is_a_code(
    server: MeasurementServer, command: tuple[str, ...], code: FailureCode
) -> None:
    began = time.monotonic()
    record = await ookla(request(server.url, server.url), CONTEXT, Program(command))
    assert failures(record) == [failure(Operation.RUN, code)] * 2
    assert time.monotonic() - began < 5


NARROW = """
import re, resource
from linkbell_agent.ookla import child, overrides, tester
size = int(re.search(r"VmSize:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
resource.setrlimit(resource.RLIMIT_AS, (size + 3_000_000,) * 2)
child.main()  # linkbell_agent.ookla
"""


async def test_a_box_without_memory_is_a_code(server: MeasurementServer) -> None:
    record = await ookla(request(server.url), CONTEXT, Program((sys.executable, "-W", "ignore", "-c", NARROW)))
    found = failures(record)
    assert [one and one.code for one in found] == [FailureCode.OUT_OF_MEMORY] * 2


async def test_a_program_that_hangs_is_killed_with_all_it_started(tmp_path: Path) -> None:
    note = tmp_path / "grandchild"
    command = ("sh", "-c", f"sleep 60 & echo $! > {note}; wait")
    program = Program(command, start_s=3.0, setup_s=0.2, tail_s=0.1)  # time enough for the shell to write its note
    began = time.monotonic()
    record = await ookla(request("http://127.0.0.1:9", upload=False), CONTEXT, program)
    assert time.monotonic() - began < 20  # of 60
    assert failures(record) == [failure(Operation.RUN, FailureCode.TIMEOUT)]
    await gone(int(note.read_text()))


async def test_the_process_ends_with_an_agent_that_is_killed(server: MeasurementServer) -> None:
    command = [sys.executable, "-m", "linkbell_agent", "speed", "--engine", "ookla", "--server", server.url, "--json"]
    agent = await asyncio.create_subprocess_exec(*command, stdout=subprocess.PIPE)
    await begun(server)
    child = child_of(agent.pid)
    agent.send_signal(signal.SIGKILL)
    await agent.wait()
    await gone(child)


async def test_the_command_line_measures_with_it(server: MeasurementServer) -> None:
    command = [sys.executable, "-m", "linkbell_agent", "speed", "--engine", "ookla", "--server", server.url]
    done = await asyncio.to_thread(
        subprocess.run, [*command, "--max-bytes", "300000", "--json"], capture_output=True, text=True, timeout=30
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["engine"] == "ookla"
