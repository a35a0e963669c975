"""Join tokens against credentials: the rules as a table, then over HTTP."""

import asyncio
from dataclasses import replace
from uuid import uuid4

import pytest

from linkbell_collector.domain import Agent, AgentState, School, Token
from linkbell_collector.enrolment import Before, Grant, decide
from linkbell_collector.errors import CollectorError
from linkbell_wire import ErrorCode
from linkbell_wire.enrolment import EnrolRequest
from tests.collector.support import DAY_US, NOON_US, FakeClock, Site

OF_SCHOOL = Token("t", "s-1", None, uses=1, used=0, expires_us=NOON_US + 1, created_us=0)
OF_REGION = replace(OF_SCHOOL, school=None, region="Almaty", uses=5)
KNOWN = School("s-1", region="Almaty")
AGAIN = Agent(1, "agent-1", "s-1", AgentState.ACTIVE)
SECRET = "lbj_" + "x" * 43

GRANTS = {
    "a token of a school needs no school": (None, OF_SCHOOL, KNOWN, None, Grant("s-1", AgentState.ACTIVE)),
    "a token of a school, and the same school": ("s-1", OF_SCHOOL, KNOWN, None, Grant("s-1", AgentState.ACTIVE)),
    "a token of a region, and a school of it": ("s-1", OF_REGION, KNOWN, None, Grant("s-1", AgentState.ACTIVE)),
    "a school that waits makes its agents wait": (
        "s-1",
        OF_REGION,
        replace(KNOWN, approved=False),
        None,
        Grant("s-1", AgentState.PENDING),
    ),
    "a token of a region, and an unknown school": (
        "s-9",
        OF_REGION,
        None,
        None,
        Grant("s-9", AgentState.PENDING, create_school=True),
    ),
    "a lost reply does not need another use": (
        None,
        replace(OF_SCHOOL, used=1),
        KNOWN,
        AGAIN,
        Grant("s-1", AgentState.ACTIVE, again=AGAIN),
    ),
}


@pytest.mark.parametrize(("asked", "token", "school", "again", "grant"), GRANTS.values(), ids=GRANTS.keys())
def test_a_good_token_is_granted(
    asked: str | None, token: Token, school: School | None, again: Agent | None, grant: Grant
) -> None:
    assert decide(EnrolRequest(token=SECRET, school=asked), token, school, Before(again), NOON_US) == grant


@pytest.mark.parametrize("state", list(AgentState))
def test_a_box_enrolled_anew_with_another_token_stays_the_same_agent(state: AgentState) -> None:
    known = replace(AGAIN, state=state)
    grant = decide(EnrolRequest(token=SECRET), OF_SCHOOL, KNOWN, Before(same_school=known), NOON_US)
    assert grant == Grant("s-1", AgentState.ACTIVE, renewed=known)


REFUSALS = {
    "an unknown token": (None, None, None, ErrorCode.TOKEN_UNKNOWN),
    "a revoked token": (None, replace(OF_SCHOOL, revoked=True), None, ErrorCode.TOKEN_REVOKED),
    "an expired token": (None, replace(OF_SCHOOL, expires_us=NOON_US), None, ErrorCode.TOKEN_EXPIRED),
    "a used-up token": (None, replace(OF_SCHOOL, used=1), None, ErrorCode.TOKEN_USED_UP),
    "another school than the token's": ("s-2", OF_SCHOOL, None, ErrorCode.SCHOOL_MISMATCH),
    "a region without a school": (None, OF_REGION, None, ErrorCode.SCHOOL_NEEDED),
    "a school of another region": ("s-1", replace(OF_REGION, region="Osh"), None, ErrorCode.SCHOOL_MISMATCH),
    "a revoked agent asking again": (
        None,
        OF_SCHOOL,
        replace(AGAIN, state=AgentState.REVOKED),
        ErrorCode.CREDENTIAL_REVOKED,
    ),
    "the same box moved to another school": (
        "s-1",
        OF_REGION,
        replace(AGAIN, school="s-2"),
        ErrorCode.SCHOOL_MISMATCH,
    ),
}


@pytest.mark.parametrize(("asked", "token", "again", "code"), REFUSALS.values(), ids=REFUSALS.keys())
def test_a_bad_token_is_refused_with_what_to_do(
    asked: str | None, token: Token | None, again: Agent | None, code: ErrorCode
) -> None:
    with pytest.raises(CollectorError) as refused:
        decide(EnrolRequest(token=SECRET, school=asked), token, KNOWN, Before(again), NOON_US)
    assert refused.value.code is code
    assert refused.value.action


async def test_an_agent_of_a_school_is_active_at_once(site: Site) -> None:
    reply = await site.enrol(await site.token("s-1"))
    assert reply.status == 201
    assert reply.json["status"] == "active"
    assert reply.json["school"] == "s-1"
    assert reply.json["credential"].startswith("lbc_")


async def test_a_lost_reply_gives_the_same_agent_a_fresh_credential_and_voids_the_old_one(site: Site) -> None:
    token, installation = await site.token("s-1"), str(uuid4())
    first = (await site.enrol(token, installation=installation)).json
    second = (await site.enrol(token, installation=installation)).json
    assert first["agent"] == second["agent"]

    async def status(credential: str) -> int:
        headers = {"Authorization": f"Bearer {credential}"}
        return (await site.get("/api/v1/agent/config", headers=headers)).status

    assert await status(first["credential"]) == 401
    assert await status(second["credential"]) == 200
    assert (await site.store.tokens())[0].used == 1


async def test_a_revoked_box_with_a_new_token_goes_on_as_the_same_agent_and_nothing_counts_as_lost(site: Site) -> None:
    installation = str(uuid4())
    first = (await site.enrol(await site.token("s-1"), installation=installation)).json
    await site.store.revoke_agent(first["agent"])
    second = (await site.enrol(await site.token("s-1"), installation=installation)).json
    assert (second["agent"], second["status"]) == (first["agent"], "active")
    assert second["credential"] != first["credential"]
    assert sorted(token.used for token in await site.store.tokens()) == [1, 1]


async def test_a_token_for_three_lets_exactly_three_in_however_many_ask_at_once(site: Site) -> None:
    token = await site.token("s-1", uses=3)
    replies = await asyncio.gather(*(site.enrol(token) for _ in range(12)))
    assert sorted(reply.status for reply in replies) == [201] * 3 + [403] * 9
    assert {reply.json["code"] for reply in replies if reply.status == 403} == {"token_used_up"}


async def test_an_unknown_school_of_a_region_waits_and_is_shown_once_approved(site: Site) -> None:
    token = await site.token(None, region="Almaty", uses=2)
    reply = await site.enrol(token, school="s-77")
    assert reply.json["status"] == "pending"
    agents = (await site.store.directory()).agents.values()
    assert [(agent.school, agent.state) for agent in agents] == [("s-77", AgentState.PENDING)]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", "invalid_json"),
        (b"[]", "invalid_request"),
        (b"{}", "invalid_request"),
        (b'{"token": 5}', "invalid_request"),
        (b'{"token": "short"}', "invalid_request"),
        (b'{"token": "lbj_aaaaaaaaaaaaaaaaaaaaaa", "school": "a b"}', "invalid_request"),
        (b'{"token": "lbj_aaaaaaaaaaaaaaaaaaaaaa"}', "token_unknown"),
    ],
)
async def test_nonsense_is_refused_with_words(site: Site, body: bytes, code: str) -> None:
    headers = {"Content-Type": "application/json"}
    reply = await site.request("POST", "/api/v1/enrol", data=body, headers=headers)
    assert reply.status in (400, 403)
    assert reply.json["code"] == code
    assert reply.json["action"]


async def test_an_expired_token_is_refused(site: Site, clock: FakeClock) -> None:
    token = await site.token("s-1", expires_us=NOON_US + DAY_US)
    clock.advance(86_400)
    reply = await site.enrol(token)
    assert (reply.status, reply.json["code"]) == (403, "token_expired")
    assert "linkbell-collector tokens create" in reply.json["action"]


async def test_neither_tokens_nor_credentials_are_anywhere_in_the_data_folder(site: Site) -> None:
    token = await site.token("s-1")
    credential = (await site.enrol(token)).json["credential"]
    for file in site.application.data_folder.iterdir():
        content = file.read_bytes()
        assert token.encode() not in content
        assert credential.encode() not in content
