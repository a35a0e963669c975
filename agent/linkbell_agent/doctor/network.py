"""The way out, from near to far: gateway, names, measurement server."""

import socket
from urllib.parse import urlsplit

from linkbell_agent import net
from linkbell_agent.classify import NetworkFailure
from linkbell_agent.doctor.findings import Case, Finding
from linkbell_agent.language import terms
from linkbell_agent.probes.base import PingRequest, ProbeContext
from linkbell_agent.route import default_gateways, nameservers
from linkbell_wire.configuration import TargetConfiguration
from linkbell_wire.records import PingRecord
from linkbell_wire.words import Layer, NeighbourState, PingMethod

NAME_TIMEOUT_S = 8.0
CONNECT_TIMEOUT_S = 5.0
HTTP_TIMEOUT_S = 8.0
KNOWN_NAME = "one.one.one.one"
"""Looked up where neither collector nor measurement server has a name."""


def reason(case: Case, failure: NetworkFailure) -> str:
    """Return why, in words."""
    return case.speech.say(terms.FAILURES.get(failure.failure.code.value, terms.FAILURES["unknown"]))


async def gateway(case: Case) -> list[Finding]:
    """Is there a way out of the box, and does the router answer?"""
    say, title = case.speech.say, case.speech.say("The school's router (gateway)")
    host = _router(case)
    if host is None:
        advice = say("Check the cable, and that the router gives this box an address (DHCP): see “ip address”.")
        return [case.failure("gateway", title, say("This box has no default route: there is no way out."), advice)]
    target = TargetConfiguration(name="gateway", layer=Layer.GATEWAY, host=host, method=PingMethod.ICMP)
    context = ProbeContext(case.uplink, case.clock)
    record = await case.outside.ping(PingRequest(target, count=3, spacing_s=0.2, timeout_s=1.5), context)
    assert isinstance(record, PingRecord)
    if record.received:
        rtt = case.quantities.milliseconds(record.rtt_mean_s)
        return [case.good("gateway", title, say("{address} answers in {time}.", address=host, time=rtt))]
    if record.neighbour is NeighbourState.ANSWERS:
        said = say("{address} is there, and does not answer pings.", address=host)
        return [case.good("gateway", title, said)]
    advice = say("Check that the router has power, and the cable between it and this box.")
    return [case.failure("gateway", title, say("{address} does not answer.", address=host), advice)]


def _router(case: Case) -> str | None:
    if case.way is not None:
        return case.plan.layers.gateway
    return next((one.address for one in default_gateways() if case.uplink.device in (None, one.device)), None)


async def names(case: Case) -> list[Finding]:
    """Are names turned into addresses?"""
    say, title = case.speech.say, case.speech.say("Names (DNS)")
    servers = nameservers() if case.uplink.resolvers is None else case.uplink.resolvers
    advice = say("Restart the router. If it stays like this, set another name server in it, or ask the provider.")
    if not servers:
        return [case.failure("dns", title, say("No name server is set on this box."), advice)]
    name = next(filter(_is_name, _known_hosts(case)), KNOWN_NAME)
    try:
        addresses = await net.resolve_on(name, case.uplink, lambda host: net.resolve(host, NAME_TIMEOUT_S))
    except NetworkFailure as failure:
        why, asked = reason(case, failure), ", ".join(servers)
        said = say("{name} is not found: {reason} ({servers}).", name=name, reason=why, servers=asked)
        return [case.failure("dns", title, said, advice)]
    return [case.good("dns", title, say("{name} is {address}.", name=name, address=addresses[0].host))]


def _known_hosts(case: Case) -> list[str]:
    urls = [] if case.identity is None else [case.identity.collector]
    urls += [server.url for server in case.plan.servers]
    return [urlsplit(url).hostname or "" for url in urls]


def _is_name(host: str) -> bool:
    if not host or host == "localhost":
        return False
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except OSError:
            continue
        return False
    return True


async def measurement(case: Case) -> list[Finding]:
    """Does a measurement server answer?"""
    say, title = case.speech.say, case.speech.say("Measurement server")
    if not case.plan.servers:
        return [case.skipped("measurement", title, say("None is known: enrol, or set speed.servers."))]
    said = ""
    for server in case.plan.servers[:3]:
        try:
            await _answers(case, server.url)
        except NetworkFailure as failure:
            said = said or say("{url} is not reached: {reason}.", url=server.url, reason=reason(case, failure))
        else:
            return [case.good("measurement", title, say("{url} answers.", url=server.url))]
    advice = say("If the collector is reached, tell its operator. A firewall may close the port (usually 8471).")
    return [case.failure("measurement", title, said, advice)]


async def _answers(case: Case, url: str) -> None:
    """Return if there is a web server. Raises :class:`NetworkFailure` if not."""
    parts = urlsplit(url)
    secure = parts.scheme in ("wss", "https")
    port = parts.port or (443 if secure else 80)
    sock, _ = await net.connect(parts.hostname or "", port, case.uplink, timeout_s=CONNECT_TIMEOUT_S)
    sock.close()
    if case.way is not None:
        return  # requests of this kind are not bound to one of several uplinks
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    api = case.outside.new_api(f"{'https' if secure else 'http'}://{host}:{port}", HTTP_TIMEOUT_S)
    try:
        await api.request("GET", "/", {})
    finally:
        api.close()
