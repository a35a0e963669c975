"""TLS from the agent outwards: trusted certificates work, others are a coded failure and never a number."""

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from linkbell_agent.app import enrol_with
from linkbell_agent.classify import NetworkFailure
from linkbell_agent.collector_api import HttpCollectorApi
from linkbell_agent.describe import unreachable
from linkbell_agent.enrolment import EnrolmentError
from linkbell_agent.sections import Settings
from linkbell_collector.measure.app import MeasurementServer
from linkbell_collector.measure.app import build as build_measure
from linkbell_collector.measure.settings import MeasureSettings
from linkbell_wire.enrolment import EnrolRequest
from linkbell_wire.failures import FailureCode


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    """Make a certificate for this machine; return the file of its authority. ``server.pem`` lies beside it."""
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    issuer.issue_cert("localhost", "127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
        str(tmp_path / "server.pem")
    )
    return tmp_path / "authority.pem"


@asynccontextmanager
async def measuring_over_tls(authority: Path) -> AsyncIterator[MeasurementServer]:
    server = build_measure(MeasureSettings(host="127.0.0.1", port=0, certificate=authority.with_name("server.pem")))
    await server.start()
    try:
        yield server
    finally:
        await server.stop(drain_s=0)


async def speed_over(port: int, **environment: str) -> tuple[int, dict[str, dict[str, object]]]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "linkbell_agent", "speed", "--server", f"wss://127.0.0.1:{port}", "--json", "--max-duration", "1"),
        stdout=asyncio.subprocess.PIPE,
        env={**os.environ, **environment},
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, json.loads(printed)


async def test_a_speed_test_over_tls_with_a_trusted_certificate(authority: Path) -> None:
    async with measuring_over_tls(authority) as server:
        status, record = await speed_over(server.port, SSL_CERT_FILE=str(authority))
    assert status == 0
    for direction in ("download", "upload"):
        bps = record[direction]["bps"]
        assert isinstance(bps, float)
        assert bps > 1e7


async def test_a_speed_test_with_a_certificate_nobody_vouches_for_is_a_failure(authority: Path) -> None:
    async with measuring_over_tls(authority) as server:
        status, record = await speed_over(server.port)
    assert status == 1
    failure = {"operation": "tls_handshake", "code": "tls_certificate_invalid"}
    assert [record[direction]["failure"] for direction in ("download", "upload")] == [failure, failure]


async def test_reports_go_over_tls_to_a_trusted_collector_only(
    authority: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with measuring_over_tls(authority) as server:  # any HTTPS server will do
        url = f"https://127.0.0.1:{server.port}"
        stranger = HttpCollectorApi(url)
        with pytest.raises(NetworkFailure) as caught:
            await stranger.request("GET", "/healthz", {"Authorization": "Bearer lbc_x"})
        assert caught.value.failure.code is FailureCode.TLS_CERTIFICATE_INVALID
        monkeypatch.setenv("SSL_CERT_FILE", str(authority))
        trusted = HttpCollectorApi(url)
        reply = await trusted.request("GET", "/healthz", {})
        trusted.close()
        assert reply.status == 200


@pytest.mark.parametrize(
    ("from_days", "to_days", "code", "words"),
    [
        (100, 200, FailureCode.TLS_CERTIFICATE_NOT_YET_VALID, "its clock is wrong"),
        (-200, -100, FailureCode.TLS_CERTIFICATE_EXPIRED, "If the date is wrong, set the clock"),
    ],
)
async def test_a_clock_that_disagrees_with_a_certificate_is_named_as_the_trouble(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, from_days: int, to_days: int, code: FailureCode, words: str
) -> None:
    issuer = trustme.CA()
    issuer.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    today = datetime.now(UTC)
    issuer.issue_cert(
        "127.0.0.1", not_before=today + timedelta(days=from_days), not_after=today + timedelta(days=to_days)
    ).private_key_and_cert_chain_pem.write_to_path(str(tmp_path / "server.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    async with measuring_over_tls(tmp_path / "authority.pem") as server:
        with pytest.raises(NetworkFailure) as caught:
            await HttpCollectorApi(f"https://127.0.0.1:{server.port}").request("GET", "/healthz", {})
        failure = caught.value.failure
        assert failure.code is code
        assert words in unreachable(failure, today.date())
        request = EnrolRequest(token="lbj_0123456789abcdef")
        with pytest.raises(EnrolmentError, match=r"run date.*The token is not used up"):
            await enrol_with(Settings(state=tmp_path), f"https://127.0.0.1:{server.port}", request, again=False)
