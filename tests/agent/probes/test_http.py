"""Fetches from real servers on loopback that answer, redirect, break off, stall, and prove who they are or do not."""

import asyncio
import socket
import ssl
import subprocess
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import trustme

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.clock import SystemClock
from linkbell_agent.net import Address, Uplink
from linkbell_agent.permit import Permit
from linkbell_agent.probes.base import ProbeContext
from linkbell_agent.probes.http import HttpNetwork, HttpRequest, Sessions, http
from linkbell_agent.probes.pages import Expectation
from linkbell_agent.trust import sessions_can_be_kept, system_tls
from linkbell_wire.failures import Failure, FailureCode, Operation
from linkbell_wire.records import HttpRecord
from linkbell_wire.words import Layer
from tests.agent.probes.web_server import Script, page, web_server

CONTEXT = ProbeContext(Uplink(), SystemClock())
AUTHORITY = trustme.CA()


async def to_loopback(_host: str) -> list[Address]:
    return [Address(socket.AF_INET, "127.0.0.1")]


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    AUTHORITY.configure_trust(context)
    return context


def serving(*names: str, begins_days: int = -1, ends_days: int = 30) -> ssl.SSLContext:
    now = datetime.now(UTC)
    certificate = AUTHORITY.issue_cert(
        *names, not_before=now + timedelta(days=begins_days), not_after=now + timedelta(days=ends_days)
    )
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate.configure_cert(context)
    return context


def trusting_network() -> HttpNetwork:
    context = trusting()
    return HttpNetwork(to_loopback, lambda: context)


async def fetched(
    answer: bytes | Script, *, tls: ssl.SSLContext | None = None, network: HttpNetwork | None = None, **more: object
) -> HttpRecord:
    async with web_server(answer, tls) as server:
        url = f"{'https' if tls else 'http'}://platform.example:{server.port}/x"
        values: dict[str, object] = {"timeout_s": 1.0} | more
        request = HttpRequest("platform", Layer.PLATFORM, url, **values)  # type: ignore[arg-type]
        return await http(request, CONTEXT, network or trusting_network())


def failed(operation: Operation, code: FailureCode) -> Failure:
    return Failure(operation=operation, code=code)


async def test_a_page_is_fetched_and_each_phase_timed() -> None:
    record = await fetched(page())
    assert (record.status, record.failure, record.address) == (200, None, "127.0.0.1")
    assert (record.bytes, record.tls_s) == (5, None)
    for phase in (record.resolve_s, record.connect_s, record.first_byte_s):
        assert phase is not None
        assert record.duration_s is not None
        assert phase <= record.duration_s


async def test_waiting_for_the_first_byte_is_told_from_waiting_for_the_rest() -> None:
    async def slowly(writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.write(b"HTTP/1.1 200 OK\r\n")
        await writer.drain()
        await asyncio.sleep(0.15)
        writer.write(b"\r\nhello")

    record = await fetched(slowly)
    assert record.first_byte_s is not None
    assert record.duration_s is not None
    assert 0.1 <= record.first_byte_s < 0.2
    assert record.duration_s >= 0.25
    assert record.bytes == 5


async def test_over_tls_the_handshake_has_its_own_phase() -> None:
    record = await fetched(page(), tls=serving("platform.example"))
    assert (record.failure, record.status, record.bytes) == (None, 200, 5)
    assert record.tls_s is not None


@pytest.mark.parametrize("is_kept", [True, False])
async def test_a_tls_session_is_taken_up_again_where_python_can_keep_it(is_kept: bool) -> None:
    sessions: Sessions = {}
    network = replace(trusting_network(), keeps_sessions=is_kept)
    async with web_server(page(), serving("platform.example")) as server:
        url = f"https://platform.example:{server.port}/"
        request = HttpRequest("platform", Layer.PLATFORM, url, sessions=sessions)
        for _ in range(3):
            assert (await http(request, CONTEXT, network)).failure is None
    assert server.resumed == [False, is_kept, is_kept]


def test_sessions_are_kept_by_the_pythons_that_do_not_lose_them() -> None:
    leaking, sound = [(3, 11, 2), (3, 11, 14), (3, 12, 7), (3, 13, 0)], [(3, 12, 8), (3, 13, 1), (3, 14, 0)]
    assert [sessions_can_be_kept(version) for version in (*leaking, *sound)] == [False] * 4 + [True] * 3


@pytest.mark.parametrize(
    ("make", "code"),
    [
        (lambda: serving("other.example"), FailureCode.TLS_CERTIFICATE_INVALID),
        (lambda: serving("platform.example", begins_days=-30, ends_days=-1), FailureCode.TLS_CERTIFICATE_EXPIRED),
        (lambda: serving("platform.example", begins_days=9), FailureCode.TLS_CERTIFICATE_NOT_YET_VALID),
    ],
    ids=["another name", "run out", "from the future: this box's clock is behind"],
)
async def test_a_certificate_that_does_not_fit(make: Callable[[], ssl.SSLContext], code: FailureCode) -> None:
    record = await fetched(page(), tls=make())
    assert (record.failure, record.status) == (failed(Operation.TLS_HANDSHAKE, code), None)


async def test_a_certificate_that_nobody_vouches_for() -> None:
    plain = ssl.create_default_context()
    record = await fetched(page(), tls=serving("platform.example"), network=HttpNetwork(to_loopback, lambda: plain))
    assert record.failure == failed(Operation.TLS_HANDSHAKE, FailureCode.TLS_CERTIFICATE_INVALID)


async def test_a_login_page_in_place_of_a_page_of_known_content() -> None:
    redirect = page(302, Location="http://login.example/")
    record = await fetched(redirect, expected=Expectation(204))
    assert record.failure == failed(Operation.HTTP_REQUEST, FailureCode.CAPTIVE_PORTAL)
    assert record.status == 302
    assert (await fetched(b"HTTP/1.1 204 No Content\r\n\r\n", expected=Expectation(204))).failure is None


async def test_redirects_are_not_followed() -> None:
    async with web_server(page()) as other, web_server(page(302, Location=f"http://a:{other.port}/")) as server:
        request = HttpRequest("p", Layer.PLATFORM, f"http://platform.example:{server.port}/")
        await http(request, CONTEXT, trusting_network())
    assert (len(server.requests), len(other.requests)) == (1, 0)


async def breaks_off(writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def stalls(_writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(1)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (b"", FailureCode.CONNECTION_CLOSED),
        (b"SSH-2.0-dropbear\r\n\r\n", FailureCode.PROTOCOL_ERROR),
        (b"HTTP/1.1 200 OK\r\nX: y", FailureCode.PROTOCOL_ERROR),
        (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 4000, FailureCode.MESSAGE_TOO_LARGE),
        (page(404), FailureCode.HTTP_STATUS),
        (page(451), FailureCode.BLOCKED_PAGE),
        (breaks_off, FailureCode.CONNECTION_CLOSED),
        (stalls, FailureCode.TIMEOUT),
    ],
)
async def test_what_goes_wrong_with_an_answer_has_its_code(answer: bytes | Script, code: FailureCode) -> None:
    record = await fetched(answer, timeout_s=0.4)
    assert record.failure == failed(Operation.HTTP_REQUEST, code)


async def test_a_reset_is_a_reset() -> None:
    async def reset(writer: asyncio.StreamWriter) -> None:
        sock = writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        writer.transport.abort()

    record = await fetched(reset)
    assert record.failure == failed(Operation.HTTP_REQUEST, FailureCode.CONNECTION_RESET)


async def test_no_more_is_read_than_asked_for_and_a_server_can_hardly_send_more() -> None:
    sent = 0

    async def endless(writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.transport.set_write_buffer_limits(0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            writer.write(b"x" * 4096)
            await writer.drain()
            sent += 4096

    record = await fetched(endless, max_body_bytes=20_000)
    assert (record.failure, record.status) == (None, 200)
    assert record.bytes is not None
    assert 20_000 <= record.bytes < 30_000
    assert sent < 80_000


async def test_a_body_that_breaks_off_does_not_change_what_the_head_said() -> None:
    record = await fetched(page(200, b"x" * 100)[:-50])
    assert (record.failure, record.status, record.bytes) == (None, 200, 50)


async def test_nobody_listens() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    record = await http(HttpRequest("p", Layer.PLATFORM, f"http://a.example:{port}/"), CONTEXT, trusting_network())
    assert record.failure == failed(Operation.CONNECT, FailureCode.CONNECTION_REFUSED)
    assert record.resolve_s is not None
    assert record.connect_s is None


async def test_a_second_address_is_tried_where_the_first_does_not_answer() -> None:
    async def two(_host: str) -> list[Address]:
        return [Address(socket.AF_INET, "127.0.0.77"), Address(socket.AF_INET, "127.0.0.1")]

    record = await fetched(page(), network=HttpNetwork(two, trusting))
    assert (record.failure, record.address) == (None, "127.0.0.1")


@pytest.mark.parametrize(
    "error",
    [
        NetworkFailure(Operation.RESOLVE, FailureCode.DNS_NOT_FOUND),
        NetworkFailure(Operation.RESOLVE, FailureCode.DNS_TIMEOUT),
    ],
)
async def test_a_name_that_does_not_resolve(error: NetworkFailure) -> None:
    async def resolve(_host: str) -> list[Address]:
        raise error

    record = await fetched(page(), network=HttpNetwork(resolve, trusting))
    assert record.failure == error.failure


async def test_a_name_server_that_says_nothing_is_dns_and_no_timeout_of_the_page() -> None:
    async def resolve(_host: str) -> list[Address]:
        await asyncio.sleep(5)
        return []

    record = await fetched(page(), network=HttpNetwork(resolve, trusting), timeout_s=0.1)
    assert record.failure == failed(Operation.RESOLVE, FailureCode.DNS_TIMEOUT)


@pytest.mark.parametrize(
    ("uplink", "failure"),
    [
        (Uplink(device="nosuch0"), failed(Operation.BIND, FailureCode.UPLINK_UNAVAILABLE)),
        (Uplink(source="192.0.2.99"), failed(Operation.BIND, FailureCode.ADDRESS_UNAVAILABLE)),
        (Uplink(permit=Permit()), failed(Operation.CONNECT, FailureCode.PROHIBITED)),
    ],
)
async def test_an_uplink_that_cannot_be_used_is_a_result(uplink: Uplink, failure: Failure) -> None:
    request = HttpRequest("p", Layer.PLATFORM, "http://a.example:9/")
    record = await http(request, ProbeContext(uplink, SystemClock()), trusting_network())
    assert record.failure == failure


async def test_a_url_that_leads_nowhere_is_a_result() -> None:
    for url in ("http://a..b/", "http://\u0660.example/"):
        record = await http(HttpRequest("p", Layer.PLATFORM, url, timeout_s=2), CONTEXT)
        assert record.failure is not None
        assert record.failure.operation is Operation.RESOLVE


def hash_of(certificate: Path) -> str:
    command = ["openssl", "x509", "-hash", "-noout", "-in", str(certificate)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


@pytest.mark.parametrize("kind", ["file", "folder"])
async def test_whom_the_system_trusts_is_trusted(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder is looked into by the hash of a certificate's subject, one by one; a file is read whole."""
    file = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(str(file))
    file.with_name(f"{hash_of(file)}.0").write_bytes(file.read_bytes())
    monkeypatch.setenv("SSL_CERT_FILE", str(file if kind == "file" else tmp_path / "none.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "none" if kind == "file" else tmp_path))
    context = system_tls()
    assert len(context.get_ca_certs()) == (1 if kind == "file" else 0)
    network = HttpNetwork(to_loopback, lambda: context)
    assert (await fetched(page(), tls=serving("platform.example"), network=network)).failure is None
