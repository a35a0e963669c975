"""Collects what the page says of this box: from settings, collector, routes and clock."""

import contextlib
import hashlib
import socket
from dataclasses import replace
from pathlib import Path

from linkbell_agent.clock import Clock
from linkbell_agent.identity import Identity
from linkbell_agent.net import plain_name
from linkbell_agent.page.facts import Facts
from linkbell_agent.route import default_gateways
from linkbell_agent.sections import Settings
from linkbell_wire.configuration import AgentConfiguration
from linkbell_wire.version import __version__


def gather(
    settings: Settings,
    configuration: AgentConfiguration | None,
    identity: Identity | None,
    clock: Clock,
    *,
    running: bool = True,
    waiting: int | None = None,
) -> Facts:
    """Return the facts as they are now."""
    moment = clock.now()
    school = None if configuration is None else configuration.school
    ping = None if configuration is None else configuration.ping
    way = settings.ways[0]
    device = way.device
    gateways = [one for one in default_gateways() if device in (None, one.device)]
    gateway = gateways[0] if gateways else None
    facts = Facts(
        version=__version__,
        instance=instance_of(settings.state),
        boot_id=clock.boot_id,
        now_s=moment.wall.timestamp(),
        boottime_s=moment.boottime_s,
        synced=clock.synced(),
        running=running,
        agent=None if identity is None else identity.agent,
        school=(None if identity is None else identity.school) if school is None else school.id,
        school_name=None if school is None else school.name,
        timezone=None if school is None else school.timezone,
        collector=None if identity is None else identity.collector,
        uplink=way.name,
        device=device or (None if gateway is None else gateway.device),
        gateway=None if gateway is None else gateway.address,
        address=way.source or own_address(None if gateway is None else gateway.address),
        download_floor_bps=None if school is None else school.download_floor_bps,
        upload_floor_bps=None if school is None else school.upload_floor_bps,
        ping_interval_s=(ping.interval_s if ping is not None else None) or settings.ping.interval_s,
        waiting=waiting,
    )
    if not settings.has_several:
        return facts
    from linkbell_agent.page.gather_uplinks import uplinks_now  # most boxes have one

    facts = replace(facts, uplinks=uplinks_now(settings, configuration))
    return facts.of(way.name)


def instance_of(state: Path) -> str:
    """Return a short name for the agent on this state folder, from which the folder cannot be read."""
    return hashlib.sha256(str(state.absolute()).encode()).hexdigest()[:12]


def own_address(gateway: str | None) -> str | None:
    """Return the address this box has towards its gateway; None without one. Nothing is sent."""
    if gateway is None:
        return None
    family = socket.AF_INET6 if ":" in gateway else socket.AF_INET
    with contextlib.suppress(OSError), socket.socket(family, socket.SOCK_DGRAM) as sock:
        sock.connect(socket.getaddrinfo(plain_name(gateway), 9, family, socket.SOCK_DGRAM)[0][4])
        return str(sock.getsockname()[0])
    return None
