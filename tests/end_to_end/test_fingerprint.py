"""A collector whose certificate nobody vouches for but the join token: enrolled with, reported to, and nobody else."""

import asyncio
import json
import ssl
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import trustme
from aiohttp import web

from linkbell_agent.app import enrol_with
from linkbell_agent.classify import NetworkFailure
from linkbell_agent.collector_api import HttpCollectorApi
from linkbell_agent.enrolment import EnrolmentError
from linkbell_agent.identity import read_identity
from linkbell_agent.sections import Settings
from linkbell_collector import settings
from linkbell_collector.app import build
from linkbell_wire import join_token
from linkbell_wire.enrolment import EnrolRequest


def certificate(folder: Path, name: str = "collector.example") -> Path:
    """Return a file of key and certificate of an authority that nobody knows, and of a name that is not ours."""
    file = folder / f"{name}.pem"
    trustme.CA().issue_cert(name).private_key_and_cert_chain_pem.write_to_path(str(file))
    return file


@asynccontextmanager
async def collector_over_tls(folder: Path, file: Path) -> AsyncIterator[str]:
    """Run a real collector behind a proxy that does TLS; give its URL."""
    application = build(settings.build(None, {}, {"data": str(folder / "collector"), "listen": "127.0.0.1:0"}).settings)
    await application.start()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(file)
    runner = web.AppRunner(_proxy(application.url))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
    await site.start()
    try:
        yield f"https://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
        await application.stop()


def _proxy(target: str) -> web.Application:
    async def forward(request: web.Request) -> web.Response:
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method,
                target + request.path_qs,
                data=await request.read(),
                headers={"Content-Type": "application/json", "Authorization": request.headers.get("Authorization", "")},
            ) as answer,
        ):
            return web.Response(
                status=answer.status, body=await answer.read(), content_type=answer.content_type or "application/json"
            )

    application = web.Application()
    application.router.add_route("*", "/{path:.*}", forward)
    return application


def make_token(folder: Path, file: Path) -> str:
    """Make a join token by the command, as an operator does."""
    command = [sys.executable, "-m", "linkbell_collector.cli", "tokens", "create", "--school", "s-1", "--json"]
    done = subprocess.run(
        [*command, "--data", str(folder / "collector"), "--certificate", str(file)],
        capture_output=True,
        text=True,
        check=True,
    )
    token: str = json.loads(done.stdout)["token"]
    return token


async def test_a_box_enrols_with_the_collector_its_token_names_and_reports_to_it(tmp_path: Path) -> None:
    file = certificate(tmp_path)
    async with collector_over_tls(tmp_path, file) as url:
        secret, fingerprint = join_token.split(make_token(tmp_path, file))
        done = await enrol_with(
            Settings(state=tmp_path / "agent"), url, EnrolRequest(token=secret), again=False, fingerprint=fingerprint
        )
        identity = read_identity(tmp_path / "agent")
        assert identity == done.identity
        assert identity is not None
        assert identity.certificate is not None
        api = HttpCollectorApi(url, certificate=identity.certificate)
        credential = identity.credential.get_secret_value()
        reply = await api.request("GET", "/api/v1/agent/config", {"Authorization": f"Bearer {credential}"})
        api.close()
        assert reply.status == 200
    async with collector_over_tls(tmp_path, certificate(tmp_path, "impostor.example")) as other:
        api = HttpCollectorApi(other, certificate=identity.certificate)
        with pytest.raises(NetworkFailure):
            await api.request("GET", "/api/v1/agent/config", {"Authorization": f"Bearer {credential}"})


def code_kb(pid: int) -> int:
    """Return how much of the code of program and libraries is resident in a process."""
    total, counts = 0, False
    for line in Path(f"/proc/{pid}/smaps").read_text(encoding="utf-8").splitlines():
        words = line.split()
        if "-" in words[0]:
            counts = words[1] == "r-xp" and len(words) > 5 and words[5].startswith("/")
        elif counts and words[0] == "Rss:":
            total += int(words[1])
    return total


async def test_the_running_agent_reports_to_it_and_doctor_finds_it_good(tmp_path: Path) -> None:
    file, state = certificate(tmp_path), tmp_path / "agent"
    agent = [sys.executable, "-m", "linkbell_agent"]
    flags = ["--state", str(state), "--set", "page.enabled=false", "--set", "default_targets=false"]
    async with collector_over_tls(tmp_path, file) as url:
        token = make_token(tmp_path, file)
        enrolling = await asyncio.create_subprocess_exec(
            *agent, "enrol", url, "--token", token, "--state", str(state), stdout=asyncio.subprocess.DEVNULL
        )
        assert await enrolling.wait() == 0
        doctor = await asyncio.create_subprocess_exec(
            *agent, "doctor", "--json", *flags, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await doctor.communicate()
        assert {one["name"]: one["result"] for one in json.loads(said)["checks"]}["collector"] == "good"
        running = await asyncio.create_subprocess_exec(*agent, "run", *flags, stderr=asyncio.subprocess.DEVNULL)
        try:
            assert await within(30, lambda: _has_reported(url))
            sizes_kb = [code_kb(running.pid)]

            async def has_fallen() -> bool:
                sizes_kb.append(code_kb(running.pid))
                return sizes_kb[-1] < max(sizes_kb) - 1000

            assert await within(30, has_fallen)  # what a start alone runs is let go of after ten seconds
        finally:
            running.terminate()
            assert await running.wait() == 0


async def within(seconds: float, happened: Callable[[], Awaitable[bool]]) -> bool:
    """Say whether it happens in so many seconds; asked five times a second."""
    for _ in range(round(seconds * 5)):
        if await happened():
            return True
        await asyncio.sleep(0.2)
    return False


async def _has_reported(url: str) -> bool:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics/schools", ssl=False) as answer:
        return 'linkbell_school_up{school="s-1"} 1' in await answer.text()


async def test_a_certificate_that_the_system_trusts_may_be_renewed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    issuer, file = trustme.CA(), tmp_path / "server.pem"
    issuer.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    issuer.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(str(file))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    async with collector_over_tls(tmp_path, file) as url:
        secret, fingerprint = join_token.split(make_token(tmp_path, file))
        done = await enrol_with(
            Settings(state=tmp_path / "agent"), url, EnrolRequest(token=secret), again=False, fingerprint=fingerprint
        )
    assert done.identity.certificate is None


async def test_the_token_is_not_shown_to_another_collector(tmp_path: Path) -> None:
    real, impostor = certificate(tmp_path), certificate(tmp_path, "impostor.example")
    async with collector_over_tls(tmp_path, impostor) as url:
        secret, fingerprint = join_token.split(make_token(tmp_path, real))
        with pytest.raises(EnrolmentError, match="another certificate than the token names, so the token was not sent"):
            await enrol_with(
                Settings(state=tmp_path / "agent"),
                url,
                EnrolRequest(token=secret),
                again=False,
                fingerprint=fingerprint,
            )
    with pytest.raises(EnrolmentError, match=r"with https://"):
        await enrol_with(
            Settings(state=tmp_path / "agent"),
            url.replace("https", "http"),
            EnrolRequest(token=secret),
            again=False,
            fingerprint=fingerprint,
        )


@pytest.mark.parametrize(("content", "words"), [(None, "cannot be read"), ("text", "holds no certificate")])
def test_a_file_that_is_no_certificate_is_refused_with_a_sentence(
    tmp_path: Path, content: str | None, words: str
) -> None:
    file = tmp_path / "collector.pem"
    if content is not None:
        file.write_text(content, encoding="ascii")
    command = [sys.executable, "-m", "linkbell_collector.cli", "tokens", "create", "--school", "s-1"]
    done = subprocess.run(
        [*command, "--data", str(tmp_path), "--certificate", str(file)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert words in done.stderr
