"""The speed probe: which server is asked, what is recorded, and that it ends."""

import asyncio
import logging
import socket
import subprocess
import time
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from linkbell_agent.clock import SystemClock
from linkbell_agent.net import Uplink
from linkbell_agent.probes.base import ProbeContext, SpeedRequest
from linkbell_agent.probes.speed import speed
from linkbell_collector.measure.app import MeasurementServer, build
from linkbell_collector.measure.settings import MeasureSettings, Timings
from linkbell_wire.configuration import SpeedServer
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import SpeedRecord
from linkbell_wire.words import ServerScope, Stop, Trigger
from tests.agent.ndt7 import servers
from tests.agent.ndt7.servers import serving

CONTEXT = ProbeContext(Uplink(), SystemClock())
TIMINGS = Timings(test_s=2.0, hard_stop_s=3.0, interval_s=0.05)


def request(*urls: str, download: bool = True, upload: bool = True, max_bytes: int | None = None) -> SpeedRequest:
    """A short test, run as M-Lab does: it has a number whatever it is cut by."""
    return SpeedRequest(
        tuple(SpeedServer(url=url, scope=ServerScope.DOMESTIC) for url in urls),
        Trigger.MANUAL,
        download=download,
        upload=upload,
        max_duration_s=0.5,
        max_bytes=max_bytes,
        full=True,
        idle_s=0.1,
    )


@pytest.fixture
async def server() -> AsyncIterator[MeasurementServer]:
    started = build(MeasureSettings(host="127.0.0.1", port=0, max_tests=1, timings=TIMINGS))
    await started.start()
    yield started
    await started.stop(drain_s=0.0)


@pytest.fixture
def dead_url() -> str:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        return f"ws://127.0.0.1:{unused.getsockname()[1]}"


async def test_a_test_against_our_own_server_has_both_directions(server: MeasurementServer) -> None:
    record = await speed(request(server.url), CONTEXT)
    assert record.failure is None
    assert record.server == f"ws://127.0.0.1:{server.port}"
    assert record.server_scope is ServerScope.DOMESTIC
    assert record.rtt_idle_s is not None
    assert 0 < record.rtt_idle_s < 1
    for result in (record.download, record.upload):
        assert result is not None
        assert result.failure is None
        assert result.stop is Stop.TIME
        assert result.streams == 1
        assert result.bps is not None
        assert result.bps > 1e8
        assert result.bps == pytest.approx(result.bytes * 8 / result.duration_s, rel=0.5)
        assert result.bytes > 1 << 20
        assert 0.5 <= result.duration_s < 0.7
        assert result.rtt_loaded_s is not None
        assert result.retransmit_ratio is not None
    assert SpeedRecord.model_validate_json(record.model_dump_json()) == record


async def test_a_test_ends_when_it_knows_and_says_when_and_how_sure(server: MeasurementServer) -> None:
    began_s = CONTEXT.clock.now().boottime_s
    record = await speed(SpeedRequest((SpeedServer(url=server.url),), Trigger.MANUAL), CONTEXT)
    for result in (record.download, record.upload):
        assert result is not None
        assert result.stop in (Stop.STABLE, Stop.VARYING)
        assert result.streams == 4
        assert result.bps is not None
        assert result.bps_low is not None
        assert result.bps_high is not None
        assert result.bps_low <= result.bps <= result.bps_high
        assert result.window_s is not None
        assert result.window_end_boottime_s is not None
        assert 0.5 < result.window_s <= result.duration_s < 2
        assert began_s + result.window_s <= result.window_end_boottime_s + 0.01 <= CONTEXT.clock.now().boottime_s + 0.02


async def test_all_streams_of_a_test_take_one_place(server: MeasurementServer) -> None:
    """The server of this test admits one test at once; the one above has four streams, and a second one must wait."""
    request_ = SpeedRequest((SpeedServer(url=server.url),), Trigger.MANUAL, upload=False)
    one, other = await asyncio.gather(speed(request_, CONTEXT), speed(request_, CONTEXT))
    failures = [record.download.failure for record in (one, other) if record.download is not None]
    assert sorted(failure.code for failure in failures if failure is not None) == [FailureCode.SERVER_BUSY]


@pytest.mark.parametrize(("download", "upload"), [(True, False), (False, True)])
async def test_a_direction_that_was_not_asked_for_is_none(
    server: MeasurementServer, download: bool, upload: bool
) -> None:
    record = await speed(request(server.url, download=download, upload=upload, max_bytes=100_000), CONTEXT)
    assert (record.download is not None, record.upload is not None) == (download, upload)


async def test_credentials_and_queries_are_not_recorded(server: MeasurementServer) -> None:
    url = f"ws://someone:secret@127.0.0.1:{server.port}/path?access_token=hidden"
    record = await speed(request(url, upload=False, max_bytes=100_000), CONTEXT)
    assert record.server == f"ws://127.0.0.1:{server.port}"
    assert record.download is not None
    assert record.download.failure is None


async def test_servers_that_do_not_take_the_test_pass_it_to_the_next(server: MeasurementServer, dead_url: str) -> None:
    busy = servers.answers("HTTP/1.1 503 Busy\r\nRetry-After: 600\r\n\r\n")
    async with serving(busy) as one, serving(servers.answers("HTTP/1.1 404 No\r\n\r\n")) as two:
        record = await speed(request(dead_url, one.url, two.url, server.url, max_bytes=100_000), CONTEXT)
        assert len(one.requests) == len(two.requests) == 1
    assert record.server == f"ws://127.0.0.1:{server.port}"
    assert record.download is not None
    assert record.download.failure is None


async def test_if_all_fail_each_direction_has_the_last_failure(dead_url: str) -> None:
    async with serving(servers.answers("HTTP/1.1 503 Busy\r\nRetry-After: 600\r\n\r\n")) as busy:
        record = await speed(request(dead_url, busy.url), CONTEXT)
    failure = Failure(operation=Operation.UPGRADE, code=FailureCode.SERVER_BUSY)
    assert record.server == busy.url
    assert record.download is not None
    assert record.upload is not None
    assert record.download.failure == record.upload.failure == failure


async def test_a_download_that_failed_on_the_way_does_not_take_the_upload_with_it() -> None:
    async def reset_downloads(visitor: servers.Visitor) -> None:
        await visitor.upgrade()
        if visitor.requests[-1].startswith(b"GET /ndt/v7/download"):
            await visitor.flood(0.1)
            visitor.reset()
        else:
            await visitor.swallow(10)

    async with serving(reset_downloads) as server:
        record = await speed(request(server.url), CONTEXT)
    assert record.download is not None
    assert record.download.failure == Failure(operation=Operation.RECEIVE, code=FailureCode.CONNECTION_RESET)
    assert record.download.bytes > 0
    assert record.upload is not None
    assert record.upload.failure is None
    assert record.upload.bps is not None


async def test_a_place_lost_between_the_directions_is_waited_for_once() -> None:
    async def busy_for_the_first_upload(visitor: servers.Visitor) -> None:
        if len(visitor.requests) == 1:
            await visitor.request()
            visitor.writer.write(b"HTTP/1.1 503 Busy\r\nRetry-After: 0\r\n\r\n")
            await visitor.swallow(1)
            return
        await visitor.upgrade()
        await (visitor.swallow(10) if visitor.requests[1:] else visitor.flood(10))

    async with serving(busy_for_the_first_upload) as server:
        record = await speed(request(server.url), CONTEXT)
        assert len(server.requests) == 3
    assert record.upload is not None
    assert record.upload.failure is None


async def test_a_request_that_makes_no_sense_is_refused() -> None:
    for nonsense in (request(), request("ws://x", download=False, upload=False)):
        with pytest.raises(ValueError, match="server"):
            await speed(nonsense, CONTEXT)


async def test_cancelling_ends_the_test_and_frees_the_servers_place(server: MeasurementServer) -> None:
    test = SpeedRequest((SpeedServer(url=server.url),), Trigger.MANUAL, max_duration_s=10.0)
    task = asyncio.create_task(speed(test, CONTEXT))
    await asyncio.sleep(0.3)
    began = time.monotonic()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < 0.3
    record = await speed(request(server.url, upload=False, max_bytes=100_000), CONTEXT)
    assert record.download is not None
    assert record.download.failure is None


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """A certificate for localhost and its key in one file, signed by itself."""
    path = tmp_path / "server.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"),
            *("-keyout", path, "-out", tmp_path / "cert.pem"),
        ],
        check=True,
        capture_output=True,
    )
    with path.open("a") as both:
        both.write((tmp_path / "cert.pem").read_text())
    return path


async def test_a_test_over_tls_works_with_a_certificate_that_is_trusted_and_only_then(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    server = build(MeasureSettings(host="127.0.0.1", port=0, certificate=certificate, timings=TIMINGS))
    await server.start()
    url = server.url.replace("127.0.0.1", "localhost")
    assert urlsplit(url).scheme == "https"

    stranger = await speed(request(url), CONTEXT)
    assert stranger.download is not None
    assert stranger.download.failure == Failure(
        operation=Operation.TLS_HANDSHAKE, code=FailureCode.TLS_CERTIFICATE_INVALID
    )

    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    record = await speed(request(url), CONTEXT)
    assert record.server == f"wss://localhost:{server.port}"
    for result in (record.download, record.upload):
        assert result is not None
        assert result.failure is None
        assert result.bps is not None
        assert result.bps > 1e8
    await server.stop(drain_s=0.0)
    assert not [record for record in caplog.records if record.levelno >= logging.ERROR]
