"""Enrolment and configuration: kept whole, safe to repeat, and every refusal in words that help."""

import json
import stat
from pathlib import Path
from typing import Any

import pytest

from linkbell_agent.classify import NetworkFailure
from linkbell_agent.collector_api import HttpReply
from linkbell_agent.configuration import ConfigurationKeeper, Outcome, read_kept_configuration
from linkbell_agent.enrolment import Door, EnrolmentError, check_url, enrol
from linkbell_agent.files import StateError
from linkbell_agent.identity import IDENTITY_FILE, read_identity
from linkbell_wire.enrolment import EnrolRequest, EnrolStatus
from linkbell_wire.failures import FailureCode, Operation
from tests.agent.fakes import ToldCollector, reply

URL = "http://192.0.2.7:8470"
TOKEN = "lbj_0123456789abcdef0123"
REQUEST = EnrolRequest(token=TOKEN)
TAKEN = reply(201, {"agent": "a-1", "credential": "lbc_0123456789abcdef", "status": "active", "school": "kz-1"})


async def test_the_identity_is_kept_for_the_agent_alone(tmp_path: Path) -> None:
    done = await enrol(Door(URL, ToldCollector(TAKEN)), tmp_path, REQUEST, again=False)
    assert done.status is EnrolStatus.ACTIVE
    assert read_identity(tmp_path) == done.identity
    assert stat.S_IMODE((tmp_path / IDENTITY_FILE).stat().st_mode) == 0o600
    assert "lbc_" not in repr(done.identity)


async def test_repeating_says_so_and_asks_nobody(tmp_path: Path) -> None:
    await enrol(Door(URL, ToldCollector(TAKEN)), tmp_path, REQUEST, again=False)
    again = await enrol(Door(URL, ToldCollector()), tmp_path, REQUEST, again=False)
    assert again.already


async def test_another_collector_needs_a_word(tmp_path: Path) -> None:
    await enrol(Door(URL, ToldCollector(TAKEN)), tmp_path, REQUEST, again=False)
    with pytest.raises(EnrolmentError, match="add --again"):
        await enrol(Door("http://other.example", ToldCollector()), tmp_path, REQUEST, again=False)
    moved = await enrol(Door("http://other.example", ToldCollector(TAKEN)), tmp_path, REQUEST, again=True)
    assert moved.identity.collector == "http://other.example"


async def test_a_lost_reply_is_asked_for_again_as_the_same_installation(tmp_path: Path) -> None:
    lost = NetworkFailure(Operation.HTTP_REQUEST, FailureCode.TIMEOUT)
    collector = ToldCollector(lost, TAKEN)
    with pytest.raises(EnrolmentError, match="cannot be reached"):
        await enrol(Door(URL, collector), tmp_path, REQUEST, again=False)
    await enrol(Door(URL, collector), tmp_path, REQUEST, again=False)
    first, second = (body["installation"] for *_, body in collector.requests)
    assert first == second


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            reply(403, {"code": "token_expired", "message": "This token has expired.", "action": "Ask."}),
            "expired. Ask.",
        ),
        (reply(200, b"<html>portal"), "login page"),
        (reply(201, b"<html>portal"), "not from a collector"),
        (reply(502, b"bad gateway"), "HTTP 502"),
    ],
)
async def test_a_refusal_is_passed_on_in_words_and_nothing_is_kept(
    tmp_path: Path, answer: HttpReply, words: str
) -> None:
    with pytest.raises(EnrolmentError) as caught:
        await enrol(Door(URL, ToldCollector(answer)), tmp_path, REQUEST, again=False)
    assert words in str(caught.value)
    assert TOKEN not in str(caught.value)
    assert read_identity(tmp_path) is None


@pytest.mark.parametrize(
    "url", ["collector.example", "ftp://x", "http://", "http://h:port", "http://h:99999", "http://u:p@h", "http://h/?q"]
)
def test_what_is_no_address_of_a_collector_is_refused(url: str) -> None:
    with pytest.raises(EnrolmentError, match="not the address of a collector"):
        check_url(url)


def test_a_trailing_slash_does_not_matter() -> None:
    assert check_url("https://collector.example/") == "https://collector.example"


def test_a_damaged_identity_is_named_and_not_erased(tmp_path: Path) -> None:
    (tmp_path / IDENTITY_FILE).write_text("{broken")
    with pytest.raises(StateError, match="enrol again"):
        read_identity(tmp_path)
    assert (tmp_path / IDENTITY_FILE).read_text() == "{broken"


CONFIGURATION: dict[str, Any] = {"targets": [{"name": "isp", "layer": "isp", "host": "192.0.2.9"}]}


async def test_a_configuration_is_applied_kept_and_then_asked_for_by_its_etag(tmp_path: Path) -> None:
    collector = ToldCollector(reply(200, CONFIGURATION, etag='"1"'), reply(304))
    keeper = ConfigurationKeeper(collector, "lbc_x", tmp_path)
    assert keeper.current is None
    assert keeper.is_news('"1"')
    assert await keeper.refresh() is Outcome.APPLIED
    assert not keeper.is_news('"1"')
    restarted = ConfigurationKeeper(collector, "lbc_x", tmp_path)
    assert restarted.current == keeper.current
    assert await restarted.refresh() is Outcome.UNCHANGED
    assert collector.requests[1][2]["If-None-Match"] == '"1"'
    assert read_kept_configuration(tmp_path) == keeper.current


@pytest.mark.parametrize(
    "bad",
    [
        {"targets": [{"name": "isp", "layer": "isp", "host": "a"}, {"name": "isp", "layer": "isp", "host": "b"}]},
        {"version": 2},
        {"ping": {"interval_s": 0.001}},
        b"<html>",
    ],
)
async def test_a_bad_configuration_is_refused_whole_and_the_last_good_one_stays(
    tmp_path: Path, bad: object, caplog: pytest.LogCaptureFixture
) -> None:
    collector = ToldCollector(reply(200, CONFIGURATION, etag='"1"'), reply(200, bad, etag='"2"'))
    keeper = ConfigurationKeeper(collector, "lbc_x", tmp_path)
    await keeper.refresh()
    good = keeper.current
    assert await keeper.refresh() is Outcome.REFUSED
    assert keeper.current == good
    assert not keeper.is_news('"2"'), "a refused configuration is not asked for again until it changes"
    assert "refused" in caplog.text


@pytest.mark.parametrize("answer", [reply(500), reply(302), NetworkFailure(Operation.CONNECT, FailureCode.TIMEOUT)])
async def test_an_unreachable_collector_changes_nothing(tmp_path: Path, answer: Any) -> None:
    keeper = ConfigurationKeeper(ToldCollector(answer), "lbc_x", tmp_path)
    assert await keeper.refresh() is Outcome.UNREACHABLE
    assert keeper.current is None


async def test_a_damaged_kept_configuration_is_fetched_anew(tmp_path: Path) -> None:
    (tmp_path / "configuration.json").write_text(json.dumps({"etag": "x"}))
    keeper = ConfigurationKeeper(ToldCollector(reply(200, CONFIGURATION)), "lbc_x", tmp_path)
    assert keeper.current is None
    assert await keeper.refresh() is Outcome.APPLIED
