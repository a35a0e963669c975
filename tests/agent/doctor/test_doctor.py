"""Each check under a real condition that it is there for: it says what is wrong and what to do, and never hangs."""

import asyncio
import json
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from linkbell_agent.doctor.findings import Case, Finding, Result
from linkbell_agent.doctor.run import CHECKS, examine, exit_is_good, report
from linkbell_agent.identity import Identity, write_identity
from linkbell_agent.language.speech import LANGUAGES, Speech
from tests.collector.process import ServeProcess, run_json
from tests.linkbed import namespaces
from tests.linkbed.namespaces import Namespace

AGENT = (sys.executable, "-m", "linkbell_agent")
NEEDS_ROOT = pytest.mark.skipif(namespaces.why_not() is not None, reason=str(namespaces.why_not()))
NO_PAGE = ("--set", "page.enabled=false")


class Report:
    """What one run of the command said."""

    def __init__(self, done: "subprocess.CompletedProcess[str]") -> None:
        self.status = done.returncode
        self.errors = done.stderr
        self.checks = {one["name"]: one for one in json.loads(done.stdout)["checks"]}

    def of(self, name: str) -> str:
        return str(self.checks[name]["result"])


def doctor(state: Path, *arguments: str, within: Namespace | None = None, drop: tuple[str, ...] = ()) -> Report:
    command = [*drop, *AGENT, "doctor", "--json", "--state", str(state), *NO_PAGE, *arguments]
    began_s = time.monotonic()
    done = subprocess.run(
        command if within is None else within.inside(*command),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=namespaces.REPOSITORY,
        env={**os.environ, "LC_ALL": "C.UTF-8"},
    )
    assert time.monotonic() - began_s < 30
    assert "Traceback" not in done.stderr
    return Report(done)


@pytest.fixture
def state(tmp_path: Path) -> Path:
    folder = tmp_path / "state"
    folder.mkdir(mode=0o700)
    return folder


@pytest.fixture
def collector(tmp_path: Path) -> Iterator[tuple[ServeProcess, str]]:
    """A real collector, and a join token for it."""
    serve = ServeProcess(tmp_path / "collector")
    token = run_json("tokens", "create", "--data", tmp_path / "collector", "--school", "0421")["token"]
    yield serve, token
    serve.stop()


def enrol(url: str, token: str, state: Path) -> None:
    subprocess.run([*AGENT, "enrol", url, "--token", token, "--state", str(state)], check=True, capture_output=True)


def test_with_a_collector_that_knows_this_box_everything_of_it_is_good(
    collector: tuple[ServeProcess, str], state: Path
) -> None:
    serve, token = collector
    enrol(serve.url, token, state)
    found = doctor(state)
    for name in (
        "settings",
        "enrolled",
        "collector",
        "credential",
        "clock_offset",
        "folder",
        "disk",
        "memory",
        "spool",
    ):
        assert found.of(name) == "good", found.checks[name]
    assert found.of("tls") == "skipped"
    assert found.of("running") == "warning"
    assert found.of("measurement") == "failure"  # nothing listens beside this collector


def test_a_credential_the_collector_does_not_know_is_told_from_a_collector_that_is_away(
    collector: tuple[ServeProcess, str], state: Path
) -> None:
    serve, token = collector
    enrol(serve.url, token, state)
    content = json.loads((state / "identity.json").read_text())
    (state / "identity.json").write_text(json.dumps(content | {"credential": content["credential"][:-4] + "AAAA"}))
    found = doctor(state)
    assert (found.of("collector"), found.of("credential"), found.status) == ("good", "failure", 1)
    assert "--again" in found.checks["credential"]["advice"]
    serve.stop()
    away = doctor(state)
    assert (away.of("collector"), away.status) == ("failure", 1)
    assert "credential" not in away.checks


def test_a_box_that_never_enrolled_fails_and_says_how_to(state: Path) -> None:
    found = doctor(state)
    assert (found.of("enrolled"), found.of("collector"), found.status) == ("failure", "skipped", 1)
    assert "enrol URL --token -" in found.checks["enrolled"]["advice"]


def test_an_identity_that_is_damaged_is_a_failure_and_the_others_are_looked_at(state: Path) -> None:
    (state / "identity.json").write_text("{")
    found = doctor(state)
    assert found.of("enrolled") == "failure"
    assert "damaged" in found.checks["enrolled"]["said"]
    assert set(found.checks) >= {"icmp", "memory", "disk"}


def test_a_state_folder_that_is_not_there_or_open_to_others_is_said(state: Path, tmp_path: Path) -> None:
    assert doctor(tmp_path / "nowhere").of("folder") == "failure"
    state.chmod(0o755)
    found = doctor(state)
    assert found.of("folder") == "warning"
    assert found.checks["folder"]["advice"] == f"Run: chmod 700 {state}"


@NEEDS_ROOT
def test_a_state_folder_on_a_read_only_disk_is_a_failure(state: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m,mode=700", "tmpfs", str(state)], check=True)
    try:
        assert doctor(state).of("disk") == "failure"
        subprocess.run(["mount", "-o", "remount,ro", str(state)], check=True)
        found = doctor(state)
        assert (found.of("folder"), found.status) == ("failure", 1)
        assert "Read-only" in found.checks["folder"]["said"]
    finally:
        subprocess.run(["umount", str(state)], check=True)


def test_what_waits_was_lost_and_was_set_aside_is_counted(state: Path) -> None:
    from linkbell_agent.spool_file import SpoolFile, StoredRecord

    spool = SpoolFile(state / "spool.db")
    spool.insert([StoredRecord("s", seq, 0, "{}") for seq in range(2500)], keep_at_most=2400)
    spool.close()
    (state / "spool.db.damaged-1").touch()
    found = doctor(state)
    assert (found.of("spool"), found.of("spool_dropped"), found.of("spool_damaged")) == ("warning",) * 3
    assert "2400 results wait" in found.checks["spool"]["said"]
    assert "100 results were given up" in found.checks["spool_dropped"]["said"]
    assert "spool.db.damaged-1" in found.checks["spool_damaged"]["said"]
    (state / "spool.db").write_bytes(b"not a database" * 100)
    assert doctor(state).of("spool") == "warning"


def test_a_wrong_setting_is_a_finding_and_the_rest_is_looked_at_with_the_defaults(state: Path) -> None:
    found = doctor(state, "--set", "ping.cuont=5")
    assert (found.of("settings"), found.status) == ("failure", 1)
    assert "Did you mean ping.count?" in found.checks["settings"]["said"]
    assert found.of("folder") == "good"


def test_an_engine_that_is_not_installed_and_an_uplink_that_is_not_there_are_failures(state: Path) -> None:
    found = doctor(state, "--set", "uplink.device=nothere0")
    assert found.of("uplink") == "failure"
    found = doctor(state, "--set", "uplink.source=192.0.2.250")
    assert found.of("uplink") == "failure"
    assert doctor(state).of("uplink") == "skipped"


@NEEDS_ROOT
def test_a_box_without_a_network_fails_from_near_to_far_and_says_where_to_begin(state: Path) -> None:
    write_identity(
        state,
        Identity(collector="https://collector.example", agent="a", school="s", credential=SecretStr("c" * 20)),
    )
    with namespaces.namespace(Namespace) as box:
        found = doctor(state, within=box)
    for name in ("gateway", "dns", "collector", "measurement"):
        assert found.of(name) == "failure", found.checks[name]
        assert found.checks[name]["advice"]
    assert "no default route" in found.checks["gateway"]["said"]
    assert "collector.example" in found.checks["dns"]["said"]
    assert found.of("memory") == "good"


@NEEDS_ROOT
def test_a_router_that_answers_nothing_and_one_that_only_ignores_pings_are_told_apart(state: Path) -> None:
    with namespaces.namespace(Namespace) as box, namespaces.namespace(Namespace) as router:
        box.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "lan0", "netns", router.name)
        for side, device, host in ((router, "lan0", 1), (box, "eth0", 2)):
            side.run("ip", "address", "add", f"10.79.0.{host}/24", "dev", device)
            side.run("ip", "link", "set", device, "up")
        box.run("ip", "route", "add", "default", "via", "10.79.0.1")
        assert doctor(state, within=box).of("gateway") == "good"
        router.run("sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1")
        silent = doctor(state, within=box)
        assert silent.of("gateway") == "good"
        assert "does not answer pings" in silent.checks["gateway"]["said"]
        router.run("ip", "link", "set", "lan0", "arp", "off")
        box.run("ip", "neighbour", "flush", "all")
        assert doctor(state, within=box).of("gateway") == "failure"


@NEEDS_ROOT
def test_a_user_who_may_not_ping_is_told_the_setting_to_change(state: Path) -> None:
    drop = ("setpriv", "--inh-caps=-all", "--bounding-set=-all")
    with namespaces.namespace(Namespace) as box:
        box.run("sysctl", "-qw", "net.ipv4.ping_group_range=1 0")
        found = doctor(state, within=box, drop=drop)
        assert found.of("icmp") == "warning"
        assert "net.ipv4.ping_group_range='0 2147483647'" in found.checks["icmp"]["advice"]
        box.run("sysctl", "-qw", "net.ipv4.ping_group_range=0 2147483647")
        assert doctor(state, within=box, drop=drop).of("icmp") == "good"


class Server:
    """A server on this machine that says one thing to everybody, or nothing."""

    def __init__(self, answer: bytes | None, certificate: trustme.LeafCert | None = None) -> None:
        import ssl

        self._answer = answer
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._socket.getsockname()[1])
        self._tls = None
        if certificate is not None:
            self._tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            certificate.configure_cert(self._tls)
        self._kept: list[socket.socket] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            if self._answer is None:
                self._kept.append(connection)
                continue
            try:
                if self._tls is not None:
                    connection = self._tls.wrap_socket(connection, server_side=True)
                connection.settimeout(5)
                if connection.recv(65_536):
                    connection.sendall(self._answer)
            except OSError:
                pass
            connection.close()

    def close(self) -> None:
        self._socket.close()
        for one in self._kept:
            one.close()


@pytest.fixture
def servers() -> Iterator[list[Server]]:
    made: list[Server] = []
    yield made
    for server in made:
        server.close()


def enrolled_with(state: Path, url: str) -> None:
    write_identity(state, Identity(collector=url, agent="a", school="s", credential=SecretStr("c" * 20)))


def test_a_collector_that_accepts_and_says_nothing_does_not_hold_the_doctor_up(
    state: Path, servers: list[Server]
) -> None:
    servers.append(Server(None))
    enrolled_with(state, f"http://127.0.0.1:{servers[0].port}")
    found = doctor(state)
    assert found.of("collector") == "failure"
    assert "no answer in time" in found.checks["collector"]["said"]


def test_a_certificate_nobody_trusts_is_a_matter_of_encryption_and_names_the_clock(
    state: Path, servers: list[Server]
) -> None:
    servers.append(Server(b"HTTP/1.1 200 OK\r\n\r\n", trustme.CA().issue_cert("127.0.0.1")))
    enrolled_with(state, f"https://127.0.0.1:{servers[0].port}")
    found = doctor(state)
    assert (found.of("tls"), found.status) == ("failure", 1)
    assert "(UTC)" in found.checks["tls"]["advice"]


def test_a_clock_that_is_an_hour_off_is_seen_by_the_collector_s_answer(state: Path, servers: list[Server]) -> None:
    servers.append(
        Server(b"HTTP/1.1 304 Not Modified\r\nDate: Mon, 02 Mar 2020 04:00:00 GMT\r\nContent-Length: 0\r\n\r\n")
    )
    enrolled_with(state, f"http://127.0.0.1:{servers[0].port}")
    found = doctor(state)
    assert (found.of("credential"), found.of("clock_offset")) == ("good", "warning")
    assert found.checks["clock_offset"]["said"].startswith("Ahead by ")


def test_a_login_page_in_the_place_of_the_collector_is_no_acceptance(state: Path, servers: list[Server]) -> None:
    servers.append(Server(b"HTTP/1.1 302 Found\r\nLocation: http://login/\r\nContent-Length: 0\r\n\r\n"))
    enrolled_with(state, f"http://127.0.0.1:{servers[0].port}")
    assert doctor(state).of("credential") == "failure"


# --- the command itself


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_report_is_in_the_language_asked_for_with_a_mark_a_word_and_what_to_do(language: str, state: Path) -> None:
    done = subprocess.run(
        [*AGENT, "doctor", "--state", str(state), *NO_PAGE, "--set", f"language={language}"],
        capture_output=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONIOENCODING": "utf-8"},
    )
    text, say = done.stdout.decode(), Speech(language).say
    assert done.returncode == 1
    assert say("This box has not enrolled: nobody sees its results.") in text
    assert f"✗ {say('failure')}" in text
    assert f"✓ {say('good')}" in text
    assert "→ " in text


async def test_a_check_that_hangs_or_breaks_hides_nothing_of_the_others() -> None:
    async def hangs(case: Case) -> list[Finding]:
        await asyncio.sleep(60)
        return []

    async def breaks(case: Case) -> list[Finding]:
        raise RuntimeError("secret address")

    async def works(case: Case) -> list[Finding]:
        return [case.good("works", "works", "yes")]

    case = _case()
    findings = await examine(case, {"hangs": hangs, "breaks": breaks, "works": works}, limit_s=0.2)
    assert [(one.name, one.result) for one in findings] == [
        ("hangs", Result.FAILURE),
        ("breaks", Result.FAILURE),
        ("works", Result.GOOD),
    ]
    assert "secret" not in "".join(report(findings, case))


def test_warnings_are_no_failure() -> None:
    case = _case()
    warning, failure = case.warning("w", "w", "w", "a"), case.failure("f", "f", "f", "a")
    assert exit_is_good([warning])
    assert not exit_is_good([warning, failure])
    assert report([warning], case)[-1].startswith("Found: 1 warning.")
    assert report([warning, failure, failure], case)[-1].startswith("Found: 2 failures, 1 warning.")
    assert report([], case)[-1] == "Everything is well."


def _case() -> Case:
    from linkbell_agent import app
    from linkbell_agent.settings import load

    return app.build_case(load(Path(os.devnull), ["state=/nonexistent"], {}).settings, Speech("en"))


def test_little_memory_is_seen(tmp_path: Path) -> None:
    from dataclasses import replace

    for kilobytes, result in ((4_000, Result.FAILURE), (15_000, Result.WARNING), (90_000, Result.GOOD)):
        (tmp_path / "meminfo").write_text(f"MemTotal: 128000 kB\nMemAvailable: {kilobytes} kB\n")
        (finding,) = asyncio.run(_memory(replace(_case(), proc=tmp_path)))
        assert finding.result is result


async def _memory(case: Case) -> list[Finding]:
    return list(await CHECKS["memory"](case))


def test_a_spool_that_is_open_elsewhere_is_read_beside_it(state: Path) -> None:
    from linkbell_agent.spool_file import SpoolFile, StoredRecord

    spool = SpoolFile(state / "spool.db")
    spool.insert([StoredRecord("s", 1, 0, "{}")], keep_at_most=10)
    assert doctor(state).checks["spool"]["said"] == "1 result waits to be sent."
    spool.close()
    assert sqlite3.connect(f"file:{state / 'spool.db'}?mode=ro", uri=True).execute("SELECT 1").fetchone() == (1,)
