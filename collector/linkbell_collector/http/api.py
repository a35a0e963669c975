"""What agents talk to: enrol, deliver, ask for the configuration."""

import hashlib
import re
from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from aiohttp import web
from pydantic import ValidationError

from linkbell_collector.agent_configuration import agent_configuration
from linkbell_collector.clock import Clock, from_us
from linkbell_collector.domain import Agent, School
from linkbell_collector.errors import CollectorError
from linkbell_collector.http.requests import BodyLimits, authenticate, read_json_body
from linkbell_collector.ingest.batches import describe
from linkbell_collector.ingest.service import Ingest
from linkbell_collector.profile import COLLECTORS_OWN
from linkbell_collector.registry import Registry
from linkbell_collector.secret import digest, new_credential
from linkbell_collector.settings import Settings
from linkbell_collector.store.interface import Store
from linkbell_collector.telemetry import Telemetry
from linkbell_collector.values import bracketed
from linkbell_wire import BatchReply, EnrolReply, EnrolRequest, EnrolStatus, ErrorCode

MEASUREMENT_PORT = 8471
MAX_TAGS = 65_536
HTTP_PORT = 80
_PROXY_HEADERS = ("Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Proto", "X-Forwarded-Host", "X-Real-IP")
_HOST_NAME = re.compile(r"^[A-Za-z0-9.:-]{1,253}$")


_Reached = tuple[str, str, bool]
"""School, the host under which its agent reached us, and whether our own page is its portal check."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the handlers work with."""

    settings: Settings
    clock: Clock
    store: Store
    registry: Registry
    ingest: Ingest
    telemetry: Telemetry


class AgentApi:
    """The three endpoints under ``/api/v1``."""

    def __init__(self, services: Services) -> None:
        self._services = services
        self._limits = BodyLimits(services.settings.max_body_bytes, services.settings.body_timeout_s)
        # Every reply to a batch carries the ETag, and schools change rarely.
        self._tags: dict[_Reached, tuple[School | None, str]] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.post("/api/v1/enrol", self.enrol),
            web.post("/api/v1/records", self.records),
            web.get("/api/v1/agent/config", self.configuration),
        ]

    async def records(self, request: web.Request) -> web.Response:
        """Settle a batch: 200 means that every record of it is on disk or refused for good."""
        clock, telemetry = self._services.clock, self._services.telemetry
        began_s = clock.monotonic_s()
        try:
            agent = authenticate(request, self._services.registry)
            body = await read_json_body(request, self._limits)
            began_s, received_us = clock.monotonic_s(), clock.now_us()
            receipt = await self._services.ingest.take(agent, body, received_us)
        except CollectorError as error:
            telemetry.batch_refused(error.code, clock.monotonic_s() - began_s)
            raise
        telemetry.batch_settled(receipt, clock.monotonic_s() - began_s)
        etag = self._etag_of(request, agent)
        reply = BatchReply(
            stored=receipt.stored,
            duplicate=receipt.duplicate,
            rejected=receipt.rejected,
            server_time=from_us(clock.now_us()),
            config_etag=etag,
        )
        return _json(reply.model_dump_json())

    async def enrol(self, request: web.Request) -> web.Response:
        """Take a join token, give an agent its credential, shown this once."""
        try:
            enrolled_reply = await self._enrol(request)
        except CollectorError as error:
            self._services.telemetry.enrolment(error.code.value)
            raise
        self._services.telemetry.enrolment(enrolled_reply.status.value)
        return _json(enrolled_reply.model_dump_json(), status=201)

    async def configuration(self, request: web.Request) -> web.Response:
        """Tell an agent what to measure; 304 if it has that already."""
        agent = authenticate(request, self._services.registry)
        text, etag = self._configuration_of(request, agent)
        known = [tag.strip().removeprefix("W/") for tag in request.headers.get("If-None-Match", "").split(",")]
        if etag in known or "*" in known:
            return web.Response(status=304, headers={"ETag": etag})
        return _json(text, headers={"ETag": etag})

    async def _enrol(self, request: web.Request) -> EnrolReply:
        body = await read_json_body(request, self._limits)
        try:
            asked = EnrolRequest.model_validate_json(body)
        except ValidationError as error:
            raise _bad_enrolment(error) from error
        credential = new_credential()
        enrolled = await self._services.store.enrol(asked, digest(credential), self._services.clock.now_us())
        # The agent may send at once: it must be known, and an old credential void, before it hears of the new one.
        await self._services.registry.refresh()
        return EnrolReply(
            agent=enrolled.agent.id,
            credential=credential,
            status=EnrolStatus(enrolled.agent.state.value),
            school=enrolled.agent.school,
        )

    def _configuration_of(self, request: web.Request, agent: Agent) -> tuple[str, str]:
        """Return the configuration of an agent as JSON, and its ETag."""
        school = self._services.registry.school(agent.school)
        measurement_url = self._services.settings.measurement_url or _measurement_url(request.host)
        portal_url = f"http://{request.host}/generate_204" if _is_own_portal_check(request, school) else None
        text = agent_configuration(school, measurement_url, portal_url).model_dump_json()
        return text, f'"{hashlib.sha256(text.encode()).hexdigest()[:16]}"'

    def _etag_of(self, request: web.Request, agent: Agent) -> str:
        """Return the ETag of an agent's configuration, made anew only where its school has changed."""
        school = self._services.registry.school(agent.school)
        reached = (agent.school, request.host, _is_own_portal_check(request, school))
        known_school, etag = self._tags.get(reached, (None, None))
        if etag is not None and known_school is school:
            return etag
        if etag is None or known_school != school:
            if len(self._tags) >= MAX_TAGS:
                self._tags.clear()
            etag = self._configuration_of(request, agent)[1]
        self._tags[reached] = (school, etag)
        return etag


def _is_own_portal_check(request: web.Request, school: School | None) -> bool:
    wished = school is not None and school.wishes.portal_url == COLLECTORS_OWN
    return wished and reached_in_the_clear(request)


def reached_in_the_clear(request: web.Request) -> bool:
    """Tell whether the agent itself spoke plain HTTP to this very socket, as far as can be known.

    A proxy that ends TLS speaks plain HTTP too. It says so in a header, or shows in the address asked for: another
    port than ours, or another host than this machine although it came from this machine.
    """
    local, peer = (request.transport and request.transport.get_extra_info(name) for name in ("sockname", "peername"))
    if request.secure or not local or not peer or any(name in request.headers for name in _PROXY_HEADERS):
        return False
    try:
        asked = urlsplit(f"//{request.host}")
        port = asked.port or HTTP_PORT
    except ValueError:
        return False
    from_here = ip_address(peer[0].partition("%")[0]).is_loopback
    return port == local[1] and bool(_HOST_NAME.match(asked.hostname or "")) and from_here == _is_here(asked.hostname)


def _is_here(host: str | None) -> bool:
    try:
        return host == "localhost" or ip_address(host or "").is_loopback
    except ValueError:
        return False


def _measurement_url(host: str) -> str | None:
    """Guess the measurement server: the name under which the agent reaches us, on the default port."""
    try:
        name = urlsplit(f"//{host}").hostname
    except ValueError:
        return None
    return f"ws://{bracketed(name)}:{MEASUREMENT_PORT}" if name and _HOST_NAME.match(name) else None


def _bad_enrolment(error: ValidationError) -> CollectorError:
    if error.errors()[0]["type"] == "json_invalid":
        return CollectorError(
            ErrorCode.INVALID_JSON, f"the body is not JSON: {describe(error)}", "send one JSON object with a token"
        )
    return CollectorError(
        ErrorCode.INVALID_REQUEST,
        f"the enrolment cannot be used: {describe(error)}",
        "see wire/PROTOCOL.md for the fields of an enrolment",
    )


def _json(text: str, *, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=text.encode(), status=status, headers=headers, content_type="application/json")
