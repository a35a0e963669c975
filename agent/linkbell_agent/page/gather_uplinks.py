"""Collects what the page says of each of several uplinks: from settings, collector and kernel."""

from typing import Any

from linkbell_agent.plan import floors_of, make_plan
from linkbell_agent.sections import OneOfUplinks, Settings
from linkbell_agent.ways_out import carrying, trouble_with, way_out
from linkbell_wire.configuration import AgentConfiguration
from linkbell_wire.words import Direction


def uplinks_now(settings: Settings, configuration: AgentConfiguration | None) -> list[dict[str, Any]]:
    """Return one entry of :attr:`~linkbell_agent.page.facts.Facts.uplinks` for each uplink, as it is now."""
    carrier = carrying(settings.ways)
    return [_uplink(settings, configuration, way, is_carrier=way.name == carrier) for way in settings.ways]


def _uplink(
    settings: Settings, configuration: AgentConfiguration | None, way: OneOfUplinks, *, is_carrier: bool
) -> dict[str, Any]:
    seen = way_out(way, [other for other in settings.ways if other.name != way.name])
    plan = make_plan(settings, configuration, seen.surroundings, way)
    floors = {} if configuration is None else floors_of(configuration, way.name)
    trouble = trouble_with(way)
    return {
        "name": way.name,
        "role": plan.role.value,
        "device": seen.device or way.device,
        "gateway": seen.gateway,
        "address": way.source or next(iter(seen.addresses), None),
        "carries": is_carrier,
        "trouble": None if trouble is None else trouble.value,
        "download_floor_bps": floors.get(Direction.DOWNLOAD),
        "upload_floor_bps": floors.get(Direction.UPLOAD),
        "ping_interval_s": plan.ping_interval_s,
    }
