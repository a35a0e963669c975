"""The screen says in plain words what the document says, on every terminal; and finds where the state is."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from linkbell_agent.language import terms
from linkbell_agent.language.speech import LANGUAGES, Speech
from linkbell_agent.page.child import find_zone
from linkbell_agent.page.listen import loopback_of
from linkbell_agent.page.status_json import status_document
from linkbell_agent.page.view import make_view
from linkbell_agent.recent.history import History
from linkbell_agent.status.screen import ASCII, UNICODE, Screen, signs_for
from linkbell_agent.status.source import Origin
from linkbell_wire.words import VerdictState
from tests.agent.page.school_day import BOOT, school_day, school_facts

AGENT = (sys.executable, "-m", "linkbell_agent")
ZONE = find_zone("Asia/Aqtau")


def document(history: History | None = None, **facts: object) -> dict[str, Any]:
    view = make_view(school_facts(**facts), history or school_day(), ZONE)
    return json.loads(json.dumps(status_document(view)))  # type: ignore[no-any-return]


def screen(given: dict[str, Any], language: str = "en", origin: Origin = Origin.AGENT) -> str:
    return "\n".join(Screen(given, Speech(language), UNICODE, ZONE).lines(origin))


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("state", VerdictState)
def test_the_verdict_is_said_in_a_sentence_with_a_mark_and_what_to_do(language: str, state: VerdictState) -> None:
    text, say = screen(document(school_day(state)), language), Speech(language).say
    assert say(terms.VERDICTS[state.value]) in text
    assert say(terms.STEPS[state.value]) in text
    assert {"good": "[✓]", "moderate": "[!]", "bad": "[✗]"}[terms.TONES[state.value]] in text
    assert "{" not in text


def test_short_outages_power_cuts_and_losses_are_seen_in_the_charts() -> None:
    lines = screen(document()).splitlines()
    day = next(line for line in lines if line.startswith("The last 24 hours"))
    assert "█" in day
    assert "···" in day
    abroad = next(line for line in lines if line.startswith("Abroad"))
    assert abroad.count("✗") == 2
    assert "✓ answers 68 ms" in abroad
    school = next(line for line in lines if line.startswith("The school's router"))
    assert "✗" not in school


def test_an_outage_of_a_minute_is_not_lost_between_two_columns() -> None:
    given = document()
    at = "2026-11-24T03:00:00Z"
    given["timeline"] = [
        {"from": "2026-11-23T09:05:00Z", "to": at, "verdict": "ok"},
        {"from": at, "to": "2026-11-24T03:01:00Z", "verdict": "isp_down"},
        {"from": "2026-11-24T03:01:00Z", "to": "2026-11-24T09:05:00Z", "verdict": "ok"},
    ]
    day = next(line for line in screen(given).splitlines() if line.startswith("The last 24 hours"))
    assert day.count("█") == 1


@pytest.mark.parametrize(
    ("encoding", "signs"), [("utf-8", UNICODE), ("ascii", ASCII), ("koi8-r", ASCII), (None, ASCII), ("no-such", ASCII)]
)
def test_a_terminal_gets_signs_it_can_show(encoding: str | None, signs: object) -> None:
    assert signs_for(encoding) is signs


def test_on_a_plain_terminal_everything_is_plain() -> None:
    given = document(school_name="School 12")
    text = "\n".join(Screen(given, Speech("en"), ASCII, ZONE).lines(Origin.AGENT))
    text.encode("ascii")
    assert "+ not below the floor of 20 Mbit/s" in text
    assert "[+] GOOD" in text


@pytest.mark.parametrize("language", LANGUAGES)
def test_where_the_state_is_from_is_said(language: str) -> None:
    empty = document(History(BOOT), running=False)
    for origin, given in (
        (Origin.FILES, document(running=False)),
        (Origin.FILES_OF_RUNNING, document(running=False)),
        (Origin.NOTHING, empty),
    ):
        second = screen(given, language, origin).splitlines()[1]
        assert len(second) > 30
    assert screen(document(), language).splitlines()[1] == ""


def test_what_waits_and_a_wrong_clock_are_said() -> None:
    assert "7 results wait to be sent." in screen(document(waiting=7))
    assert "1 result waits to be sent." in screen(document(waiting=1))
    assert "wait" not in screen(document(waiting=0))
    assert "clock is not set" in screen(document(synced=False))


def test_a_page_on_all_addresses_is_asked_on_this_box() -> None:
    assert [loopback_of(host) for host in ("0.0.0.0", "::", "192.168.1.2")] == ["127.0.0.1", "::1", "192.168.1.2"]


# --- with a real agent


def status(state: Path, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [*AGENT, "status", "--state", str(state), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", "LC_ALL": "C.UTF-8", **environment},
    )


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Running:
    """A real agent that pings this machine."""

    def __init__(self, folder: Path) -> None:
        self.state = folder / "state"
        self.listen = f"page.listen=127.0.0.1:{free_port()}"
        configuration = folder / "agent.toml"
        configuration.write_text(
            "default_targets = false\n[[targets]]\nname = 'here'\nlayer = 'gateway'\nhost = '127.0.0.1'\n"
            "[ping]\ninterval_s = 10\ncount = 2\n[speed]\nenabled = false\n"
        )
        self.process = subprocess.Popen(
            [*AGENT, "run", "--json", "--config", str(configuration), "--state", str(self.state), "--set", self.listen],
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        for line in self.process.stdout:
            if '"kind":"ping"' in line:
                break

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        self.process.communicate(timeout=20)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    agent = Running(tmp_path)
    yield agent
    if agent.process.poll() is None:
        agent.stop()


def test_a_running_agent_is_asked_and_after_its_end_what_it_kept_is_shown(running: Running) -> None:
    deadline = time.monotonic() + 20
    while (done := status(running.state, "--set", running.listen, "--json")).returncode or '"agent"' not in done.stdout:
        assert time.monotonic() < deadline, done
    given = json.loads(done.stdout)
    assert given["origin"] == "agent"
    assert [one["target"] for one in given["targets"]] == ["here"]
    assert given["targets"][0]["answers"] is True
    spoken = status(running.state, "--set", running.listen, LANG="ru_RU.UTF-8", LC_ALL="")
    assert spoken.returncode == 0
    assert "Роутер школы" in spoken.stdout

    off = status(running.state, "--set", "page.enabled=false")
    assert "its page does not answer" in off.stdout

    running.stop()
    kept = status(running.state, "--set", running.listen)
    assert kept.returncode == 0
    assert "No agent is running here. This is what it kept" in kept.stdout
    assert "The school's router" in kept.stdout
    assert json.loads(status(running.state, "--json", "--set", running.listen).stdout)["origin"] == "files"


def test_the_doctor_finds_the_page_of_a_running_agent_and_says_where_it_is(running: Running) -> None:
    def page() -> dict[str, Any]:
        command = [*AGENT, "doctor", "--json", "--state", str(running.state), "--set", running.listen]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        checks = {one["name"]: one for one in json.loads(done.stdout)["checks"]}
        assert checks["running"]["result"] == ("good" if running.process.poll() is None else "warning")
        return dict(checks["page"])

    deadline = time.monotonic() + 20
    while (found := page())["result"] != "good":
        assert time.monotonic() < deadline, found
    assert f"http://127.0.0.1:{running.listen.rpartition(':')[2]}/" in found["said"]
    running.stop()
    assert page()["result"] == "skipped"


def test_where_nothing_ever_ran_there_is_nothing_and_the_status_says_so(tmp_path: Path) -> None:
    done = status(tmp_path, "--set", f"page.listen=127.0.0.1:{free_port()}")
    assert done.returncode == 1
    assert "Start it: linkbell-agent run" in done.stdout
    assert done.stderr == ""


def test_another_agent_s_page_is_not_taken_for_ours(running: Running, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    assert json.loads(status(other, "--json", "--set", running.listen).stdout)["origin"] == "nothing"


def test_a_terminal_without_the_letters_gets_english(tmp_path: Path) -> None:
    done = status(tmp_path, "--set", "language=kk", PYTHONIOENCODING="ascii")
    assert done.returncode == 1
    assert "No agent is running here" in done.stdout
    done.stdout.encode("ascii")
